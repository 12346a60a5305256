"""What the report of span question answering shows."""

import re
from collections import defaultdict
from collections.abc import Sequence

from jeoni.data.record import Record, text_field
from jeoni.report.listed import spread
from jeoni.report.sections import Bars, Passage, Passages, Section
from jeoni.tasks._span_types import SpanPrediction

_WORDS = {
    name: re.compile(pattern)
    for name, pattern in {
        **{word: rf"\b{word}\b" for word in ("what", "when", "where", "which", "why")},
        "who": r"\bwho(m|se)?\b",
        "how many": r"\bhow (many|much)\b",
        "how": r"\bhow\b(?! (many|much)\b)",
        "누구": "누구|누가",
        "무엇": "무엇|무슨|뭐|뭘",
        "왜": r"왜(?!\w)|왜냐|왜인",  # 왜군 and 왜란 are of another word
        **{word: word for word in ("언제", "어디", "어느", "어떤", "어떻게", "몇", "얼마")},
    }.items()
}
_LENGTHS = ((1, 10), (11, 25), (26, 50), (51, 100), (101, 10**9))
_NAMES = {"f1": "F1", "rouge_w": "ROUGE-W"}
SHOWN = 12
RIGHT = 99.99
"""A score from which on an answer counts as right."""


def span_sections(
    records: Sequence[Record],
    predictions: Sequence[SpanPrediction],
    scores: Sequence[float],
    metric: str = "f1",
) -> list[Section]:
    """Score by question word and answer length; wrong and right answers marked in their passages.

    Args:
        records: the questions.
        predictions: their answers.
        scores: of each, in percent.
        metric: what they are.
    """
    name = _NAMES[metric]
    items = [
        _passage(record, prediction, score, name)
        for record, prediction, score in zip(records, predictions, scores, strict=True)
    ]
    wrong = sorted((i for i in range(len(items)) if not items[i].good), key=scores.__getitem__)
    right = [item for item in items if item.good]
    return [
        Bars(f"{name} by question word", _by_word(records, scores), "kind", "score"),
        Bars(
            f"{name} by length of the answer (characters)",
            _by_length(records, scores),
            "kind",
            "score",
        ),
        Passages("Wrong answers", [items[i] for i in spread(wrong, SHOWN)]),
        Passages("Right answers", right[:SHOWN]),
    ]


def _passage(record: Record, prediction: SpanPrediction, score: float, metric: str) -> Passage:
    answers = record.fields.get("answers", [])
    spans = [(int(a["start"]), int(a["start"]) + len(a["text"])) for a in answers]
    return Passage(
        question=text_field(record, "question"),
        context=text_field(record, "context"),
        gold=list(dict.fromkeys(spans)),
        predicted=(prediction.start, prediction.end) if prediction.text else None,
        good=score >= RIGHT,
        caption=f"{metric} {score:.0f}, probability {prediction.probability:.0%}",
    )


def _by_word(records: Sequence[Record], scores: Sequence[float]) -> list[dict[str, object]]:
    groups: dict[str, list[float]] = defaultdict(list)
    for record, score in zip(records, scores, strict=True):
        groups[question_word(text_field(record, "question"))].append(score)
    return _rows(groups)


def question_word(question: str) -> str:
    """The first question word of an English or Korean question; "other" where there is none."""
    places = {name: m.start() for name, p in _WORDS.items() if (m := p.search(question.lower()))}
    return min(places, key=places.__getitem__, default="other")


def _by_length(records: Sequence[Record], scores: Sequence[float]) -> list[dict[str, object]]:
    groups: dict[str, list[float]] = {}
    for low, high in _LENGTHS:
        name = f"{low}-{high}" if high < 10**9 else f"over {low - 1}"
        values = [
            score
            for record, score in zip(records, scores, strict=True)
            if record.fields.get("answers")
            and low <= len(record.fields["answers"][0]["text"]) <= high
        ]
        if values:
            groups[name] = values
    none = [s for r, s in zip(records, scores, strict=True) if not r.fields.get("answers")]
    if none:
        groups["no answer"] = none
    return _rows(groups, by_size=False)


def _rows(groups: dict[str, list[float]], *, by_size: bool = True) -> list[dict[str, object]]:
    order = sorted(groups.items(), key=lambda g: -len(g[1])) if by_size else groups.items()
    return [{"kind": f"{k} (n={len(v)})", "score": sum(v) / len(v)} for k, v in order]
