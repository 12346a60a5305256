"""The recipe of pretraining."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from jeoni.base.config import Config
from jeoni.data.batching import BatchConfig
from jeoni.recipes import run
from jeoni.recipes.settings import TokenizerConfig
from jeoni.training.config import Factor, TrainConfig


class PretrainTrain(TrainConfig):
    """The loop's settings, with what pretraining is published with (Clark et al., 2020, appendix A).

    The last weights are kept, not those of the least loss: a detector's loss rises while its generator
    gets better. An epoch of much text is long, so held-out text is looked at every 1,000 steps (with
    ``eval_every=null`` at the end of every epoch).
    """

    epochs: float = Field(1, gt=0)
    lr: float = Field(5e-4, gt=0)
    betas: tuple[Factor, Factor] = (0.9, 0.999)
    eps: float = Field(1e-6, gt=0)
    warmup: float = Field(0.05, ge=0)
    eval_every: int | None = Field(1000, ge=1)
    keep_best: bool = False


class PretrainBatch(BatchConfig):
    """Batch sizes; sequences of pretraining are short, and more of them fit."""

    size: int = Field(32, ge=1)
    micro_tokens: int = Field(8192, ge=1)


class PretrainTokenizer(TokenizerConfig):
    """A preset's tokenizer; and a longer vocabulary for a checkpoint.

    Attributes:
        spare: rows of a preset's word table that no token has. Span corruption takes them for sentinels,
            where the vocabulary has none.
        add: up to so many new pieces, learned from ``data.text``, behind a checkpoint's own.
    """

    spare: int = Field(0, ge=0)
    add: int = Field(0, ge=0)


class CorpusConfig(Config):
    """Which text.

    Attributes:
        store: folder that ``jeoni data prepare`` wrote.
        text: instead: files of plain text (one sentence a line, a blank line between documents), prepared
            beside the run folder first. ``wiki-en`` and ``wiki-ko`` are samples that come with jeoni. Or
            JSON lines, tables, parquet: a document a row.
        text_column: where the text is in those; of several, with commas between, each is a sentence.
        held_out: share of the documents of ``text`` that is not trained on.
        held_out_tokens: tokens of the held-out text that are looked at, at most.
        fraction: share of the other documents that is trained on; a smaller share is part of a larger one.
    """

    store: str | None = None
    text: tuple[str, ...] = ()
    text_column: str = "text"
    held_out: float = Field(0.01, gt=0, lt=1)
    held_out_tokens: int = Field(100_000, ge=1)
    fraction: float = Field(1.0, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _one_text(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("text"), str):
            return {**values, "text": (values["text"],)}
        return values


class Short(Config):
    """Steps with shorter sequences, before all others.

    Attributes:
        length: tokens of a sequence at most.
        steps: how many.
    """

    length: int = Field(32, ge=4)
    steps: int = Field(ge=1)


class HeadStart(Config):
    """What a model with random weights is given beforehand.

    Attributes:
        words: vectors from counts of which words stand near which.
        neighbors: a first block whose heads look at the tokens before and behind.
    """

    words: bool = False
    neighbors: bool = False


class PretrainRecipe(Config):
    """Everything that decides a pretraining run.

    Attributes:
        model: a preset (``jeoni models list``), which starts from random weights, or a checkpoint, which is
            trained on (domain- and task-adaptive pretraining).
        family: your own family of models, as ``package.module:NAME``.
        spec: sizes that differ from the preset's.
        tokenizer: for presets; by default that of the store, or one learned from ``data.text``. A
            checkpoint has its own, and ``tokenizer.add`` new pieces.
        head_start: of a model with random weights; ``true`` is ``{words: true, neighbors: true}``.
        objectives: from name to weight, or to settings with ``weight`` among them.
        data: which text.
        length: tokens of a sequence at most, special ones included.
        short: begin with shorter sequences, ``{length: 32, steps: 1000}``; the epochs come after them.
        flops: end after so many operations, instead of ``train.epochs`` or ``train.steps``: what objectives
            and sizes can be compared at (``jeoni models show`` says how they are counted).
        recompute: compute each block again for the backward pass: less memory, a third more operations.
        train: the loop's settings; ``train.hours`` ends the run by the clock.
        batch: batch sizes.
        seed: of weights, order, cuts and corruption.
        out: run folder.
        device: ``auto``, ``cpu``, ``cuda``.
        tensorboard: also write TensorBoard files.
    """

    model: str
    family: str | None = None
    init: Literal["pretrained", "random"] = "pretrained"
    spec: dict[str, Any] | None = None
    tokenizer: PretrainTokenizer = PretrainTokenizer()
    head_start: HeadStart = HeadStart()
    objectives: dict[str, Any] = Field(default_factory=lambda: {"masked_lm": 1.0})
    data: CorpusConfig
    length: int = Field(128, ge=4)
    short: Short | None = None
    flops: float | None = Field(None, gt=0)
    recompute: bool = False
    train: PretrainTrain = PretrainTrain()
    batch: PretrainBatch = PretrainBatch()
    seed: int = 1
    out: str | None = None
    device: str = "auto"
    tensorboard: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        """``objectives: masked_lm`` for ``{masked_lm: 1.0}``, ``data: FOLDER`` for ``{store: FOLDER}``;
        ``head_start: true`` for all of it.
        """
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        if isinstance(values.get("objectives"), str):
            values["objectives"] = {values["objectives"]: 1.0}
        if isinstance(values.get("data"), str):
            values["data"] = {"store": values["data"]}
        if isinstance(start := values.get("head_start"), bool):
            values["head_start"] = dict.fromkeys(HeadStart.model_fields, start)
        return values

    @model_validator(mode="after")
    def _one_end(self) -> "PretrainRecipe":
        if self.flops is not None and (self.train.hours or self.train.steps):
            raise ValueError(
                "flops, and train.hours or train.steps: take one (the others are null)"
            )
        return self

    @property
    def strategy(self) -> dict[str, Any]:
        """Everything trains."""
        return {"name": "full"}

    def folder(self) -> Path:
        """The run folder."""
        if self.out is not None:
            return Path(self.out)
        name = "+".join(n.rpartition(":")[2] for n in self.objectives)
        model = Path(self.model.removeprefix("package:").rstrip("/")).name
        return Path("runs") / f"{name}-{model}-{run.mark(self)}"
