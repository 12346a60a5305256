"""What objectives have in common that leave spans blank, and ask where what stood there is said."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks
from jeoni.models.heads import build_head
from jeoni.objectives import _masking
from jeoni.objectives._objective import Objective


class BlankObjective(Objective):
    """Find in a text what is blank; a blank is the tokenizer's mask."""

    arranges = True
    head: ClassVar[str]
    """The head of span question answering that it trains."""
    refusal: ClassVar[str]
    """Why a model will not do that does not see the whole text."""

    def attach(self, seed: int) -> None:
        """The head, and a tokenizer that has a mask, for the blanks."""
        spec = self.model.spec
        if spec.decoder_layers or spec.causal:
            raise UserError(self.refusal)
        self.mask = _masking.mask_id(self.model.tokenizer)
        self._nats: tuple[Any, NDArray[np.float64]] | None = None
        if self.head not in self.model.heads:
            self.model.add_head(self.head, build_head(self.head, self.model, {}), seed=seed)

    def surprisal(self, chunks: Chunks) -> NDArray[np.float64]:
        """-log of each token's share of the store's first million tokens, ``[V]``.

        Of held-out text, its own: in a short one no token is as rare, so less is blank than in training
        (with 100,000 tokens, a seventh less). Held-out figures compare runs on the same text only.
        """
        if self._nats is None or self._nats[0] is not chunks.store:
            counts = (
                np.bincount(chunks.store.ids[:1_000_000], minlength=self.model.spec.vocab) + 1.0
            )
            self._nats = chunks.store, np.log(counts.sum()) - np.log(counts)
        return self._nats[1]
