"""Read and write models in Hugging Face layout."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from jeoni.base import files, lookup
from jeoni.base.errors import UserError
from jeoni.models import tensors as tensor_files
from jeoni.models.backbone import build, initialize
from jeoni.models.family import Family
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import expand, rename, to_ours, to_theirs
from jeoni.models.where import CONFIG, resolve
from jeoni.text.tokenizer import Tokenizer

FAMILIES = "jeoni.models.families"
SETTINGS = "jeoni.json"
Init = Literal["pretrained", "random"]


def load(where: str | Path, *, init: Init = "pretrained", seed: int = 0) -> Model:
    """A model and its tokenizer together.

    Args:
        where: a folder in Hugging Face layout, a run folder, ``package:NAME``, or a hub id.
        init: ``random`` builds the same architecture with freshly drawn weights.
        seed: of the drawn weights.

    Raises:
        UserError: not there, damaged, not a family jeoni knows, or tensors missing or mis-shaped
            (all of them are named).
    """
    folder = resolve(where)
    config = files.read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG}: not a JSON object")
    family = _family(config, folder)
    spec = read_spec(family, config, str(folder / CONFIG))
    settings_file = folder / SETTINGS
    model = Model(
        family=family,
        spec=spec,
        backbone=build(spec),
        tokenizer=_tokenizer(folder),
        config=config,
        settings=files.read_json(settings_file) if settings_file.exists() else {},
        labels=_labels(config),
    )
    if init == "random":
        initialize(model.backbone, std=spec.init_range, seed=seed)
        model.fresh = {f"backbone.{name}" for name, _ in model.backbone.named_parameters()}
    else:
        _fill(model, tensor_files.read(folder), folder)
    return model.eval()


def create(
    family: str, preset: str | ArchSpec, *, tokenizer: Tokenizer | None, seed: int = 0
) -> Model:
    """A model with freshly drawn weights, from a preset's name or a spec.

    Raises:
        UserError: no such family or preset.
    """
    found: Family = lookup.find(FAMILIES, family, "FAMILY")
    if isinstance(preset, str):
        if preset not in found.presets:
            hint = lookup.suggest(preset, list(found.presets))
            raise UserError(f"family {family!r} has no preset {preset!r}", hint=hint)
        preset = found.presets[preset]
    model = Model(family=found, spec=preset, backbone=build(preset), tokenizer=tokenizer)
    initialize(model.backbone, std=preset.init_range, seed=seed)
    model.fresh = {f"backbone.{name}" for name, _ in model.backbone.named_parameters()}
    return model.eval()


def presets() -> dict[str, tuple[str, ArchSpec]]:
    """Every preset of every family: name to (family, spec)."""
    found: dict[str, tuple[str, ArchSpec]] = {}
    for family in lookup.names(FAMILIES):
        data: Family = lookup.find(FAMILIES, family, "FAMILY")
        found |= {name: (family, spec) for name, spec in data.presets.items()}
    return found


def save(model: Model, folder: Path) -> Path:
    """Write config.json, model.safetensors, the tokenizer, and jeoni.json (what it was trained for).

    The folder loads in ``transformers`` as the class that ``architectures`` names. Weights are
    written first and config.json last, so a folder with a config.json is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensor_files.write(folder / tensor_files.SAFE, _their_tensors(model))
    if model._tokenizer is not None:
        model.tokenizer.save(folder)
    if model.settings:
        files.write_json(folder / SETTINGS, model.settings)
    files.write_json(folder / CONFIG, write_config(model))
    return folder


def read_spec(family: Family, config: Mapping[str, Any], where: str) -> ArchSpec:
    """The architecture that a config.json describes.

    Raises:
        UserError: a number missing or impossible, or a variant that jeoni does not build.
    """
    values = {ours: config[theirs] for ours, theirs in family.config.items() if theirs in config}
    required = ("vocab", "hidden", "layers", "heads", "feed_forward")
    missing = [family.config[name] for name in required if name not in values]
    if missing:
        raise UserError(f"{where}: missing {', '.join(missing)}")
    if "width" not in family.config:
        values["width"] = values["hidden"]
    values.setdefault("width", 128)
    for entry in fields(ArchSpec):
        value = values.get(entry.name)
        if entry.type is int and value is not None and (not isinstance(value, int) or value < 0):
            raise UserError(f"{where}: {family.config.get(entry.name)} is {value!r}, not a size")
    if values["hidden"] % max(1, values["heads"]):
        raise UserError(
            f"{where}: hidden_size {values['hidden']} is not a multiple of {values['heads']} heads"
        )
    kind = config.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise UserError(f"{where}: position_embedding_type {kind!r} is not supported")
    return ArchSpec(**values)


