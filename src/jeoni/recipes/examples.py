"""Examples of a data set as a task reads them; those that it cannot read are passed over where asked."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.cards import Split
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record
from jeoni.data.skipped import Bad
from jeoni.tasks._task import Encoded, Task


def encode(
    task: Task[Any, Any], dataset: Dataset, split: Split, *, labeled: bool = True
) -> Encoded:
    """A split's examples as sequences, without those that the task refuses if ``data.skip_bad`` is set.

    Args:
        task: encodes them.
        dataset: has them, and takes note of what is passed over.
        split: which.
        labeled: see ``Task.encode``.

    Raises:
        UserError: an example that is not as it should be; with ``skip_bad``: none that is.
    """

    def sequences(records: Sequence[Record]) -> Encoded:
        return task.encode(records, labeled=labeled)

    records = dataset.split(split)
    try:
        return sequences(records)
    except UserError:
        if not dataset.config.skip_bad:
            raise
    skipped = dataset.skipped(split)
    kept = _usable(sequences, records, skipped.add)
    if not kept:
        raise skipped.none_left(dataset.sources[split])
    return sequences(kept)


def _usable(
    encode: Callable[[Sequence[Record]], Encoded], records: Sequence[Record], bad: Bad
) -> list[Record]:
    """The records that can be encoded: of those that cannot, halves are tried, down to single ones."""
    try:
        encode(records)
        return list(records)
    except UserError as error:
        if len(records) == 1:
            bad(error)
            return []
    middle = len(records) // 2
    halves = records[:middle], records[middle:]
    return [record for half in halves for record in _usable(encode, half, bad)]


def tell(dataset: Dataset) -> dict[str, Any]:
    """What was passed over, said on stderr; and for ``results.json``."""
    skips = dataset.skips()
    for splits, skipped in skips.items():
        lines = "".join(f"\n  {reason}" for reason in skipped.first)
        more = skipped.count - len(skipped.first)
        lines += f"\n  and {more} more" if more else ""
        warnings.warn(f"{splits}: {skipped.count} bad records skipped:{lines}", stacklevel=2)
    return {splits: skipped.facts() for splits, skipped in skips.items()}
