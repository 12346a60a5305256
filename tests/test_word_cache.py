"""Words that are remembered: the same tokens as each text alone, whatever was read before."""

import copy
import functools
import pickle
import random
from pathlib import Path
from typing import Any

import pytest

import tokenizer_samples as samples
from jeoni.text import engine, word_cache
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.tokenizer_files import TokenizerFiles
from jeoni.text.word_cache import WordCache

APART = ["bert", "roberta", "gpt2", "gpt1", "xlm-roberta", "albert", "xlnet", "t5", "jamo"]
WORDS = [
    "한국어를", "한국", "the", "cafeteria", "cafe", "café", "cafe\u0301", "``the''", "ㅋㅋㅋ", "漢字",
    "it's", "the.", "(the)", "뷁", "ＡＢ", "½", "▁", "\u00b4", "\ufffd", "\u200b", "\u0301", "❤\ufe0f",
    "👨\u200d👩", "[MASK]", "<mask>the", "</s>", "Ġ", "<", "\x07", "a\tb", "\ud800", "",
]  # fmt: skip
PLAIN = [word for word in WORDS if not set(word) & set("[<▁뷁½")]
BATCHES = [
    ["a b \ufffd", "a \ufffd b"],
    ["½ the", "the ½ the"],
    ["", ""],
]
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def some_texts(rng: random.Random) -> list[str]:
    return [" ".join(rng.choices(WORDS, k=rng.randrange(7))) for _ in range(rng.randrange(2, 5))]


def from_spec(spec: dict[str, Any]) -> Tokenizer:
    return Tokenizer(TokenizerFiles(spec, {}, {}, Path("a test")))


def small(like: str) -> Tokenizer:
    return samples.small(next(kind for kind, name in samples.ALL if name == like), like)


@functools.cache
def variant(name: str) -> Tokenizer:
    """A tokenizer for which words that are not plain do depend on their neighbors."""
    if name == "blanks":  # made by a normalizer, then put together with those beside them
        parts = [{"type": "Nmt"}, {"type": "NFKC"}, replace({"Regex": " {2,}"}, " ")]
        spec = copy.deepcopy(small("t5")._files.spec) | {"pre_tokenizer": METASPACE}
        return from_spec(spec | {"normalizer": {"type": "Sequence", "normalizers": parts}})
    spec = small_gpt2()
    for number, content in enumerate(("뷁", "½"), len(spec["model"]["vocab"])):
        flags = {"single_word": content == "뷁", "rstrip": content == "½", "special": True}
        spec["added_tokens"].append({"id": number, "content": content, **ADDED, **flags})
    return from_spec(spec)


def read(tokenizer: Tokenizer, texts: list[str]) -> list[tuple[list[int], list[list[int]]]]:
    return [(p.ids.tolist(), p.offsets.tolist()) for p in tokenizer.pieces(texts)]


@pytest.mark.parametrize("like", [*APART, "syllable", "words", "blanks", "added"])
def test_batch_is_each_text_alone(like: str) -> None:
    tokenizer = variant(like) if like in ("blanks", "added") else small(like)
    rng = random.Random(0)
    batches = [*BATCHES, *(some_texts(rng) for _ in range(60))]
    for texts in batches:
        alone = [read(tokenizer, [text])[0] for text in texts]
        assert read(tokenizer, texts) == alone
        assert read(tokenizer, texts[::-1]) == alone[::-1]  # now that the words are known
        ids = [ids for ids, _ in alone]
        assert tokenizer.flat_ids(texts)[0].tolist() == [i for own in ids for i in own]
        built = [tokenizer.build_single(own)[0] for own in ids]
        assert [own for own, _ in tokenizer.encode_ids(texts)] == built


