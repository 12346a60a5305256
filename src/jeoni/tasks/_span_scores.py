"""The official scores of span question answering."""

import math
from collections import Counter
from collections.abc import Sequence

from jeoni.base.errors import UserError
from jeoni.data.record import Record, text_field
from jeoni.metrics.spans import SCORERS, SpanScores
from jeoni.tasks._scores import Figures, Scores, means
from jeoni.tasks._span_types import SpanPrediction

WITH_THRESHOLD = "squad_v2"
"""The scorer that judges the threshold of giving no answer."""
WITH_NO_ANSWER = (WITH_THRESHOLD, "klue_mrc")
"""The scorers that know questions without an answer."""


def span_scores(
    metric: str,
    records: Sequence[Record],
    predictions: Sequence[SpanPrediction],
    threshold: float,
) -> Scores:
    """Scores in percent.

    With ``squad_v2`` the figures at the threshold come first; those at the threshold that
    would have been best on these very questions are apart, as ``best_*``.

    Args:
        metric: name of the scorer.
        records: the questions.
        predictions: their answers.
        threshold: no answer counts as given above it; infinite: there always is an answer.

    Raises:
        UserError: several questions have the same id.
    """
    ids = [_id(record, i) for i, record in enumerate(records)]
    if len(set(ids)) < len(ids):
        twice = next(i for i, count in Counter(ids).items() if count > 1)
        raise UserError(f"question id {twice!r} occurs more than once")
    references = {
        i: [a["text"] for a in record.fields.get("answers", [])]
        for i, record in zip(ids, records, strict=True)
    }
    if metric == WITH_THRESHOLD:
        # The search for the best threshold needs the answer that would be given without one.
        answered = {
            i: text_field(r, "context")[p.n_best[0].start : p.n_best[0].end] if p.n_best else ""
            for i, r, p in zip(ids, records, predictions, strict=True)
        }
        margin = {
            i: min(p.null_score - p.n_best[0].score, 1e9) if p.n_best else 1e9
            for i, p in zip(ids, predictions, strict=True)
        }
        raw = SCORERS[metric](references, answered, margin, threshold)
    else:
        texts = {i: p.text for i, p in zip(ids, predictions, strict=True)}
        raw = SCORERS[metric](references, texts)
    values = raw.as_dict()
    if metric == "klue_mrc":
        del values["f1"]  # what the scorers' common form calls so is ROUGE-W, which is there too
    per_example = [100 * f1 for _, f1 in (raw.per_question[i] for i in ids)]
    return Scores(values, per_example, beside=[answer_means(raw, ids)])


def answer_means(scores: SpanScores, ids: Sequence[str]) -> Figures:
    """The figures that are means over questions, or over some of them, in percent."""
    both = {
        name: {id: pair[column] for id, pair in scores.per_question.items()}
        for column, name in enumerate(("exact_match", "f1"))
    }
    columns = {**both, **scores.means}
    return means(
        {name: [100 * own.get(id, math.nan) for id in ids] for name, own in columns.items()}
    )


def _id(record: Record, index: int) -> str:
    return str(record.fields.get("id", index))
