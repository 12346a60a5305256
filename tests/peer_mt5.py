"""mT5 in ``transformers``: as T5 (see ``peers.own``)."""

from peer_t5 import draw_batch, fit, forward, make, run

__all__ = ["draw_batch", "fit", "forward", "make", "run"]
