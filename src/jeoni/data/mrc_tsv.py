"""The tab-separated reading-comprehension format of Korean teaching material.

One example a line: ``tokens<TAB>start<TAB>end``. Tokens are separated by blanks, one syllable a token
and ``_`` for a blank: ``[CLS] question [SEP] passage [SEP]``. ``start`` and ``end`` (inclusive) count
tokens from ``[CLS]`` = 0 and lie in the passage.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from jeoni.base.errors import UserError
from jeoni.data.record import Found, Record, attempt


def mrc_records(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Found]:
    """One record a line, in text with its blanks restored; the tokens are kept.

    Fields: ``id`` (``name:line``), ``question``, ``context``, ``answers`` (one, with its character
    offset), ``tokens``, ``start_token``, ``end_token``.

    Args:
        lines: line numbers and lines.
        name: file name, for ids and messages.

    Yields:
        For a line that is not as described above, the error.
    """
    for number, line in lines:
        if line.strip():
            yield attempt(_record, line.rstrip("\r\n"), name, number)


def _record(line: str, name: str, number: int) -> Record:
    where = f"{name}, line {number}"
    cells = line.split("\t")
    if len(cells) != 3:
        raise UserError(
            f"{where}: {len(cells)} columns, not 3", hint="a line is tokens<TAB>start<TAB>end"
        )
    tokens = cells[0].strip(" ").split(" ")
    first, last = _passage(tokens, where)
    start, end = (_index(cell, what, where) for cell, what in zip(cells[1:], _ENDS, strict=True))
    if not first <= start <= end <= last:
        raise UserError(
            f"{where}: answer tokens {start} to {end} (inclusive), but the passage is tokens "
            f"{first} to {last}",
            hint="indices count tokens from [CLS] = 0",
        )
    passage = [" " if token == "_" else token for token in tokens[first : last + 1]]
    answer = "".join(passage[start - first : end - first + 1])
    offsets = list(accumulate(map(len, passage), initial=0))
    fields = {
        "id": f"{name}:{number}",
        "question": _text(tokens[1 : first - 1]),
        "context": "".join(passage),
        "answers": [{"text": answer, "start": offsets[start - first]}],
        "tokens": tokens,
        "start_token": start,
        "end_token": end,
    }
    return Record(fields, name, number)


_ENDS = ("start", "end")


def _passage(tokens: Sequence[str], where: str) -> tuple[int, int]:
    """Indices of the first and last token of the passage."""
    separators = [index for index, token in enumerate(tokens) if token == "[SEP]"]
    if tokens[0] != "[CLS]" or tokens.count("[CLS]") > 1:
        raise UserError(f"{where}: tokens must start with [CLS], and have it once")
    if len(separators) != 2 or separators[1] != len(tokens) - 1:
        raise UserError(
            f"{where}: {len(separators)} [SEP], at {separators}",
            hint="exactly two are wanted: [CLS] question [SEP] passage [SEP]",
        )
    if "" in tokens:
        raise UserError(
            f"{where}: two blanks between tokens {tokens.index('') - 1} and {tokens.index('')}",
            hint="tokens are separated by one blank; a blank in the text is the token _",
        )
    if separators[1] == separators[0] + 1:
        raise UserError(f"{where}: the passage is empty")
    return separators[0] + 1, separators[1] - 1


def _index(cell: str, what: str, where: str) -> int:
    try:
        return int(cell)
    except ValueError:
        raise UserError(f"{where}: {what} is {cell!r}, not a whole number") from None


def _text(tokens: Sequence[str]) -> str:
    return "".join(" " if token == "_" else token for token in tokens)
