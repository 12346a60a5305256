"""From text to token ids and back, with exact places in the original string.

The work is done by the Rust library ``tokenizers`` (``engine``). This layer adds what it leaves open:
one special-token template for texts, pairs and windows (``frame``), exact offsets, no call that changes
what another gives, and errors that name the file.
"""

import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from jeoni.base.errors import UserError
from jeoni.text import recipes
from jeoni.text.encoding import Encoding, Offsets, Pieces, longest_first
from jeoni.text.engine import Engine
from jeoni.text.frame import Framed
from jeoni.text.names import Named
from jeoni.text.offsets import Flat, Ints
from jeoni.text.template import Ids, Template
from jeoni.text.tokenizer_files import TokenizerFiles, read_folder, read_original, write_folder

__all__ = ["Encoding", "Ids", "Pieces", "Tokenizer"]

_Raw = tuple[list[int], Offsets]
_NOWHERE: Offsets = [(0, 0)]


class Tokenizer(Named, Framed):
    """A tokenizer; never changes after construction, can be pickled and used after a fork.

    Special tokens written out in a text (``"[MASK]"``) are read as special tokens, as in
    ``transformers``. A lone surrogate, which no UTF-8 text can hold but JSON escapes can, is read
    as U+FFFD.

    Offsets cover the characters that a token was made from. Characters that the normalizer drops
    inside a token (accents, control characters, zero-width joiners) are covered; accents after its
    last letter, too; control characters around a token are not. Tokens made from one character
    (jamo of a syllable, bytes) have the same offsets. The blank before a word is not covered by the
    word's first token, whose name says that it is there (``Ġ``, ``▁``); a ``▁`` alone covers that
    blank, or nothing where the text begins.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        self._files = files
        try:
            self._engine = Engine(files)
            self._templates = tuple(Template(files.spec.get("post_processor"), n) for n in (1, 2))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"{files.source}: not a usable tokenizer: {error}") from None
        self._rust = self._engine.rust
        words = json.dumps(files.spec.get("normalizer"))
        self._apart = '"NFD"' in words or '"NFKD"' in words

    @classmethod
    def from_folder(cls, folder: Path, like: str | None = None) -> "Tokenizer":
        """The tokenizer of a checkpoint folder.

        ``tokenizer.json`` if it is there, with its built-in truncation and padding switched off;
        else the files that it was published as: ``vocab.txt``, ``vocab.json`` and ``merges.txt``,
        or a SentencePiece ``.model``. ``tokenizer_config.json`` and ``special_tokens_map.json``
        are optional; when ``do_lower_case``, ``strip_accents``, ``tokenize_chinese_chars`` or
        ``add_prefix_space`` are set there, they win, as they do in ``transformers``.

        Args:
            folder: the folder.
            like: what the published files are, where ``tokenizer_config.json`` does not tell: a class
                (``GPT2Tokenizer``) or short name (``gpt2``) in ``jeoni.text.recipes``. Without it,
                ``config.json`` tells by the model's family; else only ``vocab.txt`` is read, as WordPiece.

        Raises:
            UserError: no such file, broken JSON, not UTF-8, an empty or repeated vocabulary line,
                no token for unknown words, start or separator; the message names file and line.
        """
        return cls(read_folder(Path(folder), like))

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
        return cls(read_original(Path(path), config, recipes.BERT))

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``, its configuration files, and the files it is published as."""
        content = json.loads(self._rust.to_str())
        content["post_processor"] = self._files.spec.get("post_processor")
        text = json.dumps(content, ensure_ascii=False, indent=2)
        write_folder(self._files, Path(folder), spec_text=text)

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
        return [
            self._assemble(parts) for parts in self._cut(self._encode_raw, texts, pairs, max_length)
        ]

    def encode_ids(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
    ) -> list[tuple[list[int], list[int]]]:
        """Ids and segments alone, as ``encode_batch`` gives them; faster.

        Args and errors: see ``encode_batch``.
        """
        cut = self._cut(self._encode_without_offsets, texts, pairs, max_length)
        return [self._build([ids for ids, _ in parts]) for parts in cut]

    def pieces(self, texts: Sequence[str]) -> list[Pieces]:
        """Encode many texts without special tokens, to be put together by ``build_pair``."""
        ids, offsets, lengths = self._engine.flat(texts)
        return [Pieces(ids[start:end], offsets[start:end]) for start, end in _bounds(lengths)]

    def flat(self, texts: Sequence[str]) -> Flat:
        """What ``pieces`` gives, of all texts end to end: ids ``[N]``, offsets ``[N, 2]``, lengths."""
        return self._engine.flat(texts)

    def flat_ids(self, texts: Sequence[str]) -> tuple[Ints, list[int]]:
        """The same without offsets."""
        return self._engine.flat_ids(texts)

    def decode(self, ids: Ids, skip_special: bool = True) -> str:
        """Text of the tokens; case, accents and blanks are as far as the tokenizer keeps them."""
        plain = [int(number) for number in ids]
        text = str(self._rust.decode(plain, skip_special_tokens=skip_special))
        # What the normalizer took apart (syllables into jamo) is put together.
        return unicodedata.normalize("NFC", text) if self._apart else text

    def _cut(
        self,
        encode: Callable[[Sequence[str]], list[_Raw]],
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        max_length: int | None,
    ) -> Iterator[tuple[_Raw, ...]]:
        """Ids and offsets of each text, or pair, as much of them as ``max_length`` leaves room for."""
        room = None if max_length is None else self._room(pairs is not None, max_length)
        firsts = encode(texts)
        if pairs is None:
            yield from (((ids[:room], offsets[:room]),) for ids, offsets in firsts)
            return
        seconds = encode(pairs)
        if len(seconds) != len(firsts):
            raise ValueError(f"{len(firsts)} texts and {len(seconds)} pairs")
        for (ids, offsets), (pair_ids, pair_offsets) in zip(firsts, seconds, strict=True):
            n, m = longest_first(len(ids), len(pair_ids), room)
            yield (ids[:n], offsets[:n]), (pair_ids[:m], pair_offsets[:m])

    def _encode_without_offsets(self, texts: Sequence[str]) -> list[_Raw]:
        """Ids of each text, without special tokens; offsets are empty."""
        flat, lengths = self._engine.flat_ids(texts)
        ids = flat.tolist()
        return [(ids[start:end], []) for start, end in _bounds(lengths)]

    def _encode_raw(self, texts: Sequence[str]) -> list[_Raw]:
        """Ids and offsets of each text, without special tokens."""
        flat, places, lengths = self._engine.flat(texts)
        ids, offsets = flat.tolist(), list(zip(*places.T.tolist(), strict=True))
        return [(ids[start:end], offsets[start:end]) for start, end in _bounds(lengths)]

    def _assemble(self, texts: Sequence[_Raw]) -> Encoding:
        ids, segments = self._build([ids for ids, _ in texts])
        offsets: Offsets = []
        sequence: list[int | None] = []
        for part in self._templates[len(texts) - 1].parts:
            new = _NOWHERE if part.sequence is None else texts[part.sequence][1]
            offsets += new
            sequence += [part.sequence] * len(new)
        names = self.tokens
        return Encoding(ids, segments, offsets, sequence, list(map(names.__getitem__, ids)))


def _bounds(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where each text begins and ends."""
    return pairwise(np.cumsum([0, *lengths]).tolist())
