"""The published heads that a checkpoint may bring, rebuilt from its tensors."""

from collections.abc import Mapping

from torch import Tensor, nn

from jeoni.base.errors import UserError
from jeoni.models.model import Model
from jeoni.nn.heads import (
    BeamSpanHead,
    ClassificationHead,
    LanguageModelHead,
    MaskedLMHead,
    ReplacedTokenHead,
    SpanBoundaryHead,
    SpanHead,
    TaggingHead,
)


def build_head(kind: str, model: Model, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A head of a published kind, of the size that its tensors have.

    Args:
        kind: ``span``, ``beam_span``, ``classification``, ``next_sentence``, ``sentence_order``,
            ``masked_lm``, ``span_boundary``, ``replaced_token`` or ``language_model`` (one that writes:
            GPT, or a decoder).
        model: whose family and sizes count.
        tensors: the head's tensors, by our names; without them it is as published.
    """
    match kind:
        case "span":
            return SpanHead(model.state_size)
        case "beam_span":
            without = "start.weight" in tensors and "answer.weight" not in tensors
            return beam_span_head(model, answers=not without)
        case "classification":
            return classification_head(model, tensors["out.weight"].shape[0])
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


def published_tagger(model: Model) -> dict[str, Tensor]:
    """Tensors of a tagging head by our names, if the checkpoint is one of ``transformers`` for that.

    Every family calls it ``classifier``, as some do the head of sequences.
    """
    if model.settings.get("task") != "tagging":
        return {}
    ends = [end for end in ("weight", "bias") if f"classifier.{end}" in model.spare]
    return {f"out.{end}": model.spare[f"classifier.{end}"] for end in ends}


def beam_span_head(model: Model, *, answers: bool) -> BeamSpanHead:
    """A head for spans whose end depends on their start; ``answers``: it says if there is none."""
    token, norm_eps = model.family.classification.token, model.spec.norm_eps
    return BeamSpanHead(model.state_size, norm_eps=norm_eps, token=token, answers=answers)


def classification_head(model: Model, classes: int) -> ClassificationHead:
    """A sequence classification head in the style of the model's family; of features, a linear layer."""
    style = model.family.classification
    constants = model.family.constants(model.spec)
    dropout = model.config.get(style.dropout_key, constants.get(style.dropout_key, style.dropout))
    rate = model.spec.dropout if dropout is None else float(dropout)
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
    """A tag for every token; with the dropout that config.json has for classifiers, if it has one."""
    dropout = model.config.get("classifier_dropout")
    return TaggingHead(
        model.state_size,
        classes,
        dropout=model.spec.dropout if dropout is None else float(dropout),
        chain=chain,
    )


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
