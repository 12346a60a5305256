"""Strategies and tasks by name and by path; what is saved is the same in transformers."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from jeoni.models import hub
from jeoni.recipes.finetune import FinetuneResult, finetune
from jeoni.serving.predictor import classify
from runs import QA, questions, reviews

# Strategies and parts of your own


@pytest.mark.parametrize("strategy", ["full", "frozen", "discriminative"])
def test_every_strategy(strategy: str, tiny_folder: Path, squad_json: Path, tmp_path: Path) -> None:
    rows: list[Any] = []
    recipe = tiny.recipe(tiny_folder, questions(squad_json), tmp_path / "run", **QA)
    finetune(recipe, f"strategy={strategy}", on_groups=rows.extend)
    assert sum(row.parameters for row in rows) == sum(
        p.numel() for p in hub.load(tmp_path / "run").parameters()
    )
    assert any(row.frozen for row in rows) is (strategy == "frozen")


@pytest.fixture
def own_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the user's own, with a strategy and a task."""
    (tmp_path / "my_own_parts.py").write_text(
        "from jeoni.base.config import Config\n"
        "from jeoni.tasks.classification import TASK as BASE, Classification\n"
        "from jeoni.tasks._task import TaskType\n"
        "from jeoni.transfer._strategy import Strategy, split_by_decay\n"
        "class Settings(Config):\n"
        "    top: float = 1.0\n"
        "def groups(model, config):\n"
        "    names = [n for n, _ in model.named_parameters()]\n"
        "    heads = [n for n in names if n.startswith('heads.')]\n"
        "    body = [n for n in names if n not in heads]\n"
        "    return [*split_by_decay(model, 'my head', heads, lr_scale=config.top),\n"
        "            *split_by_decay(model, 'my body', body)]\n"
        "MINE = Strategy(Settings, groups, 'mine')\n"
        "class Loud(Classification):\n"
        "    def score(self, encoded, predictions):\n"
        "        scores = super().score(encoded, predictions)\n"
        "        return type(scores)({**scores.values, 'loudness': 11.0}, scores.per_example)\n"
        "LOUD = TaskType(BASE.config, Loud, BASE.from_data, 'mine')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_strategy_and_a_task_of_your_own(
    own_parts: Path, tiny_folder: Path, reviews_csv: Path
) -> None:
    rows: list[Any] = []
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), own_parts / "run")
    result = finetune(
        recipe,
        "strategy=my_own_parts:MINE", "strategy.top=5",
        "task=my_own_parts:LOUD", "task.max_length=32",
        on_groups=rows.extend,
    )  # fmt: skip
    rates = {row.name: row.learning_rate for row in rows if row.weight_decay}
    assert rates == {"my head": pytest.approx(5e-3), "my body": pytest.approx(1e-3)}
    assert result.metrics["loudness"] == 11.0


# In transformers


def test_question_answering_in_transformers(qa_run: FinetuneResult) -> None:
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    record = tiny.questions()[0]
    theirs = AutoModelForQuestionAnswering.from_pretrained(qa_run.folder / "model").eval()
    words = AutoTokenizer.from_pretrained(qa_run.folder / "model")
    inputs = words(record.fields["question"], record.fields["context"], return_tensors="pt")
    ours = hub.load(qa_run.folder)
    with torch.no_grad():
        out = theirs(**inputs)
        (states,) = ours.hidden_states([(record.fields["question"], record.fields["context"])])
        logits = ours.heads["span"](torch.from_numpy(states[-1]))
    torch.testing.assert_close(logits[:, 0], out.start_logits[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits[:, 1], out.end_logits[0], atol=1e-5, rtol=1e-5)


def test_classification_in_transformers(label_run: FinetuneResult) -> None:
    from transformers import pipeline

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pipeline("text-classification", str(label_run.folder / "model"), device="cpu")
    texts = [text for text, _ in tiny.REVIEWS]
    for mine, other in zip(classify(label_run.folder, texts), theirs(texts), strict=True):
        assert mine.label == other["label"]
        assert mine.probability == pytest.approx(other["score"], abs=1e-5)
