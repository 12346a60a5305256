"""Attention whose scores depend on the distance of query and key, over packed sequences.

Which query sees which key is laid out once for a forward pass (``lay_out``), and used by every layer
(``attend_relative``). Queries are the tokens themselves, or some of them asked anew (``predicted``):
XLNet's second stream. Keys are the tokens, and what is remembered of the text before them.

Sources: Dai et al., "Transformer-XL", ACL 2019, section 3.3 and appendix B (the shift); Yang et al.,
"XLNet", NeurIPS 2019, sections 2.3 and 2.5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from jeoni.ops.attention import GROUP_SCORES, rounded


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Which keys are seen, beside the order.

    Attributes:
        causal: a token sees itself and those before it.
        same_length: with ``causal``: no farther back than as many tokens as are remembered.
    """

    causal: bool = False
    same_length: bool = False


@dataclass(frozen=True)
class Part:
    """Sequences that are attended as one padded batch: ``b`` of them, ``R`` queries, ``S`` keys.

    Attributes:
        queries: row of each query ``[b, R]``; padding repeats a row.
        asked: the places in ``b * R`` that hold a query ``[n]``.
        keys: row of each key ``[b, S]``, what is remembered first.
        first: row of the table of distances that goes with the first query and a key before all.
        columns: rows of that table that matter here.
        shift: how far row by row the distances move; None: ``places`` tells.
        places: row of ``columns`` for each query and key ``[b, R, S]``.
        unseen: keys that a query does not see ``[b, R, S]``; None: it sees all.
        blind: queries that see nothing ``[b, R]``; None: there are none.
        other: keys of another segment than the query's ``[b, R, S]``; None: there are none.
    """

    queries: Tensor
    asked: Tensor
    keys: Tensor
    first: int
    columns: int
    shift: int | None
    places: Tensor | None
    unseen: Tensor | None
    blind: Tensor | None
    other: Tensor | None


@dataclass(frozen=True)
class Layout:
    """All parts of a batch.

    Attributes:
        parts: in which every query is once.
        back: for each query, where it is among the ``asked`` of all parts ``[n]``.
    """

    parts: tuple[Part, ...]
    back: Tensor


@dataclass(frozen=True)
class _Text:
    """What ``lay_out`` is given."""

    lengths: tuple[int, ...]
    memory: tuple[int, ...]
    sight: Sight
    segments: Tensor
    order: Tensor | None

    @property
    def farthest(self) -> int:
        """The first row of the table of distances."""
        return max(self.lengths) + max(self.memory)


def lay_out(
    lengths: tuple[int, ...],
    memory_lengths: tuple[int, ...] = (),
    *,
    sight: Sight,
    segments: Tensor,
    order: Tensor | None = None,
    predicted: Tensor | None = None,
) -> Layout:
    """Who sees whom.

    Args:
        lengths: tokens of each sequence, summing to ``N``.
        memory_lengths: tokens remembered before each; their rows precede the ``N`` rows of the tokens.
        sight: see there.
        segments: of each token ``[N]``; what is remembered is of segment 0.
        order: rank of each token in the order of factorization ``[N]``; a token sees those of its own rank
            and of lower ones. None: it sees all.
        predicted: tokens ``[M]`` that are asked instead of all ``N``. They see lower ranks only (without
            an order: all but themselves), and neither what a causal model would not see.

    Raises:
        ValueError: other numbers of sequences, or a predicted token that is not there.
    """
    if memory_lengths and len(memory_lengths) != len(lengths):
        raise ValueError(f"{len(lengths)} sequences and {len(memory_lengths)} that are remembered")
    memory = memory_lengths or (0,) * len(lengths)
    text = _Text(lengths, memory, sight, segments, order)
    asked = None if predicted is None else _by_sequence(predicted, lengths)
    found = [
        _part(text, members, None if asked is None else [asked[i] for i in members])
        for members in _groups(lengths, max(memory), segments.device.type == "cpu")
        if asked is None or any(asked[i] for i in members)
    ]
    rows = torch.cat([own for _, own in found]) if found else segments.new_zeros(0)
    return Layout(tuple(part for part, _ in found), torch.argsort(rows))


