"""Span question answering with ends that depend on starts, and with a score of there being no answer."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import tiny
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.evaluation.runner import evaluate, predict
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.recipes.evaluate import evaluate as evaluation
from jeoni.recipes.finetune import finetune
from jeoni.serving.predictor import Predictor, answer, task_of
from jeoni.tasks._span_decode import choose
from jeoni.tasks._span_types import Candidate, EncodedSpans, WindowAnswers
from jeoni.tasks.span_qa import SpanQA
from span_tasks import LONG, make

KINDS = list(itertools.product(("independent", "joint"), (False, True)))
NONE = {"no_answer": True, "metric": "squad_v2"}


def loud(model: Model) -> Model:
    """All weights away from their defaults, so that they say something."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def small(family: str) -> Model:
    """A tiny model of any family, with the tiny vocabulary."""
    if family == "bert":
        return tiny.model()
    words = tiny.tokenizer()
    spec = next(iter(hub.own_family(family).presets.values()))
    sizes = {"hidden": 32, "width": 32, "layers": 2, "heads": 2, "feed_forward": 64}
    return hub.create(family, replace(spec, vocab=words.vocab_size, **sizes), tokenizer=words)


def ready(family: str = "bert", **settings: Any) -> tuple[SpanQA, EncodedSpans, Batch]:
    """A task, some questions (one without an answer, one in several windows), all of their windows."""
    task = make(small(family), **{"head": "joint", **NONE, **settings})
    loud(task.model)
    records = [*tiny.questions()[:4], tiny.question("Where?", LONG, "Incheon", "long")]
    encoded = task.encode([*records, tiny.question("Why?", "It rained.", None, "none")])
    task.model.eval()
    return task, encoded, encoded.features.batch(range(len(encoded.features)))


