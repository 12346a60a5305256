"""From chunks of text to sequences with special tokens, as the tokenizer's template puts them."""

import numpy as np

from jeoni.data.chunks import Chunks, Ints
from jeoni.objectives._draft import Bools, Draft
from jeoni.text.tokenizer import Tokenizer


def single(chunks: Chunks, indices: Ints, tokenizer: Tokenizer) -> Draft:
    """One chunk a sequence, special tokens around it (``[CLS] x [SEP]``)."""
    taken = chunks.take(indices)
    around, segments = tokenizer.build_single([])
    before = tokenizer.text_start()
    return surrounded(
        taken.ids,
        taken.words,
        taken.lengths,
        indices,
        before=around[:before],
        after=around[before:],
        segment=segments[0] if segments else 0,
    )


def surrounded(
    ids: Ints,
    words: Bools,
    lengths: Ints,
    examples: Ints,
    *,
    before: list[int],
    after: list[int],
    segment: int = 0,
) -> Draft:
    """Sequences with the same special tokens before and after each.

    Args:
        ids, words: of the texts, end to end, ``[n]``.
        lengths: tokens of each text, ``[B]``.
        examples: numbers of the examples, ``[B]``.
        before, after: special tokens.
        segment: segment id of all tokens.
    """
    whole = lengths + len(before) + len(after)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    text = np.arange(len(ids)) + len(before) + owners * (len(before) + len(after))
    total = int(whole.sum())
    laid, begins = np.empty(total, np.int64), np.ones(total, np.bool_)
    special = np.ones(total, np.bool_)
    firsts = np.cumsum(whole) - whole
    for place, token in enumerate(before):
        laid[firsts + place] = token
    for place, token in enumerate(after):
        laid[firsts + whole - len(after) + place] = token
    laid[text], begins[text], special[text] = ids, words, False
    return Draft(
        ids=laid,
        segments=np.full(total, segment, np.int64),
        special=special,
        words=begins,
        lengths=whole,
        examples=examples,
    )
