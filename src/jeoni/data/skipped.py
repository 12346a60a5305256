"""What to do with a record that is not as it should be: an error, or counted and passed over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from jeoni.base.errors import UserError

Bad = Callable[[UserError], None]
"""Is told what is wrong with a record; raises it, or takes note and lets the reading go on."""
_FIRST = 5


def refuse(error: UserError) -> NoReturn:
    """The way of ``data.skip_bad=false``."""
    raise error


@dataclass
class Skipped:
    """The way of ``data.skip_bad=true``: records that were passed over.

    Attributes:
        count: how many: examples, or what is bad as a whole (a passage with its questions).
        first: what is wrong with the first few, with file and line.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, error: UserError) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < _FIRST:
            self.first.append(error.message)

    def facts(self) -> dict[str, Any]:
        """For ``results.json``."""
        return {"count": self.count, "first": list(self.first)}

    def none_left(self, where: object) -> UserError:
        """The error for data of which nothing is left."""
        return UserError(
            f"{where}: all {self.count} records are bad; the first: {self.first[0]}",
            hint="data.skip_bad passes over single examples; is the file in another form?",
        )
