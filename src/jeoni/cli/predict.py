"""``jeoni predict``."""

from typing import Annotated, Any

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
    glue: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Write what GLUE's server wants to this folder."),
    ] = None,
) -> None:
    """Say what a trained model predicts for the examples of a file.

    One JSON object an example, in the file's order: a label, a number, tags,
    an answer or a choice, as the model's task has it. Labels are not needed.

    [bold]Examples[/bold]

        jeoni predict --model runs/RUN data.test=my.csv data.text=review

        JEONI_DATA=FOLDER jeoni predict --model runs/RUN --data korsts \\
            --out scores.jsonl

    [bold]GLUE[/bold]

    With the folder of a suite as the model, the best run of each data set
    predicts its test set; with --data, a single model.

        JEONI_DATA=FOLDER jeoni predict --model runs/suite-glue-MODEL \\
            --glue submission
    """
    from json import dumps

    from jeoni.cli.evaluate import chosen
    from jeoni.recipes.predict import predict as run

    values, options = chosen(settings, data, split)
    if glue is not None:
        given = {"--family": family, "--task": task, "--out": out, "task.KEY": options}
        _submit(model, glue, values, [name for name, value in given.items() if value], split)
        return
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


def _submit(model: str, out: str, values: dict[str, Any], useless: list[str], split: str) -> None:
    from jeoni.base.errors import UserError
    from jeoni.cli import show
    from jeoni.recipes.glue import submit

    if other := values.keys() - {"name", "root"}:
        raise UserError(f"data.{sorted(other)[0]}: --glue takes the test files of GLUE as they are")
    if split != "test":
        raise UserError(f"--split {split}: --glue predicts the test sets")
    if useless:
        raise UserError(f"{useless[0]} has no meaning with --glue: it writes files of its own")
    done = submit(model, out, data=values.get("name"), root=values.get("root"))
    show.table("Written", ("data set", "file"), [(k, str(v)) for k, v in done.files.items()])
    if done.absent:
        show.table("Not in the archive", ("data set", "why"), list(done.absent.items()))
    typer.echo(f"{done.archive} (the server wants all eleven files)")
