"""Offsets of every kind of tokenizer, in whatever text: each token is its characters."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer_samples as samples
from jeoni.text.tokenizer import Tokenizer

ALL = [pair for pair in samples.ALL if pair[1] not in ("electra", "distilbert", "bart")]
KINDS = [
    *[(kind, like, "none", False) for kind, like in ALL],
    ("unigram", "t5", "nfc", False),
    ("unigram", "t5", "nfkc", False),
    ("unigram", "albert", "none", True),
    ("bpe", "gpt2", "nfc", False),
    ("jamo", "jamo", "none", True),
    ("words", "words", "none", True),
]
IDS = ["-".join([like, form, "lower"][: 3 if lower else 2]) for _, like, form, lower in KINDS]


def byte_letters() -> dict[str, int]:
    """The bytes that byte-level tokens' letters stand for (Radford et al. 2019)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {chr(byte): byte for byte in plain}
    return letters | {chr(256 + number): byte for number, byte in enumerate(others)}


BYTES = byte_letters()


def spelled(kind: str, like: str, tokens: list[str]) -> str:
    """The text that tokens spell, without blanks."""
    if kind == "bpe" and like != "gpt1":
        return "".join(bytes(BYTES[char] for token in tokens for char in token).decode().split())
    text = "".join(t.removeprefix("##") if len(t) > 2 else t for t in tokens)
    text = text.replace("</w>", "") if like == "gpt1" else text
    return "".join(text.replace("▁", " ").split())


def groups(tokens: list[str], offsets: list[list[int]]) -> Iterator[tuple[list[str], int, int]]:
    """Tokens so that no character is in two groups."""
    found: list[tuple[list[str], int, int]] = []
    for token, (start, end) in zip(tokens, offsets, strict=True):
        if found and start < found[-1][2]:
            names, first, last = found.pop()
            found.append(([*names, token], first, max(last, end)))
        else:
            found.append(([token], start, end))
    yield from found


def check(tokenizer: Tokenizer, normalize: Any, kind: str, like: str, text: str) -> None:
    (piece,) = tokenizer.pieces([text])
    offsets = piece.offsets.tolist()
    names = [tokenizer.tokens[number] for number in piece.ids]
    for name, (start, end) in zip(names, offsets, strict=True):
        assert 0 <= start <= end <= len(text)
        assert start < end or name in ("▁", "Ġ"), "only the mark of a first word has no characters"
    assert [a for a, _ in offsets] == sorted(a for a, _ in offsets)
    assert [b for _, b in offsets] == sorted(b for _, b in offsets)
    hidden = (
        (" ", " ") if kind == "bpe" and like != "gpt1" else ("▁", " ")
    )  # a mark, if written out
    special = {token["content"] for token in tokenizer._files.spec["added_tokens"]}
    for group, start, end in groups(names, offsets):
        if special.isdisjoint(group):  # unknown, or written out in the text
            meant = "".join(normalize(text[start:end]).replace(*hidden).split())
            assert spelled(kind, like, group) == meant, (group, text[start:end])
    outside = set(range(len(text))) - {i for a, b in offsets for i in range(a, b)}
    for i in outside:  # nothing that matters is left out
        assert not normalize(text[i]).replace("▁", " ").strip(), (i, text[i])


def normalizer(tokenizer: Tokenizer) -> Any:
    rust = tokenizer._rust.normalizer
    return (lambda text: text) if rust is None else rust.normalize_str


@pytest.mark.parametrize(("kind", "like", "form", "lower"), KINDS, ids=IDS)
@settings(max_examples=40, deadline=None)
@given(text=st.text(st.sampled_from(samples.TRICKY), max_size=12))
def test_tokens_are_their_characters(
    kind: str, like: str, form: str, lower: bool, text: str
) -> None:
    tokenizer = samples.small(kind, like, form, lower)
    check(tokenizer, normalizer(tokenizer), kind, like, text)


@pytest.mark.parametrize(("kind", "like", "form", "lower"), KINDS, ids=IDS)
@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=30))
def test_any_text(kind: str, like: str, form: str, lower: bool, text: str) -> None:
    tokenizer = samples.small(kind, like, form, lower)
    check(tokenizer, normalizer(tokenizer), kind, like, text)


@pytest.mark.parametrize(("kind", "like"), ALL, ids=[like for _, like in ALL])
def test_a_megabyte_on_one_line(kind: str, like: str) -> None:
    tokenizer = samples.small(kind, like)
    unit = "한국어를 배우는 \u1112\u1161\u11ab국 cafe\u0301 漢字👨\u200d👩 ＡＢ\t"
    count = (
        2_000 if kind == "morpheme" else 17_000
    )  # that analyzer reads 15,000 characters a second
    text = unit * count
    (piece,) = tokenizer.pieces([text])
    starts, ends = piece.offsets.T
    assert (np.diff(starts) >= 0).all()
    assert (np.diff(ends) >= 0).all()
    covered = np.zeros(len(text) + 1, np.int32)
    np.add.at(covered, starts, 1)
    np.add.at(covered, ends, -1)
    outside = np.flatnonzero(np.cumsum(covered)[:-1] == 0)
    dropped = {text[i] for i in outside[:: max(1, len(outside) // 1_000)]}
    assert all(not normalizer(tokenizer)(char).replace("▁", " ").strip() for char in dropped)


@pytest.mark.parametrize("like", ["bert", "gpt2", "gpt1", "t5", "syllable", "jamo", "words"])
def test_a_megabyte_without_blanks(like: str) -> None:
    kind = next(kind for kind, name in samples.ALL if name == like)
    tokenizer = samples.small(kind, like)
    text = "한국어abc漢" * 60_000
    (piece,) = tokenizer.pieces([text])
    assert piece.offsets[0, 0] == 0
    assert piece.offsets[-1, 1] == len(text)


@pytest.mark.parametrize(("kind", "like", "form", "lower"), KINDS, ids=IDS)
@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from(samples.TRICKY), max_size=10), max_size=4))
def test_arrays_and_lists_agree(
    kind: str, like: str, form: str, lower: bool, texts: list[str]
) -> None:
    """``Exact.flat`` treats the texts of a batch at once, ``Exact.offsets`` one by one."""
    tokenizer = samples.small(kind, like, form, lower)
    exact, rust = tokenizer._engine._exact, tokenizer._rust
    encodings = [rust.encode(text, add_special_tokens=False) for text in texts]
    _, offsets, lengths = exact.flat(encodings, texts)
    assert lengths == [len(encoding.ids) for encoding in encodings]
    one_by_one = [
        pair
        for encoding, text in zip(encodings, texts, strict=True)
        for pair in exact.offsets(encoding.ids, encoding.offsets, text)
    ]
    assert [tuple(pair) for pair in offsets.tolist()] == one_by_one
