"""``jeoni demo``."""

from typing import Annotated

import typer


def demo(
    folder: Annotated[str, typer.Option(help="Where the demonstration's runs go.")] = "runs/demo",
    language: Annotated[
        list[str] | None, typer.Option(help="english (by default) or korean; repeatable.")
    ] = None,
) -> None:
    """Show what transfer does: a model pretrained and from random weights, at the same budget.

    Fine-tunes MiniLM (extra "demo") on the SQuAD sample that comes with jeoni, or
    jeoni-ko-small on its Korean questions; compares, writes a report, and answers
    three questions. A second call reuses what the first left.
    """
    from pathlib import Path

    from jeoni.recipes.demo import demo as run

    run(Path(folder), language or ["english"])
