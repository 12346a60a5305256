"""Next-sentence prediction: Devlin et al., "BERT", NAACL 2019, section 3.1 and appendix A.2."""

import numpy as np

from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints
from jeoni.data.token_store import TokenStore
from jeoni.objectives import _pairs
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._layout import paired
from jeoni.objectives._objective import ObjectiveType

_DRAWS = 8
"""Places elsewhere that are looked at for one with enough text behind it."""
_NEAR = 4
"""Tokens more or less than wanted with which no other place is looked at."""
_WORD = 64
"""Tokens that are looked through for the beginning of a word."""


class NextSentenceConfig(_pairs.PairConfig):
    """Settings.

    Attributes:
        negative: share of the pairs whose second text is from another document.
    """


class NextSentence(_pairs.PairObjective):
    """Does the second text follow the first? Class 0: it does, 1: it is from elsewhere, as published."""

    kind = "next_sentence"

    def arrange(self, chunks: Chunks, indices: Ints, noise: Noise) -> Draft:
        """Each chunk in two, the second half of the pairs' replaced by as much of another document.

        Raises:
            UserError: there is no other document.
        """
        if len(chunks.store.documents) < 3:
            raise UserError(
                f"{chunks.store.folder}: one document, and {self.kind} takes text from others",
                hint="separate documents by blank lines and prepare again; or take sentence_order",
            )
        starts, stops = chunks.starts[indices], chunks.stops[indices].copy()
        middles, sentences = _pairs.split(chunks, indices, noise)
        other = _pairs.negatives(self.config, indices, noise)
        begins = middles.copy()
        for number in np.flatnonzero(other).tolist():
            begins[number], stops[number] = _elsewhere(
                chunks.store,
                int(chunks.documents[indices[number]]),
                wanted=int(stops[number] - middles[number]),
                most=chunks.room - int(middles[number] - starts[number]),
                sentence=bool(sentences[number]),
                generator=noise.generator("elsewhere", int(indices[number])),
            )
        first, second = chunks.read(starts, middles), chunks.read(begins, stops)
        draft = paired(first, second, indices, self.model.tokenizer)
        return draft.aimed(**{self.kind: other.astype(np.int64)})


def _elsewhere(
    store: TokenStore,
    document: int,
    *,
    wanted: int,
    most: int,
    sentence: bool,
    generator: np.random.Generator,
) -> tuple[int, int]:
    """Where a stretch of another document begins and ends; every token of the others is drawn alike.

    The first draw is taken that gives about as many tokens as wanted and ends where a sentence does, else
    the one that comes nearest: true second texts end so, and length and end are not to tell.

    Args:
        store: the text.
        document: not this one.
        wanted, most: how many tokens it should have, and may have.
        sentence: whether it begins where a sentence does, else where a word does.
        generator: draws.
    """
    bounds = store.documents
    first, own = bounds[document], bounds[document + 1] - bounds[document]
    places = generator.integers(0, len(store) - own, _DRAWS)
    places += np.where(places >= first, own, 0)
    found = np.searchsorted(bounds, places, side="right") - 1
    starts = np.maximum(np.minimum(places, bounds[found + 1] - wanted), bounds[found])
    best, least = (0, 0), 2 * most + 1
    for start, end in zip(starts.tolist(), bounds[found + 1].tolist(), strict=True):
        begin = _beginning(store, start, sentence=sentence)
        stop, whole = _ending(store, begin, wanted, most, end)
        off = abs(stop - begin - wanted) + (0 if whole else most)
        if off < least:
            best, least = (begin, stop), off
        if off <= _NEAR:
            break
    return best


def _beginning(store: TokenStore, place: int, *, sentence: bool) -> int:
    """Where the sentence, or the word, begins that a token is of: as the true second texts begin."""
    last = int(store.sentences[np.searchsorted(store.sentences, place, side="right") - 1])
    if sentence:
        return last
    back = max(last, place - _WORD)
    words = np.flatnonzero(store.words(back, place + 1))
    return back + int(words[-1]) if len(words) else place


def _ending(store: TokenStore, begin: int, wanted: int, most: int, end: int) -> tuple[int, bool]:
    """Where the sentence ends that has about ``wanted`` tokens before it; and whether there is one."""
    last = min(begin + most, end)
    first, behind = np.searchsorted(store.sentences, [begin + 1, last + 1])
    ends = store.sentences[first:behind]
    if not len(ends):
        return min(begin + wanted, end), False
    return int(ends[np.argmin(np.abs(ends - begin - wanted))]), True


OBJECTIVE = ObjectiveType(
    config=NextSentenceConfig,
    objective=NextSentence,
    about="tell whether a text follows another, or is from another document (BERT)",
)
