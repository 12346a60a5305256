"""Words as tokens: each stands for a number, or for a row of numbers (its characters, its parts)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jeoni.base.errors import UserError
from jeoni.base.files import replacing
from jeoni.text import kind as kinds
from jeoni.text import recipes, spec
from jeoni.text.encoding import Encoding, Pieces
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.tokenizer_files import TokenizerFiles

Token = int | Sequence[int]


class WordTokenizer(Tokenizer):
    """Text cut at blanks and around punctuation marks, or words that are already cut.

    Args:
        number: what stands for a word; can be pickled.
        name: the word of what ``number`` gave.
        size: rows that an embedding table needs.
        lowercase: the text is.
        files: what to write beside a model, by name.
    """

    def __init__(
        self,
        number: Callable[[str], Token],
        name: Callable[[Any], str],
        *,
        size: int,
        lowercase: bool = False,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        recipe = recipes.WORDS
        unknown = {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
        parts = kinds.find(recipe.kind).pipeline({"lower": lowercase})
        template = spec.template(recipe.single, recipe.pair, {})
        whole = spec.whole(unknown, parts, template, ())
        super().__init__(TokenizerFiles(whole, {}, {}, Path("words")))
        self._number, self._name, self._size = number, name, size
        self._beside = dict(files or {})

    @property
    def vocab_size(self) -> int:
        """Rows that an embedding table needs."""
        return self._size

    def encode_words(self, words: Iterable[str]) -> list[Token]:
        """What stands for words that are already cut, as they are but for case and Unicode form."""
        return [self._number(self._normal(word)) for word in words]

    def pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Encode many texts; ``ids`` is ``[T]``, or ``[T, W]`` where words are rows."""
        return [
            Pieces(
                stacked([self._number(word) for word in words]),
                np.array(offsets, np.int32).reshape(-1, 2),
            )
            for words, offsets in self._encode_raw(texts)
        ]

    def decode(self, ids: Any, skip_special: bool = True) -> str:
        """The words, with blanks between them."""
        return " ".join(self._name(token) for token in ids)

    def save(self, folder: Path) -> None:
        """Write the files that belong to the words, if there are any."""
        for name, content in self._beside.items():
            with replacing(Path(folder) / name) as temporary:
                temporary.write_bytes(content)

    def _normal(self, word: str) -> str:
        if not isinstance(word, str) or not word:
            raise UserError(f"{word!r} is not a word")
        return str(self._rust.normalizer.normalize_str(word)) or word

    def _encode_raw(self, texts: Sequence[str]) -> list[Any]:
        """Words (where others have ids) and offsets of each text."""
        return [
            ([self._normal(text[start:end]) for start, end in offsets], offsets)
            for text, (_, offsets) in zip(texts, super()._encode_raw(texts), strict=True)
        ]

    def _encode_without_offsets(self, texts: Sequence[str]) -> list[Any]:
        return [
            ([self._number(word) for word in words], []) for words, _ in self._encode_raw(texts)
        ]

    def _assemble(self, texts: Sequence[Any]) -> Encoding:
        words, segments = self._build([words for words, _ in texts])
        offsets = [place for _, places in texts for place in places]
        sequence: list[int | None] = [n for n, (own, _) in enumerate(texts) for _ in own]
        ids: list[Any] = [self._number(str(word)) for word in words]
        return Encoding(ids, segments, offsets, sequence, [str(word) for word in words])


def stacked(tokens: Sequence[Token]) -> Any:
    """Tokens as an array, ``[T]`` or, filled up with -1, ``[T, W]``; int32."""
    if not tokens or isinstance(tokens[0], int | np.integer):
        return np.array(tokens, np.int32)
    rows = [list(token) for token in tokens if not isinstance(token, int)]
    width = max(len(row) for row in rows)
    return np.array([row + [-1] * (width - len(row)) for row in rows], np.int32)
