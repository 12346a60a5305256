"""What a model costs: operations and memory, counted module by module, without running it.

A backbone is walked, so a model on the meta device will do. Every count is one function with a case for
each kind of module; a block with products of its own adds a case with ``products.register``.

Sources. Operations: two for each weight of a matrix product and token, and two for each number of a
query-key product or weighted sum (Kaplan et al., "Scaling laws for neural language models", 2020, section
2.1; Chowdhery et al., "PaLM", 2022, appendix B). Activations: what autograd keeps for the backward pass
(Korthikanti et al., "Reducing activation recomputation in large transformer models", 2022, section 4).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch

from torch import nn

from jeoni.nn.activations import ACTIVATIONS
from jeoni.nn.attention import CrossAttention, SelfAttention
from jeoni.nn.block import Block, FeedForward
from jeoni.nn.elmo import CharacterFilter
from jeoni.nn.embeddings import Embeddings
from jeoni.nn.heads import MaskedLMHead, ReplacedTokenHead, SpanBoundaryHead
from jeoni.nn.relative import RelativeAttention
from jeoni.nn.stack import Stack

BACKWARD = 2
"""Forward passes that a backward one costs: gradients of inputs, and of weights (Kaplan et al., 2.1)."""
MASK_BYTES = 1


@dataclass(frozen=True, kw_only=True)
class Kept:
    """For which training the activations are counted.

    Attributes:
        length: tokens of a sequence.
        bytes: of a number: 2 with autocast to bfloat16, 4 in float32.
        fused: attention by a kernel that computes the weights again (GPU), instead of keeping them.
    """

    length: int
    bytes: int = 2
    fused: bool = False


def visits(
    module: nn.Module, name: str = "", times: int = 1
) -> Iterator[tuple[str, nn.Module, int]]:
    """Every module inside, with its name and how often a forward pass calls it.

    Layers that share a block call it as often as there are layers; a part that blocks share comes
    once for each of them.
    """
    yield name, module, times
    inside = f"{name}." if name else ""
    for child_name, child in module.named_children():
        if isinstance(module, Stack) and child is module.blocks:
            for i, block in enumerate(module.blocks):
                yield from visits(block, f"{inside}blocks.{i}", times * module.order.count(i))
        else:
            yield from visits(child, inside + child_name, times)


def forward_flops(module: nn.Module, length: int) -> float:
    """Operations of a forward pass for each token of a sequence of ``length`` tokens.

    Of an encoder and a decoder: for one token of each.
    """
    return sum(times * products(part, length) for _, part, times in visits(module))


def attention_flops(module: nn.Module, length: int) -> float:
    """The part of ``forward_flops`` that grows with the length: scores and weighted sums."""
    return sum(
        times * products(part, length)
        for _, part, times in visits(module)
        if not isinstance(part, nn.Linear | nn.Conv1d)
    )


def kept_bytes(module: nn.Module, how: Kept) -> float:
    """Bytes of activations for each token (of an encoder and a decoder: one of each)."""
    return sum(times * kept(part, how) for _, part, times in visits(module))


def cached_numbers(module: nn.Module) -> tuple[int, int]:
    """Keys and values that writing keeps: numbers a token written, and a token read by the encoder."""
    written = read = 0
    for _, part, times in visits(module):
        if isinstance(part, SelfAttention) and part.causal:
            written += times * 2 * part.out.in_features
        if isinstance(part, CrossAttention):
            read += times * part.kv.out_features
    return written, read


def keys_seen(length: int, *, causal: bool, window: int) -> float:
    """How many keys a query of a sequence sees, on average.

    Args:
        length: ``T``.
        causal: only itself and those before.
        window: only those less than so far away; 0 for all.
    """
    reach = min(window, length) if window else length
    before = reach * (reach - 1) / 2 + (length - reach) * (reach - 1)  # over all queries
    return (length + before * (1 if causal else 2)) / length


@singledispatch
def products(module: nn.Module, length: int) -> float:
    """Operations a token of a module's own products: without those of the modules inside."""
    return 0.0


