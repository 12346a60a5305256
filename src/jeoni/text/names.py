"""What a tokenizer's tokens are called, and which of them play a part."""

import json
from functools import cached_property

import numpy as np
import numpy.typing as npt
import tokenizers

from jeoni.text.tokenizer_files import TokenizerFiles


class Named:
    """Names and ids of the tokens of a vocabulary."""

    _files: TokenizerFiles
    _rust: tokenizers.Tokenizer

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

    def _role(self, role: str) -> int | None:
        name = self._files.roles.get(role)
        return None if name is None else self._rust.token_to_id(name)
