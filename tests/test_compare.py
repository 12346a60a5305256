"""`jeoni compare`: whether two runs differ."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.metrics.counts import f1_of_sums
from jeoni.recipes import run
from jeoni.recipes.compare import compare
from jeoni.recipes.finetune import finetune
from jeoni.tasks._task import Scores, Sums
from runs import reviews
from shell import Run, user_error


def fake(
    folder: Path,
    right: Sequence[float],
    *,
    name: str = "text",
    order: Sequence[int] | None = None,
    **results: Any,
) -> Path:
    """A finished run whose predictions have these scores."""
    folder.mkdir(parents=True)
    rows = range(len(right)) if order is None else order
    records = [Record({name: f"{i}"}, "dev.csv", i) for i in rows]
    scores = [right[i] for i in rows]
    run.keep_predictions(folder, records, [{"label": "?"}] * len(rows), Scores({}, scores))
    base = {"task": "classification", "main_metric": "accuracy"}
    run.finish(folder, base | {"metrics": {"accuracy": float(np.mean(right))}} | results)
    return folder


def test_two_runs(jeoni: Run, tmp_path: Path) -> None:
    a = fake(tmp_path / "a", [1.0] * 10 + [0.0] * 20 + [1.0] + [0.0] * 9)
    b = fake(tmp_path / "b", [1.0] * 10 + [0.0] * 20 + [0.0] + [1.0] * 9)
    found = compare(a, b)
    assert found["p_value"] == pytest.approx(22 / 1024, abs=0.005)  # the exact binomial test
    assert found["metric"] == "accuracy"
    assert (found["better"], found["worse"], found["n"]) == (9, 1, 40)
    assert found["difference"] == pytest.approx(8 / 40)
    assert 0 < found["interval"]["low"] < 0.2 < found["interval"]["high"] < 0.4
    assert json.loads(jeoni("compare", str(a), str(b), "--json").out) == found
    shown = jeoni("compare", str(a), str(b)).out
    assert "n=40" in shown
    assert "better on 9 examples and worse on 1" in shown
    assert compare(a, b, seed=1) != found


def test_the_order_of_examples_does_not_matter(tmp_path: Path) -> None:
    first, second = [1.0, 0.0] * 6, [1.0, 1.0, 0.0] * 4
    a = fake(tmp_path / "a", first)
    b = fake(tmp_path / "b", second)
    shuffled = fake(tmp_path / "c", second, order=range(11, -1, -1))
    names = ("difference", "p_value", "better", "worse", "interval")
    there, back = compare(a, b, resamples=200), compare(a, shuffled, resamples=200)
    assert [there[name] for name in names] == [back[name] for name in names]


def test_seeds_are_averaged(tmp_path: Path) -> None:
    sides = []
    for name, by_seed in (("a", [[1.0, 0.0], [0.0, 0.0]]), ("b", [[1.0, 1.0], [1.0, 0.0]])):
        folder = tmp_path / name
        for seed, right in enumerate(by_seed, 1):
            fake(folder / f"seed-{seed}", right)
        runs = [{"seed": s, "metrics": {"accuracy": sum(r) / 2}} for s, r in enumerate(by_seed, 1)]
        results = {"task": "classification", "main_metric": "accuracy", "runs": runs}
        run.finish(folder, results | {"metrics": {"accuracy": 0.5}})
        sides.append(folder)
    found = compare(*sides, resamples=100)
    assert (found["first"]["score"], found["second"]["score"]) == (0.25, 0.75)
    assert (found["metric"], found["seeds"], found["better"]) == ("accuracy", 2, 2)


def test_a_metric_that_is_no_mean(tiny_folder: Path, tmp_path: Path) -> None:
    """Macro F1 of real runs: the figures are those of the runs, not means of hits."""
    rows = [(text, label) for text, label in tiny.REVIEWS * 2]
    csv = tiny.write_csv(tmp_path / "reviews.csv", [*rows, ("그저 그렇다", "부정")])
    task = {"name": "classification", "metric": "macro_f1"}
    places = []
    for name, steps in (("a", 1), ("b", 12)):
        recipe = tiny.recipe(tiny_folder, reviews(csv), tmp_path / name, task=task)
        done = finetune(recipe, f"train.steps={steps}")
        places.append(done.folder)
    found = compare(*places, resamples=200)
    assert found["metric"] == "macro_f1"
    for side, place in zip(("first", "second"), places, strict=True):
        official = json.loads((place / "results.json").read_text())["metrics"]["macro_f1"]
        assert found[side]["score"] == pytest.approx(official, abs=1e-6)
    assert found["interval"]["low"] <= found["difference"] <= found["interval"]["high"]


def test_a_data_set_of_a_suite_is_a_run_with_several_seeds(tmp_path: Path) -> None:
    """As ``jeoni evaluate suite=`` leaves it: a run in each seed's folder, and nothing beside them."""
    right = {"1": [1.0, 0.0, 1.0], "2": [1.0, 1.0, 0.0], "10": [0.0, 0.0, 1.0]}
    several = tmp_path / "several"
    for seed, hits in right.items():
        fake(tmp_path / "suite/nsmc" / f"seed-{seed}", hits, flags=["odd"] if seed == "2" else [])
        fake(several / f"seed-{seed}", hits)
    runs = [{"seed": int(s), "metrics": {"accuracy": float(np.mean(h))}} for s, h in right.items()]
    run.finish(several, {"task": "classification", "main_metric": "accuracy", "runs": runs})
    found = compare(tmp_path / "suite/nsmc", several, resamples=10)
    assert (found["metric"], found["seeds"], found["difference"]) == ("accuracy", 3, 0.0)
    assert found["first"]["score"] == pytest.approx(5 / 9)
    assert found["first"]["flags"] == ["seed 2: odd"]


