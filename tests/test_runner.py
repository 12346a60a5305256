"""The runner: the same predictions whatever the batches, the mean loss, the model as it was."""

import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

import objective_parts
import tiny
from jeoni.base.errors import UserError
from jeoni.evaluation.runner import evaluate, predict
from jeoni.models import hub
from jeoni.models.heads import language_model_head, masked_lm_head
from jeoni.serving.predictor import Predictor, answer, classify, task_of
from jeoni.tasks._task import Encoded, Task
from jeoni.tasks.classification import Classification, ClassificationConfig
from jeoni.tasks.span_qa import SpanQA, SpanQAConfig
from jeoni.tasks.text_to_text import TextToText, TextToTextConfig

TASKS = ("span_qa", "span_qa joint", "classification")


@pytest.fixture(params=TASKS)
def ready(request: pytest.FixtureRequest) -> tuple[Task[Any, Any], Encoded]:
    """A task whose drawn weights say something, and its examples; passages in several windows."""
    model = tiny.model(dropout=0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    if request.param.startswith("span_qa"):
        head: Any = "joint" if "joint" in request.param else "independent"
        config = SpanQAConfig(max_length=40, stride=8, head=head)
        task: Task[Any, Any] = SpanQA(model=model, config=config, seed=1)
        return task, task.encode(tiny.questions())
    labels = ClassificationConfig(labels=tiny.LABELS, max_length=40, class_weights=(1, 3))
    task = Classification(model=model, config=labels, seed=1)
    return task, task.encode(tiny.labeled())


def texts_of(predictions: list[Any]) -> list[str]:
    return [getattr(p, "text", None) or p.label for p in predictions]


def figures(predictions: list[Any]) -> list[float]:
    return [getattr(p, "score", None) or p.probabilities[0] for p in predictions]


@pytest.mark.parametrize("batch_tokens", [1, 50, 333])
def test_predictions_do_not_depend_on_the_batches(
    ready: tuple[Task[Any, Any], Encoded], batch_tokens: int
) -> None:
    task, encoded = ready
    once = predict(task, encoded, precision="fp32", show=False)
    again = predict(task, encoded, batch_tokens=batch_tokens, precision="fp32", show=False)
    assert texts_of(again) == texts_of(once)
    assert figures(again) == pytest.approx(figures(once), abs=1e-4)
    assert len(once) == len(encoded.records)


def test_a_model_that_says_nothing_is_not_scored(ready: tuple[Task[Any, Any], Encoded]) -> None:
    """Every example would get the first label, or the first words."""
    task, encoded = ready
    with torch.no_grad():
        for parameter in task.model.backbone.parameters():
            parameter.fill_(torch.nan)
    for verb in (predict, evaluate):
        with pytest.raises(UserError, match=r"not a number(?s:.*)train\.lr"):
            verb(task, encoded, show=False)


@pytest.mark.parametrize("batch_tokens", [1, 50, 8192])
def test_loss_is_the_mean_over_all(
    ready: tuple[Task[Any, Any], Encoded], batch_tokens: int
) -> None:
    task, encoded = ready
    found = evaluate(task, encoded, batch_tokens=batch_tokens, precision="fp32", show=False)
    task.model.eval()
    with torch.no_grad():
        whole = task(encoded.features.batch(range(len(encoded.features))))
    assert found.loss == pytest.approx(float(whole.total) / whole.count, rel=1e-5)
    assert found.values()["loss"] == found.loss
    assert found.values().keys() - {"loss"} == found.scores.values.keys()


@pytest.mark.parametrize("training", [True, False])
def test_the_model_comes_back_in_the_mode_it_was(
    ready: tuple[Task[Any, Any], Encoded], training: bool
) -> None:
    task, encoded = ready
    task.model.train(training)
    first = figures(predict(task, encoded, precision="fp32", show=False))
    second = figures(predict(task, encoded, precision="fp32", show=False))
    assert first == second  # no dropout, whatever the mode before
    assert all(module.training is training for module in task.model.modules())


def test_the_mode_comes_back_after_an_error(
    ready: tuple[Task[Any, Any], Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, encoded = ready
    task.model.train()

    def fail(*arguments: Any) -> None:
        raise RuntimeError("stop")

    monkeypatch.setattr(task, "decode", fail)
    with pytest.raises(RuntimeError, match="stop"):
        predict(task, encoded, show=False)
    assert task.model.training


def test_no_gradient_is_kept(
    ready: tuple[Task[Any, Any], Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, encoded = ready
    seen = []
    decode = task.decode

    def watched(*arguments: Any) -> list[Any]:
        seen.append(arguments[2].requires_grad)
        return decode(*arguments)

    monkeypatch.setattr(task, "decode", watched)
    predict(task, encoded, show=False)
    assert seen
    assert not any(seen)


def test_logits_of_one_batch_at_a_time(
    ready: tuple[Task[Any, Any], Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, encoded = ready
    seen: list[weakref.ref[torch.Tensor]] = []
    logits = task.logits

    def watched(batch: Any) -> torch.Tensor:
        assert not any(one() is not None for one in seen)
        found = logits(batch)
        seen.append(weakref.ref(found))
        return found

    monkeypatch.setattr(task, "logits", watched)
    evaluate(task, encoded, batch_tokens=50, show=False)
    assert len(seen) > 2


def test_what_ranks_share_is_json_and_comes_back(ready: tuple[Task[Any, Any], Encoded]) -> None:
    task, encoded = ready
    indices = list(range(len(encoded.features)))
    with torch.inference_mode():
        logits = task.logits(encoded.features.batch(indices))
    partials = task.decode(encoded, indices, logits)
    text = json.dumps([task.pack(partial) for partial in partials])
    assert [task.unpack(packed) for packed in json.loads(text)] == partials


def test_without_targets_there_is_no_loss(ready: tuple[Task[Any, Any], Encoded]) -> None:
    task, encoded = ready
    losses: list[float] = []
    bare = task.encode(encoded.records, labeled=False)
    found = predict(task, bare, precision="fp32", show=False, on_loss=lambda *s: losses.extend(s))
    assert texts_of(found) == texts_of(predict(task, encoded, precision="fp32", show=False))
    assert losses == []


def test_half_precision_says_much_the_same(ready: tuple[Task[Any, Any], Encoded]) -> None:
    task, encoded = ready
    full = evaluate(task, encoded, precision="fp32", show=False).loss
    half = evaluate(task, encoded, precision="bf16", show=False).loss
    assert full is not None
    assert half == pytest.approx(full, rel=0.05)
    assert half != full


# The predictor


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models as a run saves them: with the task's settings in jeoni.json."""
    folder = tmp_path_factory.mktemp("saved")
    qa = SpanQA(model=tiny.model(), config=SpanQAConfig(max_length=40, stride=8, max_answer=5))
    labels = ClassificationConfig(labels=tiny.LABELS, max_length=40)
    label = Classification(model=tiny.model(), config=labels)
    for task in (qa, label):
        task.model.settings = task.settings()
    return {
        "span_qa": qa.model.save(folder / "qa"),
        "classification": label.model.save(folder / "label"),
    }


def test_answers_are_in_the_passage(saved: dict[str, Path]) -> None:
    contexts = list(tiny.PASSAGES)
    found = Predictor(saved["span_qa"], "span_qa").answer(["When?"] * 3, contexts)
    for a, context in zip(found, contexts, strict=True):
        assert a.text == context[a.start : a.end]
        assert a.text
        assert 0 < a.probability <= 1
        assert a.candidates[0][0] == a.text
        assert sum(p for _, p in a.candidates) <= 1 + 1e-6
        assert a.as_dict()["text"] == a.text
    assert answer(saved["span_qa"], "When?", contexts[0]) == found[0]


def test_what_is_no_text(saved: dict[str, Path]) -> None:
    with pytest.raises(
        UserError, match=r"input, item 2: column 'text' holds nan, which is no text"
    ):
        classify(saved["classification"], ["a", float("nan")])  # type: ignore[list-item]
    with pytest.raises(UserError, match=r"input, item 1: column 'question' is missing"):
        answer(saved["span_qa"], None, "Now.")  # type: ignore[arg-type]


def test_as_many_texts_as_pairs(saved: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="3 texts, but 1 to pair them with"):
        classify(saved["classification"], ["a", "b", "c"], "d")


def test_settings_of_the_training_are_kept_and_can_be_changed(saved: dict[str, Path]) -> None:
    trained = Predictor(saved["span_qa"], "span_qa").task.config
    assert (trained.max_length, trained.max_answer) == (40, 5)
    changed = Predictor(saved["span_qa"], "span_qa", settings={"max_answer": 1}).task.config
    assert (changed.max_length, changed.max_answer) == (40, 1)
    with pytest.raises(UserError, match="did you mean 'max_answer'"):
        answer(saved["span_qa"], "When?", "Now.", max_anser=1)


def test_labels(saved: dict[str, Path]) -> None:
    found = classify(saved["classification"], ["좋다", "나쁘다"])
    for label in found:
        assert label.probabilities.keys() == set(tiny.LABELS)
        assert label.probability == max(label.probabilities.values())
        assert label.probabilities[label.label] == label.probability
    (one,) = classify(saved["classification"], "좋다")
    assert one.label == found[0].label
    assert one.probability == pytest.approx(found[0].probability, abs=1e-5)
    assert classify(saved["classification"], []) == []
    (pair,) = classify(saved["classification"], "좋다", "나쁘다")
    assert pair.probability != one.probability


@pytest.mark.parametrize(
    ("question", "context", "message"),
    [
        ("", "Now.", "input 1: the question is empty"),
        (" \n", "Now.", "input 1: the question is empty"),
        ("When?", "", "input 1: the context is empty"),
        ("When?", "\t ", "input 1: the context is empty"),
    ],
)
def test_nothing_to_ask(saved: dict[str, Path], question: str, context: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        answer(saved["span_qa"], question, context)


def test_nothing_to_label(saved: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="input 2: the text is empty"):
        classify(saved["classification"], ["a", "  ", "b"])


def test_a_model_for_another_task(saved: dict[str, Path]) -> None:
    with pytest.raises(
        UserError, match=r"was trained for classification, not for span_qa\n.*: jeoni classify$"
    ):
        answer(saved["classification"], "When?", "Now.")
    with pytest.raises(
        UserError, match=r"was trained for span_qa, not for classification\n.*answer$"
    ):
        classify(saved["span_qa"], "a")


def test_a_model_that_was_trained_for_nothing(tiny_folder: Path) -> None:
    with pytest.raises(UserError, match="no trained head for span_qa"):
        answer(tiny_folder, "When?", "Now.")
    with pytest.raises(UserError, match="names of the labels"):
        classify(tiny_folder, "a")


@pytest.mark.parametrize("positions", [32, 512])
def test_a_foreign_model_is_used_at_its_own_length(positions: int) -> None:
    """A checkpoint that knows nothing of jeoni: windows of at most its positions."""
    model = tiny.model(positions=positions)
    SpanQA(model=model, config=SpanQAConfig(max_length=32))
    model.fresh.clear()  # as if it had been loaded
    task = task_of(model, "span_qa", {"stride": 4})
    assert task.config.max_length == min(384, positions)


def test_a_failed_call_leaves_the_model_as_it_was(tiny_folder: Path) -> None:
    """Asking twice for what a model was not trained for fails twice, and its heads stay."""
    model = hub.load(tiny_folder)
    model.add_head("masked_lm", masked_lm_head(model))
    for _ in range(2):
        with pytest.raises(UserError, match="no trained head for span_qa"):
            answer(model, "Who?", "It was Kim.")
        assert list(model.heads) == ["masked_lm"]


def test_a_refusal_leaves_the_vocabulary() -> None:
    """A classifier on GPT reads tokens of its own: new ones, which a refused one takes back."""
    model = objective_parts.model("gpt2")
    model.add_head("language_model", language_model_head(model))
    spec, words, tokens = model.spec, model.state_dict(), model.tokenizer
    fresh = set(model.fresh)
    for _ in range(2):
        with pytest.raises(UserError, match="no trained head for classification"):
            task_of(model, "classification", {"labels": ["a", "b"]})
        assert (model.spec, model.tokenizer) == (spec, tokens)
        assert (model.fresh, list(model.heads), model.labels) == (fresh, ["language_model"], None)
        assert {n: t.data_ptr() for n, t in model.state_dict().items()} == {
            n: t.data_ptr() for n, t in words.items()
        }
    assert model.backbone.embeddings.words.num_embeddings == spec.vocab


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_task_writes_in_the_precision_of_the_run(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = objective_parts.model("gpt2")
    task = TextToText(
        model=model, config=TextToTextConfig(source="{text}", target="{label}", max_target=4)
    )
    seen: set[torch.dtype] = set()
    extend = model.backbone.extend

    def watched(*args: Any) -> torch.Tensor:
        states: torch.Tensor = extend(*args)
        seen.add(
            model.heads["language_model"](states, model.backbone.embeddings.words.weight).dtype
        )
        return states

    monkeypatch.setattr(model.backbone, "extend", watched)
    evaluate(task, task.encode(tiny.labeled()[:2]), precision=precision, show=False)
    assert seen == {torch.bfloat16 if precision == "bf16" else torch.float32}
