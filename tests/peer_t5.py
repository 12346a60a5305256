"""T5 in ``transformers`` (see ``peers.own``)."""

from dataclasses import replace

from encoder_decoder import Ids, calls, forward, run
from jeoni.models.family import Family
from jeoni.models.spec import ArchSpec

__all__ = ["draw_batch", "fit", "forward", "make", "run"]

CALLS = calls(Ids(pad=0, eos=1))
draw_batch, make = CALLS["draw_batch"], CALLS["make"]


def fit(spec: ArchSpec, family: Family) -> ArchSpec:
    """``spec`` as T5 can have it; a gate, odd head sizes and few buckets where the width is odd, too."""
    odd = spec.layers == 1 or spec.width != spec.hidden
    vocab = max(spec.vocab, 5)
    scaled = not odd and family.name == "t5"
    return replace(
        spec,
        **family.fixed,
        vocab=vocab,
        width=spec.hidden,
        causal=False,
        gated=odd,
        activation="gelu_new" if odd and spec.activation == "gelu" else spec.activation,
        head_size=5 if odd else spec.hidden // spec.heads,
        decoder_layers=spec.layers + odd,
        decoder_start=vocab - 1 if odd else 0,
        buckets=6 if odd else 8,
        distance=4 if odd else 11,
        attention_dropout=spec.dropout,
        inner_dropout=spec.dropout,
        output_dropout=spec.dropout,
        tied=scaled,
        output_scale=spec.hidden**-0.5 if scaled else 1.0,
    )
