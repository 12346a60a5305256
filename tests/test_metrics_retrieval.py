"""Ranks and recall: by hand, against a search one by one, ties."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics.retrieval import first_ranks, retrieval_scores


def test_by_hand() -> None:
    scores = [[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.1, 0.2, 0.3]]
    ranks = first_ranks(scores, [0, 1, 2], [0, 2, 1])
    assert ranks.tolist() == [1, 3, 2]
    assert retrieval_scores(ranks.tolist()) == pytest.approx(
        {"mrr": (1 + 1 / 3 + 1 / 2) / 3, "recall@1": 1 / 3, "recall@5": 1, "recall@10": 1}
    )
    assert retrieval_scores([5, 6, 11], (5, 10)) == pytest.approx(
        {"mrr": (1 / 5 + 1 / 6 + 1 / 11) / 3, "recall@5": 1 / 3, "recall@10": 2 / 3}
    )


def test_a_tie_is_no_find() -> None:
    assert first_ranks(np.ones((2, 4)), [0, 1], [0, 3]).tolist() == [4, 4]
    assert first_ranks(np.ones((1, 4)), [0, 0], [1, 2]).tolist() == [3]  # two of them are right


def test_of_several_right_ones_the_first_counts() -> None:
    assert first_ranks([[0.5, 0.9, 0.7, 0.1]], [0, 0], [3, 2]).tolist() == [2]
    assert first_ranks([[0.5, 0.9, 0.7, 0.1]], [0, 0, 0], [0, 2, 1]).tolist() == [1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_by_one(data: st.DataObject) -> None:
    n, m = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    draw = lambda: data.draw(st.sampled_from([-1.0, -0.5, 0.0, 0.5]))
    scores = [[draw() for _ in range(m)] for _ in range(n)]
    right = [data.draw(st.sets(st.integers(0, m - 1), min_size=1)) for _ in range(n)]
    places = [(i, j) for i in range(n) for j in sorted(right[i])]
    expected = []
    for row, own in zip(scores, right, strict=True):
        # Wrong ones first among equals.
        order = sorted(range(m), key=lambda j: (-row[j], j in own))
        wrong_before = 0
        for j in order:
            if j in own:
                break
            wrong_before += 1
        expected.append(1 + wrong_before)
    assert first_ranks(scores, *zip(*places, strict=True)).tolist() == expected


@pytest.mark.parametrize(
    ("scores", "rows", "columns", "message"),
    [
        ([[0.1, float("nan")]], [0], [0], "a score is NaN"),
        ([[0.1, 0.2]], [0], [2], r"outside of the scores \(1, 2\)"),
        ([[0.1, 0.2]], [0], [-1], "outside"),
        ([[0.1, 0.2], [0.1, 0.2]], [0], [0], "query 1 has no right candidate"),
    ],
)
def test_what_is_refused(scores: Any, rows: Any, columns: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        first_ranks(scores, rows, columns)


@pytest.mark.parametrize(("ranks", "message"), [([], "no query"), ([1, 0], "a rank is 0")])
def test_ranks_that_are_refused(ranks: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        retrieval_scores(ranks)
