"""ELMo's sizes and its backbone (Peters et al., 2018, section 3)."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.models.spec import ArchSpec
from jeoni.nn.elmo import (
    END,
    START,
    BidirectionalLayer,
    CharacterCNN,
    ScalarMix,
    State,
    mark,
)
from jeoni.ops.dropout import Dropout

FILTERS = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))


@dataclass(frozen=True, kw_only=True)
class ElmoSpec(ArchSpec):
    """The family's own numbers. ``hidden`` is of both directions, ``feed_forward`` the cells of one.

    Attributes:
        filters: (characters that they see, how many) each.
        highways: highway layers.
        cell_clip: greatest value of a cell; 0: any.
        output_clip: greatest value of an LSTM's projected output; 0: any.
        residual: from the second LSTM on, a layer's input is added to its output.
        mix_norm: layers are normalized before they are summed.
    """

    filters: tuple[tuple[int, int], ...] = FILTERS
    highways: int = 0
    cell_clip: float = 3.0
    output_clip: float = 3.0
    residual: bool = True
    mix_norm: bool = False
    characters: int = 50


@dataclass(frozen=True)
class Carried:
    """What the LSTMs carry from one batch on to the next, of as many sequences: a pair for each layer."""

    layers: tuple[tuple[State, State], ...]


class _Layers(nn.Module):
    """The LSTMs."""

    def __init__(self, blocks: list[BidirectionalLayer]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)


class Elmo(nn.Module):
    """Characters to contextual vectors.

    The marks of a sentence's start and end are put around every sequence here, and left out of the result.

    Args:
        spec: sizes.
    """

    def __init__(self, spec: ElmoSpec) -> None:
        super().__init__()
        half = spec.hidden // 2
        self.length = spec.characters
        self.embeddings = CharacterCNN(
            characters=spec.vocab,
            width=spec.width,
            filters=spec.filters,
            activation=spec.activation,
            highways=spec.highways,
            hidden=half,
        )
        self.stack = _Layers(
            [
                BidirectionalLayer(
                    width=half,
                    cells=spec.feed_forward,
                    cell_clip=spec.cell_clip,
                    output_clip=spec.output_clip,
                    residual=spec.residual and i > 0,
                )
                for i in range(spec.layers)
            ]
        )
        self.mix = ScalarMix(spec.layers + 1, norm=spec.mix_norm)
        self.dropout = Dropout(spec.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """The mix of the layers, ``[N, H]``."""
        result: Tensor = self.dropout(self.mix(self.states(batch)))
        return result

    def states(self, batch: Batch) -> list[Tensor]:
        """The characters' vectors twice side by side, and every layer's output: ``L + 1`` of ``[N, H]``."""
        return self.carry(batch)[0]

    def carry(self, batch: Batch, carried: Carried | None = None) -> tuple[list[Tensor], Carried]:
        """States, read on from where the batch before ended; and what to give with the next.

        Args:
            batch: ``ids [N, W]``, rows of characters.
            carried: what was given back for the batch before; None: each sequence begins anew.
        """
        ids, words = self._marked(batch)
        lengths = tuple(n + 2 for n in batch.lengths)
        x = self.embeddings(ids)
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        states = [torch.cat([x, x], 1)]
        ends = []
        for i, block in enumerate(self.stack.blocks):
            before = None if carried is None else carried.layers[i]
            state, end = block(states[-1], lengths, before)
            states.append(state)
            ends.append(tuple((h.detach(), c.detach()) for h, c in end))
        found = Carried(cast(tuple[tuple[State, State], ...], tuple(ends)))
        return [state.index_select(0, words) for state in states], found

    def _marked(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Rows with a mark before and behind each sequence, and which of them are words."""
        device = batch.ids.device
        counts = torch.tensor(batch.lengths, device=device)
        owners = torch.repeat_interleave(torch.arange(len(counts), device=device), counts)
        words = torch.arange(len(owners), device=device) + 2 * owners + 1
        ends = (counts + 2).cumsum(0) - 1
        rows = batch.ids.new_empty(len(words) + 2 * len(counts), batch.ids.shape[1])
        width = rows.shape[1]
        rows[words] = batch.ids
        rows[ends] = torch.tensor(mark(END, width), device=device)
        rows[ends - counts - 1] = torch.tensor(mark(START, width), device=device)
        return rows, words
