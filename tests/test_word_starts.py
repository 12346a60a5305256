"""Where words begin: by characters, alike for every kind of tokenizer."""

import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.text.boundaries import all_word_starts, word_starts
from tokenizer_samples import ALL, SMALL, TRICKY, small

TEXT = st.text(st.sampled_from(TRICKY + " ,.'한국어cafe漢"), max_size=25)
ASCII_MARKS = re.compile(r"[!-/:-@\[-`{-~]")


def alone(char: str) -> bool:
    """Whether a character is a word of its own."""
    mark = unicodedata.category(char)[0] == "P" or ASCII_MARKS.match(char) is not None
    return mark or unicodedata.name(char, "").startswith("CJK UNIFIED")


def unseen(char: str) -> bool:
    return (unicodedata.category(char) in ("Cc", "Cf") and not char.isspace()) or char == "\ufffd"


def before_it(text: str, place: int) -> str:
    """The character before a place, as far as characters can be seen."""
    while place and unseen(text[place - 1]):
        place -= 1
    return text[place - 1 : place]


def starts(text: str, offsets: list[tuple[int, int]]) -> list[bool]:
    """The definition, token by token."""
    result: list[bool] = []
    before = (-1, -1)
    bare = False  # the token before is white space, or nothing
    for start, end in offsets:
        first = text[start : start + 1]
        if first and unseen(first):
            first = before_it(text, start)
        last = before_it(text, start)
        after = start == 0 or last == "" or last.isspace() or alone(last)
        begins = after or (first != "" and alone(first)) or text[start:end].isspace()
        begins = begins and not bare and start > before[0]
        result.append(begins or not result)
        before, bare = (start, end), text[start:end].strip() == ""
    return result


@given(text=TEXT, cuts=st.lists(st.integers(0, 25), max_size=12))
@settings(deadline=None, max_examples=300)
def test_any_cut_follows_the_definition(text: str, cuts: list[int]) -> None:
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    offsets = list(pairwise(places)) if text else []
    array = np.array(offsets, np.int32).reshape(-1, 2)
    assert word_starts(text, array).tolist() == starts(text, offsets)


@pytest.mark.parametrize(("kind", "like"), ALL, ids=lambda value: str(value))
def test_many_texts_are_each_as_alone(kind: str, like: str) -> None:
    tokenizer = small(kind, like)
    texts = ["", *SMALL, "漢字と.", " a  b ", "\n", "''``"]
    pieces = tokenizer.pieces(texts)
    each = [word_starts(text, p.offsets).tolist() for text, p in zip(texts, pieces, strict=True)]
    offsets = np.concatenate([p.offsets for p in pieces])
    together = all_word_starts(texts, offsets, [len(p.ids) for p in pieces]).tolist()
    assert together == [flag for flags in each for flag in flags]
    for text, p, flags in zip(texts, pieces, each, strict=True):
        assert flags == starts(text, [(a, b) for a, b in p.offsets.tolist()])


@pytest.mark.parametrize(("kind", "like"), ALL, ids=lambda value: str(value))
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the cafeteria, who?", ["the", "cafeteria", ",", "who", "?"]),
        ("한국어를 배우는 사람!", ["한국어를", "배우는", "사람", "!"]),
    ],
    ids=["english", "korean"],
)
def test_words_are_the_same_for_every_kind(
    kind: str, like: str, text: str, words: list[str]
) -> None:
    (piece,) = small(kind, like).pieces([text])
    flags = word_starts(text, piece.offsets)
    first = piece.offsets[flags, 0].tolist()
    found = [text[a:b].strip() for a, b in pairwise([*first, len(text)])]
    assert found == words


def test_ideographs_are_words() -> None:
    text = "한국漢字가 the-end"
    (piece,) = small("wordpiece", "bert").pieces([text])
    first = piece.offsets[word_starts(text, piece.offsets), 0].tolist()
    words = [text[a:b].strip() for a, b in pairwise([*first, len(text)])]
    assert words == ["한국", "漢", "字", "가", "the", "-", "end"]


@given(text=TEXT)
@settings(deadline=None, max_examples=200)
def test_wordpiece_words_are_its_own(text: str) -> None:
    """What BERT's whole-word masking goes by: every token without ``##``."""
    tokenizer = small("wordpiece", "bert")
    by_name = tokenizer.word_starts
    assert by_name is not None
    for each in [*SMALL, "don't (stop) 한국.어", text]:
        (piece,) = tokenizer.pieces([each])
        assert word_starts(each, piece.offsets).tolist() == by_name[piece.ids].tolist(), each
        ids, lengths = tokenizer.flat_ids([each, "the"])
        assert ids[: lengths[0]].tolist() == piece.ids.tolist()


def test_other_names_do_not_tell() -> None:
    for kind, like in [
        ("bpe", "gpt2"),
        ("unigram", "t5"),
        ("jamo", "jamo"),
        ("syllable", "syllable"),
    ]:
        assert small(kind, like).word_starts is None


def test_bytes_of_a_character_stay_together() -> None:
    tokenizer = small("bpe", "gpt2")
    text = "뷁 뷁뷁"
    (piece,) = tokenizer.pieces([text])
    assert len(piece.ids) > 6
    first = piece.offsets[word_starts(text, piece.offsets), 0].tolist()
    assert first == [0, 2] or text[first[1]] == " "


def test_no_tokens() -> None:
    assert word_starts("", np.zeros((0, 2), np.int32)).tolist() == []
    assert all_word_starts([], np.zeros((0, 2), np.int32), []).tolist() == []
