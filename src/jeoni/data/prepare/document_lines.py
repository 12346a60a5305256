"""Lines of documents, whatever files they are in: what a vocabulary is learned from."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from jeoni.base.progress import progress
from jeoni.data.prepare import sources
from jeoni.data.prepare.settings import PrepareConfig


class DocumentLines:
    """Lines of plain text, and of the texts in JSON lines, tables, parquet and data sets of the hub.

    In the order of the files, without holding them in memory; may be gone through again and again. Lines
    longer than 64 KiB come in parts. Blank lines are left out.

    Args:
        names: files (also ``.gz``, ``.zst``), patterns such as ``texts/*.txt.zst``, or
            ``hf:NAME[:CONFIG[:SPLIT]]``.
        text_column: where the text is, in all but plain text.
        sample: at most so many lines, drawn evenly from all files; always the same ones.
        show: show progress on stderr.

    Raises:
        UserError: no such file; when it is gone through, no such column, or text that is not UTF-8.
    """

    def __init__(
        self,
        names: Sequence[str | Path],
        *,
        text_column: str = "text",
        sample: int | None = None,
        show: bool = False,
    ) -> None:
        inputs = tuple(map(str, names))
        self.inputs = sources.inputs(inputs)
        self.sample, self.show = sample, show
        self.config = PrepareConfig(
            inputs=inputs, tokenizer="", text_column=text_column, score_column=None
        )
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
        total = sum(source.size for source in self.inputs)
        with progress(total, "reading", show=self.show) as bar:
            for group in sources.groups(self.inputs):
                for portion in sources.portions(self.inputs, group, self.config):
                    for document in portion.documents:
                        # (JSON can hold halves of characters.)
                        whole = document.text.encode("utf-8", "replace").decode()
                        yield from filter(None, whole.split("\n"))
                    bar.advance(portion.position - bar.done)
