"""``jeoni plan``."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jeoni.recipes.plan_ways import Way


def plan(
    model: Annotated[str, typer.Option(help="A preset, a folder, package:NAME or a hub id.")],
    tokens: Annotated[float, typer.Option(help="Tokens to train on, such as 300e9.")],
    gpus: Annotated[int, typer.Option(help="How many processors.")] = 1,
    gpu: Annotated[
        str,
        typer.Option(
            help="h200, h100, a100-80, a100-40, v100, rtx4090, t4, or cpu (measured here)."
        ),
    ] = "h200",
    precision: Annotated[
        str | None,
        typer.Option(help="bf16, fp16 or fp32; by default the best that jeoni trains in."),
    ] = None,
    sequence: Annotated[
        int | None, typer.Option(help="Tokens of a sequence; as many as there are positions.")
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(help="Tokens a step; by default half a million or more.")
    ] = None,
    micro_batch: Annotated[
        int | None, typer.Option(help="Sequences at a time; by default as many as fit.")
    ] = None,
    utilization: Annotated[
        float, typer.Option(help="Share of the peak that products reach.")
    ] = 0.4,
    bandwidth: Annotated[
        float | None, typer.Option(help="Network of each processor, in gigabytes a second.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Your own family of models, package.module:NAME.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Plan a training: does it fit, how long does it take, and what is that based on.

    Arithmetic only: nothing is loaded, and every line says what it assumes.

    [bold]Examples[/bold]

        jeoni plan --model gpt3-175b --tokens 300e9 --gpus 1024 --gpu h200

        jeoni plan --model bert-base --tokens 128e9 --gpu rtx4090 --sequence 128
    """
    from dataclasses import asdict

    from jeoni.base.errors import UserError
    from jeoni.cli import show
    from jeoni.recipes.plan import plan as make

    if precision not in (None, "bf16", "fp16", "fp32"):
        raise UserError(f"--precision {precision}: there are bf16, fp16 and fp32")
    found = make(
        model,
        tokens=tokens,
        gpus=gpus,
        gpu=gpu,
        precision=precision,  # type: ignore[arg-type]
        sequence=sequence,
        batch_tokens=batch_tokens,
        micro_batch=micro_batch,
        utilization=utilization,
        bandwidth=None if bandwidth is None else bandwidth * 1e9,
        family=family,
    )
    if json:
        show.as_json(asdict(found))
        return
    sizes = f"{show.quantity(found.parameters)} parameters, {show.quantity(found.tokens)} tokens"
    title = f"{found.model}: {sizes}"
    rows = [(line.what, _amount(line.value, line.unit), line.basis) for line in found.lines]
    show.table(title, ("", "", "rests on"), rows)
    columns = (
        "",
        "recomputed",
        "sequences x rounds",
        "memory each",
        "fits",
        "a step",
        "mostly",
        "days",
    )
    show.table(
        f"{found.gpus:,} x {found.device}",
        columns,
        [
            (
                way.name,
                way.recompute,
                f"{way.micro_batch} x {way.rounds}" if way.micro_batch else "not one",
                show.quantity(way.memory, "B"),
                "yes" if way.fits else "no",
                *(_times(way) if way.micro_batch else (None, None, None)),
            )
            for way in found.ways
        ],
    )
    if found.best is None:
        typer.echo(
            "Nothing fits: more memory, shorter sequences, or a model cut inside its layers."
        )
    else:
        way = found.ways[found.best]
        again = ", activations recomputed" if way.recompute else ""
        typer.echo(f"Fastest that fits: {way.name}{again}, {way.days:.3g} days.")
    typer.echo(
        "Memory: 16 bytes a parameter (float32 weights, gradients, AdamW's averages), divided if sharded;\n"
        "copies in the precision of the products; the loss over the vocabulary; activations as in\n"
        "jeoni models show.\n"
        "In jeoni: torchrun; train.shard=true for fully sharded, recompute=true in jeoni pretrain."
    )


def _times(way: "Way") -> tuple[str, str, float]:
    """Of a step, what most of it is, and days of all."""
    mostly = "network" if way.traffic_seconds > way.compute_seconds else "products"
    return _amount(way.step_seconds, "s"), mostly, way.days


def _amount(value: float, unit: str) -> str:
    """A figure with its unit; times without prefixes."""
    from jeoni.cli.show import quantity

    if unit == "tokens":
        return f"{value:,.0f} tokens"
    if unit in ("s", "h"):
        return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"
    return f"{value:,}" if isinstance(value, int) and not unit else quantity(value, unit)
