"""Recurring span selection: Ram et al., "Few-Shot Question Answering by Pretraining Span Selection", 2021.

What a text says several times is left standing once, and is blank everywhere else; every blank asks where
its words stand (ACL 2021, section 3). A text gives as many questions as it repeats itself, in one pass, and
one that repeats nothing is read as it is. The head (``nn.heads.QuestionSpanHead``) is one of span question
answering, where the token that asks follows the question: ``task.head=question``.

Departures: a blank is the tokenizer's mask instead of a token of its own, so that what masked language
modeling taught is of use from the first step; what is repeated must tell something (``rarity``) instead of
being no list of stop words; and it may end within a word, as Korean particles follow what they belong to.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.base.config import Config
from jeoni.data.chunks import Chunks, Ints, Taken
from jeoni.objectives._blanks import BlankObjective
from jeoni.objectives._draft import Bools, Draft, Noise
from jeoni.objectives._layout import framed
from jeoni.objectives._objective import ObjectiveType, Part
from jeoni.ops.losses import segment_log_softmax

HEAD = "question_span"
ASKING, START, END = "recurring_asking", "recurring_start", "recurring_end"
_BASE = np.uint64(0x9E3779B97F4A7C15)
"""Of the polynomial that tells runs of tokens apart."""


class RecurringSpansConfig(Config):
    """Settings.

    Attributes:
        longest: tokens of a span at most.
        rarity: how much a span must tell, in nats under the frequencies of single tokens: what is below is
            said everywhere.
        rate: blanks of a text for each of its tokens, at most (the paper: 30 in 512).
    """

    longest: int = Field(10, ge=1)
    rarity: float = Field(12.0, ge=0)
    rate: float = Field(0.06, gt=0, le=1)


class RecurringSpans(BlankObjective):
    """Find what a text says elsewhere in the place of each of its blanks."""

    head = HEAD
    refusal = "recurring_spans: a blank must see what stands behind it (an encoder that sees all)"

    def arrange(self, chunks: Chunks, indices: Ints, noise: Noise) -> Draft:
        """A chunk a sequence, its blanks a mask each; no other objective touches them or their answers."""
        taken, nats = chunks.take(indices), self.surprisal(chunks)
        firsts = np.cumsum(taken.lengths) - taken.lengths
        found: list[tuple[int, int, int]] = []
        for index, first, length in zip(indices, firsts, taken.lengths, strict=True):
            own = slice(first, first + length)
            draw = noise.generator("recurring spans", int(index))
            blanks = self._blanks(taken.ids[own], taken.words[own], nats, draw)
            found += [(place + first, answer + first, size) for place, answer, size in blanks]
        places, answers, sizes = np.array(found, np.int64).reshape(-1, 3).T
        kept = ~_covered(places + 1, sizes - 1, len(taken.ids))  # of a blank, the first token
        asked = _covered(answers, sizes, len(taken.ids))
        asked[places] = True
        ids, words = taken.ids.copy(), taken.words.copy()
        ids[places], words[places] = self.mask, True
        lengths = np.add.reduceat(kept, firsts)
        draft = framed(Taken(ids[kept], words[kept], lengths), indices, self.model.tokenizer)
        where = np.cumsum(kept) - 1  # of each token, among those that are kept
        text = np.flatnonzero(~draft.special)[where]
        special = draft.special.copy()
        special[text[asked]] = True
        return replace(draft, special=special).aimed(
            **{ASKING: text[places], START: text[answers], END: text[answers + sizes - 1]}
        )

    def counts(self, batch: Batch) -> list[float]:
        """Blanks."""
        return [float(len(batch.targets[ASKING]))]

    def losses(self, hidden: Tensor, batch: Batch) -> list[Part]:
        """Mean of the cross-entropies of start and end; accuracy of both when the model is not training."""
        asking, start, end = (batch.targets[name] for name in (ASKING, START, END))
        firsts, lasts, lengths = (
            torch.tensor(own, dtype=torch.long, device=hidden.device)
            for own in (batch.starts, batch.ends, batch.lengths)
        )
        owners = torch.bucketize(asking, lasts)
        counts = torch.bincount(owners, minlength=len(lasts)).tolist()
        logits = self.model.heads[HEAD](hidden, asking, counts, batch.lengths)
        sizes = lengths[owners]
        # Where the tokens of each blank's sequence begin in the logits, instead of in the batch.
        moved = sizes.cumsum(0) - sizes - firsts[owners]
        logs = segment_log_softmax(logits, sizes.tolist())
        loss = -(logs[start + moved, 0] + logs[end + moved, 1]).sum() / 2
        count = float(len(asking))
        if self.model.training:
            return [Part(loss, count)]
        places = torch.stack([start, end], 1) - firsts[owners, None]
        found = [part.argmax(0) for part in logits.float().split(sizes.tolist())]
        right = sum(bool((own == place).all()) for own, place in zip(found, places, strict=True))
        return [Part(loss, count, metrics={"accuracy": (float(right), count)})]

    def _blanks(
        self, ids: Ints, words: Bools, nats: NDArray[np.float64], draw: np.random.Generator
    ) -> list[tuple[int, int, int]]:
        """Blanks of a text as (place, answer, size): the longest spans first, in random order."""
        told = np.concatenate([[0.0], np.cumsum(nats[ids])])
        free, left = np.ones(len(ids), np.bool_), int(self.config.rate * len(ids))
        found: list[tuple[int, int, int]] = []
        for size, groups in _recurring(ids, words, self.config.longest):
            for number in draw.permutation(len(groups)).tolist():
                places = groups[number]
                if told[places[0] + size] - told[places[0]] < self.config.rarity:
                    continue
                places = _apart([p for p in places if free[p : p + size].all()], size)
                if not 2 <= len(places) <= left + 1:
                    continue
                for place in places:
                    free[place : place + size] = False
                answer = places.pop(int(draw.integers(len(places))))
                found += [(place, answer, size) for place in places]
                left -= len(places)
        return sorted(found)


def _recurring(ids: Ints, words: Bools, longest: int) -> Iterator[tuple[int, list[list[int]]]]:
    """Of every size, from the longest, where runs of tokens stand that occur twice or more.

    They begin with a word. Runs are compared by a polynomial of their tokens, modulo 2^64; the shortest
    first, as one that occurs twice begins with a shorter one that does.
    """
    tokens = ids.astype(np.uint64) + np.uint64(1)
    own, places = tokens, np.flatnonzero(words)
    found: list[list[list[int]]] = []
    for size in range(1, min(longest, len(ids)) + 1):
        if size > 1:
            own = own[:-1] * _BASE + tokens[size - 1 :]
            places = np.sort(places[places < len(own)])
        places = places[np.argsort(own[places], kind="stable")]
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(own[places])) + 1, [len(places)]])
        counts = np.diff(bounds)
        several = counts > 1
        runs = zip(bounds[:-1][several].tolist(), bounds[1:][several].tolist(), strict=True)
        found.append([places[first:last].tolist() for first, last in runs])
        places = places[np.repeat(several, counts)]
    yield from reversed(list(enumerate(found, start=1)))


def _apart(places: list[int], size: int) -> list[int]:
    """Of places in order, those at which spans of this size do not overlap the one before."""
    found: list[int] = []
    for place in places:
        if not found or place >= found[-1] + size:
            found.append(place)
    return found


def _covered(places: Ints, sizes: Ints, length: int) -> Bools:
    """Which of ``length`` tokens are in one of the spans; ``[length]``."""
    edges = np.zeros(length + 1, np.int64)
    np.add.at(edges, places, 1)
    np.add.at(edges, places + sizes, -1)
    return np.cumsum(edges[:-1]) > 0


OBJECTIVE = ObjectiveType(
    config=RecurringSpansConfig,
    objective=RecurringSpans,
    about="find what a text says elsewhere in the place of each of its blanks (recurring span selection)",
)
