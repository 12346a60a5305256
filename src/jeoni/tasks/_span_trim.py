"""Answers that end inside a token: how many of its characters they leave off.

Korean particles stay on the last piece of a word, and annotated answers leave them off: with a WordPiece
vocabulary, every fourth answer of wiki-ko-qa ends inside a token. A span of tokens alone cannot say so.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from jeoni.base.batch import Batch
from jeoni.models.model import Model
from jeoni.tasks._span_types import Window

TRIM = "trim"
"""The head's key, and that of the targets."""


class Trim:
    """A linear layer on the last token of an answer.

    Args:
        model: gets the head, where the checkpoint has none.
        longest: characters that may be left off, at most.
        seed: draws a fresh head.
    """

    def __init__(self, model: Model, longest: int, *, seed: int) -> None:
        self.model, self.longest = model, longest
        head = getattr(model.heads, TRIM, None)
        if not isinstance(head, nn.Linear) or head.out_features != 1 + longest:
            model.add_head(TRIM, nn.Linear(model.state_size, 1 + longest), seed=seed)

    def beside(self, rows: Tensor, hidden: Tensor) -> Tensor:
        """``rows [N, C]`` and, behind them, scores of leaving off 0, 1, ... characters of each token."""
        return torch.cat([rows, self.model.heads[TRIM](hidden)], -1)

    def parts(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The way back: ``[N, C]`` and ``[N, 1 + longest]``."""
        columns = 1 + self.longest
        return logits[:, :-columns], logits[:, -columns:]

    def targets(self, beyond: Sequence[int]) -> dict[str, Sequence[int]]:
        """Of characters of the last tokens that are behind the answers."""
        return {TRIM: [min(count, self.longest) for count in beyond]}

    def loss(self, scores: Tensor, batch: Batch, ends: Tensor) -> Tensor:
        """Cross-entropies at the last tokens (rows ``ends``), added up over the windows with an answer."""
        left_off = batch.targets[TRIM].masked_fill(batch.targets["end"] == 0, -100)
        return cross_entropy(scores[ends].float(), left_off, reduction="sum")

    def windows(self, scores: Tensor, batch: Batch, windows: Sequence[Window]) -> list[Window]:
        """The windows with tokens that end where an answer would, if it ended there."""
        cuts = np.split(scores.argmax(-1).cpu().numpy(), np.cumsum(batch.lengths)[:-1])
        return [
            window.trimmed(cut[window.first : window.first + len(window.offsets)])
            for window, cut in zip(windows, cuts, strict=True)
        ]
