"""Span scores against the official scripts, hand-computed values and properties."""

import math
import statistics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics.intervals import bootstrap
from jeoni.metrics.spans import (
    SCORERS,
    klue_mrc,
    korquad_v1,
    normalize_klue_mrc,
    normalize_korquad,
    normalize_squad,
    squad_v1,
    squad_v2,
)
from metric_cases import cases, same

PR = ("pr_exact_ap", "pr_f1_ap", "pr_oracle_ap")


def answers_of(case: dict[str, Any]) -> dict[str, list[str]]:
    return {item["id"]: item["answers"] for item in case["references"]}


@pytest.mark.parametrize("case", cases("squad_v1") + cases("korquad_v1"))
def test_equals_official_v1(case: dict[str, Any]) -> None:
    score, references = SCORERS[case["scorer"]], answers_of(case)
    if "expected_error" in case:
        with pytest.raises(ValueError, match=r"no (question|reference answer)"):
            score(references, case["predictions"])
        return
    result = score(references, case["predictions"])
    expected = case["expected"]
    assert (result.exact_match, result.f1) == (expected["exact_match"], expected["f1"])
    official = {id: tuple(pair) for id, pair in expected["per_question"].items()}
    assert result.per_question == dict.fromkeys(references, (0.0, 0.0)) | official


@pytest.mark.parametrize("case", cases("squad_v2"))
def test_equals_official_v2(case: dict[str, Any]) -> None:
    references, predictions = answers_of(case), case["predictions"]
    na_probs = None if case["na_probs"] is None else dict(case["na_probs"])
    if "expected_error" in case:
        with pytest.raises(ValueError, match="have no"):
            squad_v2(references, predictions, na_probs, case["na_prob_thresh"])
        return
    result = squad_v2(references, predictions, na_probs, case["na_prob_thresh"])
    expected = dict(case["expected"])
    raw = expected.pop("per_question_raw", None)
    if raw is not None:
        assert squad_v2(references, predictions).per_question == {
            id: tuple(pair) for id, pair in raw.items()
        }
    precision = expected.pop("average_precision", {})
    if "error" not in precision:  # with unknown ids, ours ignores them and the script stops
        expected |= precision
        assert {name for name in PR if name in result.details} == set(precision)
    ours = {"exact": result.exact_match, **result.as_dict()}
    assert {name: ours[name] for name in expected} == expected
    assert {name for name in ours if name.startswith(("HasAns", "NoAns", "best"))} <= set(expected)


@pytest.mark.parametrize("case", cases("klue_mrc"))
def test_equals_klue_mrc(case: dict[str, Any]) -> None:
    references, predictions = answers_of(case), case["predictions"]
    official, corrected = case["expected"]["as_is"], case["expected"]["corrected"]["both"]
    if isinstance(official["em"], dict):  # the official script stops
        with pytest.raises(ValueError, match="have no prediction"):
            klue_mrc(references, predictions)
        references = {id: answers for id, answers in references.items() if id in predictions}
        official = {
            "em": 100 * official["standalone"]["exact_match"],
            "rouge_w": 100 * official["standalone"]["rouge"],
            "per_question": official["per_question"],
        }
    result = klue_mrc(references, predictions)
    same([result.exact_match, result.f1], [official["em"], official["rouge_w"]])
    same(result.per_question, official["per_question"])
    same(
        [result.details["corrected_exact_match"], result.details["corrected_rouge_w"]],
        [corrected["em"], corrected["rouge_w"]],
    )
    for type, row in official.get("by_question_type", {}).items():
        ids = [q["id"] for q in case["references"] if str(q["question_type"]) == type]
        part = klue_mrc({id: references[id] for id in ids}, predictions)
        same([part.exact_match, part.f1, len(ids)], [row["em"], row["rouge_w"], row["count"]])


def test_klue_mrc_faults_are_kept_and_mended() -> None:
    result = klue_mrc({"a": ["《토지》"]}, {"a": "토지"})
    assert result.per_question["a"] == (0.0, pytest.approx(2 * 2 / 6))
    assert result.details["corrected_exact_match"] == 100
    # The longest common run is a clause; the search passes over letters that are frequent in a long text.
    text = "가나다라마바사아자차" * 30
    long = klue_mrc({"a": [text]}, {"a": text[3:53] + "끝"})
    assert long.f1 < 1 < 25 < long.details["corrected_rouge_w"]
    assert normalize_klue_mrc("(가) 《나》") == "가 《나》"
    assert klue_mrc({"a": []}, {"a": " "}).exact_match == 100


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The  U.S.", "us"),
        ("A.", ""),
        ("an apple", "apple"),
        ("the’s", "’s"),
        ("theatre", "theatre"),
        ("x\u00a0\u3000y\u200b", "x y\u200b"),
        ("“Luther”", "“luther”"),
    ],
)
def test_normalize_squad(text: str, normalized: str) -> None:
    assert normalize_squad(text) == normalized


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("《태백산맥》", "태백산맥"),
        ("O'Neill", "o neill"),
        ("A-B", "ab"),
        ("「봄날」", "「봄날」"),
        ("the 봄", "the 봄"),
        ("３일", "３일"),
    ],
)
def test_normalize_korquad(text: str, normalized: str) -> None:
    assert normalize_korquad(text) == normalized


