"""How likely a language model finds a sentence.

Sources: the chain rule, where a token sees those before it; Salazar et al., "Masked language model
scoring", ACL 2020, section 2 (pseudo-log-likelihood: each token masked alone, the others there).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.batching import Features, Ints
from jeoni.models.model import Model
from jeoni.text.tokenizer import Tokenizer

PLACES, WANTED, COUNTS = "places", "wanted", "counts"
_ROWS = 1024  # whose logits exist at once


@dataclass(frozen=True)
class Sentences(Features):
    """Sentences, several an item, as a model reads them to score them.

    A batch's targets: ``places`` whose states predict a token, in the batch ``[M]``; ``wanted``, the tokens
    ``[M]``; ``counts``, how many each sentence has ``[B]``.

    Attributes:
        sizes: sentences of each item.
        scored: of each sentence, the places of the tokens that count.
        mask: id that stands for the token that is scored, each time alone; None: tokens see only those
            before them, so one reading will do.
    """

    sizes: Sequence[int] = ()
    scored: Sequence[Sequence[int]] = ()
    mask: int | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def _firsts(self) -> Ints:
        return np.concatenate([[0], np.cumsum(self.sizes, dtype=np.int64)]).astype(np.int64)

    @cached_property
    def lengths(self) -> Ints:
        """Tokens that are read for each item."""
        times = [1 if self.mask is None else len(places) for places in self.scored]
        read = np.concatenate([[0], np.cumsum(np.diff(self.bounds) * times)])
        return np.asarray(np.diff(read[self._firsts]), np.int64)

    def batch(self, indices: Sequence[int]) -> Batch:
        """All readings of the sentences of some items."""
        pairs = [range(self._firsts[i], self._firsts[i + 1]) for i in indices]
        sentences = list(chain.from_iterable(pairs))
        read, places, wanted, total = [], [], [], 0
        for number in sentences:
            ids = self.ids[self.bounds[number] : self.bounds[number + 1]].tolist()
            own = self.scored[number]
            wanted += [ids[place] for place in own]
            if self.mask is None:
                read.append(ids)
                places += [total + place - 1 for place in own]
                total += len(ids)
                continue
            for place in own:
                read.append([*ids[:place], self.mask, *ids[place + 1 :]])
                places.append(total + place)
                total += len(ids)
        counts = [len(self.scored[number]) for number in sentences]
        targets = {PLACES: places, WANTED: wanted, COUNTS: counts}
        return Batch.pack(
            read,
            targets={name: torch.tensor(values) for name, values in targets.items()},
            examples=indices,
        )


def reading(
    model: Model, texts: Sequence[Sequence[str]], max_length: int, *, where: Sequence[str]
) -> Sentences:
    """Sentences to be scored by a model, several an item.

    Where a token sees those before it, a token that begins (or else ended) a text comes first, and every
    token of the sentence is scored; where there is none such, the first is not.

    Args:
        model: decides which way.
        texts: of each item.
        max_length: tokens of a sentence at most.
        where: each item is, for messages.

    Raises:
        UserError: a sentence is longer, or there is no token to mask others with.
    """
    tokenizer = model.tokenizer
    causal = model.spec.causal
    if not causal and tokenizer.mask_id is None:
        raise UserError("minimal_pairs: the tokenizer has no mask token")
    before, after = _around(tokenizer, causal=causal)
    ids, scored = [], []
    places = [place for own, place in zip(texts, where, strict=True) for _ in own]
    found = tokenizer.pieces([text for own in texts for text in own])
    for place, pieces in zip(places, found, strict=True):
        ids.append([*before, *pieces.ids.tolist(), *after])
        if len(ids[-1]) > max_length:
            raise UserError(
                f"{place}: a sentence of {len(ids[-1])} tokens is longer than task.max_length={max_length}"
            )
        first = max(len(before), 1) if causal else len(before)
        scored.append(range(first, len(before) + len(pieces)))
    whole = Features.of(ids, [[0] * len(own) for own in ids])
    return Sentences(
        whole.ids, whole.segments, whole.bounds, np.arange(len(texts)),
        sizes=[len(own) for own in texts], scored=scored, mask=None if causal else tokenizer.mask_id,
    )  # fmt: skip


def _around(tokenizer: Tokenizer, *, causal: bool) -> tuple[list[int], list[int]]:
    """Special tokens before and behind a sentence."""
    around, start = tokenizer.build_single([])[0], tokenizer.text_start()
    before, after = around[:start], around[start:]
    if not causal:
        return before, after
    begins = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    return before or ([] if begins is None else [begins]), []


def log_likelihoods(model: Model, head: Any, hidden: Tensor, batch: Batch) -> Tensor:
    """Sum of the log-probabilities of each sentence's tokens, ``[B]`` float64.

    Args:
        model: has the word table.
        head: with a logit for every token.
        hidden: states ``[N, H]``.
        batch: of ``Sentences``.
    """
    words = model.backbone.embeddings.words.weight
    places, wanted = batch.targets[PLACES], batch.targets[WANTED]
    found = [torch.zeros(0, dtype=torch.float64, device=hidden.device)]
    for first in range(0, len(places), _ROWS):
        own = slice(first, first + _ROWS)
        logits = head(hidden[places[own]], words).float()
        found.append(logits.log_softmax(-1).gather(1, wanted[own, None])[:, 0].double())
    counts = batch.targets[COUNTS]
    owners = torch.arange(len(counts), device=hidden.device).repeat_interleave(counts)
    return torch.zeros(len(counts), dtype=torch.float64, device=hidden.device).index_add(
        0, owners, torch.cat(found)
    )
