"""Learning vocabularies, with the same result every time.

The Rust library's trainers iterate over hash tables with random seeds. Byte-pair encoding is
deterministic all the same as long as every symbol is a single character (the alphabet is sorted), so what
marks the beginning or end of a word is a character here, too, and is turned into ``##`` or ``</w>``
afterwards. Unigram is not, and has its own file.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import tokenizers
from tokenizers import models, trainers

from jeoni.text import spec
from jeoni.text.kind import Lesson
from jeoni.text.spec import JSON
from jeoni.text.unigram import count_words
from jeoni.text.unigram import learn as learn_pieces


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


def unigram(lesson: Lesson, mark: str | None = None) -> JSON:
    """A Unigram model (Kudo 2018) with ``▁`` before words: special tokens, then pieces by probability.

    Args:
        lesson: what to learn from.
        mark: a character that cuts words without leaving a trace.
    """

    def words() -> Iterator[str]:
        for text in lesson.texts():
            for word in text.split():
                parts = word.split(mark) if mark else (word,)
                yield "▁" + parts[0]
                yield from filter(None, parts[1:])

    special = {*lesson.first, *lesson.last}
    learned = learn_pieces(count_words(words()), lesson.room)
    pieces = [(token, round(score, 6)) for token, score in learned if token not in special]
    entries = [(token, 0.0) for token in lesson.first] + pieces
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
