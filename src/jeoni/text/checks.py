"""Checks of what tokenizer files hold, before the Rust library sees it: its own errors name no file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.text.kinds.wordpiece import SETTINGS
from jeoni.text.recipes import ROLES, Recipe

REQUIRED = ("unk_token", "cls_token", "sep_token")
_FLAGS = ("add_prefix_space", "keep_accents")


def mapping(values: Any, path: Path) -> dict[str, Any]:
    """Raise UserError unless the content of a file is a mapping."""
    if not isinstance(values, dict):
        raise UserError(f"{path}: a mapping was expected, this is a {type(values).__name__}")
    return values


def check_config(values: dict[str, Any], path: Path) -> None:
    """Raise UserError for a setting of tokenizer_config.json that cannot be."""
    allowed = {key: values for key, _, values in SETTINGS} | dict.fromkeys(_FLAGS, (True, False))
    for key, choice in allowed.items():
        if key in values and not any(values[key] is one for one in choice):
            raise UserError(f"{path}: {key} is {values[key]!r}", hint="write true or false")
    length = values.get("model_max_length")
    if not isinstance(length, int | float | None):
        raise UserError(f"{path}: model_max_length is {length!r}", hint="write a number")
    sentinels = values.get("extra_ids")
    if not isinstance(sentinels, int | None):
        raise UserError(f"{path}: extra_ids is {sentinels!r}", hint="write a whole number")


def check_template(processor: Any, vocab: Mapping[str, int], path: Path) -> None:
    """The Rust library would panic, past any ``except Exception``, on a template with a stranger."""
    if not isinstance(processor, dict) or processor.get("type") != "TemplateProcessing":
        return
    try:
        known = set(processor["special_tokens"])
        parts = [*processor["single"], *processor["pair"]]
        named = {part["SpecialToken"]["id"] for part in parts if "SpecialToken" in part}
        ids = {number for token in processor["special_tokens"].values() for number in token["ids"]}
        unknown = ids - set(vocab.values())
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: broken post_processor: {error!r}") from None
    if strangers := named - known:
        raise UserError(f"{path}: post_processor has no special token {min(strangers)!r}")
    if unknown:
        raise UserError(
            f"{path}: post_processor has an id that no token has: {next(iter(unknown))!r}"
        )


def vocabulary(spec: Mapping[str, Any], path: Path) -> dict[str, int]:
    """Ids by token of the model and the added tokens; for models that list tokens, by place."""
    vocab = spec["model"]["vocab"]
    try:
        if not isinstance(vocab, dict):
            vocab = {(e[0] if isinstance(e, list) else e): i for i, e in enumerate(vocab)}
        return vocab | {t["content"]: t["id"] for t in spec.get("added_tokens") or ()}
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path}: broken vocabulary or added_tokens: {error!r}") from None


def find_roles(
    vocab: Mapping[str, int],
    config: Mapping[str, Any],
    path: Path,
    usual: Mapping[str, Any] = ROLES,
) -> dict[str, str]:
    """The special token of each role: as configured, else the usual name, if in the vocabulary."""
    roles = {}
    for role in ROLES:
        configured = configured_token(config, role, path)
        if configured is not None and configured not in vocab and role in REQUIRED:
            raise UserError(
                f"{path}: the configured {role} {configured!r} is not in the vocabulary"
            )
        names = usual.get(role, ()) if configured is None else configured
        candidates = (names,) if isinstance(names, str) else names
        found = next((name for name in candidates if name in vocab), None)
        if found is not None:
            roles[role] = found
    return roles


def configured_token(config: Mapping[str, Any], role: str, path: Path) -> str | None:
    """The special token that a configuration names for a role."""
    configured = config.get(role)
    if isinstance(configured, dict):
        configured = configured.get("content")
    if not isinstance(configured, str | None):
        raise UserError(f"{path}: the configured {role} is {configured!r}, not a token")
    return configured


def require(roles: Mapping[str, str], path: Path) -> None:
    """Raise UserError unless the tokens that WordPiece cannot do without are there."""
    for role in REQUIRED:
        if role not in roles:
            raise UserError(
                f"{path}: no {ROLES[role][0]} in the vocabulary",
                hint=f"add it, or name the token in tokenizer_config.json ({role})",
            )


def usual_names(recipe: Recipe | None) -> Mapping[str, Any]:
    """Names of special tokens to look for: those of a recipe that has its own."""
    return ROLES if recipe is None or recipe.kind == "wordpiece" else recipe.roles
