"""XLNet: Yang et al., "XLNet: Generalized autoregressive pretraining", NeurIPS 2019.

A transformer with Transformer-XL's relative positions and memory, which can predict tokens in any order
by a second stream (``nn/two_stream.py``). Position and segment tables there are none, so no longest length.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from jeoni.base.errors import UserError
from jeoni.models.family import Family, HeadStyle
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row, row
from jeoni.nn.block import Block, FeedForward
from jeoni.nn.embeddings import Embeddings
from jeoni.nn.relative import RelativeAttention
from jeoni.nn.stack import Stack
from jeoni.nn.two_stream import TwoStream
from jeoni.ops.relative import Sight


@dataclass(frozen=True, kw_only=True)
class XLNetSpec(ArchSpec):
    """The family's own numbers.

    Attributes:
        clamp: distances beyond count as this; 0: none do (``clamp_len``).
        same_length: a causal model sees no farther back than it remembers tokens.
        remembered: tokens of memory; 0: all (``mem_len``).
        reused: of each text, only so many first tokens are remembered; 0: all (``reuse_len``).
    """

    clamp: int = 0
    same_length: bool = False
    remembered: int = 0
    reused: int = 0


FIXED = {"segments": 0, "position_kind": "relative", "norm_eps": 1e-12}
BASE = XLNetSpec(
    vocab=32000,
    hidden=768,
    layers=12,
    heads=12,
    feed_forward=3072,
    width=768,
    inner_dropout=0.1,
    output_dropout=0.1,
    **FIXED,  # type: ignore[arg-type]
)
LARGE = replace(BASE, hidden=1024, width=1024, layers=24, heads=16, feed_forward=4096)


def build(spec: XLNetSpec) -> nn.Module:
    """The two-stream stack."""
    words = nn.Embedding(spec.vocab, spec.width)
    return TwoStream(
        embeddings=Embeddings(
            words=words,
            hidden=spec.hidden,
            positions=None,
            segments=0,
            norm=None,
            dropout=spec.dropout,
        ),
        stack=Stack([_block(spec) for _ in range(spec.layers)], dropout=spec.output_dropout),
        sight=Sight(causal=spec.causal, same_length=spec.same_length),
        clamp=spec.clamp,
        remembered=spec.remembered,
        reused=spec.reused,
        dropout=spec.dropout,
    )


def _block(spec: XLNetSpec) -> Block:
    return Block(
        attention=RelativeAttention(
            hidden=spec.hidden, heads=spec.heads, dropout=spec.attention_dropout
        ),
        feed_forward=FeedForward(
            hidden=spec.hidden,
            inner=spec.feed_forward,
            activation=spec.activation,
            dropout=spec.inner_dropout,
        ),
        norms=tuple(nn.LayerNorm(spec.hidden, eps=spec.norm_eps) for _ in range(2)),
        order="post",
        dropout=spec.dropout,
    )


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json tells in its own way.

    Raises:
        UserError: a variant that is not built here.
    """
    kind = config.get("attn_type", "bi")
    if kind not in ("bi", "uni"):
        raise UserError(f"attn_type is {kind!r}, neither 'bi' nor 'uni'")
    if config.get("bi_data"):
        raise UserError("bi_data (half of a batch is read backwards) is not supported")
    hidden, heads, size = (config.get(key) for key in ("d_model", "n_head", "d_head"))
    whole = isinstance(size, int) and isinstance(heads, int) and size * heads == hidden
    if size is not None and not whole:
        raise UserError(f"d_head is {size!r}, but d_model {hidden} has {heads} heads")
    _check_summary(config)
    dropout, clamp = config.get("dropout", 0.1), config.get("clamp_len", -1)
    return {
        "causal": kind == "uni",
        "clamp": max(clamp, 0) if isinstance(clamp, int) else clamp,
        "remembered": config.get("mem_len") or 0,
        "reused": config.get("reuse_len") or 0,
        "dropout": dropout,
        "attention_dropout": dropout,
        "inner_dropout": dropout,
        "output_dropout": dropout,
    }


def _check_summary(config: Mapping[str, Any]) -> None:
    """Of the ways to sum up a sequence that config.json has words for, the published one is built."""
    if "XLNetForSequenceClassification" not in (config.get("architectures") or ()):
        return
    usual = {"summary_type": "last", "summary_use_proj": True, "summary_activation": "tanh"}
    for key, value in usual.items():
        if config.get(key, value) != value:
            raise UserError(f"{key} is {config[key]!r}; a classifier with {value!r} is built here")


