"""``jeoni tag``."""

from typing import Annotated

import typer

from jeoni.cli.arguments import OwnFamily, OwnTask


def tag(
    texts: Annotated[
        list[str], typer.Argument(help="Texts, or - for one a line from standard input.")
    ],
    model: Annotated[str, typer.Option(help="A run, a folder, package:NAME or a hub id.")],
    words: Annotated[
        bool, typer.Option("--words", help="The texts are cut already: words are between blanks.")
    ] = False,
    family: OwnFamily = None,
    task: OwnTask = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Find entities in texts, or tag their words, with a model fine-tuned for it.

    Prints each entity (or word), its kind, where it stands, and how sure it is.

    [bold]Example[/bold]

        jeoni tag --model runs/RUN "세종대왕은 서울에서 태어났다"
    """
    from jeoni.cli import show
    from jeoni.cli.classify import lines
    from jeoni.serving.tagger import tag as run

    given = lines(texts)
    found = run(
        model,
        [text.split() for text in given] if words else given,
        family=family,
        task=task or "tagging",
    )
    if json:
        show.as_json([tagged.as_dict() for tagged in found])
        return
    rows = [
        (number, span.text, span.tag, f"{span.start}-{span.end}", f"{span.probability:.1%}")
        for number, tagged in enumerate(found, 1)
        for span in tagged.spans
    ]
    if not rows:
        typer.echo("nothing found")
        return
    show.table("", ("text", "part", "tag", "characters", "probability"), rows)
