"""The main job, end to end, with a tiny model on tiny data."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import tiny
from jeoni.base.errors import UserError
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import FinetuneResult, finetune
from jeoni.recipes.results import figures
from jeoni.serving.predictor import answer, classify
from runs import QA, WEIGHTS, questions, reviews, same_weights

# A run is a folder


@pytest.mark.parametrize("kind", ["qa_run", "label_run"])
def test_what_a_run_leaves(kind: str, request: pytest.FixtureRequest) -> None:
    result: FinetuneResult = request.getfixturevalue(kind)
    names = {path.name for path in result.folder.iterdir() if not path.name.startswith(".")}
    assert names == {
        "recipe.yaml", "data.json", "metrics.jsonl", "checkpoints", "model", "results.json",
        "report.html", "predictions.jsonl",
    }  # fmt: skip
    model = {path.name for path in (result.folder / "model").iterdir()}
    assert model >= {
        "config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "jeoni.json", "README.md",
    }  # fmt: skip
    results = json.loads((result.folder / "results.json").read_text(encoding="utf-8"))
    assert results == json.loads(json.dumps(dict(result.results)))
    assert results["metrics"] == dict(result.metrics)
    assert results["seeds"] == [1]
    assert results["training"]["finished"]
    assert results["interval"]["low"] <= results["metrics"][results["main_metric"]]
    pair = [results["interval"]["low"], results["interval"]["high"]]
    assert results["intervals"][results["main_metric"]] == pair
    assert results["metrics"].keys() - results["intervals"].keys() == {"loss"}
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows].count("eval") == 1
    assert [row["step"] for row in rows if row["kind"] == "train"] == list(
        range(1, results["training"]["steps"] + 1)
    )


def test_the_report_stands_alone_and_shows_the_data(
    qa_run: FinetuneResult, label_run: FinetuneResult
) -> None:
    page = (qa_run.folder / "report.html").read_text(encoding="utf-8")
    assert "훈민정음은 언제 만들어졌나?" in page
    assert "Parameter groups" in page
    assert 'src="http' not in page
    page = (label_run.folder / "report.html").read_text(encoding="utf-8")
    assert "긍정" in page
    assert "Confusion matrix" in page


def test_every_figure_is_shown_with_its_interval(qa_run: FinetuneResult) -> None:
    low, high = qa_run.results["intervals"]["exact_match"]
    between = f"{low:.4g} to {high:.4g}"
    assert between in (qa_run.folder / "report.html").read_text(encoding="utf-8")
    assert ("exact_match", qa_run.metrics["exact_match"], between) in figures(qa_run.results)
    assert figures({"metrics": {"f1": 1.0}}) == [("f1", 1.0, None)]  # as older versions wrote it


def test_the_model_card(label_run: FinetuneResult) -> None:
    card = (label_run.folder / "model/README.md").read_text(encoding="utf-8")
    assert f"| accuracy | {label_run.metrics['accuracy']:.4g} |" in card
    assert "tags: [classification]" in card
    assert "from the weights of" in card
    assert "data.text=review data.label=stars\n" in card
    assert "In `transformers` it is `BertForSequenceClassification`." in card


def test_the_recipe_is_complete(label_run: FinetuneResult, tiny_folder: Path) -> None:
    recipe = yaml.safe_load((label_run.folder / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["model"] == str(tiny_folder)
    assert recipe["train"]["lr"] == 1e-3
    assert recipe["train"]["weight_decay"] == 0.01  # not given: what it was by default
    assert recipe["seeds"] == [1]


def test_again_from_its_recipe(label_run: FinetuneResult, tmp_path: Path) -> None:
    """The recipe file alone gives the same weights."""
    again = finetune(label_run.folder / "recipe.yaml", out=str(tmp_path / "again"))
    assert same_weights(again.folder / WEIGHTS, label_run.folder / WEIGHTS)
    assert again.metrics == label_run.metrics


# The same command again


@pytest.mark.usefixtures("no_training")
def test_a_finished_run_is_read_not_repeated(label_run: FinetuneResult) -> None:
    weights = label_run.folder / WEIGHTS
    before = weights.stat().st_mtime_ns
    recipe = label_run.folder / "recipe.yaml"
    begin = time.monotonic()
    again = finetune(recipe, out=str(label_run.folder))
    assert time.monotonic() - begin < 0.5
    assert (again.earlier, label_run.earlier) == (True, False)
    assert again.metrics == label_run.metrics
    assert again.spread == label_run.spread
    assert weights.stat().st_mtime_ns == before


@pytest.mark.usefixtures("no_training")
def test_a_folder_that_was_moved(label_run: FinetuneResult, tmp_path: Path) -> None:
    shutil.copytree(label_run.folder, tmp_path / "moved")
    again = finetune(tmp_path / "moved/recipe.yaml", out=str(tmp_path / "moved"))
    assert again.metrics == label_run.metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.epochs=3", r"different: train\.epochs \(1.* there, 3.* now\)"),
        ("seeds=[4]", r"different: seeds \(\[1\] there, \[4\] now\)"),
        ("strategy=frozen", r"different: strategy\.name \('full' there, 'frozen' now\)"),
        ("task.max_length=9", r"different: task\.max_length \(None there, 9 now\)"),
    ],
)
def test_another_recipe_in_the_same_folder(
    label_run: FinetuneResult, change: str, message: str
) -> None:
    recipe = label_run.folder / "recipe.yaml"
    with pytest.raises(UserError, match=f"holds a run of another recipe; {message}"):
        finetune(recipe, change, out=str(label_run.folder))


def test_a_folder_that_is_no_run(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match="is there and is no run"):
            finetune(tiny.recipe(tiny_folder, reviews(reviews_csv), out))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_that_cannot_be(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*recipe\.yaml"):
        finetune(tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "file" / "run"))


@pytest.mark.parametrize(
    "mistake",
    [
        {"task": {"name": "clasification"}},
        {"task": {"name": "classification", "max_len": 3}},
        {"strategy": {"name": "frozn"}},
        {"strategy": {"name": "discriminative", "decai": 1}},
        {"model": "bert-L2-H128", "spec": {"hidn": 3}},
        {"data": {"train": "none.csv"}},
    ],
    ids=str,
)
def test_a_mistake_leaves_no_folder_behind(
    mistake: dict[str, Any], tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    """So the corrected command can have the same folder."""
    good = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run")
    with pytest.raises(UserError):
        finetune(good | mistake)
    assert not (tmp_path / "run").exists()


# Learning really happens


def test_eight_questions_are_learned_by_heart(squad_json: Path, tmp_path: Path) -> None:
    start = tiny.model().save(tmp_path / "without dropout")
    recipe = tiny.recipe(
        start, questions(squad_json), tmp_path / "run", **QA,
        train={"epochs": 300, "lr": 3e-3, "eval_every": 50, "warmup": 20},
        batch={"size": 8},
    )  # fmt: skip
    result = finetune(recipe)
    assert (result.metrics["f1"], result.metrics["exact_match"]) == (100.0, 100.0)
    for context, pairs in tiny.PASSAGES.items():
        for question, gold in pairs:
            found = answer(result.folder, question, context)
            assert (found.text, found.start) == (gold, context.index(gold))
    scores = evaluate(result.folder, questions(squad_json))
    assert scores["metrics"]["f1"] == 100.0
    assert scores["n"] == 8


def test_sixteen_reviews_are_learned_by_heart(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    train = {"epochs": 40, "lr": 3e-3, "eval_every": 20, "patience": 4}
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run", train=train)
    result = finetune(recipe)
    assert result.metrics["accuracy"] == 1.0
    found = classify(result.folder, [text for text, _ in tiny.REVIEWS])
    assert [label.label for label in found] == [label for _, label in tiny.REVIEWS]
    scores = evaluate(result.folder, reviews(reviews_csv), out=tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
    assert scores["metrics"]["accuracy"] == 1.0


def test_scores_into_a_folder_are_refused(
    label_run: FinetuneResult, reviews_csv: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"is a folder"):
        evaluate(label_run.folder, reviews(reviews_csv), out=tmp_path)
