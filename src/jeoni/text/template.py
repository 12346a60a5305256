"""Where special tokens go: around a text, around and between a pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from jeoni.text import spec

Ids = Sequence[int] | npt.NDArray[np.int32]


@dataclass(frozen=True)
class Part:
    """One place of a template: a special token, or (``sequence`` given) where a text goes."""

    id: int
    segment: int
    sequence: int | None


class Template:
    """The template for ``n`` texts (1 or 2), read off what a post-processor does."""

    def __init__(self, post_processor: dict[str, Any] | None, n: int) -> None:
        rust = spec.rust({"post_processor": post_processor})
        probe = rust.encode("a") if n == 1 else rust.encode("a", "a")
        self.parts = _parts(probe)
        self.special = sum(part.sequence is None for part in self.parts)

    def build(self, texts: Sequence[Ids]) -> tuple[list[int], list[int]]:
        """Ids and segments of texts with special tokens."""
        ids: list[int] = []
        segments: list[int] = []
        for part in self.parts:
            new = (part.id,) if part.sequence is None else texts[part.sequence]
            ids.extend(new.tolist() if isinstance(new, np.ndarray) else new)
            segments.extend([part.segment] * len(new))
        return ids, segments

    def start(self, text: int, lengths: Sequence[int]) -> int:
        """Index of the first token of one of the texts, given the lengths of those before it."""
        before = self.parts[: [part.sequence for part in self.parts].index(text)]
        return sum(1 if part.sequence is None else lengths[part.sequence] for part in before)


def _parts(probe: tokenizers.Encoding) -> tuple[Part, ...]:
    return tuple(map(Part, probe.ids, probe.type_ids, probe.sequence_ids))
