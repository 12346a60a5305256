"""Weight names, there and back: a reversible table between our names and a checkpoint's.

Our names are those of the modules (``stack.blocks.0.attention.qkv.weight``); a family's table says,
row by row, what the Hugging Face checkpoint of the family calls them. A row can also join several of
their tensors into one of ours (query, key, value). ``{i}`` in a row stands for a block, ``{j}`` for
a block of the decoder.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from jeoni.models.spec import ArchSpec

OWN = ("heads.", "features.")  # how names begin for which no family has another


@dataclass(frozen=True)
class Row:
    """One of our tensors, and the one or several of theirs that it is made of (joined on dim 0).

    Attributes:
        ours: name in our module.
        theirs: names in the checkpoint.
        transposed: theirs are ``[in, out]`` (GPT-2), ours ``[out, in]``.
        unsqueezed: theirs has one dimension more, of size one, in front.
        split: from the spec, dimensions of theirs that are joined in ours (heads and their size, behind).
        optional: a head is whole without it (an output layer's own weights: else it is tied).
        when: the row is in the table of such a spec only; None: always.
    """

    ours: str
    theirs: tuple[str, ...]
    transposed: bool = False
    unsqueezed: bool = False
    split: Callable[[Any], tuple[int, ...]] | tuple[int, ...] = ()
    optional: bool = False
    when: Callable[[Any], bool] | None = None


def row(ours: str, *theirs: str, transposed: bool = False) -> tuple[Row, Row]:
    """Rows for weight and bias of a linear layer or a norm."""
    return (
        Row(f"{ours}.weight", tuple(f"{name}.weight" for name in theirs), transposed),
        Row(f"{ours}.bias", tuple(f"{name}.bias" for name in theirs)),
    )


def weight(ours: str, *theirs: str) -> Row:
    """The row for the weight of a layer without a bias."""
    return row(ours, *theirs)[0]


def expand(rows: Iterable[Row], spec: ArchSpec) -> list[Row]:
    """The table for a model of this size: ``{i}`` and ``{j}`` filled in."""
    full = []
    for entry in rows:
        if entry.when is not None and not entry.when(spec):
            continue
        letter, count = (
            ("{j}", spec.decoder_layers) if "{j}" in entry.ours else ("{i}", spec.distinct)
        )
        for i in range(count if letter in entry.ours else 1):
            filled = tuple(name.replace(letter, str(i)) for name in entry.theirs)
            name, split = entry.ours.replace(letter, str(i)), entry.split
            split = split(spec) if callable(split) else split
            full.append(replace(entry, ours=name, theirs=filled, split=split))
    return full


def to_ours(
    tensors: Mapping[str, Tensor], rows: Sequence[Row]
) -> tuple[dict[str, Tensor], set[str]]:
    """Our tensors made from theirs, and the names of theirs that were used.

    A row whose tensors are not all there gives nothing; the caller knows whether that is an error.
    """
    result: dict[str, Tensor] = {}
    used: set[str] = set()
    for entry in rows:
        if all(name in tensors for name in entry.theirs):
            parts = [_ours(tensors[name], entry) for name in entry.theirs]
            result[entry.ours] = parts[0] if len(parts) == 1 else torch.cat(parts)
            used.update(entry.theirs)
    return result, used


def to_theirs(tensors: Mapping[str, Tensor], rows: Sequence[Row]) -> dict[str, Tensor]:
    """Their tensors made from ours: the inverse of ``to_ours``."""
    result: dict[str, Tensor] = {}
    for entry in rows:
        if entry.ours in tensors:
            parts = tensors[entry.ours].chunk(len(entry.theirs))
            for name, part in zip(entry.theirs, parts, strict=True):
                result[name] = _theirs(part, entry)
    return result


def _ours(tensor: Tensor, entry: Row) -> Tensor:
    tensor = tensor.squeeze(0) if entry.unsqueezed else tensor
    tensor = tensor.flatten(1) if entry.split and tensor.dim() > 1 else tensor
    return tensor.t() if entry.transposed and tensor.dim() == 2 else tensor


def _theirs(tensor: Tensor, entry: Row) -> Tensor:
    tensor = tensor.t() if entry.transposed else tensor
    if entry.split and not callable(entry.split):
        tensor = tensor.reshape(*tensor.shape[:-1], *entry.split)
    return tensor.unsqueeze(0) if entry.unsqueezed else tensor.contiguous()


def rename(name: str, replacements: Sequence[tuple[str, str]]) -> str:
    """A legacy name brought up to date: the first matching ending is replaced; our own are up to date."""
    for old, new in replacements:
        if name.endswith(old) and not name.startswith(OWN):
            return name.removesuffix(old) + new
    return name
