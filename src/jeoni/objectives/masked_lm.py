"""Masked language modeling: Devlin et al., "BERT", NAACL 2019, section 3.1."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.models.heads import masked_lm_head
from jeoni.models.model import Model
from jeoni.objectives import _masking
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._objective import Objective, ObjectiveType, Part

HEAD = "masked_lm"
MASKED, ORIGINAL = "masked", "original"


class MaskedLMConfig(_masking.MaskingConfig):
    """Settings: those of masking."""


class MaskedLM(Objective):
    """Predict chosen tokens; vocabulary logits there and nowhere else."""

    corrupts = True

    def attach(self, seed: int) -> None:
        """The vocabulary head, and a tokenizer that has a mask."""
        _masking.mask_id(self.model.tokenizer)
        self.plain = _masking.plain_ids(self.model.tokenizer)
        if HEAD not in self.model.heads:
            self.model.add_head(HEAD, masked_lm_head(self.model), seed=seed)

    def corrupt(self, draft: Draft, noise: Noise) -> Draft:
        """Chosen tokens masked; targets: their places and what they were."""
        return mask(draft, self.config, self.model, self.plain, noise)

    def counts(self, batch: Batch) -> list[float]:
        """Chosen tokens."""
        return [float(len(batch.targets[MASKED]))]

    def rows(self, batch: Batch) -> Mapping[str, float]:
        """As many."""
        return {HEAD: self.counts(batch)[0]}

    def losses(self, hidden: Tensor, batch: Batch) -> list[Part]:
        """Cross-entropy; accuracy too, when the model is not training."""
        targets = batch.targets[ORIGINAL]
        picks = "none" if self.model.training else "best"
        head: Any = self.model.heads[HEAD]
        words = self.model.backbone.embeddings.words.weight
        loss, best = head.loss(hidden[batch.targets[MASKED]], words, targets, picks)
        count = float(len(targets))
        if self.model.training:
            return [Part(loss, count, perplexity=True)]
        right = float((best == targets).sum())
        return [Part(loss, count, perplexity=True, metrics={"accuracy": (right, count)})]


def mask(
    draft: Draft, config: _masking.MaskingConfig, model: Model, plain: Any, noise: Noise
) -> Draft:
    """Mask, and remember where and what.

    Args:
        draft: sequences.
        config: which tokens.
        model: whose tokenizer has the mask.
        plain: tokens that may stand in for others.
        noise: the epoch's.
    """
    chosen = _masking.choose(draft, config, noise)
    ids = _masking.replaced(draft, chosen, config, _masking.mask_id(model.tokenizer), plain, noise)
    return replace(draft, ids=ids).aimed(**{MASKED: chosen, ORIGINAL: draft.ids[chosen]})


OBJECTIVE = ObjectiveType(
    config=MaskedLMConfig,
    objective=MaskedLM,
    about="predict masked tokens from both sides (BERT, RoBERTa)",
)
