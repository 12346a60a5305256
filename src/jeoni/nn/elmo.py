"""ELMo's parts: words from characters, a bidirectional LSTM with clipping, a mix of the layers.

Sources: Peters et al., "Deep contextualized word representations", NAACL 2018; Kim et al.,
"Character-aware neural language models", AAAI 2016; Jozefowicz et al., "Exploring the limits of language
modeling", 2016 (the sizes, and the LSTM with projection of Sak et al., Interspeech 2014).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from jeoni.nn.activations import ACTIVATIONS

START, END, WORD_START, WORD_END, PADDING = 257, 258, 259, 260, 261
"""Marks of sentences and words, and what fills a word up; bytes are 1 to 256, and 0 is nothing at all."""


def mark(number: int, length: int) -> list[int]:
    """The characters of a sentence's start or end, as of a word of one character."""
    return [WORD_START, number, WORD_END, *[PADDING] * (length - 3)]


class CharacterFilter(nn.Conv1d):
    """Filters of one width."""

    def draw_weights(self, std: float, generator: torch.Generator) -> None:
        """Normal, without a bias."""
        nn.init.normal_(self.weight, 0.0, std, generator=generator)
        assert self.bias is not None
        nn.init.zeros_(self.bias)


class Highway(nn.Module):
    """A gate passes on what a layer makes of its input, or the input (Srivastava et al., 2015)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.gate = nn.Linear(width, width, bias=False)
        # At first most of the input is passed on as it is.
        self.gate_bias = nn.Parameter(torch.full((width,), -2.0))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, F]`` to the same."""
        gate = torch.sigmoid(self.gate(x) + self.gate_bias)
        return gate * torch.relu(self.transform(x)) + (1 - gate) * x


class CharacterCNN(nn.Module):
    """A word's vector from its characters: filters, the maximum of each, highway layers, a projection.

    Source: Kim et al., section 2.1 and equations (2), (3) and (8).

    Args:
        characters: rows of the table; row 0 stands for nothing, and is zero.
        width: of a character.
        filters: (characters that they see, how many) each.
        activation: of the maxima (by name).
        highways: highway layers.
        hidden: width of the result.
    """

    def __init__(
        self,
        *,
        characters: int,
        width: int,
        filters: Sequence[tuple[int, int]],
        activation: str,
        highways: int,
        hidden: int,
    ) -> None:
        super().__init__()
        self.characters = nn.Embedding(characters, width)
        self.filters = nn.ModuleList(CharacterFilter(width, n, seen) for seen, n in filters)
        self.activation = ACTIVATIONS[activation]
        total = sum(n for _, n in filters)
        self.highways = nn.ModuleList(Highway(total) for _ in range(highways))
        self.project = nn.Linear(total, hidden)
        self.widest = max(seen for seen, _ in filters)

    def forward(self, ids: Tensor) -> Tensor:
        """``[n, W]`` to ``[n, H]``. Each distinct word is computed once."""
        every: Any = torch.unique  # which has no types
        words, places = every(ids.clamp(min=0), dim=0, return_inverse=True)
        ticks = torch.arange(1, words.shape[1] + 1, device=ids.device)
        ends = ((words != PADDING) * ticks).amax(1)
        # Where nothing but padding is left, every filter sees the same: one such place is enough.
        needed = (ends + self.widest).clamp(max=words.shape[1])
        steps = torch.where(needed <= 16, 16, torch.where(needed <= 24, 24, words.shape[1]))
        parts, rows = [], []
        for length in sorted(set(steps.tolist())):
            chosen = (steps == length).nonzero().flatten()
            parts.append(self._maxima(words[chosen][:, :length]))
            rows.append(chosen)
        x = torch.cat(parts)[torch.argsort(torch.cat(rows))]
        for highway in self.highways:
            x = highway(x)
        result: Tensor = self.project(x)
        return result.index_select(0, places)

    def _maxima(self, ids: Tensor) -> Tensor:
        x = self.characters(ids) * (ids > 0)[..., None]
        x = x.transpose(1, 2)
        return self.activation(torch.cat([own(x).amax(-1) for own in self.filters], -1))


@dataclass(frozen=True)
class Steps:
    """Sequences as a recurrent network reads them: the longest first, a step of all of them at a time.

    Attributes:
        tokens: row of what is read, step by step ``[n]``.
        back: for each row, its place among ``tokens`` ``[n]``.
        active: sequences that have not ended, at each step.
        order: the sequences, the longest first ``[B]``.
    """

    tokens: Tensor
    back: Tensor
    active: tuple[int, ...]
    order: Tensor


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def steps_of(lengths: tuple[int, ...], backward: bool, device: torch.device) -> Steps:
    """The steps of sequences laid end to end, from their first token on, or from their last."""
    sizes = torch.tensor(lengths)
    order = torch.argsort(sizes, descending=True, stable=True)
    starts = (sizes.cumsum(0) - sizes)[order]
    ticks = torch.arange(int(sizes.max()))[:, None]
    there = ticks < sizes[order]
    rows = starts + (sizes[order] - 1 - ticks if backward else ticks)
    tokens = rows[there]
    active = tuple(there.sum(1).tolist())
    return Steps(tokens.to(device), torch.argsort(tokens).to(device), active, order.to(device))


