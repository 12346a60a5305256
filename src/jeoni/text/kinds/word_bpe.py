"""Byte-pair encoding of lower-cased words with ``</w>`` at their end (Sennrich et al. 2016), as in GPT-1.

Without the packages that GPT-1's own code cleaned text with (ftfy, spaCy), ``transformers`` prepares
text as uncased BERT does; so does this.
"""

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jeoni.text import learners, vocab_files
from jeoni.text.kind import Kind, Lesson
from jeoni.text.recipes import Recipe
from jeoni.text.spec import JSON, metaspace, pipeline

END, MARK = "</w>", "▁"


def _pipeline(options: Mapping[str, Any]) -> JSON:
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    }
    decoder = {"type": "BPEDecoder", "suffix": END}
    return pipeline([normalizer], [{"type": "BertPreTokenizer"}], [decoder])


def _learn(lesson: Lesson) -> JSON:
    """Learned backwards: the library can mark the beginning of words with a character, not the end."""
    words = {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}, metaspace()]}
    texts = (unicodedata.normalize("NFD", text)[::-1] for text in lesson.texts())
    size = lesson.size + len(lesson.characters) + 1
    tokens, pairs = learners.bpe(texts, words, size=size)
    singles = sorted(token for token in tokens if len(token) == 1 and token != MARK)
    merges = [(_forwards(b), _forwards(a)) for a, b in pairs if a != MARK]
    alphabet = [*singles, *(char + END for char in singles)]
    vocab = lesson.number([*alphabet, *(a + b for a, b in merges)])
    kept = [pair for pair in merges if {*pair, "".join(pair)} <= vocab.keys()]
    return learners.bpe_model(vocab, kept, unk=lesson.unk, suffix=END)


def _forwards(token: str) -> str:
    return token[:0:-1] + END if token.startswith(MARK) else token[::-1]


def _read(path: Path, recipe: Recipe, unk: str) -> tuple[JSON, JSON]:
    vocab = vocab_files.read_mapping(path)
    merges = vocab_files.read_merges(path.with_name("merges.txt"), vocab)
    return learners.bpe_model(vocab, merges, unk=unk, suffix=END), {}


def _write(whole: JSON, recipe: Recipe) -> dict[str, bytes]:
    return vocab_files.write_bpe(whole["model"]["vocab"], whole["model"]["merges"])


KIND = Kind(
    about="byte-pair encoding of lower-cased words (GPT-1)",
    like=("gpt1",),
    pipeline=_pipeline,
    learn=_learn,
    read=_read,
    write=_write,
    files=("vocab.json", "merges.txt"),
    characters=2,
)
