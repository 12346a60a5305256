"""Read and write models in Hugging Face layout."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from jeoni.base import files, lookup
from jeoni.base.errors import UserError
from jeoni.models import tensors as tensor_files
from jeoni.models.config_file import read_labels, read_spec, write_config
from jeoni.models.family import Family, Published
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import OWN, Row, expand, rename, to_ours, to_theirs
from jeoni.models.where import CONFIG, resolve
from jeoni.text import tokenizer_files
from jeoni.text.tokenizer import Tokenizer

FAMILIES = "jeoni.models.families"
SETTINGS = "jeoni.json"
Init = Literal["pretrained", "random"]
BESIDE = ("question_span", "beam_span")
"""Kinds of heads that stand beside others, and in families that have no names for them, too."""


def load(
    where: str | Path, *, init: Init = "pretrained", seed: int = 0, family: str | None = None
) -> Model:
    """A model and its tokenizer together.

    Args:
        where: a folder in Hugging Face layout, a run folder, ``package:NAME``, or a hub id.
        init: ``random`` builds the same architecture with freshly drawn weights.
        seed: of the drawn weights.
        family: your own, as ``package.module:NAME``, instead of the one that config.json names.

    Raises:
        UserError: not there, damaged, not a family jeoni knows, or tensors missing or mis-shaped
            (all of them are named).
    """
    if init not in get_args(Init):
        raise UserError(f"init={init!r} is none", hint="pretrained or random")
    published = foreign(where)
    if published is not None:
        own, found = published
        return from_published(own, found, init=init, seed=seed)
    folder, config, own, spec = described(where, family=family)
    tokenizer = own.open_tokenizer(folder, spec) if own.open_tokenizer else _tokenizer(folder)
    if tokenizer is not None and tokenizer.vocab_size > spec.vocab:
        raise UserError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model {spec.vocab}",
            hint="do tokenizer and weights belong together?",
        )
    settings_file = folder / SETTINGS
    kept = init == "pretrained" and settings_file.exists()
    settings = files.read_object(settings_file) if kept else {}
    if not isinstance(settings.get("task", ""), str):
        raise UserError(f"{settings_file}: 'task' is {settings['task']!r:.60}, not a name")
    classes = config.get("architectures") or ()
    if init == "pretrained" and any(name.endswith("ForTokenClassification") for name in classes):
        settings = settings or {"task": "tagging"}  # as its weights alone do not tell
    try:
        backbone = own.build(spec)
    except RuntimeError as error:  # torch's, where there is no memory
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder / CONFIG}: a model that cannot be built: {reason}") from None
    model = Model(
        family=own,
        spec=spec,
        backbone=backbone,
        tokenizer=tokenizer,
        config=config,
        settings=settings,
        labels=read_labels(config, str(folder / CONFIG)),
    )
    if init == "random":
        return _drawn(model, seed)
    _fill(model, tensor_files.read(folder), folder)
    return model.eval()


def described(
    where: str | Path, *, family: str | None = None
) -> tuple[Path, dict[str, Any], Family, ArchSpec]:
    """What a checkpoint's config.json says: the folder, the file, the family, the architecture.

    Args: as for ``load``. No weights are read.
    """
    published = foreign(where)
    if published is not None:
        own, found = published
        spec = read_spec(own, found.config, str(found.source))
        return found.source, dict(found.config), own, spec
    folder = resolve(where)
    config = files.read_object(folder / CONFIG)
    own = own_family(family) if family else _family(config, folder)
    return folder, config, own, read_spec(own, config, str(folder / CONFIG))


def foreign(where: str | Path) -> tuple[Family, Published] | None:
    """A model from files that are not in Hugging Face layout, if a family knows them.

    Raises:
        UserError: a family knows them, and cannot read them.
    """
    own = knowing(where)
    if own is None or own.foreign is None:
        return None
    return own, own.foreign.read(Path(where).expanduser())


def knowing(where: str | Path) -> Family | None:
    """The family that knows a path which is not in Hugging Face layout; little is read."""
    if not isinstance(where, str | Path):
        raise UserError(f"a model is named by a folder or a name, this is a {type(where).__name__}")
    path = Path(where).expanduser()
    usual = any(os.path.exists(path / part / CONFIG) for part in (".", "model"))
    if not str(where) or not os.path.exists(path) or usual:
        return None
    families = (own_family(name) for name in lookup.names(FAMILIES))
    return next((own for own in families if own.foreign and own.foreign.knows(path)), None)


def from_published(
    own: Family, found: Published, *, init: Init = "pretrained", seed: int = 0
) -> Model:
    """A model from its authors' files; see ``load`` for the arguments."""
    spec = read_spec(own, found.config, str(found.source))
    tokenizer = found.tokenizer
    if tokenizer is None and own.open_tokenizer is not None:
        tokenizer = own.open_tokenizer(found.source.parent, spec)
    model = Model(family=own, spec=spec, backbone=own.build(spec), tokenizer=tokenizer)
    if init == "random":
        return _drawn(model, seed)
    _fill(model, found.tensors(), found.source)
    return model.eval()