def test_seeds_that_are_no_run(jeoni: Run, tmp_path: Path) -> None:
    a = fake(tmp_path / "a", [1.0, 0.0])
    begun = tmp_path / "begun"  # a run with several seeds that was interrupted
    fake(begun / "seed-1", [1.0, 0.0])
    (begun / "recipe.yaml").write_text("seeds: [1, 2]")
    user_error(jeoni("compare", str(a), str(begun)), "begun holds no finished run")
    other = tmp_path / "other"
    fake(other / "seed-1", [1.0, 0.0])
    fake(other / "seed-2", [1.0, 0.0, 1.0])
    user_error(
        jeoni("compare", str(a), str(other)), "other: its seeds were not evaluated on the same"
    )
    (other / "seed-3").mkdir()
    user_error(jeoni("compare", str(a), str(other)), "seed-3 holds no finished run")
    mixed = tmp_path / "mixed"
    fake(mixed / "seed-1", [1.0, 0.0])
    fake(mixed / "seed-2", [1.0, 0.0], task="span_qa")
    user_error(jeoni("compare", str(a), str(mixed)), "not the same task")


def test_a_score_that_is_not_the_metric_is_not_called_so(tmp_path: Path) -> None:
    a = fake(tmp_path / "a", [1.0, 0.0], metrics={"accuracy": 0.9})
    b = fake(tmp_path / "b", [1.0, 1.0])
    assert compare(a, b, resamples=10)["metric"] == "mean score"


def test_code_of_ones_own_is_not_imported_by_a_folder(tmp_path: Path) -> None:
    """What sums mean, its task type knows; a run folder does not choose what is imported."""
    for name in ("a", "b"):
        folder = fake(tmp_path / name, [1.0, 0.0], task="evil:TASK", main_metric="accuracy")
        records = [Record({"text": str(i)}, "dev.csv", i) for i in range(2)]
        scores = Scores({}, [1.0, 0.0], Sums(np.eye(3)[:2], f1_of_sums))
        run.keep_predictions(folder, records, [0, 0], scores)
    with pytest.raises(UserError, match=r"(?s)a path to code.*--task evil:TASK"):
        compare(tmp_path / "a", tmp_path / "b")


def test_mistakes(jeoni: Run, tmp_path: Path) -> None:
    a = fake(tmp_path / "a", [1.0, 0.0])
    user_error(jeoni("compare", str(a), str(tmp_path / "none")), "none holds no finished run")
    other = fake(tmp_path / "other", [1.0, 0.0], name="sentence")
    user_error(jeoni("compare", str(a), str(other)), "not evaluated on the same", "0 in both")
    longer = fake(tmp_path / "longer", [1.0, 0.0, 1.0])
    user_error(jeoni("compare", str(a), str(longer)), "2 in", "3 in", "2 in both")
    f1 = fake(tmp_path / "f1", [1.0, 0.0], main_metric="f1", metrics={"f1": math.pi})
    user_error(jeoni("compare", str(a), str(f1)), "same main metric", "accuracy", "f1")
    qa = fake(tmp_path / "qa", [1.0, 0.0], task="span_qa")
    user_error(jeoni("compare", str(a), str(qa)), "same task")
    damaged = fake(tmp_path / "damaged", [1.0, 0.0])
    for text, message in (
        ("", "missing or empty"),
        ('{"score": 1, "prediction": 2}\n', "which example is which"),
        ('{"score": 1,', "is damaged"),
        ("[1]\n", "is damaged"),
        ('{"score": "x", "example": "y"}\n', "is damaged"),
    ):
        (damaged / "predictions.jsonl").write_text(text)
        user_error(jeoni("compare", str(a), str(damaged)), "predictions.jsonl", message)
    for text in ("[]", '{"main_metric": "accuracy", "task": "classification"}'):
        (damaged / "results.json").write_text(text)
        user_error(jeoni("compare", str(a), str(damaged)), "results.json", "is damaged")
