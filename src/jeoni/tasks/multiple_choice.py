"""Multiple choice: which of several continuations of a text is right.

Source: Devlin et al., "BERT", 2019, section 4.4 (SWAG: each choice is a sequence of its own, a vector turns
its first token's state into a score, softmax over the choices of an example).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.data.batching import Features, Grouped
from jeoni.data.catalog import Dataset
from jeoni.data.choices import choice_index
from jeoni.data.record import Record
from jeoni.metrics.choices import multiple_choice
from jeoni.metrics.labels import confusion
from jeoni.ops.losses import segment_log_softmax
from jeoni.report.sections import Confusion, Section, Text, Texts
from jeoni.tasks._task import Encoded, Scores, TaskType, Verdict
from jeoni.tasks._texts import TextsConfig, TextTask, one_output, output

SHOWN = 12


class MultipleChoiceConfig(TextsConfig):
    """Settings of multiple choice; a sequence is the text and one choice."""


@dataclass(frozen=True)
class ChoicePrediction:
    """The likeliest choice, its number, and the probabilities of all."""

    choice: str
    index: int
    probabilities: tuple[float, ...]


class MultipleChoice(TextTask[list[float], ChoicePrediction]):
    """One of several choices."""

    main_metric = "accuracy"
    config: MultipleChoiceConfig

    def attach(self, seed: int) -> None:
        """Use the checkpoint's head if it is one of multiple choice, else a fresh one."""
        one_output(self, "multiple_choice", seed)

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> Encoded:
        """Each choice to ``[CLS] text [SEP] choice [SEP]``; targets ``label [n]``, ``choices [n]``.

        An empty text is a text: ``[CLS] [SEP] choice [SEP]``, as the reference implementation reads it.
        """
        sizes = [len(record.fields["choices"]) for record in records]
        pairs = [
            Record({"text": r.fields["text"], "pair": choice}, r.source, r.line, r.unit)
            for r in records
            for choice in r.fields["choices"]
        ]
        (ids, segments), notes = self.sequences(pairs)
        sequences = Features.of(ids, segments)
        targets = {"label": [choice_index(r) for r in records], "choices": sizes} if labeled else {}
        return Encoded(records, Grouped.together(sequences, sizes, **targets), notes)

    def judged(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The score of each choice of all examples, ``[B]``."""
        return output(self.model, hidden, batch)

    def shares(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """An example has as many sequences as choices."""
        sizes = batch.targets["choices"]
        return sizes, torch.ones(len(sizes), device=sizes.device)

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Cross-entropy over the choices of each example."""
        sizes, label = batch.targets["choices"], batch.targets["label"]
        logs = segment_log_softmax(logits, sizes.tolist())
        first = sizes.cumsum(0) - sizes
        found = torch.stack(
            [part.argmax() for part in torch.split(logits.detach(), sizes.tolist())]
        )
        right = float((found == label).sum())
        count = float(len(label))
        return Loss(-logs[first + label].sum(), count, {"accuracy": (right, count)})

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[list[float]]:
        """The scores of each example's choices."""
        sizes = [len(encoded.records[index].fields["choices"]) for index in indices]
        parts = np.split(logits.float().cpu().numpy(), np.cumsum(sizes)[:-1])
        return [part.tolist() for part in parts]

    def combine(self, encoded: Encoded, partials: Sequence[list[float]]) -> list[ChoicePrediction]:
        """The choice with the highest score; the first, where several have it."""
        predictions = []
        for record, scores in zip(encoded.records, partials, strict=True):
            index = scores.index(max(scores))
            chances = torch.softmax(torch.tensor(scores), 0).tolist()
            choice = record.fields["choices"][index]
            predictions.append(ChoicePrediction(choice, index, tuple(chances)))
        return predictions

    def score(self, encoded: Encoded, predictions: Sequence[ChoicePrediction]) -> Scores:
        """Accuracy, as a fraction."""
        gold = encoded.features.targets["label"].tolist()
        values = multiple_choice(gold, [p.probabilities for p in predictions])
        return Scores(values, [float(a == p.index) for a, p in zip(gold, predictions, strict=True)])

    def sections(
        self, encoded: Encoded, predictions: Sequence[ChoicePrediction], scores: Scores
    ) -> list[Section]:
        """Whether some place among the choices is preferred; the errors that the model was surest of."""
        gold = encoded.features.targets["label"].tolist()
        places = max(len(p.probabilities) for p in predictions)
        matrix = confusion(gold, [p.index for p in predictions], places)
        items = [
            Text(
                text=record.fields["text"],
                gold=record.fields["choices"][right],
                predicted=p.choice,
                good=right == p.index,
                confidence=p.probabilities[p.index],
            )
            for record, right, p in zip(encoded.records, gold, predictions, strict=True)
        ]
        wrong = sorted((i for i in items if not i.good), key=lambda i: -(i.confidence or 0))
        names = [f"choice {number}" for number in range(places)]
        return [
            Confusion("Places of right and predicted choices", names, matrix),
            Texts("Most confident errors", wrong[:SHOWN]),
            Texts("Some right answers", [i for i in items if i.good][: SHOWN // 2]),
        ]

    def confidences(
        self, encoded: Encoded, predictions: Sequence[ChoicePrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """The probability of each choice."""
        gold = encoded.features.targets["label"].tolist()
        right = [p.index == index for p, index in zip(predictions, gold, strict=True)]
        return [p.probabilities[p.index] for p in predictions], right

    def verdict(self, encoded: Encoded, prediction: ChoicePrediction, example: int) -> Verdict:
        """The choice."""
        right = int(encoded.features.targets["label"][example])
        names = encoded.records[example].fields["choices"]
        return Verdict(example, {"label": prediction.index}, prediction.choice, names[right])

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "multiple_choice", **self.own_settings()}


def from_data(dataset: Dataset) -> dict[str, Any]:
    """Nothing: every example brings its choices."""
    return {}


TASK = TaskType(
    MultipleChoiceConfig, MultipleChoice, from_data, "which of several continuations is right"
)
