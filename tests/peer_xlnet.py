"""XLNet in ``transformers``: padded on the left, as its tokenizer pads (see ``peers.own``)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import peers
from jeoni.base.batch import Batch
from jeoni.models.families.xlnet import XLNetSpec
from jeoni.models.family import Family
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from peers import Outputs


def fit(spec: ArchSpec, family: Family) -> XLNetSpec:
    """``spec`` as XLNet can have it: of an even width; clamped, and causal, where the width is odd."""
    odd = spec.layers == 1 or spec.width != spec.hidden
    even = spec.hidden * (1 + spec.hidden % 2)
    kept = (
        "vocab",
        "layers",
        "heads",
        "feed_forward",
        "activation",
        "norm_eps",
        "init_range",
        "tied",
    )
    return XLNetSpec(
        **{key: getattr(spec, key) for key in kept},
        **family.fixed,
        hidden=even,
        width=even,
        dropout=spec.dropout,
        attention_dropout=spec.dropout,
        inner_dropout=spec.dropout,
        output_dropout=spec.dropout,
        causal=spec.causal or odd,
        clamp=5 if odd else 0,
        remembered=7 if odd else 0,
    )


def draw_batch(lengths: Sequence[int], spec: ArchSpec, seed: int = 0) -> Batch:
    """Any tokens, of three segments."""
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(spec.vocab, (n,), generator=generator).tolist() for n in lengths]
    types = [torch.randint(3, (n,), generator=generator).sort().values.tolist() for n in lengths]
    return Batch.pack(ids, types)


def padded(batch: Batch, values: Tensor, filler: int = 0) -> Tensor:
    """``[N, ...]`` to ``[B, T, ...]``, padding on the left."""
    real = there(batch)
    full = values.new_full((*real.shape, *values.shape[1:]), filler)
    full[real] = values
    return full


def there(batch: Batch) -> Tensor:
    longest = max(batch.lengths)
    return torch.arange(longest) >= longest - torch.tensor(batch.lengths)[:, None]


def starts_of(batch: Batch) -> Tensor:
    """Some token of each sequence, index in ``[N]``."""
    lengths = torch.tensor(batch.lengths)
    return torch.tensor(batch.starts) + lengths // 2


def run(theirs: Any, batch: Batch, vocab: int) -> Outputs:
    """Hidden states and logits of ``transformers``, without the padding.

    With ``attn_type: uni`` it cannot add a mask to more than one sequence, so there they go one by one.
    """
    if theirs.config.attn_type == "uni" and len(batch.lengths) > 1:
        outs = [run(theirs, single, vocab) for single in peers.split(batch)]
        states = [torch.cat(layer) for layer in zip(*(out[0] for out in outs), strict=True)]
        return states, {kind: torch.cat([out[1][kind] for out in outs]) for kind in outs[0][1]}
    real = there(batch)
    inputs = {
        "input_ids": padded(batch, batch.ids, vocab - 1),
        "token_type_ids": padded(batch, batch.segments),
        "attention_mask": real.float() if len(batch.lengths) > 1 else None,
    }
    kind = next(iter(peers.kinds_of(peers.families()["xlnet"], type(theirs).__name__)), "none")
    body = theirs.transformer if kind == "beam_span" else theirs
    out = body(**inputs, output_hidden_states=True)
    logits = {}
    if kind == "beam_span":
        last = out.last_hidden_state
        places = starts_of(batch) - torch.tensor(batch.ends) + max(batch.lengths) - 1
        logits = {
            "starts": theirs.start_logits(last)[real],
            "ends": theirs.end_logits(last, start_positions=places)[real],
            "answers": theirs.answer_class(last, start_positions=places),
        }
    elif kind == "span":
        logits[kind] = torch.stack([out.start_logits, out.end_logits], -1)[real]
    elif kind != "none":
        logits[kind] = out.logits[real] if kind in ("language_model", "tagging") else out.logits
    return [state[real] for state in out.hidden_states], logits


def forward(model: Model, batch: Batch) -> Outputs:
    """Hidden states and logits of jeoni."""
    states = model.backbone.states(batch)
    if "beam_span" in model.heads:
        found = model.heads["beam_span"](states[-1], batch, starts_of(batch))
        return states, dict(zip(("starts", "ends", "answers"), found, strict=True))
    return states, peers.logits_of(model, states[-1], batch)
