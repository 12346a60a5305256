"""Classification: sequences and targets, the loss, labels of all kinds, scores."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import tiny
from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.recipes import build
from jeoni.serving.predictor import classify
from jeoni.tasks.classification import Classification, ClassificationConfig, LabelPrediction

THREE = ("긍정", "부정", "중립")


@pytest.fixture
def model() -> Model:
    return tiny.model()


def make(
    model: Model, labels: Sequence[Any] | None = tiny.LABELS, **settings: Any
) -> Classification:
    values = {"labels": labels, "max_length": 64} | settings
    return Classification(model=model, config=parse(ClassificationConfig, values))


# Encoding


def test_a_text_is_cls_text_sep(model: Model) -> None:
    encoded = make(model).encode(tiny.labeled())
    bounds = encoded.features.bounds
    for i, (text, label) in enumerate(tiny.REVIEWS):
        whole = model.tokenizer.encode(text)
        assert encoded.features.ids[bounds[i] : bounds[i + 1]].tolist() == whole.ids
        assert encoded.features.targets["label"][i] == tiny.LABELS.index(label)


def test_a_pair_is_cls_text_sep_pair_sep(model: Model) -> None:
    rows = [("a wonderful film", "a waste of time", "부정"), ("시간이 아깝다", "명작", "긍정")]
    encoded = make(model).encode(tiny.labeled(rows))
    bounds = encoded.features.bounds
    for i, (text, pair, _) in enumerate(rows):
        whole = model.tokenizer.encode(text, pair)
        assert encoded.features.ids[bounds[i] : bounds[i + 1]].tolist() == whole.ids
        assert encoded.features.segments[bounds[i] : bounds[i + 1]].tolist() == whole.segments
    assert encoded.features.targets["label"].tolist() == [1, 0]


@pytest.mark.parametrize("limit", [3, 5, 8])
def test_long_texts_are_cut_at_the_end(model: Model, limit: int) -> None:
    encoded = make(model, max_length=limit).encode(tiny.labeled())
    tokenizer, bounds = model.tokenizer, encoded.features.bounds
    whole = [tokenizer.encode(text).ids for text, _ in tiny.REVIEWS]
    for i, ids in enumerate(whole):
        kept = encoded.features.ids[bounds[i] : bounds[i + 1]].tolist()
        assert kept == (ids if len(ids) <= limit else [*ids[: limit - 1], tokenizer.sep_id])
    (count,) = encoded.notes.values()
    assert count == sum(len(ids) >= limit for ids in whole)


def test_no_longer_than_the_model_can_take() -> None:
    encoded = make(tiny.model(positions=16), max_length=512).encode(
        tiny.labeled([("a film " * 30, "긍정")])
    )
    assert encoded.features.lengths.tolist() == [16]


def test_no_room_for_text(model: Model) -> None:
    with pytest.raises(UserError, match="max_length 2 leaves no room"):
        make(model, max_length=2).encode(tiny.labeled())


def test_texts_may_be_empty_in_training(model: Model) -> None:
    encoded = make(model).encode(tiny.labeled([("", "긍정")]))
    assert encoded.features.lengths.tolist() == [2]


# Labels


@pytest.mark.parametrize(
    ("labels", "values", "indices"),
    [
        (("긍정", "부정"), ["부정", "긍정", " 긍정 "], [1, 0, 0]),
        (("negative", "positive"), [0, 1, "1", 1.0], [0, 1, 1, 1]),
        (("1", "2", "3"), [3, "1", 2.0], [2, 0, 1]),
        (("0", "1"), ["1", 0], [1, 0]),
        (("False", "True"), [True, False], [1, 0]),
        ((1, 2, 5), ["5", 1], [2, 0]),
    ],
)
def test_labels_are_names_or_numbers(
    model: Model, labels: Sequence[Any], values: list[Any], indices: list[int]
) -> None:
    task = make(model, labels)
    encoded = task.encode(tiny.labeled([("text", value) for value in values]))
    assert encoded.features.targets["label"].tolist() == indices


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("중립", r"reviews\.csv, line 3: label '중립' is not one of the classes\n.*긍정, 부정"),
        (2, r"reviews\.csv, line 3: label '2' is not one"),
        (-1, r"line 3: label '-1'"),
        (0.5, r"line 3: label '0\.5'"),
        (None, r"line 3: no label"),
        ("", r"line 3: no label"),
        (float("nan"), r"line 3: no label.*nan"),
        (["긍정"], r"line 3: no label"),
    ],
)
def test_a_label_that_is_none_of_the_classes(model: Model, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(model).encode(tiny.labeled([("good", "긍정"), ("hm", value)]))


def test_a_missing_column_is_named(model: Model) -> None:
    records = tiny.labeled()
    del records[3].fields["text"]
    with pytest.raises(UserError, match=r"reviews\.csv, line 5: no column 'text'"):
        make(model).encode(records)
    records = tiny.labeled([("a", "b", "긍정"), ("c", "d", "긍정")])
    del records[1].fields["pair"]
    with pytest.raises(UserError, match=r"line 3: no column 'pair'"):
        make(model).encode(records)


def test_without_labels_there_is_nothing_to_decide(model: Model) -> None:
    with pytest.raises(UserError, match=r"needs the names of the labels\n.*task\.labels="):
        make(model, None)


# Head and loss


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_as_many_logits_as_classes(model: Model, classes: int) -> None:
    task = make(model, [f"class {i}" for i in range(classes)])
    encoded = task.encode(tiny.labeled([(text, "class 1") for text, _ in tiny.REVIEWS]))
    batch = encoded.features.batch(range(16))
    assert task.logits(batch).shape == (16, classes)


def test_logits_do_not_depend_on_neighbors(model: Model) -> None:
    task = make(model)
    encoded = task.encode(tiny.labeled())
    model.eval()
    with torch.no_grad():
        together = task.logits(encoded.features.batch(range(16)))
        alone = torch.cat([task.logits(encoded.features.batch([i])) for i in range(16)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("weights", [None, (1.0, 1.0, 1.0), (0.2, 1.0, 5.0), (1.0, 0.0, 2.0)])
def test_loss_is_torchs_mean(model: Model, weights: tuple[float, ...] | None) -> None:
    task = make(model, THREE, class_weights=weights)
    labels = [THREE[i % 3] for i in range(10)]
    batch = task.encode(tiny.labeled([("x", label) for label in labels])).features.batch(range(10))
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    loss = task.loss(logits, batch)
    expected = cross_entropy(
        logits, batch.targets["label"], None if weights is None else torch.tensor(weights)
    )
    torch.testing.assert_close(loss.total / loss.count, expected)
    right = float((logits.argmax(-1) == batch.targets["label"]).sum())
    assert loss.metrics["accuracy"] == (right, 10.0)


def test_loss_of_parts_adds_up(model: Model) -> None:
    """Micro-batches and ranks: sums of totals over sums of counts are the whole batch's mean."""
    task = make(model, class_weights=(0.3, 2.0))
    features = task.encode(tiny.labeled()).features
    model.eval()
    whole = task(features.batch(range(16)))
    parts = [task(features.batch(part)) for part in (range(3), range(3, 16))]
    total = sum(part.total.item() for part in parts)
    assert sum(part.count for part in parts) == pytest.approx(whole.count)
    assert total == pytest.approx(whole.total.item(), rel=1e-5)


