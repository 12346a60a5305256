"""Dialogue-state scores against KLUE's baseline and by hand."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics.counts import of_sets, total
from jeoni.metrics.dialogue import right_turns, state_scores
from metric_cases import cases, same


@pytest.mark.parametrize("case", cases("klue_wos"))
def test_equals_klue(case: dict[str, Any]) -> None:
    references, predictions = case["references"], case["predictions"]
    scores = state_scores(references, predictions)
    official, corrected = case["expected"]["as_is"], case["expected"]["corrected"]
    same(
        scores,
        {
            "joint_goal_accuracy": official["jga"],
            "slot_micro_f1": official["slot_micro_f1"],
            "slot_micro_f1_pooled": corrected["slot_micro_f1_pooled"],
        },
        100,
    )
    counts = total(of_sets(a, b) for a, b in zip(references, predictions, strict=True))
    assert counts.right == corrected["true_positive"]
    assert counts.predicted - counts.right == corrected["false_positive"]
    assert counts.gold - counts.right == corrected["false_negative"]


def test_by_hand() -> None:
    references = [["hotel-area-north", "hotel-stars-4"], [], ["taxi-to-seoul"]]
    predictions = [["hotel-area-north", "hotel-stars-3"], [], []]
    assert state_scores(references, predictions) == pytest.approx(
        {
            "joint_goal_accuracy": 1 / 3,
            "slot_micro_f1": (1 / 2 + 1 + 0) / 3,
            "slot_micro_f1_pooled": 2 / 5,
        }
    )
    assert right_turns(references, predictions) == [0, 1, 0]
    assert state_scores([[]], [["a-b-c"]])["slot_micro_f1"] == 0
    # A wrong value that is said twice counts twice in the turn's F1, and once in the pooled one.
    twice = state_scores([["a-b-c"]], [["a-b-c", "a-b-d", "a-b-d"]])
    assert twice == pytest.approx(
        {"joint_goal_accuracy": 0, "slot_micro_f1": 2 / 4, "slot_micro_f1_pooled": 2 / 3}
    )


STATES = st.lists(st.lists(st.sampled_from("abc"), unique=True), min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(STATES)
def test_order_does_not_matter(states: list[list[str]]) -> None:
    scores = state_scores(states, [state[::-1] for state in states])
    assert scores["joint_goal_accuracy"] == scores["slot_micro_f1"] == 1
    assert scores["slot_micro_f1_pooled"] == float(any(states))


@pytest.mark.parametrize(
    ("references", "predictions", "message"), [([], [], "no turn"), ([[]], [], "1 references but")]
)
def test_refuses(references: Any, predictions: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        state_scores(references, predictions)
