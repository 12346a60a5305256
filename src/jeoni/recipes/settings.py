"""The recipe of fine-tuning: small settings models put together, from YAML, overrides and arguments."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from jeoni.base import lookup
from jeoni.base.config import Config
from jeoni.data.batching import BatchConfig
from jeoni.data.catalog import DataConfig
from jeoni.recipes import run
from jeoni.training.config import TrainConfig

Named = dict[str, Any]
"""A section that is given by name, with settings that depend on it: ``{name: span_qa, stride: 64}``."""


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if twice := [seed for seed in seeds if seeds.count(seed) > 1]:
        raise ValueError(f"{twice[0]} is given twice")
    return seeds


Seeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_different)]
"""At least one, none of them twice."""


class TokenizerConfig(Config):
    """A tokenizer for a model that has none of its own (a preset).

    Attributes:
        path: folder with tokenizer.json or vocab.txt, or a vocab.txt; without it, a WordPiece
            vocabulary is learned from the training texts.
        vocab_size: of a learned vocabulary.
        lowercase: whether a learned (or bare) vocabulary ignores case.
    """

    path: str | None = None
    vocab_size: int = Field(16000, ge=100)
    lowercase: bool = False


class FinetuneRecipe(Config):
    """Everything that decides a fine-tuning run.

    Attributes:
        model: what to start from: a folder, a run, ``package:NAME``, a hub id; or a preset
            (``jeoni models list``), which starts from random weights.
        family: your own family of models, as ``package.module:NAME``; by default config.json tells.
        init: ``random`` takes only the architecture (and tokenizer) of ``model``.
        spec: sizes that differ from the preset's, for example ``{layers: 4, hidden: 128}``.
        tokenizer: for presets.
        task: task type and its settings.
        data: which data.
        strategy: transfer strategy and its settings.
        train: the loop's settings.
        batch: batch sizes.
        seeds: one run a seed; several give median and spread.
        out: run folder; by default one under ``runs/`` named after model, data, strategy and a hash
            of the recipe.
        device: ``auto``, ``cpu``, ``cuda``.
        keep_epochs: also keep the model of every evaluation (without ``train.eval_every``: of every epoch),
            as ``epochs/1``, ``epochs/2``, ... in the run folder.
        tensorboard: also write TensorBoard files (extra ``tensorboard``).
    """

    model: str
    family: str | None = None
    init: Literal["pretrained", "random"] = "pretrained"
    spec: dict[str, Any] | None = None
    tokenizer: TokenizerConfig = TokenizerConfig()
    task: Named = Field(default_factory=lambda: {"name": "auto"})
    data: DataConfig
    strategy: Named = Field(default_factory=lambda: {"name": "full"})
    train: TrainConfig = TrainConfig()
    batch: BatchConfig = BatchConfig()
    seeds: Seeds = (1,)
    out: str | None = None
    device: str = "auto"
    keep_epochs: bool = False
    tensorboard: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        """``data: squad`` for ``data: {name: squad}``, ``seed: 3`` for ``seeds: [3]``."""
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        for key in ("task", "strategy", "data"):
            if isinstance(values.get(key), str):
                values[key] = {"name": values[key]}
        if "seed" in values and "seeds" not in values:
            values["seeds"] = [values.pop("seed")]
        if isinstance(values.get("seeds"), int):
            values["seeds"] = [values["seeds"]]
        return values

    @field_validator("task", "strategy")
    @classmethod
    def _has_name(cls, value: Named) -> Named:
        if "name" in value:
            return {**value, "name": str(value["name"])}
        # Settings alone go with the default of the section.
        return {"name": "auto", **value}

    @classmethod
    def further_keys(cls) -> list[str]:
        """Those of the task types and strategies that are there."""
        found = []
        for section, package, attribute in (
            ("task", "jeoni.tasks", "TASK"),
            ("strategy", "jeoni.transfer", "STRATEGY"),
        ):
            kinds = [lookup.find(package, name, attribute) for name in lookup.names(package)]
            found += [f"{section}.{key}" for kind in kinds for key in kind.config.model_fields]
        return list(dict.fromkeys(found))

    def own_options(self, task: str) -> str:
        """What the other commands need to use the run, where code of one's own is in it.

        Args:
            task: the name of the task that the run was trained for.
        """
        named = {"family": self.family, "task": task if ":" in task else None}
        return "".join(f" --{option} {name}" for option, name in named.items() if name)

    def folder(self) -> Path:
        """The run folder."""
        if self.out is not None:
            return Path(self.out)
        data = self.data.name or Path(self.data.train or "data").name.split(".")[0]
        model = self.model.removeprefix("package:").rstrip("/").replace("/", "-")
        start = "" if self.init == "pretrained" else "-random"
        name = f"{data}-{Path(model).name}{start}-{self.strategy['name']}"
        return Path("runs") / f"{name}-{run.mark(self)}"
