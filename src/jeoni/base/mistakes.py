"""What is wrong with settings, in plain sentences."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any

from pydantic import BaseModel

from jeoni.base.lookup import nearest_key

EXPECTED = {
    "float": "be a number",
    "int": "be a whole number",
    "bool": "be true or false",
    "string": "be a text",
    "literal_error": "be {expected}",
    "greater_than": "be above {gt}",
    "greater_than_equal": "be at least {ge}",
    "less_than": "be below {lt}",
    "less_than_equal": "be at most {le}",
    "finite_number": "be finite",
    "too_short": "have at least {min_length} value{s}",
    "too_long": "have at most {max_length} value{s}",
    "tuple": "be a list, such as [A, B]",
    "list": "be a list, such as [A, B]",
    "dict": "be a section of settings, such as {{KEY: VALUE}}",
    "mapping": "be a section of settings, such as {{KEY: VALUE}}",
    "model": "be a section of settings, such as {{KEY: VALUE}}",
}
"""By the type of pydantic's errors, or by its first word (``float_parsing``, ``float_type``)."""


def explain(model: type[BaseModel], problem: Any, within: str = "") -> str:
    """One of pydantic's errors as a sentence: which key, what was given, what is expected.

    Args:
        model: what was to be read.
        problem: an entry of ``ValidationError.errors()``.
        within: the section that the model is of, for the key's path.
    """
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return _unknown(model, path, within)
    place = [part for part in problem["loc"] if not isinstance(part, int)]  # of a list: its name
    name = ".".join([*([within] if within else []), *map(str, place)])
    if problem["type"] == "missing":
        if len(place) == len(path):
            return f"key {name!r} is missing"
        return (
            f"{name} must have at least {int(path[-1]) + 1} values, not {_shown(problem['input'])}"
        )
    wanted = _expected(problem)
    if wanted is not None:
        return f"{name or 'this'} must {wanted}, not {_shown(problem['input'])}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{name}: {message} (given: {_shown(problem['input'])})" if name else message


def follows(problem: Any) -> bool:
    """Whether a list is only too short without its wrong members: each of them is a problem of its own."""
    if problem["type"] != "too_short" or not isinstance(problem["input"], Sized):
        return False
    return len(problem["input"]) >= int(problem["ctx"]["min_length"])


def _unknown(model: type[BaseModel], path: Sequence[str], within: str) -> str:
    known, front = _keys(model), f"{within}." if within else ""
    near = nearest_key(".".join(path), known)
    if near is not None:
        hint = f"did you mean {front + near!r}?"
    else:
        section = "".join(f"{part}." for part in path[:-1])
        inside = [key.removeprefix(section) for key in known if key.startswith(section)]
        names = sorted(key for key in inside if "." not in key)
        hint = f"known: {', '.join(names)}" if names else "it has no settings"
    return f"unknown key {front + '.'.join(path)!r}; {hint}"


def _expected(problem: Mapping[str, Any]) -> str | None:
    kind = problem["type"]
    text = EXPECTED.get(kind) or EXPECTED.get(kind.partition("_")[0])
    if text is None or kind == "value_error":
        return None
    bounds = {k: f"{v:g}" if isinstance(v, float) else v for k, v in problem.get("ctx", {}).items()}
    number = bounds.get("min_length", bounds.get("max_length"))
    return text.format(s="" if number == 1 else "s", **bounds)


def _shown(value: Any) -> str:
    """A value as it stands in a recipe."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def _keys(model: type[BaseModel]) -> list[str]:
    """Paths of all keys, those of sections too."""
    found = []
    for name, field in model.model_fields.items():
        found.append(name)
        options = getattr(field.annotation, "__args__", (field.annotation,))
        for inner in options:
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found += [f"{name}.{key}" for key in _keys(inner)]
    further = getattr(model, "further_keys", None)
    return found + (further() if further else [])
