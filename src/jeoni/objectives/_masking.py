"""Choosing tokens to be predicted, and what is read in their place."""

from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.objectives._draft import Bools, Draft, Ints, Noise
from jeoni.text.tokenizer import Tokenizer

Share = Annotated[float, Field(ge=0, le=1)]


class MaskingConfig(Config):
    """Which tokens are chosen, and what becomes of them.

    Attributes:
        rate: share of a text's tokens that is chosen.
        mask: of the chosen, share that becomes ``[MASK]``.
        random: of the chosen, share that becomes a random token; the rest stays as it is.
        whole_words: choose all tokens of a word, or none.
        ngram: choose up to so many words in a row, n with probability proportional to 1/n (Lan et al.,
            "ALBERT", 2020, section 4.1); 1: words (or tokens) one by one.
    """

    rate: float = Field(0.15, gt=0, lt=1)
    mask: Share = 0.8
    random: Share = 0.1
    whole_words: bool = False
    ngram: int = Field(1, ge=1, le=10)

    @model_validator(mode="after")
    def _shares(self) -> "MaskingConfig":
        if self.mask + self.random > 1 + 1e-9:
            raise ValueError(f"mask {self.mask} and random {self.random} are more than 1 together")
        return self


def choose(draft: Draft, config: MaskingConfig, noise: Noise) -> Ints:
    """Places in ``[N]`` of the tokens to be predicted, in order; at least one a sequence with text.

    A sequence's units (tokens, words, runs of words) are gone through in random order until the budget is
    spent. The unit that would cross it is taken with a probability of as much of it as fits: so the share
    is right on average at any length, but for texts so short that one unit is more than their budget.
    """
    text = np.flatnonzero(~draft.special)
    if not len(text):
        return text
    owners = draft.owners[text]
    begins = _units(draft, text, config, noise)
    unit = np.cumsum(begins) - 1
    size = np.bincount(unit)
    owner, head = owners[begins], text[begins]
    keys = noise.tokens("choice", draft)[head]
    order = np.lexsort((keys, owner))
    ends = np.cumsum(size[order])
    first = np.flatnonzero(np.diff(owner[order], prepend=-1))
    before = np.repeat(ends[first] - size[order][first], np.diff([*first, len(order)]))
    lengths = np.bincount(owners, minlength=len(draft.lengths))
    left = config.rate * lengths[owner[order]] - (ends - before - size[order])
    kept = left / size[order] > noise.sequences("last", draft.examples)[owner[order]]
    kept[first] = True
    chosen = np.zeros(len(size), np.bool_)
    chosen[order[kept]] = True
    places: Ints = text[chosen[unit]]
    return places


def _units(draft: Draft, text: Ints, config: MaskingConfig, noise: Noise) -> Bools:
    """Whether a token of the text begins a unit; units end with their stretch of text."""
    joined = config.whole_words or config.ngram > 1
    begins = draft.words[text].copy() if joined else np.ones(len(text), np.bool_)
    begins |= (
        np.diff(text, prepend=-2) > 1
    )  # a special token lies between, or it is the next sequence
    if config.ngram > 1:
        _join(begins, text, draft, config.ngram, noise)
    return begins


def _join(begins: Bools, text: Ints, draft: Draft, longest: int, noise: Noise) -> None:
    """Join words to runs; how long each is, its first token's number says."""
    odds = 1 / np.arange(1, longest + 1)
    lengths = 1 + np.searchsorted(np.cumsum(odds / odds.sum()), noise.tokens("run", draft)[text])
    apart = np.diff(text, prepend=-2) > 1
    left = 0
    for place in np.flatnonzero(begins).tolist():
        if apart[place] or not left:
            left = int(min(lengths[place], longest))
        else:
            begins[place] = False
        left -= 1


def replaced(
    draft: Draft, chosen: Ints, config: MaskingConfig, mask: int, plain: Ints, noise: Noise
) -> Ints:
    """The ids with the chosen ones masked, changed, or kept, ``[N]``.

    Args:
        draft: sequences.
        chosen: places in ``[N]``.
        config: shares.
        mask: id of the mask token.
        plain: ids that a random token is one of.
        noise: the epoch's.
    """
    ids = draft.ids.copy()
    lot = noise.tokens("replacement", draft)[chosen]
    ids[chosen[lot < config.mask]] = mask
    other = (lot >= config.mask) & (lot < config.mask + config.random)
    drawn = noise.tokens("token", draft)[chosen[other]]
    ids[chosen[other]] = plain[(drawn * len(plain)).astype(np.int64)]
    return ids


def mask_id(tokenizer: Tokenizer) -> int:
    """The mask token's id.

    Raises:
        UserError: there is none.
    """
    if tokenizer.mask_id is None:
        raise UserError(
            "the tokenizer has no mask token",
            hint="take a model of another family, or another objective (causal_lm, span_corruption)",
        )
    return tokenizer.mask_id


def plain_ids(tokenizer: Tokenizer) -> Ints:
    """Ids of all tokens with a name that are not special."""
    roles = (
        tokenizer.pad_id,
        tokenizer.unk_id,
        tokenizer.cls_id,
        tokenizer.sep_id,
        tokenizer.mask_id,
        tokenizer.bos_id,
        tokenizer.eos_id,
    )
    return np.array(
        [i for i, name in enumerate(tokenizer.tokens) if name and i not in roles], np.int64
    )
