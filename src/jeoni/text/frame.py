"""What is put around texts, and how much of them fits inside."""

from collections.abc import Sequence

from jeoni.base.errors import UserError
from jeoni.text.template import Ids, Template


class Framed:
    """Special tokens around a text, or a pair of texts; windows over long ones."""

    _templates: tuple[Template, ...]  # of one text, of two

    def windows(
        self, question_length: int | None, passage_length: int, *, max_length: int, stride: int
    ) -> list[tuple[int, int]]:
        """Token ranges ``[start, end)`` of the sliding windows over a passage.

        The same windows as ``transformers`` makes with ``return_overflowing_tokens`` and
        ``only_second`` (or, for a single text, ``only_first``). The question is never cut here:
        cut its ids first (BERT's SQuAD script keeps 64) where it may be long.

        Args:
            question_length: tokens of the question; ``None`` when there is a passage only.
            passage_length: tokens of the passage; 0 gives one empty window.
            max_length: longest window with question and special tokens.
            stride: tokens that a window has in common with the next.

        Raises:
            UserError: no room for the passage, or not more room than the stride.
        """
        room = self._room(question_length is not None, max_length) - (question_length or 0)
        if room >= 0 and passage_length <= room:
            return [(0, passage_length)]
        if not 0 <= stride < room:
            raise UserError(
                f"max_length {max_length} leaves {max(room, 0)} tokens of a passage beside "
                f"{question_length or 0} of the question, too few for windows with stride {stride}",
                hint="raise max_length, lower stride, or cut the question",
            )
        last = -(-(passage_length - room) // (room - stride))
        starts = (number * (room - stride) for number in range(last + 1))
        return [(start, min(start + room, passage_length)) for start in starts]

    def build_pair(self, question_ids: Ids, passage_ids: Ids) -> tuple[list[int], list[int]]:
        """Ids and segments of a pair, with special tokens as the tokenizer's template puts them."""
        return self._build((question_ids, passage_ids))

    def build_single(self, ids: Ids) -> tuple[list[int], list[int]]:
        """Ids and segments of a single text, with special tokens."""
        return self._build((ids,))

    def text_start(self, question_length: int | None = None) -> int:
        """Index of the passage's first token in what ``build_pair`` (or ``build_single``) gives."""
        if question_length is None:
            return self._templates[0].start(0, ())
        return self._templates[1].start(1, (question_length,))

    def special_count(self, pair: bool = False) -> int:
        """Special tokens that a text, or a pair of texts, is given."""
        return self._templates[pair].special

    def _room(self, pair: bool, max_length: int) -> int:
        room = max_length - self.special_count(pair)
        if room < 1:
            raise UserError(
                f"max_length {max_length} leaves no room for text",
                hint=f"the special tokens alone take {self.special_count(pair)}",
            )
        return room

    def _build(self, texts: Sequence[Ids]) -> tuple[list[int], list[int]]:
        return self._templates[len(texts) - 1].build(texts)
