"""Regression: sequences and targets, squared error, correlations, the binary view, files of one's own."""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import peers
import tiny
from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.metrics.intervals import bootstrap_sums
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.recipes.predict import predict
from jeoni.serving.predictor import classify
from jeoni.serving.vectors import embed
from jeoni.tasks.regression import NumberPrediction, Regression, RegressionConfig, from_data
from report_page import render

TEXTS = [text for text, _ in tiny.REVIEWS]
PAIRS = [(a, b, 1.5) for a, b in itertools.pairwise(TEXTS)] + [
    (text, text, 4.0 + n % 2) for n, text in enumerate(TEXTS)
]


@pytest.fixture
def model() -> Model:
    return tiny.model()


def make(model: Model, **settings: Any) -> Regression:
    return Regression(model=model, config=RegressionConfig(**settings))


def scored(task: Regression, gold: Sequence[float], found: Sequence[float]) -> dict[str, float]:
    encoded = task.encode(tiny.labeled([("x", g) for g in gold]))
    return dict(task.score(encoded, [NumberPrediction(v) for v in found]).values)


def test_pairs_become_sequences_with_numbers(model: Model) -> None:
    encoded = make(model).encode(tiny.labeled(PAIRS))
    assert encoded.features.targets["value"].tolist() == [value for _, _, value in PAIRS]
    batch = encoded.features.batch([0])
    assert batch.ids.tolist() == model.tokenizer.encode(*PAIRS[0][:2]).ids


def test_loss_is_torchs_mean(model: Model) -> None:
    task = make(model)
    batch = task.encode(tiny.labeled(PAIRS)).features.batch(range(10))
    logits = torch.randn(10, generator=torch.Generator().manual_seed(0))
    loss = task.loss(logits, batch)
    expected = torch.nn.functional.mse_loss(logits, batch.targets["value"].float())
    torch.testing.assert_close(loss.total / loss.count, expected)


@pytest.mark.parametrize("value", ["high", None, "", float("nan"), True, [1.0], "inf"])
def test_what_is_no_number(model: Model, value: Any) -> None:
    with pytest.raises(UserError, match=r"reviews\.csv, line 3: label .* is no number"):
        make(model).encode(tiny.labeled([("a", "1.5"), ("b", value)]))


def test_figures_are_those_of_scipy(model: Model) -> None:
    from scipy.stats import pearsonr, spearmanr

    gold, found = [0.0, 1.0, 2.5, 4.0, 5.0, 3.0], [0.3, 0.2, 3.1, 3.5, 6.0, 2.9]
    values = scored(make(model), gold, found)
    assert values["pearson"] == pytest.approx(pearsonr(gold, found).statistic)
    assert values["spearman"] == pytest.approx(spearmanr(gold, found).statistic)
    assert values["f1"] == pytest.approx(2 * 2 / (3 + 3))  # "yes" from 3 on, on both sides
    assert values["mean_absolute_error"] == pytest.approx(np.abs(np.subtract(gold, found)).mean())
    assert "f1" not in scored(make(tiny.model(), threshold=None), gold, found)


def test_a_constant_model_has_no_correlation(model: Model) -> None:
    values = scored(make(model), [0.0, 1.0, 2.0], [1.0, 1.0, 1.0])
    assert values["pearson"] == values["spearman"] == values["corr"] == 0.0
    assert scored(make(tiny.model()), [1.0], [2.0])["pearson"] == 0.0


def test_small_numbers_have_the_interval_of_large_ones(model: Model) -> None:
    rng = np.random.default_rng(0)
    gold = rng.uniform(0, 5, 50)
    found = gold + rng.normal(0, 1, 50)
    task = make(model, threshold=None)
    for scale in (1.0, 1e-6, 1e-90):
        encoded = task.encode(tiny.labeled([("x", scale * g) for g in gold]))
        scores = task.score(encoded, [NumberPrediction(scale * v) for v in found])
        low, high = scores.intervals("pearson")["pearson"]
        assert 0.5 < low < scores.values["pearson"] < high


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_the_interval_is_that_of_the_figure(model: Model, metric: str) -> None:
    """Of moments summed over whole resamples the figure is the figure."""
    rng = np.random.default_rng(0)
    gold = rng.uniform(0, 5, 200)
    found = gold + rng.normal(0, 1, 200)
    task = make(model, metric=metric)
    encoded = task.encode(tiny.labeled([("x", g) for g in gold]))
    scores = task.score(encoded, [NumberPrediction(v) for v in found])
    assert task.main_metric == metric
    assert scores.sums is not None
    whole = scores.sums.metric(scores.sums.rows.sum(0, keepdims=True))[0]
    assert whole == pytest.approx(scores.values[metric])
    low, high = scores.intervals(task.main_metric)[task.main_metric]
    assert low < scores.values[metric] < high
    assert (low, high) == bootstrap_sums(scores.sums.rows, scores.sums.metric)


