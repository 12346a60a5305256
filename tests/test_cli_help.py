"""``--help`` on a terminal of 80 columns: nothing is broken that belongs together."""

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from rich.cells import cell_len
from rich.text import Text
from typer.testing import CliRunner

from jeoni.cli.main import app

WIDTH = 80


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command and group, by what is typed for it."""
    yield " ".join(path), command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def help_of(path: str) -> list[str]:
    found = CliRunner().invoke(app, [*path.split(), "--help"], env={"COLUMNS": str(WIDTH)})
    assert found.exit_code == 0
    return found.output.splitlines()


def written(path: str) -> list[str]:
    """The lines of a command's description after its first paragraph."""
    text = inspect.cleandoc(COMMANDS[path].help or "")
    return [Text.from_markup(line).plain for line in text.partition("\n\n")[2].splitlines()]


def examples(path: str) -> list[list[str]]:
    """The commands among them, as a shell would read them."""
    lines = "\n".join(line.strip() for line in written(path)).replace("\\\n", " ").splitlines()
    told = [shlex.split(s, comments=False) for s in lines if re.match(r"([A-Z_]+=\S+ )?jeoni ", s)]
    return [words for words in told if words[-1] != "--help"]


def check(words: list[str]) -> None:
    """See that there is the command, and that it has the options."""
    name = max((p for p in COMMANDS if words[: len(p.split())] == p.split()), key=len)
    assert name, words
    options = {o for p in COMMANDS[name].params for o in (*p.opts, *p.secondary_opts)}
    used = {word for word in words if word.startswith("--")}
    assert used <= options, (words, used - options)


@pytest.mark.parametrize("path", COMMANDS)
def test_no_line_is_broken(path: str) -> None:
    shown = help_of(path)
    assert max(map(cell_len, shown)) <= WIDTH
    there = {line.strip() for line in shown}
    assert [line for line in written(path) if line.strip() not in there] == []


@pytest.mark.parametrize("path", COMMANDS)
def test_the_first_sentence_is_told_in_two_lines(path: str) -> None:
    first = inspect.cleandoc(COMMANDS[path].help or "").partition("\n\n")[0]
    assert first
    assert len(first) <= 2 * (WIDTH - 2)


@pytest.mark.parametrize("path", COMMANDS)
def test_examples_are_commands_that_there_are(path: str) -> None:
    for words in examples(path):
        check(words[words.index("jeoni") + 1 :])


@pytest.mark.parametrize(
    "path", ["finetune", "evaluate", "answer", "classify", "generate", "plan", "convert",
             "models show", "tokenizer train", "tokenizer show"],
)  # fmt: skip
def test_there_is_an_example(path: str) -> None:
    assert examples(path)


def in_readme(name: str) -> list[list[str]]:
    text = (Path(__file__).parents[1] / name).read_text(encoding="utf-8")
    lines = re.findall(r"^    (?:\S+=\S+ )?\.venv/bin/(jeoni .*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_commands_of_the_readme_are_commands_that_there_are(name: str) -> None:
    told = in_readme(name)
    assert len(told) > 8
    for words in told:
        check(words[1:])


@pytest.mark.parametrize(
    "name", ["data", "embeddings", "metrics", "pretraining", "results", "tasks", "tokenizers"]
)
def test_commands_of_the_documents_are_commands_that_there_are(name: str) -> None:
    text = (Path(__file__).parents[1] / "docs" / f"{name}.md").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", " ", text)
    told = re.findall(r"^    (?:\S+=\S+ )?jeoni (.*)$", lines, re.MULTILINE)
    assert told
    for line in told:
        check(line.split())


def test_both_languages_have_the_same_commands() -> None:
    """But for the names of folders, which are in the language."""
    first, second = (
        [[*words[:2], *(w for w in words if w.startswith("--") or "=" in w)] for words in told]
        for told in (in_readme("README.md"), in_readme("README.ko.md"))
    )
    assert first == second


def test_how_arguments_are_written() -> None:
    usage = {path: next(s.strip() for s in help_of(path) if "Usage:" in s) for path in COMMANDS}
    assert usage["finetune"] == "Usage: jeoni finetune [OPTIONS] [RECIPE.yaml|KEY=VALUE]..."
    assert usage["evaluate"] == "Usage: jeoni evaluate [OPTIONS] [KEY=VALUE]..."
    assert not any("[[" in line for line in usage.values())
