"""``jeoni compare``."""

from typing import Annotated

import typer

from jeoni.cli.arguments import OwnTask


def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another one.")],
    task: OwnTask = None,
    seed: Annotated[int, typer.Option(help="Of the resampling.", min=0)] = 0,
    resamples: Annotated[int, typer.Option(help="How many test sets are drawn.", min=1)] = 10_000,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Say whether one run is better than another, or only lucky.

    Both runs must have been evaluated on the same dev examples. The interval
    of the difference is a paired bootstrap's; p says how often a difference
    as large comes about by chance (approximate randomization). Of a suite,
    the folder of a data set is taken as one run with several seeds.

    [bold]Examples[/bold]

        jeoni compare runs/ONE runs/OTHER

        jeoni compare runs/ONE runs/OTHER --json

        jeoni compare runs/suite-ko-ONE/nsmc runs/suite-ko-OTHER/nsmc
    """
    from jeoni.cli import show
    from jeoni.recipes.compare import compare as run

    result = run(first, second, task=task, seed=seed, resamples=resamples)
    if json:
        show.as_json(result)
        return
    interval = result["interval"]
    rows = [
        *((side["run"], side["score"]) for side in (result["first"], result["second"])),
        ("difference", result["difference"]),
        ("95% interval, from", interval["low"]),
        ("to", interval["high"]),
        ("p", result["p_value"]),
    ]
    for side in (result["first"], result["second"]):
        for why in side["flags"]:
            typer.echo(f"{side['run']} learned nothing with {why}", err=True)
    several = f", mean of {result['seeds']} seeds" if result["seeds"] > 1 else ""
    show.table(f"{result['task']}, n={result['n']:,}{several}", ("", result["metric"]), rows)
    typer.echo(
        f"The second run is better on {result['better']:,} examples and worse on {result['worse']:,}."
    )
