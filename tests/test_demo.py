"""The demonstration's page: made from what the runs left, without predicting anything again."""

from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.base.config import read_yaml
from jeoni.base.errors import UserError
from jeoni.evaluation import runner
from jeoni.recipes import demo, demo_pages, run
from jeoni.recipes.demo_lessons import LESSONS, Lesson
from jeoni.recipes.finetune import FinetuneResult, finetune
from jeoni.report.sections import Section
from jeoni.tasks.span_qa import SpanQA


@pytest.fixture
def finished(tiny_folder: Path, squad_json: Path, tmp_path: Path) -> FinetuneResult:
    """A run of a tiny demonstration."""
    recipe = {
        **tiny.recipe(tiny_folder, {"train": str(squad_json), "dev": str(squad_json)}, tmp_path),
        "task": {"name": "span_qa", "max_length": 100},
    }
    recipe.pop("out")
    return finetune(recipe, out=str(tmp_path / "transferred"))


def _examples(result: FinetuneResult) -> list[Section]:
    return demo_pages._examples(read_yaml(result.folder / run.RECIPE), result)


def test_examples_are_those_of_the_run(
    finished: FinetuneResult, monkeypatch: pytest.MonkeyPatch
) -> None:

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("predicted or scored again")

    monkeypatch.setattr(runner, "predict", refuse)
    monkeypatch.setattr(SpanQA, "score", refuse)
    sections = {section.title: section for section in _examples(finished)}
    shown = [*sections["Right answers"].items, *sections["Wrong answers"].items]
    rows = run.predictions(finished.folder)
    assert len(shown) == len(rows) == 8
    spans = {(r["prediction"]["start"], r["prediction"]["end"]) for r in rows}
    assert {item.predicted for item in shown if item.predicted} <= spans
    page = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert all(item.caption in page for item in shown)


def test_a_run_of_before_there_were_predictions(finished: FinetuneResult) -> None:
    (finished.folder / "predictions.jsonl").unlink()
    assert _examples(finished) == []


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.language)
def test_what_is_asked_is_in_the_passage(lesson: Lesson) -> None:
    assert len(lesson.questions) == 3
    for answer in lesson.questions.values():
        assert lesson.passage.count(answer) == 1


def test_an_unknown_language(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'klingon'") as error:
        demo.demo(tmp_path, ["klingon"])
    assert "english, korean" in str(error.value)
    assert not any(tmp_path.iterdir())
