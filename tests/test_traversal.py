"""GPT's way with texts: tokens around them, both orders of a pair, language modeling beside the task."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

import objective_parts as parts
import runs
import tiny
from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.tasks.classification import Classification, ClassificationConfig
from jeoni.tasks.multiple_choice import MultipleChoice, MultipleChoiceConfig
from jeoni.tasks.regression import Regression, RegressionConfig

LABELS = ("good", "bad", "odd")
ROWS = [("river bridge", "water", "bad"), ("the museum was near", "a portrait and a picture", "good"),
        ("forest", "island harbor", "odd")]  # fmt: skip
MARKS = ("<|delimiter|>", "<|extract|>")


def classify(model: Model | None = None, **settings: Any) -> Classification:
    config = ClassificationConfig(labels=LABELS, **settings)
    return Classification(model=model or parts.model("gpt2"), config=config)


def test_start_text_delimiter_pair_extract() -> None:
    model = parts.model("gpt2")
    before = model.spec.vocab
    task = classify(model)
    words = model.tokenizer
    assert words.tokens[before:] == MARKS
    assert model.spec.vocab == len(model.backbone.embeddings.words.weight) == before + 2
    pair = task.encode(tiny.labeled(ROWS)).features.batch([0])
    a, b = (words.pieces([text])[0].ids.tolist() for text in ROWS[0][:2])
    assert pair.ids.tolist() == [words.bos_id, *a, before, *b, before + 1]
    single = task.encode(tiny.labeled([("river bridge", "bad")])).features.batch([0])
    assert single.ids.tolist() == [words.bos_id, *a, before + 1]
    # The head reads the last token.
    hidden = model.eval()(pair)
    expected = model.heads["classification"].out(hidden[-1])
    assert torch.allclose(task.logits(pair)[0], expected)


def test_long_texts_are_cut_and_the_marks_stay() -> None:
    task = classify(max_length=10)
    long = [("river " * 30, "water " * 30, "bad")]
    ids = task.encode(tiny.labeled(long)).features.batch([0]).ids.tolist()
    words = task.model.tokenizer
    delimiter, extract = (words.tokens.index(name) for name in MARKS)
    assert len(ids) == 10
    assert (ids[0], ids[4], ids[-1]) == (words.bos_id, delimiter, extract)
    with pytest.raises(UserError, match="max_length 3 leaves no room"):
        classify(max_length=3).encode(tiny.labeled(long))


def test_heads_that_were_trained_without_are_left_so(tmp_path: Path) -> None:
    plain = classify(traversal=False)
    assert plain.model.tokenizer.tokens[-1] not in MARKS
    plain.model.save(tmp_path / "published")  # as others publish it: no jeoni.json settings
    again = classify(hub.load(tmp_path / "published"))
    assert again.settings()["traversal"] is False
    assert not again.model.fresh
    marked = classify()
    marked.model.settings = marked.settings()
    marked.model.save(tmp_path / "ours")
    loaded = hub.load(tmp_path / "ours")
    same = classify(loaded)
    assert same.settings()["traversal"] is True
    assert not loaded.fresh
    rows = tiny.labeled(ROWS)
    batches = [task.encode(rows).features.batch([0, 1, 2]) for task in (marked, same)]
    marked.model.eval(), loaded.eval()
    assert torch.equal(marked.logits(batches[0]), same.logits(batches[1]))


def test_tokenizers_that_frame_texts_do_so() -> None:
    model = tiny.model(family="gpt2")
    assert model.tokenizer.special_count(pair=True) == 3
    task = classify(model)
    assert task.marks is None
    assert task.encode(tiny.labeled(ROWS)).features.batch([0]).ids[0] == model.tokenizer.cls_id


def test_both_orders_are_one_judgment() -> None:
    rows = tiny.labeled(ROWS)
    turned = tiny.labeled([(b, a, label) for a, b, label in ROWS])
    for make in (classify, regress):
        task = make(both_orders=True)
        task.model.eval()
        logits = [task.logits(task.encode(r).features.batch([0, 1, 2])) for r in (rows, turned)]
        assert torch.allclose(*logits, atol=1e-6)
        # For a linear head, the sum of the states.
        single = make()
        single.model.load_state_dict(task.model.state_dict())
        single.model.eval()
        each = [single.logits(single.encode(r).features.batch([0, 1, 2])) for r in (rows, turned)]
        assert torch.allclose(logits[0], each[0] + each[1], atol=1e-6)
        features = task.encode(rows).features
        assert len(features) == 3
        assert len(features.batch([1]).lengths) == 2
    with pytest.raises(UserError, match=r"reviews.csv, line 2: task.both_orders is for pairs"):
        classify(both_orders=True).encode(tiny.labeled([("a", "bad")]))


def test_both_orders_begin_at_the_mean() -> None:
    config = RegressionConfig(both_orders=True, start=3.0)
    task = Regression(model=tiny.model(), config=config)
    task.model.eval()
    rows = [Record({"text": "a", "pair": "b", "label": 1.0}, "x", 1)]
    found = task.logits(task.encode(rows).features.batch([0])).item()
    assert found == pytest.approx(3.0, abs=0.3)


def regress(**settings: Any) -> Regression:
    model = parts.model("gpt2")
    task = Regression(model=model, config=RegressionConfig(**settings))
    task.encode = lambda records, labeled=True: Regression.encode(  # type: ignore[method-assign]
        task, [Record({**r.fields, "label": 1.0}, r.source, r.line) for r in records]
    )
    return task


def mean_nll(model: Model, ids: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Of a sequence's tokens but the first."""
    logits = hidden[:-1] @ model.backbone.embeddings.words.weight.T
    return cross_entropy(logits, ids[1:])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("weights", [None, (1.0, 0.5, 3.0)])
