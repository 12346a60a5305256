"""T5: Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text
transformer", JMLR 2020; v1.1 with Shazeer's gates ("GLU variants improve transformer", 2020).

An encoder alone (``T5EncoderModel``, or a tagger's) is the same family without decoder layers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from jeoni.base.errors import UserError
from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row, row, weight

FIXED = {
    "segments": 0,
    "norm": "pre",
    "norm_kind": "rms",
    "bias": False,
    "scaled_attention": False,
    "position_kind": "relative",
}
GATES = {"gated-gelu": "gelu_new"}  # the rest is called as the activation is


def _spec(vocab: int, hidden: int, layers: int, heads: int, inner: int, size: int = 64) -> ArchSpec:
    """Original T5: ReLU, output tied and scaled (section 2.1; ``mesh_tensorflow`` for the scale)."""
    return ArchSpec(
        vocab=vocab,
        hidden=hidden,
        layers=layers,
        heads=heads,
        feed_forward=inner,
        width=hidden,
        head_size=size,
        activation="relu",
        norm_eps=1e-6,
        inner_dropout=0.1,
        output_dropout=0.1,
        init_range=1.0,
        decoder_layers=layers,
        output_scale=hidden**-0.5,
        **FIXED,  # type: ignore[arg-type]
    )


def _gated(vocab: int, hidden: int, layers: int, heads: int, inner: int) -> ArchSpec:
    """v1.1 and mT5: gated GELU, an output layer of its own, not scaled."""
    spec = _spec(vocab, hidden, layers, heads, inner)
    return replace(spec, gated=True, activation="gelu_new", tied=False, output_scale=1.0)


V1_1 = {
    "small": _gated(32128, 512, 8, 6, 1024),
    "base": _gated(32128, 768, 12, 12, 2048),
    "large": _gated(32128, 1024, 24, 16, 2816),
    "xl": _gated(32128, 2048, 24, 32, 5120),
    "xxl": _gated(32128, 4096, 24, 64, 10240),
}


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the spec that config.json tells in its own way.

    Raises:
        UserError: a feed-forward part, or buckets, that there are none of.
    """
    kind = str(config.get("feed_forward_proj", "relu"))
    gate, _, name = kind.rpartition("-")
    if gate not in ("", "gated"):
        raise UserError(
            f"feed_forward_proj is {kind!r}, neither an activation nor gated-<activation>"
        )
    _check_buckets(config)
    dropout = config.get("dropout_rate", 0.1)
    tied = config.get("tie_word_embeddings") is not False
    # transformers 5 says that all is tied, and whether it was by what it says of the scale.
    scaled, hidden = config.get("scale_decoder_outputs", tied) is not False, config.get("d_model")
    return {
        "activation": GATES.get(kind, name),
        "gated": gate == "gated",
        "dropout": dropout,
        "attention_dropout": dropout,
        "inner_dropout": dropout,
        "output_dropout": dropout,
        "decoder_layers": _decoder_layers(config),
        "tied": tied and scaled,
        "output_scale": hidden**-0.5 if scaled and isinstance(hidden, int) and hidden > 0 else 1.0,
    }


def _check_buckets(config: Mapping[str, Any]) -> None:
    buckets = config.get("relative_attention_num_buckets", 32)
    distance = config.get("relative_attention_max_distance", 128)
    sizes = isinstance(buckets, int) and isinstance(distance, int)
    if not sizes or not 4 <= buckets < 2 * distance:
        raise UserError(
            f"relative_attention_num_buckets is {buckets!r} and relative_attention_max_distance "
            f"{distance!r}: it takes 4 buckets or more, and a distance of more than half of them"
        )


def _decoder_layers(config: Mapping[str, Any]) -> Any:
    ends = ("EncoderModel", "ForTokenClassification")
    alone = any(name.endswith(ends) for name in config.get("architectures") or ())
    if alone or config.get("is_encoder_decoder") is False:
        return 0
    layers = config.get("num_decoder_layers")
    return config.get("num_layers") if layers is None else layers


def write(spec: ArchSpec, *, encoder: str = "T5EncoderModel") -> dict[str, Any]:
    """The inverse of ``read``.

    Args:
        spec: what to write.
        encoder: class of ``transformers`` for an encoder alone.

    Raises:
        UserError: an architecture that config.json has no word for.
    """
    kind = f"gated-{spec.activation}" if spec.gated else spec.activation
    if kind in GATES:
        raise UserError(
            "T5's config.json has no word for a gate with the exact gelu: take gelu_new"
        )
    names = {f"gated-{ours}": theirs for theirs, ours in GATES.items()}
    config = {
        "feed_forward_proj": names.get(kind, kind),
        # What transformers derives from it, but believes where it finds it.
        "is_gated_act": spec.gated,
        "dense_act_fn": spec.activation,
        "dropout_rate": spec.dropout,
        "num_decoder_layers": spec.decoder_layers or spec.layers,
        "is_encoder_decoder": spec.decoder_layers > 0,
        "tie_word_embeddings": spec.tied,
        "scale_decoder_outputs": spec.output_scale != 1.0,
    }
    return config if spec.decoder_layers else config | {"architectures": [encoder]}


