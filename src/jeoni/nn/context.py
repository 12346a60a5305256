"""What the blocks of a stack see beside the tokens that pass through them."""

from dataclasses import dataclass

from torch import Tensor

from jeoni.nn.cache import Cache


@dataclass(frozen=True, kw_only=True)
class Context:
    """The same for every block of a stack.

    Attributes:
        lengths: tokens of each sequence, summing to ``N``.
        positions: of each token in its own sequence, ``[N]``.
        bias: added to the attention scores of every sequence, ``[A, T, T]``; a sequence of ``t`` tokens
            takes the first ``t`` rows and columns (relative positions).
        memory: what a decoder attends to: the encoder's output, ``[M, H]``.
        memory_lengths: tokens of each sequence in ``memory``, as many sequences as ``lengths`` has.
        cache: keys and values of what was read before; None: everything is there at once.
        layer: which one is being computed (with a cache only).
    """

    lengths: tuple[int, ...]
    positions: Tensor | None = None
    bias: Tensor | None = None
    memory: Tensor | None = None
    memory_lengths: tuple[int, ...] = ()
    cache: Cache | None = None
    layer: int = 0
