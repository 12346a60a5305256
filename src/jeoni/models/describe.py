"""A model in numbers: parts, parameters, operations and memory, of a preset or a checkpoint."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from jeoni.base.errors import UserError
from jeoni.models import cost, hub
from jeoni.models.cost import Kept
from jeoni.models.family import Family
from jeoni.models.heads import build_head, language_model_head, masked_lm_head
from jeoni.models.model import Model
from jeoni.models.parts import PartRow, part_rows
from jeoni.models.spec import ArchSpec
from jeoni.models.where import shipped
from jeoni.nn.embeddings import FrozenTable

PRETRAINED = {  # kinds of heads that pretraining trains, and the share of the tokens that they predict
    "masked_lm": 0.15,
    "span_boundary": 0.15,
    "language_model": 1.0,
    "replaced_token": 1.0,
    "next_sentence": None,
    "sentence_order": None,
}
"""15%: Devlin et al., "BERT", 2019, section 3.1. None: one prediction a sequence."""
VOCABULARY = ("masked_lm", "span_boundary", "language_model")
BF16, FP32 = 2, 4


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Counts; what is shared or tied counts once.

    Attributes:
        total: body and pretraining heads, with what does not train.
        fixed: of it, tables that do not train (static vectors).
        body: all but heads.
        embedding: tables, and what is between them and the first block.
        blocks: all blocks together.
        per_block: (blocks, how many, parameters of each).
        other: the rest of the body, such as a last norm.
        heads: of each pretraining head.
    """

    total: int
    fixed: int
    body: int
    embedding: int
    blocks: int
    per_block: tuple[tuple[str, int, int], ...]
    other: int
    heads: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Floating point operations for each token.

    Attributes:
        sequence: tokens of a sequence (and of what a decoder writes).
        forward: one pass, body and pretraining heads.
        body: its part without heads.
        attention: its part that grows with the length.
        heads: its part in pretraining heads.
        training: forward and backward.
        per_parameter: training operations by all parameters; 6 in the common estimate.
    """

    sequence: int
    forward: float
    body: float
    attention: float
    heads: float
    training: float
    per_parameter: float


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes.

    Attributes:
        weights_fp32: the weights.
        weights_bf16: the weights, for use without training.
        gradients: float32.
        optimizer: AdamW's two averages, float32.
        batch: sequences for which activations are counted.
        activations: kept for the backward pass under bfloat16, with the attention weights.
        activations_fused: with a kernel that does not keep them.
        kv_cache: keys and values in bfloat16 for each token written; None for a model that only reads.
        kv_cache_read: for each token that an encoder has read; None where there is none.
    """

    weights_fp32: int
    weights_bf16: int
    gradients: int
    optimizer: int
    batch: int
    activations: int
    activations_fused: int
    kv_cache: int | None
    kv_cache_read: int | None


@dataclass(frozen=True, kw_only=True)
class Description:
    """All that ``jeoni models show`` shows."""

    name: str
    family: str
    spec: ArchSpec
    parts: tuple[PartRow, ...]
    parameters: Parameters
    operations: Operations
    memory: Memory
    assumptions: tuple[str, ...]


def describe(
    where: str | Path, *, sequence: int | None = None, batch: int = 1, family: str | None = None
) -> Description:
    """A model in numbers; no weights are read or drawn.

    Args:
        where: a preset, or anything that ``jeoni.load`` takes.
        sequence: tokens of a sequence; None: the model's positions.
        batch: sequences for which activations are counted.
        family: your own, as ``package.module:NAME``.

    Raises:
        UserError: no such model, a config.json that describes none, or a sequence that is too long.
    """
    model = on_meta(where, family=family)
    length = model.spec.length(sequence)
    return Description(
        name=str(where),
        family=model.family.name,
        spec=model.spec,
        parts=tuple(part_rows(model)),
        parameters=parameters(model),
        operations=operations(model, length),
        memory=memory(model, length, batch),
        assumptions=tuple(assumptions(model, length)),
    )