def write(spec: XLNetSpec) -> dict[str, Any]:
    """The inverse of ``read``."""
    return {
        "attn_type": "uni" if spec.causal else "bi",
        "clamp_len": spec.clamp or -1,
        "mem_len": spec.remembered or None,
        "reuse_len": spec.reused or None,
        "dropout": spec.dropout,
        "d_head": spec.hidden // spec.heads,
    }


def _by_heads(spec: XLNetSpec) -> tuple[int, ...]:
    return (spec.heads, spec.hidden // spec.heads)


def _joined(ours: str, *theirs: str, transposed: bool = True) -> Row:
    """A projection whose published weights have the heads as a dimension of their own."""
    return Row(f"{ours}.weight", theirs, transposed=transposed, split=_by_heads)


OURS, THEIRS = "stack.blocks.{i}.attention", "layer.{i}.rel_attn"
HEAD = "end_logits"

FAMILY = Family(
    name="xlnet",
    presets={"xlnet-base-cased": BASE, "xlnet-large-cased": LARGE},
    spec=XLNetSpec,
    fixed={key: FIXED[key] for key in ("segments", "position_kind")},
    config={
        "vocab": "vocab_size",
        "hidden": "d_model",
        "layers": "n_layer",
        "heads": "n_head",
        "feed_forward": "d_inner",
        "activation": "ff_activation",
        "norm_eps": "layer_norm_eps",
        "init_range": "initializer_range",
        "same_length": "same_length",
        "tied": "tie_word_embeddings",
    },
    read=read,
    write=write,
    config_constants={
        "pad_token_id": 5,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "summary_type": "last",
        "summary_use_proj": True,
        "summary_activation": "tanh",
        "summary_last_dropout": 0.1,
        "start_n_top": 5,
        "end_n_top": 5,
    },
    prefix="transformer.",
    body=(
        Row("embeddings.words.weight", ("word_embedding.weight",)),
        Row("blank.weight", ("mask_emb",), unsqueezed=True),
        _joined(f"{OURS}.qkv", f"{THEIRS}.q", f"{THEIRS}.k", f"{THEIRS}.v"),
        _joined(f"{OURS}.distance", f"{THEIRS}.r"),
        _joined(f"{OURS}.out", f"{THEIRS}.o", transposed=False),
        Row(f"{OURS}.content_bias", (f"{THEIRS}.r_w_bias",)),
        Row(f"{OURS}.distance_bias", (f"{THEIRS}.r_r_bias",)),
        Row(f"{OURS}.segment_bias", (f"{THEIRS}.r_s_bias",)),
        Row(f"{OURS}.segments", (f"{THEIRS}.seg_embed",)),
        *row("stack.blocks.{i}.attention_norm", f"{THEIRS}.layer_norm"),
        *row("stack.blocks.{i}.feed_forward.up", "layer.{i}.ff.layer_1"),
        *row("stack.blocks.{i}.feed_forward.down", "layer.{i}.ff.layer_2"),
        *row("stack.blocks.{i}.feed_forward_norm", "layer.{i}.ff.layer_norm"),
    ),
    heads={
        "language_model": (
            Row("bias", ("lm_loss.bias",)),
            Row("out.weight", ("lm_loss.weight",), optional=True),
        ),
        "span": row("out", "qa_outputs"),
        "beam_span": (
            *row("start", "start_logits.dense"),
            *row("end_dense", f"{HEAD}.dense_0"),
            *row("end_norm", f"{HEAD}.LayerNorm"),
            *row("end", f"{HEAD}.dense_1"),
            *(replace(r, optional=True) for r in row("answer_dense", "answer_class.dense_0")),
            Row("answer.weight", ("answer_class.dense_1.weight",), optional=True),
        ),
        "classification": (
            *row("dense", "sequence_summary.summary"),
            *row("out", "logits_proj"),
        ),
        "tagging": row("out", "classifier"),
    },
    tied=("lm_loss.weight",),
    classification=HeadStyle(
        activation="tanh", token="last", dropout_key="summary_last_dropout", dropout=0.1
    ),
    tagging=HeadStyle(activation=None, dropout_key="", dropout=0.0),
    lm_bias=True,
    build=build,
    architectures={
        frozenset(): "XLNetModel",
        frozenset({"language_model"}): "XLNetLMHeadModel",
        frozenset({"classification"}): "XLNetForSequenceClassification",
        frozenset({"tagging"}): "XLNetForTokenClassification",
        frozenset({"span"}): "XLNetForQuestionAnsweringSimple",
        frozenset({"beam_span"}): "XLNetForQuestionAnswering",
    },
    tokenizer="XLNetTokenizer",
)
