"""A task type of the user's own, by its path: trained, and used again by every verb."""

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import FinetuneResult, finetune
from jeoni.serving.predictor import Predictor, answer, classify, task_of
from jeoni.tasks._find import find
from shell import Run

SOURCE = '''
from dataclasses import replace

from jeoni.tasks import classification, multiple_choice, regression, span_qa
from jeoni.tasks._task import TaskType


class Loud(classification.Classification):
    """Says its label in capitals; has a metric of its own."""

    def combine(self, encoded, partials):
        found = super().combine(encoded, partials)
        return [replace(p, label=p.label + "!") for p in found]

    def score(self, encoded, predictions):
        scores = super().score(encoded, predictions)
        return type(scores)({**scores.values, "loudness": 11.0}, scores.per_example)


class First(span_qa.SpanQA):
    """Whatever the question, the answer is the first word."""

    def combine(self, encoded, partials):
        found = super().combine(encoded, partials)
        words = [r.fields["context"].split()[0] for r in encoded.records]
        return [
            replace(p, text=word, start=0, end=len(word))
            for p, word in zip(found, words, strict=True)
        ]


class Strange(classification.Classification):
    def combine(self, encoded, partials):
        return [len(row) for row in partials]

    def score(self, encoded, predictions):
        return classification.Scores({"accuracy": 0.5}, [0.5] * len(predictions))

    def sections(self, encoded, predictions, scores):
        return []


class Rated(regression.Regression):
    pass


class Chosen(multiple_choice.MultipleChoice):
    pass


RATED = replace(regression.TASK, task=Rated)
CHOSEN = replace(multiple_choice.TASK, task=Chosen)
BASE, SPAN = classification.TASK, span_qa.TASK
LOUD = TaskType(BASE.config, Loud, BASE.from_data, "mine")
FIRST = TaskType(SPAN.config, First, SPAN.from_data, "mine")
STRANGE = TaskType(BASE.config, Strange, BASE.from_data, "mine")
NONE = "no task"
'''


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its name; it can be imported, and was not yet."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "tasks_of_my_own.py").write_text(SOURCE, encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield "tasks_of_my_own"
    sys.path.remove(str(folder))
    sys.modules.pop("tasks_of_my_own", None)


@pytest.fixture(autouse=True)
def not_imported(module: str) -> None:
    """As in a new process."""
    sys.modules.pop(module, None)


def reviews(csv: Path) -> dict[str, Any]:
    return {"train": str(csv), "dev": str(csv), "text": "review", "label": "stars"}


@pytest.fixture(scope="module")
def loud(
    module: str, tiny_folder: Path, reviews_csv: Path, tmp_path_factory: pytest.TempPathFactory
) -> FinetuneResult:
    out = tmp_path_factory.mktemp("own") / "loud"
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), out, seeds=[1, 2])
    return finetune(recipe, f"task={module}:LOUD", "task.max_length=32")


@pytest.fixture(scope="module")
def first(
    module: str, tiny_folder: Path, squad_json: Path, tmp_path_factory: pytest.TempPathFactory
) -> FinetuneResult:
    out = tmp_path_factory.mktemp("own") / "first"
    data = {"train": str(squad_json), "dev": str(squad_json)}
    return finetune(
        tiny.recipe(tiny_folder, data, out), f"task={module}:FIRST", "task.max_length=100"
    )


def test_the_run_remembers_the_full_name(loud: FinetuneResult, module: str) -> None:
    for folder in (loud.folder, loud.folder / "seed-1"):
        assert hub.load(folder).settings["task"] == f"{module}:LOUD"
    results = json.loads((loud.folder / "seed-2/results.json").read_text())
    assert results["task"] == f"{module}:LOUD"
    assert results["base"] == loud.results["base"] == "classification"
    assert loud.metrics["loudness"] == 11.0
    card = (loud.folder / "model/README.md").read_text()
    assert f"tags: [{module}:LOUD]" in card
    assert f" --task {module}:LOUD\n" in card
    assert loud.options == f" --task {module}:LOUD"


@pytest.mark.parametrize("place", ["", "model", "seed-1"])
def test_evaluate_and_classify_use_it(
    place: str, loud: FinetuneResult, module: str, reviews_csv: Path
) -> None:
    path = f"{module}:LOUD"
    found = evaluate(loud.folder / place, reviews(reviews_csv), task=path)
    assert found["metrics"]["loudness"] == 11.0
    (label,) = classify(loud.folder / place, "좋다", task=path)
    assert label.label.endswith("!")


def test_answer_and_evaluate_use_it(first: FinetuneResult, module: str, squad_json: Path) -> None:
    path = f"{module}:FIRST"
    found = answer(first.folder, "Where?", "Seoul is in Korea.", task=path)
    assert (found.text, found.start, found.end) == ("Seoul", 0, 5)
    scores = evaluate(first.folder, {"dev": str(squad_json)})  # imported by now
    assert scores["metrics"] == {k: v for k, v in first.metrics.items() if k != "loss"} | {
        "loss": pytest.approx(first.metrics["loss"], rel=1e-3)  # bfloat16, where there is such
    }


