"""``jeoni data``."""

from typing import Annotated

import typer

app = typer.Typer(help="Data sets.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Data sets: what there is, and where it was looked for."""


@app.command("list")
def list_(
    root: Annotated[str | None, typer.Option(help="A folder to look in first.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the data sets of the catalog: at hand or not, rows, licence, where it was looked for.

    The environment variable JEONI_DATA names folders with data sets in them.
    """
    from jeoni.cli import show
    from jeoni.data.cards import available

    entries = available(root)
    if json:
        show.as_json(
            [
                {
                    "name": e.name,
                    "at_hand": e.at_hand,
                    "description": e.card.description,
                    "task": e.card.task,
                    "language": e.card.language,
                    "metric": e.card.metric,
                    "licence": e.card.licence,
                    "files": {split: path and str(path) for split, path in e.files.items()},
                    "rows": dict(e.rows),
                    "searched": [str(path) for path in e.searched],
                }
                for e in entries
            ]
        )
        return
    rows = [
        (
            e.name,
            e.card.language,
            e.card.task,
            ", ".join(
                f"{split} {count:,}" if (count := e.rows.get(split)) else split
                for split, path in e.files.items()
                if path
            )
            or "not here",
            e.card.licence,
            e.card.description,
        )
        for e in entries
    ]
    show.table("", ("name", "", "task", "at hand", "licence", "what it is"), rows)
    searched = sorted({str(path) for e in entries for path in e.searched})
    typer.echo(
        f"Looked in: {', '.join(searched) or 'the package only'}. Set JEONI_DATA to look elsewhere, too."
    )
