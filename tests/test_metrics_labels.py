"""Classification scores against GLUE and KLUE fixtures and hand-computed values."""

import math
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics.labels import confusion, label_scores, relation_scores
from metric_cases import cases, same

GLUE = [p for p in cases("glue") if not str(p.id).startswith("stsb")]


@pytest.mark.parametrize("case", GLUE)
def test_equals_glue(case: dict[str, Any]) -> None:
    classes = 3 if case["task"] in ("ax", "mnli", "mnli-mm") else 2
    if "expected_error" in case:
        with pytest.raises(ValueError, match="references but"):
            label_scores(case["references"], case["predictions"], classes)
        return
    scores = label_scores(case["references"], case["predictions"], classes)
    if "f1" in case["expected"]:
        scores["acc_and_f1"] = (scores["accuracy"] + scores["f1"]) / 2
    for name, value in case["expected"].items():
        assert scores[name] == pytest.approx(value, rel=1e-12, abs=1e-12), name


@pytest.mark.parametrize("case", cases("klue_nli") + cases("klue_ynat"))
def test_equals_klue(case: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = label_scores(case["references"], case["predictions"], len(case["label_list"]))
    for name, percent in case["expected"]["as_is"].items():
        assert 100 * scores[name] == pytest.approx(percent, rel=1e-12), name


def test_by_hand() -> None:
    scores = label_scores([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], 2)
    # Class 1: 2 right of 3 predicted and of 3 there are; class 0: 1 of 2 and of 2.
    assert scores == pytest.approx(
        {
            "accuracy": 3 / 5,
            "f1": 2 / 3,
            "macro_f1": (1 / 2 + 2 / 3) / 2,
            "matthews_corrcoef": 1 / 6,
        }
    )
    assert "f1" not in label_scores([0, 1, 2], [0, 1, 2], 3)


def test_confusion_counts_references_in_rows() -> None:
    assert confusion([0, 0, 2], [0, 1, 1], 3) == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]


PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30)


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_confusion_agrees_with_accuracy(pairs: list[tuple[int, int]]) -> None:
    references, predictions = [a for a, _ in pairs], [b for _, b in pairs]
    table = confusion(references, predictions, 3)
    assert sum(map(sum, table)) == len(pairs)
    right = sum(table[i][i] for i in range(3))
    assert label_scores(references, predictions, 3)["accuracy"] == right / len(pairs)


@pytest.mark.parametrize("score", [label_scores, confusion])
@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([0, 1], [0], "2 references but 1 predictions"),
        ([], [], "no example"),
        ([0, 2], [0, 1], "reference 1 is class 2"),
        ([0, 1], [-1, 1], "prediction 0 is class -1"),
    ],
)
def test_refuses(score: Any, references: list[int], predictions: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(references, predictions, 2)


@pytest.mark.parametrize("case", cases("klue_re"))
def test_equals_klue_re(case: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = relation_scores(
            case["references"],
            case["predictions"],
            case["probabilities"],
            classes=len(case["label_list"]),
        )
    same(scores, case["expected"]["as_is"], 100)
    corrected = case["expected"]["corrected"]["auprc_classes_with_references"]
    same(scores["auprc_classes_with_references"], corrected, 100)


def test_relations_by_hand() -> None:
    references, predictions = [0, 1, 2, 1], [1, 1, 0, 2]
    scores = relation_scores(references, predictions, classes=3)
    assert scores == {"micro_f1": 2 / (3 + 3)}
    area = relation_scores([0, 1], [0, 1], [[0.9, 0.1], [0.2, 0.8]], classes=2)
    assert area == {"micro_f1": 1, "auprc": 1, "auprc_classes_with_references": 1}
    unseen = relation_scores([0, 0], [0, 1], [[0.9, 0.1], [0.2, 0.8]], classes=2)
    assert math.isnan(unseen["auprc"])
    assert unseen["auprc_classes_with_references"] == 1


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([[0.5, 0.5]], "shape"),
        ([[0.5, 0.5], [math.nan, 0.5]], "probabilities 1"),
    ],
)
def test_relations_refuse(probabilities: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        relation_scores([0, 1], [0, 1], probabilities, classes=2)
