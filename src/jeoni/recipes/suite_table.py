"""The table of a suite: what was found beside what others published."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jeoni.data.cards import Card
from jeoni.metrics.scales import in_percent
from jeoni.recipes import grid


@dataclass(frozen=True)
class Score:
    """One run's figures on one split.

    Attributes:
        name: the data set that was scored.
        seed: of the run.
        folder: of the run.
        task: type of the task; of one of the user's own the one it is made from.
        main: the main metric.
        metrics: by name; null where it is no number.
        n: number of examples.
        flags: why the run counts for nothing; empty: it counts.
        part: why its figures are not those of the whole split.
        interval: of the main metric, low and high: 95%, by bootstrap over the examples.
    """

    name: str
    seed: int
    folder: str
    task: str
    main: str
    metrics: Mapping[str, float | None]
    n: int
    flags: Sequence[str] = ()
    part: Sequence[str] = ()
    interval: Sequence[float] = ()


def table(
    scores: Sequence[Score],
    failed: Sequence[Mapping[str, Any]],
    cards: Mapping[str, Card],
    split: str,
    beside: Sequence[str],
) -> list[dict[str, Any]]:
    """A row for the main metric of each data set, and one for each other that somebody published.

    Args:
        scores: of all runs.
        failed: runs without a score, with ``data``.
        cards: of the data sets, where the catalog has one.
        split: that was scored.
        beside: published models to compare with; all if empty.

    Returns:
        ``median``, ``low``, ``high`` in percent, of the ``n`` runs that count; ``left_out``, how many do
        not; ``published`` scores, with model, source and split; ``band``: see ``verdict``.
    """
    rows = []
    for name in dict.fromkeys(score.name for score in scores):
        own = [score for score in scores if score.name == name]
        card = cards.get(name)
        of_others = (
            {m for p in card.published for s in p.scores.values() for m in s} if card else ()
        )
        for metric in dict.fromkeys([own[0].main, *sorted(of_others)]):
            if metric in own[0].metrics:
                found = published(card, metric, split, beside)
                row = _row(own, metric, found, split)
                row["left_out"] += sum(run["data"] == name for run in failed)
                rows.append({"data": name, "metric": metric, **row})
    return rows


def published(
    card: Card | None, metric: str, split: str, beside: Sequence[str]
) -> list[dict[str, Any]]:
    """Scores of others in a metric: of this split, or else of another.

    Args:
        card: the data set's.
        metric: which.
        split: which.
        beside: names of models; all if empty.
    """
    found = [
        {"model": model, "score": scores[metric], "source": entry.source, "split": entry.split}
        for entry in (card.published if card else ())
        for model, scores in entry.scores.items()
        if metric in scores and (not beside or model in beside)
    ]
    return [row for row in found if row["split"] == split] or found


def verdict(
    values: Sequence[float], others: Sequence[float], *, split: str, part: Sequence[str]
) -> str | None:
    """Where a spread lies: it is inside the published band if the two touch.

    Args:
        values: ours.
        others: published.
        split: of the published ones, if it is another than ours; else empty.
        part: why ours are not of the whole split.
    """
    if not values or not others:
        return None
    if part:
        return f"not comparable: {', '.join(part)}"
    low, high = min(others), max(others)
    word = "below" if max(values) < low else "above" if min(values) > high else "inside"
    return f"{word} (theirs: {split})" if split else word


def _row(
    scores: Sequence[Score], metric: str, others: Sequence[Mapping[str, Any]], split: str
) -> dict[str, Any]:
    counted = [score for score in scores if not score.flags]
    scale = 1 if in_percent(scores[0].task, metric) else 100
    values = [scale * v for s in counted if (v := s.metrics.get(metric)) is not None]
    median, low, high = grid.spread(values) if values else (None, None, None)
    theirs = [row["score"] for row in others]
    other_split = next((row["split"] for row in others if row["split"] != split), "")
    part = scores[0].part
    return {
        "median": median,
        "low": low,
        "high": high,
        "n": len(values),
        "left_out": len(scores) - len(counted),
        "published": list(others),
        "band": verdict(values, theirs, split=other_split, part=part),
    }


def as_json(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Scores as plain values."""
    return [asdict(score) for score in scores]
