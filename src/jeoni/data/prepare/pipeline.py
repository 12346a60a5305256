"""From raw text to token stores: filtered, without copies, in a folder that can be gone on with.

1. Inputs are read in portions; each becomes a part, a file with its tokens and facts of its documents.
   This is where the work is; parts that are there are not made again.
2. Hashes (and sketches) of all parts tell which documents are copies.
3. The parts without the copies are put together: ``train`` and ``heldout``; then the reports; then the
   parts are deleted.

What is written is a function of inputs and settings alone: not of the number of workers, nor of where it
was interrupted.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import jeoni
from jeoni.base.errors import UserError
from jeoni.base.files import named_problems, read_json, write_json
from jeoni.base.progress import progress
from jeoni.data.prepare import decontamination, duplicates, report, sources
from jeoni.data.prepare.duplicates import Duplicates
from jeoni.data.prepare.part import Part
from jeoni.data.prepare.pool import Inline, Workers
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.prepare.sketches import SIZE, rows
from jeoni.data.prepare.sources import Input
from jeoni.data.token_store import StoreWriter, TokenStore, fingerprint
from jeoni.text.tokenizer import Tokenizer
from jeoni.training.signals import Interrupted, StopRequest, stop_request

_HINT = "is the disk full, and may you write there? the same command goes on"


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
    _claim(out, _facts(config, found, tokenizer))
    if (out / "report.json").is_file():
        shutil.rmtree(out / "work", ignore_errors=True)
        return Prepared(out, read_json(out / "report.json"))
    count = workers or _cores()
    with _locked(out / "work"), stop_request() as request:
        if not (out / "tokenizer").exists():
            tokenizer.save(out / "tokenizer")
        parts = _Preparation(config, out, found, show).run(count, request)
        copies = _find_copies(config, parts, out / "work", show)
        _stop_if(request)
        _join(parts, copies, tokenizer, out, show, request)
        facts = report.facts(config, found, parts, copies, out, tokenizer)
        report.write(facts, out)
    shutil.rmtree(out / "work", ignore_errors=True)
    return Prepared(out, facts)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _facts(config: PrepareConfig, found: list[Input], tokenizer: Tokenizer) -> dict[str, Any]:
    """What decides the result: content of prepare.json."""
    return {
        "jeoni": jeoni.__version__,
        "settings": config.model_dump(mode="json"),
        "tokenizer": fingerprint(tokenizer),
        "inputs": [{"name": i.name, "bytes": i.size, "ends": i.ends} for i in found],
    }


def _claim(out: Path, facts: dict[str, Any]) -> None:
    """Make the folder this preparation's, or find that it is."""
    path = out / "prepare.json"
    if path.is_file():
        before = read_json(path)
        if before != facts:
            raise UserError(
                f"{out} was begun with other {_difference(before, facts)}",
                hint=f"name another folder, or delete it: rm -r {out}",
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already and not from here", hint="name another folder")
    with named_problems(out, _HINT):
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, facts)


def _difference(before: Any, now: dict[str, Any]) -> str:
    """Where two contents of prepare.json differ, in words."""
    if not isinstance(before, dict) or not isinstance(before.get("settings"), dict):
        return "settings"
    old, new = before["settings"], now["settings"]
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            return f"settings: {name} was {old.get(name)!r}, now it is {new.get(name)!r}"
    for name, what in (("inputs", "contents of the input files"), ("tokenizer", "tokenizer")):
        if before.get(name) != now[name]:
            return what
    return f"version of jeoni: {before.get('jeoni')}, now it is {now['jeoni']}"


@contextlib.contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Only one process works in a folder; the lock goes with the process."""
    with named_problems(work, _HINT):
        work.mkdir(parents=True, exist_ok=True)
        stream = (work / "lock").open("w")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"another process is preparing {work.parent}", hint="wait for it, or stop it"
            ) from None
        yield


class _Preparation:
    """The first step: parts."""

    def __init__(self, config: PrepareConfig, out: Path, found: list[Input], show: bool) -> None:
        self.config, self.out, self.found, self.show = config, out, found, show
        self.work = out / "work"

    def run(self, workers: int, request: StopRequest) -> list[Part]:
        """All parts, in order."""
        missing = list(self._missing())
        if missing:
            known = self._evaluation()
            # What a part maker lacks is said here, not by a process that dies of it.
            inline = Inline(self.config, self.out / "tokenizer", known)
            several = workers > 1
            pool = (
                Workers(self.config, self.out / "tokenizer", known, workers) if several else inline
            )
            try:
                self._make(missing, pool, request)
            finally:
                pool.close()
        return [
            Part(self._path(number, n))
            for number in range(len(sources.groups(self.found)))
            for n in range(self._count(number) or 0)
        ]

    def _make(self, groups: list[int], pool: Inline | Workers, request: StopRequest) -> None:
        total = sum(source.size for source in self.found)
        done = None
        with contextlib.ExitStack() as stack:
            bar = None
            for number in groups:
                n = -1
                members = sources.groups(self.found)[number]
                for n, portion in enumerate(sources.portions(self.found, members, self.config)):
                    _stop_if(request, pool)
                    if not self._path(number, n).is_file():
                        if bar is None:  # what was there before does not count for the rate
                            done = done or 0
                            bar = stack.enter_context(
                                progress(total, "preparing", done=done, show=self.show)
                            )
                        for position in pool.submit(portion, self._path(number, n)):
                            bar.advance(max(0, position - bar.done))
                    else:
                        done = portion.position
                write_json(self._end(number), {"parts": n + 1})
            for position in pool.finish():
                if bar is not None:
                    bar.advance(max(0, position - bar.done))
        _stop_if(request, pool)

    def _missing(self) -> Iterator[int]:
        """Groups of inputs that have not all of their parts."""
        for number in range(len(sources.groups(self.found))):
            count = self._count(number)
            if count is None or not all(self._path(number, n).is_file() for n in range(count)):
                yield number

    def _count(self, number: int) -> int | None:
        path = self._end(number)
        return int(read_json(path)["parts"]) if path.is_file() else None

    def _path(self, number: int, n: int) -> Path:
        return self.work / f"{number:06}-{n:06}.npz"

    def _end(self, number: int) -> Path:
        return self.work / f"{number:06}.json"

    def _evaluation(self) -> Path | None:
        """The evaluation sets' texts, in a file for the workers."""
        if not self.config.decontaminate:
            return None
        path = self.work / "evaluation.npz"
        if not path.is_file():
            found = decontamination.evaluation(self.config.decontaminate, self.config.root)
            with named_problems(path, _HINT):
                found.save(path)
        return path


def _stop_if(request: StopRequest, pool: Inline | Workers | None = None) -> None:
    if request.made:
        if pool is not None:
            for _ in pool.finish():  # what is in work is kept
                pass
        raise Interrupted("stopped; what was done is kept, and the same command goes on")


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
        first = 0
        for part in parts:
            _stop_if(request)
            held, lengths = part["held"], part["lengths"]
            kept = copies.kinds[first : first + len(lengths)] == 0
            first += len(lengths)
            _copy(part, train, kept & ~held)
            _copy(part, heldout, kept & held)
            bar.advance()


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
