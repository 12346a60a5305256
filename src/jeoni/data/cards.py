"""Which datasets are known, and where their files are: one YAML file a dataset in ``datasets/``."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from jeoni.base.config import Config, parse, read_yaml
from jeoni.base.errors import UserError
from jeoni.base.lookup import suggest
from jeoni.data.readers import ending, read
from jeoni.data.skipped import Skipped, refuse
from jeoni.data.standard import has_values

HERE = Path(__file__).parent
VARIABLE = "JEONI_DATA"

Task = Literal[
    "classification", "regression", "tagging", "dependency", "relation", "multiple_choice",
    "span_qa", "text_to_text", "minimal_pairs", "dialogue_state", "retrieval",
]  # fmt: skip
Metric = Literal[
    "accuracy", "macro_f1", "f1", "matthews_corrcoef",
    "pearson", "spearman",
    "entity_f1", "klue_ner", "tag_accuracy",
    "las", "klue_dp", "micro_f1",
    "squad_v1", "squad_v2", "korquad_v1", "klue_mrc",
    "nq_open", "trivia_qa", "bleu", "chrf", "rouge", "final_number",
    "minimal_pairs", "joint_goal_accuracy", "mrr",
]  # fmt: skip
Split = Literal["train", "dev", "test"]
Pairs = tuple[tuple[str, str], ...]


class Published(Config):
    """Scores that others have published.

    Attributes:
        source: where they stand.
        split: of the data.
        scores: by model, then by metric, in percent.
    """

    source: str
    split: Split
    scores: Mapping[str, Mapping[str, float]]


class Submission(Config):
    """What a server wants predictions of, and how.

    Attributes:
        file: name of the file of predictions.
        test: names of the file of examples without labels, as in ``Card.splits``; by default those of test.
        words: what the server calls the labels, in the order of the card's; None for numbers.
    """

    file: str
    test: tuple[str, ...] = ()
    words: tuple[str, ...] | None = None


class Card(Config):
    """What is known about a dataset without its files.

    Attributes:
        columns: the file's column for each standard field, where the names differ (see ``Columns``).
        labels: names of the classes in the order of their numbers, of tags, or of kinds of entities.
        splits: names that the file of a split can have, best first; ``.gz`` and ``.zst`` may follow.
            With `` + `` between them, several files are a split together.
        only: rows of a split's file that belong to it, where the file has others: values by column.
        unlabeled: splits whose files have no labels: there is something to predict, nothing to score.
        formats: how to read files with other endings than usual, or without names of columns, by ending
            (see ``jeoni.data.readers.read``).
        skip_bad: its published files have lines that are no examples; they are passed over and counted.
        ontology: names of the file that lists the values of each slot of a dialogue's state.
        published: scores to compare with.
        submission: what GLUE's server wants.
        hf: name on the Hugging Face hub.
        package: the files come with jeoni.
    """

    description: str
    task: Task
    language: str
    metric: Metric
    licence: str
    splits: Mapping[Split, tuple[str, ...]] = Field(min_length=1)
    columns: Mapping[str, str] = {}
    labels: tuple[str, ...] | None = None
    only: Mapping[Split, Mapping[str, str]] = {}
    unlabeled: tuple[Split, ...] = ()
    formats: Mapping[str, str] = {}
    skip_bad: bool = False
    ontology: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    submission: Submission | None = None
    hf: str | None = None
    package: bool = False


@dataclass(frozen=True)
class Entry:
    """A line of the catalog.

    Attributes:
        files: where each split's files are; none, if they are not there.
        rows: number of examples of each split that is at hand, where the file says it at once.
        searched: folders that were looked in.
    """

    name: str
    card: Card
    files: Mapping[Split, tuple[Path, ...]]
    rows: Mapping[Split, int | None]
    searched: tuple[Path, ...]

    @property
    def at_hand(self) -> bool:
        """Whether any split is there."""
        return any(self.files.values())


def names() -> list[str]:
    """Names of the datasets that are known."""
    return sorted(path.stem for path in (HERE / "datasets").glob("*.yaml"))


def card(name: str) -> Card:
    """The card of a dataset.

    Raises:
        UserError: there is none of that name; the message gives the nearest.
    """
    known = names()
    if name not in known:
        file = name if Path(name).is_file() else "FILE"
        hints = (suggest(name, known), f"for your own file: data.train={file} (or dev, test)")
        raise UserError(
            f"there is no dataset named {name!r}", hint="; ".join(hint for hint in hints if hint)
        )
    path = HERE / "datasets" / f"{name}.yaml"
    return parse(Card, read_yaml(path), where=path.name)


def roots(root: str | None) -> list[Path]:
    """Folders that may hold data: ``root``, then those of the environment variable JEONI_DATA."""
    variable = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in [root or "", *variable] if folder]


def folders(name: str, root: str | None) -> list[Path]:
    """Folders to look in for the files of a dataset, in order."""
    if card(name).package:
        return [HERE / "samples"]
    return [folder for base in roots(root) for folder in (base / name, base)]


def locate(name: str, split: Split, root: str | None) -> tuple[Path, ...]:
    """The files of a split (mostly one); none if one is missing. Looks at local folders only."""
    for place in folders(name, root):
        for candidate in card(name).splits.get(split, ()):
            found = [first_file([place], (part,)) for part in candidate.split(" + ")]
            paths = tuple(path for path in found if path is not None)
            if len(paths) == len(found):
                return paths
    return ()


def first_file(places: list[Path], candidates: tuple[str, ...]) -> Path | None:
    """The first file that is there, each also tried with ``.zst`` and ``.gz`` behind."""
    paths = (
        place / f"{file}{packed}"
        for place in places
        for file in candidates
        for packed in ("", ".zst", ".gz")
    )
    return next((path for path in paths if path.is_file()), None)


def missing(name: str, split: Split, root: str | None) -> UserError:
    """The error for a split that is not at hand: what was looked for, where, what to do."""
    known = card(name)
    if split not in known.splits:
        return UserError(f"dataset {name!r} has no {split}; it has {', '.join(known.splits)}")
    looked = folders(name, root)
    places = [f"{place}{'' if place.is_dir() else ' (no such folder)'}" for place in looked]
    where = ", ".join(places) or f"no folder: {VARIABLE} is not set"
    source = f"; on the Hugging Face hub it is {known.hf}" if known.hf else ""
    return UserError(
        f"dataset {name!r}: no {split} file; looked for {' or '.join(known.splits[split])} "
        f"(or .zst, .gz) in {where}",
        hint=f"set {VARIABLE} (or data.root) to a folder that has it, or has it in a folder "
        f"{name}{source}",
    )


def available(
    root: str | None = None, *, only: str | None = None, count: bool = False
) -> list[Entry]:
    """All known datasets, with what is at hand of each.

    Args:
        root: folder to look in first.
        only: name of one, instead of all.
        count: read the files that do not say at once how many rows they have, too.
    """
    rows = functools.cache(functools.partial(_rows, count=count))  # several may share files
    return list(_entries(names() if only is None else [only], root, rows))


def _entries(
    wanted: Sequence[str], root: str | None, rows: Callable[..., int | None]
) -> Iterator[Entry]:
    for name in wanted:
        known = card(name)
        files = {split: locate(name, split, root) for split in known.splits}
        formats = tuple(known.formats.items())
        counts = {
            split: rows(paths, formats, tuple(known.only.get(split, {}).items()), known.skip_bad)
            for split, paths in files.items()
            if paths
        }
        yield Entry(name, known, files, counts, tuple(folders(name, root)))


def _rows(
    paths: tuple[Path, ...], formats: Pairs, only: Pairs, skip_bad: bool, *, count: bool
) -> int | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    bad = Skipped().add if skip_bad else refuse
    try:
        if not only and all(path.suffix == ".parquet" for path in paths):
            return sum(int(pq.ParquetFile(path).metadata.num_rows) for path in paths)
        if not count:
            return None
        found = (
            row
            for path in paths
            for row in read(path, format=dict(formats).get(ending(path)), bad=bad)
        )
        return sum(has_values(row, only) for row in found)
    except (pa.ArrowException, UserError, OSError):
        return None  # a listing goes on; reading the file will say what is wrong with it
