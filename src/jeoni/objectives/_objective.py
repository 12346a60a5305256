"""What every objective is made of: layout, corruption, head, loss."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints
from jeoni.data.token_store import TokenStore
from jeoni.models.model import Model
from jeoni.objectives import _layout
from jeoni.objectives._draft import Draft, Noise


@dataclass(frozen=True)
class Part:
    """One loss of an objective, over its own targets.

    Attributes:
        total: sum over the targets, float32 scalar with gradient.
        count: targets.
        weight: of this loss beside the objective's others.
        name: in logs, behind the objective's; ends with ``loss``.
        perplexity: whether it is the negative log-likelihood of tokens, so that its exponential is one.
        metrics: other figures as (sum, count).
    """

    total: Tensor
    count: float
    weight: float = 1.0
    name: str = "loss"
    perplexity: bool = False
    metrics: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Objective(ABC):
    """Corruption, head and loss of one kind of self-supervision.

    From text to loss: ``arrange`` lays chunks out as sequences, ``corrupt`` changes tokens and notes what
    they were, the model reads the batch (``run``), and ``losses`` compares. Objectives that only add to
    one of these steps can be combined: one that arranges, one that corrupts, and all read the same states.

    Args:
        model: the objective puts its heads on it.
        config: the objective's settings.
        seed: draws what the checkpoint does not have.
    """

    arranges: ClassVar[bool] = False
    """Whether it has a layout of its own."""
    corrupts: ClassVar[bool] = False
    """Whether it changes tokens."""
    alone: ClassVar[bool] = False
    """Whether it has a forward pass of its own, and so cannot be combined."""
    whole: ClassVar[bool] = False
    """Whether it compares sequences, so that those of a step must be in one batch."""

    def __init__(self, *, model: Model, config: Any, seed: int = 0) -> None:
        self.model = model
        self.config = config
        self.attach(seed)

    @property
    def module(self) -> nn.Module:
        """What trains; the model, unless the objective trains more than what is kept."""
        return self.model

    @abstractmethod
    def attach(self, seed: int) -> None:
        """Put the objective's heads on the model; those that it has already stay."""

    def files(self) -> Mapping[str, Path]:
        """What is read beside the text, by a name for each."""
        return {}

    def room(self, length: int) -> int:
        """Tokens of a chunk, for sequences of at most ``length`` tokens.

        Raises:
            UserError: the special tokens leave none.
        """
        room = length - self.model.tokenizer.special_count()
        if room < 1:
            raise UserError(f"sequences of {length} tokens have no room for text")
        return room

    def cut(self, store: TokenStore, room: int, *, seed: int = 0, epoch: int = 0) -> Chunks:
        """The stretches of text that sequences are made of; if not of documents, it ``arranges``, too."""
        return Chunks(store, room, seed=seed, epoch=epoch)

    def arrange(self, chunks: Chunks, indices: Ints, noise: Noise) -> Draft:
        """Chunks as sequences with special tokens.

        Args:
            chunks: of the epoch.
            indices: which, ``[B]``; they are the numbers of the examples.
            noise: the epoch's.
        """
        return _layout.single(chunks, indices, self.model.tokenizer)

    def corrupt(self, draft: Draft, noise: Noise) -> Draft:
        """Changed tokens, and targets: a function of each sequence and its number alone."""
        return draft

    @abstractmethod
    def counts(self, batch: Batch) -> list[float]:
        """Targets of each loss that ``losses`` gives: known before the model has read the batch."""

    def tokens(self, batch: Batch) -> int:
        """Tokens that the model computes for a batch: of an encoder and of a decoder."""
        return sum(batch.lengths) + (sum(batch.decoder.lengths) if batch.decoder else 0)

    def rows(self, batch: Batch) -> Mapping[str, float]:
        """For how many of these heads with a vocabulary are computed, by their kind."""
        return {}

    def run(self, batch: Batch) -> Tensor:
        """What the model makes of a batch: last hidden states ``[N, H]``."""
        hidden: Tensor = self.model(batch)
        return hidden

    @abstractmethod
    def losses(self, hidden: Tensor, batch: Batch) -> list[Part]:
        """As many losses as ``counts`` has numbers.

        Figures that cost something beside the loss (accuracy) are for when the model is not training.

        Args:
            hidden: what ``run`` gave (of the objective's own, if it stands alone).
            batch: where it comes from.
        """


@dataclass(frozen=True)
class ObjectiveType:
    """An entry of the folder: a file's ``OBJECTIVE``.

    Attributes:
        config: class of the settings.
        objective: class of the objective.
        about: one line for listings.
    """

    config: type[Config]
    objective: type[Objective]
    about: str