def test_weights_that_do_not_fit_the_labels(model: Model) -> None:
    with pytest.raises(UserError, match=r"class_weights: 3 weights for 2 labels"):
        make(model, class_weights=(1.0, 2.0, 3.0))


def test_a_label_that_is_named_twice(model: Model) -> None:
    data: Any = SimpleNamespace(metric="accuracy", labels=None)
    with pytest.raises(UserError, match=r"task\.labels has 'a' twice"):
        build.task("classification", {"labels": ["a", "b", "a"]}, data, model, seed=0)
    data.labels = ("a", "b", "a")  # of a published head: its runs load
    assert build.task("classification", {}, data, model, seed=0).model.labels == ["a", "b", "a"]


def test_texts_that_were_cut_are_told(model: Model) -> None:
    make(model)
    model.settings = {"task": "classification", "max_length": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classify(model, "a film")
    with pytest.warns(UserWarning, match=r"^texts that fill max_length \(cut if longer\): 1$"):
        classify(model, ["a film", "a film " * 20])


def test_a_loaded_head_is_kept_if_it_fits(tmp_path: Path, model: Model) -> None:
    make(model, THREE)
    model.save(tmp_path)
    again = make(hub.load(tmp_path), None)
    assert again.labels == list(THREE)
    assert not again.model.fresh
    other = make(hub.load(tmp_path), ("a", "b"))
    assert {name.split(".")[2] for name in other.model.fresh} >= {"out"}
    assert other.model.heads["classification"].out.weight.shape[0] == 2
    assert other.model.labels == ["a", "b"]


def test_the_head_of_another_task_is_dropped(model: Model) -> None:
    from jeoni.tasks.span_qa import SpanQA, SpanQAConfig

    SpanQA(model=model, config=SpanQAConfig(max_length=64))
    task = make(model)
    assert list(task.model.heads) == ["classification"]
    assert not any("span" in name for name in task.model.fresh)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_drawn_head_depends_on_the_seed_alone(seed: int) -> None:
    def weight(seed: int, before: int) -> torch.Tensor:
        torch.manual_seed(before)
        config = ClassificationConfig(labels=tiny.LABELS)
        head = Classification(model=tiny.model(), config=config, seed=seed).model.heads
        return head["classification"].out.weight

    assert torch.equal(weight(seed, 5), weight(seed, 6))
    assert not torch.equal(weight(seed, 5), weight(seed + 1, 5))


# Predictions and scores


def predicted(task: Classification, indices: Sequence[int]) -> list[LabelPrediction]:
    rows = np.full((len(indices), len(task.labels)), 0.1)
    rows[range(len(indices)), list(indices)] = 0.9
    return task.combine(task.encode([]), rows.tolist())


def test_the_most_probable_class(model: Model) -> None:
    task = make(model, THREE)
    encoded = task.encode(tiny.labeled([("a", 0), ("b", 1), ("c", 2)]))
    logits = torch.tensor([[0.0, 1.0, 2.0], [5.0, 1.0, 2.0], [0.0, 9.0, 0.0]])
    predictions = task.combine(encoded, task.decode(encoded, range(3), logits))
    assert [p.label for p in predictions] == ["중립", "긍정", "부정"]
    for p, row in zip(predictions, torch.softmax(logits, -1), strict=True):
        assert p.probabilities == pytest.approx(row.tolist())
        assert sum(p.probabilities) == pytest.approx(1)


def test_scores_are_those_of_scikit_learn(model: Model) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    task = make(model, THREE)
    gold, guess = [0, 1, 2, 0, 1, 2, 0, 0], [0, 1, 1, 0, 2, 2, 1, 0]
    encoded = task.encode(tiny.labeled([("x", g) for g in gold]))
    scores = task.score(encoded, predicted(task, guess))
    assert scores.values["accuracy"] == accuracy_score(gold, guess)
    assert scores.values["macro_f1"] == pytest.approx(f1_score(gold, guess, average="macro"))
    assert list(scores.per_example) == [float(a == b) for a, b in zip(gold, guess, strict=True)]
    assert task.main_metric == "accuracy"


def test_report_shows_confusion_and_the_surest_errors(model: Model) -> None:
    task = make(model)
    encoded = task.encode(tiny.labeled(tiny.REVIEWS[:4]))
    guesses = predicted(task, [0, 0, 0, 1])
    confusion, errors, right = task.sections(encoded, guesses, task.score(encoded, guesses))
    assert confusion.matrix == [[2, 0], [1, 1]]
    assert [t.text for t in errors.items] == ["시간이 아깝다"]
    assert [t.gold for t in right.items] == ["긍정", "긍정", "부정"]


@pytest.mark.parametrize(
    "values",
    [
        {"max_length": 0},
        {"class_weight": [1]},
        {"labels": [["a"]]},
        {"class_weights": ["x"]},
        {"class_weights": [1, -0.5]},
        {"class_weights": [1, math.inf]},
        {"class_weights": [math.nan, 1]},
    ],
    ids=str,
)
def test_settings_that_make_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        parse(ClassificationConfig, values)


def test_settings_come_back(model: Model) -> None:
    task = make(model, THREE, class_weights=(1, 2, 3))
    saved = task.settings()
    assert saved.pop("task") == "classification"
    assert parse(ClassificationConfig, saved) == task.config


def test_a_head_for_other_classes_is_not_reused(tmp_path: Path) -> None:
    """As many classes, other names: the output layer is drawn anew, BERT's dense part is kept."""
    first = tiny.model()
    Classification(model=first, config=ClassificationConfig(labels=("bad", "good")))
    first.save(tmp_path)
    same, other = hub.load(tmp_path), hub.load(tmp_path)
    Classification(model=same, config=ClassificationConfig(labels=("bad", "good")))
    Classification(model=other, config=ClassificationConfig(labels=("no", "yes")), seed=7)
    assert not same.fresh
    assert other.fresh == {"heads.classification.out.weight", "heads.classification.out.bias"}
    assert other.labels == ["no", "yes"]
