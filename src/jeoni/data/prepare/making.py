"""The first step: from inputs to parts."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from jeoni.base.errors import UserError
from jeoni.base.files import named_problems, read_json, write_json
from jeoni.base.progress import Bar, progress
from jeoni.data.prepare import decontamination, sources
from jeoni.data.prepare.folder import HINT
from jeoni.data.prepare.part import Part
from jeoni.data.prepare.pool import Inline, Workers
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.prepare.sources import Input
from jeoni.training.signals import Interrupted, StopRequest


class Making:
    """The parts of a folder; those that are there are not made again."""

    def __init__(self, config: PrepareConfig, out: Path, found: list[Input], show: bool) -> None:
        self.config, self.out, self.found, self.show = config, out, found, show
        self.work = out / "work"
        self.groups = sources.groups(found)

    def run(self, workers: int, request: StopRequest) -> list[Part]:
        """All parts, in order."""
        evaluation = self._evaluation()
        if missing := list(self._missing()):
            settings = (self.config, self.out / "tokenizer", evaluation)
            # What a part maker lacks is said here, not by a process that dies of it.
            inline = Inline(*settings)
            pool = inline if workers == 1 else Workers(*settings, workers)
            del inline
            try:
                self._make(missing, pool, request)
            finally:
                pool.close()
        return [
            Part(self._path(number, n))
            for number in range(len(self.groups))
            for n in range(self._count(number) or 0)
        ]

    def _make(self, missing: list[int], pool: Inline | Workers, request: StopRequest) -> None:
        with contextlib.ExitStack() as stack:
            bar: Bar | None = None
            for number in missing:
                count = done = 0
                for portion in sources.portions(self.found, self.groups[number], self.config):
                    _stop_if(request, pool, bar)
                    path = self._path(number, count)
                    count += 1
                    if path.is_file():
                        done = portion.position
                        continue
                    # What was there before does not count for the rate.
                    bar = bar or stack.enter_context(self._bar(done))
                    _show(bar, pool.submit(portion, path))
                write_json(self._end(number), {"parts": count})
            _show(bar, pool.finish())
        stop_if(request)

    def _bar(self, done: int) -> contextlib.AbstractContextManager[Bar]:
        total = sum(source.size for source in self.found)
        return progress(total, "preparing", done=done, show=self.show)

    def _missing(self) -> Iterator[int]:
        """Groups of inputs that have not all of their parts."""
        for number in range(len(self.groups)):
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
        """The evaluation sets' texts, in a file for the workers.

        Raises:
            UserError: what is there already was made with other texts.
        """
        if not self.config.decontaminate:
            return None
        path = self.work / "evaluation.npz"
        found = decontamination.evaluation(self.config.decontaminate, self.config.root)
        if path.is_file():
            if not found.same(decontamination.Evaluation.load(path)):
                raise UserError(
                    f"{self.out} was begun with other files of {', '.join(found.names)}",
                    hint=f"--root as then; or name another folder, or delete it: rm -r {self.out}",
                )
        else:
            with named_problems(path, HINT):
                found.save(path)
        return path


def _show(bar: Bar | None, positions: Iterator[int]) -> None:
    """Move the bar to where the portions end that are done."""
    for position in positions:
        if bar is not None:
            bar.advance(max(0, position - bar.done))


def _stop_if(request: StopRequest, pool: Inline | Workers, bar: Bar | None) -> None:
    if request.made:
        _show(bar, pool.finish())  # what is in work is kept
        stop_if(request)


def stop_if(request: StopRequest) -> None:
    """Stop where somebody asked for it.

    Raises:
        Interrupted: saying that the same command goes on.
    """
    if request.made:
        raise Interrupted("stopped; what was done is kept, and the same command goes on")