def own_family(path: str) -> Family:
    """The family of a name, or of a path ``package.module:NAME``.

    Raises:
        UserError: there is none, or it is something else.
    """
    return lookup.entry(FAMILIES, path, "FAMILY", Family, "a family of models")


def create(
    family: str, preset: str | ArchSpec, *, tokenizer: Tokenizer | None, seed: int = 0
) -> Model:
    """A model with freshly drawn weights, from a preset's name or a spec.

    Raises:
        UserError: no such family or preset.
    """
    found = own_family(family)
    if isinstance(preset, str):
        if preset not in found.presets:
            hint = lookup.suggest(preset, list(found.presets))
            raise UserError(f"family {family!r} has no preset {preset!r}", hint=hint)
        preset = found.presets[preset]
    model = Model(family=found, spec=preset, backbone=found.build(preset), tokenizer=tokenizer)
    return _drawn(model, seed)


def _drawn(model: Model, seed: int) -> Model:
    """The model with fresh values in its backbone."""
    model.draw(model.backbone, "backbone", seed)
    model.fresh = {f"backbone.{name}" for name, _ in model.backbone.named_parameters()}
    return model.eval()


def presets(family: str | None = None) -> dict[str, tuple[str, ArchSpec]]:
    """Every preset of one family, or of all: name to (family, spec)."""
    return {
        preset: (name, spec)
        for name in ([family] if family else lookup.names(FAMILIES))
        for preset, spec in own_family(name).presets.items()
    }


def save(model: Model, folder: Path) -> Path:
    """Write config.json, model.safetensors, the tokenizer, and jeoni.json (what it was trained for).

    The folder loads in ``transformers`` as the class that ``architectures`` names. A folder with a
    config.json is whole: the model that was there before stays until the new weights are on disk, and
    config.json comes last.
    """
    config = write_config(model)
    with files.replacing(folder / tensor_files.SAFE) as weights:
        tensor_files.write(weights, _their_tensors(model))
        for old in (CONFIG, SETTINGS):
            (folder / old).unlink(missing_ok=True)
    if model._tokenizer is not None:
        model.tokenizer.save(folder)
    between = {} if model.features is None else {"features": model.features.settings}
    if settings := {**model.settings, **between}:
        files.write_json(folder / SETTINGS, settings)
    files.write_json(folder / CONFIG, config)
    return folder


def _family(config: Mapping[str, Any], folder: Path) -> Family:
    """The family that config.json names."""
    name = config.get("model_type")
    if not isinstance(name, str):
        raise UserError(
            f"{folder / CONFIG}: no 'model_type'",
            hint="if you know it: jeoni.load(where, family='bert')",
        )
    if ":" in name:
        # A file from elsewhere does not choose what is imported; the caller does.
        raise UserError(
            f"{folder / CONFIG}: 'model_type' {name!r} is a path to code",
            hint="if you trust it: jeoni.load(where, family='package.module:NAME')",
        )
    try:
        return own_family(name)
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error.message}", hint=error.hint) from None


def _tokenizer(folder: Path) -> Tokenizer | None:
    return Tokenizer.from_folder(folder) if tokenizer_files.readable(folder) else None


