"""Regression: a number for a text or a pair of texts, such as how alike two sentences are.

Sources: Devlin et al., "BERT", 2019, section 4.1 (STS-B: the first token's state, a linear layer with one
output, squared error); Reimers and Gurevych, "Sentence-BERT", 2019, section 3 (the cosine of two vectors).
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from jeoni.base.batch import Batch, Loss
from jeoni.base.errors import UserError
from jeoni.data.batching import Features, Grouped
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record
from jeoni.data.standard import label_number
from jeoni.metrics.counts import f1_of_sums
from jeoni.metrics.regression import regression_scores
from jeoni.models.heads import check_pooling
from jeoni.nn.heads import Pooling, pooled
from jeoni.report.sections import Points, Section, Text, Texts
from jeoni.tasks._scores import Figures, Metric, Scores, Sums, means
from jeoni.tasks._task import Encoded, TaskType, Verdict
from jeoni.tasks._texts import JudgedConfig, TextTask, judged_features, one_output, output, shown

SHOWN = 12
FAR = 100
HIGHEST = 300.0  # as a power of ten, a float can still hold it
CONSTANT = 1e-12  # a share of what is added up: a smaller difference is rounding
LOWEST = -15.0  # a power of ten that is not lost beside 1


class RegressionConfig(JudgedConfig):
    """Settings of regression.

    Attributes:
        threshold: from here on a number counts as "yes" in the binary view (KLUE STS: 3 of 5), a number
            as data have it, whatever ``log`` is; None for no such view.
        metric: the figure that counts; the data set gives it if this does not.
        start: what a fresh head says of everything before training, a number as data have it; by default
            the mean of the training data (of logarithms, where those are learned), which is a long way for
            small steps from 0.
        log: learn, and score, ``log10(1 + number)``; by default of counts that span orders of magnitude
            (none below 0, the highest ``FAR`` times the one in the middle), whose largest would be all
            that squared errors see.
        cosine: read the two texts apart, and compare their vectors (the ``mean`` of the tokens, or the
            ``first`` or ``last``) by their cosine: it needs no head, so a model may be scored as it is.
        scale: what a cosine of 1 stands for among the labels.
    """

    threshold: float | None = 3.0
    metric: Literal["pearson", "spearman"] = "pearson"
    start: float = Field(0.0, allow_inf_nan=False)
    log: bool = False
    cosine: Pooling | None = None
    scale: float = Field(5.0, gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class NumberPrediction:
    """The number predicted for one example."""

    value: float


class Regression(TextTask[float, NumberPrediction]):
    """One number a text (or pair of texts)."""

    config: RegressionConfig

    def attach(self, seed: int) -> None:
        """Use the checkpoint's head if it is one of regression, else a fresh one."""
        self.main_metric = self.config.metric
        if self.config.cosine:
            self._without_head()
            return
        # Of both orders, two outputs are added up.
        start = self.config.start
        if self.config.log:
            start = math.log10(1 + max(start, 0.0))
        one_output(self, "regression", seed, start=start / (1 + self.config.both_orders))

    def _without_head(self) -> None:
        config = self.config
        if config.both_orders or config.traversal or config.lm_weight or config.log:
            raise UserError(
                "task.cosine compares texts that are read as they are",
                hint="it goes without task.both_orders, task.traversal, task.lm_weight and task.log",
            )
        check_pooling(self.model, config.cosine, "task.cosine")
        self.marks = None
        self.model.keep_head("")
        self.model.labels = None

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> Encoded:
        """Texts as for classification; targets ``value [n]``."""
        targets = {"value": [self._target(r) for r in records]} if labeled else {}
        if self.config.cosine:
            return self._apart(records, targets)
        features, notes = judged_features(self, records, targets, both=self.config.both_orders)
        return Encoded(records, features, notes)

    def _apart(self, records: Sequence[Record], targets: Mapping[str, Sequence[float]]) -> Encoded:
        """Two sequences of each pair."""
        texts = []
        for record in records:
            if "pair" not in record.fields:
                raise UserError(f"{record.where}: task.cosine is for pairs of texts")
            both = (record.fields[name] for name in ("text", "pair"))
            texts += [replace(record, fields={"text": text}) for text in both]
        (ids, segments), notes = self.sequences(texts)
        pairs = Grouped.together(Features.of(ids, segments), [2] * len(records), **targets)
        return Encoded(records, pairs, notes)

    def _target(self, record: Record) -> float:
        number = label_number(record)
        if self.config.log and number < 0:
            raise UserError(f"{record.where}: label {number:g} is below 0", hint="task.log=false")
        return math.log10(1 + number) if self.config.log else number

    def judged(self, hidden: Tensor, batch: Batch) -> Tensor:
        """``[n]``; of both orders of a pair the sum."""
        if self.config.cosine:
            vectors = normalize(pooled(hidden.float(), batch, self.config.cosine), dim=-1)
            return self.config.scale * vectors.view(-1, 2, hidden.shape[1]).prod(1).sum(-1)
        found = output(self.model, hidden, batch)
        return found.view(-1, 2).sum(1) if self.config.both_orders else found

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Squared errors."""
        target = batch.targets["value"].float()
        return Loss((logits.float() - target).square().sum(), float(len(target)))

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[float]:
        """The number of each sequence."""
        values: list[float] = logits.float().tolist()
        return values

    def combine(self, encoded: Encoded, partials: Sequence[float]) -> list[NumberPrediction]:
        """As they are; logarithms as far as floats can hold their numbers."""
        if self.config.log:
            partials = [10 ** min(max(value, LOWEST), HIGHEST) - 1 for value in partials]
        return [NumberPrediction(value) for value in partials]

    def _learned(self, predictions: Sequence[NumberPrediction]) -> NDArray[np.float64]:
        """The numbers as they were learned."""
        found = np.array([p.value for p in predictions])
        return np.log10(1 + found) if self.config.log else found

    @property
    def _threshold(self) -> float | None:
        """From where on what is learned counts as "yes"."""
        given = self.config.threshold
        if given is None or not self.config.log:
            return given
        return math.log10(1 + given) if given > -1 else -math.inf

    def score(self, encoded: Encoded, predictions: Sequence[NumberPrediction]) -> Scores:
        """Pearson, Spearman, mean absolute error, F1 of the binary view; fractions, and points.

        A model that says the same of all has no correlation, officially: such a figure is 0 here, so that
        any other is better.
        """
        gold = encoded.features.targets["value"].astype(float)
        found = self._learned(predictions)
        errors = np.abs(found - gold)
        values = {"mean_absolute_error": float(errors.mean())}
        if len(gold) > 1:
            raw = regression_scores(gold.tolist(), found.tolist(), self._threshold)
            values = {k: v if math.isfinite(v) else 0.0 for k, v in raw.items()} | values
        else:
            values = {self.config.metric: 0.0} | values
        beside = _figures(gold, found, self._threshold)
        main = Sums(beside.rows[:, _PLACES[self.config.metric]], _correlation)
        errors_too = means({"mean_absolute_error": errors.tolist()})
        return Scores(values, (-errors).tolist(), main, [beside, errors_too])

    def sections(
        self, encoded: Encoded, predictions: Sequence[NumberPrediction], scores: Scores
    ) -> list[Section]:
        """Predictions and what they miss against the right values; the worst errors."""
        gold = encoded.features.targets["value"].tolist()
        found = self._learned(predictions).tolist()
        rows = [
            {"right": a, "predicted": b, "error": b - a} for a, b in zip(gold, found, strict=True)
        ]
        worst = sorted(range(len(rows)), key=lambda i: -abs(rows[i]["error"]))
        items = [
            Text(shown(encoded.records[i]), f"{gold[i]:.6g}", f"{found[i]:.2f}", False)
            for i in worst[:SHOWN]
        ]
        return [
            Points("Predicted and right values", rows, "right", "predicted", note=self._unit()),
            Points("Residuals", rows, "right", "error", note="predicted minus right value"),
            Texts("Largest errors", items),
        ]

    def surest(
        self, encoded: Encoded, predictions: Sequence[NumberPrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """Of numbers none is surer: the furthest off; nothing where one's own subclass predicts others."""
        given: Sequence[object] = predictions
        if not all(isinstance(p, NumberPrediction) for p in given):
            return [], []
        return [-score for score in scores.per_example], [False] * len(predictions)

    def verdict(self, encoded: Encoded, prediction: NumberPrediction, example: int) -> Verdict:
        """The number: below its target, the loss falls as the number rises."""
        (said,) = self._learned([prediction]).tolist()
        right = float(encoded.features.targets["value"][example])
        return Verdict(example, {"value": said + 1 + abs(said)}, f"{said:.2f}", f"{right:.6g}")

    def _unit(self) -> str:
        return "log10(1 + number)" if self.config.log else ""

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "regression", **self.own_settings()}


