"""The published heads that a checkpoint may bring, rebuilt from its tensors."""

from collections.abc import Mapping

from torch import Tensor, nn

from jeoni.base.errors import UserError
from jeoni.models.family import HeadStyle
from jeoni.models.model import Model
from jeoni.nn.heads import (
    BeamSpanHead,
    ClassificationHead,
    LanguageModelHead,
    MaskedLMHead,
    Pooling,
    QuestionSpanHead,
    ReplacedTokenHead,
    SpanBoundaryHead,
    SpanHead,
    TaggingHead,
)


def build_head(kind: str, model: Model, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A head of a published kind, of the size that its tensors have.

    Args:
        kind: ``span``, ``beam_span``, ``question_span``, ``classification``, ``tagging``,
            ``next_sentence``, ``sentence_order``, ``masked_lm``, ``span_boundary``, ``replaced_token``
            or ``language_model`` (one that writes: GPT, or a decoder).
        model: whose family and sizes count.
        tensors: the head's tensors, by our names; without them it is as published.
    """
    match kind:
        case "span":
            return SpanHead(model.state_size)
        case "beam_span":
            without = "start.weight" in tensors and "answer.weight" not in tensors
            return beam_span_head(model, answers=not without)
        case "question_span":
            return QuestionSpanHead(model.state_size, norm_eps=model.spec.norm_eps)
        case "classification":
            return classification_head(model, tensors["out.weight"].shape[0])
        case "tagging":
            return tagging_head(model, tensors["out.weight"].shape[0])
        case "next_sentence" | "sentence_order":
            return classification_head(model, 2)
        case "masked_lm":
            return masked_lm_head(model, tied=model.spec.tied or "out.weight" not in tensors)
        case "span_boundary":
            return span_boundary_head(model, tensors.get("positions.weight"))
        case "language_model":
            return language_model_head(
                model, tied="out.weight" not in tensors, bias="bias" in tensors
            )
        case "replaced_token":
            return ReplacedTokenHead(model.spec.hidden, activation=model.spec.activation)
    raise ValueError(f"no published head is called {kind!r}")


def check_pooling(model: Model, how: Pooling | None, setting: str) -> None:
    """Raise UserError where a recipe's setting takes a first token that sees no other for a text."""
    if how == "first" and model.spec.causal and not model.spec.decoder_layers:
        raise UserError(
            f"{setting}=first: the model's first token sees no other",
            hint=f"{setting}=last, or mean",
        )


def beam_span_head(model: Model, *, answers: bool) -> BeamSpanHead:
    """A head for spans whose end depends on their start; ``answers``: it says if there is none."""
    token, norm_eps = model.family.classification.token, model.spec.norm_eps
    return BeamSpanHead(model.state_size, norm_eps=norm_eps, token=token, answers=answers)


def classification_head(model: Model, classes: int) -> ClassificationHead:
    """A sequence classification head in the style of the model's family; of features, a linear layer."""
    style = model.family.classification
    rate = _dropout(model, style)
    if (features := model.features) is not None:
        return ClassificationHead(
            features.width, classes, activation=None, dropout=rate, token=features.pooling
        )
    return ClassificationHead(
        model.spec.hidden,
        classes,
        activation=style.activation,
        dropout=rate,
        dropout_first=style.dropout_first,
        token=style.token,
        bias=style.bias,
    )


def tagging_head(model: Model, classes: int, chain: nn.Module | None = None) -> TaggingHead:
    """A tag for every token; with the dropout that the family's published taggers have."""
    rate = _dropout(model, model.family.tagging)
    return TaggingHead(model.state_size, classes, dropout=rate, chain=chain)


def _dropout(model: Model, style: HeadStyle) -> float:
    """Before a head's output layer: what config.json says, or the family, or the spec."""
    key, constants = style.dropout_key, model.family.constants(model.spec)
    rate = model.config.get(key, constants.get(key, style.dropout))
    return model.spec.dropout if rate is None else float(rate)


def language_model_head(
    model: Model, *, tied: bool | None = None, bias: bool = False
) -> LanguageModelHead:
    """A head that writes; tied as the model's spec says, unless ``tied`` says otherwise.

    Raises:
        UserError: tied to words that are narrower than the states (factorized embeddings).
    """
    spec = model.spec
    tied = spec.tied if tied is None else tied
    if tied and spec.width != spec.hidden:
        raise UserError(
            f"words of width {spec.width} cannot be written from states of width {spec.hidden}",
            hint=f"spec.width={spec.hidden} or spec.tied=false",
        )
    return LanguageModelHead(
        spec.hidden,
        spec.vocab,
        tied=tied,
        bias=bias or model.family.lm_bias,
        trained=model.family.lm_bias,
        scale=spec.output_scale,
    )


def masked_lm_head(model: Model, *, tied: bool | None = None) -> MaskedLMHead:
    """A vocabulary head in the family's style; tied as the model's spec says, unless ``tied`` does."""
    spec = model.spec
    return MaskedLMHead(
        spec.hidden,
        spec.width,
        spec.vocab,
        activation=model.family.lm_activation or spec.activation,
        norm_eps=spec.norm_eps,
        tied=spec.tied if tied is None else tied,
    )


def span_boundary_head(model: Model, positions: Tensor | None = None) -> SpanBoundaryHead:
    """SpanBERT's head; with a position table like ``positions``, or as large as the published one."""
    spec = model.spec
    longest, width = (20, 200) if positions is None else positions.shape
    return SpanBoundaryHead(
        spec.hidden,
        spec.width,
        spec.vocab,
        longest=longest,
        position_width=width,
        activation=spec.activation,
        norm_eps=spec.norm_eps,
    )
