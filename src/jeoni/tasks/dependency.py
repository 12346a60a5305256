"""Dependency parsing: the head of every word in its sentence, and its relation to it.

Sources: Dozat and Manning, "Deep biaffine attention for neural dependency parsing", 2017; with a
pretrained model's states of each word's first token: Kondratyuk and Straka, "75 languages, 1 model", 2019.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Features
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record
from jeoni.metrics.parsing import Tree
from jeoni.nn.biaffine import BiaffineHead
from jeoni.ops.losses import cross_entropy
from jeoni.report.sections import Section
from jeoni.tasks._projection import NONE, Ints, carriers
from jeoni.tasks._saliency import deciding, surest_words
from jeoni.tasks._spanning_tree import best_tree
from jeoni.tasks._task import Encoded, Scores, Task, TaskType, Verdict
from jeoni.tasks._tree_report import tree_sections
from jeoni.tasks._tree_scores import MAIN, SUMS, tree_scores

HEAD = "dependency"
IGNORED = -100
LONGEST = 32767
"""Places of tokens, and numbers of words, are kept as int16: rows are as wide as the longest sentence."""
UNREAD = "words without a token (cut off, or dropped by the tokenizer)"
UNKNOWN = "words with a relation that the model does not know"
Kept = tuple[list[int], list[int], list[float]]
"""Of each word: head, index of its relation, probability of the head."""


class DependencyConfig(Config):
    """Settings of dependency parsing.

    Attributes:
        labels: the relations; the data set gives them if this does not.
        max_length: longest sequence in tokens; a tree cannot be read in windows: words behind the end are
            parsed without having been read.
        max_words: longest sentence in words; a longer one is an error, as memory grows with the square (by
            160 MB for 1,000 words and 40 relations).
        piece: which token stands for a word: its ``first``, or its ``last``; ``auto``: the last where
            tokens see only those before them.
        arc_size: width of the vectors that arcs are scored with.
        relation_size: the same for relations.
        dropout: of the words' states and these vectors.
        metric: official scorer, of the CoNLL shared tasks (``las``) or of KLUE; the data set gives it if
            this does not.
    """

    labels: tuple[str, ...] | None = None
    max_length: int = Field(256, ge=1, le=LONGEST)
    max_words: int = Field(512, ge=1, le=LONGEST)
    piece: Literal["auto", "first", "last"] = "auto"
    arc_size: int = Field(500, ge=1)
    relation_size: int = Field(100, ge=1)
    dropout: float = Field(0.33, ge=0, lt=1)
    metric: Literal["las", "klue_dp"] = "las"


@dataclass(frozen=True)
class TreePrediction:
    """A tree: of each word its head (0: it is the root), its relation, and how probable the head is."""

    heads: tuple[int, ...]
    relations: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def tree(self) -> Tree:
        """Without the probabilities."""
        return Tree(self.heads, self.relations)


class Dependency(Task[Kept, TreePrediction]):
    """A head and a relation for every word."""

    config: DependencyConfig

    def attach(self, seed: int) -> None:
        """Use the checkpoint's head if it is for the same relations, else a fresh one."""
        config, model = self.config, self.model
        labels = config.labels or model.labels
        if not labels:
            raise UserError(
                "dependency parsing needs the names of the relations",
                hint="give task.labels=[nsubj,obj,root] or a data set that has them",
            )
        self.labels = list(labels)
        self.main_metric = MAIN[config.metric]
        self.last = config.piece == "last" or (config.piece == "auto" and model.spec.causal)
        sizes = (len(labels), config.arc_size, config.relation_size)
        same = model.labels == self.labels
        head = model.keep_head(HEAD)
        if not (isinstance(head, BiaffineHead) and head.sizes == sizes and same):
            fresh = BiaffineHead(
                model.state_size,
                len(labels),
                arc_size=config.arc_size,
                relation_size=config.relation_size,
                dropout=config.dropout,
            )
            model.add_head(HEAD, fresh, seed=seed, drawn=() if same else ("out",))
        model.labels = list(self.labels)

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> Encoded:
        """Sentences to sequences; targets ``[n, W]`` for the longest of ``W`` words.

        ``places``: the token that stands for each word, -1 where there is no word; and ``heads`` and
        ``relations``, -100 where there is none to learn.
        """
        longest = max(map(self._words, records))
        places = np.full((len(records), longest), -1, np.int16)
        own = np.zeros(places.shape, np.bool_)
        sequences = []
        for row, (sequence, found) in enumerate(self._read(records)):
            sequences.append(sequence)
            own[row, : len(found)] = found >= 0
            # A word without a token has that of the word before.
            places[row, : len(found)] = np.maximum.accumulate(found).clip(0)
        targets: dict[str, Any] = {"places": places}
        notes = {UNREAD: int((places >= 0).sum() - own.sum())}
        if labeled:
            gold, notes[UNKNOWN] = self._gold(records, own)
            targets |= gold
        ids, segments = [ids for ids, _ in sequences], [segments for _, segments in sequences]
        return Encoded(records, Features.of(ids, segments, targets=targets), notes)

    def _words(self, record: Record) -> int:
        count, most = len(record.fields["tokens"]), self.config.max_words
        if count > most:
            raise UserError(
                f"{record.where}: {count:,} words, more than task.max_words={most}",
                hint="raise it, if there is memory for the square of that; or data.skip_bad=true",
            )
        return count

    def _read(
        self, records: Sequence[Record]
    ) -> Iterator[tuple[tuple[list[int], list[int]], Ints]]:
        """Of each sentence ids and segments, and each word's token: below 0 where it has none."""
        tokenizer = self.model.tokenizer
        limit = min(self.config.max_length, self.model.spec.positions)
        room = limit - tokenizer.special_count()
        if room < 1:
            raise UserError(f"task.max_length={limit} leaves no room for words")
        pieces = tokenizer.pieces([record.fields["text"] for record in records])
        for record, piece in zip(records, pieces, strict=True):
            words, text = record.fields["tokens"], record.fields["text"]
            units = carriers(text, words, piece.offsets, last=self.last)[:room]
            sequence = tokenizer.build_single(piece.ids[:room])
            if not sequence[0]:
                raise UserError(f"{record.where}: the tokenizer makes no token of it")
            found = np.full(len(words), -1)
            at = np.flatnonzero(units != NONE)
            found[units[at]] = at + tokenizer.text_start()
            yield sequence, found

    def _gold(
        self, records: Sequence[Record], own: Any
    ) -> tuple[dict[str, NDArray[np.int16]], int]:
        """Right heads and relations of the words that have a token; how many relations are unknown."""
        number = {name: index for index, name in enumerate(self.labels)}
        heads, relations = (np.full(own.shape, IGNORED, np.int16) for _ in range(2))
        unknown = 0
        for row, record in enumerate(records):
            names = record.fields["relations"]
            strange = [name for name in names if name not in number]
            if strange and (self.config.metric == "klue_dp" or len(strange) == len(names)):
                raise UserError(
                    f"{record.where}: relation {strange[0]!r} is not one of the relations",
                    hint=f"relations: {', '.join(self.labels[:20])}{', ...' * (len(number) > 20)}",
                )
            unknown += len(strange)
            heads[row, : len(names)] = record.fields["heads"]
            relations[row, : len(names)] = [number.get(name, IGNORED) for name in names]
        heads[~own], relations[~own] = IGNORED, IGNORED
        return {"heads": heads, "relations": relations}, unknown

    def logits(self, batch: Batch) -> Tensor:
        """``[B, W, 1 + W, 1 + relations]``, see ``BiaffineHead``; in float32, as they are compared."""
        places = batch.targets["places"].long()
        places = places[:, : int((places >= 0).sum(1).max())]
        hidden = self.model(batch)
        with torch.autocast(hidden.device.type, enabled=False):
            result: Tensor = self.model.heads[HEAD](hidden.float(), batch, places)
        return result

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Cross-entropy of each word's head, and of its relation to the right one."""
        width, choices = logits.shape[1:3]
        heads = batch.targets["heads"][:, :width].reshape(-1).long()
        relations = batch.targets["relations"][:, :width].reshape(-1).long()
        seen = heads != IGNORED
        arcs = logits[..., 0].reshape(-1, choices)
        right = float((arcs.detach().argmax(-1) == heads)[seen].sum())
        pairs = logits[..., 1:].reshape(len(heads), choices, -1)
        chosen = pairs[torch.arange(len(heads), device=heads.device), heads.clamp(min=0)]
        count = float(seen.sum())
        total = cross_entropy(arcs, heads) + cross_entropy(chosen, relations)
        return Loss(total, count, {"head_accuracy": (right, count)})

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[Kept]:
        """The best tree of each sentence, with the likeliest relation of each of its arcs."""
        sizes = (encoded.features.targets["places"][list(indices)] >= 0).sum(1).tolist()
        kept = []
        for size, table in zip(sizes, logits.detach().cpu(), strict=True):
            scores = table[:size, : size + 1]
            chances = torch.log_softmax(scores[..., 0], -1).double()
            heads = best_tree(chances.numpy())
            chosen = (torch.arange(size), torch.tensor(heads))
            relations = scores[chosen][:, 1:].argmax(-1)
            kept.append((heads, relations.tolist(), chances[chosen].exp().tolist()))
        return kept

    def combine(self, encoded: Encoded, partials: Sequence[Kept]) -> list[TreePrediction]:
        """The same with names."""
        return [
            TreePrediction(
                tuple(heads),
                tuple(self.labels[relation] for relation in relations),
                tuple(round(chance, 4) for chance in chances),
            )
            for heads, relations, chances in partials
        ]

    def score(self, encoded: Encoded, predictions: Sequence[TreePrediction]) -> Scores:
        """The official scores, as fractions (see ``_tree_scores``)."""
        found = [prediction.tree for prediction in predictions]
        return tree_scores(self.config.metric, _trees(encoded), found, self.labels)

    def sections(
        self, encoded: Encoded, predictions: Sequence[TreePrediction], scores: Scores
    ) -> list[Section]:
        """Scores by relation and distance, what is confused, and arcs of some sentences."""
        words = [record.fields["tokens"] for record in encoded.records]
        return tree_sections(words, _trees(encoded), [p.tree for p in predictions])

    def confidences(
        self, encoded: Encoded, predictions: Sequence[TreePrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """Of every word's head."""
        right = map(_right, encoded.records, predictions)
        return [chance for p in predictions for chance in p.probabilities], list(chain(*right))

    def surest(
        self, encoded: Encoded, predictions: Sequence[TreePrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """Of the word of each sentence that stands for it."""
        rows = zip(encoded.records, predictions, strict=True)
        return surest_words((p.probabilities, _right(record, p)) for record, p in rows)

    def verdict(self, encoded: Encoded, prediction: TreePrediction, example: int) -> Verdict | None:
        """The head of that word alone."""
        record = encoded.records[example]
        word = deciding(prediction.probabilities, _right(record, prediction))
        if word is None:
            return None
        ignored = np.full_like(encoded.features.targets["heads"][example], IGNORED)
        heads = ignored.copy()
        heads[word] = prediction.heads[word]
        names = ["root", *record.fields["tokens"]]
        both = prediction.heads[word], record.fields["heads"][word]
        said, right = (f"{names[head]} → {names[word + 1]}" for head in both)
        targets = {"heads": heads.tolist(), "relations": ignored.tolist()}
        return Verdict(example, targets, said, right)

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "dependency", **self.config.model_dump(), "labels": self.labels}


def _trees(encoded: Encoded) -> list[Tree]:
    return [Tree(r.fields["heads"], r.fields["relations"]) for r in encoded.records]


def _right(record: Record, prediction: TreePrediction) -> list[bool]:
    """Of each word whether its head is right."""
    return list(map(int.__eq__, record.fields["heads"], prediction.heads))


def from_data(dataset: Dataset) -> dict[str, Any]:
    """The data set's relations, and its scorer."""
    return {"metric": dataset.metric} | ({"labels": dataset.labels} if dataset.labels else {})


TASK = TaskType(
    DependencyConfig,
    Dependency,
    from_data,
    "the head of every word, and its relation to it",
    sums=SUMS,
)
