"""``jeoni evaluate``."""

from typing import Annotated, Any

import typer


def evaluate(
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="data.* and task.* settings, as in finetune."),
    ] = None,
    model: Annotated[str, typer.Option(help="A run or a model.")] = ...,  # type: ignore[assignment]
    family: Annotated[
        str | None,
        typer.Option(help="The model's family, where it is your own: package.module:NAME."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="The task's type, where it is your own: package.module:NAME."),
    ] = None,
    data: Annotated[str | None, typer.Option(help="A data set of the catalog.")] = None,
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "dev",
    out: Annotated[
        str | None, typer.Option(help="Also write the result to this JSON file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Score a trained model with the official metrics of a data set.

    The data set says which metrics; the model knows its task and settings.

    [bold]Examples[/bold]

        jeoni evaluate --model runs/RUN --data squad-sample

        JEONI_DATA=FOLDER jeoni evaluate --model runs/RUN --data nsmc \\
            --split test

        jeoni evaluate --model runs/RUN data.dev=mine.json \\
            task.no_answer=true data.metric=squad_v2
    """
    from jeoni.cli import show
    from jeoni.recipes.evaluate import evaluate as run

    values, options = chosen(settings, data, split)
    result = run(
        model,
        values,
        split=split,  # type: ignore[arg-type]
        settings=options,
        out=out,
        family=family,
        task=task,
    )
    if json:
        show.as_json(result)
        return
    title = f"{result['data']} {split}, n={result['n']}"
    show.table(title, ("metric", "value"), list(result["metrics"].items()))
    interval = result["interval"]
    typer.echo(
        f"95% interval of {interval['metric']}: {interval['low']:.4g} to {interval['high']:.4g}"
    )
    if notes := [f"{name}: {count}" for name, count in result["notes"].items() if count]:
        typer.echo("; ".join(notes))


def chosen(
    settings: list[str] | None, data: str | None, split: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Which data, and settings of the task."""
    from jeoni.base.config import override
    from jeoni.base.errors import UserError

    values: dict[str, Any] = override({}, settings or [])
    unknown = values.keys() - {"data", "task"}
    if unknown:
        raise UserError(
            f"unknown setting {sorted(unknown)[0]!r}", hint="settings start with data. or task."
        )
    if split not in ("train", "dev", "test"):
        raise UserError(f"--split {split}: there are train, dev and test")
    found = values.get("data", {})
    found = {"name": str(found)} if not isinstance(found, dict) else found
    options = values.get("task", {})
    if not isinstance(options, dict):
        raise UserError("task: the data set says which", hint="settings of it are task.KEY=VALUE")
    return ({**found, "name": data} if data is not None else found), options
