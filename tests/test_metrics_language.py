"""Perplexities against their definition and lm-evaluation-harness, and by hand."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.metrics.language import Likelihood, likelihood, perplexity
from metric_cases import NUMBERS, cases, same


@pytest.mark.parametrize("case", cases("lm_perplexity"))
def test_equals_definition_and_harness(case: dict[str, Any]) -> None:
    texts = [
        likelihood(
            document["text"],
            [
                NUMBERS.get(value, value)
                for value, scored in zip(
                    document["token_logprobs"], document["scored"], strict=True
                )
                if scored
            ],
        )
        for document in case["documents"]
    ]
    official = dict(case["expected"])
    harness = official.pop("lm_evaluation_harness")
    official.pop("mean_of_document_token_perplexities")  # which is another number
    all_texts = sum(texts, Likelihood())
    ours = perplexity(iter(texts)) | {
        "total_log_likelihood": all_texts.log_likelihood,
        "scored_tokens": all_texts.tokens,
        "words": all_texts.words,
        "bytes": all_texts.bytes,
        "characters": all_texts.characters,
    }
    same(ours, official)
    for name, value in harness.items():
        same(ours[name], "Infinity" if isinstance(value, dict) else value)


def test_by_hand() -> None:
    scores = perplexity(
        [likelihood("a  b", [math.log(1 / 2)] * 2), likelihood("가", [math.log(1 / 4)])]
    )
    # 4 bits: of 3 tokens, 3 words, 7 bytes, 5 characters.
    assert scores == pytest.approx(
        {
            "mean_nll_per_token": 4 / 3 * math.log(2),
            "bits_per_token": 4 / 3,
            "bits_per_byte": 4 / 7,
            "bits_per_character": 4 / 5,
            "token_perplexity": 2 ** (4 / 3),
            "word_perplexity": 2 ** (4 / 3),
            "byte_perplexity": 2 ** (4 / 7),
            "character_perplexity": 2 ** (4 / 5),
        }
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-20, 0), min_size=1, max_size=5), min_size=2, max_size=5))
def test_order_does_not_matter(values: list[list[float]]) -> None:
    texts = [likelihood("ab c", row) for row in values]
    assert perplexity(texts) == pytest.approx(perplexity(texts[::-1]))


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("a", [-1.0, math.nan], "token 1: log-probability nan"),
        ("a", [0.5], "token 0: log-probability 0.5"),
        ("a", [], "no perplexity of 0 tokens"),
        ("", [-1.0], "1 tokens, 0 characters"),
    ],
)
def test_refuses(text: str, values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        perplexity([likelihood(text, values)])


def test_refuses_no_text() -> None:
    with pytest.raises(ValueError, match="0 tokens"):
        perplexity([])
