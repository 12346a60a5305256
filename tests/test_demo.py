"""The demonstration's page: made from what the runs left, without predicting anything again."""

from dataclasses import replace
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
from jeoni.serving.predictor import Predictor
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


def test_a_reader_of_another_lesson_answers_at_once(
    tiny_folder: Path,
    squad_json: Path,
    qa_run: FinetuneResult,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    passage, pairs = next(iter(tiny.PASSAGES.items()))
    given = {"train": str(squad_json), "dev": str(squad_json)}
    recipe = tiny.recipe(tiny_folder, given, tmp_path)
    recipe.pop("out")
    recipe["task"] = {"name": "span_qa", "max_length": 100}
    taught = Lesson("Tiny", "", "a model", "texts", recipe, "", passage, dict(pairs))
    known = replace(taught, language="Known", reader=str(qa_run.folder))
    monkeypatch.setattr(demo, "LESSONS", (taught, known))
    page = demo.demo(tmp_path / "demo", ["tiny"]).read_text(encoding="utf-8")
    said = capsys.readouterr().out
    own = Predictor(qa_run.folder, "span_qa").answer([q for q, _ in pairs], [passage] * 3)
    told = said[said.index("Known: ") :]
    assert all(f"→ {answer.text}  (" in told for answer in own)
    assert f"jeoni answer --model {qa_run.folder} " in told
    assert f"Asked {qa_run.folder} (Known)" in page
    assert not (tmp_path / "demo" / "known").exists()
