"""Lines of documents, whatever files they are in: what a vocabulary is learned from."""

from collections.abc import Iterator, Sequence

from jeoni.base.progress import progress
from jeoni.data.prepare import sources
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.text.corpus import Corpus


class DocumentLines(Corpus):
    """Lines of plain text, and of the texts in JSON lines, tables, parquet and data sets of the hub.

    Args:
        names: files, patterns, or ``hf:NAME[:CONFIG[:SPLIT]]``.
        text_column: where the text is, in all but plain text.
        sample, show: see ``Corpus``.

    Raises:
        UserError: no such file; when it is gone through, no such column, or text that is not UTF-8.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        text_column: str = "text",
        sample: int | None = None,
        show: bool = False,
    ) -> None:
        self.inputs = sources.inputs(names)
        paths = [source.path for source in self.inputs if source.path is not None]
        super().__init__(paths, sample=sample, show=show)
        self.config = PrepareConfig(
            inputs=tuple(names), tokenizer="", text_column=text_column, score_column=None
        )

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
