"""Train a language model on plain text: from random weights, or on from a checkpoint."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jeoni.base import runtime
from jeoni.base.batch import Batch
from jeoni.base.config import gather, parse
from jeoni.base.errors import UserError
from jeoni.base.files import named_problems, write_text
from jeoni.data.token_store import fingerprint
from jeoni.models.growth import grow
from jeoni.models.model import Model
from jeoni.nn.stack import Stack, blocks
from jeoni.objectives import _mixture
from jeoni.objectives._batches import StoreBatches, held_out
from jeoni.objectives._mixture import Mixture
from jeoni.recipes import build, head_start, named, pretrain_pages, run
from jeoni.recipes.pretrain_settings import PretrainRecipe
from jeoni.recipes.texts import Texts, open_texts, texts_left
from jeoni.training import distributed, log, optimizer
from jeoni.training.config import TrainConfig
from jeoni.training.loop import fit
from jeoni.training.optimizer import GroupRow, ParamGroup
from jeoni.training.result import FitResult

OnGroups = Callable[[list[GroupRow]], None]


@dataclass(frozen=True)
class PretrainResult:
    """What came of a run.

    Attributes:
        folder: the run folder; ``folder/model`` is the model, to be given to ``jeoni.finetune``.
        metrics: of the held-out text.
        results: all that ``results.json`` holds.
        earlier: the run was finished before; its results were read.
    """

    folder: Path
    metrics: Mapping[str, float]
    results: Mapping[str, Any]
    earlier: bool = False


def pretrain(
    recipe: str | Path | Mapping[str, Any] | None = None,
    *overrides: str,
    on_groups: OnGroups | None = None,
    **settings: Any,
) -> PretrainResult:
    """Train a language model on plain text.

    Run again, it goes on where it was interrupted; a finished run is read, not repeated.

    Args:
        recipe: a YAML file, a mapping (see ``PretrainRecipe``), or the name of a recipe that comes with
            jeoni (``electra-demo``).
        overrides: ``"train.lr=3e-5"`` and the like.
        on_groups: called with the table of parameter groups before training.
        settings: top-level keys. Of ``train``, ``batch``, ``tokenizer`` and ``head_start`` the recipe's
            other keys stay; others take its place.

    Raises:
        UserError: something in the recipe, the text or the model is wrong.
        Interrupted: Ctrl-C or SIGTERM; what was done is saved.
    """
    full = resolve(recipe, overrides, settings)
    folder = full.folder()
    if distributed.rank() == 0:
        run.check(folder, full)
    found = run.finished(folder)
    if found is not None:
        marks = texts_left(full, Path(found["data"]["store"]))
        beside = {name: Path(path) for name, path in found["data"].get("files", {}).items()}
        run.check_data(folder, marks | {n: path for n, path in beside.items() if path.is_file()})
        return PretrainResult(folder, found["metrics"], found, earlier=True)
    found = _run(full, folder, on_groups)
    return PretrainResult(folder, found["metrics"], found)


def resolve(
    recipe: str | Path | Mapping[str, Any] | None,
    overrides: Sequence[str],
    settings: Mapping[str, Any],
) -> PretrainRecipe:
    """The validated recipe of a file, a name or a mapping with overrides on top."""
    values, where = gather(named.found(recipe, named.PRESETS), overrides, settings, PretrainRecipe)
    full = parse(PretrainRecipe, values, where=where)
    run.warn_of_epochs(values, full, where)
    return full


def _run(recipe: PretrainRecipe, folder: Path, on_groups: OnGroups | None) -> dict[str, Any]:
    """Prepare, train, look at held-out text, write."""
    device = runtime.device(recipe.device)  # a device that is not there is noticed before all work
    head_start.check(recipe)
    _mixture.parsed(recipe.objectives)
    build.check_start(recipe)
    first = distributed.rank() == 0
    texts = open_texts(recipe)
    if first:
        run.check_data(folder, texts.marks)
    model = build.model(
        recipe, None, seed=recipe.seed, tokenizer=texts.tokenizer, spare=recipe.tokenizer.spare
    ).to(device)
    added = grow(model, texts.tokenizer) if texts.tokenizer is not None else 0
    _check(model, texts, max(recipe.length, recipe.short.length if recipe.short else 0))
    head_start.give(recipe, model, texts.train, folder)
    model.keep_head("")  # the objectives put theirs on, with a checkpoint's weights
    mixture = _mixture.build(recipe.objectives, model, seed=recipe.seed)
    mixture.module.to(device)
    if recipe.train.shard and mixture.whole:
        raise UserError(
            f"train.shard: {', '.join(recipe.objectives)} compares the sequences of a step, and processes "
            "read theirs in parts of their own number",
            hint="train.shard=false gives every process all of the model",
        )
    groups = optimizer.default_groups(mixture.module)
    if first:
        if on_groups is not None:
            on_groups(optimizer.table(mixture.module, groups, recipe.train))
        run.check_data(folder, mixture.files())
        run.claim(folder, recipe, {**texts.marks, **mixture.files()}, "pretrain")
    began = time.monotonic()
    with runtime.threads(recipe.train.threads):
        unseen = _unseen(recipe, mixture, texts)
        result = _train(recipe, mixture, groups, texts, unseen, folder)
        rate = pretrain_pages.rate(recipe, mixture, result, unseen)
    kept = result.best_metrics if recipe.train.keep_best else {}  # of the weights that are saved
    metrics = {k: v for k, v in (kept or result.last_metrics).items() if v is not None}
    beside = {name: str(path) for name, path in mixture.files().items()}
    found = {
        "metrics": metrics,
        "objectives": recipe.objectives,
        "folder": str(folder),
        "data": {
            **texts.facts,
            **({"added_tokens": added} if added else {}),
            **({"files": beside} if beside else {}),
        },
        "training": result.to_json(),
        "rate": rate,
        "machine": runtime.facts(device, recipe.train.precision),
        "wall_seconds": round(time.monotonic() - began, 1),
    }
    if first:
        _write(recipe, model, found, folder)
    return found


def _unseen(recipe: PretrainRecipe, mixture: Mixture, texts: Texts) -> list[Batch]:
    """Batches of held-out text."""
    found = held_out(
        texts.held_out,
        mixture,
        length=recipe.length,
        tokens=recipe.data.held_out_tokens,
        config=recipe.batch,
    )
    if not found:
        share = "--held-out of jeoni data prepare" if recipe.data.store else "data.held_out"
        raise UserError(
            f"{texts.held_out.folder}: no text to be held out is long enough",
            hint=f"give more text, or a larger {share}",
        )
    return found


def _train(
    recipe: PretrainRecipe,
    mixture: Mixture,
    groups: Sequence[ParamGroup],
    texts: Texts,
    unseen: Sequence[Batch],
    folder: Path,
) -> FitResult:
    """Fit, with figures on held-out text."""
    for part in mixture.module.modules():
        if isinstance(part, Stack):
            part.recompute = recipe.recompute
    short = (recipe.short.steps, recipe.short.length) if recipe.short else None
    batches = StoreBatches(
        texts.train,
        mixture,
        length=recipe.length,
        config=recipe.batch,
        seed=recipe.seed,
        short=short,
    )
    return fit(
        mixture,
        batches,
        groups=groups,
        config=_loop(recipe, mixture, batches),
        folder=folder,
        seed=recipe.seed,
        evaluate=lambda: evaluate(mixture, unseen, recipe.train.precision),
        device=mixture.model.device,
        tensorboard=recipe.tensorboard,
        description="pretraining",
        blocks=blocks(mixture.module),
    )


def _loop(recipe: PretrainRecipe, mixture: Mixture, batches: StoreBatches) -> TrainConfig:
    """The loop's settings, as long as the recipe wants it in the end."""
    loop = recipe.train
    if recipe.flops is not None:
        left, first, short = recipe.flops, 0, recipe.short
        if short is not None:
            a_step = _operations(mixture, short.length, batches.sample(0))
            first = min(short.steps, round(left / a_step))
            left -= first * a_step
        a_step = _operations(mixture, recipe.length, batches.sample(1 if short else 0))
        return loop.model_copy(update={"steps": max(1, first + round(max(left, 0) / a_step))})
    if recipe.short is not None:  # the steps with short sequences are an epoch of their own
        return loop.model_copy(update={"epochs": loop.epochs + 1})
    return loop


