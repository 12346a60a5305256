"""Paired tests and intervals of scores that are functions of sums."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics import intervals, significance
from jeoni.metrics.counts import Counts, f1_of_sums, of_sets, total
from jeoni.metrics.intervals import bootstrap, bootstrap_sums
from jeoni.metrics.significance import compare, compare_sums


def test_equals_the_exact_binomial_test() -> None:
    # Two runs differ on 10 of 40 answers, 9 to 1: two-sided p = 2 (1 + 10) / 1024.
    first = [1.0] * 10 + [0.0] * 20 + [1.0] + [0.0] * 9
    second = [1.0] * 10 + [0.0] * 20 + [0.0] + [1.0] * 9
    result = compare(first, second, resamples=20_000)
    assert result.p_value == pytest.approx(22 / 1024, abs=0.004)
    assert (result.first, result.second, result.n) == (11 / 40, 19 / 40, 40)
    assert result.difference == pytest.approx(8 / 40)
    error = math.sqrt((10 / 40 - (8 / 40) ** 2) / 40)
    assert result.low == pytest.approx(0.2 - 1.96 * error, abs=0.03)
    assert result.high == pytest.approx(0.2 + 1.96 * error, abs=0.03)


def test_repeats_and_turns_around() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 60), rng.normal(0.3, 1, 60)
    result = compare(first, second, resamples=500)
    assert result == compare(first, second, resamples=500)
    assert result != compare(first, second, resamples=500, seed=1)
    back = compare(second, first, resamples=4000)
    there = compare(first, second, resamples=4000)
    assert back.difference == -there.difference
    assert back.p_value == pytest.approx(there.p_value, abs=0.03)
    assert back.low == pytest.approx(-there.high, abs=0.05)


def test_false_alarms_are_as_rare_as_they_should_be() -> None:
    rng = np.random.default_rng(1)
    p_values = [
        compare(rng.normal(size=30), rng.normal(size=30), resamples=300, seed=i).p_value
        for i in range(300)
    ]
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.035)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(0, 3))
def test_equal_runs_do_not_differ(values: list[float], seed: int) -> None:
    result = compare(values, values, resamples=50, seed=seed)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)


SENTENCES = st.lists(st.tuples(*[st.sets(st.integers(0, 4))] * 3), min_size=1, max_size=10)


@settings(max_examples=30, deadline=None)
@given(SENTENCES)
def test_f1_from_counts(sentences: list[tuple[set[int], set[int], set[int]]]) -> None:
    first = [of_sets(gold, found) for gold, found, _ in sentences]
    second = [of_sets(gold, found) for gold, _, found in sentences]
    rows = [[counts.as_tuple() for counts in side] for side in (first, second)]
    result = compare_sums(*rows, f1_of_sums, resamples=100)  # type: ignore[misc]
    assert result.first == pytest.approx(total(first).f1)
    assert result.second == pytest.approx(total(second).f1)
    assert -1 <= result.low <= result.high <= 1
    assert 0 < result.p_value <= 1
    low, high = bootstrap_sums(rows[0], f1_of_sums, resamples=100)
    assert 0 <= low <= high <= 1


def test_a_mean_is_a_function_of_sums() -> None:
    values = np.random.default_rng(2).random(50)
    same = bootstrap_sums(values[:, None], lambda sums: sums[..., 0] / 50)
    assert bootstrap(list(values)) == pytest.approx(same, rel=1e-12)


def test_an_interval_leaves_as_much_on_both_sides() -> None:
    low, high = bootstrap([-1.0, 1.0] * 50, resamples=4000)
    assert low == pytest.approx(-0.196, abs=0.02)
    assert high == pytest.approx(0.196, abs=0.02)


def test_many_examples_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the interval the same draws, whatever the parts; of the test as good ones."""
    values = np.random.default_rng(3).random((2, 40))
    whole, there = bootstrap(list(values[0])), compare(*values, resamples=3000)
    monkeypatch.setattr(intervals, "_CELLS", 40 * 300)
    monkeypatch.setattr(significance, "_CELLS", 40 * 700)
    assert bootstrap(list(values[0])) == whole
    parts = compare(*values, resamples=3000)
    assert (parts.low, parts.high) == pytest.approx((there.low, there.high), abs=0.02)
    assert parts.p_value == pytest.approx(there.p_value, abs=0.05)


def test_counts() -> None:
    counts = Counts(2, 4, 3) + Counts(1, 1, 5)
    assert counts == Counts(3, 5, 8)
    assert (counts.precision, counts.recall, counts.f1) == (3 / 5, 3 / 8, 6 / 13)
    assert (Counts().precision, Counts().recall, Counts().f1) == (0, 0, 0)


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        ([], [], {}, "no example"),
        ([1.0, 2.0], [1.0], {}, "unequal shape"),
        ([1.0, 2.0], [1.0, math.nan], {}, "example 1 of the second run"),
        ([1.0], [1.0], {"level": 1.5}, "level=1.5"),
        ([1.0], [1.0], {"resamples": 0}, "resamples=0"),
        ([1.0], [1.0], {"resamples": 10**12}, "need 1 to 10,000,000"),
    ],
)
def test_refuses(first: Any, second: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(first, second, **options)


def test_bootstrap_names_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match="example 1"):
        bootstrap([1.0, math.inf])
