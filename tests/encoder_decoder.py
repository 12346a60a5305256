"""How ``transformers`` calls encoder-decoders: two batches, two lists of states (see ``peers.own``).

With a head that reads (classification, span) the decoder gets what the encoder gets, moved on by one;
there ``transformers`` makes that input itself. Of every batch that is drawn, sequences end with the
only end-of-sequence token that they have, and no token is padding, as in real text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig

import peers
from jeoni.base.batch import Batch
from jeoni.models.decoding import shift_right
from jeoni.models.family import Family
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from peers import Outputs

READING = {"classification", "span"}


@dataclass(frozen=True)
class Ids:
    """Special ids of a family."""

    pad: int
    eos: int


def draw_batch(lengths: Sequence[int], spec: ArchSpec, seed: int = 0, *, ids: Ids) -> Batch:
    """A batch to encode and, of other lengths, one to decode."""
    generator = torch.Generator().manual_seed(seed)
    free = [i for i in range(spec.vocab) if i not in (ids.pad % spec.vocab, ids.eos)]

    def draw(n: int) -> list[int]:
        chosen = torch.randint(len(free), (n - 1,), generator=generator).tolist()
        return [*(free[i] for i in chosen), ids.eos]

    batch = Batch.pack([draw(n) for n in lengths])
    others = [min(spec.positions, 1 + (5 * n) % 9) for n in lengths]
    return replace(batch, decoder=Batch.pack([draw(n) for n in others]))


def make(
    family: Family, architecture: str, spec: ArchSpec, seed: int = 0, *, ids: Ids, **extra: Any
) -> Any:
    """With every weight drawn anew, those that make positions excepted."""
    values = peers.config_values(family, spec) | {
        "pad_token_id": ids.pad % spec.vocab,
        "eos_token_id": ids.eos,
    }
    if "span" in peers.kinds_of(family, architecture):
        values["num_labels"] = 2
    config = AutoConfig.for_model(family.name, **(values | extra))
    model = getattr(transformers, architecture)._from_config(config, attn_implementation="eager")
    if not spec.tied and hasattr(model, "lm_head"):
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    fixed = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    peers.scramble(model, seed)
    for name, parameter in model.named_parameters():
        if name in fixed:
            parameter.data.copy_(fixed[name])
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.normal_(0, 1, generator=torch.Generator().manual_seed(seed))
    return model.eval()


def pad(batch: Batch, filler: int) -> tuple[Tensor, Tensor]:
    """Ids and mask ``[B, T]``."""
    real = torch.arange(max(batch.lengths)) < torch.tensor(batch.lengths)[:, None]
    ids = torch.full(real.shape, filler)
    ids[real] = batch.ids
    return ids, real


def run(theirs: Any, batch: Batch, vocab: int) -> Outputs:
    """States of the encoder, then of the decoder; logits by kind. Encoder only without a decoder batch."""
    filler = theirs.config.pad_token_id  # anything but the end of a sequence, by which heads read
    ids, real = pad(batch, filler)
    kind = next(
        iter(peers.kinds_of(peers.families()[theirs.config.model_type], type(theirs).__name__)),
        None,
    )
    inputs = {"input_ids": ids, "attention_mask": real.long()}
    if batch.decoder is None and kind not in READING:
        out = theirs.get_encoder()(**inputs, output_hidden_states=True)
        return [state[real] for state in out.hidden_states], {}
    written = real
    if kind not in READING:
        assert batch.decoder is not None
        decoder_ids, written = pad(batch.decoder, filler)
        inputs |= {"decoder_input_ids": decoder_ids, "decoder_attention_mask": written.long()}
    out = theirs(**inputs, output_hidden_states=True, use_cache=False)
    states = [state[real] for state in out.encoder_hidden_states]
    states += [state[written] for state in out.decoder_hidden_states]
    logits = {}
    if kind == "span":
        logits[kind] = torch.stack([out.start_logits, out.end_logits], -1)[written]
    elif kind is not None:
        logits[kind] = out.logits[written] if kind == "language_model" else out.logits
    return states, logits


def forward(model: Model, batch: Batch) -> Outputs:
    """Hidden states and logits of jeoni, for the same input."""
    if model.heads.keys() & READING:
        again = shift_right(batch.ids, batch.lengths, model.spec.decoder_start)
        states = model.backbone.states(replace(batch, decoder=again))
        hidden = model(replace(batch, decoder=None))  # a task gives nothing to decode
        assert torch.equal(hidden, states[-1])
    else:
        states = model.backbone.states(batch)
    if batch.decoder is None and not model.heads.keys() & READING:
        return states, {}
    return states, peers.logits_of(model, states[-1], batch)


def calls(ids: Ids) -> dict[str, Any]:
    """The functions that know the family's special ids."""
    return {"draw_batch": partial(draw_batch, ids=ids), "make": partial(make, ids=ids)}
