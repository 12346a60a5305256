"""``jeoni generate``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jeoni.cli.arguments import OwnFamily

if TYPE_CHECKING:
    from jeoni.models.lines import Prompt
    from jeoni.models.model import Model

CHANCE, BEAMS = "Drawing tokens", "Beam search"


def generate(
    model: Annotated[str, typer.Option(help="A folder, a run, package:NAME or a hub id.")],
    prompts: Annotated[
        list[str], typer.Argument(help="Texts, or - for one a line of standard input.")
    ],
    max_new: Annotated[
        int | None,
        typer.Option(help="Tokens that are written at most: 50, or as in text_to_text."),
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="A text before which it ends; may be given again.")
    ] = None,
    repetition_penalty: Annotated[
        float, typer.Option(help="Above 1: tokens that are there already are less likely.")
    ] = 1.0,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="1: as the model has it; less: closer to the likeliest.", rich_help_panel=CHANCE
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(help="From so many of the likeliest tokens.", rich_help_panel=CHANCE),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="From the likeliest tokens of this probability together.", rich_help_panel=CHANCE
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="The same seed writes the same; the next prompt has the next one.",
            rich_help_panel=CHANCE,
        ),
    ] = 0,
    beams: Annotated[
        int | None,
        typer.Option(
            help="Texts that are followed at once: 1, or as in text_to_text.", rich_help_panel=BEAMS
        ),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            help="Above 0 (as it is: 1) favors longer texts, below 0 shorter.",
            rich_help_panel=BEAMS,
        ),
    ] = None,
    early_stopping: Annotated[
        bool,
        typer.Option(
            "--early-stopping", help="Stop at as many whole texts as beams.", rich_help_panel=BEAMS
        ),
    ] = False,
    stream: Annotated[bool, typer.Option("--stream", help="Print it as it is written.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="Of the weights: auto, bf16, fp32.")] = "auto",
    family: OwnFamily = None,
) -> None:
    """Go on from a text (GPT), or answer to one (T5, BART).

    Without more, always the likeliest token is written, which soon repeats
    itself: --top-p 0.9 draws. A run of text_to_text reads the text in the
    template that it was trained with.

    [bold]Examples[/bold]

        jeoni generate --model gpt2 "The bridge over the Han" \\
            --top-p 0.9 --seed 1 --stream

        jeoni generate --model t5-small --beams 4 \\
            "translate English to German: Good morning."

        jeoni generate --model gpt2 - --stop "." --json < prompts.txt
    """
    from jeoni.cli import show
    from jeoni.cli.classify import lines
    from jeoni.models.sampling import Settings
    from jeoni.serving.writer import asked, habits, writer

    settings: dict[str, Any] = {
        "max_new": max_new,
        "stop": stop or [],
        "repetition_penalty": repetition_penalty,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "beams": beams,
        "length_penalty": length_penalty,
        "early_stopping": early_stopping,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    Settings.of(**settings)  # a mistake there is found before anything is loaded
    texts = lines(prompts)
    if stream:
        _check_stream(texts, json)
    loaded = writer(model, device=device, precision=precision, family=family)
    settings = {**habits(loaded, settings), **settings}
    if stream:
        _stream(loaded, asked(loaded, texts)[0], settings)
        return
    found = loaded.generate(asked(loaded, texts), **settings)
    pairs = list(zip(texts, found, strict=True))
    if json:
        show.as_json([{"prompt": text, **f.as_dict()} for text, f in pairs])
    elif len(pairs) == 1:
        typer.echo(found[0].text)
    else:
        show.table("", ("prompt", "text"), [(text, f.text) for text, f in pairs])


def _check_stream(texts: list[str], json: bool) -> None:
    from jeoni.base.errors import UserError

    if len(texts) != 1 or json:
        raise UserError(
            "--stream prints the text of one prompt as it is written",
            hint="for several, or for --json, leave it out",
        )


def _stream(model: "Model", prompt: "Prompt", settings: dict[str, Any]) -> None:
    import sys

    for piece in model.stream(prompt, **settings):
        sys.stdout.write(piece)
        sys.stdout.flush()
    typer.echo()
