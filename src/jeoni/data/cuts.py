"""Parts of files: what is cut off as dev, and samples."""

from dataclasses import dataclass
from pathlib import Path

from jeoni.base import rng
from jeoni.base.errors import UserError
from jeoni.data.record import GROUP, Record


@dataclass(frozen=True)
class Source:
    """Where a split comes from.

    Attributes:
        path: its file.
        more: further files, where it has several.
        share: what was cut off the file as dev; 0 if the file is not cut.
        rest: this split is what is left.
    """

    path: Path
    more: tuple[Path, ...] = ()
    share: float = 0.0
    rest: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of its files."""
        return (self.path, *self.more)

    def __str__(self) -> str:
        names = " + ".join(path.name for path in self.paths)
        if not self.share:
            return names
        return f"{names} ({1 - self.share if self.rest else self.share:.0%} of it)"


def group(record: Record) -> str:
    """What examples have in common that must not be on both sides of a cut."""
    fields = record.fields
    if GROUP in fields:
        return str(fields[GROUP])
    if fields.get("context"):  # of texts to be written, some may have none
        return str(fields["context"])
    own = next((name for name in ("text", "source", "question", "good") if name in fields), None)
    return f"{fields[own] if own else fields}\0{fields.get('pair')}"


def held_out(records: list[Record], source: Source) -> set[str]:
    """The groups that are dev: those with the lowest hashes, in whatever order the file has them.

    Raises:
        UserError: there are too few to cut any off.
    """
    groups = sorted(
        {group(record) for record in records}, key=lambda group: rng.derive("dev", group)
    )
    count = max(1, round(source.share * len(groups)))
    if count >= len(groups):
        raise UserError(
            f"{source.path}: cannot cut a dev part off {len(groups)} different texts or passages",
            hint="give a dev file: data.dev=FILE",
        )
    return set(groups[:count])


def sample(records: list[Record], limit: int | None) -> list[Record]:
    """So many records at random: always the same, and part of every larger sample; in their order."""
    if limit is None or limit >= len(records):
        return records
    chosen = rng.generator("limit", len(records)).permutation(len(records))[:limit]
    return [records[index] for index in sorted(chosen)]
