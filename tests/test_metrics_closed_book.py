"""Closed-book scores against T5's, TriviaQA's and ORQA's scorers, and by hand."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics.closed_book import (
    NORMALIZE,
    closed_book,
    normalize_nq_open,
    normalize_trivia_qa,
    pattern_match,
)
from metric_cases import cases, same


@pytest.mark.parametrize("case", cases("closed_book_qa"))
def test_equals_official(case: dict[str, Any]) -> None:
    references = {item["id"]: item["answers"] for item in case["references"]}
    predictions, expected = case["predictions"], case["expected"]
    orqa = expected["orqa_nq_open"]
    if case["regex"]:
        same(pattern_match(references, predictions), 100 * orqa["accuracy"])
        return
    results = {name: closed_book(references, predictions, name) for name in NORMALIZE}
    same(results["nq_open"].exact_match, 100 * orqa["accuracy"])
    official = expected["triviaqa_official"]
    ours = results["trivia_qa"].as_dict()
    same(ours, {name: official[name] for name in ("exact_match", "f1")})
    for theirs, name in (("t5_squad", "squad"), ("t5_trivia_qa", "trivia_qa")):
        if expected[theirs] is not None:
            same(results[name].exact_match, expected[theirs]["em"])
            same(results[name].f1, expected[theirs]["f1"])
    for id, (squad, _, trivia, nq_open) in expected["per_question_exact"].items():
        found = [results[n].per_question[id][0] for n in ("squad", "trivia_qa", "nq_open")]
        same(found, [float(value or 0) for value in (squad, trivia, nq_open)])


@pytest.mark.parametrize(
    ("text", "trivia", "nq_open"),
    [
        ("The well-known U.S.", "well known u s", "wellknown us"),
        ("snake_case", "snake case", "snakecase"),
        ("‘a b’", "b", "‘ b’"),
        ("Caf\u00e9", "caf\u00e9", "cafe\u0301"),
    ],
)
def test_normalizations_differ(text: str, trivia: str, nq_open: str) -> None:
    assert normalize_trivia_qa(text) == trivia
    assert normalize_nq_open(text) == nq_open


def test_missing_is_wrong_and_the_best_answer_counts() -> None:
    result = closed_book({"a": ["x", "y z"], "b": ["x"]}, {"a": "the y"}, "nq_open")
    assert (result.exact_match, result.f1) == (0.0, pytest.approx(100 * 2 / 3 / 2))


def test_patterns_match_at_the_start_and_never_if_broken() -> None:
    references = {"a": [r"19\d\d"], "b": [r"19\d\d"], "c": ["a(b"], "d": ["wash"]}
    predictions = {"a": "1999 or so", "b": "in 1999", "c": "a(b", "d": "WASHINGTON"}
    assert pattern_match(references, predictions) == 50


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=12))
@pytest.mark.parametrize("name", NORMALIZE)
def test_an_answer_predicts_itself(name: str, text: str) -> None:
    result = closed_book({"q": ["x", text]}, {"q": text}, name)
    assert result.exact_match == 100
    assert result.f1 == pytest.approx(100 if NORMALIZE[name](text) else 0)  # as in SQuAD 1.1


def test_refuses() -> None:
    with pytest.raises(ValueError, match="protocol 'webqa'"):
        closed_book({"a": ["x"]}, {}, "webqa")
    with pytest.raises(ValueError, match="no question"):
        closed_book({}, {}, "squad")
    with pytest.raises(ValueError, match="'a' has no reference answer"):
        closed_book({"a": []}, {}, "squad")
    with pytest.raises(ValueError, match="no question"):
        pattern_match({}, {})
