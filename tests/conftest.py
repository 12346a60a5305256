"""Fixtures that several test files share."""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import runs
from shell import Output, Run

if TYPE_CHECKING:
    from jeoni.recipes.finetune import FinetuneResult


@pytest.fixture
def jeoni(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the entry point of the command line in this process."""
    from jeoni.cli import main

    def run(*arguments: str, stdin: bytes | str = b"") -> Output:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "argv", ["jeoni", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        monkeypatch.setenv("COLUMNS", "120")
        try:
            main.run()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsys.readouterr()
        return Output(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as a folder; read it, do not write there."""
    import tiny

    return tiny.model(dropout=0.1).save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def reviews_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen reviews, in columns ``review`` and ``stars``."""
    import tiny

    return tiny.write_csv(tmp_path_factory.mktemp("reviews") / "reviews.csv")


@pytest.fixture(scope="session")
def squad_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight questions in SQuAD's layout."""
    import tiny

    return tiny.write_squad(tmp_path_factory.mktemp("questions") / "questions.json")


@pytest.fixture(scope="session")
def qa_run(
    tiny_folder: Path, squad_json: Path, tmp_path_factory: pytest.TempPathFactory
) -> "FinetuneResult":
    import tiny
    from jeoni.recipes.finetune import finetune

    out = tmp_path_factory.mktemp("runs") / "qa"
    return finetune(tiny.recipe(tiny_folder, runs.questions(squad_json), out, **runs.QA))


@pytest.fixture(scope="session")
def label_run(
    tiny_folder: Path, reviews_csv: Path, tmp_path_factory: pytest.TempPathFactory
) -> "FinetuneResult":
    import tiny
    from jeoni.recipes.finetune import finetune

    out = tmp_path_factory.mktemp("runs") / "labels"
    return finetune(tiny.recipe(tiny_folder, runs.reviews(reviews_csv), out))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from jeoni.training import loop

    def refuse(*args: Any) -> None:
        raise AssertionError("a step was trained")

    monkeypatch.setattr(loop._Run, "update", refuse)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One model for each task, as a run leaves it (its answers are random)."""
    import tiny
    from jeoni.tasks.classification import Classification, ClassificationConfig
    from jeoni.tasks.span_qa import SpanQA, SpanQAConfig

    folder = tmp_path_factory.mktemp("models")
    qa = SpanQA(model=tiny.model(), config=SpanQAConfig(max_length=100, stride=16))
    labels = Classification(model=tiny.model(), config=ClassificationConfig(labels=tiny.LABELS))
    for task in (qa, labels):
        task.model.settings = task.settings()
    return {
        "qa": str(qa.model.save(folder / "qa")),
        "labels": str(labels.model.save(folder / "labels")),
    }