def write_config(model: Model) -> dict[str, Any]:
    """config.json of a model."""
    family = model.family
    config = {"model_type": family.name, **family.config_constants, **model.config}
    config |= {theirs: getattr(model.spec, ours) for ours, theirs in family.config.items()}
    kinds = frozenset(model.heads.keys())
    config["architectures"] = [family.architectures.get(kinds, family.architectures[frozenset()])]
    config["torch_dtype"] = "float32"
    config.pop("dtype", None)
    if model.labels is not None:
        config["id2label"] = {str(i): name for i, name in enumerate(model.labels)}
        config["label2id"] = {name: i for i, name in enumerate(model.labels)}
    return config


def _family(config: Mapping[str, Any], folder: Path) -> Family:
    name = config.get("model_type")
    if not isinstance(name, str):
        raise UserError(f"{folder / CONFIG}: no 'model_type'")
    family: Family = lookup.find(FAMILIES, name, "FAMILY")
    return family


def _tokenizer(folder: Path) -> Tokenizer | None:
    if (folder / "tokenizer.json").exists() or (folder / "vocab.txt").exists():
        return Tokenizer.from_folder(folder)
    return None


def _labels(config: Mapping[str, Any]) -> list[str] | None:
    names = config.get("id2label")
    if not isinstance(names, dict):
        return None
    try:
        return [str(names[key]) for key in sorted(names, key=int)]
    except ValueError:
        raise UserError(f"{CONFIG}: id2label has keys that are no numbers") from None


def _fill(model: Model, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Put the checkpoint's tensors where they belong; keep the rest as spare."""
    family = model.family
    named = _normalized(tensors, family)
    rows = expand(family.body, model.spec.layers)
    ours, used = to_ours(named, rows)
    own = dict(model.backbone.named_parameters())
    theirs = {entry.ours: " + ".join(entry.theirs) for entry in rows}
    problems = [f"missing: {theirs.get(name, name)}" for name in own if name not in ours]
    problems += [
        f"wrong shape: {theirs[name]} is {list(ours[name].shape)}, config.json asks for {list(p.shape)}"
        for name, p in own.items()
        if name in ours and ours[name].shape != p.shape
    ]
    if problems:
        listing = "\n  ".join(
            problems[:20] + ([f"and {len(problems) - 20} more"] * (len(problems) > 20))
        )
        raise UserError(f"the weights in {folder} do not fit its config.json:\n  {listing}")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(ours[name])
    model.spare = {
        name: t for name, t in named.items() if name not in used and name not in family.tied
    }
    unread = set(model.spare)
    for kind, entries in family.heads.items():
        filled, taken = to_ours(model.spare, expand(entries, model.spec.layers))
        if filled.keys() == {entry.ours for entry in entries}:
            model.add_head(kind, build_head(kind, model, filled))
        unread -= {name for entry in entries for name in entry.theirs} | taken
    foreign = sorted(name for name in unread if not name.startswith("heads."))  # a task's own head
    if foreign:
        warnings.warn(f"tensors in {folder} that nothing reads: {', '.join(foreign)}", stacklevel=4)


def _normalized(tensors: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Names brought up to date, the body without its prefix, what a head shares under its full name."""
    shared = {name for rows in family.heads.values() for entry in rows for name in entry.theirs}
    body = {entry.theirs[0].split(".")[0] for entry in family.body}
    result = {}
    for name, tensor in tensors.items():
        name = rename(name, family.legacy)
        if name.removeprefix(family.prefix).split(".")[0] in body:
            name = name.removeprefix(family.prefix)
        elif family.prefix + name in shared:
            name = family.prefix + name
        if not name.endswith(tuple(family.ignored)):
            result[name] = tensor
    return result


def _their_tensors(model: Model) -> dict[str, Tensor]:
    family = model.family
    state: dict[str, Tensor] = {k: v.detach().cpu() for k, v in model.backbone.state_dict().items()}
    body = to_theirs(state, expand(family.body, model.spec.layers))
    if not model.heads:
        spare = {name.removeprefix(family.prefix): t for name, t in model.spare.items()}
        return {**spare, **body}
    result = {family.prefix + name: tensor for name, tensor in body.items()}
    for kind, head in model.heads.items():
        state = {k: v.detach().cpu() for k, v in head.state_dict().items()}
        rows: Sequence[Any] = family.heads.get(kind, ())
        if rows:
            result |= to_theirs(state, expand(rows, model.spec.layers))
        else:
            result |= {f"heads.{kind}.{name}": tensor for name, tensor in state.items()}
    return result


def parameter_count(module: nn.Module) -> int:
    """Parameters of a module, each tied one once."""
    return sum(p.numel() for p in module.parameters())
