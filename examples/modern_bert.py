"""A family from outside the package: ModernBERT's choices on jeoni's own blocks.

Warner et al., "Smarter, better, faster, longer" (ModernBERT), 2024, section 2.1: rotary positions,
gated GELU, norms before the parts, no biases, every third layer global and the others local. Use it by
its path, with the folder of this file on PYTHONPATH:

    jeoni finetune --family modern_bert:FAMILY --model modernbert-tiny --data nsmc
    jeoni.load("FOLDER", family="modern_bert:FAMILY")

The body is read from and written to the published layout; the heads, and their names there, are jeoni's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from jeoni.base.errors import UserError
from jeoni.models import backbone
from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import row, weight

GLOBAL, LOCAL = "full_attention", "sliding_attention"


@dataclass(frozen=True, kw_only=True)
class ModernSpec(ArchSpec):
    """Two numbers more: the base of the rotary frequencies in layers that see everything, and in others."""

    global_base: float = 160_000.0
    local_base: float = 10_000.0


class Rotary(nn.Module):
    """Queries and keys turned by angles that grow with the position (Su et al., "RoFormer", 2021, 3.2)."""

    def __init__(self, base: float) -> None:
        super().__init__()
        self.base = base

    def forward(self, qkv: Tensor, positions: Tensor) -> Tensor:
        """``[N, 3, A, D]`` and positions ``[N]`` to the same shape; values stay as they are."""
        half = qkv.shape[-1] // 2
        rates = self.base ** (-torch.arange(half, device=qkv.device) / half)
        angles = (positions[:, None] * rates)[:, None, None]
        cos, sin = angles.cos(), angles.sin()
        first, second = qkv[:, :2].float().chunk(2, -1)
        turned = torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
        return torch.cat([turned.to(qkv.dtype), qkv[:, 2:]], 1)


def build(spec: ModernSpec) -> Any:
    """The common transformer, with three edits: no bias in norms, one norm less, rotary positions."""
    body: Any = backbone.build(spec)
    for part in body.modules():
        if isinstance(part, nn.LayerNorm):
            part.register_parameter("bias", None)
    for number, block in enumerate(body.stack.blocks):
        if number == 0:  # the embeddings are normalized already
            block.attention_norm = nn.Identity()
        far = not block.attention.window
        block.attention.rotate = Rotary(spec.global_base if far else spec.local_base)
    return body


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Windows and rotary bases, in the layout of transformers 5 or the published files' older one."""
    for key in ("attention_bias", "mlp_bias", "norm_bias", "embedding_dropout"):
        if config.get(key):
            raise UserError(f"config.json: {key} {config[key]!r}: this family is built without")
    layers, every = config["num_hidden_layers"], config.get("global_attn_every_n_layers", 3)
    kinds = config.get("layer_types") or [LOCAL if i % every else GLOBAL for i in range(layers)]
    reach = config.get("local_attention", 128) // 2 + 1
    older = {GLOBAL: ("global_rope_theta", 160_000.0), LOCAL: ("local_rope_theta", 10_000.0)}
    base = {kind: config.get(key, default) for kind, (key, default) in older.items()}
    for kind, values in (config.get("rope_parameters") or {}).items():
        base[kind] = values.get("rope_theta", base[kind])
    return {
        "windows": tuple(reach if kind == LOCAL else 0 for kind in kinds),
        "global_base": float(base[GLOBAL]),
        "local_base": float(base[LOCAL]),
    }


def write(spec: ModernSpec) -> dict[str, Any]:
    """The inverse of ``read``."""
    windows = [spec.windows[i % len(spec.windows)] for i in range(spec.layers)]
    return {
        "layer_types": [LOCAL if window else GLOBAL for window in windows],
        "local_attention": 2 * (max(windows) - 1) if any(windows) else 128,
        "rope_parameters": {
            GLOBAL: {"rope_type": "default", "rope_theta": spec.global_base},
            LOCAL: {"rope_type": "default", "rope_theta": spec.local_base},
        },
    }


FIXED: dict[str, Any] = {
    "segments": 0, "norm": "pre", "embedding_norm": True, "position_kind": "none", "bias": False,
    "gated": True, "dropout": 0.0,
}  # fmt: skip
BASE = ModernSpec(
    vocab=50368, hidden=768, layers=22, heads=12, feed_forward=1152, width=768, positions=8192,
    norm_eps=1e-5, attention_dropout=0.0, windows=(0, 65, 65), **FIXED,
)  # fmt: skip
LARGE = replace(BASE, hidden=1024, layers=28, heads=16, feed_forward=2624, width=1024)
TINY = replace(BASE, hidden=128, layers=4, heads=4, feed_forward=192, width=128, positions=512)

FAMILY = Family(
    name="modernbert",
    presets={"modernbert-base": BASE, "modernbert-large": LARGE, "modernbert-tiny": TINY},
    spec=ModernSpec,
    build=build,
    fixed=FIXED,
    config={
        "vocab": "vocab_size", "hidden": "hidden_size", "layers": "num_hidden_layers",
        "heads": "num_attention_heads", "feed_forward": "intermediate_size",
        "positions": "max_position_embeddings", "activation": "hidden_activation",
        "norm_eps": "norm_eps", "inner_dropout": "mlp_dropout",
        "attention_dropout": "attention_dropout", "init_range": "initializer_range",
    },
    read=read,
    write=write,
    prefix="model.",
    body=(
        weight("embeddings.words", "embeddings.tok_embeddings"),
        weight("embeddings.norm", "embeddings.norm"),
        weight("stack.blocks.{i}.attention_norm", "layers.{i}.attn_norm"),
        weight("stack.blocks.{i}.attention.qkv", "layers.{i}.attn.Wqkv"),
        weight("stack.blocks.{i}.attention.out", "layers.{i}.attn.Wo"),
        weight("stack.blocks.{i}.feed_forward_norm", "layers.{i}.mlp_norm"),
        weight("stack.blocks.{i}.feed_forward.up", "layers.{i}.mlp.Wi"),
        weight("stack.blocks.{i}.feed_forward.down", "layers.{i}.mlp.Wo"),
        weight("stack.final_norm", "final_norm"),
    ),
    heads={
        "classification": (
            *row("dense", "heads.classification.dense"),
            *row("out", "heads.classification.out"),
        ),
        "span": row("out", "heads.span.out"),
    },
    tied=("decoder.weight",),
    classification=HeadStyle(activation="gelu"),
    architectures={frozenset(): "ModernBertModel"},
    tokenizer="PreTrainedTokenizerFast",
)  # fmt: skip
