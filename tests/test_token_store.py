"""The token store: what is written is read, in whatever portions, and damage is noticed."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.base.errors import UserError
from jeoni.data import token_store
from jeoni.data.token_store import StoreWriter, TokenStore, fingerprint
from jeoni.text.tokenizer import Tokenizer
from tokenizer_samples import small

Document = tuple[list[int], list[bool], list[int]]


@st.composite
def documents(draw: st.DrawFn, vocab_size: int) -> list[Document]:
    result = []
    for length in draw(st.lists(st.integers(1, 30), max_size=12)):
        ids = draw(st.lists(st.integers(0, vocab_size - 1), min_size=length, max_size=length))
        words = draw(st.lists(st.booleans(), min_size=length, max_size=length))
        result.append((ids, words, sorted(draw(st.sets(st.integers(0, length))))))
    return result


def write(folder: Path, texts: list[Document], vocab_size: int = 100) -> TokenStore:
    with StoreWriter(folder, vocab_size, {"tokenizer": "abc"}) as writer:
        for ids, words, sentences in texts:
            writer.add(ids, np.array(words, np.bool_), sentences)
    return TokenStore(folder)


def check(store: TokenStore, texts: list[Document]) -> None:
    """The store holds exactly these documents."""
    all_ids = [number for ids, _, _ in texts for number in ids]
    lengths = [len(ids) for ids, _, _ in texts]
    bounds = np.cumsum([0, *lengths]).tolist()
    assert store.ids[:].tolist() == all_ids
    assert len(store) == len(all_ids)
    assert store.documents.tolist() == bounds
    sentences = {
        first + start
        for first, (ids, _, starts) in zip(bounds, texts, strict=False)
        for start in {0, *starts}
        if start < len(ids)
    }
    assert store.sentences.tolist() == [*sorted(sentences), len(all_ids)]
    words = [flag for _, flags, _ in texts for flag in flags]
    expected = [flag or place in sentences for place, flag in enumerate(words)]
    assert store.words(0, len(all_ids)).tolist() == expected
    for start, stop in ((0, 3), (5, 20), (8, 16), (7, 7)):
        assert store.words(start, min(stop, len(all_ids))).tolist() == expected[start:stop]


@given(data=st.data(), vocab_size=st.sampled_from([100, 1 << 16, (1 << 16) + 1]))
@settings(deadline=None, max_examples=40)
def test_what_is_written_is_read(
    data: st.DataObject, vocab_size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    texts = data.draw(documents(vocab_size))
    store = write(tmp_path_factory.mktemp("store") / "s", texts, vocab_size)
    check(store, texts)
    assert store.ids.dtype == (np.uint16 if vocab_size <= 1 << 16 else np.uint32)
    assert store.vocab_size == vocab_size
    assert store.meta == {"tokenizer": "abc"}
    store.check()


@pytest.mark.parametrize("block", [1, 5, 8, 64])
def test_portions_make_no_difference(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bits that fill no byte are carried on."""
    generator = np.random.default_rng(3)
    texts: list[Document] = []
    for _ in range(50):
        length = int(generator.integers(1, 20))
        flags = generator.random(length) < 0.5
        texts.append((generator.integers(0, 99, length).tolist(), flags.tolist(), [0, length // 2]))
    whole = write(tmp_path / "whole", texts)
    monkeypatch.setattr(token_store, "_BLOCK", block)
    parts = write(tmp_path / "parts", texts)
    for path in sorted(whole.folder.iterdir()):
        assert path.read_bytes() == (parts.folder / path.name).read_bytes(), path.name
    check(parts, texts)


def test_many_documents_at_once_are_the_same(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [([1, 2, 3], [True, False, True], [2]), ([4], [True], [])])
    with StoreWriter(tmp_path / "many", 100, {"tokenizer": "abc"}) as writer:
        flags = [np.array(bits, np.bool_) for bits in ([1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 1])]
        writer.extend(np.array([1, 2, 3, 4]), *flags)
    for path in sorted(one.folder.iterdir()):
        assert path.read_bytes() == (tmp_path / "many" / path.name).read_bytes(), path.name


def test_the_layout_is_as_documented(tmp_path: Path) -> None:
    write(tmp_path / "s", [([1, 258, 3], [True, False, True], [2]), ([4], [False], [0])], 300)
    assert (tmp_path / "s" / "tokens.bin").read_bytes() == b"\1\0\2\1\3\0\4\0"
    assert (tmp_path / "s" / "words.bin").read_bytes() == bytes([0b1011_0000])
    assert (tmp_path / "s" / "sentences.bin").read_bytes() == bytes([0b1011_0000])
    assert (tmp_path / "s" / "documents.bin").read_bytes() == bytes([0b1001_0000])
    facts = json.loads((tmp_path / "s" / "store.json").read_text())
    assert (facts["tokens"], facts["documents"], facts["sentences"]) == (4, 2, 3)
    assert (facts["format"], facts["dtype"]) == (1, "<u2")


def test_a_token_takes_little(tmp_path: Path) -> None:
    store = write(tmp_path / "s", [([7] * 10_000, [True] * 10_000, [0])] * 10)
    sizes = [path.stat().st_size for path in store.folder.iterdir()]
    assert 2.375 <= sum(sizes) / len(store) < 2.385


def test_an_empty_store(tmp_path: Path) -> None:
    check(write(tmp_path / "s", []), [])
    with StoreWriter(tmp_path / "none", 10, {}) as writer:
        writer.add([], np.zeros(0, np.bool_), [0])
    assert TokenStore(tmp_path / "none").documents.tolist() == [0]


def test_it_can_be_pickled(tmp_path: Path) -> None:
    texts: list[Document] = [([1, 2], [True, True], [0])]
    store = write(tmp_path / "s", texts)
    data = pickle.dumps(store)
    assert len(data) < 500
    check(pickle.loads(data), texts)


@pytest.mark.parametrize("name", ["tokens", "words", "sentences", "documents"])
@pytest.mark.parametrize("how", ["cut off", "missing"])
def test_a_file_that_is_not_whole_is_named(name: str, how: str, tmp_path: Path) -> None:
    write(tmp_path / "s", [([1, 2, 3], [True] * 3, [0])])
    path = tmp_path / "s" / f"{name}.bin"
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{name}\.bin (has|is missing)"):
        TokenStore(tmp_path / "s")


def test_a_changed_bit_is_found_by_check(tmp_path: Path) -> None:
    store = write(tmp_path / "s", [([1, 2, 3], [True] * 3, [0])])
    path = tmp_path / "s" / "tokens.bin"
    path.write_bytes(b"\2" + path.read_bytes()[1:])
    with pytest.raises(UserError, match=r"tokens\.bin is not what was written"):
        store.check()


@pytest.mark.parametrize("bits", [0b1111_0000, 0b0000_0000, 0b0100_0000])
def test_bounds_that_do_not_add_up(bits: int, tmp_path: Path) -> None:
    write(tmp_path / "s", [([1, 2, 3], [True] * 3, [0])])
    (tmp_path / "s" / "documents.bin").write_bytes(bytes([bits]))
    with pytest.raises(UserError, match=r"documents\.bin does not have the 1 documents"):
        _ = TokenStore(tmp_path / "s").documents


@pytest.mark.parametrize("change", [{"format": 2}, {"dtype": None}, {"tokens": None}])
def test_another_format_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "s", [([1], [True], [0])])
    path = tmp_path / "s" / "store.json"
    facts = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in facts.items() if value is not None}))
    with pytest.raises(UserError, match=r"store\.json is not of a token store of format 1"):
        TokenStore(tmp_path / "s")


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no token store.*\n.*jeoni data prepare"):
        TokenStore(tmp_path)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s", 10, {})
    with pytest.raises(ValueError, match="vocabulary"), writer:
        writer.add([11], np.ones(1, np.bool_), [0])
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "s", [])
    with pytest.raises(UserError, match="is there already"):
        StoreWriter(tmp_path / "s", 10, {})


@pytest.mark.parametrize(
    ("ids", "words", "sentences"),
    [([1, 10], 2, [0]), ([-1], 1, [0]), ([1], 2, [0]), ([1, 2], 2, [3]), ([1], 1, [-1])],
    ids=["beyond the vocabulary", "negative", "lengths", "sentence beyond", "sentence before"],
)
def test_wrong_documents(ids: list[int], words: int, sentences: list[int], tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s", 10, {})
    with pytest.raises(ValueError, match=r"vocabulary|length|outside"):
        writer.add(ids, np.ones(words, np.bool_), sentences)
    writer.abandon()


def test_a_fingerprint_tells_vocabularies_apart(tmp_path: Path) -> None:
    first = small("wordpiece", "bert")
    first.save(tmp_path)
    assert fingerprint(first) == fingerprint(Tokenizer.from_folder(tmp_path))
    assert fingerprint(first) != fingerprint(small("bpe", "gpt2"))
