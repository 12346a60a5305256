"""Mistakes that are noticed before a step is trained, and disks that fill up after the last."""

from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.recipes import pages
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.training import loop


def reviews(csv: Path, **more: Any) -> dict[str, Any]:
    return {"train": str(csv), "dev": str(csv), "text": "review", "label": "stars"} | more


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a step was trained")

    monkeypatch.setattr(loop._Run, "update", refuse)


# The metric that picks the best weights


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("metric", ["acuracy", "macrof1"])
def test_a_slip_in_the_metric(
    metric: str, tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run")
    right = {"acuracy": "accuracy", "macrof1": "macro_f1"}[metric]
    with pytest.raises(UserError, match=f"gives no '{metric}'\n.*did you mean '{right}'.*known: "):
        finetune(recipe, f"train.metric={metric}")
    assert not (tmp_path / "run").exists()  # the corrected command can have it


@pytest.mark.parametrize("metric", ["macro_f1", "loss"])
def test_a_metric_that_is_given(
    metric: str, tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run")
    result = finetune(recipe, f"train.metric={metric}", "train.steps=2")
    assert result.results["training"]["metric"] == metric


def test_a_metric_that_few_examples_do_not_give(tiny_folder: Path, tmp_path: Path) -> None:
    """SQuAD 2.0 has figures for questions without answer: only where there are some."""
    records = tiny.questions()
    for number in (5, 6):  # not among the first
        fields = records[number].fields
        records[number] = tiny.question(fields["question"], fields["context"], None, f"n{number}")
    file = tiny.write_squad(tmp_path / "v2.json", records)
    data = {"train": str(file), "dev": str(file), "metric": "squad_v2"}
    recipe = tiny.recipe(tiny_folder, data, tmp_path / "run", task={"max_length": 100})
    result = finetune(recipe, "train.metric=NoAns_f1", "train.steps=1")
    assert result.results["training"]["metric"] == "NoAns_f1"


def test_the_trial_changes_no_weight(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    for name, metric in (("with", "train.metric=accuracy"), ("without", "train.metric=null")):
        recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / name)
        finetune(recipe, metric, "train.steps=3")
    with_it, without = (
        (tmp_path / name / "model/model.safetensors").read_bytes() for name in ("with", "without")
    )
    assert with_it == without


# Names of models


@pytest.mark.parametrize("name", ["bert-bsae", "electra-smal"])
def test_a_slip_in_the_name_of_a_preset(
    name: str, reviews_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    near = {"bert-bsae": "bert-base", "electra-smal": "electra-small"}[name]
    with pytest.raises(UserError, match=rf"no folder '{name}'.*(?s:.*)the preset '{near}'"):
        finetune(tiny.recipe(name, reviews(reviews_csv), tmp_path / "run"))


def test_a_model_that_is_like_no_preset(
    reviews_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError) as error:
        finetune(tiny.recipe("klue/something", reviews(reviews_csv), tmp_path / "run"))
    assert "preset" not in str(error.value)


# No room


def test_no_room_for_the_report(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message; and the same command then writes what is missing."""

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(pages, "run_report", full)
        with pytest.raises(UserError, match=r"cannot write .*run: No space left on device\n.*same"):
            finetune(recipe)
    assert not (tmp_path / "run/results.json").exists()
    monkeypatch.setattr(loop._Run, "update", full)  # nothing is trained again
    assert finetune(recipe).metrics
    assert (tmp_path / "run/report.html").exists()


def test_no_room_for_scores(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    run = finetune(tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*scores\.json"):
        evaluate(run.folder, reviews(reviews_csv), out=tmp_path / "file" / "scores.json")


# Pairs on models without segments


@pytest.mark.parametrize("segments", [0, 1])
def test_pairs_on_a_model_without_segments(segments: int, tmp_path: Path) -> None:
    """``type_vocab_size`` of 1: every token gets the one row, as where all segments are 0."""
    model = tiny.model()
    spec = {**vars(model.spec), "segments": segments}
    start = hub.create("bert", type(model.spec)(**spec), tokenizer=model.tokenizer, seed=0)
    start.save(tmp_path / "start")
    rows = [(text, "a film", label) for text, label in tiny.REVIEWS]
    csv = tiny.write_csv(tmp_path / "pairs.csv", rows, ("a", "b", "stars"))
    data = {"train": str(csv), "dev": str(csv), "text": "a", "pair": "b", "label": "stars"}
    result = finetune(tiny.recipe(tmp_path / "start", data, tmp_path / "run"), "train.steps=2")
    questions = tiny.write_squad(tmp_path / "questions.json")
    data = {"train": str(questions), "dev": str(questions)}
    recipe = tiny.recipe(tmp_path / "start", data, tmp_path / "qa", task={"max_length": 100})
    finetune(recipe, "train.steps=2")
    model = hub.load(result.folder)
    assert model.spec.segments == segments
    assert any(model.tokenizer.encode("좋다", "영화").segments)
    (pair,) = model.hidden_states([("좋다", "영화")])
    (flat,) = model.hidden_states([model.tokenizer.encode("좋다", "영화").ids])  # segments 0
    assert (pair == flat).all()
