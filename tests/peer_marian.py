"""Marian in ``transformers``: its padding token is the last of the vocabulary (see ``peers.own``)."""

from encoder_decoder import Ids, calls, forward, run
from peer_bart import fit

__all__ = ["draw_batch", "fit", "forward", "make", "run"]

CALLS = calls(Ids(pad=-1, eos=0))
draw_batch, make = CALLS["draw_batch"], CALLS["make"]
