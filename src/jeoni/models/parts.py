"""The parts of a model as the rows of a small table."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch

from torch import nn

from jeoni.models import cost
from jeoni.models.model import Model
from jeoni.nn.activations import ACTIVATIONS
from jeoni.nn.attention import CrossAttention, SelfAttention
from jeoni.nn.block import FeedForward
from jeoni.nn.elmo import CharacterFilter, Highway, ProjectedLSTM
from jeoni.nn.embeddings import FrozenTable
from jeoni.nn.heads import LanguageModelHead, MaskedLMHead, SpanBoundaryHead
from jeoni.nn.positions import RelativeBias, SinusoidalPositions
from jeoni.nn.relative import RelativeAttention

Entry = tuple[str, str, int, nn.Module]
"""Name, words, times, and the part itself."""


@dataclass(frozen=True)
class PartRow:
    """One kind of part.

    Attributes:
        name: where it is; blocks that are alike are one row (``stack.blocks.0-11.attention``, or
            ``0,2...94`` where they take turns).
        what: in words.
        times: how often a forward pass calls it.
        parameters: of all of them; of a table that does not train, its numbers.
    """

    name: str
    what: str
    times: int
    parameters: int


def part_rows(model: Model) -> Iterator[PartRow]:
    """Rows for the backbone and the heads, in their order."""
    found: list[Entry] = []
    between = [] if model.features is None else [("features", model.features)]
    heads = ((f"heads.{kind}", head) for kind, head in model.heads.items())
    parts = [("", model.backbone), *between, *heads]
    for start, module in parts:
        inside = ""
        for name, part, times in cost.visits(module, start):
            text = what(part)
            if text and not (inside and name.startswith(inside)):
                found.append((name, text, times, part))
                inside = f"{name}."
    yield from _joined(found)


def _joined(found: list[Entry]) -> Iterator[PartRow]:
    """Blocks of a stack that consist of the same parts become one, at the place of the first."""
    blocks: dict[str, list[Entry]] = {}
    for entry in found:
        blocks.setdefault(_block(entry[0]) or entry[0], []).append(entry)
    groups: dict[tuple[str, ...], list[str]] = {}
    for block, rows in blocks.items():
        stack = block.rpartition(".")[0] if _block(rows[0][0]) else block
        kind = (stack, *(f"{name.removeprefix(block)}: {text}" for name, text, *_ in rows))
        groups.setdefault(kind, []).append(block)
    seen: set[int] = set()
    for alike in groups.values():
        for same in zip(*(blocks[block] for block in alike), strict=True):
            name, text = same[0][:2]
            name = name.replace(alike[0], _together(alike), 1)
            size = sum(_size(part, seen) for *_, part in same)
            yield PartRow(name, text, sum(entry[2] for entry in same), size)


def _together(blocks: list[str]) -> str:
    """``stack.blocks.0-11`` for all in a row, ``stack.blocks.0,2...94`` for others."""
    if len(blocks) == 1:
        return blocks[0]
    stack = blocks[0].rpartition(".")[0]
    numbers = [int(block.rpartition(".")[2]) for block in blocks]
    first, second, last = numbers[0], numbers[1], numbers[-1]
    if last - first == len(numbers) - 1:
        return f"{stack}.{first}-{last}"
    between = "," if len(numbers) == 2 else f",{second}," if len(numbers) == 3 else f",{second}..."
    return f"{stack}.{first}{between}{last}"


def _block(name: str) -> str:
    """``stack.blocks.3`` of ``stack.blocks.3.attention``; empty outside of blocks."""
    parts = name.split(".")
    for i, part in enumerate(parts[:-1]):
        if part == "blocks" and parts[i + 1].isdecimal():
            return ".".join(parts[: i + 2])
    return ""


def _size(module: nn.Module, seen: set[int]) -> int:
    """Parameters (and numbers of tables that do not train) that no row before has counted."""
    tables = [part.weight for part in module.modules() if isinstance(part, FrozenTable)]
    new = {id(p): p.numel() for p in (*module.parameters(), *tables) if id(p) not in seen}
    seen.update(new)
    return sum(new.values())


@singledispatch
def what(module: nn.Module) -> str:
    """A part in words; empty for what is shown by its parts."""
    return "" if any(True for _ in module.children()) else _own(module)


def _own(module: nn.Module) -> str:
    """A module that nothing is said about, if it has parameters of its own."""
    return type(module).__name__ if any(True for _ in module.parameters(recurse=False)) else ""


@what.register
def _(module: nn.Embedding) -> str:
    return f"table, {module.num_embeddings:,} x {module.embedding_dim:,}"


@what.register
def _(module: FrozenTable) -> str:
    rows, width = module.weight.shape
    return f"table, {rows:,} x {width:,}, does not train"


@what.register
def _(module: SinusoidalPositions) -> str:
    return "sinusoidal, nothing learned"


@what.register
def _(module: RelativeBias) -> str:
    heads = module.table.embedding_dim
    return f"relative, {module.buckets} buckets up to {module.distance} x {heads} heads"


@what.register
def _(module: nn.Linear) -> str:
    return f"linear, {module.in_features:,} -> {module.out_features:,}"


@what.register(nn.LayerNorm)
@what.register(nn.RMSNorm)
def _(module: nn.LayerNorm | nn.RMSNorm) -> str:
    kind = "layer norm" if isinstance(module, nn.LayerNorm) else "RMS norm"
    return f"{kind}, {module.normalized_shape[0]:,}"


@what.register
def _(module: SelfAttention) -> str:
    size = module.out.in_features // module.heads
    sight = "causal" if module.causal else "sees all"
    window = f", less than {module.window} away" if module.window else ""
    turned = ", rotary" if module.rotate is not None else ""
    return f"{module.heads} heads of {size}, {sight}{window}{turned}"


@what.register
def _(module: RelativeAttention) -> str:
    size = module.out.in_features // module.heads
    return f"{module.heads} heads of {size}, relative positions and segments"


@what.register
def _(module: CharacterFilter) -> str:
    return f"{module.out_channels:,} filters of {module.kernel_size[0]} characters"


@what.register
def _(module: Highway) -> str:
    return f"highway layer, {module.gate.in_features:,}"


@what.register
def _(module: ProjectedLSTM) -> str:
    way = "from the end" if module.backward else "from the start"
    return f"LSTM {way}, {module.project.in_features:,} cells -> {module.project.out_features:,}"


@what.register
def _(module: CrossAttention) -> str:
    return f"{module.heads} heads of {module.out.in_features // module.heads}, sees the encoder"


@what.register
def _(module: FeedForward) -> str:
    name = next(n for n, f in ACTIVATIONS.items() if f is module.activation)
    gate = ", gated" if module.gated else ""
    return f"{module.up.in_features:,} -> {module.down.in_features:,}, {name}{gate}"


@what.register(MaskedLMHead)
@what.register(SpanBoundaryHead)
@what.register(LanguageModelHead)
def _(module: MaskedLMHead | SpanBoundaryHead | LanguageModelHead) -> str:
    own = getattr(module, "out", None) is not None
    return "vocabulary, its own table" if own else "vocabulary, tied to the word table"
