"""Words: cut at blanks and around each punctuation mark; for static vectors and ELMo."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jeoni.text import spec, vocab_files
from jeoni.text.kind import Kind, Lesson
from jeoni.text.recipes import Recipe
from jeoni.text.spec import JSON, clean, pipeline
from jeoni.text.unigram import count_words


def _pipeline(options: Mapping[str, Any]) -> JSON:
    normalizers = [{"type": "NFC"}, clean(lowercase=options["lower"])]
    return pipeline(normalizers, [{"type": "BertPreTokenizer"}], [])


def model(vocab: Mapping[str, int], unk: str) -> JSON:
    """The model of tokenizer.json."""
    return {"type": "WordLevel", "vocab": dict(vocab), "unk_token": unk}


def _learn(lesson: Lesson) -> JSON:
    words = spec.rust({"pre_tokenizer": {"type": "BertPreTokenizer"}}).pre_tokenizer
    counts = count_words(
        word for text in lesson.texts() for word, _ in words.pre_tokenize_str(text)
    )
    ranked: Sequence[str] = sorted(counts, key=lambda word: (-counts[word], word))
    return model(lesson.number(ranked), lesson.unk)


def _read(path: Path, recipe: Recipe, unk: str) -> tuple[JSON, JSON]:
    return model(vocab_files.read_lines(path), unk), {}


def _write(whole: JSON, recipe: Recipe) -> dict[str, bytes]:
    return {"vocab.txt": vocab_files.write_lines(whole["model"]["vocab"])}


KIND = Kind(
    about="whole words, for static vectors and ELMo",
    like=("words",),
    pipeline=_pipeline,
    learn=_learn,
    read=_read,
    write=_write,
    files=("vocab.txt",),
    characters=0,
)
