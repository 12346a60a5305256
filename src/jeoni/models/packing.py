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
        self._rows, self._copied = rows, [-1]
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
        """The model computes with the copies; they are made anew if weights were trained meanwhile."""
        versions = [weight._version for weight in self._weights.values()]
        if versions != self._copied:
            self._copied, self._forwards = versions, {}
            for part, weight in self._weights.items():
                self._copy(part, weight.detach())
        # Autocast takes other products than the copies are for.
        forwards = {} if torch.is_autocast_enabled("cpu") else self._forwards
        for part, forward in forwards.items():
            part.__dict__["forward"] = forward
        try:
            yield
        finally:
            for part in forwards:
                del part.__dict__["forward"]

    def _copy(self, part: Any, weight: Tensor) -> None:
        made = product(weight, part.bias, self._rows)
        if made is not None:
            vocabulary = isinstance(part, LanguageModelHead)
            self._forwards[part] = (lambda x, _: made(x * part.scale)) if vocabulary else made
