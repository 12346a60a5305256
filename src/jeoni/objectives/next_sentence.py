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
            index, wanted = int(indices[number]), int(stops[number] - middles[number])
            generator = noise.generator("elsewhere", index)
            start, end = _elsewhere(chunks.store, int(chunks.documents[index]), wanted, generator)
            begins[number] = _beginning(chunks.store, start, sentence=bool(sentences[number]))
            stops[number] = min(begins[number] + wanted, end)
        first, second = chunks.read(starts, middles), chunks.read(begins, stops)
        draft = paired(first, second, indices, self.model.tokenizer)
        return draft.aimed(**{self.kind: other.astype(np.int64)})


def _elsewhere(
    store: TokenStore, document: int, wanted: int, generator: np.random.Generator
) -> tuple[int, int]:
    """A place in another document, with ``wanted`` tokens behind it if any drawn has, and that one's end.

    Every token of the other documents is drawn alike.
    """
    bounds = store.documents
    first, own = bounds[document], bounds[document + 1] - bounds[document]
    places = generator.integers(0, len(store) - own, _DRAWS)
    places += np.where(places >= first, own, 0)
    found = np.searchsorted(bounds, places, side="right") - 1
    ends = bounds[found + 1]
    starts = np.maximum(np.minimum(places, ends - wanted), bounds[found])
    best = int(np.argmax(np.minimum(ends - starts, wanted)))
    return int(starts[best]), int(ends[best])


def _beginning(store: TokenStore, place: int, *, sentence: bool) -> int:
    """Where the sentence, or the word, begins that a token is of: as the true second texts begin."""
    last = int(store.sentences[np.searchsorted(store.sentences, place, side="right") - 1])
    if sentence:
        return last
    back = max(last, place - _WORD)
    words = np.flatnonzero(store.words(back, place + 1))
    return back + int(words[-1]) if len(words) else place


OBJECTIVE = ObjectiveType(
    config=NextSentenceConfig,
    objective=NextSentence,
    about="tell whether a text follows another, or is from another document (BERT)",
)
