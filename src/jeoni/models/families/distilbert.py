"""DistilBERT: Sanh et al., "DistilBERT, a distilled version of BERT", 2019.

BERT with half of the layers, without segments and pooler (section 3). ``jeoni.distillation.student`` makes
one from a BERT's layers.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from jeoni.models import backbone
from jeoni.models.families import bert
from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row, row


@dataclass(frozen=True, kw_only=True)
class DistilBertSpec(ArchSpec):
    """The family's own number.

    Attributes:
        sinusoidal: positions are waves, not learned (``sinusoidal_pos_embds``).
    """

    sinusoidal: bool = False


class WaveTable(nn.Module):
    """Sine and cosine by turns (Vaswani et al., 2017, section 3.5), as a table that does not learn.

    Checkpoints hold the table, so it is loaded and written.
    """

    weight: Tensor

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        rates = 10000.0 ** (-2 * (torch.arange(width) // 2).double() / width)
        angles = torch.arange(positions).double()[:, None] * rates
        even = torch.arange(width) % 2 == 0
        self.register_buffer("weight", torch.where(even, angles.sin(), angles.cos()).float())

    def forward(self, positions: Tensor) -> Tensor:
        """``[N]`` to ``[N, width]``."""
        return nn.functional.embedding(positions, self.weight)


def build(spec: DistilBertSpec) -> nn.Module:
    """The common transformer; its positions are waves if the spec says so."""
    body: Any = backbone.build(spec)
    if spec.sinusoidal:
        body.embeddings.positions = WaveTable(spec.positions, spec.width)
    return body  # type: ignore[no-any-return]


BASE = DistilBertSpec(
    vocab=30522, hidden=768, layers=6, heads=12, feed_forward=3072, width=768, segments=0
)

FAMILY = Family(
    name="distilbert",
    presets={
        "distilbert-base-uncased": BASE,
        "distilbert-base-cased": replace(BASE, vocab=28996),
        "distilbert-base-multilingual-cased": replace(BASE, vocab=119547),
    },
    spec=DistilBertSpec,
    fixed={"segments": 0, "norm_eps": 1e-12},
    config={
        "vocab": "vocab_size",
        "hidden": "dim",
        "layers": "n_layers",
        "heads": "n_heads",
        "feed_forward": "hidden_dim",
        "positions": "max_position_embeddings",
        "activation": "activation",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "init_range": "initializer_range",
        "tied": "tie_word_embeddings",
        "sinusoidal": "sinusoidal_pos_embds",
    },
    config_constants={"pad_token_id": 0, "qa_dropout": 0.1, "seq_classif_dropout": 0.2},
    prefix="distilbert.",
    body=(
        *(r for r in bert.BODY if r.ours.startswith("embeddings.") and "segments" not in r.ours),
        *row(
            "stack.blocks.{i}.attention.qkv",
            "transformer.layer.{i}.attention.q_lin",
            "transformer.layer.{i}.attention.k_lin",
            "transformer.layer.{i}.attention.v_lin",
        ),
        *row("stack.blocks.{i}.attention.out", "transformer.layer.{i}.attention.out_lin"),
        *row("stack.blocks.{i}.attention_norm", "transformer.layer.{i}.sa_layer_norm"),
        *row("stack.blocks.{i}.feed_forward.up", "transformer.layer.{i}.ffn.lin1"),
        *row("stack.blocks.{i}.feed_forward.down", "transformer.layer.{i}.ffn.lin2"),
        *row("stack.blocks.{i}.feed_forward_norm", "transformer.layer.{i}.output_layer_norm"),
    ),
    heads={
        "span": row("out", "qa_outputs"),
        "classification": (*row("dense", "pre_classifier"), *row("out", "classifier")),
        "tagging": row("out", "classifier"),
        "masked_lm": (
            *row("dense", "vocab_transform"),
            *row("norm", "vocab_layer_norm"),
            Row("bias", ("vocab_projector.bias",)),
            Row("out.weight", ("vocab_projector.weight",), when=bert.untied),
        ),
    },
    tied=("vocab_projector.weight",),
    ignored=("embeddings.position_ids",),
    legacy=bert.LEGACY,
    classification=HeadStyle(activation="relu", dropout_key="seq_classif_dropout", dropout=0.2),
    tagging=HeadStyle(activation=None, dropout_key=""),
    build=build,
    architectures={
        frozenset(): "DistilBertModel",
        frozenset({"span"}): "DistilBertForQuestionAnswering",
        frozenset({"classification"}): "DistilBertForSequenceClassification",
        frozenset({"tagging"}): "DistilBertForTokenClassification",
        frozenset({"masked_lm"}): "DistilBertForMaskedLM",
    },
    tokenizer="DistilBertTokenizer",
)
