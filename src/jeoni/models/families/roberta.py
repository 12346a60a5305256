"""RoBERTa: Liu et al., "RoBERTa: A robustly optimized BERT pretraining approach", 2019.

BERT's body without segments (the table has one row, which every token gets) and without a pooler that
was trained. Positions begin after the padding token's id: the table has rows that nothing uses.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jeoni.models.families import bert
from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row, row

BASE = replace(bert.BASE, vocab=50265, segments=1, norm_eps=1e-5, position_offset=2)
LARGE = replace(bert.LARGE, vocab=50265, segments=1, norm_eps=1e-5, position_offset=2)
POSITIONS = "max_position_embeddings"


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Positions without the unused rows, of which there are as many as the padding id and one more."""
    padding, rows = config.get("pad_token_id"), config.get(POSITIONS, 512)
    padding = 1 if padding is None else padding
    values = {"position_offset": padding + 1 if isinstance(padding, int) else padding}
    if isinstance(rows, int) and isinstance(padding, int):
        return values | {"positions": rows - padding - 1}
    return values | {"positions": rows}


def write(spec: ArchSpec) -> dict[str, Any]:
    """The inverse of ``read``."""
    offset = spec.position_offset
    return {POSITIONS: spec.positions + offset, "pad_token_id": offset - 1}


FAMILY = Family(
    name="roberta",
    presets={
        "roberta-base": BASE,
        "roberta-large": LARGE,
        "distilroberta-base": replace(BASE, layers=6),
    },
    fixed={"position_offset": 2},
    config={ours: theirs for ours, theirs in bert.CONFIG.items() if ours != "positions"},
    read=read,
    write=write,
    config_constants={
        "bos_token_id": 0,
        "eos_token_id": 2,
        "position_embedding_type": "absolute",
    },
    prefix="roberta.",
    body=bert.BODY,
    heads={
        "span": row("out", "qa_outputs"),
        "classification": (
            *row("dense", "classifier.dense"),
            *row("out", "classifier.out_proj"),
        ),
        "tagging": row("out", "classifier"),
        "masked_lm": (
            *row("dense", "lm_head.dense"),
            *row("norm", "lm_head.layer_norm"),
            Row("bias", ("lm_head.bias",)),
            Row("bias", ("lm_head.decoder.bias",), when=bert.untied),
            Row("out.weight", ("lm_head.decoder.weight",), when=bert.untied),
        ),
    },
    tied=("lm_head.decoder.weight", "lm_head.decoder.bias"),
    ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
    unread=("pooler.dense.weight", "pooler.dense.bias"),
    legacy=bert.LEGACY,
    classification=HeadStyle(activation="tanh", dropout_first=True),
    lm_activation="gelu",
    architectures={
        frozenset(): "RobertaModel",
        frozenset({"span"}): "RobertaForQuestionAnswering",
        frozenset({"classification"}): "RobertaForSequenceClassification",
        frozenset({"tagging"}): "RobertaForTokenClassification",
        frozenset({"masked_lm"}): "RobertaForMaskedLM",
    },
    tokenizer="RobertaTokenizer",
)
