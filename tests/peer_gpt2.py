"""GPT-2 in ``transformers``: padding is what its classifier looks for (see ``peers.own``)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import transformers
from transformers import AutoConfig

import peers
from jeoni.base.batch import Batch
from jeoni.models.family import Family
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from peers import Outputs

__all__ = ["draw_batch", "fit", "forward", "make", "run"]

PAD = 1
PER_TOKEN = {"language_model", "tagging"}


def fit(spec: ArchSpec, family: Family) -> ArchSpec:
    """``spec`` as GPT-2 can have it; where the width is odd without scaled scores, too."""
    odd = spec.layers == 1 or spec.width != spec.hidden
    return replace(
        spec,
        **family.fixed,
        vocab=max(spec.vocab, 3),
        width=spec.hidden,
        scaled_attention=not odd or "scaled_attention" not in family.config,
    )


def make(family: Family, architecture: str, spec: ArchSpec, seed: int = 0, **extra: Any) -> Any:
    """With every weight drawn anew; an output layer of its own where it is not tied."""
    values = peers.config_values(family, spec) | {"pad_token_id": PAD, "bos_token_id": 2}
    values |= {"eos_token_id": 2}
    values.pop("model_type", None)  # GPT-3 without bands says that it is GPT-2
    config = AutoConfig.for_model(family.name, **(values | extra))
    model = getattr(transformers, architecture)._from_config(config, attn_implementation="eager")
    if not spec.tied and hasattr(model, "lm_head"):
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    peers.scramble(model, seed)
    return model.eval()


def draw_batch(lengths: Sequence[int], spec: ArchSpec, seed: int = 0) -> Batch:
    """Without the padding token."""
    generator = torch.Generator().manual_seed(seed)
    free = torch.tensor([i for i in range(spec.vocab) if i != PAD])
    drawn = [torch.randint(len(free), (n,), generator=generator) for n in lengths]
    return Batch.pack([free[numbers].tolist() for numbers in drawn])


def run(theirs: Any, batch: Batch, vocab: int) -> Outputs:
    """States and logits of the padded batch, without the padding."""
    longest = max(batch.lengths)
    real = torch.arange(longest) < torch.tensor(batch.lengths)[:, None]
    ids = torch.full(real.shape, PAD)
    ids[real] = batch.ids
    family = peers.families()[theirs.config.model_type.replace("-", "_")]
    kinds = peers.kinds_of(family, type(theirs).__name__)
    theirs.config.pad_token_id = PAD  # which a model that jeoni drew does not have
    out = theirs(input_ids=ids, attention_mask=real.long(), output_hidden_states=True)
    logits = {}
    for kind in kinds:
        if kind == "span":
            logits[kind] = torch.stack([out.start_logits, out.end_logits], -1)[real]
        else:
            logits[kind] = out.logits[real] if kind in PER_TOKEN else out.logits
    return [state[real] for state in out.hidden_states], logits


def forward(model: Model, batch: Batch) -> Outputs:
    """States and logits of jeoni."""
    states = model.backbone.states(batch)
    return states, peers.logits_of(model, states[-1], batch)
