"""What a decoder reads and is asked for, from the ids that it should write."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch, Loss

NO_TARGET = -100


def shift_right(ids: Tensor, lengths: Sequence[int], start: int) -> Batch:
    """A decoder's input: each sequence moved on by one place, its last id dropped, ``start`` first.

    So the state at a place is the one that writes the id that was there (Raffel et al., 2020, section
    2.1; Lewis et al., "BART", 2020, section 2).

    Args:
        ids: what is to be written, sequences end to end, ``[N]``.
        lengths: tokens of each sequence.
        start: what a decoder reads first (``ArchSpec.decoder_start``).
    """
    counts = torch.tensor(lengths, device=ids.device)
    first = counts.cumsum(0) - counts
    shifted = ids.roll(1).index_fill(0, first, start)
    return Batch(
        ids=shifted,
        segments=torch.zeros_like(shifted),
        positions=torch.arange(len(ids), device=ids.device) - first.repeat_interleave(counts),
        lengths=tuple(lengths),
    )


def language_model_loss(head: nn.Module, hidden: Tensor, words: Tensor, targets: Tensor) -> Loss:
    """Cross-entropy of what is to be written; vocabulary logits only where there is a target.

    Accuracy costs a pass over the logits: it is there when the head does not train.

    Args:
        head: a ``LanguageModelHead``, or any other with ``loss``.
        hidden: states, ``[N, H]``.
        words: the word table.
        targets: the id to be written at each place, ``[N]``; ``NO_TARGET`` where there is none.
    """
    there = (targets != NO_TARGET).nonzero().flatten()
    wanted = targets[there]
    own: Any = head
    total, best = own.loss(hidden[there], words, wanted, "none" if head.training else "best")
    count = float(len(wanted))
    if head.training:
        return Loss(total, count)
    return Loss(total, count, {"accuracy": (float((best == wanted).sum()), count)})