def by_hand(task: SpanQA, states: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of one sequence ``[T, H]``: scores of starts, of ends given a start, of no answer given its state.

    As in the code of XLNet's authors: the start's state is put beside every token's.
    """
    head: Any = task.model.heads["beam_span"]
    pairs = torch.cat([states, states[start].expand_as(states)], -1)
    ends = head.end(head.end_norm(torch.tanh(head.end_dense(pairs))))[:, 0]
    both = torch.cat([states[start], states[0]])
    no_answer = None if head.answer is None else head.answer(torch.tanh(head.answer_dense(both)))
    return head.start(states)[:, 0], ends, no_answer


# Loss


@pytest.mark.parametrize("answerability", [False, True])
def test_joint_loss_by_hand(answerability: bool) -> None:
    task, _, batch = ready(answerability=answerability)
    states = task.model(batch)
    expected = torch.zeros(())
    for i, part in enumerate(torch.split(states, list(batch.lengths))):
        start, end = batch.targets["start"][i], batch.targets["end"][i]
        starts, ends, no_answer = by_hand(task, part, start)
        expected += cross_entropy(starts[None], start[None]) / 2
        expected += cross_entropy(ends[None], end[None]) / 2
        if answerability:
            absent = torch.tensor([float(end == 0)])
            expected += 0.5 * binary_cross_entropy_with_logits(no_answer, absent)
    loss = task(batch)
    assert loss.count == len(batch.lengths)
    torch.testing.assert_close(loss.total, expected)
    assert {0.0, 1.0} == {float(end == 0) for end in batch.targets["end"]}


def test_answerability_beside_independent_spans_by_hand() -> None:
    plain, _, batch = ready(head="independent")
    task, _, _ = ready(head="independent", answerability=True)
    task.model.heads["span"].load_state_dict(plain.model.heads["span"].state_dict())
    plain.model.backbone.load_state_dict(task.model.backbone.state_dict())
    first = task.model(batch)[torch.tensor(batch.starts)]
    absent = (batch.targets["end"] == 0).float()
    odds = task.model.heads["answerability"](first)[:, 0]
    beside = binary_cross_entropy_with_logits(odds, absent, reduction="sum")
    torch.testing.assert_close(task(batch).total, plain(batch).total + beside / 2)


@pytest.mark.parametrize(("head", "answerability"), KINDS)
def test_all_of_the_head_learns(head: str, answerability: bool) -> None:
    task, _, batch = ready(head=head, answerability=answerability)
    task(batch).total.backward()
    heads = {n: p for n, p in task.model.named_parameters() if n.startswith("heads.")}
    assert heads
    for name, parameter in heads.items():  # a bias of all scores alike changes no softmax
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or name.endswith("bias"), name


# Search


def brute_force(task: SpanQA, encoded: EncodedSpans, batch: Batch, limit: int) -> list[Any]:
    """Of each window log-probabilities of all spans of at most ``limit`` tokens by their characters."""
    found = []
    for states, window in zip(
        torch.split(task.model(batch), list(batch.lengths)), encoded.windows, strict=True
    ):
        spans = {}
        logs = torch.log_softmax(by_hand(task, states, torch.tensor(0))[0], -1)
        for i in range(len(window.offsets)):
            start = torch.tensor(window.first + i)
            ends = torch.log_softmax(by_hand(task, states, start)[1], -1)
            for j in range(i, min(i + limit, len(window.offsets))):
                span = int(window.offsets[i][0]), int(window.offsets[j][1])
                score = float(logs[start] + ends[window.first + j])
                spans[span] = (score, float(logs[start]))
        found.append(spans)
    return found


@pytest.mark.parametrize(("beam", "max_answer", "n_best"), [(99, 5, 400), (99, 90, 7), (2, 5, 8)])
@torch.inference_mode()
def test_search_against_brute_force(beam: int, max_answer: int, n_best: int) -> None:
    """With a beam as wide as the text all spans; with a narrow one those of the likeliest starts."""
    task, encoded, batch = ready(beam=beam, max_answer=max_answer, n_best=n_best)
    windows = task.decode(encoded, range(len(batch.lengths)), task.logits(batch))
    for said, spans in zip(windows, brute_force(task, encoded, batch, max_answer), strict=True):
        starts = sorted({start for _, start in spans.values()}, reverse=True)[:beam]
        scores = {span: score for span, (score, start) in spans.items() if start in starts}
        best = sorted(scores.values(), reverse=True)[:n_best]
        assert [c.score for c in said.candidates] == pytest.approx(best, abs=1e-4)
        for c in said.candidates:
            assert scores[c.start, c.end] == pytest.approx(c.score, abs=1e-4)


@torch.inference_mode()
def test_no_answer_of_a_joint_head_is_the_span_of_the_first_token() -> None:
    task, encoded, batch = ready()
    windows = task.decode(encoded, range(len(batch.lengths)), task.logits(batch))
    for said, states in zip(
        windows, torch.split(task.model(batch), list(batch.lengths)), strict=True
    ):
        starts, ends, _ = by_hand(task, states, torch.tensor(0))
        null = torch.log_softmax(starts, -1)[0] + torch.log_softmax(ends, -1)[0]
        assert said.null_score == pytest.approx(float(null), abs=1e-4)


@torch.inference_mode()
def test_answerability_of_a_joint_head_is_from_the_expected_start() -> None:
    task, encoded, batch = ready(answerability=True)
    windows = task.decode(encoded, range(len(batch.lengths)), task.logits(batch))
    head: Any = task.model.heads["beam_span"]
    for said, states in zip(
        windows, torch.split(task.model(batch), list(batch.lengths)), strict=True
    ):
        expected = torch.softmax(head.start(states)[:, 0], -1) @ states
        hidden = torch.tanh(head.answer_dense(torch.cat([expected, states[0]])))
        assert said.null_score == pytest.approx(float(head.answer(hidden)), abs=1e-4)


@pytest.mark.parametrize(("head", "answerability"), KINDS)
def test_the_batch_does_not_matter(head: str, answerability: bool) -> None:
    task, encoded, _ = ready(head=head, answerability=answerability)
    once = predict(task, encoded, precision="fp32", show=False)
    again = predict(task, encoded, batch_tokens=1, precision="fp32", show=False)
    for a, b in zip(once, again, strict=True):
        assert (a.start, a.end) == (b.start, b.end)
        assert a.null_score == pytest.approx(b.null_score, abs=1e-4)


def test_an_empty_passage_has_no_candidates() -> None:
    task, _, _ = ready(answerability=True)
    encoded = task.encode([tiny.question("Why?", "", None)], labeled=False)
    (prediction,) = predict(task, encoded, precision="fp32", show=False)
    assert (prediction.text, prediction.n_best) == ("", ())


# No answer


@pytest.mark.parametrize(
    ("odds", "threshold", "text"),
    [
        ([0.5], 0.0, ""),
        ([-0.5], 0.0, "ab"),  # however low the span scores
        ([0.5], 1.0, "ab"),
        ([2.0, 0.5], 0.4, ""),
        ([2.0, -0.5], 0.0, "ab"),  # one window has it
    ],
)
def test_answerability_decides(odds: list[float], threshold: float, text: str) -> None:
    windows = [WindowAnswers((Candidate(-50.0, 0, 2),), score) for score in odds]
    settings: Any = {"n_best": 5, "no_answer": True, "null_threshold": threshold, "relative": True}
    prediction = choose("abc", windows, **settings)
    assert prediction.text == text
    assert prediction.null_score - prediction.n_best[0].score == pytest.approx(min(odds))
    share = 1 / (1 + math.exp(min(odds)))
    assert prediction.probability == pytest.approx(share if text else 1 - share)


def test_its_margin_is_what_thresholds_are_searched_among() -> None:
    task, encoded, _ = ready(answerability=True)
    found = evaluate(task, encoded, precision="fp32", show=False)
    margins = [p.null_score - p.n_best[0].score for p in found.predictions]
    best = found.scores.values["best_exact_thresh"]
    assert min(abs(best - margin) for margin in (0.0, *margins)) < 1e-3
    assert len({round(margin, 4) for margin in margins}) == len(margins)


# Models on disk


@pytest.mark.parametrize("family", ["bert", "gpt2", "xlnet"])
@pytest.mark.parametrize(("head", "answerability"), KINDS)
def test_saved_and_loaded(family: str, head: str, answerability: bool, tmp_path: Path) -> None:
    task, encoded, _ = ready(family, head=head, answerability=answerability)
    task.model.settings = task.settings()
    task.model.save(tmp_path)
    again = task_of(hub.load(tmp_path), "span_qa", {})
    assert again.settings() == task.settings()
    assert not again.model.fresh
    before, after = (predict(t, encoded, precision="fp32", show=False) for t in (task, again))
    assert before == after


def test_what_was_not_trained_is_not_asked(tmp_path: Path) -> None:
    task, _, _ = ready(head="independent")
    task.model.settings = task.settings()
    task.model.save(tmp_path)
    for settings in ({"answerability": True}, {"head": "joint"}):
        with pytest.raises(UserError, match="no trained head for span_qa"):
            Predictor(tmp_path, "span_qa", settings=settings)


def test_a_joint_head_learns_answerability_later(tmp_path: Path) -> None:
    """The rest of the head stays."""
    task, _, _ = ready()
    task.model.save(tmp_path)
    later = make(hub.load(tmp_path), head="joint", answerability=True)
    assert {name.split(".")[2] for name in later.model.fresh} == {"answer_dense", "answer"}
    start = task.model.heads["beam_span"].start.weight
    assert torch.equal(later.model.heads["beam_span"].start.weight, start)


def test_a_published_joint_head_is_used_unasked() -> None:
    task, _, _ = ready("xlnet")
    assert make(task.model, head="auto").settings()["head"] == "joint"
    assert make(small("xlnet"), head="auto").settings()["head"] == "independent"
    assert list(make(task.model, head="independent").model.heads) == ["span"]


def test_through_a_run(tiny_folder: Path, tmp_path: Path) -> None:
    records = [*tiny.questions(), tiny.question("Why?", "It rained.", None, "none")]
    file = str(tiny.write_squad(tmp_path / "q.json", records))
    task = {"name": "span_qa", "max_length": 100, "head": "joint", "answerability": True}
    data = {"train": file, "dev": file, "metric": "squad_v2"}
    done = finetune(tiny.recipe(tiny_folder, data, tmp_path / "run", task=task))
    assert done.metrics.keys() >= {"NoAns_exact", "HasAns_f1", "best_f1"}
    again = evaluation(done.folder, data)
    assert again["metrics"]["f1"] == pytest.approx(done.metrics["f1"])
    assert again["metrics"]["loss"] == pytest.approx(done.metrics["loss"], rel=1e-2)
    found = answer(done.folder, "Which river?", records[0].fields["context"], no_answer=False)
    assert found.text
