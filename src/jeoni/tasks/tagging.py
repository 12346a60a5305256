"""Tagging: a tag for every word or character, such as its part of speech, or the entity it is part of.

Sources: Devlin et al., "BERT", 2019, section 5.3 (a linear layer on each word's first token); Park et al.,
"KLUE", 2021, section 3.4 (characters).
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Features
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record
from jeoni.data.tags import bio_tags, invalid, kinds_of, of_entities, to_bio, to_bioes
from jeoni.metrics.entities import entities
from jeoni.models.heads import tagging_head
from jeoni.ops.losses import cross_entropy
from jeoni.report.sections import Section
from jeoni.tasks._projection import NONE, Ints, carriers, to_characters, to_tokens, to_words
from jeoni.tasks._tag_report import tag_sections
from jeoni.tasks._tag_scores import SUMS, tag_scores
from jeoni.tasks._tag_types import EncodedTags, Kept, Sentence, TagPrediction, Window
from jeoni.tasks._task import Encoded, Scores, Task, TaskType

HEAD = "tagging"
IGNORED = -100
UNKNOWN = "tags that the model does not know"
MAIN = {"entity_f1": "entity_f1", "klue_ner": "entity_macro_f1", "tag_accuracy": "tag_accuracy"}


class TaggingConfig(Config):
    """Settings of tagging.

    Attributes:
        labels: the tags; of entities as BIO. The data set gives them if this does not.
        unit: what has a tag, for texts that are not cut into words yet; the data set gives it.
        scheme: what the model learns to say: ``BIO`` or ``BIOES`` of entities (data may be in either),
            ``plain`` tags; ``auto``: BIO where the tags are of entities.
        max_length: longest sequence in tokens; longer texts are read in windows.
        stride: tokens that a window has in common with the next.
        piece: which token of a word has its tag: the ``first``, or the ``last``; ``auto``: the last where
            tokens see only those before them.
        metric: official scorer; the data set gives it if this does not.
    """

    labels: tuple[str, ...] | None = None
    unit: Literal["word", "character"] = "word"
    scheme: Literal["auto", "BIO", "BIOES", "plain"] = "auto"
    max_length: int = Field(256, ge=1)
    stride: int = Field(32, ge=0)
    piece: Literal["auto", "first", "last"] = "auto"
    metric: Literal["entity_f1", "klue_ner", "tag_accuracy"] | None = None


class Tagging(Task[Kept, TagPrediction]):
    """A tag for every word or character."""

    config: TaggingConfig

    def attach(self, seed: int) -> None:
        """Use the checkpoint's head if it is for the same tags, else a fresh one."""
        config, model = self.config, self.model
        labels = config.labels or model.labels
        if not labels:
            raise UserError(
                "tagging needs the names of the tags",
                hint="give task.labels=[O,B-PER,I-PER] or a data set that has them",
            )
        if config.max_length > model.spec.positions:
            raise UserError(
                f"task.max_length={config.max_length}, but the model has {model.spec.positions} positions"
            )
        entity = of_entities(labels)
        self.scheme = ("BIO" if entity else "plain") if config.scheme == "auto" else config.scheme
        if self.scheme != "plain" and not entity:
            raise UserError(
                f"task.scheme={self.scheme}, but tags are {', '.join(labels[:10])}, ..."
            )
        self.given = list(labels)
        plain = self.scheme == "plain"
        self.labels = list(labels) if plain else list(bio_tags(kinds_of(labels), self.scheme))
        metric = config.metric or ("tag_accuracy" if plain else "entity_f1")
        if plain and metric != "tag_accuracy":
            raise UserError(f"task.metric={metric} is for entities, but tags are plain")
        self.numbers = {tag: number for number, tag in enumerate(self.labels)}
        self.metric, self.main_metric = metric, MAIN[metric]
        self.last = config.piece == "last" or (config.piece == "auto" and model.spec.causal)
        head = model.keep_head(HEAD)
        if head is None or head.classes != len(self.labels) or model.labels != self.labels:
            same = model.labels == self.labels
            fresh = tagging_head(model, len(self.labels))
            model.add_head(HEAD, fresh, seed=seed, drawn=() if same else ("out.",))
        model.labels = list(self.labels)

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> EncodedTags:
        """Texts to windows; targets ``tags [N]``, with -100 at tokens that carry none."""
        tokenizer, config = self.model.tokenizer, self.config
        pieces = tokenizer.pieces([record.fields["text"] for record in records])
        first, special = tokenizer.text_start(), tokenizer.special_count()
        sentences, windows, examples = [], [], []
        sequences: list[tuple[list[int], list[int]]] = []
        targets: list[Any] = []
        for number, (record, piece) in enumerate(zip(records, pieces, strict=True)):
            words = record.fields.get("tokens")
            units = carriers(record.fields["text"], words, piece.offsets, last=self.last)
            gold = self._gold(record) if labeled else None
            sentences.append(Sentence(units, piece.offsets, gold))
            wanted = np.full(len(piece) + special, IGNORED)
            if gold is not None:
                wanted[first : first + len(piece)][units != NONE] = self._targets(gold, units)
            for start, end in tokenizer.windows(
                None, len(piece), max_length=config.max_length, stride=config.stride
            ):
                sequences.append(tokenizer.build_single(piece.ids[start:end]))
                windows.append((start, end))
                examples.append(number)
                inside = wanted[first + start : first + end]
                tail = [IGNORED] * (special - first)
                targets.append([*[IGNORED] * first, *inside.tolist(), *tail])
        features = Features.of(
            [ids for ids, _ in sequences],
            [segments for _, segments in sequences],
            examples=examples,
            token_targets={"tags": targets} if labeled else {},
        )
        return EncodedTags(
            records, features, self._notes(records, sentences, len(windows)), sentences, windows
        )

    def _gold(self, record: Record) -> list[str]:
        """The right tags by name, of entities as BIO; of plain ones, some may be none of the model's."""
        tags: list[str] = []
        for tag in record.fields["tags"]:
            known = isinstance(tag, int) and 0 <= tag < len(self.given)
            tags.append(self.given[tag] if known else str(tag))
        kinds = set(kinds_of(self.given)) if self.scheme != "plain" else set()
        strange = [tag for tag in tags if not self._is_known(tag, kinds)]
        # Fine tags of a treebank (GSD's xpos): each part of it has some that the others have not.
        named = self.scheme == "plain" and all(isinstance(t, str) for t in record.fields["tags"])
        if strange and (not named or len(strange) == len(tags)):
            raise UserError(
                f"{record.where}: tag {strange[0]!r} is not one of the tags",
                hint=f"tags: {', '.join(self.given[:20])}{', ...' if len(self.given) > 20 else ''}",
            )
        return to_bio(tags) if kinds else tags

    def _is_known(self, tag: str, kinds: set[str]) -> bool:
        if not kinds:
            return tag in self.numbers
        return tag == "O" or (of_entities((tag, "O")) and tag[2:] in kinds)

    def _targets(self, gold: list[str], units: Ints) -> list[int]:
        tags = to_tokens(gold, units)
        if self.scheme == "BIOES":
            tags = to_bioes(tags)
        return [self.numbers.get(tag, IGNORED) for tag in tags]

    def _notes(
        self, records: Sequence[Record], sentences: Sequence[Sentence], windows: int
    ) -> dict[str, int]:
        notes = {"windows": windows, "words without a token": 0}
        for record, sentence in zip(records, sentences, strict=True):
            words = record.fields.get("tokens")
            if words is not None:
                notes["words without a token"] += len(words) - int((sentence.units != NONE).sum())
        gold = [s.gold for s in sentences if s.gold is not None]
        if self.scheme == "plain" and gold:
            notes[UNKNOWN] = sum(tag not in self.numbers for tags in gold for tag in tags)
        elif gold:
            named = [[t for t in r.fields["tags"] if isinstance(t, str)] for r in records]
            notes["tags that their scheme does not allow"] = sum(map(invalid, named))
            notes["entities whose borders are inside tokens"] = sum(
                map(self._lost, records, sentences)
            )
        return notes

    def _lost(self, record: Record, sentence: Sentence) -> int:
        """Entities that a model could not say even if it were always right."""
        gold = sentence.gold or []
        back = self._units(record, sentence, to_tokens(gold, sentence.units))
        return len(set(entities(gold)) - set(entities(back)))

    def _units(self, record: Record, sentence: Sentence, tags: Sequence[str]) -> list[str]:
        """Tags of words or characters from those of the carriers."""
        words, plain = record.fields.get("tokens"), self.scheme == "plain"
        if words is not None:
            return to_words(tags, sentence.units, len(words), self.given[0] if plain else "O")
        text = record.fields["text"]
        return to_characters(tags, sentence.units, sentence.offsets, text, plain=plain)

    def logits(self, batch: Batch) -> Tensor:
        """``[N, tags]``."""
        result: Tensor = self.model.heads[HEAD](self.model(batch))
        return result

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Cross-entropy of the tokens that carry a tag."""
        target = batch.targets["tags"].long()
        seen = target != IGNORED
        right = float((logits.detach().argmax(-1) == target)[seen].sum())
        count = float(seen.sum())
        return Loss(cross_entropy(logits, target), count, {"tag_accuracy": (right, count)})

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[Kept]:
        """The likeliest tag of each token of the text."""
        assert isinstance(encoded, EncodedTags)
        probabilities, tags = torch.softmax(logits.float(), -1).max(-1)
        cuts = np.cumsum(encoded.features.lengths[list(indices)])[:-1]
        first = self.model.tokenizer.text_start()
        kept = []
        sides = (np.split(side.cpu().numpy(), cuts) for side in (tags, probabilities))
        for index, found, sure in zip(indices, *sides, strict=True):
            start, end = encoded.windows[index]
            inside = slice(first, first + end - start)
            kept.append((found[inside].tolist(), sure[inside].tolist()))
        return kept

    def combine(self, encoded: Encoded, partials: Sequence[Kept]) -> list[TagPrediction]:
        """Of tokens that several windows hold, the one with most text around them is believed."""
        assert isinstance(encoded, EncodedTags)
        gathered: list[list[tuple[Window, Kept]]] = [[] for _ in encoded.records]
        owners = encoded.features.examples.tolist()
        for owner, window, kept in zip(owners, encoded.windows, partials, strict=True):
            gathered[owner].append((window, kept))
        return [
            self._predicted(record, sentence, windows)
            for record, sentence, windows in zip(
                encoded.records, encoded.sentences, gathered, strict=True
            )
        ]

    def _predicted(
        self, record: Record, sentence: Sentence, windows: Sequence[tuple[Window, Kept]]
    ) -> TagPrediction:
        count = len(sentence.units)
        around = np.full(count, -1)
        tags, chances = np.zeros(count, np.int64), np.zeros(count)
        for (start, end), (found, sure) in windows:
            here = np.arange(start, end)
            left = here - start if start else np.full(end - start, count)
            right = end - 1 - here if end < count else np.full(end - start, count)
            better = here[np.minimum(left, right) > around[start:end]]
            around[better] = np.minimum(left, right)[better - start]
            tags[better] = np.array(found, np.int64)[better - start]
            chances[better] = np.array(sure)[better - start]
        names = [self.labels[tag] for tag in tags[sentence.units != NONE]]
        said = self._units(record, sentence, to_bio(names) if self.scheme == "BIOES" else names)
        sure = sentence.spread(chances, len(said), words="tokens" in record.fields)
        return TagPrediction(tuple(said), tuple(sure))

    def score(self, encoded: Encoded, predictions: Sequence[TagPrediction]) -> Scores:
        """The official scores, as fractions (see ``_tag_scores``)."""
        assert isinstance(encoded, EncodedTags)
        parts = [r.fields.get("tokens") or list(r.fields["text"]) for r in encoded.records]
        gold, said = encoded.gold, [list(prediction.tags) for prediction in predictions]
        kinds = kinds_of(self.given) if self.scheme != "plain" else ()
        return tag_scores(self.metric, parts, gold, said, kinds)

    def sections(
        self, encoded: Encoded, predictions: Sequence[TagPrediction], scores: Scores
    ) -> list[Section]:
        """Scores by kind, errors by what is wrong, entities marked in their texts; or confused tags."""
        assert isinstance(encoded, EncodedTags)
        said = [list(prediction.tags) for prediction in predictions]
        return tag_sections(encoded.records, encoded.gold, said, plain=self.scheme == "plain")

    def confidences(
        self, encoded: Encoded, predictions: Sequence[TagPrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """Of every tag."""
        assert isinstance(encoded, EncodedTags)
        right = [
            a == b
            for gold, p in zip(encoded.gold, predictions, strict=True)
            for a, b in zip(gold, p.tags, strict=True)
        ]
        return [chance for p in predictions for chance in p.probabilities], right

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        values = {"labels": self.given, "scheme": self.scheme, "metric": self.metric}
        return {"task": "tagging", **self.config.model_dump(), **values}


def from_data(dataset: Dataset) -> dict[str, Any]:
    """What has a tag, the data set's tags, and its scorer."""
    characters = bool(dataset.columns.characters)
    if dataset.card is None and not characters:  # a file of one's own: as its first sentence is
        characters = "tokens" not in dataset.split(next(iter(dataset.sources)))[0].fields
    unit = {"unit": "character" if characters else "word"}
    return unit | ({"labels": dataset.labels, "metric": dataset.metric} if dataset.labels else {})


TASK = TaskType(
    TaggingConfig, Tagging, from_data, "a tag for every word or character of a text", sums=SUMS
)
