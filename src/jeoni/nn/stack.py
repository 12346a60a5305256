"""The stack of blocks."""

from collections.abc import Sequence

from torch import Tensor, nn

from jeoni.nn.block import Block


class Stack(nn.Module):
    """Blocks one after the other; a last norm where the blocks normalize their input only."""

    def __init__(self, blocks: Sequence[Block], *, final_norm: nn.LayerNorm | None = None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = final_norm

    def forward(self, x: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """``[N, H]`` to ``[N, H]``."""
        for block in self.blocks:
            x = block(x, lengths)
        return x if self.final_norm is None else self.final_norm(x)

    def states(self, x: Tensor, lengths: tuple[int, ...]) -> list[Tensor]:
        """The input and the output of every block, ``L + 1`` of ``[N, H]``; the last is normalized."""
        states = [x]
        for block in self.blocks:
            states.append(block(states[-1], lengths))
        if self.final_norm is not None:
            states[-1] = self.final_norm(states[-1])
        return states
