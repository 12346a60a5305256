"""Contrastive learning of sentence vectors: Gao et al., "SimCSE", EMNLP 2021, sections 3 and 4; large
batches by Gao et al., "Scaling deep contrastive learning batch size under memory limited setup"
("GradCache"), RepL4NLP 2021.
"""

import warnings
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jeoni.base import rng
from jeoni.base.batch import Batch
from jeoni.base.config import Config
from jeoni.data.chunks import Chunks, Ints
from jeoni.data.token_store import TokenStore
from jeoni.models.heads import check_pooling
from jeoni.nn.heads import Pooling, pooled
from jeoni.objectives import _layout
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._objective import Objective, ObjectiveType, Part
from jeoni.objectives._ranks import joined

ANCHORS = "anchors"


class ContrastiveConfig(Config):
    """Settings.

    Attributes:
        pairs: ``dropout``: a sentence is read twice, and dropout makes the difference (section 3).
            ``documents``: a document of the text is a pair, its first two sentences; if there is a third,
            it is a hard negative (section 4: premise, entailment, contradiction).
        temperature: that cosines are divided by.
        pooling: what stands for a sentence. (The first token of a fresh model hardly knows the others: from
            random weights, take ``mean``.)
        projection: a dense layer with tanh on top, in training only (section 6.3).
        at_once: tokens whose activations are held at once. A larger batch is read twice, the second time
            part by part for the gradients, which are the same.
        least: shorter sentences are left out, in tokens.
    """

    pairs: Literal["dropout", "documents"] = "dropout"
    temperature: float = Field(0.05, gt=0)
    pooling: Pooling = "first"
    projection: bool = True
    at_once: int = Field(8192, ge=1)
    least: int = Field(4, ge=1)


class Contrastive(Objective):
    """The two sentences of a pair get vectors that are nearer than those of other pairs.

    Negatives are the other pairs' second sentences, and all hard ones, of a step: of all processes.
    """

    arranges = True
    alone = True
    whole = True

    def attach(self, seed: int) -> None:
        """The projection, beside the model: it is not part of what is kept.

        Raises:
            UserError: what is to stand for a sentence knows nothing of it.
        """
        model = self.model
        check_pooling(model, self.config.pooling, "objectives.contrastive.pooling")
        if self.config.pairs == "dropout" and not (
            model.spec.dropout or model.spec.attention_dropout
        ):
            warnings.warn(
                "contrastive: the model has no dropout, so both readings of a sentence are the same",
                stacklevel=2,
            )
        self._all = nn.ModuleDict({"model": model})
        if self.config.projection:
            projection = nn.Linear(model.spec.hidden, model.spec.hidden)
            # With the seed itself it would begin with the numbers of the word table.
            model.draw(projection, "heads.projection", rng.derive("head", "projection", seed))
            self._all["projection"] = projection.to(model.device)

    @property
    def module(self) -> nn.Module:
        """Model and projection."""
        return self._all

    def cut(self, store: TokenStore, room: int, *, seed: int = 0, epoch: int = 0) -> Chunks:
        """Sentences, or pairs of them."""
        if self.config.pairs == "documents":
            return Pairs(store, room)
        least, bounds = self.config.least, store.sentences
        return Chunks(store, room, seed=seed, epoch=epoch, least=least, bounds=bounds)

    def arrange(self, chunks: Chunks, indices: Ints, noise: Noise) -> Draft:
        """First all first sentences, then all second ones in the same order, then hard negatives."""
        if isinstance(chunks, Pairs):
            starts, stops, examples = chunks.sentences(indices)
        else:
            examples = np.concatenate([indices, indices])
            starts, stops = chunks.starts[examples], chunks.stops[examples]
        taken = chunks.read(starts, stops)
        draft = _layout.framed(taken, examples, self.model.tokenizer)
        return draft.aimed(**{ANCHORS: np.arange(len(indices))})

    def counts(self, batch: Batch) -> list[float]:
        """Pairs."""
        return [float(len(batch.targets[ANCHORS]))]

    def run(self, batch: Batch) -> Tensor:
        """A vector for each sentence, float32 ``[S, H]``.

        Where there is more than one part, none keeps its activations: they are computed again when the
        gradient of its vectors is there, with the same dropout.
        """
        parts = list(_parts(batch, self.config.at_once))
        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([self._vectors(*_loose(part)) for part in parts])
        found = [
            checkpoint(self._vectors, *_loose(part), use_reentrant=False, preserve_rng_state=True)
            for part in parts
        ]
        return torch.cat(found)

    def _vectors(
        self, ids: Tensor, segments: Tensor, positions: Tensor, lengths: tuple[int, ...]
    ) -> Tensor:
        """Of some sentences. (Tensors one by one: from them torch tells whose generator to replay.)"""
        batch = Batch(ids=ids, segments=segments, positions=positions, lengths=lengths)
        vectors = pooled(self.model.backbone(batch), batch, self.config.pooling)
        if self.config.projection:
            vectors = torch.tanh(self._all["projection"](vectors))
        return vectors.float()

    def losses(self, hidden: Tensor, batch: Batch) -> list[Part]:
        """Cross-entropy over the candidates; how often the right one is the nearest, when not training."""
        count = len(batch.targets[ANCHORS])
        with torch.autocast(hidden.device.type, enabled=False):
            unit = nn.functional.normalize(hidden, dim=-1)
            # Held-out batches are divided among processes, and are compared on their own.
            others, first = joined(unit[count:]) if self.model.training else (unit[count:], 0)
            scores = unit[:count] @ others.t() / self.config.temperature
        right = torch.arange(first, first + count, device=hidden.device)
        loss = nn.functional.cross_entropy(scores, right, reduction="sum")
        # Without dropout a sentence's two readings are one: of course it is the nearest.
        if self.model.training or self.config.pairs == "dropout":
            return [Part(loss, float(count))]
        found = float((scores.argmax(-1) == right).sum())
        return [Part(loss, float(count), metrics={"accuracy": (found, float(count))})]


