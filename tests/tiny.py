"""A tiny model with a real vocabulary, and tiny data in Korean and English."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jeoni.data.record import Record
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import train_wordpiece

PASSAGES: dict[str, list[tuple[str, str]]] = {
    "The Han River flows through Seoul. Its first bridge opened in July 1900 and carried trains "
    "to Incheon, and today more than thirty bridges cross it.": [
        ("When did the first bridge open?", "July 1900"),
        ("Which river flows through Seoul?", "Han River"),
        ("Where did the trains go?", "Incheon"),
    ],
    "세종대왕은 1443년에 훈민정음을 만들었다. 집현전 학자들이 그를 도왔다.": [
        ("훈민정음은 언제 만들어졌나?", "1443년"),
        ("누가 훈민정음을 만들었나?", "세종대왕"),
        ("누가 그를 도왔나?", "집현전 학자들"),
    ],
    "Near the old town hall 😀 the Café Müller sells 🍞 bread, and the cafe\u0301 next door tea.": [
        ("What does the first café sell?", "bread"),
        ("Near what is it?", "the old town hall"),
    ],
}
"""Passages with their questions and answers: three writing systems, emoji, a decomposed accent."""

REVIEWS = [
    ("정말 재미있는 영화였다", "긍정"),
    ("시간이 아깝다", "부정"),
    ("배우들의 연기가 훌륭하다", "긍정"),
    ("지루해서 중간에 나왔다", "부정"),
    ("다시 보고 싶은 명작", "긍정"),
    ("돈이 아까운 졸작", "부정"),
    ("웃음과 감동이 있다", "긍정"),
    ("이야기가 엉성하다", "부정"),
    ("a wonderful film", "긍정"),
    ("a waste of time", "부정"),
    ("great acting, great music", "긍정"),
    ("boring from start to end", "부정"),
    ("I would watch it again", "긍정"),
    ("I want my money back", "부정"),
    ("funny and moving", "긍정"),
    ("the plot makes no sense", "부정"),
]
LABELS = ("긍정", "부정")


def texts() -> list[str]:
    """Every text of the tiny data."""
    questions = [q for pairs in PASSAGES.values() for q, _ in pairs]
    return [*PASSAGES, *questions, *(text for text, _ in REVIEWS)]


def tokenizer(vocab_size: int = 600) -> Tokenizer:
    return train_wordpiece(texts(), vocab_size=vocab_size, lowercase=True)


def model(
    *, family: str = "bert", seed: int = 0, dropout: float = 0.0, positions: int = 128
) -> Model:
    """Two layers, hidden 32, all weights drawn."""
    words = tokenizer()
    spec = ArchSpec(
        vocab=words.vocab_size, hidden=32, layers=2, heads=2, feed_forward=64, width=32,
        positions=positions, dropout=dropout, attention_dropout=dropout,
    )  # fmt: skip
    return hub.create(family, spec, tokenizer=words, seed=seed)


def question(text: str, context: str, answer: str | None, id: str = "q", line: int = 1) -> Record:
    """One question; ``answer`` None for a question without one."""
    answers = [] if answer is None else [{"text": answer, "start": context.index(answer)}]
    fields = {"id": id, "question": text, "context": context, "answers": answers}
    return Record(fields, "questions.json", line, "question")


def questions() -> list[Record]:
    """The eight questions."""
    flat = [(q, c, a) for c, pairs in PASSAGES.items() for q, a in pairs]
    return [question(q, c, a, f"q{i}", i) for i, (q, c, a) in enumerate(flat, 1)]


def labeled(rows: Iterable[Sequence[Any]] = REVIEWS, name: str = "reviews.csv") -> list[Record]:
    """Rows ``(text, label)`` or ``(text, pair, label)`` as records, from line 2 on."""
    records = []
    for line, row in enumerate(rows, 2):
        columns = ("text", "label") if len(row) == 2 else ("text", "pair", "label")
        records.append(Record(dict(zip(columns, row, strict=True)), name, line))
    return records


def write_squad(path: Path, records: Sequence[Record] | None = None) -> Path:
    """The questions as a SQuAD file."""
    paragraphs = [
        {
            "context": r.fields["context"],
            "qas": [
                {
                    "id": r.fields["id"],
                    "question": r.fields["question"],
                    "is_impossible": not r.fields["answers"],
                    "answers": [
                        {"text": a["text"], "answer_start": a["start"]} for a in r.fields["answers"]
                    ],
                }
            ],
        }
        for r in (questions() if records is None else records)
    ]
    data = {"version": "1.1", "data": [{"title": "tiny", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    return path


def write_csv(
    path: Path,
    rows: Iterable[Sequence[Any]] = REVIEWS,
    header: Sequence[str] = ("review", "stars"),
) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def fast(**settings: Any) -> dict[str, Any]:
    """Settings of ``train`` for a run of a second: float32, nothing saved in between."""
    base = {"precision": "fp32", "lr": 1e-3, "warmup": 0, "epochs": 1, "log_every": 1}
    return base | {"threads": 1, "save_every_minutes": 0} | settings


def recipe(model: Path | str, data: Mapping[str, Any], out: Path, **more: Any) -> dict[str, Any]:
    """A recipe for the tiny data."""
    train = fast(**more.pop("train", {}))
    base = {"model": str(model), "data": dict(data), "out": str(out), "batch": {"size": 4}}
    return base | {"train": train} | more
