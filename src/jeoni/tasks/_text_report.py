"""What the report of text-to-text tasks shows."""

from collections import defaultdict
from collections.abc import Sequence

from jeoni.report.listed import spread
from jeoni.report.sections import NOTHING, Bars, Section, Text, Texts

SHOWN = 12
_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # words


def is_right(score: float, best: float) -> bool:
    """Whether a text has the score of one that is right, but for rounding."""
    return score >= best * 0.9999


def text_sections(
    sources: Sequence[str],
    references: Sequence[Sequence[str]],
    texts: Sequence[str],
    scores: Sequence[float],
    *,
    metric: str,
    best: float,
) -> list[Section]:
    """Score by length of what was to be written; examples from worst to best.

    Args:
        sources: what was read.
        references: what was to be written.
        texts: what was written.
        scores: of each example.
        metric: what they are called.
        best: the score of a text that is right.
    """
    rows = zip(sources, references, texts, scores, strict=True)
    items = [
        Text(source, " | ".join(gold), text or NOTHING, is_right(score, best))
        for source, gold, text, score in rows
    ]
    order = sorted((i for i in range(len(items)) if not items[i].good), key=scores.__getitem__)
    wrong = [items[i] for i in spread(order, SHOWN)]
    written = [gold[0] if gold else "" for gold in references]
    return [
        Bars(f"{metric} by words to be written", by_length(written, scores), "words", "score",
             value_format=".1f" if best > 1 else ".3f"),
        Texts("Texts that are not as the reference, from worst to best", wrong),
        Texts("Texts that are", [item for item in items if item.good][:SHOWN]),
    ]  # fmt: skip


def by_length(texts: Sequence[str], scores: Sequence[float]) -> list[dict[str, object]]:
    """The mean score of texts of about as many words."""
    groups: dict[int, list[float]] = defaultdict(list)
    for text, score in zip(texts, scores, strict=True):
        count = len(text.split())
        groups[sum(limit <= count for limit in _LENGTHS)].append(score)
    return [
        {"words": f"{_name(place)} (n={len(own)})", "score": sum(own) / len(own)}
        for place, own in sorted(groups.items())
    ]


def _name(place: int) -> str:
    if place == 0:
        return "none"
    low = _LENGTHS[place - 1]
    if place == len(_LENGTHS):
        return f"{low} or more"
    high = _LENGTHS[place] - 1
    return f"{low}" if low == high else f"{low}-{high}"
