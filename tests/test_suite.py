"""``jeoni evaluate suite=``: one model on all data sets of a suite that are at hand."""

import json
import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tiny
from jeoni.base.errors import UserError
from jeoni.base.files import read_json, write_json
from jeoni.data import cards
from jeoni.recipes import flags, grid, named, pages, suite_table
from jeoni.recipes import suite as module
from jeoni.recipes.suite import evaluate_suite
from jeoni.recipes.suite_settings import absence, resolve
from jeoni.recipes.suite_table import Score
from jeoni.training.signals import Interrupted
from shell import Run, user_error

TRAIN = {"steps": 2, "lr": 1e-3, "precision": "fp32", "threads": 1, "save_every_minutes": 0}


@pytest.fixture(scope="module")
def recipe(tiny_folder: Path, reviews_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Reviews of one's own, a data set of the catalog with a test split, one that is not at hand."""
    folder = tmp_path_factory.mktemp("suite")
    rows = [f"{n}\t{text}\t{int(label == '긍정')}" for n, (text, label) in enumerate(tiny.REVIEWS)]
    for split in ("train", "test"):
        text = "\n".join(["id\tdocument\tlabel", *rows]) + "\n"
        (folder / f"ratings_{split}.txt").write_text(text, encoding="utf-8")
    own = {"train": str(reviews_csv), "dev": str(reviews_csv), "text": "review", "label": "stars"}
    return {
        "name": "toy",
        "model": str(tiny_folder),
        "common": {
            "data": {"root": str(folder)},
            "train": TRAIN,
            "batch": {"size": 4},
        },
        "sets": {"reviews": {"data": own}, "nsmc": {"data": {"dev_fraction": 0.5}}, "korsts": {}},
        "left_out": {"chatbot": "no task for it"},
        "seeds": [1, 2],
        "out": str(folder / "out"),
    }


@pytest.fixture(scope="module")
def result(recipe: Any) -> Any:
    return evaluate_suite(recipe)


def row(found: Any, name: str) -> Any:
    return next(row for row in found["table"] if row["data"] == name)


def test_all_that_is_at_hand_is_scored(result: Any) -> None:
    found = read_json(result.folder / "results.json")
    assert found == result.results
    assert [(r["name"], r["seed"]) for r in found["runs"]] == [
        ("reviews", 1), ("reviews", 2), ("nsmc", 1), ("nsmc", 2),
    ]  # fmt: skip
    assert found["absent"].keys() == {"korsts", "chatbot"}
    assert "no train file" in found["absent"]["korsts"]
    first = read_json(result.folder / "nsmc/seed-1/results.json")
    assert found["runs"][2]["metrics"] == first["metrics"]
    low, high = found["runs"][2]["interval"]
    assert [low, high] == [first["interval"]["low"], first["interval"]["high"]]
    page = result.report.read_text(encoding="utf-8")
    assert f"{low:.4g} to {high:.4g}" in page
    assert row(found, "reviews")["published"] == []
    nsmc = row(found, "nsmc")
    assert {p["model"] for p in nsmc["published"]} == {"KoELECTRA-Base-v2", "XLM-R-Base"}
    assert nsmc["n"] + nsmc["left_out"] == 2
    text = (result.folder / "results.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("| nsmc "))
    assert f"| {nsmc['metric']} |" in line
    assert "KoELECTRA-Base-v2" in line
    assert "| chatbot | no task for it |" in text
    page = result.report.read_text(encoding="utf-8")
    for text in ("KoELECTRA-Base-v2", "no task for it", "korsts"):
        assert text in page


def test_what_is_done_is_not_done_again(recipe: Any, result: Any, no_training: None) -> None:
    assert evaluate_suite(recipe).results == result.results
    fewer = evaluate_suite(recipe, "only=nsmc", "seeds=2", split="dev").results
    assert [(r["name"], r["seed"]) for r in fewer["runs"]] == [("nsmc", 2)]
    assert fewer["absent"] == {}


def test_the_test_split_is_scored_when_asked_and_once(
    recipe: Any, result: Any, no_training: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {**recipe, "split": "test", "only": ["nsmc"]}
    found = evaluate_suite(asked).results
    assert [run["n"] for run in found["runs"]] == [16, 16]
    assert (result.folder / "results-test.json").exists()
    assert read_json(result.folder / "nsmc/seed-1/nsmc-test.json")["split"] == "test"

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("scored again")

    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate", never)
        assert evaluate_suite(asked).results == found
    test = Path(recipe["common"]["data"]["root"]) / "ratings_test.txt"
    whole = test.read_text(encoding="utf-8")
    test.write_text("".join(whole.splitlines(keepends=True)[:-6]), encoding="utf-8")
    assert [run["n"] for run in evaluate_suite(asked).results["runs"]] == [10, 10]
    test.write_text(whole, encoding="utf-8")


def test_a_model_is_scored_on_others_too(recipe: Any, result: Any, no_training: None) -> None:
    further = {**recipe, "sets": {"nsmc": recipe["sets"]["nsmc"]}, "split": "test", "seeds": [1]}
    further["also"] = {"nsmc": ["glue-sst2", "korean-hate-speech"]}
    assert resolve(further, [], {}).data("glue-sst2") == {
        "name": "glue-sst2", "root": recipe["common"]["data"]["root"],
    }  # fmt: skip
    place = Path(recipe["common"]["data"]["root"]) / "glue-sst2/test_labeled.parquet"
    place.parent.mkdir()
    rows = [{"sentence": text, "label": n % 2} for n, (text, _) in enumerate(tiny.REVIEWS[:6])]
    pq.write_table(pa.Table.from_pylist(rows), place)
    found = evaluate_suite(further).results
    assert [(run["name"], run["n"]) for run in found["runs"]] == [("nsmc", 16), ("glue-sst2", 6)]
    assert found["runs"][1]["metrics"] != found["runs"][0]["metrics"]
    assert found["absent"].keys() == {"korean-hate-speech", "chatbot"}


def test_one_mistake_leaves_the_others_alone(recipe: Any, result: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("review,stars\n,긍정\n", encoding="utf-8")
    bad = {"data": {"train": str(broken), "dev": str(broken), "text": "review", "label": "stars"}}
    found = evaluate_suite({**recipe, "sets": {"bad": bad, **recipe["sets"]}, "seeds": [1]}).results
    assert [failure["data"] for failure in found["failed"]] == ["bad"]
    assert "broken.csv" in found["failed"][0]["why"]
    assert [run["name"] for run in found["runs"]] == ["reviews", "nsmc"]
    with pytest.raises(UserError, match=r"no run came to an end; bad, seed 1: .*broken\.csv"):
        evaluate_suite({**recipe, "sets": {"bad": bad}})


def test_a_mistake_in_a_further_data_set_leaves_the_score_of_the_first(
    recipe: Any, result: Any, no_training: None, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Path(recipe["common"]["data"]["root"]) / "paws-x-ko/test.parquet"
    place.parent.mkdir()
    place.write_bytes(b"broken")
    further = {**recipe, "sets": {"nsmc": recipe["sets"]["nsmc"]}, "split": "test", "seeds": [1]}
    found = evaluate_suite({**further, "also": {"nsmc": ["paws-x-ko"]}}).results
    assert [run["name"] for run in found["runs"]] == ["nsmc"]
    (failure,) = found["failed"]
    assert (failure["data"], failure["seed"]) == ("paws-x-ko", 1)
    told = capsys.readouterr().err
    for text in (failure["why"], "nsmc, seed 1: accuracy", "paws-x-ko, seed 1: "):
        assert text in told


MINE = {"train": "mine.csv", "dev": "mine.csv"}


@pytest.mark.parametrize(
    ("data", "split", "scored", "expected"),
    [
        ({}, "dev", "glue-mnli-mm", []),
        ({"limit_train": 8}, "dev", "glue-mnli-mm", ["data.limit_train=8"]),
        ({"limit_dev": 8}, "dev", "glue-mnli-mm", ["data.limit_dev=8"]),
        ({"only": {"genre": "travel"}}, "dev", "glue-mnli-mm", ["data.only"]),
        ({"dev_fraction": 0.5}, "dev", "glue-mnli-mm", ["data.dev_fraction=0.5"]),
        ({}, "test", "nsmc", []),
        ({"dev_fraction": 0.5}, "test", "nsmc", ["data.dev_fraction=0.5"]),
        ({"limit_test": 8}, "test", "nsmc", ["data.limit_test=8"]),
        (MINE, "test", "nsmc", ["data.train=mine.csv", "data.dev=mine.csv"]),
    ],
)
def test_what_makes_scores_incomparable(
    tmp_path: Path, data: Any, split: str, scored: str, expected: list[str]
) -> None:
    files = ("train.parquet", "dev_matched.parquet", "dev_mismatched.parquet")
    for file in (*(f"glue-mnli/{f}" for f in files), "nsmc/train.parquet", "nsmc/test.parquet"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "mine.csv").touch()
    trained = "glue-mnli" if scored == "glue-mnli-mm" else scored
    suite = {
        "name": "toy",
        "model": "m",
        "split": split,
        "common": {"data": {"root": str(tmp_path)}},
        "sets": {trained: {"data": data}},
        "also": {"glue-mnli": ["glue-mnli-mm"]} if trained != scored else {},
    }
    assert module._part(resolve(suite, [], {}), trained, scored) == expected


def test_a_test_split_without_labels_is_not_trained_for(
    recipe: Any, result: Any, no_training: None, tmp_path: Path
) -> None:
    for split in ("train", "dev", "test_no_label"):
        place = tmp_path / f"korean-hate-speech/{split}.parquet"
        place.parent.mkdir(exist_ok=True)
        rows = [{"comments": "댓글", "hate": "none"}]
        pq.write_table(pa.Table.from_pylist(rows), place)
    hate = {"data": {"root": str(tmp_path)}}
    two = {"nsmc": recipe["sets"]["nsmc"], "korean-hate-speech": hate}
    asked = resolve({**recipe, "sets": two}, ["split=test"], {})
    assert absence(asked, "korean-hate-speech") == (
        "dataset 'korean-hate-speech': its test has no labels"
    )
    assert absence(resolve({**recipe, "sets": two}, [], {}), "korean-hate-speech") is None
    own = {"data": {**hate["data"], "test": str(tmp_path / "korean-hate-speech/dev.parquet")}}
    assert (
        absence(
            resolve({**recipe, "sets": {**two, "korean-hate-speech": own}}, ["split=test"], {}),
            "korean-hate-speech",
        )
        is None
    )
    found = evaluate_suite({**recipe, "sets": two, "split": "test", "seeds": [1]}).results
    assert "korean-hate-speech" in found["absent"]
    assert found["failed"] == []


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"only": "nsm"}, ["only", "'nsm'", "did you mean 'nsmc'?"]),
        ({"also": {"nscm": ["korsts"]}}, ["also", "'nscm'", "nsmc"]),
        ({"also": {"nsmc": ["glue-sst2", "glue-sst2"]}}, ["also", "'glue-sst2' is scored already"]),
        ({"also": {"nsmc": ["nsmc"]}}, ["also", "'nsmc' is scored already"]),
        ({"sets": {"nsmc": {}, "nothing-such": {}}}, ["no dataset named 'nothing-such'"]),
        ({"sets": {"nsmc": {"train": {"epoch": 1}}}}, ["nsmc", "'train.epoch'", "train.epochs"]),
        ({"sets": {"korsts": {}}}, ["suite toy: none of its data sets is at hand", "korsts:"]),
        ({"sets": {}}, ["sets"]),
        ({"seeds": "1,x"}, ["seeds", "x"]),
        ({"seeds": "1,2,1"}, ["seeds", "1 is given twice"]),
        ({"split": "train"}, ["split"]),
        ({"workers": 0}, ["workers"]),
        ({"model": None}, ["model=MODEL"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes(
    recipe: Any, change: dict[str, Any], parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JEONI_DATA", raising=False)
    with pytest.raises(UserError) as caught:
        evaluate_suite({**recipe, **change})
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("name", named.names(named.SUITES))
def test_suites_that_come_with_jeoni_are_valid(name: str) -> None:
    suite = resolve(name, [], {"model": "bert-L2-H128"})
    assert suite.name == name
    assert not suite.left_out.keys() & suite.sets.keys()


# From the shell


def test_from_the_shell(jeoni: Run, recipe: Any, result: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    write_json(file, {key: value for key, value in recipe.items() if key not in ("model", "out")})
    arguments = [f"model={recipe['model']}", "--out", recipe["out"]]
    shown = jeoni("evaluate", f"suite={file}", *arguments)
    assert shown.status == 0, shown.err
    for text in ("in percent", "KoELECTRA-Base-v2", "Not scored", "report.html"):
        assert text in shown.out
    as_json = jeoni("evaluate", "--suite", str(file), "--json", "only=nsmc", *arguments)
    assert [run["name"] for run in json.loads(as_json.out)["runs"]] == ["nsmc", "nsmc"]
    user_error(jeoni("evaluate", "suite=kleu", *arguments), "no suite 'kleu'", "'klue'")
    user_error(jeoni("evaluate", f"suite={file}", "olny=nsmc", *arguments), "'only'")
    user_error(jeoni("evaluate", f"suite={file}"), "model=MODEL")


# Degenerate runs


def of_class(index: int, label: str = "a") -> dict[str, Any]:
    return {"index": index, "label": label}


TWO = [(1, of_class(0)), (0, of_class(1, "b"))]


@pytest.mark.parametrize(
    ("predictions", "losses", "expected"),
    [
        ([(1, of_class(0)), (0, of_class(0))], [], "one class predicted: a"),
        ([(1, of_class(0)), (1, of_class(0))], [], ""),
        (TWO, [], ""),
        ([(0.5, {"tags": ["O", "O"]}), (1, {"tags": ["O"]})], [], "one class predicted: O"),
        ([(0.5, {"tags": ["O", "B-PS"]}), (1, {"tags": ["O"]})], [], ""),
        ([(0, {"text": ""}), (0, {"text": ""})], [], "no answer predicted"),
        ([(1, {"state": []}), (0, {"state": []})], [], "no state predicted"),
        ([(0, {"state": ["a-b-c"]}), (0, {"state": []})], [], ""),
        (
            [(0, {"state": ["d-e-f", "a-b-c"]}), (0, {"state": ["a-b-c", "d-e-f"]})],
            [],
            "one state predicted: a-b-c, d-e-f",
        ),
        ([(0, {"text": "ja"}), (0, {"text": "ja"})], [], "one answer predicted: ja"),
        ([(-1.0, {"value": 2.5}), (-2.0, {"value": 2.55})], [], "one number predicted: 2.52"),
        ([(-1.0, {"value": 0.5}), (-2.0, {"value": 4.5})], [], ""),
        ([(0, "of one's own"), (0, "of one's own")], [], ""),
        ([], [0.69, 0.71, 0.7, 0.69, 0.7, 0.69], "loss stuck: 0.7 in the first third, 0.695"),
        (TWO, [0.69, 0.71, 0.7, 0.69, 0.7, 0.69], "loss stuck: 0.7 in the first third, 0.695"),
        (TWO, [0.1, 0.11, 0.1, 0.1, 0.1, 0.11], ""),  # of a model that was trained before
        ([], [0.1, 0.11, 0.1, 0.1, 0.1, 0.11], "loss stuck: 0.105 in the first third, 0.105"),
        ([], [0.69, 0.68, 0.6, 0.5, 0.4, 0.3], ""),
        ([], [0.69, 0.7], ""),
    ],
)
def test_degenerate_runs(
    tmp_path: Path, predictions: list[Any], losses: list[float], expected: str
) -> None:
    lines = [json.dumps({"score": score, "prediction": said}) for score, said in predictions]
    (tmp_path / "predictions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = [json.dumps({"kind": "train", "step": n, "loss": v}) for n, v in enumerate(losses)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows), encoding="utf-8")
    results = {"main_metric": "f1", "metrics": {"f1": 0.5}}
    found = flags.flags(tmp_path, results)
    assert len(found) == bool(expected)
    assert all(flag.startswith(expected) for flag in found)
    results["metrics"] = {"f1": None}
    assert flags.flags(tmp_path, results)[0] == "f1 is not a number"


def test_a_task_of_ones_own_has_the_scale_of_ours(tmp_path: Path) -> None:
    """Made from span_qa, whose figures are percent: an answer with 1 of 100 is not right."""
    said = [(1.0, {"text": "yes"})] * 2
    predicted(tmp_path, said)
    results = {"main_metric": "f1", "metrics": {"f1": 1.0}, "task": "mine:QA", "base": "span_qa"}
    assert flags.flags(tmp_path, results) == ["one answer predicted: yes"]
    assert flags.flags(tmp_path, {**results, "base": None}) == []


def predicted(folder: Path, said: list[tuple[float, dict[str, Any]]]) -> None:
    rows = [{"score": score, "prediction": prediction} for score, prediction in said]
    text = "\n".join(map(json.dumps, rows))
    (folder / "predictions.jsonl").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("task", "main", "score", "flagged"),
    [
        ("span_qa", "f1", 100.0, False),
        ("span_qa", "f1", 1.0, True),
        ("text_to_text", "rougeL", 100.0, False),
        ("text_to_text", "accuracy", 1.0, False),
        ("text_to_text", "accuracy", 0.0, True),
    ],
)
def test_texts_that_are_always_the_same(
    tmp_path: Path, task: str, main: str, score: float, flagged: bool
) -> None:
    predicted(tmp_path, [(score, {"text": "a\n" * 99})] * 2)
    results = {"task": task, "main_metric": main, "metrics": {main: 1.0}}
    expected = "one answer predicted: " + ("a " * 30)
    assert flags.flags(tmp_path, results) == [expected] * flagged


@pytest.mark.parametrize(
    ("values", "flagged"),
    [((9, 99_999), False), ((99_999, 100_001), True), ((-1, 0.5), False)],
)
def test_numbers_that_were_learned_as_logarithms(
    tmp_path: Path, values: tuple[float, ...], flagged: bool
) -> None:
    predicted(tmp_path, [(-0.5, {"value": value}) for value in values])
    (tmp_path / "model").mkdir()
    write_json(tmp_path / "model/jeoni.json", {"task": "regression", "log": True})
    results = {"task": "regression", "main_metric": "pearson", "metrics": {"pearson": 0.5}}
    assert len(flags.flags(tmp_path, results)) == flagged


def score(name: str, value: float, *why: str, task: str = "classification") -> Score:
    metrics = {"accuracy": value, "f1": value}
    return Score(name, 1, "folder", task, "accuracy", metrics, 10, why)


def test_degenerate_and_failed_runs_are_in_no_median() -> None:
    scores = [score("nsmc", value) for value in (0.8, 0.9, 0.7)]
    scores.append(score("nsmc", 0.5, "one class predicted: a"))
    (found,) = suite_table.table(
        scores, [{"data": "nsmc"}], {"nsmc": cards.card("nsmc")}, "dev", ["XLM-R-Base"]
    )
    assert [found[key] for key in ("median", "low", "high")] == pytest.approx([80, 70, 90])
    assert (found["n"], found["left_out"]) == (3, 2)
    assert [p["score"] for p in found["published"]] == [89.49]
    assert found["band"] == "inside (theirs: test)"
    (none,) = suite_table.table([score("a", 0.5, "stuck")], [], {}, "dev", [])
    assert none["median"] is None
    assert none["band"] is None


def test_every_metric_that_is_published_has_a_row() -> None:
    metrics = {"f1": 91.0, "exact_match": 83.0, "loss": 1.0}
    one = Score("korquad", 1, "folder", "span_qa", "f1", metrics, 10)
    found = suite_table.table([one], [], {"korquad": cards.card("korquad")}, "dev", [])
    assert [(r["metric"], r["median"], r["band"]) for r in found] == [
        ("f1", 91.0, "inside"), ("exact_match", 83.0, "inside"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "metric", "value", "percent"),
    [("nq-open", "exact_match", 30.0, 30.0), ("gsm8k", "accuracy", 0.4, 40.0)],
)
def test_written_texts_in_percent(name: str, metric: str, value: float, percent: float) -> None:
    """Accuracy is a fraction everywhere."""
    one = Score(name, 1, "folder", "text_to_text", metric, {metric: value}, 10)
    (found,) = suite_table.table([one], [], {name: cards.card(name)}, "dev", [])
    assert found["median"] == pytest.approx(percent)


@pytest.mark.parametrize(
    ("task", "metric", "value", "expected"),
    [
        ("span_qa", "f1", 0.5, "0.5"),  # percent, though it is small
        ("classification", "f1", 0.5, "0.500"),
        ("text_to_text", "rougeL", 41.26, "41.3"),
        ("text_to_text", "accuracy", 0.25, "0.250"),
        ("span_qa", "loss", 2.3456, "2.346"),
        ("regression", "mean_absolute_error", 1.5, "1.500"),
        ("regression", "pearson", None, "–"),
    ],
)
def test_digits_by_the_scale(task: str, metric: str, value: float | None, expected: str) -> None:
    assert pages.shown(task, metric, value) == expected


@pytest.mark.parametrize(
    ("values", "others", "expected"),
    [
        ([80.0, 84.0], [85.0, 89.0], "below"),
        ([80.0, 86.0], [85.0, 89.0], "inside"),
        ([86.0], [85.0, 89.0], "inside"),
        ([89.5, 92.0], [85.0, 89.0], "above"),
        ([80.0], [], None),
        ([], [80.0], None),
    ],
)
def test_the_band(values: list[float], others: list[float], expected: str | None) -> None:
    assert suite_table.verdict(values, others, split="", part=()) == expected
    part = suite_table.verdict(values, others, split="test", part=["data.limit_dev=5"])
    assert part == (expected and "not comparable: data.limit_dev=5")


# Processes


def test_several_processes() -> None:
    assert sorted(grid.each(math.sqrt, [1.0, 4.0, 9.0], 2)) == [1, 2, 3]
    with pytest.raises(UserError, match="a worker process died"):
        list(grid.each(os._exit, [1, 1], 2))


def test_ctrl_c_stops_them() -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(Interrupted, match="the same command goes on"):
        list(grid.each(time.sleep, [600, 600, 600], 2))


@pytest.mark.slow
def test_runs_in_several_processes(recipe: Any, result: Any, tmp_path: Path) -> None:
    found = evaluate_suite({**recipe, "workers": 2, "out": str(tmp_path / "out")}).results
    assert [r["metrics"] for r in found["runs"]] == [r["metrics"] for r in result.results["runs"]]