@lru_cache(maxsize=256)
def _groups(lengths: tuple[int, ...], remembered: int, on_cpu: bool) -> tuple[tuple[int, ...], ...]:
    """Sequences of equal rounded length; on a CPU, no more than stay in the cache."""
    buckets: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        buckets.setdefault(rounded(length), []).append(i)
    groups = []
    for top, members in buckets.items():
        size = max(1, GROUP_SCORES // (top * (top + remembered))) if on_cpu else len(members)
        groups += [tuple(members[n : n + size]) for n in range(0, len(members), size)]
    return tuple(groups)


_Asked = list[tuple[int, int]]
"""Of each query of a sequence: its row, and its place in the sequence."""


def _by_sequence(predicted: Tensor, lengths: tuple[int, ...]) -> list[_Asked]:
    found: list[_Asked] = [[] for _ in lengths]
    starts, ends = _starts(lengths), torch.tensor(lengths).cumsum(0)
    tokens = predicted.cpu()
    if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < int(ends[-1]):
        raise ValueError(f"predicted tokens must be in 0..{int(ends[-1]) - 1}")
    owners = torch.bucketize(tokens, ends, right=True).tolist()
    for row, (token, owner) in enumerate(zip(tokens.tolist(), owners, strict=True)):
        found[owner].append((row, token - starts[owner]))
    return found


def _starts(lengths: Sequence[int]) -> list[int]:
    starts = [0]
    for length in lengths[:-1]:
        starts.append(starts[-1] + length)
    return starts


def _part(text: _Text, members: Sequence[int], asked: list[_Asked] | None) -> tuple[Part, Tensor]:
    """One part, and the rows of its queries."""

    def column(values: Sequence[int]) -> Tensor:
        return torch.tensor([values[i] for i in members], device=text.segments.device)[:, None]

    lengths, starts = column(text.lengths), column(_starts(text.lengths))
    longest, before = int(lengths.max()), max(text.memory[i] for i in members)
    if asked is None:
        at = torch.arange(longest, device=lengths.device).expand(len(members), -1)
        real, rows = at < lengths, starts + torch.minimum(at, lengths - 1)
    else:
        rows, at, real = _padded(asked, lengths.device)
    tokens = starts + torch.minimum(at, lengths - 1)
    ticks = torch.arange(
        -before, longest, device=lengths.device
    )  # memory ends where the text begins
    memory = column(text.memory)
    there = (ticks >= -memory) & (ticks < lengths)
    new = sum(text.memory) + starts + torch.minimum(ticks, lengths - 1)
    old = column(_starts(text.memory)) + memory + ticks
    keys = torch.where(ticks >= 0, new, old) * there  # the first row stands for what is not there
    unseen = ~there[:, None] | _unseen(text, at[..., None] - ticks, tokens, keys, memory, asked)
    blind = unseen.all(-1) & real
    other = text.segments[tokens][..., None] != _of_keys(text, text.segments, keys, 0)[:, None]
    part = Part(
        queries=rows,
        asked=real.flatten().nonzero().flatten(),
        keys=keys,
        first=text.farthest - before - longest,
        columns=before + 2 * longest,
        shift=longest if asked is None else None,
        places=None if asked is None else longest - at[..., None] + ticks + before,
        unseen=_if_any(unseen),
        blind=_if_any(blind),
        other=_if_any(other & ~unseen),
    )
    return part, rows[real]


def _padded(asked: list[_Asked], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and places of the queries ``[b, R]``, and which are there."""
    most = max(len(entry) for entry in asked)
    full = torch.tensor([entry + [(0, 0)] * (most - len(entry)) for entry in asked], device=device)
    counts = torch.tensor([len(entry) for entry in asked], device=device)
    return full[..., 0], full[..., 1], torch.arange(most, device=device) < counts[:, None]


def _unseen(
    text: _Text, distance: Tensor, tokens: Tensor, keys: Tensor, memory: Tensor, asked: object
) -> Tensor:
    """Keys that a query does not see, of those that are there: ``[b, R, S]``."""
    unseen = torch.zeros_like(distance, dtype=torch.bool)
    if text.sight.causal:
        unseen = distance < 0
        if text.sight.same_length:
            unseen = unseen | (distance > memory[..., None])
    if text.order is not None:
        own = text.order[tokens][..., None]
        ranks = _of_keys(text, text.order, keys, int(text.order.min()) - 1)[:, None]
        return unseen | (ranks > own if asked is None else ranks >= own)
    return unseen if asked is None else unseen | (distance == 0)


def _of_keys(text: _Text, values: Tensor, keys: Tensor, remembered: int) -> Tensor:
    """A token's value for each key; one value for all that is remembered."""
    old = values.new_full((sum(text.memory),), remembered)
    return torch.cat([old, values])[keys]


def _if_any(mask: Tensor) -> Tensor | None:
    return mask if bool(mask.any()) else None


def attend_relative(
    content: Tensor,
    place: Tensor,
    segment: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor,
    layout: Layout,
    *,
    scale: float,
    dropout: Callable[[Tensor], Tensor],
) -> Tensor:
    """Attention with scores from content, distance and segment.

    Args:
        content: queries as they meet keys, ``[n, A, D]``.
        place: queries as they meet distances, ``[n, A, D]``.
        segment: what a key of another segment adds for each query, ``[n, A]``.
        key: ``[K, A, D]``: what is remembered, then the tokens.
        value: ``[K, A, D]``.
        table: of distances, ``[P, A, D]``, from the farthest before to the farthest behind.
        layout: see ``lay_out``.
        scale: of the scores.
        dropout: of the attention weights.

    Returns:
        ``[n, A * D]``; zeros for a query that sees nothing.
    """
    outputs = []
    rows = table.transpose(0, 1)  # [A, P, D]
    for part in layout.parts:
        scores = _by_heads(content, part.queries) @ _by_heads(key, part.keys).transpose(-1, -2)
        near = rows[:, part.first : part.first + part.columns]
        scores = scores + _by_distance(_by_heads(place, part.queries), near, part, scores)
        if part.other is not None:
            added = segment[part.queries].permute(2, 0, 1)[..., None]  # [A, b, R, 1]
            scores = scores + added * part.other
        scores = scores * scale
        if part.unseen is not None:
            scores = scores.masked_fill(part.unseen, torch.finfo(scores.dtype).min / 2)
        weights = torch.softmax(scores, -1)
        if part.blind is not None:
            weights = weights.masked_fill(part.blind[..., None], 0.0)
        out = dropout(weights).to(value.dtype) @ _by_heads(value, part.keys)  # [A, b, R, D]
        flat = out.permute(1, 2, 0, 3).flatten(0, 1).flatten(1)
        outputs.append(flat.index_select(0, part.asked))
    if not outputs:
        return content.flatten(1)
    return torch.cat(outputs).index_select(0, layout.back)


def _by_heads(values: Tensor, rows: Tensor) -> Tensor:
    """``[n, A, D]`` and rows ``[b, R]`` to ``[A, b, R, D]``."""
    chosen = values.index_select(0, rows.flatten())
    return chosen.view(*rows.shape, *values.shape[1:]).permute(2, 0, 1, 3)


def _by_distance(query: Tensor, table: Tensor, part: Part, scores: Tensor) -> Tensor:
    """Scores of the distances, ``[A, b, R, S]``.

    Every query is multiplied with every distance once; that of query ``i`` and key ``j`` is then ``i`` to
    the left of column ``j`` (appendix B of Transformer-XL), which is a matter of strides.
    """
    heads, batch, width, size = query.shape
    every = (query.reshape(heads, -1, size) @ table.transpose(1, 2)).to(scores.dtype)
    columns = every.shape[-1]
    if part.shift is None:
        assert part.places is not None
        full = every.view(heads, batch, width, columns)
        return full.gather(-1, part.places.expand(heads, -1, -1, -1))
    steps = (batch * width * columns, width * columns, columns - 1, 1)
    return every.contiguous().as_strided(scores.shape, steps, part.shift)