def on_meta(where: str | Path, *, family: str | None = None) -> Model:
    """A model on the meta device: shapes without numbers; with its heads, else those of pretraining."""
    presets, folder = hub.presets(family), None
    if str(where) in presets and not Path(where).exists():
        name, spec = presets[str(where)]
        own = hub.own_family(name)
        config: dict[str, Any] = {}
    else:
        folder, config, own, spec = _checkpoint(where, family, list(presets))
    model = Model(family=own, spec=spec, backbone=body(own, spec), config=config)
    with torch.device("meta"), _Undrawn():
        if folder is not None:
            model.heads.update(hub.heads_in(folder, model))
        if not model.heads:
            for kind in pretraining_heads(own, config.get("architectures") or ()):
                model.heads[kind] = _head(kind, model)
    return model.eval()


def body(family: Family, spec: ArchSpec) -> nn.Module:
    """A backbone on the meta device: shapes without numbers."""
    with torch.device("meta"), _Undrawn():
        return family.build(spec)


def _checkpoint(
    where: str | Path, family: str | None, presets: list[str]
) -> tuple[Path, dict[str, Any], Family, ArchSpec]:
    try:
        return hub.described(where, family=family)
    except UserError as error:
        # Which may have been meant for a preset.
        near = difflib.get_close_matches(str(where), [*presets, *shipped()], n=1, cutoff=0.7)
        if not near or Path(where).exists():
            raise
        kind = "the preset " if near[0] in presets else ""
        raise UserError(error.message, hint=f"did you mean {kind}{near[0]!r}?") from None


def pretraining_heads(family: Family, named: Iterable[str] = ()) -> list[str]:
    """Kinds of heads that the family is pretrained with: those of a class named, or else the most."""
    sets = [
        (cls in named, len(kinds), sorted(kinds))
        for kinds, cls in family.architectures.items()
        if kinds and kinds <= PRETRAINED.keys()
    ]
    best: tuple[bool, int] = max((entry[:2] for entry in sets), default=(False, 0))
    return next((entry[2] for entry in reversed(sets) if entry[:2] == best), [])


def parameters(model: Model) -> Parameters:
    """How many parameters there are, and where."""
    sizes = {name: p.numel() for name, p in model.backbone.named_parameters()}
    tables = [part for part in model.backbone.modules() if isinstance(part, FrozenTable)]
    fixed = sum(part.weight.numel() for part in tables)
    blocks = sum(n for name, n in sizes.items() if ".blocks." in f".{name}")
    embedding = sum(n for name, n in sizes.items() if model.layer_of(f"backbone.{name}") == 0)
    heads = {kind: hub.parameter_count(head) for kind, head in model.heads.items()}
    return Parameters(
        total=hub.parameter_count(model) + fixed,
        fixed=fixed,
        body=sum(sizes.values()) + fixed,
        embedding=embedding + fixed,
        blocks=blocks,
        per_block=tuple(_per_block(model.backbone)),
        other=sum(sizes.values()) - blocks - embedding,
        heads=heads,
    )


def operations(model: Model, length: int, shares: Mapping[str, float] | None = None) -> Operations:
    """Operations a token in sequences of ``length`` tokens; see ``assumptions``.

    Args:
        model: whose.
        length: tokens of a sequence.
        shares: of heads by kind, for how many of the tokens (read or written) they are computed, where it
            is known better.
    """
    stacks = _stacks(model)
    body = cost.forward_flops(model.backbone, length) / stacks
    known = {kind: _share(kind, length) / stacks for kind in model.heads} | dict(shares or {})
    heads = sum(known[kind] * _head_flops(model, kind, length) for kind in model.heads)
    forward = body + heads
    training = (1 + cost.BACKWARD) * forward
    return Operations(
        sequence=length,
        forward=forward,
        body=body,
        attention=cost.attention_flops(model.backbone, length) / stacks,
        heads=heads,
        training=training,
        per_parameter=training / max(hub.parameter_count(model), 1),
    )


