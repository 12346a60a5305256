"""A model whose matrices lie in memory as writing wants them, while it writes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from jeoni.models.lines import HEAD
from jeoni.models.model import Model
from jeoni.nn.heads import LanguageModelHead
from jeoni.ops.packed import product

WORTH = 16
"""Tokens from which the copies pay: they take about as long as a few tokens do."""


class Packed:
    """Copies of what every token is multiplied with: decoder blocks and vocabulary.

    Args:
        model: is not changed.
        rows: texts that are written at once.
        tokens: that may be written; for fewer than ``WORTH`` there are no copies.
    """

    def __init__(self, model: Model, rows: int, tokens: int) -> None:
        self._rows = rows
        self._copied: tuple[object, ...] = ()
        self._forwards: dict[nn.Module, Callable[..., Any]] = {}
        self._weights: dict[Any, Tensor] = {}
        if tokens < WORTH:
            return
        body = model.backbone.decoder if model.spec.decoder_layers else model.backbone
        for name, part in body.stack.named_modules():
            if type(part) is nn.Linear and not name.endswith("cross.kv"):  # read once
                self._weights[part] = part.weight
        head, words = model.heads[HEAD], model.backbone.embeddings.words
        if type(head) is LanguageModelHead:
            self._weights[head] = (words if head.out is None else head.out).weight

    @contextmanager
    def used(self) -> Iterator[None]:
        """Compute with copies, in autocast's type; they are made anew if weights were trained meanwhile."""
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        wanted = (kind, *(weight._version for weight in self._weights.values()))
        if wanted != self._copied:
            self._copied, self._forwards = wanted, {}
            for part, weight in self._weights.items():
                self._copy(part, weight.detach(), kind or weight.dtype)
        for part, forward in self._forwards.items():
            part.__dict__["forward"] = forward
        try:
            yield
        finally:
            for part in self._forwards:
                del part.__dict__["forward"]

    def _copy(self, part: Any, weight: Tensor, kind: torch.dtype) -> None:
        bias = None if part.bias is None else part.bias.to(kind)
        made = product(weight.to(kind), bias, self._rows)
        if made is not None and isinstance(part, LanguageModelHead):
            self._forwards[part] = lambda x, _: made((x * part.scale).to(kind))
        elif made is not None:
            self._forwards[part] = lambda x: made(x.to(kind))
