"""What a kind of tokenizer is; and what it is given to learn a vocabulary from."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeoni.base import lookup
from jeoni.text.recipes import Recipe
from jeoni.text.spec import JSON

KINDS = "jeoni.text.kinds"
Segment = Callable[[Iterable[str]], Iterator[tuple[str, list[int]]]]


@dataclass(frozen=True)
class Lesson:
    """What a vocabulary is learned from.

    Attributes:
        texts: gives the texts, normalized, without rare characters; may be called again.
        characters: the characters in them but blanks, the most frequent first.
        size: tokens of the vocabulary, ``first`` and ``last`` included.
        first: special tokens to begin with.
        last: special tokens to end with.
        unk: the token for what is unknown.
        options: see ``Kind.pipeline``.
    """

    texts: Callable[[], Iterator[str]]
    characters: Sequence[str]
    size: int
    first: tuple[str, ...]
    last: tuple[str, ...]
    unk: str
    options: Mapping[str, Any]

    @property
    def room(self) -> int:
        """Tokens beside the special ones."""
        return self.size - len(self.first) - len(self.last)

    def number(self, tokens: Sequence[str]) -> dict[str, int]:
        """Ids of the special tokens and of ``tokens`` between them, as many as there is room."""
        special = {*self.first, *self.last}
        plain = [token for token in dict.fromkeys(tokens) if token not in special][: self.room]
        return {token: i for i, token in enumerate([*self.first, *plain, *self.last])}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of tokenizer.

    Attributes:
        about: one line for ``--help``.
        like: short names of the recipes that a vocabulary may be learned for; the first by default.
        pipeline: normalizer, pre-tokenizer and decoder of tokenizer.json, from a recipe's options.
        learn: the model of tokenizer.json, from texts.
        read: the model from the first of the original files and the name of the unknown token; and
            options found there.
        write: the original files of a whole tokenizer.json: name and content.
        files: names of the original files; ``*`` stands for anything.
        characters: whether rare characters are left out when learning; how many tokens each takes.
        segment: puts marks into texts before all else; see ``jeoni.text.morphemes.cut``.
    """

    about: str
    like: tuple[str, ...]
    pipeline: Callable[[Mapping[str, Any]], JSON]
    learn: Callable[[Lesson], JSON]
    read: Callable[[Path, Recipe, str], tuple[JSON, JSON]] | None = None
    write: Callable[[JSON, Recipe], dict[str, bytes]] | None = None
    files: tuple[str, ...] = ()
    characters: int = 1
    segment: Segment | None = None


def find(name: str) -> Kind:
    """A kind by the name of its file."""
    found: Kind = lookup.find(KINDS, name, "KIND")
    return found


def original_files(folder: Path, kind: Kind) -> list[Path] | None:
    """The original files of a kind in a folder, if all are there."""
    found = [sorted(folder.glob(name)) for name in kind.files]
    return [paths[0] for paths in found] if found and all(found) else None
