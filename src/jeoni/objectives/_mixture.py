"""Objectives by name, and several of them as one training step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from jeoni.base import lookup
from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config, parse
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints
from jeoni.data.token_store import TokenStore
from jeoni.models.model import Model
from jeoni.objectives._draft import Noise
from jeoni.objectives._objective import Objective, ObjectiveType

FOLDER = "jeoni.objectives"
Chosen = Mapping[str, float | Mapping[str, Any]]
"""The objectives of a recipe: from name to weight, or to settings."""


def find(name: str) -> ObjectiveType:
    """The objective of a name, or of a path ``package.module:NAME``.

    Raises:
        UserError: there is none, or it is something else.
    """
    return lookup.entry(FOLDER, name, "OBJECTIVE", ObjectiveType, "an objective")


@dataclass(frozen=True)
class Weighted:
    """An objective in a mixture."""

    name: str
    objective: Objective
    weight: float


class Mixture:
    """One or several objectives as a training ``Step``.

    Every loss is averaged over its own targets in the whole global batch, then weighted and added: that is
    what ``counts`` and ``expect`` are for (see ``training.step.Joint``).

    Args:
        parts: the objectives, built on the same model.

    Raises:
        UserError: objectives that cannot be combined.
    """

    def __init__(self, parts: Sequence[Weighted]) -> None:
        self.parts = tuple(parts)
        _check([(part.name, part.objective) for part in self.parts])
        objectives = [part.objective for part in self.parts]
        self._layout = next((o for o in objectives if o.arranges), objectives[0])
        self._lead = objectives[0]
        self.model = self._lead.model
        self._expected: Mapping[str, float] = {}
        self._weights: dict[str, float] = {}
        self._likelihoods: set[str] = set()

    @property
    def module(self) -> nn.Module:
        """What trains."""
        return self._lead.module

    def files(self) -> dict[str, Path]:
        """What is read beside the text."""
        return {name: path for part in self.parts for name, path in part.objective.files().items()}

    def room(self, length: int) -> int:
        """Tokens of a chunk, for sequences of at most ``length`` tokens."""
        return self._layout.room(length)

    def cut(self, store: TokenStore, room: int, *, seed: int = 0, epoch: int = 0) -> Chunks:
        """The stretches of a store that sequences are made of in an epoch."""
        return self._layout.cut(store, room, seed=seed, epoch=epoch)

    @property
    def whole(self) -> bool:
        """Whether the sequences of a step must be in one batch."""
        return any(part.objective.whole for part in self.parts)

    def batch(self, chunks: Chunks, indices: Ints, noise: Noise) -> Batch:
        """Chunks laid out, corrupted, with all targets."""
        draft = self._layout.arrange(chunks, indices, noise)
        for part in self.parts:
            draft = part.objective.corrupt(draft, noise)
        return draft.batch()

    def counts(self, batch: Batch) -> dict[str, float]:
        """Targets of every loss, and tokens."""
        found = {"tokens": float(sum(batch.lengths))}
        for part in self.parts:
            for number, count in enumerate(part.objective.counts(batch)):
                found[f"{part.name}/{number}"] = count
        return found

    def tokens(self, batch: Batch) -> int:
        """Tokens that the model computes for a batch."""
        return self._lead.tokens(batch)

    def rows(self, batch: Batch) -> dict[str, float]:
        """For how many of them each head with a vocabulary is computed."""
        return {kind: n for part in self.parts for kind, n in part.objective.rows(batch).items()}

    def expect(self, counts: Mapping[str, float]) -> None:
        """What ``counts`` adds up to over the global batch that comes next."""
        self._expected = counts

    def __call__(self, batch: Batch) -> Loss:
        """This batch's share of the weighted sum of means; the shares' counts sum to 1."""
        counts, whole = self.counts(batch), self._expected
        if not whole:
            whole = counts
        hidden = self._lead.run(batch)
        total = torch.zeros((), device=hidden.device)
        metrics: dict[str, tuple[float, float]] = {}
        for part in self.parts:
            for number, loss in enumerate(part.objective.losses(hidden, batch)):
                # Without a target the loss is 0, and still what a gradient can be taken of.
                targets = whole[f"{part.name}/{number}"] or 1.0
                total = total + loss.total * (part.weight * loss.weight / targets)
                name = f"{part.name}_{loss.name}"
                self._weights[name] = part.weight * loss.weight
                self._likelihoods |= {name} if loss.perplexity else set()
                metrics[name] = (float(loss.total.detach()), loss.count)
                metrics |= {f"{part.name}_{key}": value for key, value in loss.metrics.items()}
        return Loss(total, counts["tokens"] / whole["tokens"], metrics)

    def figures(self, sums: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        """Means of what was added up: the weighted loss first, then losses, perplexities and the rest.

        Args:
            sums: what ``__call__`` gave as metrics, added up.
        """
        means = {name: value / count for name, (value, count) in sums.items() if count}
        found = {"loss": sum(self._weights.get(name, 0.0) * mean for name, mean in means.items())}
        found |= means
        for name in self._likelihoods & means.keys():
            found[name.removesuffix("loss") + "perplexity"] = math.exp(min(means[name], 50.0))
        return found


def build(chosen: Chosen, model: Model, *, seed: int) -> Mixture:
    """The objectives of a recipe on a model.

    Args:
        chosen: from name to weight, or to settings, of which ``weight`` is one.
        model: gets their heads.
        seed: draws the heads' weights.

    Raises:
        UserError: no such objective or setting, or ones that cannot be combined.
    """
    parts = []
    for name, kind, config, weight in parsed(chosen):
        objective = kind.objective(model=model, config=config, seed=seed)
        parts.append(Weighted(name.rpartition(":")[2], objective, weight))
    return Mixture(parts)


def parsed(chosen: Chosen) -> list[tuple[str, ObjectiveType, Config, float]]:
    """Name, type, settings and weight of each objective of a recipe; errors as of ``build``."""
    if not chosen:
        raise UserError("recipe: no objective", hint=f"known: {', '.join(lookup.names(FOLDER))}")
    found = []
    for name, given in chosen.items():
        settings = dict(given) if isinstance(given, Mapping) else {"weight": given}
        weight = settings.pop("weight", 1.0)
        if not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise UserError(f"recipe: objectives.{name}: weight {weight!r} is no number above 0")
        kind = find(name)
        config = parse(kind.config, settings, where=f"recipe: objectives.{name}")
        found.append((name, kind, config, float(weight)))
    _check([(name, kind.objective) for name, kind, _, _ in found])
    return found


def _check(parts: Sequence[tuple[str, Objective | type[Objective]]]) -> None:
    names = [name for name, _ in parts]
    if len(set(names)) < len(names):  # (of package.module:NAME, figures have the NAME)
        raise UserError(
            f"objectives: two have the same name ({', '.join(names)})", hint="rename one"
        )
    for name, objective in parts:
        if objective.alone and len(parts) > 1:
            raise UserError(f"objectives: {name} cannot be combined with others ({names})")
    for what in ("arranges", "corrupts"):
        both = [name for name, objective in parts if getattr(objective, what)]
        if len(both) > 1:
            raise UserError(f"objectives: {' and '.join(both)} cannot be combined: take one")
