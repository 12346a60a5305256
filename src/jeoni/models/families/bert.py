"""BERT: Devlin et al., "BERT: Pre-training of deep bidirectional transformers", NAACL 2019."""

from dataclasses import replace

from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row, row

BASE = ArchSpec(vocab=30522, hidden=768, layers=12, heads=12, feed_forward=3072, width=768)
LARGE = ArchSpec(vocab=30522, hidden=1024, layers=24, heads=16, feed_forward=4096, width=1024)


def _miniature(layers: int, hidden: int) -> ArchSpec:
    """One of the 24 miniatures (Turc et al., "Well-read students learn better", 2019)."""
    return ArchSpec(
        vocab=30522,
        hidden=hidden,
        layers=layers,
        heads=hidden // 64,
        feed_forward=4 * hidden,
        width=hidden,
    )


TINY = ArchSpec(vocab=30522, hidden=312, layers=4, heads=12, feed_forward=1200, width=312)
"""TinyBERT of 4 layers (Jiao et al., "TinyBERT", Findings of EMNLP 2020, section 4.2)."""

BOUNDARY = "cls.pair_target_predictions"
"""SpanBERT's head (Joshi et al., "SpanBERT", TACL 2020), by the names of its authors' checkpoints."""

BODY = (
    Row("embeddings.words.weight", ("embeddings.word_embeddings.weight",)),
    Row("embeddings.positions.weight", ("embeddings.position_embeddings.weight",)),
    Row("embeddings.segments.weight", ("embeddings.token_type_embeddings.weight",)),
    *row("embeddings.norm", "embeddings.LayerNorm"),
    *row(
        "stack.blocks.{i}.attention.qkv",
        "encoder.layer.{i}.attention.self.query",
        "encoder.layer.{i}.attention.self.key",
        "encoder.layer.{i}.attention.self.value",
    ),
    *row("stack.blocks.{i}.attention.out", "encoder.layer.{i}.attention.output.dense"),
    *row("stack.blocks.{i}.attention_norm", "encoder.layer.{i}.attention.output.LayerNorm"),
    *row("stack.blocks.{i}.feed_forward.up", "encoder.layer.{i}.intermediate.dense"),
    *row("stack.blocks.{i}.feed_forward.down", "encoder.layer.{i}.output.dense"),
    *row("stack.blocks.{i}.feed_forward_norm", "encoder.layer.{i}.output.LayerNorm"),
)


def untied(spec: ArchSpec) -> bool:
    """Whether a vocabulary head has weights of its own (``tie_word_embeddings: false``)."""
    return not spec.tied


CONFIG = {
    "vocab": "vocab_size",
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
    "activation": "hidden_act",
    "norm_eps": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "causal": "is_decoder",
    "init_range": "initializer_range",
    "tied": "tie_word_embeddings",
}

LEGACY = ((".gamma", ".weight"), (".beta", ".bias"))

FAMILY = Family(
    name="bert",
    presets={
        "bert-base": BASE,
        "bert-large": LARGE,
        "bert-base-uncased": BASE,
        "bert-base-cased": replace(BASE, vocab=28996),
        "bert-base-multilingual-cased": replace(BASE, vocab=119547),
        "bert-base-multilingual-uncased": replace(BASE, vocab=105879),
        "bert-large-uncased": LARGE,
        "bert-large-cased": replace(LARGE, vocab=28996),
        **{
            f"bert-L{layers}-H{hidden}": _miniature(layers, hidden)
            for layers in (2, 4, 6, 8, 10, 12)
            for hidden in (128, 256, 512, 768)
        },
        "tinybert-4": TINY,
        "tinybert-6": replace(BASE, layers=6),
        "spanbert-base-cased": replace(BASE, vocab=28996),
        "spanbert-large-cased": replace(LARGE, vocab=28996),
    },
    config=CONFIG,
    config_constants={"pad_token_id": 0, "position_embedding_type": "absolute"},
    prefix="bert.",
    body=BODY,
    heads={
        "span": row("out", "qa_outputs"),
        "classification": (*row("dense", "bert.pooler.dense"), *row("out", "classifier")),
        "tagging": row("out", "classifier"),
        "next_sentence": (
            *row("dense", "bert.pooler.dense"),
            *row("out", "cls.seq_relationship"),
        ),
        "masked_lm": (
            *row("dense", "cls.predictions.transform.dense"),
            *row("norm", "cls.predictions.transform.LayerNorm"),
            Row("bias", ("cls.predictions.bias",)),
            Row("bias", ("cls.predictions.decoder.bias",), when=untied),
            Row("out.weight", ("cls.predictions.decoder.weight",), when=untied),
        ),
        "span_boundary": (
            Row("positions.weight", (f"{BOUNDARY}.position_embeddings.weight",)),
            *row("first", f"{BOUNDARY}.mlp_layer_norm.linear1"),
            *row("first_norm", f"{BOUNDARY}.mlp_layer_norm.layer_norm1"),
            *row("second", f"{BOUNDARY}.mlp_layer_norm.linear2"),
            *row("second_norm", f"{BOUNDARY}.mlp_layer_norm.layer_norm2"),
            Row("bias", (f"{BOUNDARY}.bias",)),
        ),
    },
    tied=(
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
        f"{BOUNDARY}.decoder.weight",
    ),
    ignored=("embeddings.position_ids",),
    legacy=LEGACY,
    classification=HeadStyle(activation="tanh", dropout_first=False),
    architectures={
        frozenset(): "BertModel",
        frozenset({"span"}): "BertForQuestionAnswering",
        frozenset({"classification"}): "BertForSequenceClassification",
        frozenset({"tagging"}): "BertForTokenClassification",
        frozenset({"masked_lm"}): "BertForMaskedLM",
        frozenset({"next_sentence"}): "BertForNextSentencePrediction",
        frozenset({"masked_lm", "next_sentence"}): "BertForPreTraining",
    },
    tokenizer="BertTokenizer",
)