def _fill(model: Model, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Put the checkpoint's tensors where they belong; keep the rest as spare."""
    family, spec = model.family, model.spec
    named = _without_tied(model, _normalized(tensors, family, folder), folder)
    rows = expand(family.body, spec)
    _check_parts(named, rows, folder)
    ours, used = to_ours(named, rows)
    table = {entry.ours for entry in rows}
    own: dict[str, Tensor] = dict(model.backbone.named_parameters())
    own |= {name: t for name, t in model.backbone.named_buffers() if name in table}
    absent = {entry.ours for entry in rows if entry.optional} - ours.keys()
    own = {name: tensor for name, tensor in own.items() if name not in absent}
    _check(own, ours, rows, folder)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(ours[name])
    model.fresh |= {f"backbone.{name}" for name in absent}
    model.spare = {name: t for name, t in named.items() if name not in used}
    for kind, head, filled, rows in _heads(model):
        _check(head.state_dict(), filled, rows, folder)
        model.add_head(kind, head)
    _warn(model, folder)


def _heads(model: Model) -> Iterator[tuple[str, nn.Module, dict[str, Tensor], list[Row]]]:
    """Kinds and heads that the spare tensors make, of their size; these by our names, and the names."""
    for kind, rows in _readable(model).items():
        filled, _ = to_ours(model.spare, rows)
        # A head that is all word table has no tensors of its own: config.json tells whether it is there.
        complete = all(entry.ours in filled or entry.optional for entry in rows)
        if complete and (filled or kind in _named_heads(model)):
            yield kind, build_head(kind, model, filled), filled, rows
    for kind in BESIDE:
        prefix = f"heads.{kind}."
        rows = [Row(n.removeprefix(prefix), (n,)) for n in model.spare if n.startswith(prefix)]
        if not rows:
            continue
        filled, _ = to_ours(model.spare, rows)
        sizes = {name: tensor.shape for name, tensor in filled.items()}
        head = build_head(kind, model, filled)
        # (One that reads features is of their size, and put on by its task.)
        if sizes == {name: tensor.shape for name, tensor in head.state_dict().items()}:
            yield kind, head, filled, rows


def heads_in(folder: Path, model: Model) -> dict[str, nn.Module]:
    """The heads that a checkpoint has for a model without any, by kind; their weights are not read."""
    named = _normalized(tensor_files.outlines(folder), model.family, folder)
    model.spare = _without_tied(model, named, folder)
    found = {kind: head for kind, head, *_ in _heads(model)}
    model.spare = {}
    return found


def _check_parts(named: Mapping[str, Tensor], rows: Sequence[Row], folder: Path) -> None:
    """Raise UserError where tensors that are joined to one are not alike (one of them is quantized)."""
    for entry in rows:
        parts = [(name, named[name]) for name in entry.theirs if name in named]
        if len({(tensor.shape, tensor.dtype) for _, tensor in parts}) > 1:
            said = ", ".join(f"{name} {list(part.shape)} of {part.dtype}" for name, part in parts)
            raise UserError(
                f"{folder}: tensors that should be of one shape and type: {said}",
                hint="is a part of it quantized, or damaged? take another checkpoint",
            )


def _check(
    own: Mapping[str, Tensor], found: Mapping[str, Tensor], rows: Sequence[Row], folder: Path
) -> None:
    """Raise UserError with every parameter that the checkpoint lacks or has in another shape."""
    theirs = {entry.ours: " + ".join(entry.theirs) for entry in rows}
    problems = [f"missing: {theirs.get(name, name)}" for name in own if name not in found]
    problems += [
        f"wrong shape: {theirs[name]} is {list(found[name].shape)}, should be {list(p.shape)}"
        for name, p in own.items()
        if name in found and found[name].shape != p.shape
    ]
    if problems:
        rest = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
        listing = "\n  ".join(problems[:20] + rest)
        raise UserError(f"the weights in {folder} do not fit its config.json:\n  {listing}")
    for name, tensor in found.items():
        right = tensor.is_floating_point() and all(map(isfinite, tensor.aminmax()))
        if name in own and own[name].is_floating_point() and not right:
            raise UserError(
                f"{folder}: {theirs[name]} has NaN, infinite or whole numbers for weights",
                hint="did its training diverge, or was it quantized? take another checkpoint",
            )


def _warn(model: Model, folder: Path) -> None:
    """Say which tensors nothing reads, and which the class in config.json should have brought."""
    family = model.family
    known = {
        kind: {name for row in rows for name in row.theirs}
        for kind, rows in _readable(model).items()
    }
    unread = model.spare.keys() - set().union(*known.values())
    foreign = sorted(
        name
        for name in unread
        if not name.startswith(OWN)  # a task's own
        and not name.endswith(tuple(family.unread))
    )
    if foreign:
        warnings.warn(f"tensors in {folder} that nothing reads: {', '.join(foreign)}", stacklevel=4)
    for kind in sorted(_named_heads(model) - model.heads.keys()):
        missing = ", ".join(sorted(known[kind] - model.spare.keys()))
        architecture = ", ".join(model.config["architectures"])
        warnings.warn(
            f"{folder}: no {kind} head, though config.json names {architecture}; missing: {missing}",
            stacklevel=4,
        )


def _readable(model: Model) -> dict[str, list[Row]]:
    """Names of the heads that may be there: config.json tells whose a ``classifier`` is."""
    passed = "classification" if "tagging" in _named_heads(model) else "tagging"
    tables = {kind: rows for kind, rows in model.family.heads.items() if kind != passed}
    return {kind: expand(rows, model.spec) for kind, rows in tables.items()}


def _named_heads(model: Model) -> set[str]:
    """Kinds of heads that the class in config.json has."""
    named = model.config.get("architectures") or ()
    return {
        kind
        for kinds, architecture in model.family.architectures.items()
        if architecture in named
        for kind in kinds
    }


def _without_tied(model: Model, named: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """The tensors without those that repeat the word table; a head's own one stays."""
    family, spec = model.family, model.spec
    place = "embeddings.words.weight"
    table = next((r.theirs[0] for r in expand(family.body, spec) if r.ours.endswith(place)), "")
    tables = [expand(rows, spec) for rows in family.heads.values()]
    own = {name for rows in tables for row in rows for name in row.theirs}
    untied = model.config.get("tie_word_embeddings") is False
    copies = [name for name in family.tied if name in named and not (untied and name in own)]
    if table and table not in named and copies:  # what is shared was saved under another name
        named = {**named, table: named[copies[0]]}
    words = named.get(table)
    result: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if name in family.tied and name not in own:
            if untied:
                raise UserError(f"{folder}: vocabulary weights that are not tied are not supported")
            if words is not None and tensor.shape == words.shape and not torch.equal(tensor, words):
                warnings.warn(
                    f"{folder}: {name} is not the word table, but config.json ties it to that; it is "
                    "not used (tie_word_embeddings: false there would keep it)",
                    stacklevel=4,
                )
        elif name not in family.tied or untied or words is None or not torch.equal(tensor, words):
            result[name] = tensor
    return result


def _normalized(tensors: Mapping[str, Tensor], family: Family, folder: Path) -> dict[str, Tensor]:
    """Names brought up to date, the body without its prefix, what a head shares under its full name."""
    shared = {name for rows in family.heads.values() for entry in rows for name in entry.theirs}
    body = {entry.theirs[0].split(".")[0] for entry in family.body}
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        name = rename(name, family.legacy)
        if name.removeprefix(family.prefix).split(".")[0] in body:
            name = name.removeprefix(family.prefix)
        elif family.prefix + name in shared:
            name = family.prefix + name
        if name in result and not torch.equal(result[name], tensor):
            raise UserError(f"{folder}: two different tensors for {name}; they must be tied")
        if not name.endswith(tuple(family.ignored)):
            result[name] = tensor
    return result


def _their_tensors(model: Model) -> dict[str, Tensor]:
    family = model.family
    state: dict[str, Tensor] = {k: v.detach().cpu() for k, v in model.backbone.state_dict().items()}
    rows = expand(family.body, model.spec)
    own = {name for name, _ in model.backbone.named_parameters()}  # what is shared, once
    lost = own - {row.ours for row in rows}
    if lost:
        raise ValueError(f"family {family.name!r} has no names for {', '.join(sorted(lost))}")
    body = to_theirs(state, rows)
    bare = model.heads.keys() <= set(family.bare)
    if not model.heads:
        spare = {name.removeprefix(family.prefix): t for name, t in model.spare.items()}
        return {**spare, **body}
    prefix = "" if bare else family.prefix
    result = {prefix + name: tensor for name, tensor in body.items()}
    for kind, head in model.heads.items():
        state = {k: v.detach().cpu() for k, v in head.state_dict().items()}
        if rows := model.names(kind, head):
            result |= to_theirs(state, rows)
        else:
            result |= {f"heads.{kind}.{name}": tensor for name, tensor in state.items()}
    between = {} if model.features is None else model.features.state_dict()
    return result | {f"features.{name}": t.detach().cpu() for name, t in between.items()}


def parameter_count(module: nn.Module) -> int:
    """Parameters of a module, each tied one once."""
    return sum(p.numel() for p in module.parameters())
