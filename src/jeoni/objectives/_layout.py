"""From chunks of text to sequences with special tokens, as the tokenizer's template puts them."""

from collections.abc import Sequence

import numpy as np

from jeoni.data.chunks import Chunks, Ints, Taken
from jeoni.objectives._draft import Bools, Draft
from jeoni.text.tokenizer import Tokenizer

_FIRST, _SECOND = -1, -2
"""Stand for the texts where a template is read off."""


def single(chunks: Chunks, indices: Ints, tokenizer: Tokenizer) -> Draft:
    """One chunk a sequence, special tokens around it (``[CLS] x [SEP]``)."""
    return framed(chunks.take(indices), indices, tokenizer)


def framed(taken: Taken, examples: Ints, tokenizer: Tokenizer) -> Draft:
    """Texts with the special tokens of a single text, each a sequence."""
    around, segments = tokenizer.build_single([0])
    before = tokenizer.text_start()
    return surrounded(
        taken.ids,
        taken.words,
        taken.lengths,
        examples,
        before=around[:before],
        after=around[before + 1 :],
        segments=segments,
    )


def surrounded(
    ids: Ints,
    words: Bools,
    lengths: Ints,
    examples: Ints,
    *,
    before: list[int],
    after: list[int],
    segments: Sequence[int] = (),
) -> Draft:
    """Sequences with the same special tokens before and after each.

    Args:
        ids, words: of the texts, end to end, ``[n]``.
        lengths: tokens of each text, ``[B]``.
        examples: numbers of the examples, ``[B]``.
        before, after: special tokens.
        segments: segment ids of ``before``, of the text, and of ``after``; if not 0.
    """
    whole = lengths + len(before) + len(after)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    text = np.arange(len(ids)) + len(before) + owners * (len(before) + len(after))
    total = int(whole.sum())
    laid, begins = np.empty(total, np.int64), np.ones(total, np.bool_)
    special = np.ones(total, np.bool_)
    firsts = np.cumsum(whole) - whole
    own = list(segments) or [0] * (len(before) + 1 + len(after))
    belongs = np.full(total, own[len(before)], np.int64)
    for place, token in enumerate(before):
        laid[firsts + place], belongs[firsts + place] = token, own[place]
    for place, token in enumerate(after, start=-len(after)):
        laid[firsts + whole + place], belongs[firsts + whole + place] = token, own[place]
    laid[text], begins[text], special[text] = ids, words, False
    return Draft(
        ids=laid,
        segments=belongs,
        special=special,
        words=begins,
        lengths=whole,
        examples=examples,
    )


def paired(first: Taken, second: Taken, examples: Ints, tokenizer: Tokenizer) -> Draft:
    """Two texts a sequence, as the tokenizer's template for pairs has it (``[CLS] x [SEP] y [SEP]``).

    Args:
        first, second: ``B`` texts each.
        examples: numbers of the examples, ``[B]``.
        tokenizer: whose template.
    """
    ids, segments = tokenizer.build_pair([_FIRST], [_SECOND])
    sizes = np.ones((len(examples), len(ids)), np.int64)
    sizes[:, ids.index(_FIRST)], sizes[:, ids.index(_SECOND)] = first.lengths, second.lengths
    part = np.repeat(np.tile(np.arange(len(ids)), len(examples)), sizes.ravel())
    laid, begins = np.array(ids)[part], np.ones(len(part), np.bool_)
    special = np.ones(len(part), np.bool_)
    for mark, text in ((_FIRST, first), (_SECOND, second)):
        own = part == ids.index(mark)
        laid[own], begins[own], special[own] = text.ids, text.words, False
    return Draft(
        ids=laid,
        segments=np.array(segments)[part],
        special=special,
        words=begins,
        lengths=sizes.sum(1),
        examples=examples,
    )
