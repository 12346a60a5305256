"""config.json: read into an ``ArchSpec``, written from a model."""

from collections.abc import Mapping
from dataclasses import fields
from math import inf
from typing import Any

from jeoni.base.errors import UserError
from jeoni.base.lookup import suggest
from jeoni.models.family import Family
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.nn.activations import ACTIVATIONS

REQUIRED = ("vocab", "hidden", "layers", "heads", "feed_forward")
MAY_BE_ZERO = ("segments", "decoder_layers", "decoder_start", "position_offset")
MOST_LAYERS = 10_000
PROBABILITIES = ("dropout", "attention_dropout", "inner_dropout", "output_dropout")


def read_spec(family: Family, config: Mapping[str, Any], where: str) -> ArchSpec:
    """The architecture that a config.json describes.

    Raises:
        UserError: a number missing or impossible, or a variant that jeoni does not build.
    """
    classes = config.get("architectures") or []
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"{where}: architectures is {classes!r}, not a list of names")
    values = dict(family.fixed)
    values |= {ours: config[theirs] for ours, theirs in family.config.items() if theirs in config}
    if family.read is not None:
        try:
            values |= family.read(config)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    missing = [family.config.get(name, name) for name in REQUIRED if name not in values]
    if missing:
        raise UserError(f"{where}: missing {', '.join(missing)}")
    if "width" not in family.config:
        values.setdefault("width", values["hidden"])
    values.setdefault("width", 128)
    for entry in fields(family.spec):
        if entry.name in values:
            problem = field_problem(entry.name, entry.type, values[entry.name], entry.default)
            if problem:
                key = family.config.get(entry.name, entry.name)
                raise UserError(f"{where}: {key} is {values[entry.name]!r}, {problem}")
    rate, key = config.get(family.classification.dropout_key), family.classification.dropout_key
    if rate is not None and (problem := field_problem("dropout", float, rate)):
        raise UserError(f"{where}: {key} is {rate!r}, {problem}")
    if not values.get("head_size") and values["hidden"] % values["heads"]:
        raise UserError(
            f"{where}: {family.config.get('hidden', 'hidden')} {values['hidden']} "
            f"is not a multiple of {values['heads']} heads"
        )
    if values.get("decoder_start", 0) >= values["vocab"]:
        raise UserError(
            f"{where}: a decoder that starts with id {values['decoder_start']}, "
            f"but the vocabulary has {values['vocab']}"
        )
    kind = config.get("position_embedding_type", "absolute")
    if kind != "absolute":
        raise UserError(f"{where}: position_embedding_type {kind!r} is not supported")
    if config.get("add_cross_attention"):
        raise UserError(f"{where}: add_cross_attention is not supported")
    return family.spec(**values)


def field_problem(name: str, kind: Any, value: Any, default: Any = None) -> str | None:
    """What is wrong with the value of a field of ``ArchSpec``, if anything (0 may be, if by default)."""
    if kind is bool:
        return None if isinstance(value, bool) else "neither true nor false"
    if kind == int | None:
        return None if value is None else field_problem(name, int, value)
    if kind is int:
        least = 0 if name in MAY_BE_ZERO or default == 0 else 1
        most = MOST_LAYERS if name.endswith("layers") else 2**31
        right = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return None if right else "not a size"
    if kind is float:
        right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf
        if name in PROBABILITIES:
            return None if right and value < 1 else "not a probability below 1"
        return None if right else "not a number of at least 0"
    if name == "activation" and value not in list(ACTIVATIONS):
        return f"not an activation jeoni has; {suggest(str(value), list(ACTIVATIONS))}"
    return None


def written(family: Family, spec: ArchSpec) -> dict[str, Any]:
    """What config.json says of a spec alone: the inverse of ``read_spec``."""
    config = dict(family.constants(spec))
    config |= {theirs: getattr(spec, ours) for ours, theirs in family.config.items()}
    return config | dict(family.write(spec) if family.write is not None else {})


def write_config(model: Model) -> dict[str, Any]:
    """config.json of a model."""
    family = model.family
    config = {**family.constants(model.spec), **model.config, "model_type": family.name}
    config |= {theirs: getattr(model.spec, ours) for ours, theirs in family.config.items()}
    # The class that has most of the heads, best one that judges: others of theirs, or of a task, it
    # passes over. A head that reads features, or has a chain, is none of theirs.
    there = {kind for kind, head in model.heads.items() if model.names(kind, head)}
    classes = [kinds for kinds in family.architectures if kinds <= there]
    best = max(classes, key=lambda kinds: (len(kinds), "language_model" not in kinds))
    config["architectures"] = [family.architectures[best]]
    if family.write is not None:
        config |= family.write(model.spec)
    config["torch_dtype"] = "float32"
    for key in ("dtype", "num_labels", "id2label", "label2id"):
        config.pop(key, None)
    labels = _labels_to_write(model)
    if labels is not None:
        config["id2label"] = {str(i): name for i, name in enumerate(labels)}
        config["label2id"] = {name: i for i, name in enumerate(labels)}
    return config


def _labels_to_write(model: Model) -> list[str] | None:
    """Class names; made up where there are none, as ``transformers`` sizes its head by their number."""
    if "span" in model.heads:  # whose two outputs it sizes by the same number
        return None
    heads = dict(model.heads.items())
    classes = getattr(heads.get("classification", heads.get("tagging")), "classes", None)
    if classes is None or (model.labels is not None and len(model.labels) == classes):
        return model.labels
    return [f"LABEL_{i}" for i in range(int(classes))]


def read_labels(config: Mapping[str, Any], where: str) -> list[str] | None:
    """Class names in the order of their numbers; None where there are none.

    Raises:
        UserError: a key of ``id2label`` that is no number.
    """
    names = config.get("id2label")
    if not isinstance(names, dict):
        return None
    try:
        return [str(names[key]) for key in sorted(names, key=int)]
    except ValueError:
        raise UserError(f"{where}: id2label has keys that are no numbers") from None
