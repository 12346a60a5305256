"""The core stays small, and the script that says how small counts right."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "core_lines.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("core_lines", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_code_is_what_is_neither_comment_nor_docstring(script: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(
        '"""Two\n\nlines."""\n\n# why\nX = 1  # one\n"""What X is."""\n\n\n'
        'def f(\n    a,\n):\n    """Doc."""\n    return """a\n\n    string"""\n'
    )
    assert script.count(file) == (16, 1 + 3 + 3)


def test_the_core_is_small(script: ModuleType) -> None:
    """The same families in transformers take well over 10,000 lines."""
    found = {name: script.total(paths) for name, paths in script.parts().items()}
    core = sum(lines for name, (_, lines, _) in found.items() if name != "families/")
    assert 1000 < core < 7000
    assert core < script.total(script.theirs())[1] / 2


def test_it_prints(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    script.main()
    printed = capsys.readouterr().out
    assert "the core" in printed
    assert "transformers" in printed
