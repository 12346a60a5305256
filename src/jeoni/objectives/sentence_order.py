"""Sentence-order prediction: Lan et al., "ALBERT", ICLR 2020, section 3.1."""

import numpy as np

from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints
from jeoni.objectives import _pairs
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._layout import paired
from jeoni.objectives._objective import ObjectiveType


class SentenceOrderConfig(_pairs.PairConfig):
    """Settings.

    Attributes:
        negative: share of the pairs that are swapped.
    """


class SentenceOrder(_pairs.PairObjective):
    """Were two consecutive stretches of text swapped? Class 0: in order, 1: swapped, as published."""

    kind = "sentence_order"

    def arrange(self, chunks: Chunks, indices: Ints, noise: Noise) -> Draft:
        """Each chunk in two, half of them the second part first.

        Of a chunk of one sentence nothing is swapped or asked: its end would tell which half is the second.

        Raises:
            UserError: each document is one sentence.
        """
        if len(chunks.store.sentences) == len(chunks.store.documents):
            raise UserError(
                f"{chunks.store.folder}: each document is one sentence, and {self.kind} swaps sentences",
                hint="one sentence a line, a blank line between documents; or --split-sentences",
            )
        starts, stops = chunks.starts[indices], chunks.stops[indices]
        middles, several = _pairs.split(chunks, indices, noise)
        swapped = _pairs.negatives(self.config, indices, noise) & several
        first = chunks.read(np.where(swapped, middles, starts), np.where(swapped, stops, middles))
        second = chunks.read(np.where(swapped, starts, middles), np.where(swapped, middles, stops))
        draft = paired(first, second, indices, self.model.tokenizer)
        return draft.aimed(**{self.kind: np.where(several, swapped, -1)})


OBJECTIVE = ObjectiveType(
    config=SentenceOrderConfig,
    objective=SentenceOrder,
    about="tell whether two consecutive stretches of text were swapped (ALBERT)",
)
