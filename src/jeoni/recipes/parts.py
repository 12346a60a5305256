"""What one seed's run is put together from, with the mistakes found that can be found before training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jeoni.base import lookup, runtime
from jeoni.base.errors import UserError
from jeoni.data.catalog import Dataset
from jeoni.evaluation.runner import Evaluation, evaluate
from jeoni.recipes import build, examples
from jeoni.recipes.settings import FinetuneRecipe
from jeoni.tasks._find import full_name
from jeoni.tasks._task import Encoded, Task
from jeoni.text.tokenizer import Tokenizer
from jeoni.training import distributed, optimizer
from jeoni.training.optimizer import GroupRow, ParamGroup

_TRIAL = 2


@dataclass
class Shared:
    """What all seeds of a recipe have in common; the first that is assembled fills it.

    Attributes:
        dataset: the data.
        tokenizer: the model's.
        train, dev: the encoded examples.
        skipped: what was passed over (``data.skip_bad``).
    """

    dataset: Dataset
    tokenizer: Tokenizer | None = None
    train: Encoded | None = None
    dev: Encoded | None = None
    skipped: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """What one seed's run is put together from."""

    recipe: FinetuneRecipe
    dataset: Dataset
    task: Task[Any, Any]
    task_name: str
    groups: Sequence[ParamGroup]
    train: Encoded
    dev: Encoded
    seed: int
    folder: Path
    skipped: Mapping[str, Any]

    def table(self) -> list[GroupRow]:
        """The parameter groups in figures."""
        return optimizer.table(self.task.model, self.groups, self.recipe.train)

    def evaluate(self, dev: Encoded | None = None) -> Evaluation:
        """The dev examples (or others) with the weights as they are."""
        return evaluate(
            self.task,
            dev or self.dev,
            batch_tokens=self.recipe.batch.eval_tokens,
            precision=self.recipe.train.precision,
            show=dev is None and distributed.rank() == 0,
        )

    def check_metric(self) -> None:
        """See before training that evaluation gives the figure that is to pick the best weights.

        Raises:
            UserError: it gives others; the nearest is named.
        """
        wanted = self.recipe.train.metric
        if wanted is None or wanted in self._figures(self.dev.records[:_TRIAL]):
            return
        # Some figures are given only where there are examples for them.
        names = self._figures(self.dev.records)
        if wanted not in names:
            raise UserError(
                f"train.metric: evaluation gives no {wanted!r}", hint=lookup.suggest(wanted, names)
            )

    def _figures(self, records: Sequence[Any]) -> list[str]:
        trial = self.dev if len(records) == len(self.dev.records) else self.task.encode(records)
        return list(self.evaluate(trial).values())


def assemble(recipe: FinetuneRecipe, shared: Shared, seed: int, folder: Path) -> Parts:
    """Model as the strategy wants it, task on it, parameter groups, encoded data.

    Raises:
        UserError: something in the recipe, the data or the model is wrong.
    """
    device = runtime.device(recipe.device)  # a device that is not there is noticed before all work
    dataset = shared.dataset
    name = dataset.task if recipe.task["name"] == "auto" else recipe.task["name"]
    build.check_trains(name, dataset)
    model = build.model(recipe, dataset, seed=seed, tokenizer=shared.tokenizer).to(device)
    shared.tokenizer = model.tokenizer
    build.edit(recipe, model, seed=seed)
    chosen = {k: v for k, v in recipe.task.items() if k != "name"}
    task = build.task(name, chosen, dataset, model, seed=seed)
    groups = build.groups(recipe, model)
    if shared.train is None or shared.dev is None:
        shared.train = examples.encode(task, dataset, "train")
        shared.dev = examples.encode(task, dataset, "dev")
        shared.skipped = examples.tell(dataset)
    own = (shared.train, shared.dev, seed, folder, shared.skipped)
    parts = Parts(recipe, dataset, task, full_name(name), groups, *own)
    parts.check_metric()
    return parts
