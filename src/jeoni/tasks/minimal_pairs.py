"""Minimal pairs: whether a language model finds an acceptable sentence likelier than its twin that is not.

Source: Warstadt et al., "BLiMP: The benchmark of linguistic minimal pairs for English", TACL 2020,
section 4. Nothing is trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record, text_field
from jeoni.metrics.choices import minimal_pairs
from jeoni.metrics.counts import class_rows
from jeoni.report.sections import Bars, Section, Text, Texts
from jeoni.tasks._likelihood import log_likelihoods, reading
from jeoni.tasks._scores import Figures, Metric, Scores
from jeoni.tasks._task import Encoded, Task, TaskType

SHOWN = 12
_WIDER = {"field": "field", "linguistics_term": "term"}
"""Groups of paradigms, and what they are called among the scores."""
_WHOLE = ("accuracy", "macro_accuracy")


class MinimalPairsConfig(Config):
    """Settings of minimal pairs.

    Attributes:
        max_length: longest sentence in tokens; nothing is cut: a longer one is an error.
    """

    max_length: int = Field(256, ge=2)


@dataclass(frozen=True)
class PairPrediction:
    """Log-likelihoods (or pseudo-log-likelihoods) of both sentences, and which one is likelier."""

    good: float
    bad: float
    choice: str


class MinimalPairs(Task[list[float], PairPrediction]):
    """Which of two sentences is likelier."""

    main_metric = "accuracy"
    config: MinimalPairsConfig

    def attach(self, seed: int) -> None:
        """The head that the model was pretrained with."""
        model = self.model
        forward = model.spec.causal and not model.spec.decoder_layers
        self.kind = "language_model" if forward else "masked_lm"
        if model.keep_head(self.kind) is None:
            raise UserError(
                f"minimal_pairs: this {model.family.name} model has no head that says how likely words are",
                hint="take a language model as it was pretrained: gpt2, or a masked one such as bert",
            )

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> Encoded:
        """Both sentences of each pair; of masked models with each token masked in turn."""
        pairs = [[text_field(r, "good"), text_field(r, "bad")] for r in records]
        limit = min(self.config.max_length, self.model.spec.limit or self.config.max_length)
        where = [record.where for record in records]
        return Encoded(records, reading(self.model, pairs, limit, where=where), {})

    def logits(self, batch: Batch) -> Tensor:
        """The log-likelihood of each sentence, ``[B]``; in float32, as twins may be about as likely."""
        with torch.autocast(self.model.device.type, enabled=False):
            hidden = self.model(batch)
            return log_likelihoods(self.model, self.model.heads[self.kind], hidden, batch)

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Negative log-likelihood of a token; only to be told."""
        return Loss(-logits.sum().float(), float(batch.targets["counts"].sum()))

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[list[float]]:
        """The log-likelihoods of each pair."""
        pairs: list[list[float]] = logits.view(-1, 2).tolist()
        return pairs

    def combine(self, encoded: Encoded, partials: Sequence[list[float]]) -> list[PairPrediction]:
        """The likelier sentence; of two alike, the bad one."""
        return [
            PairPrediction(good, bad, text_field(record, "good" if good > bad else "bad"))
            for record, (good, bad) in zip(encoded.records, partials, strict=True)
        ]

    def score(self, encoded: Encoded, predictions: Sequence[PairPrediction]) -> Scores:
        """Accuracy over all pairs, the mean over paradigms, and of each field, term and paradigm."""
        good, bad = [p.good for p in predictions], [p.bad for p in predictions]
        right = [p.good > p.bad for p in predictions]
        paradigms = _groups(encoded.records, "paradigm")
        own = minimal_pairs(good, bad, paradigms or None)
        values = {name: own[name] for name in _WHOLE if name in own}
        beside = [_figures(right, paradigms, macro_accuracy=_macro)] if paradigms else []
        for name, called in _WIDER.items():
            if groups := _groups(encoded.records, name):
                found = minimal_pairs(good, bad, groups)
                values |= {f"{called} {k}": v for k, v in found.items() if k not in _WHOLE}
                beside.append(_figures(right, [f"{called} {group}" for group in groups]))
        return Scores(values | own, [float(good) for good in right], beside=beside)

    def sections(
        self, encoded: Encoded, predictions: Sequence[PairPrediction], scores: Scores
    ) -> list[Section]:
        """Accuracy of each group; the pairs that the model is surest and wrong about."""
        order = sorted(
            range(len(predictions)), key=lambda i: predictions[i].good - predictions[i].bad
        )
        found = [(encoded.records[i].fields, predictions[i]) for i in order[:SHOWN]]
        items = [
            Text(str(fields.get("paradigm", "")), fields["good"], p.choice, p.good > p.bad)
            for fields, p in found
        ]
        rows = [{"group": name, "accuracy": value} for name, value in scores.values.items()]
        return [
            Bars("Accuracy", rows, "group", "accuracy", value_format=".3f"),
            Texts(
                "The bad sentence is likelier by most", [item for item in items if not item.good]
            ),
        ]

    def settings(self) -> dict[str, Any]:
        """Name and settings."""
        return {"task": "minimal_pairs", **self.config.model_dump()}


def _groups(records: Sequence[Record], name: str) -> list[str]:
    """The group of each pair; none, if any has none."""
    if not all(name in record.fields for record in records):
        return []
    return [text_field(record, name) for record in records]


def _figures(right: Sequence[bool], groups: Sequence[str], **further: Metric) -> Figures:
    """Accuracy of each group, and ``further`` figures of all of them."""
    names = sorted(set(groups))
    number = {name: n for n, name in enumerate(names)}
    owner = [number[group] for group in groups]
    said = [n if good else len(names) for n, good in zip(owner, right, strict=True)]
    rows = class_rows(range(len(said)), owner, said, count=len(said), classes=len(names) + 1)
    each = {name: partial(_accuracy, group=n) for name, n in number.items()}
    return Figures(rows, {**further, **each})


def _accuracies(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each group ``[..., G]``; NaN of one without pairs."""
    right, _, there = (part[..., :-1] for part in np.split(sums, 3, -1))
    return np.divide(right, there, out=np.full_like(right, np.nan), where=there > 0)


def _macro(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.nanmean(_accuracies(sums), -1))


def _accuracy(sums: NDArray[np.float64], group: int) -> NDArray[np.float64]:
    return _accuracies(sums)[..., group]


def from_data(dataset: Dataset) -> dict[str, Any]:
    """Nothing."""
    return {}


TASK = TaskType(
    MinimalPairsConfig,
    MinimalPairs,
    from_data,
    "which of two sentences a language model finds likelier (nothing is trained)",
    trains=False,
)
