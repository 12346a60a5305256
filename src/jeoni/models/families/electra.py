"""ELECTRA: Clark et al., "ELECTRA: Pre-training text encoders as discriminators", ICLR 2020.

Discriminator and generator are one body each; what they are shows in their head (``replaced_token``
or ``masked_lm``). A generator is the discriminator's layers at a fraction of its width (section 3.2).
"""

from dataclasses import replace

from jeoni.models.families import bert
from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row, row

SMALL = ArchSpec(vocab=30522, hidden=256, layers=12, heads=4, feed_forward=1024, width=128)
BASE = ArchSpec(vocab=30522, hidden=768, layers=12, heads=12, feed_forward=3072, width=768)
LARGE = ArchSpec(vocab=30522, hidden=1024, layers=24, heads=16, feed_forward=4096, width=1024)

FAMILY = Family(
    name="electra",
    presets={
        "electra-small": SMALL,
        "electra-base": BASE,
        "electra-large": LARGE,
        "electra-small-discriminator": SMALL,
        "electra-small-generator": SMALL,
        "electra-base-discriminator": BASE,
        "electra-base-generator": replace(BASE, hidden=256, heads=4, feed_forward=1024),
        "electra-large-discriminator": LARGE,
        "electra-large-generator": replace(LARGE, hidden=256, heads=4, feed_forward=1024),
    },
    config={**bert.CONFIG, "width": "embedding_size"},
    config_constants={"pad_token_id": 0, "position_embedding_type": "absolute"},
    prefix="electra.",
    body=(*bert.BODY, *row("embeddings.project", "embeddings_project")),
    heads={
        "span": row("out", "qa_outputs"),
        "classification": (
            *row("dense", "classifier.dense"),
            *row("out", "classifier.out_proj"),
        ),
        "tagging": row("out", "classifier"),
        "masked_lm": (
            *row("dense", "generator_predictions.dense"),
            *row("norm", "generator_predictions.LayerNorm"),
            Row("bias", ("generator_lm_head.bias",)),
            Row("out.weight", ("generator_lm_head.weight",), when=bert.untied),
        ),
        "replaced_token": (
            *row("dense", "discriminator_predictions.dense"),
            *row("out", "discriminator_predictions.dense_prediction"),
        ),
    },
    tied=("generator_lm_head.weight",),
    ignored=("embeddings.position_ids",),
    legacy=bert.LEGACY,
    classification=HeadStyle(activation="gelu", dropout_first=True),
    lm_activation="gelu",
    architectures={
        frozenset(): "ElectraModel",
        frozenset({"span"}): "ElectraForQuestionAnswering",
        frozenset({"classification"}): "ElectraForSequenceClassification",
        frozenset({"tagging"}): "ElectraForTokenClassification",
        frozenset({"masked_lm"}): "ElectraForMaskedLM",
        frozenset({"replaced_token"}): "ElectraForPreTraining",
    },
    tokenizer="ElectraTokenizer",
)
