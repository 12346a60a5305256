"""What sections that show one thing after another have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


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
