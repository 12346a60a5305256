"""Official scores for span question answering: SQuAD 1.1, SQuAD 2.0, KorQuAD 1.0, KLUE MRC.

The numbers equal those of the published scripts, faults included, to the last digit. Sources:
Rajpurkar et al. 2016 (SQuAD), Rajpurkar et al. 2018 (SQuAD 2.0), Lim et al. 2019 (KorQuAD 1.0), Park et
al. 2021 (KLUE), and their scripts. Where an official number is not what it seems, an honest one stands
beside it under another name (``attainable_best_*``, ``corrected_*``).
"""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from jeoni.metrics.thresholds import Predictions, References, Scores, searched

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_KLUE_BLANKS = re.compile(r"['\"《》<>〈〉]\(\)‘’")  # as published: the bracket closes too early
_KORQUAD_BLANKS = str.maketrans(dict.fromkeys("'\"《》<>〈〉()‘’", " "))


@dataclass(frozen=True)
class SpanScores:
    """What a span scorer returns.

    Attributes:
        exact_match: percent (SQuAD 2.0 calls it ``exact``).
        f1: percent.
        per_question: for every reference id its (exact match, F1), each 0 to 1, whose means the two
            figures above are.
        details: further official figures under their official names, and ``attainable_best_*``.
        means: of the details that are means over (some of the) questions, each question's part, 0 to 1.
    """

    exact_match: float
    f1: float
    per_question: Scores
    details: Mapping[str, float] = field(default_factory=dict)
    means: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, float]:
        """All figures by name, without the single questions."""
        return {"exact_match": self.exact_match, "f1": self.f1, **self.details}


def normalize_squad(text: str) -> str:
    """Lower case, no ASCII punctuation, no English articles, single blanks: in that order."""
    return single_blanks(text.lower().translate(_NO_PUNCTUATION))


def single_blanks(text: str) -> str:
    """No English articles, single blanks."""
    return " ".join(_ARTICLES.sub(" ", text).split())


def normalize_korquad(text: str) -> str:
    """Quotation marks and brackets to blanks, lower case, no ASCII punctuation, single blanks."""
    return " ".join(text.translate(_KORQUAD_BLANKS).lower().translate(_NO_PUNCTUATION).split())


def normalize_klue_mrc(text: str) -> str:
    """As KorQuAD's, but as published the marks stay or vanish, where they should become blanks."""
    return " ".join(_KLUE_BLANKS.sub(" ", text.lower()).translate(_NO_PUNCTUATION).split())


def squad_v1(references: References, predictions: Predictions) -> SpanScores:
    """SQuAD 1.1: exact match and F1 over words.

    As in the official script, a question without prediction counts 0, predictions for unknown ids
    are ignored, and two sides that are empty after normalization have exact match 1 but F1 0.

    Args:
        references: accepted answer texts of each question id.
        predictions: answer text of each question id.

    Raises:
        ValueError: no question, or one without answers.
    """
    return score_answerable(references, predictions, normalize_squad, str.split)


def korquad_v1(references: References, predictions: Predictions) -> SpanScores:
    """KorQuAD 1.0: exact match (blanks count) and F1 over characters without blanks.

    Arguments, errors and the treatment of missing, unknown and empty answers as in ``squad_v1``.
    """
    return score_answerable(references, predictions, normalize_korquad, _characters)


def squad_v2(
    references: References,
    predictions: Predictions,
    na_probs: Mapping[str, float] | None = None,
    threshold: float = 1.0,
) -> SpanScores:
    """SQuAD 2.0: as 1.1, with questions that have no answer.

    ``details`` has ``total``, ``HasAns_*`` and ``NoAns_*`` (where there are such questions) and,
    with ``na_probs``, ``best_exact``, ``best_f1`` with their ``_thresh``, and average precision
    ``pr_exact_ap``, ``pr_f1_ap``, ``pr_oracle_ap`` (percent; if any question has an answer).

    The official ``best_*`` may lie inside a group of equal probabilities, where no threshold
    reaches, and calls "never answer" threshold 0 even if there are lower values.
    ``attainable_best_*`` are the best scores that some ``threshold`` really gives, with it.

    Args:
        references: accepted answer texts of each question id; none where it has no answer.
        predictions: answer text of each question id; "" for no answer. Unknown ids are ignored.
        na_probs: for each id how sure it is that there is no answer: any number, higher is surer.
            The order of the mapping settles ties in ``best_*``. Unknown ids are ignored, in
            average precision too (the official script stops there).
        threshold: a question with a higher ``na_probs`` (if given) is scored as not answered.

    Raises:
        ValueError: no question, or one without prediction or without a finite probability.
    """
    require_questions(references)
    _require_all(references, predictions, "prediction")
    raw = {id: _score_v2(answers, predictions[id]) for id, answers in references.items()}
    if na_probs is None:
        return SpanScores(*_means(raw.values()), raw, *_groups(references, raw))
    _require_all(references, na_probs, "no-answer probability")
    if bad := [id for id in references if not math.isfinite(na_probs[id])]:
        raise ValueError(f"question {bad[0]!r}: no-answer probability {na_probs[bad[0]]}")
    empty = {id: (0.0, 0.0) if answers else (1.0, 1.0) for id, answers in references.items()}
    final = {id: empty[id] if na_probs[id] > threshold else raw[id] for id in raw}
    details, means = _groups(references, final)
    details |= searched(references, predictions, na_probs, raw, empty)
    return SpanScores(*_means(final.values()), final, details, means)


