"""From text to token ids and back, with exact places in the original string.

The work is done by the Rust library ``tokenizers``. This layer adds what it leaves open: one
special-token template for texts, pairs and windows, offsets that do not cut a character off its
accent, no state that changes between calls, and errors that name the file.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from jeoni.base.errors import UserError
from jeoni.text.encoding import (
    Encoding,
    Offsets,
    Pieces,
    cover_marks,
    longest_first,
    without_surrogates,
)
from jeoni.text.tokenizer_files import TokenizerFiles, read_folder, read_vocab, write_folder

__all__ = ["Encoding", "Ids", "Pieces", "Tokenizer"]

Ids = Sequence[int] | npt.NDArray[np.int32]


@dataclass(frozen=True)
class _Part:
    """One place of a template: a special token, or (``sequence`` given) where a text goes."""

    id: int
    segment: int
    sequence: int | None


class Tokenizer:
    """A tokenizer; never changes after construction, can be pickled and used after a fork.

    Special tokens written out in a text (``"[MASK]"``) are read as special tokens, as in
    ``transformers``. A lone surrogate, which no UTF-8 text can hold but JSON escapes can, is read
    as U+FFFD.

    Offsets cover the characters that a token was made from. Characters that the normalizer drops
    inside a token (accents, control characters, zero-width joiners) are covered; accents after its
    last letter, too; control characters around a token are not. Tokens made from one character
    (jamo of a syllable) have the same offsets.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        self._files = files
        try:
            self._rust = tokenizers.Tokenizer.from_str(json.dumps(files.spec))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"{files.source}: not a usable tokenizer: {error}") from None
        self._templates = (
            _parts(self._rust.encode("a")),
            _parts(self._rust.encode("a", "a")),
        )

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        """The tokenizer of a checkpoint folder.

        ``tokenizer.json`` if it is there, with its built-in truncation and padding switched off;
        else WordPiece from ``vocab.txt``. ``tokenizer_config.json`` and ``special_tokens_map.json``
        are optional; when ``do_lower_case``, ``strip_accents`` or ``tokenize_chinese_chars`` are
        set there, they win, as they do in ``transformers``.

        Raises:
            UserError: no such file, broken JSON, not UTF-8, an empty or repeated vocabulary line,
                no token for unknown words, start or separator; the message names file and line.
        """
        return cls(read_folder(Path(folder)))

    @classmethod
    def from_vocab(
        cls,
        path: Path,
        lowercase: bool = True,
        *,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
        model_max_length: int | None = None,
    ) -> "Tokenizer":
        """WordPiece from a file with one token a line (Devlin et al. 2019).

        Args:
            path: the ``vocab.txt``.
            lowercase: lower-case the text (an "uncased" vocabulary).
            strip_accents: drop accents; ``None``: when ``lowercase``. (It also takes Hangul
                syllables apart into jamo, so Korean vocabularies want ``False``.)
            split_chinese: make each Chinese character (Hanja) a word of its own.
            model_max_length: longest input of the model in tokens, kept for ``save``.

        Raises:
            UserError: see ``from_folder``.
        """
        config: dict[str, Any] = {
            "do_lower_case": lowercase,
            "strip_accents": strip_accents,
            "tokenize_chinese_chars": split_chinese,
        }
        if model_max_length is not None:
            config["model_max_length"] = model_max_length
        return cls(read_vocab(Path(path), config))

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``, its configuration files, and ``vocab.txt`` for WordPiece."""
        write_folder(self._files, Path(folder), spec_text=self._rust.to_str(pretty=True))

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Names of the tokens by id; an id that no token has gives an empty name."""
        by_id = {number: token for token, number in self._rust.get_vocab().items()}
        return tuple(by_id.get(number, "") for number in range(max(by_id) + 1))

    @property
    def vocab_size(self) -> int:
        """Rows that an embedding table needs: the highest id plus one."""
        return len(self.tokens)

    @property
    def model_max_length(self) -> int | None:
        """Longest input in tokens, if the checkpoint names one."""
        length = self._files.config.get("model_max_length")
        # "No limit" is written as a huge number.
        return int(length) if length is not None and length < 10**9 else None

    @property
    def pad_id(self) -> int | None:
        """Id of the padding token, if there is one."""
        return self._role("pad_token")

    @property
    def unk_id(self) -> int | None:
        """Id of the token for unknown words, if there is one (WordPiece always has)."""
        return self._role("unk_token")

    @property
    def cls_id(self) -> int | None:
        """Id of the token at the start, if there is one (WordPiece always has)."""
        return self._role("cls_token")

    @property
    def sep_id(self) -> int | None:
        """Id of the separator, if there is one (WordPiece always has)."""
        return self._role("sep_token")

    @property
    def mask_id(self) -> int | None:
        """Id of the mask token, if there is one."""
        return self._role("mask_token")

    def encode(self, text: str, pair: str | None = None) -> Encoding:
        """Encode a text or pair of texts with special tokens; never cut."""
        return self.encode_batch([text], None if pair is None else [pair])[0]

    def encode_batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
    ) -> list[Encoding]:
        """Encode many texts, or pairs of texts, with special tokens.

        Args:
            texts: ``B`` strings.
            pairs: ``B`` strings that go with them.
            max_length: longest result in tokens; what is longer loses tokens at the end, a pair
                always at its longer text (``longest_first`` of ``transformers``).

        Raises:
            UserError: ``max_length`` leaves no room beside the special tokens.
        """
        firsts = self._encode_raw(texts)
        seconds = None if pairs is None else self._encode_raw(pairs)
        if seconds is not None and len(seconds) != len(firsts):
            raise ValueError(f"{len(firsts)} texts and {len(seconds)} pairs")
        room = None if max_length is None else self._room(pairs is not None, max_length)
        if seconds is None:
            return [self._assemble(((ids[:room], offsets[:room]),)) for ids, offsets in firsts]
        result = []
        for (ids, offsets), (pair_ids, pair_offsets) in zip(firsts, seconds, strict=True):
            n, m = longest_first(len(ids), len(pair_ids), room)
            result.append(
                self._assemble(((ids[:n], offsets[:n]), (pair_ids[:m], pair_offsets[:m])))
            )
        return result

    def pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Encode many texts without special tokens, to be put together by ``build_pair``."""
        return [
            Pieces(np.array(ids, np.int32), np.array(offsets, np.int32).reshape(-1, 2))
            for ids, offsets in self._encode_raw(texts)
        ]

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
        template = self._templates[question_length is not None]
        target = 0 if question_length is None else 1
        before = template[: [part.sequence for part in template].index(target)]
        return sum(1 if part.sequence is None else question_length or 0 for part in before)

    def special_count(self, pair: bool = False) -> int:
        """Special tokens that a text, or a pair of texts, is given."""
        return sum(part.sequence is None for part in self._templates[pair])

    def decode(self, ids: Ids, skip_special: bool = True) -> str:
        """Text of the tokens; case, accents and blanks are as far as the tokenizer keeps them."""
        return self._rust.decode([int(number) for number in ids], skip_special_tokens=skip_special)

    def _role(self, role: str) -> int | None:
        name = self._files.roles.get(role)
        return None if name is None else self._rust.token_to_id(name)

    def _room(self, pair: bool, max_length: int) -> int:
        room = max_length - self.special_count(pair)
        if room < 1:
            raise UserError(
                f"max_length {max_length} leaves no room for text",
                hint=f"the special tokens alone take {self.special_count(pair)}",
            )
        return room

    def _encode_raw(self, texts: Sequence[str]) -> list[tuple[list[int], Offsets]]:
        """Ids and offsets of each text, without special tokens."""
        if isinstance(texts, str):
            raise TypeError("a list of texts was expected, this is one text")
        try:
            encodings = self._encode_rust(texts)
        except TypeError:
            # The library refuses lone surrogates with the same error as what is no string.
            encodings = self._encode_rust([without_surrogates(text) for text in texts])
        return [
            (encoding.ids, cover_marks(encoding.offsets, text))
            for encoding, text in zip(encodings, texts, strict=True)
        ]

    def _encode_rust(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        # One text goes without the thread pool: it is faster, and leaves a later fork at ease.
        if len(texts) == 1:
            return [self._rust.encode(texts[0], add_special_tokens=False)]
        return self._rust.encode_batch(list(texts), add_special_tokens=False)

    def _build(self, texts: Sequence[Ids]) -> tuple[list[int], list[int]]:
        ids: list[int] = []
        segments: list[int] = []
        for part in self._templates[len(texts) - 1]:
            new = [part.id] if part.sequence is None else texts[part.sequence]
            ids.extend(new.tolist() if isinstance(new, np.ndarray) else new)
            segments.extend([part.segment] * len(new))
        return ids, segments

    def _assemble(self, texts: Sequence[tuple[list[int], Offsets]]) -> Encoding:
        ids, segments = self._build([ids for ids, _ in texts])
        offsets: Offsets = []
        sequence: list[int | None] = []
        for part in self._templates[len(texts) - 1]:
            new = [(0, 0)] if part.sequence is None else texts[part.sequence][1]
            offsets.extend(new)
            sequence.extend([part.sequence] * len(new))
        names = self.tokens
        return Encoding(ids, segments, offsets, sequence, [names[number] for number in ids])


def _parts(probe: tokenizers.Encoding) -> tuple[_Part, ...]:
    """The template of a post-processor, of any kind, read off an encoding that it made."""
    parts: list[_Part] = []
    for part in map(_Part, probe.ids, probe.type_ids, probe.sequence_ids):
        # The probe text may be several tokens long: they are one place.
        if part.sequence is None or not parts or parts[-1].sequence != part.sequence:
            parts.append(part)
    return tuple(parts)
