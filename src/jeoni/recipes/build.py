"""From a recipe's names to built parts: model, task, strategy."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jeoni.base import lookup, runtime
from jeoni.base.config import Config, parse
from jeoni.base.errors import UserError
from jeoni.data.catalog import Dataset
from jeoni.models import hub
from jeoni.models.config_file import field_problem, read_spec, written
from jeoni.models.family import Family
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.models.where import resolve, shipped
from jeoni.recipes import room
from jeoni.recipes.pretrain_settings import PretrainRecipe
from jeoni.recipes.settings import FinetuneRecipe, TokenizerConfig
from jeoni.tasks import _find as tasks
from jeoni.tasks._task import Task
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import train_wordpiece
from jeoni.training import distributed
from jeoni.training.optimizer import ParamGroup
from jeoni.transfer._strategy import Strategy
from jeoni.transfer.features import restore

Start = FinetuneRecipe | PretrainRecipe
STRATEGIES = "jeoni.transfer"
TRAIN_ALL = ("auto", "full", "discriminative")
"""Strategies known to train every weight, whatever was loaded."""


def model(
    recipe: Start,
    dataset: Dataset | None,
    *,
    seed: int,
    tokenizer: Tokenizer | None = None,
    spare: int = 0,
) -> Model:
    """The model to start from: loaded, or a preset with fresh weights.

    Args:
        recipe: says which.
        dataset: a preset's vocabulary is learned from it; None: there must be one.
        seed: draws what is not loaded.
        tokenizer: a preset's, where it is at hand.
        spare: rows of a preset's word table that no token has.
    """
    presets = hub.presets(recipe.family)
    if not is_preset(recipe):
        check_start(recipe)
        folder = located(recipe.model, list(presets))
        if (
            hub.knowing(folder) is None
        ):  # files of vectors: what they hold is known when they are read
            _check_room(recipe, *hub.described(folder, family=recipe.family)[2:])
        return hub.load(folder, init=recipe.init, seed=seed, family=recipe.family)
    family, spec = presets[recipe.model]
    sizes = hub.own_family(family)
    if tokenizer is None and sizes.open_tokenizer is not None:
        tokenizer = sizes.open_tokenizer(Path(), spec)  # nothing to learn: words are characters
    changes = recipe.spec or {}
    spec = _resized(spec, changes, known=_sizes(sizes, spec))
    words = tokenizer.vocab_size if tokenizer else recipe.tokenizer.vocab_size
    _check_room(recipe, sizes, replace(spec, vocab=words), hub.presets(family))
    tokenizer = tokenizer or _tokenizer(recipe.tokenizer, dataset)
    spec = replace(spec, vocab=tokenizer.vocab_size + spare)
    if spec.decoder_start >= spec.vocab and "decoder_start" not in changes:
        # Of the preset's own vocabulary: Marian counts the padding token, read first, last.
        spec = replace(spec, decoder_start=tokenizer.pad_id or 0)
    # Read as it will be written: what follows from a size (T5's output scale), and what no family has.
    spec = read_spec(sizes, written(sizes, spec), "recipe: spec")
    return hub.create(family, spec, tokenizer=tokenizer, seed=seed)


def task(
    name: str, settings: Mapping[str, Any], dataset: Dataset, start: Model, *, seed: int
) -> Task[Any, Any]:
    """A task on a model; what the user leaves open, the data set decides."""
    kind = tasks.find(name)
    config = parse(kind.config, {**kind.from_data(dataset), **settings}, within="task")
    if "labels" in settings:  # published heads may have two of a name: those are not given
        _check_names(getattr(config, "labels", None) or ())
    return kind.task(model=start, config=config, seed=seed)


def _check_names(labels: Sequence[str]) -> None:
    twice = [name for number, name in enumerate(labels) if name in labels[:number]]
    if twice:
        raise UserError(f"recipe: task.labels has {twice[0]!r} twice", hint="name each class once")


def is_preset(recipe: Start) -> bool:
    """Whether a model is a preset, with sizes alone; a folder of that name is none."""
    return recipe.model in hub.presets(recipe.family) and not Path(recipe.model).exists()


def check_start(recipe: Start) -> None:
    """See that the model to start from is there; a checkpoint has its sizes and its tokenizer.

    Raises:
        UserError: it is neither a preset nor a checkpoint, or the recipe has others for a checkpoint.
    """
    if is_preset(recipe):
        return
    located(recipe.model, list(hub.presets(recipe.family)))
    if recipe.spec:
        raise UserError(
            f"spec changes the sizes of a preset, but {recipe.model!r} is none",
            hint="a checkpoint has its sizes; presets: jeoni models list",
        )
    _check_own_tokenizer(recipe)


def check_trains(name: str, dataset: Dataset) -> None:
    """Raise UserError if a model cannot be trained for a task."""
    if not tasks.find(name).trains:
        raise UserError(
            f"{name} scores a model as it is: there is nothing to train",
            hint=f"jeoni evaluate --model MODEL --data {dataset.name}",
        )


def located(name: str, presets: list[str]) -> Path:
    """The model's folder or file; a name that is none may be a preset with a slip in it."""
    if hub.knowing(name) is not None:
        return Path(name).expanduser()
    try:
        return resolve(name)
    except UserError as error:
        near = difflib.get_close_matches(name, [*presets, *shipped()], n=1, cutoff=0.75)
        if not near:
            raise
        what = (
            f"the preset {near[0]!r}, which starts from random weights"
            if near[0] in presets
            else f"{near[0]!r}, which comes with jeoni"
        )
        other = f"did you mean {what}?"
        hint = f"{error.hint}; or {other}" if error.hint else other
        raise UserError(error.message, hint=hint) from None


