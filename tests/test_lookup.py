"""Look-up by name: a file's name is the name, a full path works too, and a wrong one gets a hint."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from jeoni.base.errors import UserError
from jeoni.base.lookup import find, names, near_folders, suggest

ENTRIES = {
    "jeoni.tasks": "TASK",
    "jeoni.transfer": "STRATEGY",
    "jeoni.models.families": "FAMILY",
}


@pytest.mark.parametrize("package", ENTRIES)
def test_every_entry_has_what_is_looked_for(package: str) -> None:
    found = names(package)
    assert found == sorted(found)
    assert found
    assert not any(name.startswith("_") for name in found)
    for name in found:
        assert find(package, name, ENTRIES[package]) is getattr(
            importlib.import_module(f"{package}.{name}"), ENTRIES[package]
        )


@pytest.mark.parametrize("package", ["jeoni.tasks", "jeoni.transfer"])
def test_every_entry_says_in_a_line_what_it_is(package: str) -> None:
    for name in names(package):
        about = find(package, name, ENTRIES[package]).about
        assert about
        assert "\n" not in about


def test_an_entry_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"no task named 'spanqa'\n.*did you mean 'span_qa'"):
        find("jeoni.tasks", "spanqa", "TASK")
    with pytest.raises(UserError, match=r"known: classification, .*span_qa"):
        find("jeoni.tasks", "xyz", "TASK")


def test_helpers_are_no_entries() -> None:
    with pytest.raises(UserError, match="no task named '_task'"):
        find("jeoni.tasks", "_task", "TASK")


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's own module on the path."""
    (tmp_path / "my_jeoni_parts").mkdir()
    (tmp_path / "my_jeoni_parts/__init__.py").write_text("")
    (tmp_path / "my_jeoni_parts/mine.py").write_text("THING = object()\n")
    (tmp_path / "my_jeoni_parts/broken.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_jeoni_parts"
    for name in [n for n in sys.modules if n.startswith("my_jeoni_parts")]:
        del sys.modules[name]


def test_a_full_path(foreign: str) -> None:
    found = find("jeoni.tasks", f"{foreign}.mine:THING", "TASK")
    assert found is importlib.import_module(f"{foreign}.mine").THING


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{}.mine:THINK", r"module 'my_jeoni_parts\.mine' has no 'THINK'"),
        ("{}.yours:THING", r"cannot import 'my_jeoni_parts\.yours'.*No module"),
        ("{}.broken:THING", r"cannot import 'my_jeoni_parts\.broken'.*no_such_package_at_all"),
        ("no_such_module_here:X", r"cannot import 'no_such_module_here'"),
        (":THING", r"':THING'"),
        ("{}.mine:", r"'my_jeoni_parts\.mine:'"),
        ("..mine:THING", r"'\.\.mine:THING'"),
    ],
)
def test_a_full_path_that_leads_nowhere(foreign: str, path: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find("jeoni.tasks", path.format(foreign), "TASK")


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("fulll", ["full", "frozen"], "did you mean 'full'?; known: frozen, full"),
        ("xyz", ["full", "frozen"], "known: frozen, full"),
        ("name7", [f"name{i}" for i in range(50)], "did you mean 'name7'?"),
        ("xyz", [f"name{i}" for i in range(50)], ""),
        ("x", [], "known: "),
    ],
)
def test_suggestions(name: str, known: list[str], hint: str) -> None:
    assert suggest(name, known) == hint


def test_a_folder_that_none_may_look_into_is_no_neighbor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As there are in /tmp."""
    for name in ("secret", "model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
    stat = os.stat

    def forbidden(path: Any, **options: Any) -> os.stat_result:
        if "secret/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", forbidden)
    found = near_folders(tmp_path / "none", ["config.json"])
    assert found == f"models near there: {tmp_path / 'model'}"