State = tuple[Tensor, Tensor]
"""What an LSTM carries on: its output ``[B, P]`` and its cells ``[B, C]``, of each sequence."""


class ProjectedLSTM(nn.Module):
    """An LSTM whose output is projected, with cells and output clipped, in one direction.

    Args:
        width: of the input and the output, ``P``.
        cells: ``C``.
        cell_clip: greatest value of a cell; 0: any.
        output_clip: greatest value of an output; 0: any.
        backward: reads from the last token to the first.
    """

    def __init__(
        self, *, width: int, cells: int, cell_clip: float, output_clip: float, backward: bool
    ) -> None:
        super().__init__()
        # Gates in the order input, forget, new, output.
        self.input = nn.Linear(width, 4 * cells, bias=False)
        self.recurrent = nn.Linear(width, 4 * cells, bias=False)
        bias = torch.zeros(4, cells)
        bias[1] = 1.0  # nothing is forgotten at first (Jozefowicz et al., ICML 2015)
        self.bias = nn.Parameter(bias.flatten())
        self.project = nn.Linear(cells, width, bias=False)
        self.cell_clip, self.output_clip, self.backward = cell_clip, output_clip, backward

    def forward(
        self, x: Tensor, lengths: tuple[int, ...], state: State | None = None
    ) -> tuple[Tensor, State]:
        """``[n, P]`` to ``[n, P]`` in float32, and what to carry on; ``state`` None: zeros."""
        steps = steps_of(lengths, self.backward, x.device)
        gates = self.input(x).index_select(0, steps.tokens).float() + self.bias
        # Converted once, where autocast would do it at every step.
        recurrent, project = (_in_use(m.weight) for m in (self.recurrent, self.project))
        if state is None:
            cells = gates.new_zeros(len(lengths), project.shape[1])
            output = gates.new_zeros(len(lengths), project.shape[0])
        else:
            output, cells = (part.float().index_select(0, steps.order) for part in state)
        outputs, ended = [], []
        for now, count in zip(gates.split(steps.active), steps.active, strict=True):
            if count < len(output):  # the shortest of those that are left
                ended.append((output[count:], cells[count:]))
                output, cells = output[:count], cells[:count]
            full = now + nn.functional.linear(output.to(recurrent.dtype), recurrent).float()
            enter, keep, new, leave = full.chunk(4, 1)
            cells = torch.sigmoid(enter) * torch.tanh(new) + torch.sigmoid(keep) * cells
            cells = _clipped(cells, self.cell_clip)
            shown = torch.sigmoid(leave) * torch.tanh(cells)
            output = nn.functional.linear(shown.to(project.dtype), project).float()
            output = _clipped(output, self.output_clip)
            outputs.append(output)
        ended.append((output, cells))
        last = [torch.cat(parts) for parts in zip(*ended[::-1], strict=True)]
        where = torch.argsort(steps.order)
        carried = (last[0].index_select(0, where), last[1].index_select(0, where))
        return torch.cat(outputs).index_select(0, steps.back), carried


def _in_use(weight: Tensor) -> Tensor:
    """A weight in the type that products are computed in."""
    kind = weight.device.type
    return weight.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else weight


def _clipped(x: Tensor, limit: float) -> Tensor:
    return x.clamp(-limit, limit) if limit else x


class BidirectionalLayer(nn.Module):
    """One layer of two LSTMs that know nothing of each other (Peters et al., section 3.1).

    Args:
        width: ``P``, of each direction.
        residual: the input is added to the output.
        cells, cell_clip, output_clip: see ``ProjectedLSTM``.
    """

    def __init__(
        self, *, width: int, cells: int, cell_clip: float, output_clip: float, residual: bool
    ) -> None:
        super().__init__()
        self.ahead, self.behind = (
            ProjectedLSTM(
                width=width,
                cells=cells,
                cell_clip=cell_clip,
                output_clip=output_clip,
                backward=backward,
            )
            for backward in (False, True)
        )
        self.residual = residual

    def forward(
        self, x: Tensor, lengths: tuple[int, ...], states: tuple[State, State] | None = None
    ) -> tuple[Tensor, tuple[State, State]]:
        """``[n, 2 P]``, one half for each direction, to the same; and what to carry on."""
        one, two = x.chunk(2, 1)
        out, first = self.ahead(one, lengths, None if states is None else states[0])
        back, second = self.behind(two, lengths, None if states is None else states[1])
        full = torch.cat([out, back], 1).to(x.dtype)
        return full + x if self.residual else full, (first, second)


class ScalarMix(nn.Module):
    """A weighted sum of layers, scaled: the weights are learned by each task (equation (1) of the paper).

    Args:
        layers: how many.
        norm: each layer is normalized first, token by token. (The authors' code normalizes over all tokens
            of a batch; then what a sequence gives would depend on its neighbors.)
    """

    def __init__(self, layers: int, *, norm: bool) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.scale = nn.Parameter(torch.ones(1))
        self.norm = norm

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """``L + 1`` of ``[N, H]`` to ``[N, H]``."""
        if self.norm:
            states = [nn.functional.layer_norm(s, s.shape[-1:], eps=1e-12) for s in states]
        shares = torch.softmax(self.weights, 0)
        total = sum(
            (w * s for w, s in zip(shares, states, strict=True)), torch.zeros_like(states[0])
        )
        return (self.scale * total).to(states[0].dtype)
