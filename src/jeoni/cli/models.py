"""``jeoni models``."""

from typing import Annotated

import typer

app = typer.Typer(help="Model families and their presets.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Model families and their presets."""


@app.command("list")
def list_(
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the presets: sizes and parameters.

    A preset starts from random weights; give a folder, package:NAME or a hub id for pretrained ones.
    """
    import torch

    from jeoni.cli import show
    from jeoni.models import hub
    from jeoni.models.backbone import build

    rows = []
    with torch.device("meta"):
        for name, (family, spec) in hub.presets().items():
            count = hub.parameter_count(build(spec))
            rows.append((name, family, spec.layers, spec.hidden, spec.heads, spec.vocab, count))
    columns = ("preset", "family", "layers", "hidden", "heads", "vocabulary", "parameters")
    if json:
        show.as_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    show.table("", columns, rows)
