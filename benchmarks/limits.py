"""How fast a step could be: the operations it needs, and the machine's matrix-multiply rate."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jeoni.base import limits, runtime
from jeoni.base.files import read_json


@dataclass(frozen=True)
class Shape:
    """Sizes of a transformer encoder, and the operations that its real tokens need.

    Per token forward: 2 operations a weight of the ``L`` blocks (embeddings and head left out) and
    ``4 L H T`` for attention's two products in a sequence of ``T`` tokens; backward twice that. So
    ``6 P + 12 L H T`` a token in training, ``2 P + 4 L H T`` in prediction, ``P = L (4 H² + 2 H I)``.
    Padding is not counted: it is work that nobody needs.
    """

    layers: int
    hidden: int
    intermediate: int

    @classmethod
    def read(cls, model: str) -> "Shape":
        """The sizes in a checkpoint folder's ``config.json``."""
        config = read_json(Path(model) / "config.json")
        return cls(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])

    @property
    def block_weights(self) -> int:
        """Weights of all blocks, ``P``."""
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.intermediate)

    def predict_flops(self, lengths: Sequence[int]) -> float:
        """Operations of a forward pass, mean over sequences of ``lengths`` tokens."""
        attention = 4 * self.layers * self.hidden
        return statistics.fmean(2 * self.block_weights * t + attention * t * t for t in lengths)

    def train_flops(self, lengths: Sequence[int]) -> float:
        """Operations of forward and backward passes, mean over sequences of ``lengths`` tokens."""
        return 3 * self.predict_flops(lengths)


def matmul_rate(
    shape: Shape, tokens: int, threads: int, precision: str, seconds: float = 2.0
) -> float:
    """Operations a second of the matrix products in a training step, and nothing else.

    The products of a block's linear layers, forward and backward (by the input, by the weight), for
    ``tokens`` tokens: each at the median of its repeats. No transformer of these sizes can train
    faster on this machine with this library.
    """
    with runtime.threads(threads):
        return limits.matmul_rate(
            tokens, shape.hidden, shape.intermediate, precision=precision, seconds=seconds
        )