def _operations(mixture: Mixture, length: int, steps: Sequence[Sequence[Batch]]) -> float:
    """Of a step, on average of some."""
    read = [batch for step in steps for batch in step]
    return pretrain_pages.operations(mixture, length, read) / len(steps)


def evaluate(mixture: Mixture, batches: Sequence[Batch], precision: str) -> dict[str, float]:
    """Mean losses and figures over batches; what is drawn on the way is always the same.

    Ranks divide the batches; the first one gets the figures.

    Args:
        mixture: objectives, on a model that does not train.
        batches: of held-out text.
        precision: ``auto``, ``bf16`` or ``fp32``.
    """
    device = mixture.model.device
    rank, world = distributed.place()
    sums: dict[str, tuple[float, float]] = {}
    mixture.expect({})
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for number in range(rank, len(batches), world):
            torch.manual_seed(number)
            with torch.no_grad(), runtime.autocast(runtime.precision(precision, device), device):
                metrics = mixture(batches[number].to(device)).metrics
            for name, (value, count) in metrics.items():
                old = sums.get(name, (0.0, 0.0))
                sums[name] = (old[0] + value, old[1] + count)
    return mixture.figures(distributed.add_named(sums))


def _check(model: Model, texts: Texts, length: int) -> None:
    """See that the model can read the text.

    Raises:
        UserError: other tokens, or sequences that are too long.
    """
    limit = model.spec.limit
    if limit is not None and length > limit:
        raise UserError(f"recipe: length {length}, but the model has {limit} positions")
    made = texts.train.meta.get("tokenizer")
    if made is not None and made != fingerprint(model.tokenizer):
        raise UserError(
            f"{texts.train.folder} was prepared with another tokenizer than the model's",
            hint="prepare the text again: jeoni data prepare OUT FILES... --tokenizer MODEL",
        )


def _write(recipe: PretrainRecipe, model: Model, found: dict[str, Any], folder: Path) -> None:
    """Model with its card, report, and last the results."""
    hint = "make room, or the folder writable; the same command then only writes what is missing"
    with named_problems(folder, hint):
        model.save(folder / run.MODEL)
        write_text(folder / run.MODEL / "README.md", pretrain_pages.card(recipe, found))
        pretrain_pages.report(recipe, model, found, log.read(folder), folder / run.REPORT)
        run.finish(folder, found)
