"""Correlations against GLUE and KLUE fixtures, and by hand."""

import math
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics.regression import regression_scores
from metric_cases import cases, same

STSB = [p for p in cases("glue") if str(p.id).startswith("stsb")] or cases("glue")


@pytest.mark.parametrize("case", STSB)
def test_equals_glue(case: dict[str, Any]) -> None:
    references, predictions = case["references"], [float(x) for x in case["predictions"]]
    if "expected_error" in case:
        with pytest.raises(ValueError, match="at least two"):
            regression_scores(references, predictions)
    elif any(map(math.isnan, predictions)):  # officially NaN; we say which
        with pytest.raises(ValueError, match="prediction 0 is nan"):
            regression_scores(references, predictions)
    elif case["name"] == "stsb_nearly_constant":
        assert regression_scores(references, predictions) == pytest.approx(
            case["expected"], rel=1e-6
        )
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            same(regression_scores(references, predictions), case["expected"])


@pytest.mark.parametrize("case", cases("klue_sts"))
def test_equals_klue(case: dict[str, Any]) -> None:
    scores = regression_scores(case["references"], case["predictions"], threshold=3)
    official = case["expected"]["as_is"]
    same(
        {"pearson": scores["pearson"], "f1": scores["f1"]},
        {"pearson": official["pearsonr"], "f1": official["f1"]},
        100,
    )


def test_by_hand() -> None:
    scores = regression_scores([0.0, 3.0, 5.0, 4.0], [1.0, 2.0, 3.0, 3.0], threshold=3)
    # Ranks 1 2 4 3 and 1 2 3.5 3.5.
    assert scores["spearman"] == pytest.approx(4.5 / math.sqrt(5 * 4.5))
    assert scores["pearson"] == pytest.approx(6.0 / math.sqrt(14 * 2.75))
    assert scores["f1"] == pytest.approx(2 * 2 / (2 + 3))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=3, max_size=20).filter(lambda v: len(set(v)) > 1))
def test_a_line_upwards_is_perfect(values: list[int]) -> None:
    scores = regression_scores(values, [2.0 * value + 1 for value in values])
    assert scores["corr"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([1.0, 2.0], [1.0], "2 references but 1"),
        ([], [], "no example"),
        ([1.0], [1.0], "at least two"),
        ([1.0, math.nan], [1.0, 2.0], "reference 1 is nan"),
        ([1.0, 2.0], [math.inf, 2.0], "prediction 0 is inf"),
    ],
)
def test_refuses(references: list[float], predictions: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        regression_scores(references, predictions)
