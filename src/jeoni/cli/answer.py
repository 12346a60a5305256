"""``jeoni answer``."""

from typing import Annotated, Any

import typer

from jeoni.cli.arguments import OwnFamily, OwnTask


def answer(
    model: Annotated[str, typer.Option(help="A run, a folder, package:NAME or a hub id.")],
    question: Annotated[str, typer.Option(help="The question.")],
    context: Annotated[
        str,
        typer.Option(help="The passage, or a text file that holds it, or - for standard input."),
    ] = "",
    no_answer: Annotated[
        bool | None, typer.Option("--no-answer/--always", help="Whether there may be no answer.")
    ] = None,
    family: OwnFamily = None,
    task: OwnTask = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Ask a question about a passage.

    Prints the answer, where it stands in the passage, and how sure the model is.
    A run of text_to_text writes its answer, with or without a passage.

    [bold]Example[/bold]

        jeoni answer --model runs/RUN --question "When did it open?" \\
            --context "The bridge opened in 1932."
    """
    from jeoni.cli import show
    from jeoni.serving.predictor import answer as ask

    settings: dict[str, Any] = {} if no_answer is None else {"no_answer": no_answer}
    found = ask(
        model, question, passage(context), family=family, task=task or "span_qa", **settings
    )
    if json:
        show.as_json(found.as_dict())
        return
    typer.echo(found.text or "(no answer)")
    if found.score is None or found.probability is None:
        return
    typer.echo(
        f"  characters {found.start}-{found.end}, score {found.score:.2f}, "
        f"probability {found.probability:.0%}"
    )


def passage(given: str) -> str:
    """The passage itself, or what is in the file of that name."""
    import sys
    from pathlib import Path

    from jeoni.base.errors import UserError
    from jeoni.base.files import decode, open_binary

    if given == "-":
        return decode(sys.stdin.buffer.read(), "standard input")
    # A passage is longer than any file name, or has blanks; a short word may be a file.
    try:
        is_file = len(given) < 1024 and "\n" not in given and Path(given).is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        if len(given.split()) == 1 and ("/" in given or given.endswith((".txt", ".md"))):
            raise UserError(f"no file {given}", hint="--context takes a passage or a text file")
        return given
    with open_binary(Path(given)) as stream:
        return decode(stream.read(), given)