def test_it_is_no_good_for_what_it_is_not_made_from(
    loud: FinetuneResult, first: FinetuneResult, module: str
) -> None:
    importlib.import_module(module)
    with pytest.raises(UserError, match=r"trained for .*:LOUD \(classification\), not for span_qa"):
        answer(loud.folder, "Where?", "Seoul is in Korea.")
    with pytest.raises(UserError, match=r"trained for .*:FIRST \(span_qa\), not for classific"):
        classify(first.folder, "좋다")


def test_a_model_without_its_run_does_not_choose_what_is_imported(
    loud: FinetuneResult, module: str, reviews_csv: Path, tmp_path: Path
) -> None:
    """As from the hub: jeoni.json names code. The caller has to say so."""
    bare = shutil.copytree(loud.folder / "model", tmp_path / "bare")
    with pytest.raises(UserError, match=r"path to code\n.*--task tasks_of_my_own:LOUD"):
        classify(bare, "좋다")
    with pytest.raises(UserError, match="path to code"):
        evaluate(bare, reviews(reviews_csv))
    assert module not in sys.modules
    path = f"{module}:LOUD"
    assert classify(bare, "좋다", task=path)[0].label.endswith("!")
    assert evaluate(bare, reviews(reviews_csv), task=path)["metrics"]["loudness"] == 11.0
    assert Predictor(bare, "classification").classify(["좋다"])  # imported by now


@pytest.mark.parametrize("verb", ["classify", "evaluate"])
def test_a_downloaded_run_does_not_choose_what_is_imported(
    verb: str, loud: FinetuneResult, reviews_csv: Path, jeoni: Run, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """All of it from elsewhere: weights, recipe, and code in the folder that one works in."""
    run = shutil.copytree(loud.folder, tmp_path / "run")
    evil = "code_that_came_with_the_run"
    (run / f"{evil}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nTASK = None\n")
    for place in ("model/jeoni.json", "recipe.yaml"):
        text = (run / place).read_text(encoding="utf-8")
        assert "tasks_of_my_own:LOUD" in text
        (run / place).write_text(text.replace("tasks_of_my_own:LOUD", f"{evil}:TASK"), "utf-8")
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend("")  # as python -m jeoni has it
    rest = {"classify": ["좋다"], "evaluate": [f"data.dev={reviews_csv}", "data.text=review",
                                             "data.label=stars"]}  # fmt: skip
    for model in (".", "model", str(run)):
        result = jeoni(verb, "--model", model, *rest[verb])
        assert (result.status, result.out) == (2, "")
        assert f"--task {evil}:TASK" in result.err
    assert evil not in sys.modules
    assert not (tmp_path / "ran").exists()


def test_predictions_of_another_kind(
    module: str, tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    """Training asks for no certain kind of prediction; `classify` does."""
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run")
    finetune(recipe, f"task={module}:STRANGE", "train.steps=1")
    rows = (tmp_path / "run/predictions.jsonl").read_text().splitlines()
    assert json.loads(rows[0]).items() >= {"score": 0.5, "prediction": 2}.items()
    with pytest.raises(UserError, match="Strange gives int, not LabelPrediction"):  # imported
        classify(tmp_path / "run", "좋다")


def test_what_is_no_task(module: str, tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run")
    with pytest.raises(UserError, match="'tasks_of_my_own:NONE' is not a task type but str"):
        finetune(recipe, f"task={module}:NONE")
    with pytest.raises(UserError, match="'tasks_of_my_own:LOUD' is not a strategy but TaskType"):
        finetune(recipe, f"strategy={module}:LOUD")
    assert not (tmp_path / "run").exists()


def test_on_the_command_line(
    loud: FinetuneResult, first: FinetuneResult, module: str, jeoni: Run, tmp_path: Path
) -> None:
    bare = shutil.copytree(loud.folder / "model", tmp_path / "bare")
    result = jeoni("classify", "--model", str(bare), "좋다")
    assert (result.status, result.out) == (2, "")
    assert f"--task {module}:LOUD" in result.err
    result = jeoni("classify", "--model", str(bare), "--task", f"{module}:LOUD", "--json", "좋다")
    assert json.loads(result.out)[0]["label"].endswith("!")
    question = ("--question", "Where?", "--context", "Seoul is in Korea.", "--json")
    sys.modules.pop(module)
    result = jeoni("answer", "--model", str(first.folder), *question)
    assert (result.status, result.out) == (2, "")
    assert f"--task {module}:FIRST" in result.err
    result = jeoni("answer", "--model", str(first.folder), *question, "--task", f"{module}:FIRST")
    assert json.loads(result.out)["text"] == "Seoul"


@pytest.mark.parametrize("name", ["RATED", "CHOSEN"])
def test_a_head_with_one_output_is_its_own(name: str, module: str, tmp_path: Path) -> None:
    """Those of regression and of multiple choice look alike: neither takes the other's."""
    path = f"{module}:{name}"
    kind = find(path)
    task = kind.task(model=tiny.model(), config=kind.config())
    task.model.settings = {**task.settings(), "task": path}
    task.model.save(tmp_path)
    again = task_of(hub.load(tmp_path), path, {})
    assert not again.model.fresh
    other = find("multiple_choice" if name == "RATED" else "regression")
    assert other.task(model=hub.load(tmp_path), config=other.config()).model.fresh
