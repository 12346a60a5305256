"""Tokenizers: special tokens, templates, truncation, windows, processes."""

import itertools
import json
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tokenizer_samples as samples
from jeoni.base.errors import UserError
from jeoni.text.tokenizer import Encoding, Tokenizer
from tokenizer_samples import TRICKY


@pytest.fixture(scope="module")
def vocab_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_vocab(tmp_path_factory.mktemp("vocab") / "vocab.txt")


@pytest.fixture(scope="module")
def uncased(vocab_file: Path) -> Tokenizer:
    return Tokenizer.from_vocab(vocab_file)


@pytest.fixture(scope="module")
def reference(vocab_file: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.BertTokenizer(vocab=str(vocab_file))


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
