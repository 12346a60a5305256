"""``jeoni study``."""

from typing import Annotated

import typer


def study(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY|KEY=VALUE",
            help="A study that comes with jeoni (objectives, text) or a file, and settings.",
        ),
    ],
    out: Annotated[str | None, typer.Option(help="Folder of all runs and results.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Compare ways to pretrain: equal budgets, the same tasks, several seeds.

    Every part is a run of its own: the same command goes on where it was.

    [bold]Examples[/bold]

    Objectives at equal operations, each transferred (hours on a laptop):

        jeoni data prepare corpus texts/*.zst --tokenizer TOKENIZER

        JEONI_DATA=FOLDER jeoni study objectives common.data.store=corpus

    Transfer against the amount of text:

        JEONI_DATA=FOLDER jeoni study text common.data.store=corpus

    A first look, one seed, on a small machine:

        JEONI_DATA=FOLDER jeoni study objectives common.data.store=corpus \\
            "seeds=[1]" common.flops=1e12 common.spec.hidden=128
    """
    from jeoni.base.files import read_json
    from jeoni.cli import arguments as given
    from jeoni.cli import show
    from jeoni.recipes.study import study as run
    from jeoni.recipes.study_pages import cell

    name, overrides = given.split(arguments, {"out": out}, "study")
    if name is None:
        raise typer.BadParameter("no study: objectives, text, or a file")
    result = run(name, *overrides)
    if json:
        show.as_json(read_json(result.folder / "results.json"))
        return
    tasks = sorted({score.task for score in result.scores})
    rows = [(way, *(cell(row.get(task)) for task in tasks)) for way, row in result.table.items()]
    show.table("Median (smallest to largest)", ("pretrained with", *tasks), rows)
    typer.echo(f"\nReport: {result.folder / 'report.html'}")