def test_the_head_is_kept_for_regression_alone(tmp_path: Path, model: Model) -> None:
    task = make(model)
    model.settings = task.settings()
    model.save(tmp_path)
    assert not make(hub.load(tmp_path)).model.fresh
    other = hub.load(tmp_path)
    other.settings = {"task": "multiple_choice"}
    assert {n.rpartition(".")[0] for n in make(other).model.fresh} == {"heads.classification.out"}


def test_a_fresh_head_starts_at_the_mean(tmp_path: Path, model: Model) -> None:
    task = make(model, start=2.5)
    bias = model.heads["classification"].out.bias
    assert bias.tolist() == [2.5]
    torch.nn.init.constant_(bias, 1.0)  # as if trained
    model.settings = task.settings()
    model.save(tmp_path)
    again = make(hub.load(tmp_path), start=2.5).model
    assert again.heads["classification"].out.bias.tolist() == [1.0]
    make(peers.reader("gpt2"), start=2.5)  # whose head has no bias


@pytest.mark.parametrize(("start", "bias"), [(99.0, 2), (-1.0, 0)])
def test_a_fresh_head_starts_at_the_logarithm(model: Model, start: float, bias: float) -> None:
    fresh = make(model, start=start, log=True).model
    assert fresh.heads["classification"].out.bias.tolist() == [bias]


def test_sections(model: Model) -> None:
    task = make(model)
    encoded = task.encode(tiny.labeled(PAIRS))
    found = [NumberPrediction(1.0) for _ in PAIRS]
    plot, residuals, worst = task.sections(encoded, found, task.score(encoded, found))
    assert [row["error"] for row in residuals.rows] == [1.0 - v for _, _, v in PAIRS]
    assert len(plot.rows) == len(PAIRS)
    assert worst.items[0].gold == "5"


@pytest.mark.parametrize("values", [{"max_length": 0}, {"metric": "accuracy"}, {"threshold": "x"}])
def test_settings_that_make_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        parse(RegressionConfig, values)


# From a file to a run, and back


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    header = ("a", "b", "grade")
    return tiny.write_csv(tmp_path_factory.mktemp("pairs") / "pairs.csv", PAIRS, header)


def columns(**files: Path) -> dict[str, Any]:
    names = {"text": "a", "pair": "b", "label": "grade"}
    return {**{name: str(path) for name, path in files.items()}, **names}


def test_trained_evaluated_and_used(tiny_folder: Path, csv: Path, tmp_path: Path) -> None:
    data = columns(train=csv, dev=csv)
    run = finetune(tiny.recipe(tiny_folder, data, tmp_path / "run"), "task=regression")
    results = json.loads((run.folder / "results.json").read_text())
    assert results["main_metric"] == "pearson"
    mean = sum(v for _, _, v in PAIRS) / len(PAIRS)
    assert hub.load(run.folder).settings["start"] == pytest.approx(mean)
    assert results["interval"]["low"] <= results["interval"]["high"]
    found = evaluate(run.folder, columns(dev=csv))
    assert found["metrics"].keys() == run.metrics.keys()
    rows = predict(run.folder, columns(test=csv), out=tmp_path / "out.jsonl")
    assert [row["at"] for row in rows[:2]] == ["pairs.csv, line 2", "pairs.csv, line 3"]
    said = np.corrcoef([row["value"] for row in rows], [v for _, _, v in PAIRS])[0, 1]
    assert said == pytest.approx(run.metrics["pearson"], abs=1e-4)
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows
    with pytest.raises(UserError, match="trained for regression, not for classification"):
        classify(run.folder, "좋다")
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "Residuals" in page


