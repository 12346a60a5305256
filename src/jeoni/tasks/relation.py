"""Relation extraction: what two entities of a text have to do with each other.

Sources: Baldini Soares et al., "Matching the blanks", 2019, section 3.2 (markers around the entities; the
states of the two opening ones are the relation's); Zhou and Chen, "An improved baseline for sentence-level
relation extraction", 2022, section 2.2 (types in the markers; punctuation as markers; the layers).
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Features
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record
from jeoni.data.standard import label_index
from jeoni.metrics.labels import relation_scores
from jeoni.models.model import Model
from jeoni.ops.dropout import Dropout
from jeoni.ops.losses import cross_entropy
from jeoni.report.sections import Section
from jeoni.tasks._relation_report import relation_sections
from jeoni.tasks._task import Encoded, Scores, Sums, Task, TaskType, Verdict
from jeoni.tasks.classification import LabelPrediction

HEAD = "relation"
MARKS = {"subject": ("@", "*"), "object": ("#", "^")}
"""What stands around each entity, and around its type."""
CUT = "texts longer than max_length (read around their entities)"
ALIKE = "texts whose two markers are one and the same token to the vocabulary"


class RelationConfig(Config):
    """Settings of relation extraction.

    The markers are punctuation: ``@ * PER * Bill @ met # ^ PER ^ Ann #``. New tokens would have to be
    learned from nothing; with these neither vocabulary nor word table changes, nearly every tokenizer has
    them, and Zhou and Chen's best model (74.6 on TACRED) reads them.

    Attributes:
        labels: the relations; the data set gives them if this does not.
        no_relation: the label that says that there is none, if there is such: it does not count in F1.
        typed: write the entities' types into the markers, where the data have them.
        max_length: longest sequence in tokens; of longer texts the tokens nearest to an entity are read.
    """

    labels: tuple[str, ...] | None = None
    no_relation: str = "no_relation"
    typed: bool = True
    max_length: int = Field(256, ge=1)


class Relation(Task[list[float], LabelPrediction]):
    """A relation between two entities."""

    main_metric = "micro_f1"
    config: RelationConfig

    def attach(self, seed: int) -> None:
        """Use the checkpoint's head if it is for the same relations, else a fresh one."""
        model = self.model
        labels = self.config.labels or model.labels
        if not labels:
            raise UserError(
                "relation extraction needs the names of the relations",
                hint="give task.labels=[no_relation,born_in] or a data set that has them",
            )
        self.labels = [str(label) for label in labels]
        names = self.labels
        self.none = names.index(self.config.no_relation) if self.config.no_relation in names else -1
        head = model.keep_head(HEAD)
        if head is None or model.labels != self.labels:
            drawn = () if model.labels == self.labels else ("out.",)
            model.add_head(HEAD, _head(model, len(self.labels)), seed=seed, drawn=drawn)
        model.labels = list(self.labels)

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> Encoded:
        """Texts with markers; targets ``marks [n, 2]`` (tokens of subject and object) and ``label [n]``."""
        tokenizer = self.model.tokenizer
        limit = min(self.config.max_length, self.model.spec.positions)
        room, first = limit - tokenizer.special_count(), tokenizer.text_start()
        if room < 2:
            raise UserError(f"task.max_length={limit} leaves no room for two entities")
        texts, places = zip(*(self._marked(record) for record in records), strict=True)
        sequences, marks, notes = [], [], {CUT: 0, ALIKE: 0}
        for record, piece, pair in zip(records, tokenizer.pieces(texts), places, strict=True):
            if not len(piece):
                raise UserError(f"{record.where}: the tokenizer makes no token of it")
            ends = np.maximum.accumulate(piece.offsets[:, 1])
            at = np.searchsorted(ends, pair, side="right").clip(max=len(piece) - 1)
            near = np.abs(np.arange(len(piece))[:, None] - at).min(1)
            kept = np.sort(np.argsort(near, kind="stable")[:room])
            sequences.append(tokenizer.build_single(piece.ids[kept]))
            marks.append(first + np.searchsorted(kept, at))
            notes[CUT] += len(piece) > room
            notes[ALIKE] += bool(np.array_equal(*piece.ids[at]))
        targets: dict[str, Any] = {"marks": marks}
        if labeled:
            targets["label"] = [label_index(record, self.labels) for record in records]
        ids, segments = [ids for ids, _ in sequences], [segments for _, segments in sequences]
        return Encoded(records, Features.of(ids, segments, targets=targets), notes)

    def _marked(self, record: Record) -> tuple[str, list[int]]:
        """The text with markers, and where in it those are that stand for subject and object.

        The opening ones; where tokens see only those before them, the closing ones.
        """
        inserts = []
        for name, (mark, around) in MARKS.items():
            entity = record.fields[name]
            start, end, kind = entity["start"], entity["end"], entity["type"]
            said = kind and self.config.typed
            opening = f"{mark} {around} {kind} {around}" if said else mark
            # Of entities in each other, the outer one opens first and closes last.
            inserts += [(start, 1, -end, opening, name), (end, 0, -start, mark, f"{name} ends")]
        parts: list[str] = []
        places: dict[str, int] = {}
        before = 0
        for place, _, _, mark, name in [*sorted(inserts), (None, 0, 0, "", "")]:
            if part := record.fields["text"][before:place].strip():
                parts.append(part)
            places[name] = sum(len(part) + 1 for part in parts)
            parts.append(mark)
            before = place or 0
        ending = " ends" if self.model.spec.causal else ""
        return " ".join(parts).rstrip(), [places[name + ending] for name in MARKS]

    def logits(self, batch: Batch) -> Tensor:
        """``[B, relations]``."""
        hidden = self.model(batch)
        first = torch.tensor(batch.starts, device=hidden.device)[:, None]
        pairs = hidden[first + batch.targets["marks"]].flatten(1)
        result: Tensor = self.model.heads[HEAD](pairs)
        return result

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Cross-entropy."""
        target = batch.targets["label"]
        right = float((logits.detach().argmax(-1) == target).sum())
        count = float(len(target))
        return Loss(cross_entropy(logits, target), count, {"accuracy": (right, count)})

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[list[float]]:
        """Probabilities of the relations."""
        rows: list[list[float]] = torch.softmax(logits.float(), -1).tolist()
        return rows

    def combine(self, encoded: Encoded, partials: Sequence[list[float]]) -> list[LabelPrediction]:
        """The most probable relation."""
        best = [max(range(len(row)), key=row.__getitem__) for row in partials]
        return [
            LabelPrediction(tuple(row), index, self.labels[index])
            for row, index in zip(partials, best, strict=True)
        ]

    def score(self, encoded: Encoded, predictions: Sequence[LabelPrediction]) -> Scores:
        """Micro F1 without ``no_relation``, area under the precision-recall curves; fractions."""
        gold = encoded.features.targets["label"].tolist()
        found = [prediction.index for prediction in predictions]
        values = relation_scores(
            gold,
            found,
            [prediction.probabilities for prediction in predictions],
            classes=len(self.labels),
            no_relation=self.none,
        )
        pairs = list(zip(gold, found, strict=True))
        rows = [(a == b != self.none, b != self.none, a != self.none) for a, b in pairs]
        sums = Sums(np.array(rows, np.float64), _micro_f1)
        return Scores(values, [float(a == b) for a, b in pairs], sums)

    def sections(
        self, encoded: Encoded, predictions: Sequence[LabelPrediction], scores: Scores
    ) -> list[Section]:
        """Scores by relation, what is confused, the errors that the model was surest of."""
        gold = [self.labels[index] for index in encoded.features.targets["label"].tolist()]
        return relation_sections(encoded.records, gold, predictions)

    def confidences(
        self, encoded: Encoded, predictions: Sequence[LabelPrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """The probability of each relation."""
        gold = encoded.features.targets["label"].tolist()
        right = [p.index == index for p, index in zip(predictions, gold, strict=True)]
        return [p.probabilities[p.index] for p in predictions], right

    def verdict(self, encoded: Encoded, prediction: LabelPrediction, example: int) -> Verdict:
        """The relation."""
        right = int(encoded.features.targets["label"][example])
        names = self.labels
        return Verdict(example, {"label": prediction.index}, prediction.label, names[right])

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "relation", **self.config.model_dump(), "labels": self.labels}


def _head(model: Model, classes: int) -> nn.Module:
    """Two states to logits; with the dropout that config.json has for classifiers, if it has one."""
    dropout, hidden = model.config.get("classifier_dropout"), model.state_size
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            dense=nn.Linear(2 * hidden, hidden),
            activation=nn.ReLU(),
            dropout=Dropout(model.spec.dropout if dropout is None else float(dropout)),
            out=nn.Linear(hidden, classes),
        )
    )


def _micro_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    right, found, gold = np.moveaxis(sums, -1, 0)
    both = found + gold
    return np.asarray(np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0))


def from_data(dataset: Dataset) -> dict[str, Any]:
    """The data set's relations."""
    return {"labels": dataset.labels} if dataset.labels else {}


SUMS: Mapping[str, Any] = {"micro_f1": _micro_f1}
TASK = TaskType(
    RelationConfig, Relation, from_data, "the relation between two entities of a text", sums=SUMS
)
