"""Data by name or from your own files, in standard fields, cut into train, dev and test."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, get_args

from pydantic import Field

from jeoni.base.errors import UserError
from jeoni.data.cards import (
    VARIABLE,
    Card,
    Entry,
    Metric,
    Split,
    Task,
    available,
    card,
    first_file,
    folders,
    locate,
    missing,
    names,
    roots,
)
from jeoni.data.cuts import Source, group, held_out, sample
from jeoni.data.dialogues import ontology
from jeoni.data.kinds import KINDS, guess_task, standard_record
from jeoni.data.readers import ending, read
from jeoni.data.record import Found, Record, attempt, guarded
from jeoni.data.remembered import explained, first_row, shared
from jeoni.data.skipped import Bad, Skipped, refuse
from jeoni.data.standard import Columns, has_values, named
from jeoni.data.tags import check_named

__all__ = ["DataConfig", "Dataset", "Entry", "available", "open_dataset"]

Count = Annotated[int, Field(gt=0)]
SPLITS: tuple[Split, ...] = get_args(Split)


class DataConfig(Columns):
    """Which data. Either ``name`` or files of your own, or both (then they replace the named ones').

    Attributes:
        name: a dataset of the catalog.
        train, dev, test: your own files.
        format: how to read them, if the names' endings do not tell (see ``jeoni.data.readers.read``).
        root: folder to look in first, before those of JEONI_DATA.
        metric: official scorer; by default the dataset's own.
        limit_train, limit_dev, limit_test: use a random sample of so many (always the same one, and
            part of every larger one), in file order.
        skip_ambiguous: leave out examples whose answer's place is marked as uncertain.
        dev_fraction: cut this share off the training file as dev. By default a tenth, where there
            is no dev file. Examples with the same text (or passage) stay together.
        only: use only rows that have these values, by column: ``data.only.domain=books``.
        ontology: a file that lists the values of each slot, for states of dialogues; without it, those in
            train are known.
        split_by: a column, such as ``title``: examples that have it equal stay together instead.
        skip_bad: pass over examples that are not as they should be, and say how many and what is wrong
            with the first; by default the first is an error.
    """

    name: str | None = None
    train: str | None = None
    dev: str | None = None
    test: str | None = None
    format: str | None = None
    root: str | None = None
    metric: Metric | None = None
    limit_train: Count | None = None
    limit_dev: Count | None = None
    limit_test: Count | None = None
    skip_ambiguous: bool = False
    dev_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    only: Mapping[str, str | int | bool] = {}
    skip_bad: bool = False
    ontology: str | None = None


Files = Mapping[Split, tuple[Path, ...]]
Rows = tuple[tuple[Path, ...], tuple[tuple[str, str], ...], bool]
"""Files, the values that rows of them must have, and whether they must have labels."""


@dataclass(frozen=True)
class Dataset:
    """Examples in standard fields.

    Classification and regression: ``text``, ``pair`` (if there is one), ``label`` (as in the file, see
    ``jeoni.data.standard``). Tagging: ``text``, ``tokens``, ``tags`` (see ``jeoni.data.tags``).
    Dependency parsing: ``text``, ``tokens``, ``heads``, ``relations`` (see ``jeoni.data.trees``).
    Relation extraction: ``text``, ``subject``, ``object``, ``label`` (see ``jeoni.data.relations``). Span
    question answering: ``id``, ``question``, ``context``, ``answers`` as
    ``[{"text": ..., "start": character offset}]``. Dialogue states: see ``jeoni.data.dialogues``.
    Text to text: all columns (see ``jeoni.data.written``). Retrieval: ``text``, ``pair``.

    Attributes:
        name: name in the catalog, or the stem of your own file.
        sources: where the splits at hand come from.
        card: what the catalog knows, if it is from there.
        ontology: file with the values of slots.
        trained: the columns of a model's own data, asked for where neither settings nor card name one.
    """

    name: str
    task: Task
    sources: Mapping[Split, Source]
    config: DataConfig
    card: Card | None = None
    ontology: Path | None = None
    trained: Mapping[str, str] = field(default_factory=dict)
    _read: dict[Rows, list[Record]] = field(default_factory=dict, repr=False, compare=False)
    _held: dict[Path, set[str]] = field(default_factory=dict, repr=False, compare=False)
    _skipped: dict[Rows, Skipped] = field(default_factory=dict, repr=False, compare=False)

    def split(self, name: Split) -> list[Record]:
        """The examples of ``train``, ``dev`` or ``test``, in file order.

        Raises:
            UserError: it is not at hand, or its file is not as it should be.
        """
        if name not in self.sources:
            raise _absent(self, name)
        source = self.sources[name]
        records = self._records(name)
        if source.share:
            if source.path not in self._held:  # both sides of a cut are of one file and share
                self._held[source.path] = held_out(records, source)
            held = self._held[source.path]
            records = [r for r in records if (group(r) in held) is not source.rest]
        chosen = sample(records, getattr(self.config, f"limit_{name}"))
        if (check := KINDS[self.task].check) is not None:
            check(chosen)
        return chosen

    @cached_property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes or tags: the catalog's, else those in train; None if there is neither."""
        kind = KINDS[self.task]
        # Another column of tags (UD's xpos) has other tags than the card names.
        if self.card and self.card.labels and not self.config.tags:
            return kind.listed(self.card.labels, self.card.metric)
        listed = ontology(self.ontology) if self.ontology else ()
        if kind.labels is None or "train" not in self.sources:
            return listed or None
        found = kind.labels(self._records("train"))  # all of it: a sample may lack a class
        return tuple(dict.fromkeys((*listed, *found)))

    @cached_property
    def language(self) -> str:
        """Language code; of your own file ``ko`` or ``en``, by the first example."""
        if self.card:
            return self.card.language
        first = self._records(next(iter(self.sources)))[0].fields
        names = (
            ("question", "text")
            if self.task == "span_qa"
            else ("text", "question", "source", "good")
        )
        text = next((first[name] for name in names if name in first), first)
        return "ko" if any("가" <= letter <= "힣" for letter in str(text)) else "en"

    @cached_property
    def metric(self) -> Metric:
        """The official scorer, see ``jeoni.metrics``.

        For your own questions: SQuAD 2.0 if some have no answer, else KorQuAD's if they are in
        Korean, else SQuAD 1.1.
        """
        known = self.config.metric or (self.card.metric if self.card else None)
        usual = KINDS[self.task].metric
        if known:
            return known
        if usual:
            return usual(self.labels or ())
        labeled = self.sources.keys() - {"test"} or self.sources.keys()
        if not all(r.fields["answers"] for name in labeled for r in self._records(name)):
            return "squad_v2"
        return "korquad_v1" if self.language == "ko" else "squad_v1"

    @cached_property
    def columns(self) -> Columns:
        """Which column of the files holds which field."""
        if self.card is not None or not self.trained:
            return self.config.over(self.card.columns if self.card else {})
        path = next(iter(self.sources.values())).path
        first = first_row(path, _format(path, self.config, None))
        return self.config.over(shared(self.config, self.trained, first) if first else {})

    @property
    def paths(self) -> list[Path]:
        """All its files."""
        return [path for source in self.sources.values() for path in source.paths]

    @property
    def licence(self) -> str:
        """The data's licence, as far as it is known."""
        return self.card.licence if self.card else "your own data"

    def unlabeled(self, name: Split) -> bool:
        """Whether a split is a file of the catalog that has nothing to score against."""
        own = getattr(self.config, name, None)
        return self.card is not None and own is None and name in self.card.unlabeled

    def skipped(self, name: Split) -> Skipped:
        """What is passed over of a split (see ``skip_bad``); of a cut file, both sides have the same."""
        return self._skipped.setdefault(self._rows(name), Skipped())

    def skips(self) -> dict[str, Skipped]:
        """What was passed over so far, by the splits that are made of the same rows."""
        found: dict[Rows, list[str]] = {}
        for name in self.sources:
            found.setdefault(self._rows(name), []).append(name)
        both = ((" and ".join(names), self._skipped.get(rows)) for rows, names in found.items())
        return {names: skipped for names, skipped in both if skipped and skipped.count}

    def _rows(self, name: Split) -> Rows:
        source = self.sources[name]
        # Of a file that is cut, both sides have the same rows.
        own = getattr(self.config, name)
        if source.share:
            own = self.config.train or self.config.dev
        known: Mapping[str, str] = {}
        if self.card and own is None:  # your own file need not have the columns of the card's
            known = self.card.only.get("train" if source.share else name, {})
        only = {**known, **{k: str(v) for k, v in self.config.only.items()}}
        return source.paths, tuple(only.items()), name != "test"

    def _records(self, name: Split) -> list[Record]:
        """All of a split's rows, read once."""
        key = self._rows(name)
        if key not in self._read:
            self._read[key] = self._load(name, key)
        return self._read[key]

    def _load(self, name: Split, rows: Rows) -> list[Record]:
        (paths, only, labeled), skipped = rows, self.skipped(name)
        known_bad = (
            self.card is not None and self.card.skip_bad and getattr(self.config, name) is None
        )
        bad = skipped.add if self.config.skip_bad or known_bad else refuse
        records = []
        for path in paths:
            for row in read(path, format=_format(path, self.config, self.card), bad=bad):
                for found in guarded(self._standard(row, only, labeled)):
                    if isinstance(found, Record):
                        records.append(found)
                    else:
                        bad(explained(found, {} if self.card else self.trained))
        if not records:
            raise self._nothing(paths[0], only, skipped)
        if self.task == "span_qa":
            records = _different_ids(records, paths[0], bad)
        if self.card is None or not self.card.labels:
            return records
        if self.task in ("classification", "relation"):
            return [named(record, self.card.labels) for record in records]
        if self.task == "tagging" and not self.config.tags:  # which may be others than the card's
            for record in records:
                check_named(record)
        return records

    def _is_wanted(self, row: Record, only: tuple[tuple[str, str], ...]) -> bool:
        if self.config.skip_ambiguous and row.fields.get("ambiguous"):
            return False
        return has_values(row, only)

    def _standard(
        self, row: Record, only: tuple[tuple[str, str], ...], labeled: bool
    ) -> Iterator[Found]:
        """The examples of a row, mostly one; none, if it is not wanted."""
        if not self._is_wanted(row, only):
            return
        own, parts = self.card is None, KINDS[self.task].parts
        for part in parts(row, self.columns) if parts else (row,):
            yield attempt(standard_record, part, self.task, self.columns, labeled=labeled, own=own)

    def _nothing(
        self, path: Path, only: tuple[tuple[str, str], ...], skipped: Skipped
    ) -> UserError:
        if skipped.count:
            return skipped.none_left(path)
        if only:
            wanted = ", ".join(f"{column}={text}" for column, text in only)
            return UserError(f"{path}: no row has {wanted}", hint="see data.only")
        return UserError(f"{path}: every example is ambiguous", hint="data.skip_ambiguous=false")


def open_dataset(
    config: DataConfig,
    *,
    task: Task | None = None,
    trained: Mapping[str, str] = MappingProxyType({}),
) -> Dataset:
    """Find the files of a dataset; they are read when a split is asked for.

    Args:
        task: what the data must be for; by default the catalog's, or guessed from the columns. Any
            will do for ``text_to_text``: every task is one of reading and writing text.
        trained: see ``Dataset``.

    Raises:
        UserError: nothing named, an unknown name, no file found (at once: nothing is downloaded), or
            data for another task.
    """
    own = {name: path for name in SPLITS if (path := getattr(config, name)) is not None}
    if config.name is None and not own:
        raise UserError(
            "no data named",
            hint="data.name=NAME (jeoni data list), or data.train=FILE data.dev=FILE",
        )
    known = card(config.name) if config.name else None
    files: Files = {name: (_own_file(path, config),) for name, path in own.items()}
    if config.name:
        found = {name: locate(config.name, name, config.root) for name in SPLITS}
        files = {**{name: paths for name, paths in found.items() if paths}, **files}
        if not files:
            raise missing(config.name, next(iter(known.splits if known else SPLITS)), config.root)
    sources = _sources(files, own, config)
    kind = known.task if known else task or _guess(files, config, trained)
    if task not in (None, kind, "text_to_text"):
        fitting = ", ".join(name for name in names() if card(name).task == task)
        raise UserError(
            f"dataset {config.name!r} is for {kind}, not for {task}", hint=f"for {task}: {fitting}"
        )
    name = config.name or next(iter(files.values()))[0].name.split(".")[0]
    return Dataset(name, kind, sources, config, known, _ontology(config, known), trained)


def _ontology(config: DataConfig, known: Card | None) -> Path | None:
    """The file of slots and values: your own, or the data set's if it is at hand."""
    if config.ontology is not None:
        return _own_file(config.ontology, config)
    if config.name is None or known is None or not known.ontology:
        return None
    return first_file(folders(config.name, config.root), known.ontology)


def _sources(files: Files, own: Mapping[Split, str], config: DataConfig) -> dict[Split, Source]:
    """Where each split comes from; dev is cut off train if asked for or if there is none."""
    sources = {name: Source(paths[0], paths[1:]) for name, paths in files.items()}
    asked = config.dev_fraction is not None or config.split_by is not None
    if asked and "dev" in own and "train" in files:
        raise UserError("data.dev and data.dev_fraction (or data.split_by): give one of them")
    whole = files.get("train") or (files.get("dev") if asked else None)
    if whole and (asked or "dev" not in files):
        share = config.dev_fraction or 0.1
        sources["train"] = Source(whole[0], whole[1:], share, rest=True)
        sources["dev"] = Source(whole[0], whole[1:], share)
    return {name: sources[name] for name in SPLITS if name in sources}


def _own_file(given: str, config: DataConfig) -> Path:
    """A file of your own: as the path says, else in the data folders."""
    bases = roots(config.root)
    named = [base / config.name for base in bases] if config.name else []
    places = [Path(), *named, *bases]
    found = first_file(places, (str(Path(given).expanduser()),))
    if found is None and Path(given).is_dir():
        return Path(given)  # reading it will say what is in it
    if found is None:
        where = ", ".join(str(place.resolve()) for place in places)
        raise UserError(
            f"no file {given}; looked in {where}",
            hint=f"give its path, or set {VARIABLE} (or data.root) to its folder",
        )
    return found


def _guess(files: Files, config: DataConfig, trained: Mapping[str, str]) -> Task:
    """The task that the first row with fitting columns is for."""
    path = next(iter(files.values()))[0]
    skipped = Skipped()
    first: UserError | None = None
    bad = skipped.add if config.skip_bad else refuse
    for row in read(path, format=_format(path, config, None), bad=bad):
        try:
            return guess_task(row, config.over(shared(config, trained, row)))
        except UserError as error:
            if not config.skip_bad:
                raise
            first = first or error
    raise first or skipped.none_left(path)


def _format(path: Path, config: DataConfig, known: Card | None) -> str | None:
    own = {Path(p).name for name in SPLITS if (p := getattr(config, name)) is not None}
    if config.format and (known is None or path.name in own):
        return config.format
    return known.formats.get(ending(path)) if known else None


def _absent(dataset: Dataset, name: Split) -> UserError:
    if name not in SPLITS:
        return UserError(f"there is no split {name!r}", hint="train, dev or test")
    if dataset.card and dataset.config.name:
        return missing(dataset.config.name, name, dataset.config.root)
    return UserError(
        f"there is no {name} data; given: {', '.join(dataset.sources)}", hint=f"data.{name}=FILE"
    )


def _different_ids(records: list[Record], path: Path, bad: Bad) -> list[Record]:
    """The records, without those that have the id of one before."""
    seen: dict[str, Record] = {}
    for record in records:
        id = record.fields["id"]
        if id in seen:
            bad(
                UserError(f"{path}: {record.where}: id {id!r:.60} is also that of {seen[id].where}")
            )
        else:
            seen[id] = record
    return list(seen.values())
