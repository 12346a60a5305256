"""GPT-1: Radford et al., "Improving language understanding by generative pre-training", 2018.

A decoder alone with the norms of 2017, after each part (section 4.1); output tied to the word table.
"""

from collections.abc import Mapping
from typing import Any

from jeoni.base.errors import UserError
from jeoni.models.families import gpt2
from jeoni.models.family import Family
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import weight

FIXED = {"segments": 0, "causal": True, "embedding_norm": False}
# "gelu" in these checkpoints is the tanh approximation; there is no word for the exact one.
ACTIVATIONS = {"gelu": "gelu_new", "relu": "relu", "silu": "silu", "swish": "swish"}
OWN = ("activation", "scaled_attention")


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """The activation by its name here, the inner width.

    Raises:
        UserError: an activation that the family does not have.
    """
    gpt2.one_dropout(config)
    name, hidden = config.get("afn", "gelu"), config.get("n_embd")
    if name not in list(ACTIVATIONS):
        raise UserError(f"afn is {name!r}, not one of {', '.join(ACTIVATIONS)}")
    inner = 4 * hidden if isinstance(hidden, int) else hidden
    return {
        "activation": ACTIVATIONS[name],
        "feed_forward": inner,
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
    }


def write(spec: ArchSpec) -> dict[str, Any]:
    """The inverse of ``read``.

    Raises:
        UserError: an architecture that config.json has no words for.
    """
    names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    if spec.activation not in names:
        raise UserError(f"GPT-1's config.json has no word for {spec.activation}: take gelu_new")
    if spec.feed_forward != 4 * spec.hidden:
        raise UserError("GPT-1's feed-forward part is four times as wide as the model")
    return {"afn": names[spec.activation], "embd_pdrop": spec.dropout}


FAMILY = Family(
    name="openai-gpt",
    presets={
        "openai-gpt": ArchSpec(
            vocab=40478,
            hidden=768,
            layers=12,
            heads=12,
            feed_forward=3072,
            width=768,
            activation="gelu_new",
            norm_eps=1e-5,
            **FIXED,  # type: ignore[arg-type]
        ),
    },
    fixed=FIXED,
    config={ours: theirs for ours, theirs in gpt2.CONFIG.items() if ours not in OWN},
    read=read,
    write=write,
    prefix="transformer.",
    body=(
        weight("embeddings.words", "tokens_embed"),
        weight("embeddings.positions", "positions_embed"),
        *gpt2.BLOCKS,
    ),
    heads={
        "language_model": gpt2.LANGUAGE_MODEL,
        "classification": (weight("out", "score"),),
    },
    tied=("lm_head.weight",),
    ignored=(".attn.bias", "position_ids"),
    classification=gpt2.CLASSIFICATION,
    architectures={
        frozenset(): "OpenAIGPTModel",
        frozenset({"language_model"}): "OpenAIGPTLMHeadModel",
        frozenset({"classification"}): "OpenAIGPTForSequenceClassification",
    },
    tokenizer="OpenAIGPTTokenizer",
)