def klue_mrc(references: References, predictions: Predictions) -> SpanScores:
    """KLUE MRC: exact match, and "ROUGE-W", which is ``f1`` of the longest common run of characters.

    Two faults of the official script are in both: its normalization (see ``normalize_klue_mrc``),
    and that the search passes over frequent characters if the answer has 200 or more.
    ``corrected_exact_match`` and ``corrected_rouge_w`` are without them.

    Args:
        references: accepted answer texts of each question id; none where it has no answer.
        predictions: answer text of each question id; "" for no answer. Unknown ids are ignored.

    Raises:
        ValueError: no question, or one without prediction.
    """
    require_questions(references)
    _require_all(references, predictions, "prediction")
    official, corrected = (
        {id: _longest_run(a, predictions[id], normalize, junk) for id, a in references.items()}
        for normalize, junk in ((normalize_klue_mrc, True), (normalize_korquad, False))
    )
    exact, rouge = _means(official.values())
    names = ("corrected_exact_match", "corrected_rouge_w")
    right = dict(zip(names, _means(corrected.values()), strict=True))
    means = {name: {id: s[n] for id, s in corrected.items()} for n, name in enumerate(names)}
    means["rouge_w"] = {id: run for id, (_, run) in official.items()}
    return SpanScores(exact, rouge, official, {"rouge_w": rouge, **right}, means)


SCORERS: Mapping[str, Callable[..., SpanScores]] = {
    "squad_v1": squad_v1,
    "squad_v2": squad_v2,
    "korquad_v1": korquad_v1,
    "klue_mrc": klue_mrc,
}


def _characters(normalized: str) -> list[str]:
    return [c for c in normalized if not c.isspace()]


def _f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """F1 of two multisets; 0 if either is empty."""
    same = sum((Counter(predicted) & Counter(gold)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(gold)
    return 2 * precision * recall / (precision + recall)


def score_answerable(
    references: References,
    predictions: Predictions,
    normalize: Callable[[str], str],
    tokens: Callable[[str], list[str]],
) -> SpanScores:
    """Exact match and F1, the best over the answers of questions that all have some.

    Args:
        references: accepted answer texts of each question id.
        predictions: answer text of each question id; a missing one is wrong.
        normalize: of texts, before they are compared.
        tokens: what F1 counts in a normalized text.

    Raises:
        ValueError: no question, or one without answers.
    """
    require_questions(references)
    scores: dict[str, tuple[float, float]] = {}
    for id, answers in references.items():
        if not answers:
            raise ValueError(f"question {id!r} has no reference answer; squad_v2 allows that")
        if id not in predictions:
            scores[id] = (0.0, 0.0)
            continue
        predicted, golds = normalize(predictions[id]), [normalize(a) for a in answers]
        scores[id] = (
            float(predicted in golds),
            max(_f1(tokens(predicted), tokens(gold)) for gold in golds),
        )
    return SpanScores(*_means(scores.values()), scores)


def _score_v2(answers: Sequence[str], prediction: str) -> tuple[float, float]:
    # Answers that normalize to nothing do not count; a question left without any expects "".
    golds = [gold for gold in map(normalize_squad, answers) if gold] or [""]
    predicted = normalize_squad(prediction)
    if not predicted or golds == [""]:
        right = float(predicted in golds)
        return right, right
    return float(predicted in golds), max(_f1(predicted.split(), gold.split()) for gold in golds)


def _longest_run(
    answers: Sequence[str], prediction: str, normalize: Callable[[str], str], autojunk: bool
) -> tuple[float, float]:
    predicted, golds = normalize(prediction), [normalize(a) for a in answers] or [""]
    scores = [float(predicted == gold) for gold in golds]
    runs = [0.0 if gold else right for gold, right in zip(golds, scores, strict=True)]
    for index, gold in enumerate(golds):
        if gold and predicted:
            matcher = SequenceMatcher(None, predicted, gold, autojunk=autojunk)
            same = matcher.find_longest_match(0, len(predicted), 0, len(gold)).size
            runs[index] = 2 * same / (len(predicted) + len(gold))
    return max(scores), max(runs)


def _means(scores: Collection[tuple[float, float]]) -> tuple[float, float]:
    """Mean exact match and F1 in percent."""
    exact, f1 = (100.0 * sum(column) / len(scores) for column in zip(*scores, strict=True))
    return exact, f1


def _groups(
    references: References, scores: Scores
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Scores of the questions with and without an answer, where there are any; and each question's part."""
    result: dict[str, float] = {"total": len(references)}
    parts: dict[str, dict[str, float]] = {}
    for name, has_answer in (("HasAns", True), ("NoAns", False)):
        chosen = {id: scores[id] for id, own in references.items() if bool(own) is has_answer}
        if chosen:
            exact, f1 = _means(chosen.values())
            result |= {f"{name}_exact": exact, f"{name}_f1": f1, f"{name}_total": len(chosen)}
            for column, kind in enumerate(("exact", "f1")):
                parts[f"{name}_{kind}"] = {id: score[column] for id, score in chosen.items()}
    return result, parts


def require_questions(references: References) -> None:
    """See that there are any.

    Raises:
        ValueError: there are none.
    """
    if not references:
        raise ValueError("there is no question to score")


def _require_all(references: References, given: Mapping[str, object], what: str) -> None:
    missing = [id for id in references if id not in given]
    if missing:
        raise ValueError(f"{len(missing)} questions have no {what}; the first is {missing[0]!r}")
