"""Plain text from many files, one line after the other, without holding them in memory."""

import codecs
import glob
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from jeoni.base.errors import UserError
from jeoni.base.files import consumed, open_binary
from jeoni.base.progress import progress

_LONGEST = 1 << 16  # bytes of a line that are given at once


class Corpus:
    """Lines of text files, in the order of the files; may be gone through again and again.

    Lines longer than 64 KiB come in parts. Blank lines are left out.
    """

    def __init__(
        self, names: Sequence[str | Path], *, sample: int | None = None, show: bool = False
    ) -> None:
        """Find the files.

        Args:
            names: files (also ``.gz``, ``.zst``) or patterns such as ``texts/*.txt.zst``.
            sample: at most so many lines, drawn evenly from all files; always the same ones.
            show: show progress on stderr.

        Raises:
            UserError: no such file, or nothing that a pattern fits.
        """
        self.paths = [path for name in names for path in _expanded(str(name))]
        self.sample, self.show = sample, show
        self._drawn: list[str] | None = None

    def __iter__(self) -> Iterator[str]:
        if self.sample is None:
            yield from self._lines()
            return
        if self._drawn is None:
            self._drawn = self._draw(self.sample)
        yield from self._drawn

    def _draw(self, size: int) -> list[str]:
        """Vitter's algorithm R: each line is drawn with the same probability."""
        generator, drawn = random.Random(0), list[str]()
        for number, line in enumerate(self._lines()):
            if number < size:
                drawn.append(line)
            elif (place := generator.randrange(number + 1)) < size:
                drawn[place] = line
        return drawn

    def _lines(self) -> Iterator[str]:
        sizes = [path.stat().st_size for path in self.paths]
        with progress(sum(sizes), "reading", show=self.show) as bar:
            before = 0
            for path, size in zip(self.paths, sizes, strict=True):
                with open_binary(path) as stream:
                    decoder, number = codecs.getincrementaldecoder("utf-8-sig")(), 1
                    while data := stream.readline(_LONGEST):
                        try:
                            line = decoder.decode(data).strip()
                        except UnicodeDecodeError:
                            raise UserError(
                                f"{path}, line {number}: not UTF-8",
                                hint="convert the file to UTF-8",
                            ) from None
                        number += data.endswith(b"\n")
                        if line:
                            yield line
                        if number % 256 == 0:
                            bar.advance(before + consumed(stream) - bar.done)
                before += size


def _expanded(name: str) -> list[Path]:
    path = Path(name).expanduser()
    if path.is_dir():
        raise UserError(f"{path} is a folder", hint=f"name its files: '{path}/*.txt'")
    if path.exists():
        return [path]
    found = sorted(glob.glob(str(path), recursive=True))
    if not found:
        raise UserError(f"no file {name}", hint=f"looked in {Path().resolve()}")
    return [Path(one) for one in found if Path(one).is_file()]
