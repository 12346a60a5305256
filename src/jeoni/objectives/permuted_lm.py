"""Permutation language modeling: Yang et al., "XLNet", NeurIPS 2019, sections 2.2 to 2.5 and 3.1."""

from typing import cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints
from jeoni.models.cost import BACKWARD
from jeoni.nn.two_stream import ORDER, PREDICTED, Memory, TwoStream
from jeoni.objectives import _layout
from jeoni.objectives._draft import Bools, Draft, Noise
from jeoni.objectives._objective import ObjectiveType
from jeoni.objectives._writing import WRITTEN, Writer

BEFORE, BEFORE_LENGTHS = "before", "before_lengths"


class PermutedLMConfig(Config):
    """Settings.

    Attributes:
        context: one token of so many is predicted (K in section 2.3).
        longest: predicted tokens come in spans of 1 to so many, each somewhere in a context of ``context``
            times its length (section 3.1).
        whole_words: count words, not tokens, as the authors' code does.
        memory: tokens before the chunk, of its document, that are read first and then remembered (section
            2.4). They are read anew for each chunk, by the weights of the moment and without gradient.
    """

    context: int = Field(6, ge=1)
    longest: int = Field(5, ge=1)
    whole_words: bool = False
    memory: int = Field(0, ge=0)


class PermutedLM(Writer):
    """Tokens are predicted in a random order, each from all others that come before it in that order.

    What is not predicted comes first, special tokens too: all see it.
    """

    arranges = True
    corrupts = True

    def attach(self, seed: int) -> None:
        """The head that writes, on a model with two streams."""
        if not isinstance(self.model.backbone, TwoStream) or self.model.spec.causal:
            raise UserError(
                "permuted_lm: the model must have two streams, and no order of its own",
                hint="take xlnet",
            )
        super().attach(seed)

    def arrange(self, chunks: Chunks, indices: Ints, noise: Noise) -> Draft:
        """Special tokens around each chunk; and the text before it, if that is to be remembered."""
        draft = _layout.single(chunks, indices, self.model.tokenizer)
        if not self.config.memory:
            return draft
        starts = chunks.starts[indices]
        documents = chunks.store.documents[chunks.documents[indices]]
        firsts = np.maximum(documents, starts - self.config.memory)
        before = chunks.read(firsts, starts)
        return draft.aimed(**{BEFORE: before.ids, BEFORE_LENGTHS: before.lengths})

    def corrupt(self, draft: Draft, noise: Noise) -> Draft:
        """Targets: each token's rank in the order, which tokens are predicted, and what they are."""
        predicted = np.flatnonzero(self._choose(draft, noise))
        owners = draft.owners[predicted]
        lot = np.lexsort((noise.tokens("order", draft)[predicted], owners))
        _, first = np.unique(owners, return_index=True)
        counts = np.diff([*first, len(owners)])
        order = np.zeros(len(draft.ids), np.int64)
        order[predicted[lot]] = 1 + np.arange(len(lot)) - np.repeat(first, counts)
        return draft.aimed(**{ORDER: order, PREDICTED: predicted, WRITTEN: draft.ids[predicted]})

    def _choose(self, draft: Draft, noise: Noise) -> Bools:
        """Which tokens are predicted, ``[N]``; at least one a sequence with text."""
        chosen = np.zeros(len(draft.ids), np.bool_)
        for first, length, example in zip(
            draft.firsts.tolist(), draft.lengths.tolist(), draft.examples.tolist(), strict=True
        ):
            text = first + np.flatnonzero(~draft.special[first : first + length])
            if not len(text):
                continue
            begins = draft.words[text] if self.config.whole_words else np.ones(len(text), np.bool_)
            unit = np.maximum(np.cumsum(begins) - 1, 0)
            generator = noise.generator("spans", example)
            picked = spans(int(unit[-1]) + 1, self.config.context, self.config.longest, generator)
            chosen[text] = picked[unit]
        return chosen

    def tokens(self, batch: Batch) -> int:
        """Of both streams; and of the memory as many as cost the same, as it has no backward pass."""
        before = len(batch.targets.get(BEFORE, ())) / (1 + BACKWARD)
        return super().tokens(batch) + len(batch.targets[PREDICTED]) + round(before)

    def run(self, batch: Batch) -> Tensor:
        """States of the second stream, of the predicted tokens, ``[M, H]``."""
        body = cast(TwoStream, self.model.backbone)
        memory = self._remembered(batch, body) if self.config.memory else None
        _, query = body.streams(batch, memory)
        assert query is not None
        return query[-1]

    def _remembered(self, batch: Batch, body: TwoStream) -> Memory | None:
        """The states of the text before each sequence; None where nothing is before any."""
        lengths = tuple(batch.targets[BEFORE_LENGTHS].tolist())
        ids = batch.targets[BEFORE]
        if not len(ids):
            return None
        there = tuple(length for length in lengths if length)
        places = torch.cat([torch.arange(length) for length in there]).to(ids.device)
        before = Batch(ids=ids, segments=torch.zeros_like(ids), positions=places, lengths=there)
        with torch.no_grad():
            states = body.states(before)
        return Memory(tuple(states[:-1]), lengths)


def spans(count: int, context: int, longest: int, generator: np.random.Generator) -> Bools:
    """Which of so many tokens are predicted: each with probability ``1 / context``, but at least one.

    The text is cut into contexts, of ``context`` times 1 to ``longest`` tokens; in each, so many tokens in
    a row are chosen. The first context began somewhere before the text, and is as likely as it is long:
    otherwise the share would be another near the beginning, and in short texts.

    Args:
        count: tokens (or words).
        context, longest: see ``PermutedLMConfig``.
        generator: draws.
    """
    sizes = np.arange(1, longest + 1)
    first = np.repeat(sizes, sizes)[generator.integers(sizes.sum())]
    lengths = np.append(first, generator.integers(1, longest + 1, count // context + 1))
    ends = np.cumsum(context * lengths) - generator.integers(context * first)
    begins = ends - context * lengths
    starts = begins + generator.integers((context - 1) * lengths + 1)
    steps = np.zeros(count + 1, np.int64)
    np.add.at(steps, np.clip(starts, 0, count), 1)
    np.add.at(steps, np.clip(starts + lengths, 0, count), -1)
    chosen: Bools = np.cumsum(steps)[:-1] > 0
    if not chosen.any():
        chosen[generator.integers(count)] = True
    return chosen


OBJECTIVE = ObjectiveType(
    config=PermutedLMConfig,
    objective=PermutedLM,
    about="predict tokens in a random order, by a second stream (XLNet)",
)
