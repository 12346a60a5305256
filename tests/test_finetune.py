"""The main job, end to end, with a tiny model on tiny data."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import tiny
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import FinetuneResult, finetune
from jeoni.serving.predictor import answer, classify
from jeoni.training import loop

TESTS = Path(__file__).parent
WEIGHTS = "model/model.safetensors"


def reviews(csv: Path, **more: Any) -> dict[str, Any]:
    return {"train": str(csv), "dev": str(csv), "text": "review", "label": "stars"} | more


def questions(file: Path, **more: Any) -> dict[str, Any]:
    return {"train": str(file), "dev": str(file)} | more


QA = {"task": {"name": "span_qa", "max_length": 100, "stride": 16}}


@pytest.fixture(scope="module")
def qa_run(
    tiny_folder: Path, squad_json: Path, tmp_path_factory: pytest.TempPathFactory
) -> FinetuneResult:
    out = tmp_path_factory.mktemp("runs") / "qa"
    return finetune(tiny.recipe(tiny_folder, questions(squad_json), out, **QA))


@pytest.fixture(scope="module")
def label_run(
    tiny_folder: Path, reviews_csv: Path, tmp_path_factory: pytest.TempPathFactory
) -> FinetuneResult:
    out = tmp_path_factory.mktemp("runs") / "labels"
    return finetune(tiny.recipe(tiny_folder, reviews(reviews_csv), out))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a step was trained")

    monkeypatch.setattr(loop._Run, "update", refuse)


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


def test_the_model_card(label_run: FinetuneResult) -> None:
    card = (label_run.folder / "model/README.md").read_text(encoding="utf-8")
    assert f"| accuracy | {label_run.metrics['accuracy']:.4g} |" in card
    assert "tags: [classification]" in card


def test_the_recipe_is_complete(label_run: FinetuneResult, tiny_folder: Path) -> None:
    recipe = yaml.safe_load((label_run.folder / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["model"] == str(tiny_folder)
    assert recipe["train"]["lr"] == 1e-3
    assert recipe["train"]["weight_decay"] == 0.01  # not given: what it was by default
    assert recipe["seeds"] == [1]


def test_again_from_its_recipe(label_run: FinetuneResult, tmp_path: Path) -> None:
    """The recipe file alone gives the same weights."""
    again = finetune(label_run.folder / "recipe.yaml", out=str(tmp_path / "again"))
    assert _same_weights(again.folder / WEIGHTS, label_run.folder / WEIGHTS)
    assert again.metrics == label_run.metrics


def _same_weights(first: Path, second: Path) -> bool:
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# The same command again


@pytest.mark.usefixtures("no_training")
def test_a_finished_run_is_read_not_repeated(label_run: FinetuneResult) -> None:
    weights = label_run.folder / WEIGHTS
    before = weights.stat().st_mtime_ns
    recipe = label_run.folder / "recipe.yaml"
    begin = time.monotonic()
    again = finetune(recipe, out=str(label_run.folder))
    assert time.monotonic() - begin < 0.5
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


# Several seeds


def test_several_seeds(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run", seeds=[1, 2, 3])
    result = finetune(recipe)
    single = [
        json.loads((tmp_path / f"run/seed-{seed}/results.json").read_text())["metrics"]
        for seed in (1, 2, 3)
    ]
    for name, value in result.metrics.items():
        values = [metrics[name] for metrics in single]
        assert value == np.median(values)
        assert result.spread[name] == (min(values), max(values))
    assert len({metrics["loss"] for metrics in single}) == 3
    best = 1 + int(np.argmax([metrics["accuracy"] for metrics in single]))
    assert _same_weights(tmp_path / "run" / WEIGHTS, tmp_path / f"run/seed-{best}" / WEIGHTS)
    assert "3 seeds" in (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert classify(tmp_path / "run", "좋다")[0].label in tiny.LABELS

    shutil.rmtree(tmp_path / "run/seed-2")  # one was lost: only that one is trained again
    (tmp_path / "run/results.json").unlink()
    before = (tmp_path / "run/seed-1" / WEIGHTS).stat().st_mtime_ns
    assert finetune(recipe).metrics == result.metrics
    assert (tmp_path / "run/seed-1" / WEIGHTS).stat().st_mtime_ns == before


# Interrupted


def _start(folder: Path, recipe: dict[str, Any]) -> "subprocess.Popen[str]":
    (folder / "recipe.json").write_text(json.dumps(recipe))
    script = (
        "import json, sys, torch; from jeoni.recipes.finetune import finetune; "
        "finetune(json.load(open(sys.argv[1])))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder / "recipe.json")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def test_killed_and_continued_is_the_same_to_the_bit(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    train = {"epochs": 15, "save_every": 5, "eval_every": 20, "keep": 1}
    whole = finetune(
        tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "whole", train=train)
    )
    out = tmp_path / "killed"
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), out, train=train)
    process = _start(tmp_path, recipe)
    _wait_for(lambda: any((out / "checkpoints").glob("step-*[1-9]*/")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "results.json").exists()

    again = finetune(recipe)
    assert (out / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert again.metrics == whole.metrics
    steps = [
        [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (out, tmp_path / "whole")
    ]
    assert steps[0] == steps[1]


def test_killed_after_training_before_the_results(
    label_run: FinetuneResult, tmp_path: Path
) -> None:
    """What was not written yet is written; nothing is trained again."""
    shutil.copytree(label_run.folder, tmp_path / "run")
    for name in ("results.json", "report.html"):
        (tmp_path / "run" / name).unlink()
    shutil.rmtree(tmp_path / "run/model")
    again = finetune(tmp_path / "run/recipe.yaml", out=str(tmp_path / "run"))
    assert again.metrics == label_run.metrics
    assert _same_weights(tmp_path / "run" / WEIGHTS, label_run.folder / WEIGHTS)
    assert (tmp_path / "run/report.html").exists()


# Data of your own


def test_a_csv_with_other_column_names(label_run: FinetuneResult) -> None:
    data = label_run.results["data"]
    assert (data["name"], data["train_examples"], data["dev_examples"]) == ("reviews", 16, 16)
    assert hub.load(label_run.folder).labels == ["긍정", "부정"]


def test_dev_is_cut_off_where_there_is_none(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    data = {"train": str(reviews_csv), "text": "review", "label": "stars", "dev_fraction": 0.25}
    result = finetune(tiny.recipe(tiny_folder, data, tmp_path / "run"))
    assert result.results["data"]["train_examples"] == 12
    assert result.results["data"]["dev_examples"] == 4


def test_numbers_as_labels_and_pairs(tiny_folder: Path, tmp_path: Path) -> None:
    rows = [(text, "a film", i % 3 + 1) for i, (text, _) in enumerate(tiny.REVIEWS)]
    csv = tiny.write_csv(tmp_path / "pairs.csv", rows, ("a", "b", "score"))
    data = {"train": str(csv), "dev": str(csv), "text": "a", "pair": "b", "label": "score"}
    result = finetune(tiny.recipe(tiny_folder, data, tmp_path / "run"))
    (label,) = classify(result.folder, "좋다", "영화")
    assert set(label.probabilities) == {"1", "2", "3"}


def test_a_preset_with_a_vocabulary_learned_from_the_data(
    reviews_csv: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe(
        "bert-L2-H128", reviews(reviews_csv), tmp_path / "run",
        spec={"hidden": 32, "heads": 2}, tokenizer={"vocab_size": 300},
    )  # fmt: skip
    result = finetune(recipe)
    model = hub.load(result.folder)
    assert (model.spec.hidden, model.spec.heads, model.spec.feed_forward) == (32, 2, 128)
    assert model.spec.vocab == model.tokenizer.vocab_size <= 300
    assert model.tokenizer.encode("영화").tokens[1] != "[UNK]"
    assert len(result.results["metrics"]) > 1


def test_a_preset_with_a_given_vocabulary(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    for number, path in enumerate((tiny_folder, tiny_folder / "vocab.txt")):
        recipe = tiny.recipe(
            "electra-small-generator", reviews(reviews_csv), tmp_path / f"run{number}",
            spec={"hidden": 32, "heads": 2, "layers": 1}, tokenizer={"path": str(path)},
        )  # fmt: skip
        model = hub.load(finetune(recipe, "train.steps=1").folder)
        assert model.tokenizer.tokens == hub.load(tiny_folder).tokenizer.tokens


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["spec.hidn=32"], r"spec\.hidn is no size.*\n.*did you mean 'hidden'"),
        (["spec.hidden=33"], r"spec\.hidden=33 is not a multiple of 2 heads"),
        (["spec.hidden=wide"], r"spec\.hidden is 'wide', not a size"),
        (["spec.layers=0"], r"spec\.layers is 0, not a size"),
        (["spec.hidden=32.0"], r"spec\.hidden is 32\.0, not a size"),
        (["spec.dropout=1"], r"spec\.dropout is 1, not a probability"),
        (["spec.activation=rolu"], r"spec\.activation is 'rolu'.*did you mean 'relu'"),
        (["tokenizer.path=none.txt"], r"none\.txt"),
    ],
)
def test_sizes_that_cannot_be(
    change: list[str], message: str, reviews_csv: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe("bert-L2-H128", reviews(reviews_csv), tmp_path / "run")
    with pytest.raises(UserError, match=message):
        finetune(recipe, *change)


def test_sizes_are_for_presets(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="spec changes the sizes of a preset"):
        finetune(tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "a"), "spec.layers=1")
    with pytest.raises(UserError, match="did you mean 'electra-small-generator'"):
        finetune(
            tiny.recipe("electra-small-genarator", reviews(reviews_csv), tmp_path / "b"),
            "spec.layers=1",
        )


def test_random_weights_of_a_given_model(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    """The same architecture and words; the start is another."""
    rows: list[Any] = []
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run", init="random")
    finetune(
        recipe, "train.steps=1", "train.lr=1e-9", "strategy=discriminative", on_groups=rows.extend
    )
    assert {row.name for row in rows} == {"new", "new, no decay"}
    ours, start = (load_file(p)["bert.encoder.layer.0.output.dense.weight"] for p in (
        tmp_path / "run" / WEIGHTS, _with_prefix(tiny_folder, tmp_path)))  # fmt: skip
    assert ours.shape == start.shape
    assert float((ours - start).abs().mean()) > 0.01


def _with_prefix(folder: Path, tmp_path: Path) -> Path:
    """The weights with the names that they have below a head."""
    from safetensors.torch import save_file

    tensors = {f"bert.{name}": t for name, t in load_file(folder / "model.safetensors").items()}
    save_file(tensors, tmp_path / "renamed.safetensors")
    return tmp_path / "renamed.safetensors"


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


def test_changed_data_are_noticed(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    """The same command over a changed file is an error: neither old results nor a mixture."""
    data = tmp_path / "mine.csv"
    data.write_bytes(reviews_csv.read_bytes())
    recipe = tiny.recipe(tiny_folder, reviews(data), tmp_path / "run")
    finetune(recipe)
    data.write_text(data.read_text(encoding="utf-8").replace("a", "e"), encoding="utf-8")
    with pytest.raises(UserError, match=r"data have changed.*mine\.csv"):
        finetune(recipe)
    data.unlink()
    assert finetune(recipe).metrics  # results outlive their data


def test_settings_that_change_nothing_may_change(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run")
    first = finetune(recipe)
    again = finetune(recipe, "train.log_every=7", "train.keep=1", "device=cpu")
    assert again.metrics == first.metrics
