"""Classification of a text or a pair of texts.

Source: Devlin et al., "BERT", 2019, section 4.1 (the first token's state, a linear layer, softmax).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Features
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record, text_field
from jeoni.data.standard import label_index
from jeoni.metrics.labels import confusion, label_scores
from jeoni.models.heads import classification_head
from jeoni.ops.losses import cross_entropy
from jeoni.report.sections import Confusion, Section, Text, Texts
from jeoni.tasks._task import Encoded, Scores, Task, TaskType

HEAD = "classification"


class ClassificationConfig(Config):
    """Settings of the classification task.

    Attributes:
        labels: class names in the order of their indices; the data set gives them if this does not.
        max_length: longest sequence in tokens; longer texts are cut at the end.
        class_weights: weight of each class in the loss, in the order of the labels; 0 leaves it out.
    """

    labels: tuple[str, ...] | None = None
    max_length: int = Field(128, ge=1)
    class_weights: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] | None = None


@dataclass(frozen=True)
class LabelPrediction:
    """The classes' probabilities for one example, and the most probable class."""

    probabilities: tuple[float, ...]
    index: int
    label: str


class Classification(Task[list[float], LabelPrediction]):
    """One label a text (or pair of texts)."""

    main_metric = "accuracy"
    config: ClassificationConfig

    def attach(self, seed: int) -> None:
        """Use the checkpoint's head if it is for the same classes, else a fresh one."""
        labels = self.config.labels or self.model.labels
        if not labels:
            raise UserError(
                "classification needs the names of the labels",
                hint="give task.labels=[negative,positive] or a data set that has them",
            )
        self.labels = [str(label) for label in labels]
        weights = self.config.class_weights
        if weights is not None and len(weights) != len(self.labels):
            raise UserError(
                f"task.class_weights: {len(weights)} weights for {len(self.labels)} labels"
            )
        self.weights = None if weights is None else torch.tensor(weights)
        head = self.model.keep_head(HEAD)
        names = self.model.labels or []
        unnamed = all(name == f"LABEL_{number}" for number, name in enumerate(names))
        same = unnamed or names == self.labels
        if head is None or head.classes != len(self.labels) or not same:
            fresh = classification_head(self.model, len(self.labels))
            # Of a family whose layout has no such head, the weights of one for these classes are spare.
            drawn = () if head is None and same else ("out.",)
            self.model.add_head(HEAD, fresh, seed=seed, drawn=drawn)
        self.model.labels = list(self.labels)

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> Encoded:
        """Texts to ``[CLS] text [SEP]`` or ``[CLS] text [SEP] pair [SEP]``; targets ``label [n]``."""
        texts = [text_field(record, "text") for record in records]
        paired = bool(records) and "pair" in records[0].fields
        pairs = [text_field(record, "pair") for record in records] if paired else None
        limit = min(self.config.max_length, self.model.spec.positions)
        encodings = self.model.tokenizer.encode_batch(texts, pairs, max_length=limit)
        targets = (
            {"label": [label_index(record, self.labels) for record in records]} if labeled else {}
        )
        features = Features.of(
            [e.ids for e in encodings], [e.segments for e in encodings], targets=targets
        )
        full = int((features.lengths >= limit).sum())
        return Encoded(records, features, {"texts that fill max_length (cut if longer)": full})

    def logits(self, batch: Batch) -> Tensor:
        """``[B, classes]``."""
        result: Tensor = self.model.heads[HEAD](self.model(batch), batch)
        return result

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Cross-entropy; with class weights the count is the sum of the targets' weights."""
        target = batch.targets["label"]
        weights = None if self.weights is None else self.weights.to(logits.device)
        total = cross_entropy(logits, target, weights)
        count = float(len(target)) if weights is None else float(weights[target].sum())
        right = float((logits.detach().argmax(-1) == target).sum())
        return Loss(total, count, {"accuracy": (right, float(len(target)))})

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[list[float]]:
        """Probabilities of the classes, a list a sequence."""
        rows: list[list[float]] = torch.softmax(logits.float(), -1).tolist()
        return rows

    def combine(self, encoded: Encoded, partials: Sequence[list[float]]) -> list[LabelPrediction]:
        """The most probable class."""
        predictions = []
        for row in partials:
            index = max(range(len(row)), key=row.__getitem__)
            predictions.append(LabelPrediction(tuple(row), index, self.labels[index]))
        return predictions

    def score(self, encoded: Encoded, predictions: Sequence[LabelPrediction]) -> Scores:
        """Accuracy, macro F1, Matthews correlation (fractions)."""
        references = encoded.features.targets["label"].tolist()
        predicted = [prediction.index for prediction in predictions]
        values = label_scores(references, predicted, len(self.labels))
        hits = [float(a == b) for a, b in zip(references, predicted, strict=True)]
        return Scores(values, hits)

    def sections(
        self, encoded: Encoded, predictions: Sequence[LabelPrediction], scores: Scores
    ) -> list[Section]:
        """Confusion matrix, and the errors that the model was surest of."""
        gold = encoded.features.targets["label"].tolist()
        matrix = confusion(gold, [p.index for p in predictions], len(self.labels))
        items = [
            Text(
                text=" | ".join(str(r.fields[k]) for k in ("text", "pair") if k in r.fields),
                gold=self.labels[right],
                predicted=p.label,
                good=right == p.index,
                confidence=p.probabilities[p.index],
            )
            for r, right, p in zip(encoded.records, gold, predictions, strict=True)
        ]
        wrong = sorted((i for i in items if not i.good), key=lambda i: -(i.confidence or 0))
        return [
            Confusion("Confusion matrix", self.labels, matrix),
            Texts("Most confident errors", wrong[:15]),
            Texts("Some right answers", [i for i in items if i.good][:8]),
        ]

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "classification", **self.config.model_dump(), "labels": self.labels}


def from_data(dataset: Dataset) -> dict[str, Any]:
    """The data set's class names."""
    return {"labels": dataset.labels} if dataset.labels else {}


TASK = TaskType(
    ClassificationConfig, Classification, from_data, "one label for a text or a pair of texts"
)
