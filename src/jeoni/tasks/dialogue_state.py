"""Dialogue-state tracking: after every turn of the user, the value of each slot.

Sources: Lee et al., "SUMBT", 2019 (see ``_dialogue_head``); Park et al., "KLUE", 2021, section 3.8 (the
task, its scores; the dialogue as one text).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Features
from jeoni.data.catalog import Dataset
from jeoni.data.dialogues import split
from jeoni.data.record import Record
from jeoni.metrics.counts import f1_of_sums, of_sets
from jeoni.metrics.dialogue import right_turns, state_scores, turn_f1
from jeoni.ops.losses import segment_log_softmax
from jeoni.report.sections import NOTHING, Section
from jeoni.tasks._dialogue_head import SlotHead, by_slot, meanings
from jeoni.tasks._dialogue_report import dialogue_sections
from jeoni.tasks._dialogue_types import StatePrediction
from jeoni.tasks._scores import Figures, Scores, means
from jeoni.tasks._task import Encoded, Task, TaskType, Verdict

HEAD = "dialogue_state"
CUT = "turns whose history is longer than max_length (its oldest words are not read)"
UNKNOWN = "values in states that the model does not know"
UNSAID = -1
Kept = tuple[list[int], list[float]]
"""For each slot the number of its value, and how probable it is."""


class DialogueStateConfig(Config):
    """Settings of dialogue-state tracking.

    Attributes:
        values: all that a state can have in it, as ``domain-slot-value``. The data set gives them if this
            does not: those of its ontology, and those that training has.
        max_length: longest sequence in tokens; of longer dialogues the newest words are read.
    """

    values: tuple[str, ...] | None = None
    max_length: int = Field(512, ge=1)


class DialogueState(Task[Kept, StatePrediction]):
    """The value of each slot, after every turn of the user."""

    main_metric = "joint_goal_accuracy"
    config: DialogueStateConfig

    def attach(self, seed: int) -> None:
        """Use the checkpoint's head if it is for the same values, else a fresh one."""
        model = self.model
        if not self.config.values:
            raise UserError(
                "dialogue states need the values of each slot",
                hint="give data.train, data.ontology=FILE, or task.values=[hotel-area-north]",
            )
        self.given = list(self.config.values)
        self.values = by_slot(self.given)
        self.sizes = [len(values) for values in self.values.values()]
        same = model.settings.get("values") == self.given
        if model.keep_head(HEAD) is None or not same:
            head = SlotHead(
                model.state_size,
                self.sizes,
                dropout=model.spec.dropout,
                norm_eps=model.spec.norm_eps,
            )
            model.add_head(HEAD, head, seed=seed, drawn=() if same else ("",))
            if f"heads.{HEAD}.values.weight" in model.fresh:
                names = [slot.replace("-", " ") for slot in self.values]
                values = [value for values in self.values.values() for value in values]
                head.begin(meanings(model, names), meanings(model, values))
        model.labels = None

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> Encoded:
        """``[CLS] history [SEP] system's last turn [SEP] user's turn [SEP]``; targets ``values [n, S]``.

        Targets are places among all values; -1 for one that the model does not know.
        """
        tokenizer = self.model.tokenizer
        texts = list(dict.fromkeys(text for r in records for text in r.fields["turns"]))
        pieces = dict(zip(texts, (p.ids.tolist() for p in tokenizer.pieces(texts)), strict=True))
        limit = min(self.config.max_length, self.model.spec.positions)
        room = limit - tokenizer.special_count(pair=True)
        if room < 1:
            raise UserError(f"task.max_length={limit} leaves no room for what is said")
        sequences, notes = [], {CUT: 0}
        for record in records:
            turns = [pieces[text] for text in record.fields["turns"]]
            before, now = self._joined(turns[:-2]), self._joined(turns[-2:])
            notes[CUT] += len(before) + len(now) > room
            now = now[-room:]
            left = room - len(now)
            sequences.append(tokenizer.build_pair(before[-left:] if left else [], now))
        targets = {"values": [self._target(record) for record in records]} if labeled else {}
        if labeled:
            known = {f"{slot}-{value}" for slot, values in self.values.items() for value in values}
            notes[UNKNOWN] = sum(part not in known for r in records for part in r.fields["state"])
        ids, segments = [ids for ids, _ in sequences], [segments for _, segments in sequences]
        return Encoded(records, Features.of(ids, segments, targets=targets), notes)

    def _joined(self, turns: Sequence[list[int]]) -> list[int]:
        """Tokens of several turns, with a separator between, if the tokenizer has one."""
        tokenizer = self.model.tokenizer
        marks = (tokenizer.sep_id, tokenizer.eos_id)
        between = [mark for mark in marks if mark is not None][:1]
        joined: list[int] = []
        for number, turn in enumerate(turns):
            joined += [*between, *turn] if number else turn
        return joined

    def _target(self, record: Record) -> list[int]:
        said = dict(split(part, record.where) for part in record.fields["state"])
        targets, first = [], 0
        strange = said.keys() - self.values.keys()
        for slot, values in self.values.items():
            value = said.get(slot)
            known = value is None or value in values
            targets.append(
                first + (0 if value is None else values.index(value)) if known else UNSAID
            )
            first += len(values)
        if strange and len(strange) == len(said):
            raise UserError(
                f"{record.where}: the model knows none of the slots {', '.join(sorted(strange))}",
                hint=f"slots: {', '.join(list(self.values)[:10])}, ...",
            )
        return targets

    def logits(self, batch: Batch) -> Tensor:
        """``[B, V]``: the scores of all values, slot by slot."""
        result: Tensor = self.model.heads[HEAD](self.model(batch), batch.lengths)
        return result

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Cross-entropy over the values of each slot."""
        target = batch.targets["values"]
        known = target != UNSAID
        logs = segment_log_softmax(logits.T, self.sizes).T
        chosen = logs.gather(1, target.clamp(min=0))[known]
        found = [part.argmax(-1) for part in torch.split(logits.detach(), self.sizes, 1)]
        firsts = torch.tensor(np.cumsum([0, *self.sizes[:-1]]), device=logits.device)
        right = (torch.stack(found, 1) + firsts == target).all(1)
        figures = {"joint_goal_accuracy": (float(right.sum()), float(len(target)))}
        return Loss(-chosen.sum(), float(known.sum()), figures)

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[Kept]:
        """The likeliest value of each slot."""
        best = [
            torch.softmax(part.float(), -1).max(-1) for part in torch.split(logits, self.sizes, 1)
        ]
        chances = torch.stack([chance for chance, _ in best], 1).tolist()
        places = torch.stack([place for _, place in best], 1).tolist()
        return list(zip(places, chances, strict=True))

    def combine(self, encoded: Encoded, partials: Sequence[Kept]) -> list[StatePrediction]:
        """The values that are not ``none``."""
        predictions = []
        for places, chances in partials:
            state = [
                f"{slot}-{values[place]}"
                for (slot, values), place in zip(self.values.items(), places, strict=True)
                if place
            ]
            predictions.append(StatePrediction(tuple(state), math.prod(chances)))
        return predictions

    def score(self, encoded: Encoded, predictions: Sequence[StatePrediction]) -> Scores:
        """Joint goal accuracy and slot F1, as fractions."""
        gold = [record.fields["state"] for record in encoded.records]
        said = [prediction.state for prediction in predictions]
        counts = [of_sets(*pair).as_tuple() for pair in zip(gold, said, strict=True)]
        pooled = Figures(np.array(counts, np.float64), {"slot_micro_f1_pooled": f1_of_sums})
        beside = [means({"slot_micro_f1": turn_f1(gold, said)}), pooled]
        return Scores(state_scores(gold, said), right_turns(gold, said), beside=beside)

    def sections(
        self, encoded: Encoded, predictions: Sequence[StatePrediction], scores: Scores
    ) -> list[Section]:
        """Joint goal accuracy by turn, each slot, values that are confused, wrong states."""
        return dialogue_sections(encoded.records, predictions, list(self.values))

    def confidences(
        self, encoded: Encoded, predictions: Sequence[StatePrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """Of every state."""
        return [p.probability for p in predictions], [score == 1 for score in scores.per_example]

    def verdict(self, encoded: Encoded, prediction: StatePrediction, example: int) -> Verdict:
        """The values of a state; slots that are empty rest on nothing, unless all are."""
        record = encoded.records[example]
        said = Record({"state": prediction.state}, record.source, record.line, record.unit)
        target, firsts = self._target(said), np.cumsum([0, *self.sizes[:-1]]).tolist()
        if prediction.state:
            pairs = zip(target, firsts, strict=True)
            target = [UNSAID if place == first else place for place, first in pairs]
        right = ", ".join(record.fields["state"])
        said_so = ", ".join(prediction.state)
        return Verdict(example, {"values": target}, said_so or NOTHING, right or NOTHING)

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "dialogue_state", **self.config.model_dump(), "values": self.given}


def from_data(dataset: Dataset) -> dict[str, Any]:
    """The values of the data set's slots."""
    return {"values": dataset.labels} if dataset.labels else {}


TASK = TaskType(
    DialogueStateConfig,
    DialogueState,
    from_data,
    "the value of each slot after every turn of a dialogue",
)
