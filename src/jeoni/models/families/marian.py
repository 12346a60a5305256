"""The transformer: Vaswani et al., "Attention is all you need", 2017, in the layout of Marian's models
(Junczys-Dowmunt et al., "Marian: Fast neural machine translation in C++", 2018).

Norms after each part, waves for positions, scaled embeddings that encoder, decoder and output share
(sections 3.1, 3.4, 3.5). A decoder starts with the padding token; Marian counts it last.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jeoni.base.errors import UserError
from jeoni.models.families import bart
from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec

FIXED = {"segments": 0, "norm_eps": 1e-5, "position_kind": "sinusoidal", "embedding_norm": False}

BASE = ArchSpec(  # table 3; 37,000 byte pairs of English and German (section 5.1)
    vocab=37000,
    hidden=512,
    layers=6,
    heads=8,
    feed_forward=2048,
    width=512,
    activation="relu",
    attention_dropout=0.0,
    scaled_embeddings=True,
    decoder_layers=6,
    decoder_start=36999,
    **FIXED,  # type: ignore[arg-type]
)


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """As BART's.

    Raises:
        UserError: as BART's; also two vocabularies.
    """
    own = config.get("decoder_vocab_size") or config.get("vocab_size")
    if config.get("share_encoder_decoder_embeddings") is False or own != config.get("vocab_size"):
        raise UserError("encoder and decoder with word tables of their own are not supported")
    return bart.read(config)


def constants(spec: ArchSpec) -> dict[str, Any]:
    """The ids of Marian's vocabularies."""
    return {
        "pad_token_id": spec.decoder_start,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
        "bos_token_id": None,
    }


FAMILY = Family(
    name="marian",
    presets={
        "transformer-base": BASE,
        "transformer-big": replace(
            BASE, hidden=1024, width=1024, heads=16, feed_forward=4096, dropout=0.3
        ),
        "opus-mt-en-de": replace(BASE, vocab=58101, decoder_start=58100, activation="swish"),
    },
    fixed=FIXED,
    config=bart.CONFIG,
    read=read,
    write=bart.write,
    config_constants=constants,
    prefix="model.",
    body=bart.STACKS,
    heads={"language_model": bart.LANGUAGE_MODEL},
    tied=("lm_head.weight",),
    ignored=("embed_positions.weight",),  # waves, that anyone can compute
    legacy=bart.LEGACY,
    classification=HeadStyle(activation=None, token="last"),
    architectures={
        frozenset(): "MarianModel",
        frozenset({"language_model"}): "MarianMTModel",
    },
    tokenizer="MarianTokenizer",
)
