"""``jeoni predict``."""

from typing import Annotated

import typer

from jeoni.cli.arguments import OwnFamily, OwnTask


def predict(
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="data.* and task.* settings, as in evaluate."),
    ] = None,
    *,
    model: Annotated[str, typer.Option(help="A run or a model.")],
    family: OwnFamily = None,
    task: OwnTask = None,
    data: Annotated[str | None, typer.Option(help="A data set of the catalog.")] = None,
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    out: Annotated[
        str | None, typer.Option(help="Write to this file, not to the terminal.")
    ] = None,
) -> None:
    """Say what a trained model predicts for the examples of a file.

    One JSON object an example, in the file's order: a label, a number, tags,
    an answer or a choice, as the model's task has it. Labels are not needed.

    [bold]Examples[/bold]

        jeoni predict --model runs/RUN data.test=my.csv data.text=review

        JEONI_DATA=FOLDER jeoni predict --model runs/RUN --data korsts \\
            --out scores.jsonl
    """
    from json import dumps

    from jeoni.cli.evaluate import chosen
    from jeoni.recipes.predict import predict as run

    values, options = chosen(settings, data, split)
    rows = run(
        model,
        values,
        split=split,  # type: ignore[arg-type]
        settings=options,
        out=out,
        family=family,
        task=task,
    )
    if out is None:
        for row in rows:
            typer.echo(dumps(row, ensure_ascii=False, default=str))
