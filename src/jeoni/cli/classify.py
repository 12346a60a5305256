"""``jeoni classify``."""

from typing import Annotated

import typer

from jeoni.cli.arguments import OwnFamily, OwnTask


def classify(
    texts: Annotated[
        list[str], typer.Argument(help="Texts, or - for one a line from standard input.")
    ],
    model: Annotated[str, typer.Option(help="A run, a folder, package:NAME or a hub id.")],
    pair: Annotated[
        str | None, typer.Option(help="The second text, for a model that judges pairs.")
    ] = None,
    family: OwnFamily = None,
    task: OwnTask = None,
    json: Annotated[bool, typer.Option("--json", help="Print the labels as JSON.")] = False,
) -> None:
    """Label texts with a model that was fine-tuned for classification.

    Prints the likeliest label of each text, and its probability.

    [bold]Example[/bold]

        jeoni classify --model runs/RUN "정말 재미있는 영화였다" "시간이 아깝다"
    """
    from jeoni.cli import show
    from jeoni.serving.predictor import classify as label

    texts = lines(texts)
    found = label(
        model,
        texts,
        None if pair is None else [pair] * len(texts),
        family=family,
        task=task or "classification",
    )
    if json:
        show.as_json([{"text": t, **f.as_dict()} for t, f in zip(texts, found, strict=True)])
        return
    rows = [(t, f.label, f"{f.probability:.1%}") for t, f in zip(texts, found, strict=True)]
    show.table("", ("text", "label", "probability"), rows)


def lines(texts: list[str]) -> list[str]:
    """The texts, or the lines of standard input."""
    import sys

    from jeoni.base.files import decode

    if texts != ["-"]:
        return texts
    text = decode(sys.stdin.buffer.read(), "standard input")
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
