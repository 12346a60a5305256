"""A trained tagger on text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.data.tags import of_entities
from jeoni.evaluation.runner import predict
from jeoni.metrics.entities import entities
from jeoni.models.model import Model
from jeoni.serving.predictor import Predictor
from jeoni.serving.words import listed, whole_of
from jeoni.tasks._tag_types import TagPrediction

_ACCENTS = "\\u0300-\\u036f"  # of letters taken apart (NFD): part of the word
WORD = re.compile(rf"[\w{_ACCENTS}]+|[^\w\s]")


@dataclass(frozen=True)
class Span:
    """A part of a text and its tag: an entity, or a word.

    Attributes:
        text: the part.
        tag: its kind.
        start, end: its characters in the text, from start to before the end.
        probability: of its tags; of an entity's, the lowest; 0 of a word that no token stands for.
    """

    text: str
    tag: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class Tagged:
    """A text, and what was found in it: its entities, or all of its words with their tags."""

    text: str
    spans: tuple[Span, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def tag(
    model: str | Path | Model,
    texts: str | Sequence[str | Sequence[str]],
    *,
    device: str = "auto",
    task: str = "tagging",
    family: str | None = None,
    **settings: Any,
) -> list[Tagged]:
    """Find entities in texts, or tag their words.

    Args:
        model: a run, a folder, anything ``jeoni.load`` takes, or a loaded model.
        texts: a text or several, or lists of words. Where words have tags, a text is cut at blanks and
            around marks, which may not be how the training data were: then give lists of words.
        device: ``auto``, ``cpu``, ``cuda``.
        task, family: of your own, see ``Predictor``.
        settings: of the task, for example ``stride=64``.

    Raises:
        UserError: a text of blanks, or a model that was trained for something else.
    """
    given = listed(texts)
    predictor = Predictor(model, task, settings=settings, device=device, family=family)
    by_word = getattr(predictor.task.config, "unit", "word") == "word"
    wholes = [whole_of(text, f"input {number}") for number, text in enumerate(given, 1)]
    places = [_cut(text, by_word) for text in (given if by_word else wholes)]
    fields = [_fields(text, spots, by_word) for text, spots in zip(wholes, places, strict=True)]
    for number, values in enumerate(fields, 1):
        if not values["text"].strip():
            raise UserError(f"input {number}: the text is empty")
    if not fields:
        return []
    records = [Record(dict(f), "input", number, "item") for number, f in enumerate(fields, 1)]
    encoded = predictor.task.encode(records, labeled=False)
    found = predict(predictor.task, encoded, precision="fp32")
    if not all(isinstance(prediction, TagPrediction) for prediction in found):
        kind = type(found[0]).__name__
        raise UserError(f"{type(predictor.task).__name__} gives {kind}, not TagPrediction")
    whole = of_entities(predictor.task.model.labels or [])
    return [
        Tagged(text, tuple(_spans(text, spots, prediction, whole)))
        for text, spots, prediction in zip(wholes, places, found, strict=True)
    ]


def _cut(text: str | Sequence[str], by_word: bool) -> list[tuple[int, int]]:
    """Characters of what has a tag: of words, or of each character."""
    if isinstance(text, str):
        pattern = WORD if by_word else re.compile(".", re.DOTALL)
        return [match.span() for match in pattern.finditer(text)]
    places, start = [], 0
    for word in text:
        places.append((start, start + len(word)))
        start += len(word) + 1
    return places


def _fields(text: str, places: Sequence[tuple[int, int]], by_word: bool) -> Mapping[str, Any]:
    if not by_word:
        return {"text": text}
    words = [text[start:end] for start, end in places]
    return {"text": " ".join(words), "tokens": words}


def _spans(
    text: str, places: Sequence[tuple[int, int]], prediction: TagPrediction, whole: bool
) -> list[Span]:
    tags = prediction.tags
    parts = entities(tags) if whole else [(tag, i, i) for i, tag in enumerate(tags)]
    spans = []
    for kind, first, last in parts:
        start, end = places[first][0], places[last][1]
        said = [chance for chance in prediction.probabilities[first : last + 1] if chance]
        chance = min(said, default=0.0)
        spans.append(Span(text[start:end], kind, start, end, chance))
    return spans
