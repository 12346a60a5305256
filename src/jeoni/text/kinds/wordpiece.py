"""WordPiece (Schuster and Nakajima 2012) as in BERT: longest match first, ``##`` inside words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jeoni.text import learners, vocab_files
from jeoni.text.kind import Kind, Lesson
from jeoni.text.recipes import Recipe
from jeoni.text.spec import JSON, metaspace, pipeline

PREFIX, MARK = "##", "▁"
# Settings of the normalizer: name in tokenizer_config.json, name in tokenizer.json, allowed values.
SETTINGS: tuple[tuple[str, str, tuple[bool | None, ...]], ...] = (
    ("do_lower_case", "lowercase", (True, False)),
    ("strip_accents", "strip_accents", (True, False, None)),
    ("tokenize_chinese_chars", "handle_chinese_chars", (True, False)),
)


def _pipeline(options: Mapping[str, Any]) -> JSON:
    settings = {inner: options[key] for key, inner, _ in SETTINGS}
    normalizer = {"type": "BertNormalizer", "clean_text": True, **settings}
    decoder = {"type": "WordPiece", "prefix": PREFIX, "cleanup": True}
    return pipeline([normalizer], [{"type": "BertPreTokenizer"}], [decoder])


def _model(vocab: Mapping[str, int], unk: str) -> JSON:
    return {
        "type": "WordPiece",
        "unk_token": unk,
        "continuing_subword_prefix": PREFIX,
        "max_input_chars_per_word": 100,
        "vocab": dict(vocab),
    }


def _learn(lesson: Lesson) -> JSON:
    """Byte-pair merges of words with a mark before them; what lacks the mark continues a word."""
    words = {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}, metaspace()]}
    # More than asked for: what merges the mark and a character gives no new token.
    size = lesson.size + len(lesson.characters) + 1
    tokens, _ = learners.bpe(lesson.texts(), words, size=size)
    singles = sorted(token for token in tokens if len(token) == 1 and token != MARK)
    # Inside of words, too, whether merged there or not: else a word that has one would be unknown.
    pieces = singles + [PREFIX + char for char in singles]
    for token in tokens:
        if token.startswith(MARK):
            pieces.append(token[1:] or token)
        elif len(token) > 1:
            pieces.append(PREFIX + token)
    return _model(lesson.number([piece for piece in pieces if piece != MARK]), lesson.unk)


def _read(path: Path, recipe: Recipe, unk: str) -> tuple[JSON, JSON]:
    vocab = vocab_files.read_lines(path)
    return _model(vocab, unk), {}


def _write(whole: JSON, recipe: Recipe) -> dict[str, bytes]:
    return {"vocab.txt": vocab_files.write_lines(whole["model"]["vocab"])}


KIND = Kind(
    about="words, then their longest known pieces (BERT, ELECTRA)",
    like=("bert", "electra", "distilbert"),
    pipeline=_pipeline,
    learn=_learn,
    read=_read,
    write=_write,
    files=("vocab.txt",),
    characters=2,
)
