"""A run is a folder: resolved recipe, metrics, checkpoints, final model, results, report."""

import contextlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import xxhash

from jeoni.base import rng
from jeoni.base.config import Config, as_yaml, parse, read_yaml
from jeoni.base.errors import UserError
from jeoni.base.files import read_json, write_json, write_text
from jeoni.data.record import Record
from jeoni.tasks._task import Scores

RECIPE, RESULTS, REPORT, MODEL = "recipe.yaml", "results.json", "report.html", "model"
DATA, PREDICTIONS, EPOCHS = "data.json", "predictions.jsonl", "epochs"
FREE = (
    "device",
    "keep_epochs",
    "tensorboard",
    *(f"train.{k}" for k in ("threads", "log_every", "save_every", "save_every_minutes", "keep")),
    "train.max_skips",
    "train.shard",
)
"""Settings that do not change what comes out: a run may go on with others."""


def check(folder: Path, recipe: Config) -> None:
    """See that the folder is free, or this recipe's already.

    Raises:
        UserError: the folder holds another recipe's run (the differing keys are named), or
            something that is no run.
    """
    path = folder / RECIPE
    if path.exists():
        old = read_yaml(path)
        with contextlib.suppress(UserError):  # an older version's keys; what differs is then named
            old = _values(parse(type(recipe), old))
        different = [d for d in _differences(old, _values(recipe)) if d.split(" ")[0] not in FREE]
        if different:
            raise UserError(
                f"{folder} holds a run of another recipe; different: {', '.join(different)}",
                hint="give another folder with out=FOLDER, or delete that one",
            )
    elif folder.is_file() or (folder.is_dir() and not _only_begun(folder)):
        raise UserError(f"{folder} is there and is no run", hint="give another folder with out=")


def _only_begun(folder: Path) -> bool:
    """Whether nothing is there but what ``claim`` writes before the recipe: it may have been killed."""
    return all(
        p.name == DATA or p.name.startswith(f".{DATA}.") or p.name.startswith(f".{RECIPE}.")
        for p in folder.iterdir()
    )


def mark(recipe: Config) -> str:
    """A hash of the recipe for the name of its folder: the same whatever the free settings are."""
    known = type(recipe).model_fields
    usual = {k: known[k].get_default() for k in FREE if k in known}
    train: Config = recipe.train  # type: ignore[attr-defined]  # all recipes of runs have one
    known = type(train).model_fields
    inner = [k.removeprefix("train.") for k in FREE if k.startswith("train.")]
    usual["train"] = train.model_copy(update={k: known[k].get_default() for k in inner})
    return f"{rng.derive(recipe.model_copy(update=usual).model_dump_json()):x}"[:8]


def check_data(folder: Path, files: Mapping[str, Path]) -> None:
    """See that the data are those that the run began with.

    Raises:
        UserError: a file's contents have changed.
    """
    path = folder / DATA
    if not path.exists():
        return
    before, now = read_json(path), fingerprint(files)
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        names = ", ".join(f"{name} ({files[name]})" for name in changed)
        raise UserError(
            f"the data have changed since the run in {folder} began: {names}",
            hint="give another folder with out=FOLDER, or delete that one",
        )


def fingerprint(files: Mapping[str, Path]) -> dict[str, str]:
    """A hash of each file's bytes."""
    hashes = {}
    for name, path in files.items():
        with path.open("rb") as stream:
            digest = xxhash.xxh3_64()
            while block := stream.read(1 << 20):
                digest.update(block)
        hashes[name] = digest.hexdigest()
    return hashes


def claim(folder: Path, recipe: Config, files: Mapping[str, Path], verb: str = "finetune") -> None:
    """Make the folder this recipe's: only now, when its mistakes have been found.

    Args:
        folder: the run's.
        recipe: what it is a run of.
        files: the data.
        verb: the command that goes on with it.

    Raises:
        UserError: the folder cannot be made.
    """
    path = folder / RECIPE
    if path.exists():
        return
    text = as_yaml(_values(recipe))
    try:
        write_json(folder / DATA, fingerprint(files))
        write_text(path, f"# Go on, or see it again: jeoni {verb} {path} out={folder}\n{text}")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}", hint="give another folder with out="
        ) from None


def finished(folder: Path) -> dict[str, Any] | None:
    """The results of a run that is over; None if it is not."""
    path = folder / RESULTS
    if not path.exists():
        return None
    results = read_json(path)
    if not isinstance(results, dict) or not results:
        raise UserError(
            f"{path} is damaged: no results of a run",
            hint="delete it: the same command writes it anew",
        )
    return results


def keep_predictions(
    folder: Path, records: Sequence[Record], predictions: Sequence[Any], scores: Scores
) -> None:
    """Write what the final model says about the dev examples, one a line, in their order.

    Args:
        folder: the run's.
        records: the examples, of which a hash tells which they are.
        predictions: dataclasses of plain values, or whatever a task of one's own gives.
        scores: how good they are, and what the main metric adds up.
    """
    sums = [] if scores.sums is None else scores.sums.rows.tolist()
    lines = []
    for index, (record, prediction) in enumerate(zip(records, predictions, strict=True)):
        row = {"score": scores.per_example[index], "prediction": plain(prediction)}
        row |= {"sums": sums[index]} if sums else {}
        row["example"] = _hash(record)
        lines.append(json.dumps(row, ensure_ascii=False, default=str) + "\n")
    write_text(folder / PREDICTIONS, "".join(lines))


def _hash(record: Record) -> str:
    text = json.dumps(record.fields, sort_keys=True, default=str)
    return xxhash.xxh3_64(text.encode()).hexdigest()


def predictions(folder: Path) -> list[dict[str, Any]]:
    """What ``keep_predictions`` wrote; nothing if the run is of before there was that."""
    path = folder / PREDICTIONS
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [json.loads(line) for line in lines if line]


def plain(prediction: Any) -> Any:
    """A prediction as plain values, if it is a dataclass."""
    return asdict(prediction) if is_dataclass(type(prediction)) else prediction


def finish(folder: Path, results: dict[str, Any]) -> None:
    """Write the results: the last thing a run writes."""
    write_json(folder / RESULTS, results)


def warn_of_epochs(given: Mapping[str, Any], recipe: Config, where: str) -> None:
    """Tell that epochs which were asked for do nothing.

    Args:
        given: what the recipe was made of.
        recipe: with all its settings.
        where: what messages begin with.
    """
    epochs = (given.get("train") or {}).get("epochs")
    for key, value in _ends(recipe.model_dump()).items() if epochs is not None else ():
        warnings.warn(
            f"{where}: {key}={value} decides how long it trains, and train.epochs={epochs} does nothing; "
            f"{key}=null lets the epochs decide",
            stacklevel=3,
        )


def _ends(values: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how long it trains, if it is not the epochs."""
    train = values.get("train", {})
    ends = {f"train.{key}": train.get(key) for key in ("steps", "hours")}
    ends["flops"] = values.get("flops")
    return {key: value for key, value in ends.items() if value is not None}


def _values(recipe: Config) -> dict[str, Any]:
    """The recipe as its file has it: a run may be moved, and epochs may do nothing."""
    values = recipe.model_dump(mode="json", exclude={"out"})
    if _ends(values):
        values["train"].pop("epochs")
    return values


def _differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            line
            for key in keys
            for line in _differences(old.get(key), new.get(key), f"{prefix}{key}.")
        ]
    return [] if old == new else [f"{prefix.rstrip('.')} ({old!r} there, {new!r} now)"]