def _check_room(
    recipe: Start, family: Family, spec: ArchSpec,
    presets: Mapping[str, tuple[str, ArchSpec]] | None = None,
) -> None:  # fmt: skip
    """See that there is memory for the model, before there is the model."""
    strategy, fresh = recipe.strategy["name"], presets is not None or recipe.init == "random"
    room.check(
        recipe.model,
        family,
        spec,
        device=runtime.device(recipe.device),
        trains=strategy in TRAIN_ALL or (strategy == "frozen" and fresh),
        ranks=distributed.world() if recipe.train.shard else 1,
        presets={name: size for name, (_, size) in (presets or {}).items()},
    )


def edit(recipe: FinetuneRecipe, start: Model, *, seed: int) -> None:
    """What the strategy does to a model before the task puts its head on it."""
    strategy, config = chosen_strategy(recipe)
    restore(start)
    if strategy.edit is not None:
        strategy.edit(start, config, seed)


def groups(recipe: FinetuneRecipe, start: Model) -> list[ParamGroup]:
    """Parameter groups as the strategy makes them."""
    strategy, config = chosen_strategy(recipe)
    return strategy.groups(start, config)


def chosen_strategy(recipe: FinetuneRecipe) -> tuple[Strategy, Config]:
    """The strategy of a recipe, and its settings; a UserError, if there is none such."""
    settings = {k: v for k, v in recipe.strategy.items() if k != "name"}
    name = recipe.strategy["name"]
    name = "full" if name == "auto" else name
    strategy = lookup.entry(STRATEGIES, name, "STRATEGY", Strategy, "a strategy")
    return strategy, parse(strategy.config, settings, within="strategy")


def _check_own_tokenizer(recipe: Start) -> None:
    """Raise UserError where a checkpoint is to read with another tokenizer than its own."""
    for name, field in TokenizerConfig.model_fields.items():
        if getattr(recipe.tokenizer, name) != field.default:
            raise UserError(
                f"tokenizer.{name} is for a preset, but {recipe.model!r} has its own tokenizer",
                hint="leave it out; ids of another tokenizer are other words to the model",
            )


def _tokenizer(config: TokenizerConfig, dataset: Dataset | None) -> Tokenizer:
    if config.path is not None:
        path = Path(config.path).expanduser()
        if path.is_dir():
            return Tokenizer.from_folder(path)
        return Tokenizer.from_vocab(path, config.lowercase)
    if dataset is None:
        raise UserError("recipe: no tokenizer", hint="tokenizer.path=FOLDER")
    names = (
        "text",
        "pair",
        "question",
        "context",
        "choices",
        "source",
        "target",
        "answer",
        "turns",
    )
    rows = dataset.split("train")
    found = (row.fields[name] for row in rows for name in names if name in row.fields)
    values = (one for value in found for one in (value if isinstance(value, list) else [value]))
    # Rows for text_to_text are as the file has them: also with numbers, and with nothing.
    texts = (str(v) for v in values if isinstance(v, str | int | float) and not isinstance(v, bool))
    return train_wordpiece(texts, vocab_size=config.vocab_size, lowercase=config.lowercase)


def _sizes(family: Family, spec: ArchSpec) -> list[str]:
    """What of a preset can be changed: config.json holds it as it is, or in the family's own way."""
    known = {name for name in family.config if name != "vocab"}
    known |= {"decoder_layers"} if spec.decoder_layers else set()
    known |= {"positions"} if spec.limit is not None else set()
    return sorted(known)


def _resized(spec: ArchSpec, changes: Mapping[str, Any], *, known: list[str]) -> ArchSpec:
    """The preset with other sizes; only those that the family's config.json can hold."""
    for name in changes:
        if name not in known:
            raise UserError(f"recipe: spec.{name} is no size", hint=lookup.suggest(name, known))
    for field in fields(ArchSpec):
        value = changes.get(field.name)
        if field.name in changes and (problem := field_problem(field.name, field.type, value)):
            raise UserError(f"recipe: spec.{field.name} is {value!r}, {problem}")
    if "hidden" in changes:
        # In the preset's proportions; embeddings of a width of their own keep it (ALBERT, ELECTRA).
        inner = max(1, spec.feed_forward * changes["hidden"] // spec.hidden)
        width = changes["hidden"] if spec.width == spec.hidden else spec.width
        changes = {"feed_forward": inner, "width": width, **changes}
    resized = replace(spec, **changes)
    if not resized.head_size and resized.hidden % resized.heads:
        raise UserError(
            f"recipe: spec.hidden={resized.hidden} is not a multiple of {resized.heads} heads",
            hint="set spec.heads too",
        )
    return resized
