"""From raw text to token stores: filtered, without copies, in a folder that can be gone on with.

1. Inputs are read in portions; each becomes a part, a file with its tokens and facts of its documents.
   This is where the work is; parts that are there are not made again.
2. Hashes (and sketches) of all parts tell which documents are copies.
3. The parts without the copies are put together: ``train`` and ``heldout``; then the reports; then the
   parts are deleted.

What is written is a function of inputs and settings alone: not of the number of workers, nor of where it
was interrupted.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jeoni.base.files import read_json
from jeoni.base.progress import progress
from jeoni.data.prepare import duplicates, folder, report, sources
from jeoni.data.prepare.duplicates import Duplicates
from jeoni.data.prepare.making import Making, stop_if
from jeoni.data.prepare.part import Part
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.prepare.sketches import SIZE, rows
from jeoni.data.token_store import StoreWriter, TokenStore, fingerprint
from jeoni.text.tokenizer import Tokenizer
from jeoni.training.signals import StopRequest, stop_request

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Prepared:
    """What is there when it is done.

    Attributes:
        folder: with ``tokenizer``, ``train``, ``heldout``, ``prepare.json`` and the reports.
        facts: content of ``report.json``.
    """

    folder: Path
    facts: dict[str, Any]

    @property
    def train(self) -> TokenStore:
        """The store to learn from."""
        return TokenStore(self.folder / "train")

    @property
    def heldout(self) -> TokenStore:
        """The store to evaluate on."""
        return TokenStore(self.folder / "heldout")


def prepare(
    config: PrepareConfig, out: Path, *, workers: int | None = None, show: bool = False
) -> Prepared:
    """Prepare text, or go on with it.

    Args:
        config: inputs and settings.
        out: folder to write to.
        workers: processes; None: one for each core. One is this process itself.
        show: progress on stderr.

    Raises:
        UserError: inputs or tokenizer that are not there, a library that is missing, text that is not
            UTF-8, a folder that is another preparation's, nothing left over.
        Interrupted: Ctrl-C or SIGTERM; what was done is kept.
    """
    out = Path(out)
    tokenizer = Tokenizer.from_folder(Path(config.tokenizer))
    found = sources.inputs(config.inputs)
    own = folder.facts(config, found, tokenizer)
    folder.check(out, own)
    if (out / "report.json").is_file():
        shutil.rmtree(out / "work", ignore_errors=True)
        return Prepared(out, read_json(out / "report.json"))
    count = workers or _cores()
    with folder.locked(out / "work", show=show), stop_request() as request:
        folder.claim(out, own)
        if (out / "report.json").is_file():  # by another process, since it was looked for
            return Prepared(out, read_json(out / "report.json"))
        tokenizer.save(out / "tokenizer")
        parts = Making(config, out, found, show).run(count, request)
        copies = _find_copies(config, parts, out / "work", show)
        stop_if(request)
        _join(parts, copies, tokenizer, out, show, request)
        facts = report.facts(config, found, parts, copies, out, tokenizer)
        report.write(facts, out)
    shutil.rmtree(out / "work", ignore_errors=True)
    return Prepared(out, facts)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _find_copies(config: PrepareConfig, parts: list[Part], work: Path, show: bool) -> Duplicates:
    near = config.similarity if config.duplicates == "near" else None
    count = sum(len(part["lengths"]) for part in parts)
    if config.duplicates == "keep":
        return Duplicates(np.zeros(count, np.uint8))
    bands = SIZE // rows(config.similarity) if near else 0
    with progress(duplicates.steps(count, bands), "copies", show=show) as bar:
        return duplicates.find(parts, work, near=near, bar=bar)


def _join(
    parts: list[Part],
    copies: Duplicates,
    tokenizer: Tokenizer,
    out: Path,
    show: bool,
    request: StopRequest,
) -> None:
    """Write the stores."""
    meta = {"tokenizer": fingerprint(tokenizer)}
    for name in ("train", "heldout"):  # of an interrupted call: there is no report yet
        shutil.rmtree(out / name, ignore_errors=True)
    with (
        StoreWriter(out / "train", tokenizer.vocab_size, meta) as train,
        StoreWriter(out / "heldout", tokenizer.vocab_size, meta) as heldout,
        progress(len(parts), "joining", show=show) as bar,
    ):
        held, first = _held_out(parts), 0
        for part in parts:
            stop_if(request)
            own = slice(first, first + len(part["lengths"]))
            first = own.stop
            kept = copies.kinds[own] == 0
            _copy(part, train, kept & ~held[own])
            _copy(part, heldout, kept & held[own])
            bar.advance()


def _held_out(parts: list[Part]) -> Bools:
    """Of each document whether it is held out; of one that was cut, as its beginning.

    If then all text is on one side (a file without blank lines is one document), each piece is as its own
    hash says.
    """
    held, rest = (
        np.concatenate([np.zeros(0, np.bool_), *(part[name] for part in parts)])
        for name in ("held", "rest")
    )
    whole = held[np.maximum.accumulate(np.where(rest, 0, np.arange(len(rest))))]
    return whole if whole.any() and not whole.all() else held


def _copy(part: Part, writer: StoreWriter, documents: Any) -> None:
    """Add some documents of a part to a store."""
    if not documents.any():
        return
    ids, lengths, starts = part["ids"], part["lengths"], part.bounds()[:-1]
    begins = np.zeros(len(ids), np.bool_)
    begins[starts[lengths > 0]] = True
    mine = np.repeat(documents, lengths)
    words, sentences = (part.bits(name, len(ids))[mine] for name in ("words", "sentences"))
    writer.extend(ids[mine], words, sentences, begins[mine])
