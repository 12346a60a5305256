"""KLUE MRC: its files, and its score in span question answering."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tiny
from jeoni.data.catalog import DataConfig, Dataset, open_dataset
from jeoni.tasks._span_types import SpanPrediction
from jeoni.tasks.span_qa import LONGEST_PARTICLE, from_data
from span_tasks import make

CONTEXT = "서울시는 3일 새 도서관을 연다고 밝혔다."


def answer(text: str) -> dict[str, Any]:
    return {"text": text, "answer_start": CONTEXT.index(text)}


def published(tmp_path: Path) -> Dataset:
    """A file in the layout of klue-mrc-v1.1_dev.json."""
    rows: list[dict[str, Any]] = [
        {"answers": [answer("서울시"), answer("서울시는")], "is_impossible": False},
        {"answers": [], "is_impossible": True, "plausible_answers": [answer("3일")]},
    ]
    questions = [
        {
            "question": "누가 도서관을 여나?",
            "question_type": 3 if row["is_impossible"] else 1,
            "guid": f"klue-mrc-v1_dev_{number:05}",
            **row,
        }
        for number, row in enumerate(rows)
    ]
    article = {
        "title": "새 도서관",
        "paragraphs": [{"context": CONTEXT, "qas": questions}],
        "news_category": "사회",
        "source": "acrofan",
    }
    path = tmp_path / "klue-mrc-v1.1_dev.json"
    path.write_text(json.dumps({"version": "klue-mrc-v1_dev", "data": [article]}))
    return open_dataset(DataConfig(name="klue-mrc", root=str(tmp_path)))


def said(text: str) -> SpanPrediction:
    start = CONTEXT.index(text)
    return SpanPrediction(text, start, start + len(text), 1.0, 0.9, 0.0, ())


def test_files_as_they_are_published(tmp_path: Path) -> None:
    first, second = published(tmp_path).split("dev")
    assert first.fields["id"] == "klue-mrc-v1_dev_00000"
    assert [a["text"] for a in first.fields["answers"]] == ["서울시", "서울시는"]
    assert second.fields["answers"] == []  # plausible ones are none


def test_flat_copy_has_plausible_answers_among_the_answers(tmp_path: Path) -> None:
    rows = [
        {
            "guid": f"g{number}",
            "question": "누가?",
            "context": CONTEXT,
            "is_impossible": impossible,
            "answers": {"text": ["서울시"], "answer_start": [0]},
        }
        for number, impossible in enumerate((False, True))
    ]
    folder = tmp_path / "klue"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "mrc_dev.parquet")
    records = open_dataset(DataConfig(name="klue-mrc", root=str(tmp_path))).split("dev")
    assert [(r.fields["id"], len(r.fields["answers"])) for r in records] == [("g0", 1), ("g1", 0)]


def test_score_is_rouge_w(tmp_path: Path) -> None:
    dataset = published(tmp_path)
    settings = from_data(dataset)
    assert settings == {"metric": "klue_mrc", "no_answer": True, "trim": LONGEST_PARTICLE}
    task = make(tiny.model(), **settings)
    encoded = task.encode(dataset.split("dev"))
    none = SpanPrediction("", 0, 0, 2.0, 0.9, 2.0, ())
    values = task.score(encoded, [said("서울시는"), none])
    assert task.main_metric == "rouge_w"
    assert (values.values["exact_match"], values.values["rouge_w"]) == (100.0, 100.0)
    assert "f1" not in values.values
    values = task.score(encoded, [said("서울"), said("3일")])
    assert values.values["exact_match"] == 0.0
    # Two of the characters of "서울" and "서울시"; an answer where there is none is wrong.
    assert values.values["rouge_w"] == pytest.approx(100 * (2 * 2 / 5) / 2)
    assert values.per_example == pytest.approx([80.0, 0.0])
    titles = [section.title for section in task.sections(encoded, [said("서울"), none], values)]
    assert titles[0] == "ROUGE-W by question word"