@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_decoders_too(family: str) -> None:
    task = make(peers.reader(family), max_length=16)
    features = task.encode(tiny.labeled([("a film", 1), ("great acting, great music", 2)])).features
    task.model.eval()
    together = task.logits(features.batch([0, 1]))
    alone = torch.cat([task.logits(features.batch([i])) for i in (0, 1)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


# Counts


def test_counts_are_learned_as_logarithms(model: Model) -> None:
    rows = [("a", "0"), ("b", "9"), ("c", "999")]
    task = make(model, log=True)
    encoded = task.encode(tiny.labeled(rows))
    assert encoded.features.targets["value"].tolist() == pytest.approx([0, 1, 3])
    found = task.combine(encoded, [0.0, 2.0, 3.0])
    assert [p.value for p in found] == pytest.approx([0, 99, 999])
    scores = task.score(encoded, found)
    assert scores.values["mean_absolute_error"] == pytest.approx(1 / 3)
    assert list(scores.per_example) == pytest.approx([0, -1, 0])
    assert task.combine(encoded, [1e6] * 3)[0].value < float("inf")
    lowest = task.score(encoded, task.combine(encoded, [-20.0, 2.0, 3.0]))  # as untrained heads may
    assert lowest.per_example[0] == pytest.approx(-15, abs=0.01)
    for threshold, f1 in ((3.0, 1), (50.0, 2 / 3), (-2.0, 1)):  # a number as data have it
        there = make(model, log=True, threshold=threshold).score(encoded, found)
        assert there.values["f1"] == pytest.approx(f1)
        sums = there.beside[0].rows.sum(0)
        assert there.beside[0].metrics["f1"](sums) == pytest.approx(f1)
    page = render(*task.sections(encoded, found, scores))
    assert "log10(1 + number)" in page.texts("p")
    with pytest.raises(UserError, match=r"line 3: label -1 is below 0"):
        task.encode(tiny.labeled([("a", "1"), ("b", "-1")]))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 3, 99, 999999], {"start": pytest.approx(10**2.1505 - 1, rel=1e-3), "log": True}),
        ([0, 3, 5], {"start": pytest.approx(8 / 3)}),
        ([-1, 3, 99999], {"start": pytest.approx(100001 / 3)}),
    ],
)
def test_whether_they_span_orders_of_magnitude(
    tmp_path: Path, labels: list[int], expected: dict[str, Any]
) -> None:
    path = tiny.write_csv(tmp_path / "x.csv", [(f"t{n}", n) for n in labels], ("text", "label"))
    dataset = open_dataset(DataConfig(train=str(path), dev=str(path)), task="regression")
    found = from_data(dataset)
    assert {k: found.get(k) for k in expected} == expected
    assert found.get("log", False) == ("log" in expected)


def test_a_sample_is_learned_as_all_data_are(tmp_path: Path) -> None:
    """Whether the largest count is in the sample does not matter."""
    rows = [(f"t{n}", label) for n, label in enumerate([0, 3, 5] * 20 + [999999])]
    path = str(tiny.write_csv(tmp_path / "x.csv", rows, ("text", "label")))
    dataset = open_dataset(DataConfig(train=path, dev=path, limit_train=3), task="regression")
    sample = [int(record.fields["label"]) for record in dataset.split("train")]
    assert max(sample) < 10
    found = from_data(dataset)
    assert found["log"] is True
    assert math.log10(1 + found["start"]) == pytest.approx(
        sum(math.log10(1 + n) for n in sample) / 3
    )


def test_large_numbers_are_written_out(model: Model) -> None:
    task = make(model)
    encoded = task.encode(tiny.labeled([("a", "48110"), ("b", "1")]))
    found = [NumberPrediction(1.0)] * 2
    *_, worst = task.sections(encoded, found, task.score(encoded, found))
    assert worst.items[0].gold == "48110"


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_cosine_of_texts_that_are_read_apart(model: Model, pooling: Any) -> None:
    """As of the vectors that ``jeoni.embed`` gives; no head is needed, none stays."""
    task = make(model.eval(), cosine=pooling, scale=2.0)
    encoded = task.encode(tiny.labeled(PAIRS))
    with torch.inference_mode():
        found = task.logits(encoded.features.batch([3, 0]))
    a, b = (embed(model, [PAIRS[n][side] for n in (3, 0)], pooling=pooling, normalized=True)
            for side in (0, 1))  # fmt: skip
    assert found.tolist() == pytest.approx((2 * (a * b).sum(-1)).tolist(), abs=1e-5)
    assert not list(model.heads.items())
    assert task.settings()["cosine"] == pooling


def test_a_first_token_that_sees_no_other() -> None:
    with pytest.raises(UserError, match=r"first token sees no other(?s:.*)task\.cosine=last"):
        make(peers.reader("gpt2"), cosine="first")


def test_a_model_is_scored_as_it_is_by_cosines(tmp_path: Path) -> None:
    path = tiny.write_csv(tmp_path / "pairs.csv", PAIRS, ("text", "other", "label"))
    data = {"dev": str(path), "pair": "other"}
    found = evaluate(tiny.model(), data, settings={"cosine": "mean"}, task="regression")
    assert found["metrics"]["spearman"] > 0.5  # equal texts are nearer than others


def test_cosines_are_of_pairs_as_they_are(model: Model) -> None:
    with pytest.raises(UserError, match=r"line 2: task.cosine is for pairs of texts"):
        make(model, cosine="mean").encode(tiny.labeled([("a", "1")]))
    with pytest.raises(UserError, match="read as they are"):
        make(model, cosine="mean", both_orders=True)
