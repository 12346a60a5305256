"""Cutting text into sentences."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.base.errors import UserError
from jeoni.text.sentences import splitter

ENGLISH = [
    'Dr. Smith went to Washington, D.C. on Jan. 5, 2020.',
    'He paid $3.50 for it.',
    'The U.S. economy grew by 5.5 percent, see Fig. 3 for details!',
    'Mr. J. K. Rowling (b. 1965) wrote it.',
    'Who knows?',
]  # fmt: skip
KOREAN = [
    "대한민국은 동아시아의 한반도 남부에 있는 공화국이다.",
    "수도는 서울특별시이며, 국기는 태극기이다.",
    "정말 그래요?",
    "오늘은 3.5도까지 내려갔다고 합니다.",
]


@pytest.fixture(autouse=True)
def libraries() -> None:
    for name in ("kiwipiepy", "sentencex"):
        pytest.importorskip(name, reason="the extra 'corpus' is not installed")


@pytest.mark.parametrize(("language", "expected"), [("en", ENGLISH), ("ko", KOREAN)])
def test_known_sentences(language: str, expected: list[str]) -> None:
    assert splitter(language)(" ".join(expected)) == expected
    assert splitter(language)("  ".join(expected) + " ") == expected


@pytest.mark.parametrize("language", ["en", "ko"])
@given(text=st.text(st.sampled_from("다요. ?!가나abA\"'()1\u3000👨\ud800"), max_size=60))
@settings(deadline=None, max_examples=60)
def test_nothing_is_lost(language: str, text: str) -> None:
    found = splitter(language)(text)
    assert "".join("".join(found).split()).replace("\ufffd", "\ud800") == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in found)


@pytest.mark.parametrize(("language", "sentences"), [("en", ENGLISH), ("ko", KOREAN)])
def test_a_very_long_text(language: str, sentences: list[str]) -> None:
    found = splitter(language)(" ".join(sentences * 250))
    assert "".join(found).replace(" ", "") == "".join(sentences * 250).replace(" ", "")
    assert len(found) == pytest.approx(250 * len(sentences), rel=0.02)


def test_another_language() -> None:
    with pytest.raises(UserError, match=r"language 'de'\n.*ko, en"):
        splitter("de")
