"""Replaced-token detection: Clark et al., "ELECTRA", ICLR 2020, section 2 and 3.

A small generator fills masked places in; the model says of every token whether it is the original. The two
train together and share embeddings; the generator is dropped when the model is saved.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.heads import masked_lm_head
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.nn.heads import ReplacedTokenHead
from jeoni.objectives import _masking
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._objective import Objective, ObjectiveType, Part
from jeoni.objectives.masked_lm import HEAD as FILL
from jeoni.objectives.masked_lm import MASKED, ORIGINAL, mask

HEAD = "replaced_token"
LOTS = "lots"


class ReplacedTokenConfig(_masking.MaskingConfig):
    """Settings.

    Attributes:
        rate, mask, random, whole_words, ngram: of the generator's input; here what is not masked is kept.
        generator_size: width of the generator's layers over the model's (section 3.2).
        generator_layers: of the generator; as many as the model's without it.
        detection: weight of the detection loss; the generator's is 1 (section 3.1).
    """

    mask: _masking.Share = 0.85
    random: _masking.Share = 0.0
    generator_size: float = Field(0.25, gt=0, le=1)
    generator_layers: int | None = Field(None, ge=1)
    detection: float = Field(50.0, gt=0)


class ReplacedToken(Objective):
    """Generator and discriminator, jointly."""

    corrupts = True
    alone = True

    def attach(self, seed: int) -> None:
        """The detection head on the model, and a generator beside it."""
        model = self.model
        if model.spec.decoder_layers or model.spec.causal:
            raise UserError("replaced_token: the model must see both sides of a token (an encoder)")
        _masking.mask_id(model.tokenizer)
        self.plain = _masking.plain_ids(model.tokenizer)
        if HEAD not in model.heads:
            head = ReplacedTokenHead(model.spec.hidden, activation=model.spec.activation)
            model.add_head(HEAD, head, seed=seed)
        self.generator = _generator(model, self.config, seed)
        self._both = nn.ModuleDict({"model": model, "generator": self.generator})

    @property
    def module(self) -> nn.Module:
        """Model and generator; what they share is there once."""
        return self._both

    def corrupt(self, draft: Draft, noise: Noise) -> Draft:
        """The generator's input; targets: places, what was there, and what decides what it writes."""
        masked = mask(draft, self.config, self.model, self.plain, noise)
        lots = noise.tokens("written", draft)[masked.targets[MASKED]]
        return masked.aimed(**{LOTS: lots})

    def counts(self, batch: Batch) -> list[float]:
        """Masked tokens for the generator, all tokens for the model."""
        return [float(len(batch.targets[MASKED])), float(sum(batch.lengths))]

    def rows(self, batch: Batch) -> Mapping[str, float]:
        """Tokens that the generator fills in."""
        return {FILL: self.counts(batch)[0]}

    def run(self, batch: Batch) -> Tensor:
        """The generator's states."""
        hidden: Tensor = self.generator(batch)
        return hidden

    def losses(self, hidden: Tensor, batch: Batch) -> list[Part]:
        """The generator's loss and that of detection, weighted.

        No gradient passes through what the generator writes; a token that it gets right counts as original.
        """
        places, wanted = batch.targets[MASKED], batch.targets[ORIGINAL]
        fill: Any = self.generator.heads[FILL]
        words = self.generator.backbone.embeddings.words.weight
        loss, written = fill.loss(hidden[places], words, wanted, batch.targets[LOTS])
        read = replace(batch, ids=batch.ids.index_copy(0, places, written))
        truth = torch.zeros(len(batch.ids), device=hidden.device)
        truth = truth.index_copy(0, places, (written != wanted).float())
        head: Any = self.model.heads[HEAD]
        logits = head(self.model(read)).float()
        detection = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="sum")
        count = float(len(logits))
        filled = Part(loss, float(len(wanted)), name="generator_loss", perplexity=True)
        found = Part(detection, count, weight=self.config.detection, name="detection_loss")
        if self.model.training:
            return [filled, found]
        return [filled, replace(found, metrics=_figures(logits, truth, places))]


def _figures(logits: Tensor, truth: Tensor, places: Tensor) -> dict[str, tuple[float, float]]:
    """Accuracy, and, as most tokens are original, precision and recall of replaced ones."""
    said, replaced_ = logits > 0, truth > 0
    both = float((said & replaced_).sum())
    return {
        "accuracy": (float((said == replaced_).sum()), float(len(truth))),
        "precision": (both, float(said.sum())),
        "recall": (both, float(replaced_.sum())),
        "generator_accuracy": (float(len(places) - replaced_.sum()), float(len(places))),
    }


def _generator(model: Model, config: ReplacedTokenConfig, seed: int) -> Model:
    """A narrower model of the same family that shares the embeddings."""
    spec = _narrow(model.spec, config)
    generator = hub.create(model.family.name, spec, tokenizer=model.tokenizer, seed=seed + 1)
    own, shared = generator.backbone.embeddings, model.backbone.embeddings
    if own.words.weight.shape != shared.words.weight.shape:
        raise UserError(
            "replaced_token: generator and model must have word tables of the same width",
            hint="take a family with embeddings of their own width (electra), or generator_size=1",
        )
    own.words, own.positions, own.segments, own.norm = (
        shared.words,
        shared.positions,
        shared.segments,
        shared.norm,
    )
    generator.add_head(FILL, masked_lm_head(generator, tied=True), seed=seed + 1)
    return generator


def _narrow(spec: ArchSpec, config: ReplacedTokenConfig) -> ArchSpec:
    """Layers of a fraction of the width, with heads of the same size."""
    size = spec.hidden // spec.heads
    heads = max(1, round(spec.heads * config.generator_size))
    return replace(
        spec,
        hidden=heads * size,
        heads=heads,
        feed_forward=max(1, round(spec.feed_forward * heads / spec.heads)),
        layers=config.generator_layers or spec.layers,
    )


OBJECTIVE = ObjectiveType(
    config=ReplacedTokenConfig,
    objective=ReplacedToken,
    about="tell replaced tokens from original ones (ELECTRA)",
)
