"""GPT-2: Radford et al., "Language models are unsupervised multitask learners", 2019.

A decoder alone: norms before each part and after the last layer, learned positions, output tied to the
word table (section 2.3). Checkpoints hold the weights of products as ``[in, out]``.
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jeoni.base.errors import UserError
from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row, row, weight

FIXED = {"segments": 0, "norm": "pre", "causal": True}

SMALL = ArchSpec(
    vocab=50257,
    hidden=768,
    layers=12,
    heads=12,
    feed_forward=3072,
    width=768,
    positions=1024,
    activation="gelu_new",
    norm_eps=1e-5,
    **FIXED,  # type: ignore[arg-type]
)


def sized(layers: int, hidden: int, heads: int, **changes: Any) -> ArchSpec:
    """A spec of this depth, width and number of heads; the inner width is four times the width."""
    sizes = {"layers": layers, "hidden": hidden, "width": hidden, "heads": heads}
    return replace(SMALL, feed_forward=4 * hidden, **{**sizes, **changes})


CONFIG = {
    "vocab": "vocab_size",
    "hidden": "n_embd",
    "layers": "n_layer",
    "heads": "n_head",
    "positions": "n_positions",
    "activation": "activation_function",
    "norm_eps": "layer_norm_epsilon",
    "dropout": "resid_pdrop",
    "attention_dropout": "attn_pdrop",
    "init_range": "initializer_range",
    "scaled_attention": "scale_attn_weights",
    "tied": "tie_word_embeddings",
}


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """The inner width, and defaults that config.json leaves out.

    Raises:
        UserError: a variant that jeoni does not build.
    """
    # (Scores in float32, "reorder_and_upcast_attn", are the same numbers, only rounded otherwise.)
    if config.get("scale_attn_by_inverse_layer_idx"):
        raise UserError(
            "scale_attn_by_inverse_layer_idx is not supported: scores of each layer alike"
        )
    one_dropout(config)
    inner, hidden = config.get("n_inner"), config.get("n_embd")
    if inner is None and isinstance(hidden, int):
        inner = 4 * hidden
    return {
        "feed_forward": inner,
        "activation": config.get("activation_function", "gelu_new"),
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "positions": config.get("n_positions", 1024),
    }


def one_dropout(config: Mapping[str, Any]) -> None:
    """Warn where embeddings have another rate than the parts; only training is another then."""
    rate = config.get("resid_pdrop", 0.1)
    if config.get("embd_pdrop", rate) != rate:
        warnings.warn(
            f"config.json: embd_pdrop is {config['embd_pdrop']!r}, resid_pdrop {rate!r}; "
            "training drops embeddings at the latter rate",
            stacklevel=6,
        )


def write(spec: ArchSpec) -> dict[str, Any]:
    """The inverse of ``read``."""
    return {"n_inner": spec.feed_forward, "embd_pdrop": spec.dropout}


def constants(spec: ArchSpec) -> dict[str, Any]:
    """One token begins and ends a text: the last of the published vocabulary; of others nobody knows."""
    mark = 50256 if spec.vocab == SMALL.vocab else None
    return {"bos_token_id": mark, "eos_token_id": mark}


def std(spec: ArchSpec, name: str) -> float:
    """What is added to the residual stream starts smaller, the more there is of it (section 2.3)."""
    added = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
    return spec.init_range / (2 * spec.layers) ** 0.5 if added else spec.init_range


BLOCK, LAYER = "stack.blocks.{i}", "h.{i}"
BLOCKS = (
    *row(f"{BLOCK}.attention.qkv", f"{LAYER}.attn.c_attn", transposed=True),
    *row(f"{BLOCK}.attention.out", f"{LAYER}.attn.c_proj", transposed=True),
    *row(f"{BLOCK}.attention_norm", f"{LAYER}.ln_1"),
    *row(f"{BLOCK}.feed_forward.up", f"{LAYER}.mlp.c_fc", transposed=True),
    *row(f"{BLOCK}.feed_forward.down", f"{LAYER}.mlp.c_proj", transposed=True),
    *row(f"{BLOCK}.feed_forward_norm", f"{LAYER}.ln_2"),
)
LANGUAGE_MODEL = (Row("out.weight", ("lm_head.weight",), optional=True),)
CLASSIFICATION = HeadStyle(activation=None, token="last", bias=False, dropout=0.0)

FAMILY = Family(
    name="gpt2",
    presets={
        "gpt2": SMALL,
        "gpt2-medium": sized(24, 1024, 16),
        "gpt2-large": sized(36, 1280, 20),
        "gpt2-xl": sized(48, 1600, 25),
    },
    fixed=FIXED,
    config=CONFIG,
    read=read,
    write=write,
    config_constants=constants,
    prefix="transformer.",
    body=(
        weight("embeddings.words", "wte"),
        weight("embeddings.positions", "wpe"),
        *BLOCKS,
        *row("stack.final_norm", "ln_f"),
    ),
    heads={
        "language_model": LANGUAGE_MODEL,
        "classification": (weight("out", "score"),),
        "tagging": row("out", "classifier"),
        "span": row("out", "qa_outputs"),
    },
    tied=("lm_head.weight",),
    ignored=(".attn.bias", ".attn.masked_bias"),  # masks, that anyone can compute
    classification=CLASSIFICATION,
    tagging=HeadStyle(activation=None, dropout=0.1),
    architectures={
        frozenset(): "GPT2Model",
        frozenset({"language_model"}): "GPT2LMHeadModel",
        frozenset({"classification"}): "GPT2ForSequenceClassification",
        frozenset({"tagging"}): "GPT2ForTokenClassification",
        frozenset({"span"}): "GPT2ForQuestionAnswering",
    },
    tokenizer="GPT2Tokenizer",
    std=std,
)
