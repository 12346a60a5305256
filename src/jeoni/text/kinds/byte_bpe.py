"""Byte-pair encoding of UTF-8 bytes (Radford et al. 2019, section 2.2): nothing is ever unknown."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers

from jeoni.text import learners, vocab_files
from jeoni.text.kind import Kind, Lesson
from jeoni.text.recipes import Recipe
from jeoni.text.spec import JSON, pipeline


def _bytes(prefix: bool) -> JSON:
    return {
        "type": "ByteLevel",
        "add_prefix_space": prefix,
        "trim_offsets": True,
        "use_regex": True,
    }


def _pipeline(options: Mapping[str, Any]) -> JSON:
    return pipeline([], [_bytes(options["add_prefix_space"])], [_bytes(True)])


def _learn(lesson: Lesson) -> JSON:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = _bytes(lesson.options["add_prefix_space"])
    tokens, merges = learners.bpe(lesson.texts(), words, size=lesson.room, alphabet=alphabet)
    vocab = lesson.number(tokens)
    kept = [pair for pair in merges if {*pair, "".join(pair)} <= vocab.keys()]
    return learners.bpe_model(vocab, kept, unk=None)


def _read(path: Path, recipe: Recipe, unk: str) -> tuple[JSON, JSON]:
    vocab = vocab_files.read_mapping(path)
    merges = vocab_files.read_merges(path.with_name("merges.txt"), vocab)
    return learners.bpe_model(vocab, merges, unk=None), {}


def _write(whole: JSON, recipe: Recipe) -> dict[str, bytes]:
    return vocab_files.write_bpe(whole["model"]["vocab"], whole["model"]["merges"])


KIND = Kind(
    about="byte-pair encoding of bytes, nothing unknown (GPT-2, RoBERTa, BART)",
    like=("roberta", "gpt2", "bart"),
    pipeline=_pipeline,
    learn=_learn,
    read=_read,
    write=_write,
    files=("vocab.json", "merges.txt"),
    characters=0,
)