@pytest.mark.parametrize("like", [*APART, "added"])
def test_long_texts_are_read_in_parts(like: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = copy.deepcopy(variant(like) if like == "added" else small(like))
    rng = random.Random(1)
    for _ in range(60):
        texts = ["  ".join(some_texts(rng)), " ".join(rng.choices(PLAIN, k=12))]
        monkeypatch.setattr(engine, "PORTION", 1 << 18)
        whole = [read(tokenizer, [text])[0] for text in texts]
        monkeypatch.setattr(engine, "PORTION", 9)
        monkeypatch.setattr(word_cache, "PORTION", 9)
        assert [read(tokenizer, [text])[0] for text in texts] == whole
        assert read(copy.deepcopy(tokenizer), texts) == whole
    assert len(WordCache(["[MASK]"]).parts("한국어를 the cafe 漢字 a b")) == 2
    assert len(WordCache(["[MASK]"]).parts("한국어를 the cafe [MASK] a b")) == 1


@pytest.mark.parametrize("like", APART)
def test_no_more_than_a_portion_is_read_at_once(like: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = copy.deepcopy(small(like))
    text = "한국어를 the cafe " * 9 + "the"
    whole = tokenizer.flat_ids([text])[0].tolist()
    sizes: list[int] = []
    encode = tokenizer._engine._encode

    def watched(texts: list[str], batch: Any) -> Any:
        sizes.extend(map(len, texts))
        return encode(texts, batch)

    monkeypatch.setattr(tokenizer._engine, "_encode", watched)
    monkeypatch.setattr(engine, "PORTION", 20)
    monkeypatch.setattr(word_cache, "PORTION", 20)
    assert tokenizer.flat_ids([text])[0].tolist() == whole
    assert 20 <= max(sizes) < 40


@pytest.mark.parametrize("like", APART)
def test_words_are_read_once(like: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = copy.deepcopy(small(like))
    texts = ["the cafeteria the 한국", "the other 한국 cafeteria"]
    first = read(tokenizer, texts)
    monkeypatch.setattr(tokenizer._engine, "_flat_plain", None)  # whoever calls it fails
    assert read(tokenizer, texts) == first
    with pytest.raises(TypeError):
        tokenizer.pieces(["the 학교에서", "the"])


def small_gpt2() -> dict[str, Any]:
    spec: dict[str, Any] = copy.deepcopy(samples.small("bpe", "gpt2")._files.spec)
    return spec


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


@pytest.mark.parametrize(
    ("part", "content", "apart"),
    [
        ("pre_tokenizer", None, False),
        ("pre_tokenizer", METASPACE | {"prepend_scheme": "first"}, True),
        ("pre_tokenizer", METASPACE | {"prepend_scheme": "never"}, False),
        ("pre_tokenizer", METASPACE | {"split": False}, False),
        ("pre_tokenizer", {"type": "Punctuation", "behavior": "Isolated"}, False),
        ("normalizer", {"type": "Lowercase"}, True),
        ("normalizer", {"type": "Prepend", "prepend": "▁"}, False),
        ("normalizer", {"type": "Strip", "strip_left": True, "strip_right": True}, False),
        ("normalizer", {"type": "Strip", "strip_left": False, "strip_right": True}, True),
        ("normalizer", replace({"Regex": " {2,}"}, " "), True),
        ("normalizer", replace({"Regex": "a b"}, " "), False),
        ("normalizer", replace({"String": " "}, "▁"), False),
        ("normalizer", replace({"String": "the"}, "a b"), False),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFC"}]}, True),
    ],
)
def test_which_tokenizers_read_words_apart(part: str, content: Any, apart: bool) -> None:
    assert (WordCache.of(small_gpt2() | {part: content}) is not None) == apart


def test_dropout_and_added_tokens() -> None:
    spec = small_gpt2()
    spec["model"]["dropout"] = 0.1
    assert WordCache.of(spec) is None
    spec = small_gpt2()
    spec["added_tokens"].append({"id": 600, "content": "신 조어", "normalized": False})
    assert WordCache.of(spec) is None  # two words might become one
    spec = small_gpt2()
    spec["added_tokens"].append({"id": 600, "content": "신조어", "normalized": True})
    assert WordCache.of(spec) is not None  # nothing is normalized
    assert WordCache.of(spec | {"normalizer": {"type": "Lowercase"}}) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_cache, "_MOST", 3)
    tokenizer = from_spec(small_gpt2())
    cache = tokenizer._engine._words
    assert cache is not None
    tokenizer.pieces(["the " + "x" * 50, "the a"])
    assert set(cache._rows) == {"the", " a"}  # what is long is not kept
    tokenizer.pieces(["b c", "d e"])
    tokenizer.pieces(["f g", "h i"])
    assert len(cache._rows) == 3
    assert pickle.loads(pickle.dumps(tokenizer))._engine._words._rows == {}
