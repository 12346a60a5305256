"""Settings of the training loop. (Batch sizes belong to what makes the batches.)"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jeoni.base.config import Config

Factor = Annotated[float, Field(ge=0, lt=1)]


class TrainConfig(Config):
    """How to train: how long, how fast, when to evaluate, when to save.

    Attributes:
        epochs: passes over the data; a fraction rounds up to whole steps.
        steps: optimizer steps, instead of ``epochs``.
        hours: instead: stop after so many hours in training steps; the schedule follows the clock, and the
            data are gone through as often as it takes.
        optimizer: ``adamw``; or ``muon``: that for the matrices of blocks, AdamW for the rest. From random
            weights it learns more from each token (docs/pretraining.md).
        lr: learning rate at its height; a parameter group may scale it.
        weight_decay: decoupled weight decay of the groups that have it.
        betas: AdamW's averaging factors.
        eps: AdamW's epsilon.
        warmup: steps of linear warm-up from 1 on, a fraction of all steps below 1.
        schedule: how the learning rate falls after the warm-up.
        clip: greatest norm of the mean gradient over all parameters; 0 for no clipping.
        precision: of the forward pass; ``auto`` is bf16 where the processor has it.
        eval_every: steps between evaluations; without it, at the end of every epoch.
        metric: the figure that picks the best weights; without it, the first that evaluation gives.
        mode: whether more of ``metric`` is better; without it, by name (less loss, more of the rest).
        patience: stop after so many evaluations in a row without improvement.
        keep_best: end with the best weights, not with the last.
        save_every_minutes: minutes between checkpoints; 0 for none by the clock.
        save_every: steps between checkpoints, besides the clock.
        log_every: steps that one line of ``metrics.jsonl`` averages over.
        threads: CPU threads; resuming is bit-exact for the same number.
        shard: under torchrun, every process has a part of weights, gradients and optimizer state instead of
            all (FSDP): less memory, more communication, the same results.
        max_skips: stop after so many steps in a row with a non-finite loss or gradient.
        keep: checkpoints to keep.
    """

    epochs: float = Field(2, gt=0)
    steps: int | None = Field(None, ge=1)
    hours: float | None = Field(None, gt=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(5e-5, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[Factor, Factor] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    warmup: float = Field(0.1, ge=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    clip: float = Field(1.0, ge=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    eval_every: int | None = Field(None, ge=1)
    metric: str | None = None
    mode: Literal["max", "min"] | None = None
    patience: int | None = Field(None, ge=1)
    keep_best: bool = True
    save_every_minutes: float = Field(5, ge=0)
    save_every: int | None = Field(None, ge=1)
    log_every: int = Field(10, ge=1)
    threads: int | None = Field(None, ge=1)
    shard: bool = False
    max_skips: int = Field(5, ge=1)
    keep: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _one_end(self) -> "TrainConfig":
        if self.hours is not None and self.steps is not None:
            raise ValueError("hours and steps are both given: take one (the other is null)")
        return self

    @model_validator(mode="after")
    def _whole_matrices(self) -> "TrainConfig":
        if self.shard and self.optimizer == "muon":
            raise ValueError("optimizer=muon needs whole matrices, and shard=true takes them apart")
        return self
