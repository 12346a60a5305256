"""From text to token ids and back, with exact places in the original string.

The work is done by the Rust library ``tokenizers``. This layer adds what it leaves open: one
special-token template for texts, pairs and windows, offsets that do not cut a character off its
accent, no state that changes between calls, and errors that name the file.
"""

import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from jeoni.base.errors import UserError
from jeoni.text import kind as kinds
from jeoni.text import morphemes, recipes
from jeoni.text.encoding import (
    Encoding,
    Offsets,
    Pieces,
    longest_first,
    without_surrogates,
)
from jeoni.text.offsets import Exact, Ints
from jeoni.text.template import Ids, Template
from jeoni.text.tokenizer_files import TokenizerFiles, read_folder, read_original, write_folder

__all__ = ["Encoding", "Ids", "Pieces", "Tokenizer"]

_Raw = tuple[list[int], Offsets]
_NOWHERE: Offsets = [(0, 0)]
_CACHE = (
    100_000  # words whose tokens are remembered (BPE, Unigram); the library's own default is 10,000
)


class Tokenizer:
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
            self._rust = tokenizers.Tokenizer.from_str(json.dumps(files.spec))
            self._templates = tuple(Template(files.spec.get("post_processor"), n) for n in (1, 2))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"{files.source}: not a usable tokenizer: {error}") from None
        # Special tokens are put in here, offsets are trimmed here.
        self._rust.post_processor = None
        self._segment = kinds.find(files.recipe.kind).segment if files.recipe else None
        words = json.dumps(files.spec.get("normalizer"))
        self._apart = '"NFD"' in words or '"NFKD"' in words
        self._exact = Exact(files.spec, self._rust.token_to_id("▁"))
        # Private, so it may be gone one day: then repeated words are slower.
        if resize := getattr(self._rust.model, "_resize_cache", None):
            resize(_CACHE)

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
                only ``vocab.txt`` is read, as WordPiece.

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
    def bos_id(self) -> int | None:
        """Id of the token before a text that is generated, if there is one."""
        return self._role("bos_token")

    @property
    def eos_id(self) -> int | None:
        """Id of the token after a text that is generated, if there is one."""
        return self._role("eos_token")

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
        if self._segment is None:
            encodings, _ = self._encode_rust(texts, self._rust.encode_batch)
            return self._exact.pieces(encodings, texts)
        return [
            Pieces(np.array(ids, np.int32), np.array(offsets, np.int32).reshape(-1, 2))
            for ids, offsets in self._encode_raw(texts)
        ]

    def flat(self, texts: Sequence[str]) -> tuple[Ints, Ints, list[int]]:
        """What ``pieces`` gives, of all texts end to end: ids ``[N]``, offsets ``[N, 2]``, lengths."""
        if self._segment is None:
            encodings, _ = self._encode_rust(texts, self._rust.encode_batch)
            return self._exact.flat(encodings, texts)
        pieces = self.pieces(texts)
        ids = np.concatenate([np.zeros(0, np.int32), *(piece.ids for piece in pieces)])
        offsets = np.concatenate([np.zeros((0, 2), np.int32), *(piece.offsets for piece in pieces)])
        return ids, offsets, [len(piece.ids) for piece in pieces]

    def flat_ids(self, texts: Sequence[str]) -> tuple[Ints, list[int]]:
        """The same without offsets."""
        encodings, _ = self._encode_rust(texts, self._rust.encode_batch)
        found = [encoding.ids for encoding in encodings]
        lengths = [len(ids) for ids in found]
        return np.fromiter(chain.from_iterable(found), np.int32, sum(lengths)), lengths

    @cached_property
    def word_starts(self) -> npt.NDArray[np.bool_] | None:
        """``[V]``: which tokens begin a word, if their names tell; else None.

        They do in WordPiece behind BERT's pre-tokenizer, which cuts where ``text.boundaries`` does.
        """
        spec, model = self._files.spec, self._files.spec["model"]
        mark = model.get("continuing_subword_prefix")
        whole = (spec.get("pre_tokenizer") or {}).get("type") == "BertPreTokenizer"
        ideographs = '"handle_chinese_chars": true' in json.dumps(spec.get("normalizer"))
        if not (whole and ideographs and mark and model["type"] == "WordPiece"):
            return None
        return np.array([not name.startswith(mark) for name in self.tokens])

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

    def decode(self, ids: Ids, skip_special: bool = True) -> str:
        """Text of the tokens; case, accents and blanks are as far as the tokenizer keeps them."""
        plain = [int(number) for number in ids]
        text = str(self._rust.decode(plain, skip_special_tokens=skip_special))
        # What the normalizer took apart (syllables into jamo) is put together.
        return unicodedata.normalize("NFC", text) if self._apart else text

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
        encodings, _ = self._encode_rust(texts, self._rust.encode_batch_fast)
        return [(encoding.ids, []) for encoding in encodings]

    def _encode_raw(self, texts: Sequence[str]) -> list[_Raw]:
        """Ids and offsets of each text, without special tokens."""
        encodings, marks = self._encode_rust(texts, self._rust.encode_batch)
        result = []
        for number, (encoding, text) in enumerate(zip(encodings, texts, strict=True)):
            ids, offsets = encoding.ids, encoding.offsets
            if marks is not None:
                offsets = morphemes.original(offsets, marks[number])
            result.append((ids, self._exact.offsets(ids, offsets, text)))
        return result

    def _encode_rust(
        self, texts: Sequence[str], encode_batch: Callable[..., list[tokenizers.Encoding]]
    ) -> tuple[list[tokenizers.Encoding], list[list[int]] | None]:
        """What the library gives; and the places of marks that were put into each text, if any."""
        if isinstance(texts, str):
            raise TypeError("a list of texts was expected, this is one text")
        marks = None
        if self._segment is not None:
            cut = list(self._segment(texts))
            texts, marks = [text for text, _ in cut], [places for _, places in cut]
        # One text goes without the thread pool: it is faster, and leaves a later fork at ease.
        if len(texts) == 1:
            encode_batch = self._encode_one
        try:
            return encode_batch(list(texts), add_special_tokens=False), marks
        except TypeError:
            # The library refuses lone surrogates with the same error as what is no string.
            readable = [without_surrogates(text) for text in texts]
            return encode_batch(readable, add_special_tokens=False), marks

    def _encode_one(
        self, texts: Sequence[str], *, add_special_tokens: bool
    ) -> list[tokenizers.Encoding]:
        return [self._rust.encode(texts[0], add_special_tokens=add_special_tokens)]

    def _build(self, texts: Sequence[Ids]) -> tuple[list[int], list[int]]:
        return self._templates[len(texts) - 1].build(texts)

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
