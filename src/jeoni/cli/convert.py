"""``jeoni convert``."""

from typing import TYPE_CHECKING, Annotated

import typer

from jeoni.cli.arguments import OwnFamily

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jeoni.models.convert import Conversion


def convert(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A folder, a run, package:NAME or a hub id.")
    ],
    target: Annotated[str, typer.Argument(metavar="DST", help="The new folder.")],
    to: Annotated[str, typer.Option(help="The layout: hf, Hugging Face's.")] = "hf",
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or float16; by default as the weights are stored."),
    ] = None,
    max_shard: Annotated[str, typer.Option(help="Largest file, such as 500MB.")] = "5GB",
    force: Annotated[
        bool, typer.Option("--force", help="Write over a model that is there.")
    ] = False,
    family: OwnFamily = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Write a checkpoint anew: safetensors in Hugging Face layout, with today's names.

    It reads what jeoni reads: old names, pytorch_model.bin (without running
    code), shards.

    [bold]Examples[/bold]

        jeoni convert old/bert new/bert

        jeoni convert runs/RUN RUN-bf16 --dtype bfloat16 --max-shard 1GB
    """
    from dataclasses import asdict

    from jeoni.cli import show
    from jeoni.models.convert import convert as run

    done = run(
        source,
        target,
        to=to,  # type: ignore[arg-type]
        dtype=dtype,  # type: ignore[arg-type]
        max_shard=max_shard,
        force=force,
        family=family,
    )
    if json:
        show.as_json({**asdict(done), "folder": str(done.folder)})
        return
    _print(done)


def _print(done: "Conversion") -> None:
    from jeoni.cli.show import quantity

    for note in done.notes:
        typer.echo(f"warning: {note}", err=True)
    _listing("renamed", [f"{old} -> {new}" for old, new in done.renamed])
    _listing("left out", [f"{name}: {why}" for name, why in done.left_out])
    kept, renamed, left = len(done.kept), len(done.renamed), len(done.left_out)
    typer.echo(f"names: {kept} as they were, {renamed} new, {left} left out")
    size = quantity(sum(done.files.values()), "B")
    count = f"{len(done.files)} file{'s' if len(done.files) > 1 else ''}"
    typer.echo(f"weights: {_types(done)}; {quantity(done.parameters)} numbers, {size} in {count}")
    if done.copied:
        typer.echo(f"taken along: {', '.join(done.copied)}")
    by = f"loads in transformers as {done.architecture}" if done.architecture else "for jeoni alone"
    if done.architecture and any(name.startswith("heads.") for name in done.kept):
        by += ", without its head (heads.*), which jeoni loads"
    typer.echo(f"{done.folder}: {done.family}, {by}")


def _types(done: "Conversion") -> str:
    """``103 tensors, now bfloat16 (before: float32)``."""
    count = sum(done.dtypes.values())
    now = _counted(done.dtypes)
    if done.before == done.dtypes:
        return f"{count} tensors, {now} as before"
    return f"{count} tensors, now {now} (before: {_counted(done.before)})"


def _counted(types: "Mapping[str, int]") -> str:
    if len(types) == 1:
        return next(iter(types))
    return ", ".join(f"{count} {name}" for name, count in types.items())


def _listing(what: str, lines: list[str]) -> None:
    """All of them: a name that is lost must not be lost in a summary."""
    if lines:
        typer.echo(f"{what}: {len(lines)}")
        for line in lines:
            typer.echo(f"  {line}")
