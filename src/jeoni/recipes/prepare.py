"""From raw text to token stores: ``jeoni.prepare``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.data.prepare.hub import PREFIX
from jeoni.data.prepare.pipeline import Prepared
from jeoni.data.prepare.pipeline import prepare as run
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.models.where import hub_answers, resolve
from jeoni.text import tokenizer_files


def prepare(
    out: str | Path,
    inputs: str | Path | Sequence[str | Path],
    *,
    tokenizer: str | Path,
    workers: int | None = None,
    show: bool = False,
    **settings: Any,
) -> Prepared:
    """Make token stores of text, or go on where an earlier call was interrupted.

    In a script, a call with several workers belongs under ``if __name__ == "__main__":``, since each
    worker imports the script.

    Args:
        out: folder to write to: ``train`` and ``heldout`` stores, ``tokenizer``, reports.
        inputs: files (one sentence a line, a blank line between documents; JSON lines, tables, parquet;
            ``.gz``, ``.zst``), patterns, or ``hf:NAME[:CONFIG[:SPLIT]]``.
        tokenizer: folder of a tokenizer or model, ``package:NAME``, or a hub id.
        workers: processes; None: one for each core. The result does not depend on it.
        show: show progress on stderr.
        settings: see ``jeoni.data.prepare.settings.PrepareConfig``.

    Raises:
        UserError: a file, tokenizer, library or setting that is not there or not right.
        jeoni.training.signals.Interrupted: Ctrl-C; what was done is kept.
    """
    if workers is not None and workers < 1:
        raise UserError(f"{workers} workers", hint="at least 1")
    names = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    values: dict[str, Any] = {
        "inputs": [str(name) for name in names],
        "tokenizer": str(_tokenizer(tokenizer)),
        **settings,
    }
    remote = [name for name in values["inputs"] if name.startswith(PREFIX)]
    if remote and not hub_answers():
        raise UserError(
            f"{remote[0]}: the hub cannot be reached",
            hint="download the files where there is a network, and name them by their path",
        )
    config = parse(PrepareConfig, values, where="prepare")
    return run(config, Path(out).expanduser(), workers=workers, show=show)


def _tokenizer(where: str | Path) -> Path:
    folder = Path(where).expanduser()
    if folder.is_dir() and tokenizer_files.present(folder):
        return folder
    try:
        return resolve(where)
    except UserError as error:
        raise UserError(
            f"no tokenizer {where}: {error.message}",
            hint=f"learn one from the text:  jeoni tokenizer train FILES... --out {where}",
        ) from None