def std(spec: ArchSpec, name: str) -> float | Tensor:
    """Fresh weights keep the scale of what passes, as attention does not (``mesh_tensorflow``)."""
    size = spec.head_size or spec.hidden // spec.heads
    inner = spec.heads * size
    values: float | Tensor = spec.hidden**-0.5
    if name.endswith(("words.weight", "language_model.out.weight")):
        values = 1.0
    elif name.endswith("qkv.weight"):
        query = torch.full((inner,), (spec.hidden * size) ** -0.5)
        values = torch.cat([query, torch.full((2 * inner,), spec.hidden**-0.5)])
    elif name.endswith("query.weight"):
        values = (spec.hidden * size) ** -0.5
    elif name.endswith(("attention.out.weight", "cross.out.weight")):
        values = inner**-0.5
    elif name.endswith("down.weight"):
        values = spec.feed_forward**-0.5
    return spec.init_range * values


def _rows(ours: str, theirs: str, i: str, parts: int, when: Callable[[Any], bool]) -> Iterator[Row]:
    """The table of one stack, whose blocks have so many parts."""

    def one(name: str, *names: str, only: Callable[[Any], bool] = when) -> Row:
        return replace(weight(ours + name, *(f"{theirs}.{n}" for n in names)), when=only)

    block, part = f"stack.blocks.{i}", f"block.{i}.layer"
    own = f"{part}.0.SelfAttention"
    yield one(f"{block}.attention.qkv", f"{own}.q", f"{own}.k", f"{own}.v")
    yield one(f"{block}.attention.out", f"{own}.o")
    yield one(f"{block}.attention_norm", f"{part}.0.layer_norm")
    yield one("stack.bias.table", "block.0.layer.0.SelfAttention.relative_attention_bias")
    if parts == 3:
        cross = f"{part}.1.EncDecAttention"
        yield one(f"{block}.cross.query", f"{cross}.q")
        yield one(f"{block}.cross.kv", f"{cross}.k", f"{cross}.v")
        yield one(f"{block}.cross.out", f"{cross}.o")
        yield one(f"{block}.cross_norm", f"{part}.1.layer_norm")
    last = f"{part}.{parts - 1}"
    dense, up = f"{last}.DenseReluDense", f"{block}.feed_forward.up"
    yield one(up, f"{dense}.wi", only=lambda spec: when(spec) and not spec.gated)
    yield one(up, f"{dense}.wi_0", f"{dense}.wi_1", only=lambda spec: when(spec) and spec.gated)
    yield one(f"{block}.feed_forward.down", f"{dense}.wo")
    yield one(f"{block}.feed_forward_norm", f"{last}.layer_norm")
    yield one("stack.final_norm", "final_layer_norm")


def _both(spec: ArchSpec) -> bool:
    return spec.decoder_layers > 0


def _alone(spec: ArchSpec) -> bool:
    return spec.decoder_layers == 0


FAMILY = Family(
    name="t5",
    presets={
        "t5-small": _spec(32128, 512, 6, 8, 2048),
        "t5-base": _spec(32128, 768, 12, 12, 3072),
        "t5-large": _spec(32128, 1024, 24, 16, 4096),
        "t5-3b": _spec(32128, 1024, 24, 32, 16384, 128),
        "t5-11b": _spec(32128, 1024, 24, 128, 65536, 128),
        **{f"t5-v1_1-{name}": spec for name, spec in V1_1.items()},
        **{f"flan-t5-{name}": spec for name, spec in V1_1.items()},
    },
    fixed=FIXED,
    config={
        "vocab": "vocab_size",
        "hidden": "d_model",
        "layers": "num_layers",
        "heads": "num_heads",
        "head_size": "d_kv",
        "feed_forward": "d_ff",
        "positions": "n_positions",
        "norm_eps": "layer_norm_epsilon",
        "init_range": "initializer_factor",
        "buckets": "relative_attention_num_buckets",
        "distance": "relative_attention_max_distance",
        "decoder_start": "decoder_start_token_id",
    },
    read=read,
    write=write,
    config_constants={"pad_token_id": 0, "eos_token_id": 1, "classifier_dropout": 0.0},
    prefix="transformer.",
    bare=("language_model", "span"),
    body=(
        replace(weight("encoder.embeddings.words", "shared"), when=_both),
        replace(weight("embeddings.words", "shared"), when=_alone),
        *_rows("encoder.", "encoder", "{i}", 2, _both),
        *_rows("", "encoder", "{i}", 2, _alone),
        *_rows("decoder.", "decoder", "{j}", 3, _both),
    ),
    heads={
        "language_model": (Row("out.weight", ("lm_head.weight",), optional=True),),
        "classification": (
            *row("dense", "classification_head.dense"),
            *row("out", "classification_head.out_proj"),
        ),
        "span": row("out", "qa_outputs"),
    },
    tied=("lm_head.weight",),
    # Every layer's cross-attention of the first checkpoints had a table; nothing ever read it.
    ignored=("EncDecAttention.relative_attention_bias.weight",),
    legacy=(
        ("encoder.embed_tokens.weight", "shared.weight"),
        ("decoder.embed_tokens.weight", "shared.weight"),
        # A published tagger's; here a decoder's states may be tagged, too, and the names are our own.
        ("classifier.weight", "heads.tagging.out.weight"),
        ("classifier.bias", "heads.tagging.out.bias"),
    ),
    classification=HeadStyle(activation="tanh", dropout_first=True, token="last"),
    architectures={
        frozenset(): "T5Model",
        frozenset({"language_model"}): "T5ForConditionalGeneration",
        frozenset({"classification"}): "T5ForSequenceClassification",
        frozenset({"span"}): "T5ForQuestionAnswering",
    },
    tokenizer="T5Tokenizer",
    std=std,
)
