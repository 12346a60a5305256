"""Runs that learned nothing: their score is no sample of what the model can do."""

import math
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jeoni.base.files import read_json
from jeoni.metrics.scales import in_percent
from jeoni.models import hub
from jeoni.recipes import run
from jeoni.recipes.results import base_task
from jeoni.training import log

STUCK = 0.97
"""A loss that stays above this share of its first value: one at chance wanders by 1 or 2%."""
LOW = 0.5
"""A loss below this share of a guess's is of a model that knew the task before: it need not fall."""
LEVEL = 0.1
"""Numbers that differ by less than this share of their mean error are all the same."""
_ENOUGH = 6  # records of the training loss, to compare its first third with its last
_SAID = {
    "index": "class",
    "tags": "class",
    "relations": "class",
    "text": "answer",
    "state": "state",
    "found": "pair",
}
"""Where predictions of classes, tags, trees, texts, states, pairs have what they say; what it is called."""
_SHOWN = 60  # characters of it


def flags(folder: Path, results: Mapping[str, Any]) -> list[str]:
    """What is degenerate about a finished run, in words; nothing, if it learned something.

    Args:
        folder: the run's, with ``predictions.jsonl`` and ``metrics.jsonl``.
        results: what its ``results.json`` holds.
    """
    main = results["main_metric"]
    found = [f"{main} is not a number"] if results["metrics"].get(main) is None else []
    rows = run.predictions(folder)
    best = 100.0 if in_percent(base_task(results), main) else 1.0  # of a right answer
    said = _one_answer(rows, best, logarithms=_settings(folder).get("log") is True)
    return [*found, *said, *_stuck(log.read(folder), LOW * _guessing(rows))]


def _settings(folder: Path) -> Mapping[str, Any]:
    """Those of the run's task, as they were decided."""
    path = folder / run.MODEL / hub.SETTINGS
    return read_json(path) if path.exists() else {}


def _one_answer(
    rows: Sequence[Mapping[str, Any]], best: float, *, logarithms: bool
) -> Iterator[str]:
    """Whether all examples got the same answer, and that was not always right."""
    said = [row["prediction"] for row in rows if isinstance(row["prediction"], Mapping)]
    if len(said) < 2:
        return
    if "value" in said[0]:
        values = [p["value"] for p in said]
        error = -statistics.fmean(row["score"] for row in rows)
        learned = [_log(value) for value in values] if logarithms else values
        if max(learned) - min(learned) < LEVEL * error:
            yield f"one number predicted: {statistics.median(values):.3g}"
        return
    key = next((key for key in _SAID if key in said[0]), None)
    if key is None or all(row["score"] > 0.9999 * best for row in rows):
        return
    answers = {answer for p in said for answer in _answers(key, p[key])}
    if len(answers) <= 1:
        shown = " ".join(str(said[0].get("label", next(iter(answers), ""))).split())
        what = f"one {_SAID[key]} predicted: {shown:.{_SHOWN}}"
        yield what if shown else f"no {_SAID[key]} predicted"


def _answers(key: str, said: Any) -> Iterable[Any]:
    """One answer or several (tags); a state is one, whatever is in it, and of pairs the best is."""
    if key == "state":
        return [", ".join(sorted(said))]
    if key == "found":
        return [said[0]["pair"]]
    return said if isinstance(said, list) else [said]


def _log(value: float) -> float:
    """As ``Regression`` learns it; -1, from which there is no logarithm, is as low as numbers go."""
    return math.log10(max(1 + value, sys.float_info.min))


def _guessing(rows: Sequence[Mapping[str, Any]]) -> float:
    """The loss of who guesses classes or tags, each as often as it was predicted; 0 of other tasks."""
    said = [row["prediction"] for row in rows if isinstance(row["prediction"], Mapping)]
    keys = [(key, p) for p in said for key in ("index", "tags") if key in p]
    counts = Counter(answer for key, p in keys for answer in _answers(key, p[key]))
    return sum(n * math.log(counts.total() / n) for n in counts.values()) / max(1, counts.total())


def _stuck(rows: Sequence[Mapping[str, Any]], low: float) -> Iterator[str]:
    """Whether the training loss did not fall, and was not as low as that from the start."""
    losses = [row["loss"] for row in rows if row["kind"] == "train" and row.get("loss") is not None]
    third = len(losses) // 3
    if len(losses) < _ENOUGH:
        return
    first, last = statistics.fmean(losses[:third]), statistics.fmean(losses[-third:])
    if last > max(low, STUCK * first):
        yield f"loss stuck: {first:.3g} in the first third, {last:.3g} in the last"
