"""BLEU, chrF, TER and ROUGE against sacrebleu, rouge-score and T5's, and by hand."""

import math
import sys
from typing import Any

import numpy as np
import pytest

from jeoni.metrics.text import rouge, rouge_means, rouge_t5, score_of_sums, translation_score
from metric_cases import cases, same


@pytest.mark.parametrize("case", cases("sacrebleu"))
def test_equals_sacrebleu(case: dict[str, Any]) -> None:
    references = [
        [text for text in texts if text is not None]
        for texts in zip(*case["references"], strict=True)
    ]
    for official in case["expected"].values():
        metric = official["class"].lower()
        result = translation_score(references, case["hypotheses"], metric, **official["arguments"])
        same(result.score, official["score"])
        details = ("counts", "totals", "precisions", "bp", "sys_len", "ref_len")
        same(result.details, {name: official[name] for name in details if name in official})
        if "sentence_scores" in official:
            same(list(result.per_example), official["sentence_scores"])
        if case["name"] != "uneven_references":  # which we line up otherwise
            assert result.signature == official["signature"]


MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "stemmer": {"stemmer": True},
    "whitespace_tokenizer": {"tokenizer": "words"},
    "character_tokenizer": {"tokenizer": "characters"},
}


@pytest.mark.parametrize("case", cases("rouge_score"))
def test_equals_rouge_score(case: dict[str, Any]) -> None:
    references, predictions = case["references"], case["predictions"]
    for mode, options in MODES.items():
        expected = case["expected"][mode]
        some = 12 if mode == "character_tokenizer" else len(references)  # whose sequences are long
        result = rouge(references[:some], predictions[:some], **options)
        same(result, expected["per_example"][:some])
        if some >= len(references):
            same(rouge_means(result), expected["mean"])
    same(rouge_t5(references, predictions), case["expected"]["t5_rouge_mean"])


def test_bleu_by_hand() -> None:
    result = translation_score([["a b c d e"], ["x"]], ["a b c d", "y"], max_ngram_order=2)
    # 4 of 5 words, 3 of 3 pairs; 5 words for 6.
    assert result.score == pytest.approx(100 * math.exp(1 - 6 / 5) * math.sqrt(4 / 5))
    assert result.per_example[0] == pytest.approx(100 * math.exp(1 - 5 / 4))
    assert "tok:13a" in result.signature


def test_a_short_text_has_no_bleu_but_among_texts() -> None:
    result = translation_score([["a b"]], ["a b"])
    assert (result.score, result.per_example[0]) == (0, pytest.approx(100))


def test_the_better_of_two_references_counts() -> None:
    both = translation_score([["로봇이 간다", "로봇은 갔다"]], ["로봇은 갔다"], "chrf")
    assert both.score == pytest.approx(100)
    assert translation_score([["로봇이 간다"]], ["로봇은 갔다"], "chrf").score < 60


def test_rouge_by_hand() -> None:
    (scores,) = rouge(["the cat sat"], ["the cat ran off"])
    assert scores["rouge1"] == pytest.approx((2 / 4, 2 / 3, 4 / 7))
    assert scores["rouge2"] == pytest.approx((1 / 3, 1 / 2, 2 / 5))


def test_korean_needs_another_tokenizer() -> None:
    assert rouge(["서울은 크다"], ["서울은 크다"])[0]["rougeL"][2] == 0
    assert rouge(["서울은 크다"], ["서울은 크다"], "words")[0]["rougeL"][2] == 1
    assert rouge(["서울은 크다"], ["서울이 크다"], "characters")[0]["rouge1"][2] == pytest.approx(
        4 / 5
    )


@pytest.mark.parametrize(
    ("references", "predictions", "options", "message"),
    [
        ([], [], {}, "no example"),
        ([["a"]], [], {}, "1 references but 0"),
        ([["a"], []], ["a", "a"], {}, "example 1 needs a list"),
        (["a"], ["a"], {}, "example 0 needs a list"),
        ([["a"]], ["a"], {"metric": "bleurt"}, "metric 'bleurt'"),
        ([["a"]], ["a"], {"order": 3}, "options of bleu"),
    ],
)
def test_translation_refuses(references: Any, predictions: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        translation_score(references, predictions, **options)


def test_rouge_refuses() -> None:
    with pytest.raises(ValueError, match="2 references but 1"):
        rouge(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="tokenizer 'jamo'"):
        rouge(["a"], ["a"], "jamo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no example"):
        rouge_means([])


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(ImportError, match=r"jeoni\[generation\]"):
        translation_score([["a"]], ["a"])


@pytest.mark.parametrize("metric", ["bleu", "chrf", "ter"])
def test_rows_add_up_to_the_score(metric: Any) -> None:
    references = [["a river near the bridge"], ["the water was old", "old water"], ["a picture"]]
    result = translation_score(references, ["a river by the bridge", "water was old", "x"], metric)
    assert result.rows.shape[0] == 3
    both = np.stack([result.rows.sum(0), result.rows.sum(0)])
    assert score_of_sums(both, metric) == pytest.approx([result.score] * 2)
