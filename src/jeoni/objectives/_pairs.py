"""Two texts a sequence: where a chunk is split, and the loss of a question about the two."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints, Sentences
from jeoni.data.token_store import TokenStore
from jeoni.models.heads import build_head
from jeoni.objectives._draft import Bools, Noise
from jeoni.objectives._objective import Objective, Part

_EDGE = 8
"""Tokens that a text of a pair should have at least, where there is a choice."""


class PairConfig(Config):
    """Settings.

    Attributes:
        negative: share of the pairs that are not as they were in the document.
    """

    negative: float = Field(0.5, gt=0, lt=1)


class PairObjective(Objective):
    """Tell pairs as they were (class 0) from others (class 1); what is neither (-1) is not asked."""

    arranges = True
    kind: ClassVar[str]
    """Of the head; also the name of the targets."""

    def attach(self, seed: int) -> None:
        """A head of two classes, as the family publishes it."""
        spec = self.model.spec
        if spec.decoder_layers or spec.causal:
            raise UserError(
                f"{self.kind}: the model must see both texts from its first token (an encoder)"
            )
        if self.kind not in self.model.heads:
            self.model.add_head(self.kind, build_head(self.kind, self.model, {}), seed=seed)

    def room(self, length: int) -> int:
        """Tokens of a chunk, which are both texts together.

        Raises:
            UserError: the special tokens leave none for one of them.
        """
        room = length - self.model.tokenizer.special_count(pair=True)
        if room < 2:
            raise UserError(f"sequences of {length} tokens have no room for two texts")
        return room

    def cut(self, store: TokenStore, room: int, *, seed: int = 0, epoch: int = 0) -> Chunks:
        """Whole sentences: where one is cut, the ends of the texts would give the answer away."""
        return Sentences(store, room, seed=seed, epoch=epoch)

    def counts(self, batch: Batch) -> list[float]:
        """Pairs that are asked about."""
        return [float((batch.targets[self.kind] >= 0).sum())]

    def losses(self, hidden: Tensor, batch: Batch) -> list[Part]:
        """Cross-entropy; when the model is not training, accuracy too, and that of each class."""
        asked = batch.targets[self.kind] >= 0
        truth = batch.targets[self.kind][asked]
        logits = self.model.heads[self.kind](hidden, batch).float()[asked]
        loss = nn.functional.cross_entropy(logits, truth, reduction="sum")
        if self.model.training:
            return [Part(loss, float(len(truth)))]
        right = (logits.detach().argmax(-1) == truth).float()
        causes = {"": torch.ones_like(truth), "_positive": 1 - truth, "_negative": truth}
        figures = {
            f"accuracy{cause}": (float((right * chosen).sum()), float(chosen.sum()))
            for cause, chosen in causes.items()
        }
        return [Part(loss, float(len(truth)), metrics=figures)]


def split(chunks: Chunks, indices: Ints, noise: Noise) -> tuple[Ints, Bools]:
    """Where the second text of each chunk begins.

    At a sentence if one begins in the chunk, else at a word; not near the ends, if there is a choice.

    Args:
        chunks: of the epoch.
        indices: which, ``[B]``; each has at least two tokens.
        noise: the epoch's.

    Returns:
        Places in the store, and whether a sentence begins there, ``[B]``.
    """
    middles, sentences = np.empty(len(indices), np.int64), np.empty(len(indices), np.bool_)
    lots = noise.sequences("split", indices).tolist()
    for number, (index, lot) in enumerate(zip(indices.tolist(), lots, strict=True)):
        start, stop = int(chunks.starts[index]), int(chunks.stops[index])
        places = chunks.breaks(start, stop)
        sentences[number] = len(places) > 0
        if not len(places):
            places = start + 1 + np.flatnonzero(chunks.store.words(start + 1, stop))
        if not len(places):
            places = np.array([(start + stop) // 2])
        edge = min(_EDGE, (stop - start) // 4)
        inner = places[(places >= start + edge) & (places <= stop - edge)]
        places = inner if len(inner) else places
        middles[number] = places[int(lot * len(places))]
    return middles, sentences


def negatives(config: PairConfig, indices: Ints, noise: Noise) -> Bools:
    """Which of the pairs are not to be as they were, ``[B]``."""
    chosen: Bools = noise.sequences("negative", indices) < config.negative
    return chosen
