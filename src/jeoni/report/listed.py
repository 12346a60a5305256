"""What sections that show one thing after another have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """``count`` of the items, from all over them: evenly from the first on; all, if there are no more."""
    step = max(1, len(items) / count)
    return [items[int(i * step)] for i in range(min(count, len(items)))]


@dataclass(frozen=True)
class Listed(Generic[Item]):
    """A title and items below it."""

    title: str
    items: Sequence[Item]
    note: str = ""

    @property
    def empty(self) -> bool:
        """Nothing to show."""
        return not self.items
