"""Several seeds in one command: what they have in common is made once."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import tiny
from jeoni.data import catalog
from jeoni.models import hub
from jeoni.recipes import build, flags
from jeoni.recipes.finetune import finetune
from jeoni.serving.predictor import classify
from jeoni.tasks.classification import Classification
from runs import WEIGHTS, reviews, same_weights
from shell import Run


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often data are read, cut, encoded, and a vocabulary is learned."""
    counts: Counter[str] = Counter()

    def watch(owner: Any, name: str) -> None:
        do: Callable[..., Any] = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return do(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    watch(catalog, "read")
    watch(catalog, "held_out")
    watch(Classification, "encode")
    watch(build, "train_wordpiece")
    return counts


@pytest.mark.parametrize("start", ["folder", "preset"])
def test_data_are_read_and_encoded_once(
    start: str, calls: Counter[str], tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    data = {"train": str(reviews_csv), "text": "review", "label": "stars"}
    more: dict[str, Any] = {}
    if start == "preset":
        more = {"spec": {"hidden": 32, "heads": 2}, "tokenizer": {"vocab_size": 300}}
    model = tiny_folder if start == "folder" else "bert-L2-H128"
    recipe = tiny.recipe(model, data, tmp_path / "run", seeds=[1, 2, 3], **more)
    result = finetune(recipe, "train.steps=2")
    assert calls["encode"] == 2  # train and dev
    assert calls["held_out"] == 1
    assert calls["read"] == 2  # a first line to see what they are for, then all
    assert calls["train_wordpiece"] == (start == "preset")
    losses = [run["metrics"]["loss"] for run in result.results["runs"]]
    assert len(set(losses)) == 3


def test_each_seed_is_as_if_alone(reviews_csv: Path, tmp_path: Path) -> None:
    data = {"train": str(reviews_csv), "text": "review", "label": "stars"}
    vocabulary = tiny.model().save(tmp_path / "words") / "vocab.txt"
    more = {
        "spec": {"hidden": 32, "heads": 2},
        "tokenizer": {"path": str(vocabulary), "lowercase": True},
    }
    together = tiny.recipe("bert-L2-H128", data, tmp_path / "both", seeds=[5, 6], **more)
    alone = tiny.recipe("bert-L2-H128", data, tmp_path / "one", seeds=[6], **more)
    for recipe in (together, alone):
        finetune(recipe, "train.steps=3")
    weights = [
        (folder / "model/model.safetensors").read_bytes()
        for folder in (tmp_path / "both/seed-6", tmp_path / "one")
    ]
    assert weights[0] == weights[1]
    assert hub.load(tmp_path / "both/seed-5").tokenizer.tokens == (
        hub.load(tmp_path / "one").tokenizer.tokens
    )


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
    assert same_weights(tmp_path / "run" / WEIGHTS, tmp_path / f"run/seed-{best}" / WEIGHTS)
    assert "3 seeds" in (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert classify(tmp_path / "run", "좋다")[0].label in tiny.LABELS

    shutil.rmtree(tmp_path / "run/seed-2")  # one was lost: only that one is trained again
    (tmp_path / "run/results.json").unlink()
    before = (tmp_path / "run/seed-1" / WEIGHTS).stat().st_mtime_ns
    assert finetune(recipe).metrics == result.metrics
    assert (tmp_path / "run/seed-1" / WEIGHTS).stat().st_mtime_ns == before


# Seeds that learned nothing


def test_a_seed_that_learned_nothing_is_in_no_median(
    tiny_folder: Path,
    reviews_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    jeoni: Run,
) -> None:
    def second(folder: Path, found: dict[str, Any]) -> list[str]:
        return ["one class predicted: 긍정"] if found["seeds"] == [2] else []

    monkeypatch.setattr(flags, "flags", second)
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run", seeds=[1, 2, 3])
    done = finetune(recipe)
    single = [
        json.loads((tmp_path / f"run/seed-{seed}/results.json").read_text()) for seed in (1, 2, 3)
    ]
    assert [one["flags"] for one in single] == [[], ["one class predicted: 긍정"], []]
    for name, value in done.metrics.items():
        values = [one["metrics"][name] for one in (single[0], single[2])]
        assert value == np.median(values)
        assert done.spread[name] == (min(values), max(values))
    assert [row["flags"] for row in done.results["runs"]] == [one["flags"] for one in single]
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "median of 2 of 3 seeds; 1 learned nothing and are left out" in page
    assert "Learned nothing" in page
    alone = (tmp_path / "run/seed-2/report.html").read_text(encoding="utf-8")
    assert "one class predicted: 긍정" in alone
    other = (tmp_path / "run/seed-1/report.html").read_text(encoding="utf-8")
    assert "Learned nothing" not in other
    says = "seed 2 learned nothing, left out of the medians: one class predicted: 긍정"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert says in jeoni("finetune", str(tmp_path / "recipe.yaml")).out
    compared = jeoni("compare", str(tmp_path / "run"), str(tmp_path / "run"))
    assert "learned nothing with seed 2: one class predicted: 긍정" in compared.err


def test_a_loss_that_does_not_fall_is_seen(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    """If no seed learned anything, what they came to is told as it is."""
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run", seeds=[1, 2])
    done = finetune(recipe, "train.lr=1e-12", "train.epochs=3")
    for row in done.results["runs"]:
        assert any(why.startswith("loss stuck") for why in row["flags"])
    both = [row["metrics"]["accuracy"] for row in done.results["runs"]]
    assert done.metrics["accuracy"] == np.median(both)
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "2 seeds, of which none learned anything" in page


def test_results_of_before_there_were_flags(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run", seeds=[1, 2])
    before = finetune(recipe, "train.lr=1e-12", "train.epochs=3")
    (tmp_path / "run/results.json").unlink()
    for seed in (1, 2):
        path = tmp_path / f"run/seed-{seed}/results.json"
        path.write_text(
            json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "flags"})
        )
    again = finetune(recipe, "train.lr=1e-12", "train.epochs=3")
    assert again.results["runs"] == before.results["runs"]
