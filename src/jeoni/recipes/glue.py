"""Predictions for GLUE's server: one file for each of its test sets, and an archive of them.

Source: gluebenchmark.com and the sample submission there: a line ``index<TAB>prediction`` for each example,
in the server's words (names of inference classes, 0 and 1 of the others, numbers of STS-B).
"""

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.base.files import named_problems, read_json, replacing, write_text
from jeoni.data import cards
from jeoni.data.cards import Card, Submission
from jeoni.data.readers import read
from jeoni.data.record import Record
from jeoni.data.standard import has, value
from jeoni.recipes import run
from jeoni.recipes.predict import predict

ARCHIVE = "submission.zip"
TRAINED_FOR = {"glue-mnli-mm": "glue-mnli", "glue-ax": "glue-mnli"}
"""Test sets without training data of their own: whose model reads them."""
INDEX = "index | idx | id"
HIGHEST = 5.0


@dataclass(frozen=True)
class Submitted:
    """What was written.

    Attributes:
        archive: all files of predictions that are in the folder.
        files: from the data sets that were predicted now to their files.
        absent: from data sets without a file in the archive to the reason.
    """

    archive: Path
    files: Mapping[str, Path]
    absent: Mapping[str, str]


def submit(
    model: str | Path,
    out: str | Path,
    *,
    data: str | None = None,
    root: str | None = None,
    device: str = "auto",
) -> Submitted:
    """Write predictions of GLUE's test sets as its server wants them.

    Args:
        model: the folder of a suite that was evaluated (of each data set's runs, the one that did best
            on dev is used), or, with ``data``, a run or a model.
        out: folder for the files; those that it has stay in the archive.
        data: a data set of GLUE, such as ``glue-cola``.
        root: folder to look for test files in first, before those of JEONI_DATA.
        device: ``auto``, ``cpu``, ``cuda``.

    Raises:
        UserError: no data set of GLUE, no folder of a suite, no test file, or one without an index.
    """
    wanted = [name for name in cards.names() if cards.card(name).submission]
    if data is not None and data not in wanted:
        raise UserError(f"{data!r} is not of GLUE", hint=f"--data with --glue: {', '.join(wanted)}")
    models = {data: Path(model)} if data else _best_runs(Path(model), wanted)
    files: dict[str, Path] = {}
    absent: dict[str, str] = {}
    hint: str | None = None
    for name in wanted:
        if name not in models:
            absent[name] = "not predicted" if data else "the suite has no run for it"
            continue
        try:
            files[name] = _write(models[name], Path(out), name, root, device)
        except UserError as error:
            if data:
                raise
            absent[name], hint = error.message, error.hint
    if not files:
        why = "".join(f"\n  {k}: {v}" for k, v in absent.items())
        raise UserError(f"nothing to submit{why}", hint=hint)
    archive, inside = _pack(Path(out), wanted)
    return Submitted(archive, files, {k: v for k, v in absent.items() if k not in inside})


def _best_runs(folder: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """Of each data set the model that did best on dev, among those that learned something."""
    path = folder / run.RESULTS
    found = read_json(path) if path.exists() else {}
    if "runs" not in found or "suite" not in found:
        raise UserError(
            f"{folder} is not the folder of a suite that was scored on dev",
            hint="jeoni evaluate suite=glue model=MODEL; for a single model: --data glue-cola",
        )
    best: dict[str, Mapping[str, Any]] = {}
    for row in found["runs"]:
        if row["name"] not in best or _rank(row) > _rank(best[row["name"]]):
            best[row["name"]] = row
    # Named as from where it was trained; it may be moved, and is always DATA/seed-N in its suite's.
    own = {name: Path(*Path(row["folder"]).parts[-2:]) for name, row in best.items()}
    return {
        name: folder / own[trained] / run.MODEL
        for name in wanted
        if (trained := TRAINED_FOR.get(name, name)) in best
    }


def _rank(row: Mapping[str, Any]) -> tuple[bool, float]:
    score = row["metrics"].get(row["main"])
    return not row["flags"], -math.inf if score is None else score


def _write(model: Path, out: Path, name: str, root: str | None, device: str) -> Path:
    card = cards.card(name)
    assert card.submission is not None
    path = _test_file(name, card, root)
    rows = predict(model, {"name": name, "test": str(path)}, device=device)
    numbers = [_index(record) for record in read(path)]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"{path}: an index occurs more than once")
    words = [_word(row, card, card.submission) for row in rows]
    lines = [f"{number}\t{word}\n" for number, word in zip(numbers, words, strict=True)]
    target = out / card.submission.file
    with named_problems(target, "give another folder with --glue"):
        write_text(target, "".join(["index\tprediction\n", *lines]))
    return target


def _test_file(name: str, card: Card, root: str | None) -> Path:
    """GLUE's own test file of a data set: there may be another one, with labels."""
    assert card.submission is not None
    wanted = card.submission.test or card.splits["test"]
    folders = cards.folders(name, root)
    found = cards.first_file(folders, wanted)
    if found is None:
        where = ", ".join(map(str, folders)) or f"no folder: {cards.VARIABLE} is not set"
        raise UserError(
            f"no test file of GLUE; looked for {' or '.join(wanted)} in {where}",
            hint=f"set {cards.VARIABLE} (or data.root) to the folder of the GLUE data",
        )
    return found


def _index(record: Record) -> str:
    if not has(record, INDEX):
        raise UserError(
            f"{record.where}: no column {INDEX}: this is not GLUE's own test file",
            hint=f"columns: {', '.join(record.fields)}",
        )
    return str(value(record, INDEX, "index"))


def _word(prediction: Mapping[str, Any], card: Card, wanted: Submission) -> str:
    """A prediction as the server wants it; numbers between 0 and 5."""
    if wanted.words is None:
        return f"{min(max(prediction['value'], 0.0), HIGHEST):.3f}"
    labels = card.labels or ()
    if prediction["label"] not in labels:
        raise UserError(
            f"the model says {prediction['label']!r}, which is none of {', '.join(labels)}"
        )
    return wanted.words[labels.index(prediction["label"])]


def _pack(out: Path, wanted: Sequence[str]) -> tuple[Path, list[str]]:
    """All files of predictions of a folder in one archive, and which data sets they are of."""
    submissions = {name: s for name in wanted if (s := cards.card(name).submission)}
    inside = {name: s.file for name, s in submissions.items() if (out / s.file).is_file()}
    with replacing(out / ARCHIVE) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in sorted(inside.values()):
            archive.write(out / file, file)
    return out / ARCHIVE, list(inside)
