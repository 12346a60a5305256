"""Runs that learned nothing: their score is no sample of what the model can do."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jeoni.recipes import run
from jeoni.training import log

STUCK = 0.97
"""A loss that stays above this share of its first value: one at chance wanders by 1 or 2%."""
LEVEL = 0.1
"""Numbers that differ by less than this share of their mean error are all the same."""
_ENOUGH = 6  # records of the training loss, to compare its first third with its last
_SAID = ("index", "tags", "relations", "text", "state")
"""Where predictions of classes, tags, trees, spans and states have what they say."""


def flags(folder: Path, results: Mapping[str, Any]) -> list[str]:
    """What is degenerate about a finished run, in words; nothing, if it learned something.

    Args:
        folder: the run's, with ``predictions.jsonl`` and ``metrics.jsonl``.
        results: what its ``results.json`` holds.
    """
    main = results["main_metric"]
    found = [f"{main} is not a number"] if results["metrics"].get(main) is None else []
    return [*found, *_one_answer(run.predictions(folder)), *_stuck(log.read(folder))]


def _one_answer(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Whether all examples got the same answer, and that was not always right."""
    said = [row["prediction"] for row in rows if isinstance(row["prediction"], Mapping)]
    if len(said) < 2:
        return
    if "value" in said[0]:
        values = [p["value"] for p in said]
        error = -statistics.fmean(row["score"] for row in rows)
        if max(values) - min(values) < LEVEL * error:
            yield f"one number predicted: {statistics.median(values):.3g}"
        return
    key = next((key for key in _SAID if key in said[0]), None)
    if key is None or all(row["score"] == 1 for row in rows):
        return
    answers = {answer for p in said for answer in _listed(p[key])}
    if len(answers) <= 1:  # none: the states of all turns are empty
        shown = said[0]["label"] if "label" in said[0] else "".join(map(str, answers))
        yield f"one class predicted: {shown}" if shown != "" else "no answer predicted"


def _listed(answer: Any) -> Iterable[Any]:
    """One answer or several (tags)."""
    return answer if isinstance(answer, list) else [answer]


def _stuck(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Whether the training loss did not fall."""
    losses = [row["loss"] for row in rows if row["kind"] == "train" and row.get("loss") is not None]
    third = len(losses) // 3
    if len(losses) < _ENOUGH:
        return
    first, last = statistics.fmean(losses[:third]), statistics.fmean(losses[-third:])
    if last > STUCK * first:
        yield f"loss stuck: {first:.3g} in the first third, {last:.3g} in the last"
