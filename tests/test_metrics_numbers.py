"""GSM8K's own rule for the number at the end of a solution."""

import pytest

from jeoni.metrics.numbers import final_number, final_numbers


@pytest.mark.parametrize(
    ("solution", "number"),
    [
        ("so 9 * 2 = 18.\n#### 18", "18"),
        ("#### 1,234,567", "1234567"),
        ("#### -3.5 dollars", "-3.5"),
        ("#### 70,000.", "70000."),
        ("####18", None),
        ("18", None),
        ("#### no", None),
        ("#### 1\n#### 2", "1"),
    ],
)
def test_final_number(solution: str, number: str | None) -> None:
    assert final_number(solution) == number


def test_right_and_wrong() -> None:
    gold = ["x #### 1,000", "#### 5", "#### 5"]
    assert final_numbers(gold, ["#### 1000", "#### 5.0", "5"]) == [True, False, False]


@pytest.mark.parametrize(
    ("gold", "said", "message"),
    [
        (["5"], ["#### 5"], "reference 0 has no number"),
        ([], [], "no example"),
        (["#### 5"], [], "1 references but 0"),
    ],
)
def test_mistakes(gold: list[str], said: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        final_numbers(gold, said)
