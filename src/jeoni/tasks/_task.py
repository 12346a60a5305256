"""What every task type is made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.data.batching import Features, Ints
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record
from jeoni.models.model import Model
from jeoni.report.sections import Section
from jeoni.tasks._scores import Metric as Metric
from jeoni.tasks._scores import Scores as Scores
from jeoni.tasks._scores import Sums as Sums

Partial = TypeVar("Partial")
"""What a task keeps of one sequence's logits."""
Prediction = TypeVar("Prediction")
"""What a task says about one example."""


@dataclass(frozen=True)
class Encoded:
    """Examples and the sequences made from them.

    Attributes:
        records: the examples.
        features: the sequences; ``features.examples`` are indices of ``records``.
        notes: counts of what encoding had to do (cut, windowed, left out), for the report.
        read: the sequences that predictions are made from, where they are others than those to learn from.
    """

    records: Sequence[Record]
    features: Features
    notes: Mapping[str, int]
    read: Features | None = field(default=None, kw_only=True)

    @property
    def reading(self) -> Features:
        """The sequences that predictions are made from."""
        return self.features if self.read is None else self.read

    @property
    def lengths(self) -> Ints:
        """Tokens that are read of each of the features."""
        return self.features.lengths


@dataclass(frozen=True)
class Verdict:
    """A prediction as it would have been the right one.

    Attributes:
        sequence: which of the features it was made from.
        targets: those with which the loss is what the prediction itself costs; or, of numbers, with which
            it falls as the number rises.
        predicted: it, in words.
        gold: what is right.
        features: those that ``sequence`` is one of, where it was made from none of the encoded.
    """

    sequence: int
    targets: Mapping[str, int | float | list[int]]
    predicted: str
    gold: str
    features: Features | None = None


class Task(ABC, Generic[Partial, Prediction]):
    """A task type on a model: encode, head, loss, decode, metric. It is a training ``Step``.

    Args:
        model: the task puts its head on it.
        config: the task's settings.
        seed: draws the head's weights where the checkpoint has none.
    """

    main_metric: str

    def __init__(self, *, model: Model, config: Any, seed: int = 0) -> None:
        self.model = model
        self.config = config
        self.attach(seed)

    @property
    def module(self) -> Model:
        """What trains."""
        return self.model

    def __call__(self, batch: Batch) -> Loss:
        """Loss of a batch with targets."""
        return self.loss(self.logits(batch), batch)

    @abstractmethod
    def attach(self, seed: int) -> None:
        """Leave the model with this task's head and no other."""

    @abstractmethod
    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> Encoded:
        """Examples to sequences; ``labeled`` ones get targets.

        A function of the examples, the settings and the tokenizer alone: what is encoded for one seed is
        used for the others.

        Raises:
            UserError: a column is missing or holds something else; with file and line.
        """

    @abstractmethod
    def logits(self, batch: Batch) -> Tensor:
        """What the head says: one row a token or a sequence."""

    @abstractmethod
    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Sum of the losses, and their count."""

    @abstractmethod
    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[Partial]:
        """What to keep of each sequence of a batch.

        Args:
            encoded: where the sequences came from.
            indices: of the batch's sequences in ``encoded.features``.
            logits: of the batch.
        """

    def pack(self, partial: Partial) -> Any:
        """A partial as JSON data (lists, no tuples): under torchrun, other ranks get it so."""
        return partial

    def unpack(self, packed: Any) -> Partial:
        """What ``pack`` was given."""
        result: Partial = packed
        return result

    @abstractmethod
    def combine(self, encoded: Encoded, partials: Sequence[Partial]) -> list[Prediction]:
        """One prediction an example, from what was kept of its sequences (in their order)."""

    @abstractmethod
    def score(self, encoded: Encoded, predictions: Sequence[Prediction]) -> Scores:
        """The task's official metrics."""

    @abstractmethod
    def sections(
        self, encoded: Encoded, predictions: Sequence[Prediction], scores: Scores
    ) -> list[Section]:
        """What the report shows of labeled examples besides the metrics.

        Args:
            encoded: the examples.
            predictions: one an example.
            scores: what ``score`` made of them.
        """

    def confidences(
        self, encoded: Encoded, predictions: Sequence[Prediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """For the report: the probability of all that is predicted, and whether it is right."""
        return [], []

    def surest(
        self, encoded: Encoded, predictions: Sequence[Prediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """The same of what ``verdict`` is about, one an example: examples to be shown are chosen by it."""
        return self.confidences(encoded, predictions, scores)

    def verdict(self, encoded: Encoded, prediction: Prediction, example: int) -> Verdict | None:
        """For the report, which shows what predictions rest on; None for tasks without that."""
        return None

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What a saved model must remember to be used again (JSON).

        Its ``task`` is the name that the task type was asked for by, whatever is here.
        """


@dataclass(frozen=True)
class TaskType:
    """An entry of the folder: a file's ``TASK``.

    Attributes:
        config: class of the settings.
        task: class of the task.
        from_data: settings that a data set decides, where the user does not.
        about: one line for listings.
        sums: ``Sums.metric`` by name of the main metric, where that is no mean: runs are compared by it.
        trains: whether a model can be trained for it; else it is scored as it is.
        headless: whether it compares what the backbone says, so that any model can be scored as it is.
    """

    config: type[Config]
    task: type[Task[Any, Any]]
    from_data: Callable[[Dataset], dict[str, Any]]
    about: str
    sums: Mapping[str, Metric] = field(default_factory=dict)
    trains: bool = True
    headless: bool = False
