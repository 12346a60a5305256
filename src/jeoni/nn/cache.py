"""Keys and values of what a decoder has read, so that the next token costs one row of work.

Sequences end in the same column, however long they are; what is left of a shorter one is masked. So the
keys of the next tokens are written with one copy, a window is the same columns for all of them, and the
distance to a key is the same for all of them, too. (Prompts themselves are read packed, without padding.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class LayerCache:
    """Of one layer.

    Attributes:
        keys, values: ``[R, A, room, D]`` for ``R`` sequences that are written; None before the first.
        memory: keys and values of the encoder's output, ``[2, B, A, M, D]``, and a mask ``[B, 1, 1, M]``
            that is True at tokens (None: all are).
    """

    keys: Tensor | None = None
    values: Tensor | None = None
    memory: tuple[Tensor, Tensor | None] | None = None


def as_kept(values: Tensor) -> Tensor:
    """In float32 on a CPU: one query takes its kernels several times as long in bfloat16."""
    return values.float() if values.device.type == "cpu" and values.element_size() < 4 else values


class Cache:
    """Keys and values of every layer. A stack reads the prompts with it, then one token a sequence.

    Args:
        layers: of the stack.
        room: tokens of the longest sequence that will be written, with its prompt.

    Attributes:
        columns: filled so far, with what is being read.
        reading: whether prompts are being read, and not single tokens.
        prompt: columns of the longest prompt.
        firsts: the column in which each sequence begins.
    """

    def __init__(self, *, layers: int, room: int) -> None:
        self.layers = [LayerCache() for _ in range(layers)]
        self.room = room
        self.columns = 0
        self.reading = False
        self.prompt = 0
        self.firsts: list[int] = []
        self._unseen: Tensor | None = None

    def advance(self, lengths: tuple[int, ...]) -> None:
        """Before a pass: prompts of these lengths at first, then one token a sequence."""
        self.reading = self.columns == 0
        if self.reading:
            self.columns = self.prompt = max(lengths)
            self.firsts = [self.prompt - length for length in lengths]
        else:
            self.columns += 1
        if self.columns > self.room or (not self.reading and set(lengths) != {1}):
            raise ValueError(f"no room for {self.columns} tokens, or more than one a sequence")

    def store(self, layer: int, keyvalue: Tensor) -> None:
        """Keep the keys and values of the prompts, ``[N, 2, A, D]``."""
        own, (_, _, heads, size) = self.layers[layer], keyvalue.shape
        keyvalue = as_kept(keyvalue)
        own.keys, own.values = (
            keyvalue.new_empty(len(self.firsts), heads, self.room, size) for _ in range(2)
        )
        lengths = [self.prompt - first for first in self.firsts]
        for number, part in enumerate(torch.split(keyvalue, list(lengths))):
            first = self.firsts[number]
            for target, values in zip((own.keys, own.values), part.unbind(1), strict=True):
                target[number, :, :first] = 0  # masked, but must be numbers
                target[number, :, first : self.columns] = values.transpose(0, 1)

    def append(self, layer: int, keyvalue: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of the next tokens, ``[R, 2, A, D]``; all so far, ``[R, A, columns, D]`` each."""
        own = self.layers[layer]
        assert own.keys is not None
        assert own.values is not None
        own.keys[:, :, self.columns - 1] = keyvalue[:, 0]
        own.values[:, :, self.columns - 1] = keyvalue[:, 1]
        return own.keys[:, :, : self.columns], own.values[:, :, : self.columns]

    def unseen(self, like: Tensor) -> Tensor | None:
        """-inf left of a sequence's first token, else 0, ``[R, 1, 1, columns]``; None: nothing is."""
        if not any(self.firsts):
            return None
        if self._unseen is None:
            left = torch.arange(self.room) < torch.tensor(self.firsts)[:, None]
            mask = torch.zeros(left.shape).masked_fill(left, float("-inf"))
            self._unseen = mask[:, None, None].to(like)
        return self._unseen[..., : self.columns]

    def remember(self, layer: int, keyvalue: Tensor, lengths: tuple[int, ...]) -> None:
        """Keep keys and values of the encoder's output, ``[M, 2, A, D]``, for good."""
        pair = nn.utils.rnn.pad_sequence(
            list(torch.split(as_kept(keyvalue), list(lengths))), batch_first=True
        )
        mask = None
        if min(lengths) < max(lengths):
            counts = torch.tensor(lengths, device=pair.device)
            mask = torch.arange(max(lengths), device=pair.device) < counts[:, None]
            mask = mask[:, None, None]
        self.layers[layer].memory = (pair.permute(2, 0, 3, 1, 4).contiguous(), mask)

    def recall(self, layer: int) -> tuple[Tensor, Tensor | None]:
        """What ``remember`` kept: ``[2, B, A, M, D]``, and True at tokens, ``[B, 1, 1, M]``."""
        memory = self.layers[layer].memory
        assert memory is not None
        return memory

    def repeat(self, times: int) -> None:
        """Every sequence so often, side by side (beams); what the encoder read stays once."""
        for own in self.layers:
            own.keys, own.values = (self._repeated(t, times) for t in (own.keys, own.values))
        self.firsts = [first for first in self.firsts for _ in range(times)]
        self._unseen = None

    def reorder(self, rows: Tensor) -> None:
        """Sequence ``rows[r]`` becomes sequence ``r``; both have the same prompt, which stays."""
        for own in self.layers:
            for kept in (own.keys, own.values):
                assert kept is not None
                part = kept[:, :, self.prompt : self.columns]
                part.copy_(part.index_select(0, rows))

    def select(self, rows: Sequence[int], prompts: Sequence[int]) -> None:
        """Go on with these sequences, and what the encoder read for these prompts, only."""
        for own in self.layers:
            for name in ("keys", "values"):
                kept = getattr(own, name)
                setattr(own, name, kept.index_select(0, torch.tensor(rows, device=kept.device)))
            if own.memory is not None:
                pair, mask = own.memory
                chosen = torch.tensor(prompts, device=pair.device)
                mask = None if mask is None else mask.index_select(0, chosen)
                own.memory = (pair.index_select(1, chosen), mask)
        self.firsts = [self.firsts[row] for row in rows]
        self._unseen = None

    def _repeated(self, kept: Tensor | None, times: int) -> Tensor:
        assert kept is not None
        new = kept.new_empty(kept.shape[0] * times, *kept.shape[1:])
        used = kept[:, :, : self.columns]
        new[:, :, : self.columns] = used.repeat_interleave(times, 0)
        return new
