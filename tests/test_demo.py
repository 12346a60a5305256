"""The demonstration's page: made from what the runs left, without predicting anything again."""

from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.evaluation import runner
from jeoni.recipes import demo, run
from jeoni.recipes.finetune import FinetuneResult, finetune
from jeoni.tasks.span_qa import SpanQA


@pytest.fixture
def finished(
    tiny_folder: Path, squad_json: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FinetuneResult:
    """A run of a tiny demonstration."""
    recipe = {
        **tiny.recipe(tiny_folder, {"train": str(squad_json), "dev": str(squad_json)}, tmp_path),
        "task": {"name": "span_qa", "max_length": 100},
    }
    recipe.pop("out")
    monkeypatch.setattr(demo, "RECIPE", recipe)
    return finetune(recipe, out=str(tmp_path / "transferred"))


def test_examples_are_those_of_the_run(
    finished: FinetuneResult, monkeypatch: pytest.MonkeyPatch
) -> None:

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("predicted or scored again")

    monkeypatch.setattr(runner, "predict", refuse)
    monkeypatch.setattr(SpanQA, "score", refuse)
    sections = {section.title: section for section in demo._examples(finished)}
    shown = [*sections["Right answers"].items, *sections["Wrong answers"].items]
    rows = run.predictions(finished.folder)
    assert len(shown) == len(rows) == 8
    spans = {(r["prediction"]["start"], r["prediction"]["end"]) for r in rows}
    assert {item.predicted for item in shown if item.predicted} <= spans
    page = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert all(item.caption in page for item in shown)


def test_a_run_of_before_there_were_predictions(finished: FinetuneResult) -> None:
    (finished.folder / "predictions.jsonl").unlink()
    assert demo._examples(finished) == []
