"""Imports point down: a module imports only from floors below its own, or from its own folder."""

import ast
from pathlib import Path

import pytest

import jeoni

FLOORS = {
    "base": 1, "metrics": 1,
    "text": 2, "ops": 2, "training": 2, "report": 2,
    "data": 3, "nn": 3,
    "models": 4,
    "objectives": 5, "tasks": 5, "transfer": 5,
    "prompting": 6, "distillation": 6,
    "evaluation": 7,
    "serving": 8,
    "recipes": 9,
    "cli": 10,
}  # fmt: skip
ROOT = Path(jeoni.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT)


def imported_folders(path: Path) -> set[str]:
    """Folders of jeoni that a file imports from, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return {n.split(".")[1] for n in names if n.startswith("jeoni.")}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    for folder in imported_folders(path) - {own}:
        assert FLOORS[folder] < FLOORS[own], f"{own} (floor {FLOORS[own]}) imports {folder}"


def test_every_folder_has_a_floor() -> None:
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= FLOORS.keys()


def test_no_family_names_outside_families() -> None:
    """Families are data: nothing outside ``models/families`` (and prose) branches on one."""
    for path in FILES:
        if "families" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                for side in [node.left, *node.comparators]:
                    if isinstance(side, ast.Constant) and isinstance(side.value, str):
                        assert side.value.lower() not in {"bert", "electra"}, path
