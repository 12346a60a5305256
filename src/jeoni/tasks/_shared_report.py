"""What the report of every task type shows, as far as it has it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jeoni.metrics.calibration import calibration
from jeoni.report.sections import Bars, Section
from jeoni.tasks._saliency import saliency_section
from jeoni.tasks._task import Encoded, Scores, Task

FEWEST = 10
"""Examples that a band must have."""
BANDS = 5


def shared_sections(
    task: Task[Any, Any], encoded: Encoded, predictions: Sequence[Any], scores: Scores
) -> list[Section]:
    """Score by length, calibration, saliency; what there is too little of is left out.

    Args:
        task: on a model with its weights.
        encoded: the examples.
        predictions: one an example.
        scores: what the task made of them.
    """
    sure, right = task.confidences(encoded, predictions, scores)
    found = [
        length_section(task.main_metric, encoded, scores),
        calibration_section(sure, right),
        saliency_section(task, encoded, predictions, *task.surest(encoded, predictions, scores)),
    ]
    return [section for section in found if section is not None]


def length_section(metric: str, encoded: Encoded, scores: Scores) -> Bars | None:
    """The main metric of examples in bands of about equal count, by how many tokens were read."""
    lengths = np.zeros(len(encoded.records), np.int64)
    np.add.at(lengths, encoded.features.examples, encoded.lengths)
    bands = _bands(lengths)
    if len(bands) < 2:
        return None
    rows: list[dict[str, Any]] = []
    for low, high in bands:
        own = np.flatnonzero((low <= lengths) & (lengths <= high)).tolist()
        band = f"{low}" if low == high else f"{low}-{high}"
        rows.append({"length": f"{band} (n={len(own):,})", metric: scores.over(own)})
    digits = ".3f" if all(abs(row[metric]) <= 1 for row in rows) else ".1f"
    note = (
        "tokens that were read of an example, special ones too; of several windows or choices all"
    )
    return Bars(
        f"{metric} by length of the input", rows, "length", metric, note=note, value_format=digits
    )


def _bands(lengths: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Least and greatest length of each band, in order."""
    values, counts = np.unique(lengths, return_counts=True)
    enough = max(FEWEST, len(lengths) / BANDS)
    found: list[tuple[int, int]] = []
    first, held = 0, 0
    for place, count in enumerate(counts.tolist()):
        held += count
        if held >= enough:
            found.append((int(values[first]), int(values[place])))
            first, held = place + 1, 0
    if held and found:  # what is left is too little for a band
        found[-1] = found[-1][0], int(values[-1])
    return found


def calibration_section(confidences: Sequence[float], right: Sequence[bool]) -> Bars | None:
    """A reliability diagram: how often predictions are right that are about equally sure."""
    if len(confidences) < 2 * FEWEST:
        return None
    bins, error = calibration(confidences, right)
    rows = [
        {
            "sure": f"{100 * b.low:.0f}-{100 * b.high:.0f}% sure (n={b.count:,})",
            "right": b.accuracy,
            "confidence": b.confidence,
        }
        for b in bins
    ]
    note = (
        f"bar: share that is right; line: mean probability, where the bar should end. Expected calibration "
        f"error {error:.3f} (n={len(confidences):,})."
    )
    return Bars(
        "Calibration", rows, "sure", "right", mark="confidence", note=note, value_format=".0%"
    )
