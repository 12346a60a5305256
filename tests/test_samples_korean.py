"""The Korean questions that the package carries."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jeoni
from jeoni.base.files import read_json
from jeoni.recipes.demo_lessons import KOREAN

SAMPLES = Path(jeoni.__file__).parent / "data" / "samples"
NAMES = ("train", "dev", "test")


@pytest.fixture(scope="module")
def samples() -> dict[str, Any]:
    return {name: read_json(SAMPLES / f"wiki-ko-qa-{name}.json.zst") for name in NAMES}


def questions(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield paragraph["context"], question


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_stands_at_its_offset(samples: dict[str, Any], name: str) -> None:
    for context, question in questions(samples[name]):
        (answer,) = question["answers"]
        start, text = answer["answer_start"], answer["text"]
        assert context[start : start + len(text)] == text
        assert text == text.strip()
        assert question["question"].endswith("?")


def test_no_passage_is_in_two(samples: dict[str, Any]) -> None:
    own = [{context for context, _ in questions(samples[name])} for name in NAMES]
    assert len(set.union(*own)) == sum(map(len, own))
    ids = [question["id"] for name in NAMES for _, question in questions(samples[name])]
    assert len(ids) == len(set(ids))


def test_what_the_demonstration_asks_is_not_in_them(samples: dict[str, Any]) -> None:
    told = KOREAN.questions["대한민국 서쪽에는 어느 나라가 있나?"]
    for name in NAMES:
        for context, question in questions(samples[name]):
            about_korea = any(word in context for word in ("대한민국", "한반도", "조선민주"))
            assert not (about_korea and told in context)
            assert question["question"] not in KOREAN.questions
