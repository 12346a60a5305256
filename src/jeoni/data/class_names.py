"""Names of classes that a parquet file of the Hugging Face hub keeps beside their numbers."""

import json
from collections.abc import Mapping
from typing import Any


def listed_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """The names, by number, of columns whose rows are lists of classes, such as tags.

    (Columns of a single class stay as they are: the catalog has names of its own for these numbers.)

    Args:
        metadata: of the file's schema, where ``datasets`` writes the type of each column.
    """
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        found = {column: _names(feature) for column, feature in features.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}  # not of the hub, or in a form that is not known
    return {column: names for column, names in found.items() if names}


def _names(feature: Any) -> list[str]:
    """Of a list of classes: ``{"feature": {"names": ...}}``, in old files ``[{"names": ...}]``."""
    old = isinstance(feature, list) and feature
    inside = feature[0] if old else feature.get("feature")
    names = inside.get("names") if isinstance(inside, dict) else None
    return names if isinstance(names, list) and all(isinstance(n, str) for n in names) else []


def with_names(row: dict[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    """A row with names for the numbers in its lists; what has no name (-1, none) stays a number."""
    for column, known in names.items():
        if isinstance(found := row.get(column), list):
            row[column] = [
                known[n] if isinstance(n, int) and 0 <= n < len(known) else n for n in found
            ]
    return row
