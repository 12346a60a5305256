"""How long the core is: models/ without families/, nn/, ops/; and the same families in transformers.

    python scripts/core_lines.py

"code" leaves out blank lines, comments and docstrings.
"""

import ast
import importlib.util
import tokenize
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "jeoni"
SKIPPED = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER, tokenize.ENCODING,
}  # fmt: skip


def count(path: Path) -> tuple[int, int]:
    """All lines of a file, and its lines of code."""
    text = path.read_text(encoding="utf-8")
    with path.open("rb") as stream:
        code = {
            line
            for token in tokenize.tokenize(stream.readline)
            if token.type not in SKIPPED
            for line in range(token.start[0], token.end[0] + 1)
        }
    for node in ast.walk(ast.parse(text)):
        # A string that is a statement: a docstring, or what follows a constant to explain it.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(text.splitlines()), len(code)


def total(paths: Iterable[Path]) -> tuple[int, int, int]:
    """Files, lines, lines of code."""
    counts = [count(path) for path in paths]
    return len(counts), sum(a for a, _ in counts), sum(b for _, b in counts)


def parts() -> dict[str, list[Path]]:
    """The files of each part of the core, and those of the families."""
    return {
        "models/ (without families/)": sorted((ROOT / "models").glob("*.py")),
        "nn/": sorted((ROOT / "nn").glob("*.py")),
        "ops/": sorted((ROOT / "ops").glob("*.py")),
        "families/": sorted((ROOT / "models" / "families").glob("*.py")),
    }


def theirs() -> list[Path]:
    """The files of transformers that define the models of the same families."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        return []
    from jeoni.base import lookup
    from jeoni.models import hub

    root = Path(spec.origin).parent / "models"
    names = {hub.own_family(name).name for name in lookup.names(hub.FAMILIES)}
    folders = {name.replace("-", "_").removesuffix("_gpt") for name in names}
    return sorted(path for name in folders for path in (root / name).glob("modeling_*.py"))


def main() -> None:
    found = {name: total(paths) for name, paths in parts().items()}
    core = total(path for name, paths in parts().items() if name != "families/" for path in paths)
    both = total(path for paths in parts().values() for path in paths)
    rows = [*found.items(), ("the core", core), ("core and families", both)]
    if files := theirs():
        rows.append(("the same families in transformers", total(files)))
    print(f"{'':34}{'files':>7}{'lines':>8}{'code':>8}")
    for name, (number, lines, code) in rows:
        print(f"{name:34}{number:7,}{lines:8,}{code:8,}")


if __name__ == "__main__":
    main()
