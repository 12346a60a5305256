"""Inputs and outputs of official scorers, which lie in ../shared beside the repository."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parents[1].parent / "shared" / "fixtures" / "metrics"
NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def cases(scorer: str) -> list[Any]:
    """Official cases as pytest parameters; one that is skipped where the fixtures are absent."""
    path = FIXTURES / scorer / "cases.jsonl.gz"
    if not path.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no fixtures at {path}"))]
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        return [pytest.param(case, id=case["name"]) for case in map(json.loads, lines)]


def same(ours: Any, official: Any, scale: float = 1.0) -> None:
    """All official figures are there and equal: to 12 digits, which leaves room for the order of sums."""
    if isinstance(official, dict):
        for name, value in official.items():
            same(ours[name], value, scale)
        return
    if isinstance(official, list):
        assert len(ours) == len(official)
        for a, b in zip(ours, official, strict=True):
            same(a, b, scale)
        return
    expected = NUMBERS.get(official, official)
    if expected is None:
        assert ours is None
    else:
        assert scale * ours == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)
