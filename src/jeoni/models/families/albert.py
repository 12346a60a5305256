"""ALBERT: Lan et al., "ALBERT: A lite BERT for self-supervised learning", ICLR 2020.

Factorized embeddings (section 3.1) and blocks that the layers share: ``sharing`` makes each of the
paper's choices (table 4) of a spec. Version 2 of the published models was trained without dropout.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jeoni.base.errors import UserError
from jeoni.models.families import bert
from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec, Sharing
from jeoni.models.weights import Row, row

CHOICES: tuple[Sharing, ...] = ("none", "attention", "feed_forward", "all")
SHARED = "shared_parameters"
"""Key in config.json where the blocks share a part only, which ``transformers`` does not know: there
every block has its own (equal) tensors."""


def sharing(spec: ArchSpec, choice: Sharing) -> ArchSpec:
    """``spec`` with the layers sharing nothing, their attention, their feed-forward part, or all.

    Raises:
        UserError: another choice.
    """
    if choice not in CHOICES:
        raise UserError(f"sharing is {choice!r}; there are {', '.join(CHOICES)}")
    if choice == "all":
        return replace(spec, blocks=1, shared="none")
    return replace(spec, blocks=None, shared=choice)


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Groups of layers that are one block each."""
    inner = config.get("inner_group_num", 1)
    if inner != 1:
        raise UserError(f"inner_group_num is {inner!r}; a group of one layer is what there is")
    groups, layers = config.get("num_hidden_groups", 1), config.get("num_hidden_layers")
    if not isinstance(groups, int) or not 1 <= groups <= (layers if type(layers) is int else 1):
        raise UserError(f"num_hidden_groups is {groups!r}, not from 1 to the number of layers")
    shared = config.get(SHARED, "none")
    if shared not in ("none", "attention", "feed_forward"):
        raise UserError(f"{SHARED} is {shared!r}, not one of none, attention, feed_forward")
    return {"blocks": None if groups == layers else groups, "shared": shared}


def write(spec: ArchSpec) -> dict[str, Any]:
    """The inverse of ``read``."""
    return {"num_hidden_groups": spec.distinct, "inner_group_num": 1, SHARED: spec.shared}


def _size(hidden: int, layers: int, heads: int) -> ArchSpec:
    return ArchSpec(
        vocab=30000,
        hidden=hidden,
        layers=layers,
        heads=heads,
        feed_forward=4 * hidden,
        width=128,
        blocks=1,
        projected=True,
    )


def _without_dropout(spec: ArchSpec, activation: str) -> ArchSpec:
    return replace(spec, dropout=0.0, attention_dropout=0.0, activation=activation)


BASE = _size(768, 12, 12)
SIZES = {
    "base": BASE,
    "large": _size(1024, 24, 16),
    "xlarge": _size(2048, 24, 16),
    "xxlarge": _without_dropout(_size(4096, 12, 64), "gelu"),
}
GROUP = "encoder.albert_layer_groups.{i}.albert_layers.0"

FAMILY = Family(
    name="albert",
    presets={
        **{f"albert-{size}-v1": spec for size, spec in SIZES.items()},
        **{f"albert-{size}-v2": _without_dropout(s, "gelu_new") for size, s in SIZES.items()},
        "albert-base-shared-none": sharing(BASE, "none"),
        "albert-base-shared-attention": sharing(BASE, "attention"),
        "albert-base-shared-feed-forward": sharing(BASE, "feed_forward"),
    },
    fixed={"projected": True},
    config={
        **{ours: theirs for ours, theirs in bert.CONFIG.items() if ours != "causal"},
        "width": "embedding_size",
    },
    read=read,
    write=write,
    config_constants={
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "classifier_dropout_prob": 0.1,
        "position_embedding_type": "absolute",
    },
    prefix="albert.",
    body=(
        *(entry for entry in bert.BODY if entry.ours.startswith("embeddings.")),
        *row("embeddings.project", "encoder.embedding_hidden_mapping_in"),
        *row(
            "stack.blocks.{i}.attention.qkv",
            f"{GROUP}.attention.query",
            f"{GROUP}.attention.key",
            f"{GROUP}.attention.value",
        ),
        *row("stack.blocks.{i}.attention.out", f"{GROUP}.attention.dense"),
        *row("stack.blocks.{i}.attention_norm", f"{GROUP}.attention.LayerNorm"),
        *row("stack.blocks.{i}.feed_forward.up", f"{GROUP}.ffn"),
        *row("stack.blocks.{i}.feed_forward.down", f"{GROUP}.ffn_output"),
        *row("stack.blocks.{i}.feed_forward_norm", f"{GROUP}.full_layer_layer_norm"),
    ),
    heads={
        "span": row("out", "qa_outputs"),
        "classification": (*row("dense", "albert.pooler"), *row("out", "classifier")),
        "tagging": row("out", "classifier"),
        "sentence_order": (
            *row("dense", "albert.pooler"),
            *row("out", "sop_classifier.classifier"),
        ),
        "masked_lm": (
            *row("dense", "predictions.dense"),
            *row("norm", "predictions.LayerNorm"),
            Row("bias", ("predictions.bias",)),
            Row("bias", ("predictions.decoder.bias",), when=bert.untied),
            Row("out.weight", ("predictions.decoder.weight",), when=bert.untied),
        ),
    },
    tied=("predictions.decoder.weight", "predictions.decoder.bias"),
    ignored=("embeddings.position_ids",),
    legacy=bert.LEGACY,
    classification=HeadStyle(activation="tanh", dropout_key="classifier_dropout_prob", dropout=0.1),
    tagging=HeadStyle(activation=None, dropout_key="classifier_dropout_prob", dropout=0.1),
    architectures={
        frozenset(): "AlbertModel",
        frozenset({"span"}): "AlbertForQuestionAnswering",
        frozenset({"classification"}): "AlbertForSequenceClassification",
        frozenset({"tagging"}): "AlbertForTokenClassification",
        frozenset({"masked_lm"}): "AlbertForMaskedLM",
        frozenset({"masked_lm", "sentence_order"}): "AlbertForPreTraining",
    },
    tokenizer="AlbertTokenizer",
)
