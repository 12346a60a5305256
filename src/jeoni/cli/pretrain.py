"""``jeoni pretrain``."""

from typing import Annotated

import typer


def pretrain(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE|KEY=VALUE",
            help="A recipe file or one that comes with jeoni (electra-demo), and settings.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A preset (random weights), or a checkpoint to train on."),
    ] = None,
    store: Annotated[str | None, typer.Option(help="Text, as jeoni data prepare wrote it.")] = None,
    objective: Annotated[
        str | None, typer.Option(help="What is learned, such as masked_lm or replaced_token.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="The run folder.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Train a language model on plain text.

    From random weights (a preset), or on from a checkpoint: then it adapts to a
    domain or task. The run is a folder; the same command goes on after an
    interruption.

    [bold]Examples[/bold]

    Two minutes, with text that comes with jeoni:

        jeoni pretrain electra-demo

    Your own text:

        jeoni data prepare corpus my.txt.zst --tokenizer MODEL

        jeoni pretrain --model electra-small --store corpus \\
            --objective replaced_token train.steps=100000

    On from a checkpoint, with 1,000 words of the domain in its vocabulary:

        jeoni pretrain --model MODEL --objective masked_lm data.text=my.txt \\
            tokenizer.add=1000

    Then transfer it:

        jeoni finetune --model runs/RUN/model --data squad-sample

    [bold]Objectives[/bold] (several with weights: objectives.NAME=1.0)

    masked_lm, span_boundary, next_sentence, sentence_order, replaced_token,
    causal_lm, permuted_lm, span_corruption, denoising, contrastive,
    span_selection, recurring_spans

    [bold]Settings[/bold] (KEY=VALUE)

    objectives, length, train.steps, train.hours, train.lr, batch.size,
    batch.tokens, spec.layers, head_start ...
    """
    from jeoni.cli import arguments as given
    from jeoni.cli import show
    from jeoni.cli.finetune import show_groups
    from jeoni.recipes.pretrain import pretrain as run
    from jeoni.training import distributed

    options = {"model": model, "data.store": store, "objectives": objective, "out": out}
    recipe, overrides = given.split(arguments, options, "recipe")
    result = run(recipe, *overrides, on_groups=show_groups)
    if distributed.rank():
        return
    if result.earlier:
        typer.echo(f"already finished: results from {result.folder}", err=True)
    if json:
        show.as_json(dict(result.results))
        return
    show.table("On held-out text", ("figure", "value"), list(result.metrics.items()))
    speed = result.results["rate"]
    typer.echo(
        f"{speed['tokens_per_s']:,.0f} tokens/s, {100 * speed['share_of_matmul']:.0f}% of this machine's "
        f"matrix products\n\nReport: {result.folder / 'report.html'}\n"
        f"Use it: jeoni finetune --model {result.folder / 'model'} --data NAME (jeoni data list)"
    )
