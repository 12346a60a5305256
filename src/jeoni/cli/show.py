"""How results look on a terminal."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

LONGEST_NAME = 30


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, err: bool = False
) -> None:
    """A table; numbers flush right. What looks like rich's markup, or an emoji's name, is text."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    named = Text(title, "table.title") if title else None
    view = Table(title=named, title_justify="left", header_style="bold")
    for number, name in enumerate(columns):
        numeric = all(_numeric(row[number]) for row in rows)
        # Names are copied from here: those of usual length stay whole.
        whole = number == 0 and all(len(cell(row[0])) <= LONGEST_NAME for row in rows)
        side: Literal["left", "right"] = "right" if numeric else "left"
        view.add_column(Text(name), justify=side, overflow="fold", no_wrap=whole)
    for row in rows:
        view.add_row(*(Text(cell(value)) for value in row))
    console = Console(stderr=err)
    if not console.is_terminal:
        console = Console(stderr=err, width=120)
    console.print(view)


def cell(value: object) -> str:
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def quantity(value: float, unit: str = "") -> str:
    """A large number with a prefix: ``110.1 M``, ``3.14e+23``."""
    for prefix, size in (("", 1), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12), ("P", 1e15)):
        if abs(value) < 999.95 * size:
            return f"{value / size:.4g} {prefix}{unit}".rstrip()
    return f"{value:.3g} {unit}".rstrip()


def as_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """JSON on standard output."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    print()


def _numeric(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
