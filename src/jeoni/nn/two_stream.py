"""Two streams through one stack: what tokens are, and what they could be (Yang et al., 2019, 2.3)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.nn.embeddings import Embeddings
from jeoni.nn.relative import RelativeContext, waves
from jeoni.nn.stack import Stack
from jeoni.ops.dropout import Dropout
from jeoni.ops.relative import Sight, lay_out

ORDER, PREDICTED = "order", "predicted"


@dataclass(frozen=True)
class Memory:
    """What is remembered of the text before each sequence of a batch.

    Attributes:
        states: the input of every layer, ``L`` of ``[K, H]``, sequences end to end; without gradient.
        lengths: tokens remembered of each sequence, ``B`` ints that sum to ``K``.
    """

    states: tuple[Tensor, ...]
    lengths: tuple[int, ...]


class TwoStream(nn.Module):
    """A stack that reads tokens, and can predict some of them from those before in any order.

    The order comes with the batch, in ``batch.targets``: ``order [N]`` is each token's rank,
    ``predicted [M]`` the tokens (indices in ``[N]``) that the second stream predicts. A token sees tokens
    of its own rank and of lower ones; the second stream sees lower ones only. So context that all may see
    has one rank below all others, and each predicted token a rank of its own. Without ``order``, a token
    sees all of its sequence, and the second stream all but itself. What may see nothing attends to nothing.

    Args:
        embeddings: ids to ``[N, H]``; words only.
        stack: blocks with ``RelativeAttention``.
        sight: causal or not.
        clamp: distances beyond count as this; 0: none do.
        remembered: tokens of memory to keep; 0: all.
        reused: of each text, only so many first tokens are remembered; 0: all.
        dropout: probability, on distances and on the second stream's input.
    """

    def __init__(
        self,
        *,
        embeddings: Embeddings,
        stack: Stack,
        sight: Sight,
        clamp: int = 0,
        remembered: int = 0,
        reused: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.stack = stack
        self.blank = nn.Embedding(1, embeddings.words.embedding_dim)
        self.dropout = Dropout(dropout)
        self.sight, self.clamp = sight, clamp
        self.remembered, self.reused = remembered, reused

    def forward(self, batch: Batch) -> Tensor:
        """Last hidden states ``[N, H]``; the second stream's ``[M, H]`` if the batch has ``predicted``."""
        content, query = self.streams(batch)
        return content[-1] if query is None else query[-1]

    def states(self, batch: Batch) -> list[Tensor]:
        """Embedding output and every layer's output, ``L + 1`` of ``[N, H]``: of the tokens' stream."""
        return self.streams(batch)[0]

    def streams(
        self, batch: Batch, memory: Memory | None = None
    ) -> tuple[list[Tensor], list[Tensor] | None]:
        """States of both streams: ``L + 1`` of ``[N, H]``, and of ``[M, H]`` or None."""
        x = self.embeddings(batch.ids, batch.positions, batch.segments)
        count, context = len(x), self._context(batch, memory, x)
        if context.query is not None:
            asked = len(batch.targets[PREDICTED])
            x = torch.cat([x, self.dropout(self.blank.weight.expand(asked, -1)).to(x.dtype)])
        states = [x]
        for layer, index in enumerate(self.stack.order):
            seen = context if memory is None else replace(context, memory=memory.states[layer])
            states.append(self.stack.layer(index, states[-1], seen))
        states[-1] = self.stack.finish(states[-1])
        if context.query is None:
            return states, None
        return [s[:count] for s in states], [s[count:] for s in states]

    def remember(self, batch: Batch, memory: Memory | None = None) -> tuple[list[Tensor], Memory]:
        """States of the tokens' stream after what is remembered, and what to remember next.

        Args:
            batch: the next part of each text.
            memory: what was given back for the part before, of as many sequences.
        """
        states = self.streams(batch, memory)[0]
        lengths = batch.lengths
        before = (0,) * len(lengths) if memory is None else memory.lengths
        kept: list[tuple[Tensor, ...]] = []
        for layer, state in enumerate(states[:-1]):
            old = state[:0] if memory is None else memory.states[layer]
            parts = zip(
                torch.split(old, list(before)), torch.split(state, list(lengths)), strict=True
            )
            kept.append(tuple(self._kept(torch.cat([a, self._first(b)])) for a, b in parts))
        found = tuple(torch.cat(parts).detach() for parts in kept)
        return states, Memory(found, tuple(len(part) for part in kept[0]))

    def _first(self, state: Tensor) -> Tensor:
        return state[: self.reused] if self.reused else state

    def _kept(self, state: Tensor) -> Tensor:
        return state[-self.remembered :] if self.remembered else state

    def _context(self, batch: Batch, memory: Memory | None, like: Tensor) -> RelativeContext:
        before = () if memory is None else memory.lengths
        found: Mapping[str, Tensor] = batch.targets
        order, predicted = found.get(ORDER), found.get(PREDICTED)
        longest, farthest = max(batch.lengths), max(batch.lengths) + max(before, default=0)
        distances = torch.arange(farthest, -longest, -1, device=like.device)
        if self.clamp:
            distances = distances.clamp(-self.clamp, self.clamp)
        lay = partial(
            lay_out,
            batch.lengths,
            before,
            sight=self.sight,
            segments=batch.segments,
            order=order,
        )
        return RelativeContext(
            lengths=batch.lengths,
            positions=batch.positions,
            distances=self.dropout(waves(distances, like.shape[1], like.dtype)),
            content=lay(),
            query=None if predicted is None else lay(predicted=predicted),
        )
