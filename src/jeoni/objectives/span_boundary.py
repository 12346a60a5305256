"""Span masking and the span-boundary objective: Joshi et al., "SpanBERT", TACL 2020, section 3."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.models.heads import masked_lm_head, span_boundary_head
from jeoni.objectives import _masking, _spans
from jeoni.objectives._draft import Draft, Ints, Noise
from jeoni.objectives._objective import Objective, ObjectiveType, Part
from jeoni.objectives.masked_lm import HEAD as FILL
from jeoni.objectives.masked_lm import MASKED, ORIGINAL

HEAD = "span_boundary"
LEFT, RIGHT, PLACE, INSIDE = "span_left", "span_right", "span_place", "span_inside"


class SpanBoundaryConfig(_spans.SpanConfig):
    """Settings.

    Attributes:
        rate, stop, longest, whole_words, mask, random: of the spans.
        boundary: weight of the loss from the boundaries; that of the masked tokens' own states is 1.
    """

    boundary: float = Field(1.0, gt=0)


class SpanBoundary(Objective):
    """Predict masked spans, from their own states and from the tokens on either side."""

    corrupts = True

    def attach(self, seed: int) -> None:
        """The vocabulary head and the one for boundaries, and a tokenizer that has a mask."""
        model = self.model
        self.mask = _masking.mask_id(model.tokenizer)
        self.plain = _masking.plain_ids(model.tokenizer)
        if FILL not in model.heads:
            model.add_head(FILL, masked_lm_head(model), seed=seed)
        if HEAD not in model.heads:
            model.add_head(HEAD, span_boundary_head(model), seed=seed)

    def corrupt(self, draft: Draft, noise: Noise) -> Draft:
        """Spans masked, changed or kept, each as a whole.

        Targets: places and originals of their tokens; and of those that the boundaries are asked for,
        where the tokens on either side are, which place in the span, and which of the targets it is.
        """
        starts, ends = _spans.spans(draft, self.config, noise)
        lengths = ends - starts
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        chosen = np.repeat(starts, lengths) + within
        ids = self._replaced(draft, starts, lengths, chosen, noise)
        left, right = np.repeat(starts - 1, lengths), np.repeat(ends, lengths)
        asked = np.flatnonzero((within < self._longest) & _bounded(draft, left, right, chosen))
        return replace(draft, ids=ids).aimed(
            **{MASKED: chosen, ORIGINAL: draft.ids[chosen]},
            **{LEFT: left[asked], RIGHT: right[asked], PLACE: within[asked], INSIDE: asked},
        )

    def counts(self, batch: Batch) -> list[float]:
        """Tokens of spans, and those of them that the boundaries are asked for."""
        return [float(len(batch.targets[MASKED])), float(len(batch.targets[INSIDE]))]

    def rows(self, batch: Batch) -> Mapping[str, float]:
        """As many, of two heads."""
        return dict(zip((FILL, HEAD), self.counts(batch), strict=True))

    def losses(self, hidden: Tensor, batch: Batch) -> list[Part]:
        """Both cross-entropies; accuracies too, when the model is not training."""
        given, wanted = batch.targets, batch.targets[ORIGINAL]
        pick = "none" if self.model.training else "best"
        fill: Any = self.model.heads[FILL]
        head: Any = self.model.heads[HEAD]
        words = self.model.backbone.embeddings.words.weight
        inside = wanted[given[INSIDE]]
        around = (given[LEFT], given[RIGHT], given[PLACE])
        own, best = fill.loss(hidden[given[MASKED]], words, wanted, pick)
        outer, guess = head.loss(hidden, *around, words, inside, pick)
        masked = Part(own, float(len(wanted)), name="masked_loss", perplexity=True)
        bounds = Part(
            outer,
            float(len(inside)),
            weight=self.config.boundary,
            name="boundary_loss",
            perplexity=True,
        )
        if self.model.training:
            return [masked, bounds]
        right = {"accuracy": (float((best == wanted).sum()), masked.count)}
        outside = {"boundary_accuracy": (float((guess == inside).sum()), bounds.count)}
        return [replace(masked, metrics=right), replace(bounds, metrics=outside)]

    @property
    def _longest(self) -> int:
        head: Any = self.model.heads[HEAD]
        return int(head.positions.num_embeddings)

    def _replaced(
        self, draft: Draft, starts: Ints, lengths: Ints, chosen: Ints, noise: Noise
    ) -> Ints:
        """The ids with whole spans masked, random or kept: the lot of its first token is a span's."""
        ids = draft.ids.copy()
        lot = np.repeat(noise.tokens("replacement", draft)[starts], lengths)
        config = self.config
        ids[chosen[lot < config.mask]] = self.mask
        other = chosen[(lot >= config.mask) & (lot < config.mask + config.random)]
        drawn = noise.tokens("token", draft)[other]
        ids[other] = self.plain[(drawn * len(self.plain)).astype(np.int64)]
        return ids


def _bounded(draft: Draft, left: Ints, right: Ints, chosen: Ints) -> Any:
    """Whether there is a token on either side, in the same sequence."""
    owners, last = draft.owners, len(draft.ids) - 1
    inside = (left >= 0) & (right <= last)
    left, right = np.maximum(left, 0), np.minimum(right, last)
    return inside & (owners[left] == owners[chosen]) & (owners[right] == owners[chosen])


OBJECTIVE = ObjectiveType(
    config=SpanBoundaryConfig,
    objective=SpanBoundary,
    about="predict masked spans from themselves and from their boundaries (SpanBERT)",
)
