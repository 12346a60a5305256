"""Scores for written text: BLEU, chrF and TER (sacrebleu), ROUGE (rouge-score)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jeoni.metrics.counts import check_pairs

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
Triple = tuple[float, float, float]
"""Precision, recall, F1."""


@dataclass(frozen=True)
class TextScore:
    """A figure over a corpus.

    Attributes:
        score: percent.
        per_example: the same figure of each text alone (BLEU with effective order); their mean is another.
        signature: what must be told beside the score for others to get the same.
        details: BLEU's ``counts``, ``totals``, ``precisions``, ``bp``, ``sys_len``, ``ref_len``.
        rows: what the figure adds up, of each text, ``[n, k]``; see ``score_of_sums``.
    """

    score: float
    per_example: Sequence[float]
    signature: str
    details: Mapping[str, Any] = field(default_factory=dict)
    rows: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)), compare=False)


def translation_score(
    references: Sequence[Sequence[str]],
    predictions: Sequence[str],
    metric: Literal["bleu", "chrf", "ter"] = "bleu",
    **options: Any,
) -> TextScore:
    """BLEU, chrF or TER as sacrebleu computes them.

    Papineni et al. 2002, Popović 2015, Snover et al. 2006; Post 2018.
    For Korean the default tokenizer leaves every eojeol whole: ``tokenize="char"`` and chrF compare finer.
    T5's BLEU is ``tokenize="intl", smooth_method="exp"``.

    Args:
        references: one or several texts for each example.
        predictions: one text an example.
        metric: which.
        options: of sacrebleu's class: ``tokenize``, ``lowercase``, ``word_order``, ...

    Raises:
        ValueError: no example, unequal lengths, an example without reference, or an unknown option.
        ImportError: sacrebleu is not installed.
    """
    check_pairs(references, predictions)
    if bad := [i for i, texts in enumerate(references) if isinstance(texts, str) or not texts]:
        raise ValueError(f"example {bad[0]} needs a list of at least one reference text")
    classes = _library("sacrebleu.metrics")
    found = {"bleu": classes.BLEU, "chrf": classes.CHRF, "ter": classes.TER}
    if metric not in found:
        raise ValueError(f"metric {metric!r}: there are {', '.join(found)}")
    try:
        scorer = found[metric](**options)
        single = found[metric](**options, **({"effective_order": True} if metric == "bleu" else {}))
    except TypeError as error:
        raise ValueError(f"options of {metric}: {error}") from None
    most = max(map(len, references))
    streams = [[texts[i] if i < len(texts) else None for texts in references] for i in range(most)]
    result = scorer.corpus_score(list(predictions), streams)
    pairs = zip(predictions, references, strict=True)
    return TextScore(
        float(result.score),
        [float(single.sentence_score(text, list(texts)).score) for text, texts in pairs],
        str(scorer.get_signature()),
        {k: v for k, v in vars(result).items() if k in _DETAILS},
        # sacrebleu's own bootstrap adds these up.
        np.array(scorer._extract_corpus_statistics(list(predictions), streams), np.float64),
    )


def score_of_sums(
    sums: NDArray[np.float64], metric: Literal["bleu", "chrf", "ter"]
) -> NDArray[np.float64]:
    """The figure of added up ``TextScore.rows``, ``[..., k]`` to ``[...]``, by sacrebleu's options."""
    classes = _library("sacrebleu.metrics")
    scorer = {"bleu": classes.BLEU, "chrf": classes.CHRF, "ter": classes.TER}[metric]()
    flat = sums.reshape(-1, sums.shape[-1])
    found = [scorer._compute_score_from_stats(row.tolist()).score for row in flat]
    return np.array(found).reshape(sums.shape[:-1])


def rouge(
    references: Sequence[str],
    predictions: Sequence[str],
    tokenizer: Literal["default", "words", "characters"] = "default",
    *,
    stemmer: bool = False,
) -> list[dict[str, Triple]]:
    """ROUGE-1, -2, -L and -Lsum of each example (Lin 2004): precision, recall and F1 as fractions.

    The official default tokenizer keeps a-z and 0-9 alone, so **Korean scores 0 even for equal
    texts**: take ``words`` (split at white space) or ``characters`` (all but white space).
    ROUGE-Lsum splits sentences at line breaks.

    Args:
        references: one text an example.
        predictions: the same.
        tokenizer: how texts are cut.
        stemmer: Porter's, on English words of more than three letters; for the default tokenizer.

    Raises:
        ValueError: no example, unequal lengths, or no such tokenizer.
        ImportError: rouge-score is not installed.
    """
    check_pairs(references, predictions)
    if tokenizer != "default" and tokenizer not in _CUTS:
        raise ValueError(f"tokenizer {tokenizer!r}: there are default, {', '.join(_CUTS)}")
    cut = None if tokenizer == "default" else _Cut(tokenizer)
    library = _library("rouge_score.rouge_scorer")
    scorer = library.RougeScorer(list(ROUGE), use_stemmer=stemmer, tokenizer=cut)
    return [
        {name: _triple(score) for name, score in scorer.score(reference, prediction).items()}
        for reference, prediction in zip(references, predictions, strict=True)
    ]


def rouge_means(examples: Iterable[Mapping[str, Triple]]) -> dict[str, Triple]:
    """Means over examples of what ``rouge`` gives; ``rouge_means(...)["rougeL"][2]`` is the usual figure.

    Raises:
        ValueError: no example.
    """
    rows = list(examples)
    if not rows:
        raise ValueError("there is no example to score")
    columns = {name: zip(*(row[name] for row in rows), strict=True) for name in rows[0]}
    return {
        name: _triple(sum(values) / len(rows) for values in column)
        for name, column in columns.items()
    }


def rouge_t5(references: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """ROUGE-1, -2, -Lsum F1 in percent as T5 reports them: " . " ends a sentence (Raffel et al. 2020)."""
    gold, found = ([t.replace(" . ", " .\n") for t in side] for side in (references, predictions))
    means = rouge_means(rouge(gold, found))
    return {name: 100 * means[name][2] for name in ("rouge1", "rouge2", "rougeLsum")}


_DETAILS = ("counts", "totals", "precisions", "bp", "sys_len", "ref_len")
_CUTS = {"words": str.split, "characters": lambda text: [c for c in text if not c.isspace()]}


class _Cut:
    """A tokenizer as rouge-score wants it."""

    def __init__(self, name: str) -> None:
        self.tokenize = _CUTS[name]


def _triple(values: Iterable[float]) -> Triple:
    precision, recall, f1 = map(float, values)
    return precision, recall, f1


def _library(name: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name.partition('.')[0]} is not installed: pip install 'jeoni[generation]'"
        ) from error
