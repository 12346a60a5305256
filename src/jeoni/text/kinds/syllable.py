"""Korean syllables: each character a token, each stretch of blanks one token of its own.

The manner of KoCharELECTRA (its ``vocab.txt`` has a line with one blank). Vocabularies that write a
blank as ``_`` or ``▁`` are read as well.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jeoni.text import learners, vocab_files
from jeoni.text.kind import Kind, Lesson
from jeoni.text.recipes import Recipe
from jeoni.text.spec import JSON, clean, pipeline, replace

BLANKS = (" ", "_", "▁")


def _pipeline(options: Mapping[str, Any]) -> JSON:
    blank = options.get("blank", " ")
    normalizers = [
        {"type": "NFC"},
        clean(lowercase=options["lower"]),
        {"type": "Strip", "strip_left": True, "strip_right": True},
        replace(" +", blank, regex=True),
    ]
    decoders = [{"type": "Fuse"}, *([replace(blank, " ")] if blank != " " else [])]
    return pipeline(normalizers, [], decoders[::-1])


def _learn(lesson: Lesson) -> JSON:
    return learners.characters_model(lesson, blanks=(" ",))


def _read(path: Path, recipe: Recipe, unk: str) -> tuple[JSON, JSON]:
    vocab = vocab_files.read_lines(path)
    blank = next((name for name in BLANKS if name in vocab), " ")
    return learners.bpe_model(vocab, (), unk=unk), {"blank": blank}


def _write(whole: JSON, recipe: Recipe) -> dict[str, bytes]:
    return {"vocab.txt": vocab_files.write_lines(whole["model"]["vocab"])}


KIND = Kind(
    about="one character a token, blanks too (KoCharELECTRA)",
    like=("syllable",),
    pipeline=_pipeline,
    learn=_learn,
    read=_read,
    write=_write,
    files=("vocab.txt",),
)