def memory(model: Model, length: int, batch: int) -> Memory:
    """Bytes, in training on one device and in use."""
    found = parameters(model)
    count, trained = found.total, found.total - found.fixed
    written, read = cost.cached_numbers(model.backbone)
    kept, fused = (
        round(batch * length * activations(model, Kept(length=length, fused=fused)))
        for fused in (False, True)
    )
    return Memory(
        weights_fp32=FP32 * count,
        weights_bf16=BF16 * count,
        gradients=FP32 * trained,
        optimizer=2 * FP32 * trained,
        batch=batch,
        activations=kept,
        activations_fused=fused,
        kv_cache=BF16 * written or None,
        kv_cache_read=BF16 * read or None,
    )


def activations(model: Model, how: Kept) -> float:
    """Bytes a position of a sequence (of encoder and decoder: one of each), body and heads."""
    total = cost.kept_bytes(model.backbone, how)
    for kind, head in model.heads.items():
        share = _share(kind, how.length)
        # Of the product with the table only the gradient of its input stays (ops/vocabulary.py).
        vocabulary = how.bytes * model.spec.width if kind in VOCABULARY else 0
        total += share * (cost.kept_bytes(head, how) + vocabulary)
    return total


def assumptions(model: Model, length: int) -> Iterator[str]:
    """What the counts rest on, a sentence each."""
    yield (
        f"forward: 2 per weight in a matrix product, and 4 A D per query and key that it sees, in "
        f"sequences of {length:,} tokens (Kaplan et al. 2020, 2.1; PaLM 2022, appendix B); tables, norms, "
        "activation functions and softmax are not counted"
    )
    yield "training: 3 times forward, as backward is 2 (Kaplan et al. 2020, 2.1)"
    if any(_share(kind, length) == PRETRAINED["masked_lm"] for kind in model.heads):
        yield "the vocabulary layer is computed for the 15% of the tokens that are predicted (BERT, 3.1)"
    if _stacks(model) == 2:
        yield "as many tokens are written as are read; per token of either kind"
    fixed = ", 4 one that does not train" if parameters(model).fixed else ""
    yield f"memory: float32 weights, gradients and AdamW's averages: 16 bytes a parameter{fixed}"
    yield "activations: an estimate of what autograd keeps, in bfloat16 (after Korthikanti et al. 2022, 4)"


class _Undrawn(TorchFunctionMode):
    """Initial values are not drawn: on the meta device there is nothing to draw (and it takes seconds)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _head(kind: str, model: Model) -> nn.Module:
    if kind == "language_model":
        return language_model_head(model)
    return masked_lm_head(model) if kind == "masked_lm" else build_head(kind, model, {})


def _share(kind: str, length: int) -> float:
    # Of another head: every token, but where it is of a sequence.
    share = PRETRAINED.get(kind, None if kind == "classification" else 1.0)
    return 1 / length if share is None else share


def _head_flops(model: Model, kind: str, length: int) -> float:
    head = model.heads[kind]
    flops = cost.forward_flops(head, length)
    if kind in VOCABULARY and getattr(head, "out", None) is None:
        flops += 2 * model.spec.width * model.spec.vocab
    return flops


def _stacks(model: Model) -> int:
    """Tokens for which ``cost`` counts: one; of an encoder and a decoder, two."""
    return 2 if model.spec.decoder_layers else 1


def _per_block(backbone: nn.Module) -> Iterator[tuple[str, int, int]]:
    """Runs of blocks of equal size: name, how many, parameters of each."""
    run: list[str] = []
    before: tuple[str, int] | None = None
    for name, module in backbone.named_modules(remove_duplicate=False):
        stack, _, last = name.rpartition(".")
        if not stack.endswith("blocks") or not last.isdecimal():
            continue
        now = (stack, hub.parameter_count(module))
        if run and now != before and before is not None:
            yield _span(before[0], run), len(run), before[1]
            run = []
        run, before = [*run, last], now
    if before is not None:
        yield _span(before[0], run), len(run), before[1]


def _span(stack: str, numbers: list[str]) -> str:
    return f"{stack}.{numbers[0]}" + (f"-{numbers[-1]}" if len(numbers) > 1 else "")
