"""BART: Lewis et al., "BART: Denoising sequence-to-sequence pre-training", ACL 2020.

KoBART has the same layout. Both stacks read a text that is to be understood, the decoder one place on;
its last token's state classifies (section 3.1).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from jeoni.base.errors import UserError
from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row, row

FIXED = {"segments": 0, "norm_eps": 1e-5, "position_offset": 2}

BASE = ArchSpec(
    vocab=50265,
    hidden=768,
    layers=6,
    heads=12,
    feed_forward=3072,
    width=768,
    positions=1024,
    inner_dropout=0.1,
    decoder_layers=6,
    decoder_start=2,
    **FIXED,  # type: ignore[arg-type]
)
LARGE = replace(
    BASE, hidden=1024, width=1024, layers=12, decoder_layers=12, heads=16, feed_forward=4096
)

CONFIG = {
    "vocab": "vocab_size",
    "hidden": "d_model",
    "layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "heads": "encoder_attention_heads",
    "feed_forward": "encoder_ffn_dim",
    "positions": "max_position_embeddings",
    "activation": "activation_function",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "inner_dropout": "activation_dropout",
    "init_range": "init_std",
    "scaled_embeddings": "scale_embedding",
    "decoder_start": "decoder_start_token_id",
}
ALIKE = {
    "decoder_attention_heads": "encoder_attention_heads",
    "decoder_ffn_dim": "encoder_ffn_dim",
}


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing further; only the depth of the two stacks may differ.

    Raises:
        UserError: a decoder that is missing, or of another width than the encoder.
    """
    for decoder, encoder in ALIKE.items():
        if config.get(decoder, config.get(encoder)) != config.get(encoder):
            raise UserError(
                f"{decoder} is {config[decoder]!r}, {encoder} {config.get(encoder)!r}: "
                "encoder and decoder that differ in it are not supported"
            )
    if config.get("is_encoder_decoder") is False or not config.get("decoder_layers", 1):
        raise UserError("one stack of an encoder-decoder alone is not supported")
    return {"decoder_layers": config.get("decoder_layers", config.get("encoder_layers"))}


def write(spec: ArchSpec) -> dict[str, Any]:
    """What the decoder has in common with the encoder."""
    return {"decoder_attention_heads": spec.heads, "decoder_ffn_dim": spec.feed_forward}


def _blocks(side: str, i: str) -> Iterator[Row]:
    ours, theirs = f"{side}.stack.blocks.{i}", f"{side}.layers.{i}"
    own, cross = f"{theirs}.self_attn", f"{theirs}.encoder_attn"
    yield from row(f"{ours}.attention.qkv", *(f"{own}.{n}_proj" for n in "qkv"))
    yield from row(f"{ours}.attention.out", f"{own}.out_proj")
    yield from row(f"{ours}.attention_norm", f"{theirs}.self_attn_layer_norm")
    if side == "decoder":
        yield from row(f"{ours}.cross.query", f"{cross}.q_proj")
        yield from row(f"{ours}.cross.kv", f"{cross}.k_proj", f"{cross}.v_proj")
        yield from row(f"{ours}.cross.out", f"{cross}.out_proj")
        yield from row(f"{ours}.cross_norm", f"{theirs}.encoder_attn_layer_norm")
    yield from row(f"{ours}.feed_forward.up", f"{theirs}.fc1")
    yield from row(f"{ours}.feed_forward.down", f"{theirs}.fc2")
    yield from row(f"{ours}.feed_forward_norm", f"{theirs}.final_layer_norm")


def _embeddings(side: str) -> Iterator[Row]:
    yield Row(f"{side}.embeddings.positions.weight", (f"{side}.embed_positions.weight",))
    yield from row(f"{side}.embeddings.norm", f"{side}.layernorm_embedding")


STACKS = (
    Row("encoder.embeddings.words.weight", ("shared.weight",)),
    *_blocks("encoder", "{i}"),
    *_blocks("decoder", "{j}"),
)
LANGUAGE_MODEL = (
    Row("out.weight", ("lm_head.weight",), optional=True),
    Row("bias", ("final_logits_bias",), unsqueezed=True, optional=True),
)
LEGACY = (
    ("encoder.embed_tokens.weight", "shared.weight"),
    ("decoder.embed_tokens.weight", "shared.weight"),
)

FAMILY = Family(
    name="bart",
    presets={
        "bart-base": BASE,
        "bart-large": LARGE,
        "kobart-base": replace(BASE, vocab=30000, heads=16, positions=1026, decoder_start=1),
    },
    fixed=FIXED,
    config=CONFIG,
    read=read,
    write=write,
    config_constants={"classifier_dropout": 0.0},
    prefix="model.",
    body=(*STACKS, *_embeddings("encoder"), *_embeddings("decoder")),
    heads={
        "language_model": LANGUAGE_MODEL,
        "classification": (
            *row("dense", "classification_head.dense"),
            *row("out", "classification_head.out_proj"),
        ),
        "span": row("out", "qa_outputs"),
    },
    tied=("lm_head.weight",),
    ignored=("encoder.version", "decoder.version"),
    legacy=LEGACY,
    classification=HeadStyle(activation="tanh", dropout_first=True, token="last"),
    architectures={
        frozenset(): "BartModel",
        frozenset({"language_model"}): "BartForConditionalGeneration",
        frozenset({"classification"}): "BartForSequenceClassification",
        frozenset({"span"}): "BartForQuestionAnswering",
    },
    tokenizer="BartTokenizer",
)
