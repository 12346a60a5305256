"""Retrieval: each text finds its pair (a question its passage) among all, by the cosine of vectors.

Sources: Reimers and Gurevych, "Sentence-BERT", 2019, section 3 (pooled vectors, compared by their cosine);
Karpukhin et al., "Dense passage retrieval for open-domain question answering", EMNLP 2020, section 3.2 (the
other pairs of a batch are the wrong ones); Gao et al., "SimCSE", EMNLP 2021, section 2 (the temperature).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Features
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record, text_field
from jeoni.metrics.retrieval import DEPTHS, retrieval_scores
from jeoni.models.heads import check_pooling
from jeoni.nn.heads import Pooling, pooled
from jeoni.report.sections import Bars, Section, Text, Texts
from jeoni.tasks._matched import PAIR, RIGHT, TEXT, Matched, numbered, search
from jeoni.tasks._scores import Figures, Scores, Sums
from jeoni.tasks._task import Encoded, Task, TaskType

SHOWN = 12
BANDS = ((1, 1), (2, 5), (6, 10), (11, 100), (101, 1000), (1001, None))
"""Ranks that are counted together."""
Vector = NDArray[np.float32]


class RetrievalConfig(Config):
    """Settings of retrieval.

    Attributes:
        max_length: longest text or pair in tokens; longer ones are cut at the end.
        pooling: what stands for a text: the ``mean`` of its tokens, or the ``first`` or ``last``.
        temperature: that cosines are divided by in training.
        best: how many of the pairs that are found a prediction lists.
    """

    max_length: int = Field(256, ge=1)
    pooling: Pooling = "mean"
    temperature: float = Field(0.05, gt=0, allow_inf_nan=False)
    best: int = Field(3, ge=1)


@dataclass(frozen=True)
class Candidate:
    """A pair that was found, and its cosine with the text."""

    pair: str
    score: float


@dataclass(frozen=True)
class RetrievalPrediction:
    """The rank of the pair that is right, from 1 (of several, the first), and the best, best first."""

    rank: int
    found: tuple[Candidate, ...]


class Retrieval(Task[Vector, RetrievalPrediction]):
    """Texts find their pairs."""

    main_metric = "mrr"
    config: RetrievalConfig

    def attach(self, seed: int) -> None:
        """No head: vectors are those of the backbone."""
        model = self.model
        check_pooling(model, self.config.pooling, "task.pooling")
        model.keep_head("")
        model.labels = None

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> Encoded:
        """A group of text and pair each; to be read, each different text, then each different pair."""
        texts, text = numbered(text_field(r, TEXT) for r in records)
        pairs, pair = numbered(text_field(r, PAIR) for r in records)
        limit = min(self.config.max_length, self.model.spec.positions)
        found = self.model.tokenizer.encode_ids([*texts, *pairs], max_length=limit)
        ids, segments = [own for own, _ in found], [own for _, own in found]
        features = Matched.of_sequences(Features.of(ids, segments), text, pair)
        for record, both in zip(records, features.places.tolist(), strict=True):
            if not all(ids[place] for place in both):
                raise UserError(f"{record.where}: no token stands for the text, or for its pair")
        notes = {
            "different pairs that are searched": len(pairs),
            "texts that fill max_length (cut if longer)": sum(len(own) >= limit for own in ids),
        }
        return Encoded(records, features, notes, read=features.sequences)

    def logits(self, batch: Batch) -> Tensor:
        """The vector of each sequence, of length 1, ``[B, H]``."""
        hidden = self.model(batch)
        return normalize(pooled(hidden.float(), batch, self.config.pooling), dim=-1)

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Cross-entropy of each text over the batch's pairs, without the others that are right for it."""
        right = batch.targets[RIGHT]
        own = torch.arange(len(right), device=logits.device)
        with torch.autocast(logits.device.type, enabled=False):
            asked, pool = logits.float().view(len(right), 2, -1).unbind(1)
            scores = asked @ pool.t() / self.config.temperature
        others = right & (own[:, None] != own)
        scores = scores.masked_fill(others, -torch.inf)
        hits = float((scores.detach().argmax(-1) == own).sum())
        count = float(len(own))
        total = cross_entropy(scores, own, reduction="sum")
        return Loss(total, count, {"accuracy": (hits, count)})

    def decode(self, encoded: Encoded, indices: Sequence[int], logits: Tensor) -> list[Vector]:
        """The vector of each sequence."""
        return list(logits.float().cpu().numpy())

    def pack(self, partial: Vector) -> Any:
        """As a list."""
        return partial.tolist()

    def unpack(self, packed: Any) -> Vector:
        """What was a list."""
        return np.array(packed, np.float32)

    def combine(self, encoded: Encoded, partials: Sequence[Vector]) -> list[RetrievalPrediction]:
        """What each text finds; the same text finds the same."""
        features = encoded.features
        assert isinstance(features, Matched)
        text, pair = features.targets[TEXT], features.targets[PAIR]
        vectors = torch.from_numpy(np.stack(partials))
        asked, pool = vectors[: text.max() + 1], vectors[text.max() + 1 :]
        ranks, scores, places = search(asked, pool, features.known, self.config.best)
        rows = zip(pair.tolist(), encoded.records, strict=True)
        names = {number: text_field(record, PAIR) for number, record in rows}
        listed = [
            tuple(
                Candidate(names[place], round(score, 6)) for place, score in zip(*row, strict=True)
            )
            for row in zip(places.tolist(), scores.tolist(), strict=True)
        ]
        return [RetrievalPrediction(int(ranks[n]), listed[n]) for n in text.tolist()]

    def score(self, encoded: Encoded, predictions: Sequence[RetrievalPrediction]) -> Scores:
        """Mean reciprocal rank and recall; fractions. A text that stands in several rows counts once."""
        text = encoded.features.targets[TEXT]
        ranks = np.array([p.rank for p in predictions])
        _, first = np.unique(text, return_index=True)
        shares = 1 / np.bincount(text)[text]
        hits = [shares * (ranks <= depth) for depth in DEPTHS]
        recall = {f"recall@{k}": partial(_mean, column=n) for n, k in enumerate(DEPTHS)}
        return Scores(
            retrieval_scores(ranks[first].tolist()),
            (1 / ranks).tolist(),
            Sums(np.stack([shares / ranks, shares], -1), _mean),
            [Figures(np.stack([*hits, shares], -1), recall)],
        )

    def sections(
        self, encoded: Encoded, predictions: Sequence[RetrievalPrediction], scores: Scores
    ) -> list[Section]:
        """At which ranks right pairs are found; the worst misses, with what was found instead."""
        ranks = [p.rank for p in predictions]
        worst_rank = encoded.features.targets[PAIR].max() + 1
        rows = [
            {"rank": _band(*band), "examples": sum(_within(rank, *band) for rank in ranks)}
            for band in BANDS
            if band[0] <= worst_rank
        ]
        worst = sorted(range(len(ranks)), key=lambda i: -ranks[i])
        missed = [i for i in worst if ranks[i] > 1][:SHOWN]
        return [
            Bars("Ranks of right pairs", rows, "rank", "examples", value_format=",d"),
            Texts("Worst misses", [_item(encoded.records[i], predictions[i]) for i in missed]),
        ]

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "retrieval", **self.config.model_dump()}


def _mean(sums: NDArray[np.float64], column: int = 0) -> NDArray[np.float64]:
    """What is summed up in a column, by the number of texts, which is in the last."""
    return np.asarray(sums[..., column] / sums[..., -1])


def _within(rank: int, low: int, high: int | None) -> bool:
    return low <= rank and (high is None or rank <= high)


def _band(low: int, high: int | None) -> str:
    if high is None:
        return f"{low:,} or more"
    return f"{low}" if low == high else f"{low:,}-{high:,}"


def _item(record: Record, prediction: RetrievalPrediction) -> Text:
    """A miss; what is called confidence elsewhere would here be a cosine, which is none."""
    best = prediction.found[0]
    right = f"(found at {prediction.rank:,}) {record.fields[PAIR]}"
    return Text(record.fields[TEXT], right, f"(cosine {best.score:.3f}) {best.pair}", False)


def from_data(dataset: Dataset) -> dict[str, Any]:
    """Nothing."""
    return {}


TASK = TaskType(
    RetrievalConfig,
    Retrieval,
    from_data,
    "the pair of a text (a question's passage, a translation) among all pairs",
    sums={"mrr": _mean},
    headless=True,
)
