"""The head of dialogue-state tracking: which value of each slot a dialogue has come to.

Source: Lee et al., "SUMBT", 2019, section 2 (a slot's name asks the dialogue by attention; what it finds is
matched with the slot's values; names and values start as what the pretrained model makes of them). Here the
match is a dot product, not a distance, and the values are trained further.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.data.dialogues import NONE, split
from jeoni.models.model import Model
from jeoni.nn.attention import CrossAttention
from jeoni.nn.context import Context
from jeoni.ops.dropout import Dropout

Values = Mapping[str, tuple[str, ...]]
"""The values of each slot (``domain-slot``), ``none`` first."""
ATTENTION_HEADS = 4
AT_ONCE = 256


class SlotHead(nn.Module):
    """Scores of the values of every slot.

    Args:
        hidden: ``H``.
        sizes: number of values of each slot, ``S`` numbers with the sum ``V``.
        dropout: probability.
        norm_eps: of the layer norm.
    """

    def __init__(
        self, hidden: int, sizes: Sequence[int], *, dropout: float, norm_eps: float
    ) -> None:
        super().__init__()
        self.sizes = list(sizes)
        heads = next(n for n in (ATTENTION_HEADS, 2, 1) if hidden % n == 0)
        self.slots = nn.Embedding(len(self.sizes), hidden)
        self.values = nn.Embedding(sum(self.sizes), hidden)
        self.attention = CrossAttention(hidden=hidden, heads=heads, dropout=dropout)
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(hidden, eps=norm_eps)

    def forward(self, hidden: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """``[N, H]`` to ``[B, V]``."""
        slots = self.slots.weight.repeat(len(lengths), 1)
        asked = (len(self.sizes),) * len(lengths)
        context = Context(lengths=asked, memory=hidden, memory_lengths=lengths)
        seen = self.norm(slots + self.dropout(self.attention(slots, context)))
        seen = seen.view(len(lengths), len(self.sizes), -1)
        values = torch.split(self.values.weight, self.sizes)
        scores = [seen[:, slot] @ rows.T for slot, rows in enumerate(values)]
        return torch.cat(scores, 1)

    def begin(self, slots: Tensor, values: Tensor) -> None:
        """Start from what names and values mean: ``[S, H]`` and ``[V, H]``."""
        for table, rows in ((self.slots, slots), (self.values, values)):
            # Of a pretrained model, what all vectors have in common is most of each of them.
            rows = rows - rows.mean(0)
            rows = rows / rows.norm(dim=-1, keepdim=True).clamp(min=1e-6)
            with torch.no_grad():
                table.weight.copy_(rows)


def by_slot(parts: Iterable[str]) -> Values:
    """The values of each slot among ``domain-slot-value``."""
    found: dict[str, list[str]] = {}
    for part in parts:
        slot, value = split(part, "task.values")
        found.setdefault(slot, []).append(value)
    return {slot: tuple(dict.fromkeys((NONE, *values))) for slot, values in found.items()}


def meanings(model: Model, texts: Sequence[str]) -> Tensor:
    """The mean of what heads read of each text, ``[n, H]``."""
    sequences = model.tokenizer.encode_ids(texts)
    rows, training = [], model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(texts), AT_ONCE):
            ids, segments = zip(*sequences[start : start + AT_ONCE], strict=True)
            batch = Batch.pack(ids, segments).to(model.device)
            rows += [
                part.float().mean(0) for part in torch.split(model(batch), list(batch.lengths))
            ]
    model.train(training)
    return torch.stack(rows)