def test_loss_is_that_of_the_task_and_of_the_language(weights: Any, both: bool) -> None:
    """L2 + 0.5 L1, every sequence alone, by torch; gradients, too."""
    task = classify(lm_weight=0.5, class_weights=weights, both_orders=both)
    model, rows = task.model, tiny.labeled(ROWS)
    model.eval()
    features = task.encode(rows).features
    table = model.backbone.embeddings.words.weight
    expected, count = torch.zeros(()), 0.0
    for number, row in enumerate(ROWS):
        batch = features.batch([number])
        label = LABELS.index(row[2])
        weight = weights[label] if weights else 1.0
        hidden = model(batch)
        logits, language = torch.zeros(3), torch.zeros(())
        sides = zip(
            batch.ids.split(list(batch.lengths)), hidden.split(list(batch.lengths)), strict=True
        )
        for ids, states in sides:
            logits = logits + model.heads["classification"].out(states[-1])
            language = language + mean_nll(model, ids, states) / len(batch.lengths)
        task_loss = cross_entropy(logits[None], torch.tensor([label]))
        expected = expected + weight * (task_loss + 0.5 * language)
        count += weight
    right = torch.autograd.grad(expected, table)[0]
    loss = task(features.batch([0, 1, 2]))
    assert loss.count == pytest.approx(count)
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(torch.autograd.grad(loss.total, table)[0], right, atol=1e-5)
    # Micro-batches add up to the same.
    apart = [task(features.batch([i])).total.item() for i in range(3)]
    assert sum(apart) == pytest.approx(loss.total.item(), rel=1e-5)
    assert list(model.heads) == ["classification"]  # the other is the word table


def test_a_table_of_its_own_trains_along(tmp_path: Path) -> None:
    task = classify(parts.model("gpt2", tied=False), lm_weight=1.0)
    model = task.model.eval()
    features = task.encode(tiny.labeled(ROWS)).features
    expected = 0.0
    for number in range(3):
        batch = features.batch([number])
        plain = task.loss(task.logits(batch), batch).total
        logits = model.heads["language_model"].out(model(batch)[:-1])
        expected += (plain + cross_entropy(logits, batch.ids[1:])).item()
    loss = task(features.batch([0, 1, 2])).total
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    assert model.heads["language_model"].out.weight.grad is not None
    model.save(tmp_path)
    assert "GPT2ForSequenceClassification" in (tmp_path / "config.json").read_text()


def test_language_of_choices() -> None:
    config = MultipleChoiceConfig(lm_weight=0.25)
    task = MultipleChoice(model=parts.model("gpt2"), config=config)
    rows = [
        Record(
            {"text": "the river", "choices": ["water", "bread", "a harbor"], "label": 2}, "x", 1
        ),
        Record({"text": "dinner", "choices": ["supper", "stadium"], "label": 0}, "x", 2),
    ]
    model = task.model.eval()
    features = task.encode(rows).features
    expected = 0.0
    for number in (0, 1):
        batch = features.batch([number])
        plain = task.loss(task.logits(batch), batch).total.item()
        hidden = model(batch).split(list(batch.lengths))
        nll = [
            mean_nll(model, ids, states).item()
            for ids, states in zip(batch.ids.split(list(batch.lengths)), hidden, strict=True)
        ]
        expected += plain + 0.25 * sum(nll) / len(nll)
    assert task(features.batch([0, 1])).total.item() == pytest.approx(expected, rel=1e-5)


def test_regression_with_language() -> None:
    task = regress(lm_weight=0.5)
    batch = task.encode(tiny.labeled(ROWS)).features.batch([0, 1, 2])
    task.model.eval()
    plain = task.loss(task.logits(batch), batch).total.item()
    loss = task(batch)
    total, count = loss.metrics["lm_loss"]
    assert loss.total.item() == pytest.approx(plain + 0.5 * total, rel=1e-5)
    assert count == loss.count == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lm_weight": 0.5}, "task.lm_weight: the model's tokens see what comes next"),
        ({"traversal": True}, "task.traversal: the model's tokens see what comes next"),
    ],
)
def test_mistakes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        classify(tiny.model(), **settings)


def test_a_run(reviews_csv: Path, tmp_path: Path) -> None:
    start = parts.model("gpt2").save(tmp_path / "start")
    task = {"name": "classification", "lm_weight": 0.5, "max_length": 64}
    data = runs.reviews(reviews_csv)
    train = {"steps": 12}
    result = finetune(tiny.recipe(start, data, tmp_path / "run", task=task, train=train))
    config = (tmp_path / "run" / "model" / "config.json").read_text()
    assert "GPT2ForSequenceClassification" in config
    assert "training, with language modeling" in (tmp_path / "run/report.html").read_text("utf-8")
    found = evaluate(
        tmp_path / "run", {"dev": str(reviews_csv), "text": "review", "label": "stars"}
    )
    assert found["metrics"]["accuracy"] == pytest.approx(result.metrics["accuracy"], abs=1e-6)