@products.register
def _(module: nn.Linear, length: int) -> float:
    return 2.0 * module.in_features * module.out_features


@products.register
def _(module: CharacterFilter, length: int) -> float:
    # For a word of the usual longest length; shorter ones are cut.
    size = module.weight.numel()
    return 2.0 * size * (50 - module.kernel_size[0] + 1)


@products.register
def _(module: SelfAttention, length: int) -> float:
    seen = keys_seen(length, causal=module.causal, window=module.window)
    return 4.0 * module.out.in_features * seen


@products.register
def _(module: RelativeAttention, length: int) -> float:
    # Queries meet keys, values, and the distances, of which there are two for each token of a sequence (so
    # one projection more; the sequences of a batch share it, which is not counted).
    width = module.out.in_features
    return (2 + 2 + 4) * width * float(length) + products(module.distance, length)


@products.register
def _(module: CrossAttention, length: int) -> float:
    return 4.0 * module.out.in_features * length


@singledispatch
def kept(module: nn.Module, how: Kept) -> float:
    """Bytes a token that a module itself keeps for the backward pass."""
    return 0.0


@kept.register
def _(module: nn.Linear, how: Kept) -> float:
    return float(module.in_features * how.bytes)


@kept.register(nn.LayerNorm)
@kept.register(nn.RMSNorm)
def _(module: nn.LayerNorm | nn.RMSNorm, how: Kept) -> float:
    return float(module.normalized_shape[0] * how.bytes)


@kept.register
def _(module: FeedForward, how: Kept) -> float:
    inner = module.down.in_features
    # ReLU keeps its output, which is the next product's input and counted there.
    numbers = 0 if module.activation is ACTIVATIONS["relu"] else inner
    if module.gated:
        numbers = 3 * inner  # the activated half, what it becomes, and the gate
    masks = inner * MASK_BYTES if module.dropout is not None and module.dropout.p else 0
    return float(numbers * how.bytes + masks)


@kept.register
def _(module: SelfAttention, how: Kept) -> float:
    inputs = module.out.in_features * how.bytes
    if how.fused:
        return float(3 * inputs + 4 * module.heads)  # and the sums of exponentials
    inputs = 4 * inputs  # the queries twice: as they were, and scaled
    pairs = module.heads * how.length
    dropped = (how.bytes + MASK_BYTES) if module.dropout else 0
    return float(inputs + pairs * (how.bytes + dropped))


@kept.register
def _(module: RelativeAttention, how: Kept) -> float:
    # There is no fused kernel. The queries with both biases; the weights before and after dropout.
    inputs = 5 * module.out.in_features * how.bytes
    dropped = (how.bytes + MASK_BYTES) if module.dropout.p else 0
    return float(inputs + module.heads * how.length * (how.bytes + dropped))


@kept.register
def _(module: CrossAttention, how: Kept) -> float:
    return float(3 * module.out.in_features * how.bytes + 4 * module.heads)


@kept.register
def _(module: Block, how: Kept) -> float:
    parts = 2 if module.cross is None else 3
    width = module.feed_forward.down.out_features
    return float(parts * width * MASK_BYTES if module.dropout.p else 0)


@kept.register
def _(module: Embeddings, how: Kept) -> float:
    return float(module.words.embedding_dim * MASK_BYTES if module.dropout.p else 0)


@kept.register(MaskedLMHead)
@kept.register(ReplacedTokenHead)
def _(module: MaskedLMHead | ReplacedTokenHead, how: Kept) -> float:
    return float(module.dense.out_features * how.bytes)  # the input of the activation


@kept.register
def _(module: SpanBoundaryHead, how: Kept) -> float:
    return float((module.first.out_features + module.second.out_features) * how.bytes)