def test_best_of_several_answers_is_taken_apart_for_each_score() -> None:
    result = squad_v1({"q": ["red blue", "green"]}, {"q": "red"})
    assert result.per_question["q"] == (0.0, pytest.approx(2 / 3))


def test_korquad_f1_is_over_characters_and_exact_match_counts_blanks() -> None:
    result = korquad_v1({"q": ["이순신 장군"]}, {"q": "이순신장군"})
    assert result.per_question["q"] == (0.0, 1.0)


def test_missing_predictions_stay_in_the_denominator() -> None:
    result = squad_v1({"a": ["x"], "b": ["y"]}, {"a": "x", "unknown": "z"})
    assert (result.exact_match, result.f1) == (50.0, 50.0)


def test_threshold_is_strict_and_empties_the_answer() -> None:
    references, predictions = {"a": ["x"], "b": []}, {"a": "x", "b": "y"}
    na_probs = {"a": 0.5, "b": 0.6}
    assert squad_v2(references, predictions, na_probs, 0.5).exact_match == 100.0
    assert squad_v2(references, predictions, na_probs, 0.4).exact_match == 50.0


def test_official_best_may_lie_inside_a_tie_but_ours_does_not() -> None:
    references = {"a": ["x"], "b": ["y"], "c": [], "d": []}
    predictions = {"a": "x", "b": "y", "c": "z", "d": "z"}
    details = squad_v2(references, predictions, dict.fromkeys("abcd", 0.3)).details
    assert details["best_exact"] == 100.0  # no threshold gives that
    assert details["attainable_best_exact"] == 50.0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_na_prob_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="'a'"):
        squad_v2({"a": []}, {"a": ""}, {"a": value})


WORDS = st.lists(st.sampled_from(["the", "red", "blue", "x."]), max_size=3).map(" ".join)
QUESTION = st.tuples(
    st.lists(WORDS, max_size=2), WORDS, st.sampled_from([-1.0, 0.0, 0.25, 0.5, 2.0])
)


@settings(max_examples=80, deadline=None)
@given(st.lists(QUESTION, min_size=1, max_size=8))
def test_attainable_best_is_what_the_best_threshold_gives(
    questions: list[tuple[list[str], str, float]],
) -> None:
    references = {str(i): answers for i, (answers, _, _) in enumerate(questions)}
    predictions = {str(i): text for i, (_, text, _) in enumerate(questions)}
    na_probs = {str(i): value for i, (_, _, value) in enumerate(questions)}
    details = squad_v2(references, predictions, na_probs).details
    tried = [
        squad_v2(references, predictions, na_probs, t) for t in [-9.0, *sorted(na_probs.values())]
    ]
    for name in ("exact", "f1"):
        column = "exact_match" if name == "exact" else "f1"
        best = details[f"attainable_best_{name}"]
        assert best == pytest.approx(max(getattr(result, column) for result in tried))
        there = details[f"attainable_best_{name}_thresh"]
        again = squad_v2(references, predictions, na_probs, there)
        assert getattr(again, column) == pytest.approx(best)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text("ab", min_size=1), st.lists(st.text(), min_size=1), min_size=1))
@pytest.mark.parametrize("name", SCORERS)
def test_an_answer_predicts_itself(name: str, references: dict[str, list[str]]) -> None:
    result = SCORERS[name](references, {id: answers[0] for id, answers in references.items()})
    empty = [id for id, (exact, _) in result.per_question.items() if not exact]
    # SQuAD 2.0 drops answers that normalize to nothing.
    assert all(name == "squad_v2" and not normalize_squad(references[id][0]) for id in empty)
    assert 0 <= result.f1 <= 100 + 1e-9


def test_bootstrap_covers_the_mean_and_repeats() -> None:
    values = [1.0, 0.9] * 35 + [0.05, 0.0] * 15
    low, high = bootstrap(values)
    mean, error = statistics.fmean(values), statistics.pstdev(values) / 10  # of 100 values
    assert low == pytest.approx(mean - 1.96 * error, abs=0.008)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.008)
    assert bootstrap(values) == (low, high) != bootstrap(values, seed=1)
    narrow = bootstrap(values, level=0.5)
    assert low < narrow[0] < mean < narrow[1] < high
    assert bootstrap([3.0]) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("values", "options"),
    [([], {}), ([1.0], {"level": 1.0}), ([1.0], {"level": 0.0}), ([1.0], {"resamples": 0})],
)
def test_bootstrap_refuses(values: list[float], options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        bootstrap(values, **options)
