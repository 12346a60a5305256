"""BART in ``transformers`` (see ``peers.own``)."""

from dataclasses import replace

from encoder_decoder import Ids, calls, forward, run
from jeoni.models.family import Family
from jeoni.models.spec import ArchSpec

__all__ = ["draw_batch", "fit", "forward", "make", "run"]

CALLS = calls(Ids(pad=1, eos=2))
draw_batch, make = CALLS["draw_batch"], CALLS["make"]


def fit(spec: ArchSpec, family: Family) -> ArchSpec:
    """``spec`` as BART and Marian can have it; where the width is odd scaled, and deeper on one side."""
    odd = spec.layers == 1 or spec.width != spec.hidden
    vocab = max(spec.vocab, 5)
    return replace(
        spec,
        **family.fixed,
        vocab=vocab,
        width=spec.hidden,
        causal=False,
        tied=True,
        scaled_embeddings=odd,
        inner_dropout=0.4 if odd else 0.0,
        decoder_layers=spec.layers + odd,
        decoder_start=vocab - 1 if family.name == "marian" else 2,
    )
