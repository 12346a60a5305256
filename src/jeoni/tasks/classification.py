"""Classification of a text or a pair of texts.

Source: Devlin et al., "BERT", 2019, section 4.1 (the first token's state, a linear layer, softmax).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.errors import UserError
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record
from jeoni.data.standard import label_index
from jeoni.metrics.counts import class_rows, macro_f1_of_sums
from jeoni.metrics.labels import confusion, label_scores
from jeoni.models.heads import classification_head
from jeoni.models.model import Model
from jeoni.ops.losses import cross_entropy
from jeoni.report.sections import Confusion, Section, Text, Texts
from jeoni.tasks._scores import Figures, Scores, Sums
from jeoni.tasks._task import Encoded, TaskType, Verdict
from jeoni.tasks._texts import HEAD, JudgedConfig, TextTask, judged_features, shown


class ClassificationConfig(JudgedConfig):
    """Settings of the classification task.

    Attributes:
        labels: class names in the order of their indices; the data set gives them if this does not.
        class_weights: weight of each class in the loss, in the order of the labels; 0 leaves it out.
        metric: the figure that counts; the data set gives it if this does not. ``f1`` is that of the
            second of two classes.
    """

    labels: tuple[str, ...] | None = None
    class_weights: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] | None = None
    metric: Literal["accuracy", "macro_f1", "f1", "matthews_corrcoef"] = "accuracy"


@dataclass(frozen=True)
class LabelPrediction:
    """The classes' probabilities for one example, and the most probable class."""

    probabilities: tuple[float, ...]
    index: int
    label: str


class Classification(TextTask[list[float], LabelPrediction]):
    """One label a text (or pair of texts)."""

    config: ClassificationConfig

    def attach(self, seed: int) -> None:
        """Use the checkpoint's head if it is for the same classes, else a fresh one."""
        labels = self.config.labels or self.model.labels or _numbered(self.model)
        if not labels:
            raise UserError(
                "classification needs the names of the labels",
                hint="give task.labels=[negative,positive] or a data set that has them",
            )
        self.labels = [str(label) for label in labels]
        self.main_metric = self.config.metric
        if self.main_metric == "f1" and len(labels) != 2:
            raise UserError(
                f"task.metric=f1 is for two classes, not {len(labels)}", hint="task.metric=macro_f1"
            )
        weights = self.config.class_weights
        if weights is not None and len(weights) != len(self.labels):
            raise UserError(
                f"task.class_weights: {len(weights)} weights for {len(self.labels)} labels"
            )
        self.weights = None if weights is None else torch.tensor(weights)
        self.prepare()
        head = self.keep_head()
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
        targets = {"label": [label_index(r, self.labels) for r in records]} if labeled else {}
        features, notes = judged_features(self, records, targets, both=self.config.both_orders)
        return Encoded(records, features, notes)

    def judged(self, hidden: Tensor, batch: Batch) -> Tensor:
        """``[n, classes]``; of both orders of a pair the sum."""
        result: Tensor = self.model.heads[HEAD](hidden, batch)
        return result.view(-1, 2, len(self.labels)).sum(1) if self.config.both_orders else result

    def shares(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """An example counts with the weight of its class."""
        sizes, ones = super().shares(batch)
        if self.weights is None:
            return sizes, ones
        return sizes, self.weights.to(ones.device)[batch.targets["label"]]

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
        size, classes = len(hits), len(self.labels)
        rows = class_rows(range(size), references, predicted, count=size, classes=classes)
        metric = _METRICS.get(self.main_metric)
        sums = Sums(rows.toarray(), metric) if metric else None
        beside = Figures(rows, {"accuracy": _accuracy, **_METRICS})
        return Scores(values, hits, sums, [beside])

    def sections(
        self, encoded: Encoded, predictions: Sequence[LabelPrediction], scores: Scores
    ) -> list[Section]:
        """Confusion matrix, and the errors that the model was surest of."""
        gold = encoded.features.targets["label"].tolist()
        matrix = confusion(gold, [p.index for p in predictions], len(self.labels))
        items = [
            Text(
                text=shown(r),
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

    def confidences(
        self, encoded: Encoded, predictions: Sequence[LabelPrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """The probability of each label; nothing where one's own subclass predicts something else."""
        if not all(isinstance(p, LabelPrediction) for p in predictions):
            return [], []
        gold = encoded.features.targets["label"].tolist()
        right = [p.index == index for p, index in zip(predictions, gold, strict=True)]
        return [p.probabilities[p.index] for p in predictions], right

    def verdict(
        self, encoded: Encoded, prediction: LabelPrediction, example: int
    ) -> Verdict | None:
        """The label; None as above."""
        given: object = prediction
        if not isinstance(given, LabelPrediction):
            return None
        right = int(encoded.features.targets["label"][example])
        names = self.labels
        return Verdict(example, {"label": prediction.index}, prediction.label, names[right])

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "classification", **self.own_settings(), "labels": self.labels}


def _numbered(model: Model) -> list[str]:
    """Names of the classes of a head without any, as ``transformers`` makes them up."""
    head = dict(model.heads.items()).get(HEAD)
    return [f"LABEL_{number}" for number in range(getattr(head, "classes", 0))]


Floats = NDArray[np.float64]


def _accuracy(sums: Floats) -> Floats:
    right, _, gold = np.split(sums, 3, -1)
    return np.asarray(right.sum(-1) / gold.sum(-1))


def _matthews(sums: Floats) -> Floats:
    """Of several classes: Gorodkin, "Comparing two K-category assignments", 2004."""
    right, found, gold = np.split(sums, 3, -1)
    n = gold.sum(-1)
    spread = (n**2 - (found**2).sum(-1)) * (n**2 - (gold**2).sum(-1))
    shared = n * right.sum(-1) - (found * gold).sum(-1)
    return np.asarray(
        np.divide(shared, np.sqrt(spread), out=np.zeros_like(spread), where=spread > 0)
    )


_METRICS: Mapping[str, Callable[[Floats], Floats]] = {
    "macro_f1": macro_f1_of_sums,
    "matthews_corrcoef": _matthews,
    "f1": partial(macro_f1_of_sums, classes=slice(1, 2)),
}


def from_data(dataset: Dataset) -> dict[str, Any]:
    """The data set's class names, and its figure."""
    return {"metric": dataset.metric} | ({"labels": dataset.labels} if dataset.labels else {})


TASK = TaskType(
    ClassificationConfig,
    Classification,
    from_data,
    "one label for a text or a pair of texts",
    sums=_METRICS,
)
