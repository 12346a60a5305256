"""What users may rely on: the names of the package, and that importing it costs nothing."""

import importlib
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import jeoni
from jeoni.models.model import Model
from jeoni.text.tokenizer import Tokenizer

NAMES = [
    "UserError",
    "__version__",
    "answer",
    "classify",
    "compare",
    "convert",
    "describe",
    "embed",
    "evaluate",
    "evaluate_suite",
    "finetune",
    "generate",
    "load",
    "plan",
    "predict",
    "prepare",
    "pretrain",
    "study",
    "tag",
]
HEAVY = ["torch", "numpy", "pyarrow", "sklearn", "transformers", "altair", "pydantic", "typer"]


def test_names_are_exactly_these() -> None:
    assert jeoni.__all__ == NAMES
    assert dir(jeoni) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there(name: str) -> None:
    value = getattr(jeoni, name)
    if callable(value):
        assert inspect.getdoc(value), f"{name} has no docstring"


def test_verbs_that_are_no_functions_are_named() -> None:
    from jeoni.cli.main import app

    verbs = [str(c.name or c.callback.__name__) for c in app.registered_commands if c.callback]
    verbs += [f"{group.name} list" for group in app.registered_groups if group.name != "tokenizer"]
    said = jeoni.__doc__ or ""
    missing = [verb for verb in [*verbs, "tokenizer"] if verb not in NAMES]
    assert "demo" in missing
    assert [verb for verb in missing if f"``{verb}``" not in said] == []


def test_other_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'jeoni' has no attribute 'fintune'"):
        _ = jeoni.fintune


def test_version_is_the_package_s() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert jeoni.__version__ == project["project"]["version"]


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, jeoni; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (Model.hidden_states, ["self", "inputs"]),
        (Model.save, ["self", "folder"]),
        (Tokenizer.encode, ["self", "text", "pair"]),
        (jeoni.load, ["where", "init", "seed", "family"]),
    ],
    ids=["hidden_states", "save", "encode", "load"],
)
def test_stable_signatures(function: object, parameters: list[str]) -> None:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    assert list(signature.parameters) == parameters
    assert importlib.import_module("jeoni.models.hub").load is jeoni.load
