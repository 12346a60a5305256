"""Learning vocabularies: the Rust library's trainers, made to give the same result every time.

The library iterates over hash tables with random seeds. Byte-pair encoding is deterministic all the
same as long as every symbol is a single character (the alphabet is sorted), so what marks the beginning
or end of a word is a character here, too, and is turned into ``##`` or ``</w>`` afterwards. Unigram's
scores differ in the last bits, and are rounded.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import tokenizers
from tokenizers import models, trainers

from jeoni.text import spec
from jeoni.text.kind import Lesson
from jeoni.text.spec import JSON

_SCORE_DIGITS = 4


def bpe(
    texts: Iterator[str], pre_tokenizer: JSON, *, size: int, alphabet: Sequence[str] = ()
) -> tuple[list[str], list[tuple[str, str]]]:
    """Tokens by id, the alphabet first, and merges, of byte-pair encoding (Sennrich et al. 2016).

    Pairs that occur once are not merged.
    """
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = spec.rust({"pre_tokenizer": pre_tokenizer}).pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, initial_alphabet=list(alphabet), show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    model = _model(learner)
    pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    merges = [(str(first), str(second)) for first, second in pairs]
    return sorted(model["vocab"], key=model["vocab"].__getitem__), merges


def unigram(lesson: Lesson, pre_tokenizer: JSON) -> JSON:
    """A Unigram model (Kudo 2018): special tokens, then pieces by falling probability."""
    learner = tokenizers.Tokenizer(models.Unigram())
    learner.pre_tokenizer = spec.rust({"pre_tokenizer": pre_tokenizer}).pre_tokenizer
    trainer = trainers.UnigramTrainer(
        vocab_size=lesson.room + 1,  # the unknown token among them
        special_tokens=[lesson.unk],
        unk_token=lesson.unk,
        show_progress=False,
    )
    learner.train_from_iterator(lesson.texts(), trainer)
    special = {*lesson.first, *lesson.last}
    pieces = [
        (token, round(score, _SCORE_DIGITS))
        for token, score in _model(learner)["vocab"]
        if token not in special
    ]
    pieces.sort(key=lambda piece: (-piece[1], piece[0]))
    entries = [(token, 0.0) for token in lesson.first] + pieces[: lesson.room]
    entries += [(token, 0.0) for token in lesson.last]
    return unigram_model(entries, lesson.unk)


def unigram_model(
    entries: Sequence[tuple[str, float]], unk: str, *, byte_fallback: bool = False
) -> JSON:
    """The model of a tokenizer.json from tokens with scores."""
    unk_id = next(i for i, (token, _) in enumerate(entries) if token == unk)
    return {
        "type": "Unigram",
        "unk_id": unk_id,
        "vocab": [list(entry) for entry in entries],
        "byte_fallback": byte_fallback,
    }


def bpe_model(
    vocab: dict[str, int], merges: Sequence[Sequence[str]], *, unk: str | None, suffix: str = ""
) -> JSON:
    """The model of a tokenizer.json from a vocabulary and merges."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unk,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": suffix,
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": vocab,
        "merges": [list(pair) for pair in merges],
    }


def characters_model(lesson: Lesson, blanks: Sequence[str] = ()) -> JSON:
    """Each character a token: byte-pair encoding without merges."""
    vocab = lesson.number([*blanks, *lesson.characters])
    return bpe_model(vocab, (), unk=lesson.unk)


def _model(learner: tokenizers.Tokenizer) -> dict[str, Any]:
    model: dict[str, Any] = json.loads(learner.to_str())["model"]
    return model