def _moments(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a correlation adds up, ``[n, 6]``; around the means, where the sums keep their digits."""
    x, y = x - x.mean(), y - y.mean()
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], -1)


_PLACES = {"pearson": slice(0, 6), "spearman": slice(6, 12), "f1": slice(12, 15)}
"""Where the rows of ``_figures`` have what a figure adds up."""


def _figures(x: NDArray[np.float64], y: NDArray[np.float64], threshold: float | None) -> Figures:
    """What ``regression_scores`` gives; the ranks are those among all examples."""
    from scipy.stats import rankdata

    there, said = (side >= (math.inf if threshold is None else threshold) for side in (x, y))
    yes = np.stack([there & said, said, there], -1)
    rows = np.concatenate([_moments(x, y), _moments(rankdata(x), rankdata(y)), yes], -1)
    metrics: dict[str, Metric] = {
        "pearson": _pearson,
        "spearman": _spearman,
        "corr": lambda sums: (_pearson(sums) + _spearman(sums)) / 2,
        "f1": lambda sums: f1_of_sums(sums[..., _PLACES["f1"]]),
    }
    return Figures(rows, metrics)


def _pearson(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return _correlation(sums[..., _PLACES["pearson"]])


def _spearman(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return _correlation(sums[..., _PLACES["spearman"]])


def _correlation(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's of summed moments; 0 where a side is constant."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    of_x, of_y = n * xx - x * x, n * yy - y * y
    varies = (of_x > CONSTANT * n * xx) & (of_y > CONSTANT * n * yy)
    spread = np.sqrt(np.maximum(of_x, 0)) * np.sqrt(np.maximum(of_y, 0))
    result: NDArray[np.float64] = np.divide(
        n * xy - x * y, spread, out=np.zeros_like(n), where=varies
    )
    return result


def from_data(dataset: Dataset) -> dict[str, Any]:
    """The data set's figure, and the mean of its training data; whether logarithms are learned."""
    if "train" not in dataset.sources:
        return {"metric": dataset.metric}
    labels = [label_number(record) for record in dataset.split("train")]
    if not _of_magnitudes(dataset):
        return {"metric": dataset.metric, "start": statistics.fmean(labels)}
    start = 10 ** statistics.fmean(math.log10(1 + label) for label in labels) - 1
    return {"metric": dataset.metric, "start": start, "log": True, "threshold": None}


def _of_magnitudes(dataset: Dataset) -> bool:
    """Whether labels are counts of many sizes; of all training data: a sample may lack the largest."""
    config = dataset.config.model_copy(update={"limit_train": None})
    labels = [label_number(r) for r in replace(dataset, config=config).split("train")]
    return min(labels) >= 0 and max(labels) >= FAR * (1 + statistics.median(labels))


TASK = TaskType(
    RegressionConfig,
    Regression,
    from_data,
    "a number for a text or a pair of texts",
    sums=dict.fromkeys(("pearson", "spearman"), _correlation),
)
