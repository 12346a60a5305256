"""Parts of words, and the rows that they are hashed to: Bojanowski et al., 2017, section 3.2."""

START, END = "<", ">"
SENTENCE = "</s>"
"""The end of a line, in fastText's dictionaries; it has no parts."""


def fnv(data: bytes) -> int:
    """FNV-1a of 32 bits, as fastText has it: a byte above 127 is negative, and is widened so."""
    value = 2166136261
    for byte in data:
        value ^= byte if byte < 128 else byte | 0xFFFFFF00
        value = value * 16777619 & 0xFFFFFFFF
    return value


class Subwords:
    """The rows of a word's parts.

    Args:
        first: row of the first part; those before are words.
        rows: that parts are hashed to.
        shortest: letters of a part (Unicode characters), at least.
        longest: letters of a part, at most; 0: there are no parts.
    """

    def __init__(self, first: int, rows: int, shortest: int, longest: int) -> None:
        self.first, self.rows, self.shortest, self.longest = first, rows, shortest, longest

    def __call__(self, word: str) -> list[int]:
        """Row of every part, in the order of fastText; some may be the same."""
        return [
            self.first + fnv(part.encode("utf-8", "ignore")) % self.rows for part in self.of(word)
        ]

    def of(self, word: str) -> list[str]:
        """Every part of a word with its marks; a mark alone is none."""
        if word == SENTENCE or not self.rows:
            return []
        full = f"{START}{word}{END}"
        return [
            full[start:end]
            for start in range(len(full))
            for end in range(
                start + max(self.shortest, 1), min(start + self.longest, len(full)) + 1
            )
            if not (end - start == 1 and (start == 0 or end == len(full)))
        ]
