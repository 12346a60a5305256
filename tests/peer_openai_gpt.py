"""GPT-1 in ``transformers`` (see ``peers.own``)."""

from dataclasses import replace

import peer_gpt2
from jeoni.models.family import Family
from jeoni.models.spec import ArchSpec
from peer_gpt2 import draw_batch, forward, make, run

__all__ = ["draw_batch", "fit", "forward", "make", "run"]


def fit(spec: ArchSpec, family: Family) -> ArchSpec:
    """As GPT-2's, with the one inner width and without the exact GELU."""
    activation = "gelu_new" if spec.activation == "gelu" else spec.activation
    spec = peer_gpt2.fit(spec, family)
    return replace(spec, activation=activation, feed_forward=4 * spec.hidden)
