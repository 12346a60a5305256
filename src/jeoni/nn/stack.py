"""The stack of blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jeoni.nn.context import Context
from jeoni.nn.positions import RelativeBias
from jeoni.ops.dropout import Dropout


def blocks(module: nn.Module) -> list[nn.Module]:
    """The blocks of every stack in a module."""
    stacks = [part for part in module.modules() if isinstance(part, Stack)]
    return [block for stack in stacks for block in stack.blocks]


class Stack(nn.Module):
    """Blocks one after the other; a last norm where the blocks normalize their input only.

    Args:
        blocks: the distinct ones.
        order: index of the block that each layer is; None: each block is one layer (Lan et al.,
            "ALBERT", 2020, section 3.1, shares them).
        final_norm: on the output.
        bias: relative positions, one table for all layers (T5).
        dropout: probability, on the normalized output (T5).

    Attributes:
        recompute: whether a block's inner values are computed again for the backward pass instead of kept:
            a third more operations, memory for one block (Chen et al., "Training deep nets with sublinear
            memory cost", 2016).
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        *,
        order: Sequence[int] | None = None,
        final_norm: nn.Module | None = None,
        bias: RelativeBias | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.order = tuple(range(len(blocks)) if order is None else order)
        self.final_norm = final_norm
        self.bias = bias
        self.dropout = Dropout(dropout) if dropout else None
        self.recompute = False

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """``[N, H]`` to ``[N, H]``."""
        for index, seen in self._layers(context):
            x = self.layer(index, x, seen)
        return self.finish(x)

    def states(self, x: Tensor, context: Context) -> list[Tensor]:
        """The input and the output of every layer, ``L + 1`` of ``[N, H]``; the last is normalized."""
        states = [x]
        for index, seen in self._layers(context):
            states.append(self.layer(index, states[-1], seen))
        states[-1] = self.finish(states[-1])
        return states

    def layer(self, index: int, x: Tensor, seen: Context) -> Tensor:
        """One block's output."""
        block = self.blocks[index]
        if self.recompute and self.training and torch.is_grad_enabled():
            result: Tensor = checkpoint(block, x, seen, use_reentrant=False)
        else:
            result = block(x, seen)
        return result

    def _layers(self, context: Context) -> Iterator[tuple[int, Context]]:
        """The block of each layer, and what it sees."""
        cache = context.cache
        if self.bias is not None:
            step = None if cache is None or cache.reading else cache.columns
            bias = self.bias(max(context.lengths)) if step is None else self.bias.last(step)
            context = replace(context, bias=bias)
        for layer, index in enumerate(self.order):
            yield index, context if cache is None else replace(context, layer=layer)

    def finish(self, x: Tensor) -> Tensor:
        """What comes after the last block: norm and dropout, where there are any."""
        if self.final_norm is not None:
            x = self.final_norm(x)
        return x if self.dropout is None else self.dropout(x)
