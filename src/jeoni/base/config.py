"""Recipes: small frozen models, read from YAML and ``key=value`` overrides, strict about keys."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from jeoni.base.errors import UserError
from jeoni.base.mistakes import explain, follows


class Config(BaseModel):
    """Base of every settings model: frozen, and an unknown key is an error, never swallowed."""

    # A number where a name is wanted is that name: data.label=1, task.labels=[1,2].
    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False
    )

    @classmethod
    def further_keys(cls) -> list[str]:
        """Right keys inside sections that are checked elsewhere, with their paths: for suggestions."""
        return []


C = TypeVar("C", bound=Config)


def parse(
    model: type[C],
    values: Mapping[str, Any],
    *,
    where: str = "recipe",
    within: str = "",
    missing: Mapping[str, str] | None = None,
) -> C:
    """Validate ``values`` as ``model``.

    Args:
        model: what they should be.
        values: by key; paths are taken for texts, numpy's numbers and arrays for numbers and lists.
        where: a file, or what else messages begin with.
        within: the section that the values are, for the path of a key.
        missing: what to do where a key is missing, by key.

    Raises:
        UserError: one line a problem, with the key's full path and the nearest right key.
    """
    try:
        return model.model_validate(_plain(values))
    except ValidationError as error:
        problems = [problem for problem in error.errors() if not follows(problem)]
        lines = [explain(model, problem, within) for problem in problems]
        absent = [str(p["loc"][0]) for p in problems if p["type"] == "missing" and p["loc"]]
        hints = [missing[key] for key in absent if key in (missing or {})] if missing else []
        raise UserError(
            f"{where}: " + f"\n{where}: ".join(lines), hint="; ".join(hints) or None
        ) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: missing file, broken YAML (with its line), a key that is there twice, or something
            that is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"no recipe file {path}", hint=f"looked in {path.resolve()}") from None
    except (UnicodeDecodeError, OSError) as error:
        hint = f"a recipe is a file: {path / 'recipe.yaml'}?" if path.is_dir() else None
        raise UserError(f"cannot read recipe {path}: {error}", hint=hint) from None
    try:
        values = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UserError(
            f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}"
        ) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(
            f"{path}: a recipe is a mapping (key: value), this is a {type(values).__name__}"
        )
    return values


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-4 is a number, 2024-05-01 is a folder's name.

    No key of a mapping is there twice: the first would be passed over without a word.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 (yaml's own attribute)
        letter: [(tag, form) for tag, form in rules if not tag.endswith(":timestamp")]
        for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> Any:
        node: Any = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value!r} is there twice", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return node


class _Dumper(yaml.SafeDumper):
    """What ``_Loader`` reads as it was: a text that looks like a number of its is in quotes."""


for _kind in (_Loader, _Dumper):  # YAML 1.1 wants a dot in the number and a sign in the exponent
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """In double quotes, escaped, where YAML would take a letter for the end of a line."""
    style = '"' if any(letter in text for letter in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def as_yaml(values: Mapping[str, Any]) -> str:
    """The text of a recipe file with these values, for ``read_yaml``."""
    return yaml.dump(values, Dumper=_Dumper, allow_unicode=True, sort_keys=False)


def override(values: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """``values`` with ``a.b=c`` assignments applied; the right side is read as YAML.

    A section given by name (``task: span_qa``) becomes ``{name: span_qa}`` when a key inside it is set.

    Raises:
        UserError: an assignment without ``=``.
    """
    result: dict[str, Any] = _plain(values)
    for assignment in assignments:
        key, sign, text = str(assignment).partition("=")
        if not sign or not key:
            raise UserError(
                f"{assignment!r} is not an override",
                hint="write key=value, for example train.epochs=2 (no blanks around =)",
            )
        _set(result, key.split("."), _read_value(text))
    return result


def gather(
    recipe: str | Path | Mapping[str, Any] | None,
    overrides: Sequence[str],
    settings: Mapping[str, Any],
    model: type[Config],
) -> tuple[dict[str, Any], str]:
    """Values of a file or mapping with settings and overrides on top, and what messages call them.

    A top-level key that is set to nothing is as if it were not there. Of a section that ``model`` has
    whatever is given (``train``, ``batch``), a setting is some keys; of others (``data``) it is all.

    Raises:
        UserError: as of ``read_yaml`` and ``override``; a text that no file can hold.
    """
    if isinstance(recipe, str | Path):
        values, where = read_yaml(Path(recipe)), str(recipe)
    elif isinstance(recipe, Mapping | None):
        values, where = dict(recipe or {}), "recipe"
    else:
        raise UserError(
            f"a recipe is a file or a mapping, this is a {type(recipe).__name__}",
            hint="give keys by their names: model=MODEL, data=NAME",
        )
    values, settings = _plain(values), _plain(settings)
    both = {**values, **settings}
    for key, entry in model.model_fields.items():
        below, above = values.get(key), settings.get(key)
        if (
            isinstance(entry.default, Config)
            and isinstance(below, Mapping)
            and isinstance(above, Mapping)
        ):
            both[key] = {**below, **above}
    whole = override(both, overrides)
    if odd := next(_unwritable(whole), None):
        raise UserError(
            f"{where}: {odd}, which has bytes that are no UTF-8",
            hint="rename the file or folder: what is written of a run has its name",
        )
    return {key: value for key, value in whole.items() if value is not None}, where


def _unwritable(value: Any, key: str = "") -> Iterator[str]:
    """Which texts are not UTF-8, as names of files may be: Python has lone surrogates for such bytes."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _unwritable(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _unwritable(inner, key)
    elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        yield f"{key} is {value!r}"


def _read_value(text: str) -> Any:
    """What is meant: mappings and lists stand in brackets; ``{name}`` and ``a: {name}`` are texts.

    A text is all of it, if it is not in quotes: for YAML `` #`` begins a comment, and a newline is a blank.
    """
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text
    first = text.lstrip()[:1]
    if first == "#" or (isinstance(value, str) and first not in ("'", '"')):
        return text.strip()
    bare = isinstance(value, dict | list) and first not in "{["
    return text if bare or (isinstance(value, dict) and value and ":" not in text) else value


def _plain(value: Any) -> Any:
    """A copy as a file could hold it: of texts, numbers and lists; of sections, what is set in them."""
    if isinstance(value, Config):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value  # numpy's


def _set(target: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for key in path[:-1]:
        inner = target.get(key)
        if isinstance(inner, str):
            inner = {"name": inner}
        elif not isinstance(inner, dict):
            inner = {}
        target[key] = inner
        target = inner
    old = target.get(path[-1])
    # `task=span_qa` after `task.max_length=384`: keep what was set inside.
    if isinstance(old, dict) and isinstance(value, str):
        old["name"] = value
    else:
        target[path[-1]] = value
