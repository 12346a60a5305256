"""Scores of written texts, by the name of the figure."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, get_args

import numpy as np

from jeoni.base.errors import UserError
from jeoni.metrics import spans
from jeoni.metrics.closed_book import closed_book
from jeoni.metrics.numbers import final_number, final_numbers
from jeoni.metrics.text import rouge, rouge_means, score_of_sums, translation_score
from jeoni.tasks._scores import Figures, Metric, Scores, Sums, means
from jeoni.tasks._span_scores import answer_means

TextMetric = Literal[
    "accuracy", "squad_v1", "squad_v2", "korquad_v1", "nq_open", "trivia_qa", "bleu", "chrf", "rouge",
    "final_number",
]  # fmt: skip
Units = Literal["words", "characters"]
MAIN: Mapping[str, str] = {
    "squad_v1": "f1", "squad_v2": "f1", "korquad_v1": "f1", "nq_open": "exact_match",
    "trivia_qa": "exact_match", "rouge": "rougeL", "final_number": "accuracy",
}  # fmt: skip
"""The main figure, where its name is not the metric's."""
SUMS: Mapping[str, Metric] = {
    "bleu": partial(score_of_sums, metric="bleu"),
    "chrf": partial(score_of_sums, metric="chrf"),
}
_SPANS = {"squad_v1": spans.squad_v1, "korquad_v1": spans.korquad_v1, "squad_v2": spans.squad_v2}
_LIBRARY = {"bleu": "sacrebleu", "chrf": "sacrebleu", "rouge": "rouge_score"}


def known(metric: str) -> bool:
    """Whether there is such a figure of texts."""
    return metric in get_args(TextMetric)


def check(metric: TextMetric, references: Sequence[Sequence[str]], where: Sequence[str]) -> None:
    """See before training that the references can be scored.

    Raises:
        UserError: a library is missing, or a reference is not what the metric is for.
    """
    from importlib.util import find_spec

    library = _LIBRARY.get(metric)
    if library is not None and find_spec(library) is None:
        raise UserError(
            f"task.metric={metric} needs {library}", hint="pip install 'jeoni[generation]'"
        )
    for texts, place in zip(references, where, strict=True):
        if not texts and metric != "squad_v2":
            raise UserError(
                f"{place}: no answer is accepted", hint="task.metric=squad_v2 is for such questions"
            )
        if metric == "final_number" and final_number(texts[0]) is None:
            raise UserError(
                f"{place}: no number behind '#### ' in {texts[0]!r:.60}",
                hint="task.metric=final_number is for solutions that end with one (GSM8K)",
            )


def text_scores(
    metric: TextMetric, references: Sequence[Sequence[str]], texts: Sequence[str], units: Units
) -> Scores:
    """The figures of written texts.

    Args:
        metric: which.
        references: accepted texts of each example.
        texts: what was written.
        units: what BLEU and ROUGE count.
    """
    if metric in ("bleu", "chrf"):
        return _translation(metric, references, texts, units)
    if metric == "rouge":
        cut: Literal["default", "characters"] = "default" if units == "words" else "characters"
        found = [_best_rouge(own, text, cut) for own, text in zip(references, texts, strict=True)]
        values = {name: 100 * value[2] for name, value in rouge_means(found).items()}
        each = {name: [100 * one[name][2] for one in found] for name in values}
        return Scores(values, each["rougeL"], beside=[means(each)])
    if metric in ("accuracy", "final_number"):
        if metric == "accuracy":
            pairs = zip(references, texts, strict=True)
            right = [any(text == answer.strip() for answer in own) for own, text in pairs]
        else:
            right = final_numbers([own[0] for own in references], texts)
        return Scores({"accuracy": float(np.mean(right))}, [float(good) for good in right])
    return _answers(metric, references, texts)


def _translation(
    metric: Literal["bleu", "chrf"],
    references: Sequence[Sequence[str]],
    texts: Sequence[str],
    units: Units,
) -> Scores:
    """BLEU and chrF, both, whichever counts."""
    options = {"tokenize": "13a" if units == "words" else "char"}
    found = {
        "bleu": translation_score(references, texts, "bleu", **options),
        "chrf": translation_score(references, texts, "chrf"),
    }
    own = found[metric]
    values = {metric: own.score} | {name: score.score for name, score in found.items()}
    beside = [
        Figures(score.rows, {name: SUMS[name]}) for name, score in found.items() if score != own
    ]
    return Scores(values, list(own.per_example), Sums(own.rows, SUMS[metric]), beside)


def _best_rouge(
    references: Sequence[str], text: str, cut: Literal["default", "characters"]
) -> dict[str, tuple[float, float, float]]:
    """By the reference that is nearest (rouge-score's ``score_multi``)."""
    each = rouge(list(references), [text] * len(references), cut)
    return {name: max((one[name] for one in each), key=lambda score: score[2]) for name in each[0]}


def _answers(
    metric: TextMetric, references: Sequence[Sequence[str]], texts: Sequence[str]
) -> Scores:
    """Exact match and F1 of answers."""
    gold = {str(number): list(own) for number, own in enumerate(references)}
    said = {str(number): text for number, text in enumerate(texts)}
    scorer = _SPANS.get(metric)
    scores = scorer(gold, said) if scorer else closed_book(gold, said, metric)
    column = 0 if MAIN[metric] == "exact_match" else 1
    values = {k: v for k, v in scores.as_dict().items() if k != "total"}
    per_example = [100.0 * scores.per_question[id][column] for id in gold]
    return Scores(values, per_example, beside=[answer_means(scores, list(gold))])
