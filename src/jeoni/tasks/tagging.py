"""Tagging: a tag for every word or character, such as its part of speech, or the entity it is part of.

Sources: Devlin et al., "BERT", 2019, section 5.3 (a linear layer on each word's first token); Park et al.,
"KLUE", 2021, section 3.4 (characters).
"""

from collections.abc import Sequence
from itertools import compress
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from jeoni.base.batch import Batch, Loss, of_words
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Features
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record
from jeoni.models.heads import tagging_head
from jeoni.nn.heads import TaggingHead
from jeoni.ops.losses import cross_entropy
from jeoni.report.sections import Section
from jeoni.tasks._chain import best_paths, chain, chain_loss
from jeoni.tasks._projection import NONE, Ints, carriers, owners
from jeoni.tasks._saliency import deciding, surest_words
from jeoni.tasks._tag_report import tag_sections
from jeoni.tasks._tag_scores import SUMS, tag_scores
from jeoni.tasks._tag_set import IGNORED, TagSet, Wanted
from jeoni.tasks._tag_types import EncodedTags, Kept, Sentence, TagPrediction, Window, joined
from jeoni.tasks._task import Encoded, Scores, Task, TaskType, Verdict

HEAD = "tagging"
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
            tokens see only those before them. ``mean``: the first, with the mean of all.
        crf: whether tags of a sentence are judged together, by a chain over them (extra ``crf``).
        metric: official scorer; the data set gives it if this does not.
    """

    labels: tuple[str, ...] | None = None
    unit: Literal["word", "character"] = "word"
    scheme: Wanted = "auto"
    max_length: int = Field(256, ge=1)
    stride: int = Field(32, ge=0)
    piece: Literal["auto", "first", "last", "mean"] = "auto"
    crf: bool = False
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
        self.tags = TagSet(labels, config.scheme, model.labels)
        self.labels, plain = self.tags.names, self.tags.plain
        metric = config.metric or ("tag_accuracy" if plain else "entity_f1")
        if plain and metric != "tag_accuracy":
            raise UserError(f"task.metric={metric} is for entities, but tags are plain")
        self.metric, self.main_metric = metric, MAIN[metric]
        self.last = config.piece == "last" or (config.piece == "auto" and model.spec.causal)
        self._attach_head(seed)

    def _attach_head(self, seed: int) -> None:
        """The head that is there, or in the checkpoint, for these tags; a chain comes on, or goes."""
        model, count = self.model, len(self.labels)
        same = model.labels == self.labels and "classification" not in model.heads  # whose they are
        head = model.keep_head(HEAD)
        fits = isinstance(head, TaggingHead) and head.classes == count and same
        if not (fits and (self.chain is not None) == self.config.crf):
            before = set(model.fresh)
            model.keep_head("")
            new = tagging_head(model, count, chain(count) if self.config.crf else None)
            model.add_head(HEAD, new, seed=seed, drawn=() if same else ("out.", "chain."))
            if fits and isinstance(head, TaggingHead):
                new.out = head.out
                out = {f"heads.{HEAD}.out.{name}" for name, _ in head.out.named_parameters()}
                model.fresh = (model.fresh - out) | (before & out)
        model.labels = list(self.labels)

    @property
    def chain(self) -> nn.Module | None:
        """What judges tags together, if that is wanted."""
        head = self.model.heads[HEAD]
        assert isinstance(head, TaggingHead)
        return head.chain

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> EncodedTags:
        """Texts to windows; targets ``tags [N]``, with -100 at tokens that carry none.

        With ``piece=mean`` also ``words [N]``, the word that each token is of, or -1; labeled or not.
        """
        tokenizer, config = self.model.tokenizer, self.config
        pieces = tokenizer.pieces([record.fields["text"] for record in records])
        first, special = tokenizer.text_start(), tokenizer.special_count()
        sentences, windows, examples = [], [], []
        sequences: list[tuple[list[int], list[int]]] = []
        targets: list[Any] = []
        owned: list[Any] = []

        def framed(inside: Ints, special_ones: int) -> list[int]:
            return [*[special_ones] * first, *inside.tolist(), *[special_ones] * (special - first)]

        for number, (record, piece) in enumerate(zip(records, pieces, strict=True)):
            words = record.fields.get("tokens")
            units = carriers(record.fields["text"], words, piece.offsets, last=self.last)
            gold = self.tags.gold(record) if labeled else None
            sentences.append(Sentence(units, piece.offsets, gold))
            wanted = np.full(len(piece) + special, IGNORED)
            if gold is not None:
                wanted[first : first + len(piece)][units != NONE] = self.tags.targets(gold, units)
            for start, end in tokenizer.windows(
                None, len(piece), max_length=config.max_length, stride=config.stride
            ):
                sequences.append(tokenizer.build_single(piece.ids[start:end]))
                windows.append((start, end))
                examples.append(number)
                targets.append(framed(wanted[first + start : first + end], IGNORED))
                if config.piece == "mean" and words is not None:
                    whose = owners(record.fields["text"], words, piece.offsets[start:end])
                    owned.append(framed(whose, NONE))
        token_targets = {"tags": targets} if labeled else {}
        token_targets |= {"words": owned} if owned else {}
        features = Features.of(
            [ids for ids, _ in sequences],
            [segments for _, segments in sequences],
            examples=examples,
            token_targets=token_targets,
        )
        notes = {"windows": len(windows), **self.tags.notes(records, sentences)}
        return EncodedTags(records, features, notes, sentences, windows)

    def logits(self, batch: Batch) -> Tensor:
        """``[N, tags]``."""
        hidden = self.model(batch)
        if "words" in batch.targets and self.model.features is None:  # which see to it themselves
            means, owner, _ = of_words(hidden, batch)
            hidden = means.index_select(0, owner)
        result: Tensor = self.model.heads[HEAD](hidden)
        return result

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Cross-entropy of the tokens that carry a tag; of a chain, the likelihood of them together."""
        target = batch.targets["tags"].long()
        seen = target != IGNORED
        if self.chain is not None:
            counts = torch.stack([part.sum() for part in torch.split(seen, list(batch.lengths))])
            total = chain_loss(self.chain, logits[seen], target[seen], counts.tolist())
            return Loss(total, float(counts.sum()))
        right = float((logits.detach().argmax(-1) == target)[seen].sum())
        count = float(seen.sum())
        return Loss(cross_entropy(logits, target), count, {"tag_accuracy": (right, count)})

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[Kept]:
        """The likeliest tag of each token of the text; of a chain, the likeliest tags together."""
        assert isinstance(encoded, EncodedTags)
        probabilities, tags = torch.softmax(logits.float(), -1).max(-1)
        if self.chain is not None:
            seen = encoded.carrying(indices, self.model.tokenizer.text_start())
            places = torch.from_numpy(np.concatenate(seen)).to(logits.device)
            counts = [int(own.sum()) for own in seen]
            tags[places], probabilities[places] = best_paths(self.chain, logits[places], counts)
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
        tags, chances = joined(windows, len(sentence.units))
        said = self.tags.said(record, sentence, tags)
        sure = sentence.spread(chances, len(said), words="tokens" in record.fields)
        return TagPrediction(tuple(said), tuple(sure))

    def score(self, encoded: Encoded, predictions: Sequence[TagPrediction]) -> Scores:
        """The official scores, as fractions (see ``_tag_scores``)."""
        assert isinstance(encoded, EncodedTags)
        parts = [r.fields.get("tokens") or list(r.fields["text"]) for r in encoded.records]
        gold, said = encoded.gold, [list(prediction.tags) for prediction in predictions]
        return tag_scores(self.metric, parts, gold, said, self.tags.kinds)

    def sections(
        self, encoded: Encoded, predictions: Sequence[TagPrediction], scores: Scores
    ) -> list[Section]:
        """Scores by kind, errors by what is wrong, entities marked in their texts; or confused tags."""
        assert isinstance(encoded, EncodedTags)
        said = [list(prediction.tags) for prediction in predictions]
        scheme = "BIO" if self.metric == "klue_ner" else None
        return tag_sections(
            encoded.records, encoded.gold, said, plain=self.tags.plain, scheme=scheme
        )

    def confidences(
        self, encoded: Encoded, predictions: Sequence[TagPrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """Of every tag that the model says: of what a token stands for."""
        assert isinstance(encoded, EncodedTags)
        sure, right = list[float](), list[bool]()
        rows = zip(encoded.records, encoded.sentences, encoded.gold, predictions, strict=True)
        for record, sentence, gold, p in rows:
            there = sentence.there(len(gold), words="tokens" in record.fields)
            sure += compress(p.probabilities, there)
            right += compress(_right(gold, p), there)
        return sure, right

    def surest(
        self, encoded: Encoded, predictions: Sequence[TagPrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """Of the word of each text that stands for it."""
        assert isinstance(encoded, EncodedTags)
        rows = zip(encoded.gold, predictions, strict=True)
        return surest_words((p.probabilities, _right(gold, p)) for gold, p in rows)

    def verdict(self, encoded: Encoded, prediction: TagPrediction, example: int) -> Verdict | None:
        """The tag of that word alone, in the window that it is believed of."""
        assert isinstance(encoded, EncodedTags)
        gold, sentence = encoded.gold[example], encoded.sentences[example]
        word = deciding(prediction.probabilities, _right(gold, prediction))
        if word is None:
            return None
        units = sentence.units
        token = int(np.flatnonzero(units == units[units <= word].max())[0])
        sequence = int(encoded.believed(example)[token])
        place = self.model.tokenizer.text_start() + token - encoded.windows[sequence][0]
        target = np.full(encoded.features.lengths[sequence], IGNORED)
        numbers = self.tags.targets(list(prediction.tags), units)
        target[place] = numbers[int((units[:token] != NONE).sum())]
        fields = encoded.records[example].fields
        words = fields.get("tokens")
        name = words[word] if words else fields["text"][slice(*sentence.offsets[token])]
        said, right = (f"{name}: {tags[word]}" for tags in (prediction.tags, gold))
        return Verdict(sequence, {"tags": target.tolist()}, said, right)

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        values = {"labels": self.tags.given, "scheme": self.tags.scheme, "metric": self.metric}
        return {"task": "tagging", **self.config.model_dump(), **values}


def _right(gold: Sequence[str], prediction: TagPrediction) -> list[bool]:
    """Of each word whether its tag is right."""
    return list(map(str.__eq__, gold, prediction.tags))


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
