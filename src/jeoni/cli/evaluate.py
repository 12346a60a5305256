"""``jeoni evaluate``."""

from typing import Annotated, Any

import typer

from jeoni.cli.arguments import OwnFamily, OwnTask


def evaluate(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="data.* and task.* settings, as in finetune; those of a suite.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A run or a model.")] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            help="Fine-tune and score on each data set of a suite: klue, glue, ko, en, a file."
        ),
    ] = None,
    family: OwnFamily = None,
    task: OwnTask = None,
    data: Annotated[str | None, typer.Option(help="A data set of the catalog.")] = None,
    split: Annotated[str | None, typer.Option(help="train, dev (if not given) or test.")] = None,
    out: Annotated[
        str | None,
        typer.Option(help="Also write the result to this JSON file; of a suite, the folder."),
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

    [bold]A suite[/bold]

    The model is fine-tuned on each of its data sets that is at hand, with
    several seeds. The same command goes on where it was.

        JEONI_DATA=FOLDER jeoni evaluate suite=ko model=MODEL workers=2

        JEONI_DATA=FOLDER jeoni evaluate suite=ko model=MODEL \\
            only=nsmc,korsts seeds=1,2,3 split=test common.train.epochs=1

    Settings: only, seeds, split, workers, beside (published models), common.KEY
    (of fine-tuning), sets.NAME.KEY (the same for one data set).
    """
    from jeoni.cli import show
    from jeoni.recipes.results import FIGURES, figures

    rest, options = named(settings or [], model=model, suite=suite, split=split, out=out)
    if options["suite"] is not None:
        if data is not None or task is not None:
            raise typer.BadParameter("a suite says itself which data, and data which task")
        _suite(rest, options, family, json=json)
        return
    if options["model"] is None:
        raise typer.BadParameter("no model: --model RUN")
    result = _one(rest, options, data, family, task)
    if json:
        show.as_json(result)
        return
    title = f"{result['data']} {result['split']}, n={result['n']}"
    show.table(title, FIGURES, figures(result))
    if notes := [f"{name}: {count}" for name, count in result["notes"].items() if count]:
        typer.echo("; ".join(notes))


def named(settings: list[str], **options: str | None) -> tuple[list[str], dict[str, str | None]]:
    """Options that are written as settings: ``suite=ko`` for ``--suite ko``; and the other settings."""
    found, rest = dict(options), []
    for setting in settings:
        key, sign, value = setting.partition("=")
        if sign and key in found:
            found[key] = value
        else:
            rest.append(setting)
    return rest, found


def _one(
    settings: list[str],
    options: dict[str, str | None],
    data: str | None,
    family: str | None,
    task: str | None,
) -> dict[str, Any]:
    from jeoni.recipes.evaluate import evaluate as run

    split = options["split"] or "dev"
    values, of_task = chosen(settings, data, split)
    return run(
        options["model"] or "",
        values,
        split=split,  # type: ignore[arg-type]
        settings=of_task,
        out=options["out"],
        family=family,
        task=task,
    )


def _suite(
    settings: list[str], options: dict[str, str | None], family: str | None, *, json: bool
) -> None:
    from jeoni.cli import arguments, show
    from jeoni.recipes import suite_pages
    from jeoni.recipes.suite import evaluate_suite

    given = {key: options[key] for key in ("model", "split", "out")}
    _, overrides = arguments.split([], {**given, "common.family": family})
    result = evaluate_suite(options["suite"] or "", *settings, *overrides)
    found = result.results
    if json:
        show.as_json(found)
        return
    title = f"{found['model']}, {found['suite']}, {found['split']}, in percent"
    show.table(title, suite_pages.COLUMNS, suite_pages.rows(found))
    if left_out := suite_pages.flagged(found):
        show.table("Left out of the medians", ("data set", "seed", "why"), left_out)
    if found["absent"]:
        show.table("Not scored", ("data set", "why"), list(found["absent"].items()))
    typer.echo(f"\nReport: {result.report}")


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