class Pairs(Chunks):
    """Documents of at least two sentences.

    Args:
        store: the tokens.
        room: of a sentence, only so many tokens are read.
    """

    def __init__(self, store: TokenStore, room: int) -> None:
        longest = int(np.diff(store.documents).max(initial=1))
        super().__init__(store, longest, least=2)
        self.room = room
        first = np.searchsorted(store.sentences, self.starts)
        kept = store.sentences[first + 1] < self.stops
        self.starts, self.stops = self.starts[kept], self.stops[kept]
        self.documents = self.documents[kept]

    @property
    def lengths(self) -> Ints:
        """Tokens of each that are read ``[n]``: the rest of its document takes no part."""
        starts, stops, owners = self.sentences(np.arange(len(self)))
        return np.bincount(owners, stops - starts, minlength=len(self)).astype(np.int64)

    def sentences(self, indices: Ints) -> tuple[Ints, Ints, Ints]:
        """Where sentences start and stop, and the numbers of their documents: firsts, seconds, thirds."""
        bounds = self.store.sentences
        first = np.searchsorted(bounds, self.starts[indices])
        more = bounds[np.minimum(first + 2, len(bounds) - 1)] < self.stops[indices]
        chosen = np.concatenate([first, first + 1, (first + 2)[more]])
        starts = bounds[chosen]
        stops = np.minimum(bounds[chosen + 1], starts + self.room)
        return starts, stops, np.concatenate([indices, indices, indices[more]])


def _parts(batch: Batch, tokens: int) -> Iterator[Batch]:
    """The batch in parts of at most so many tokens, or of one sequence."""
    first, lengths = 0, list[int]()
    for length in (*batch.lengths, None):
        if lengths and (length is None or sum(lengths) + length > tokens):
            rows = slice(first, first + sum(lengths))
            yield Batch(
                ids=batch.ids[rows],
                segments=batch.segments[rows],
                positions=batch.positions[rows],
                lengths=tuple(lengths),
            )
            first, lengths = rows.stop, []
        if length is not None:
            lengths.append(length)


def _loose(batch: Batch) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...]]:
    return batch.ids, batch.segments, batch.positions, batch.lengths


OBJECTIVE = ObjectiveType(
    config=ContrastiveConfig,
    objective=Contrastive,
    about="tell a sentence's other reading, or its pair, from other sentences (SimCSE)",
)
