"""Span question answering: the loss, candidates over windows, no answer, scores."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

import tiny
from jeoni.base.errors import UserError
from jeoni.models.model import Model
from jeoni.tasks._span_decode import best_spans, choose
from jeoni.tasks._span_report import question_word, span_sections
from jeoni.tasks._span_types import Candidate, SpanPrediction, Window, WindowAnswers
from span_tasks import LONG, covered, make


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny.model()


# Loss


def test_loss_is_the_cross_entropy_of_each_sequence(model: Model) -> None:
    task = make(model)
    encoded = task.encode([*tiny.questions(), tiny.question("Where?", LONG, "Incheon", "long")])
    batch = encoded.features.batch(range(len(encoded.features)))
    logits = torch.randn(len(batch.ids), 2, generator=torch.Generator().manual_seed(1))
    loss = task.loss(logits, batch)
    expected = torch.zeros(())
    for i, part in enumerate(torch.split(logits, list(batch.lengths))):
        for column, name in enumerate(("start", "end")):
            expected += cross_entropy(part[None, :, column], batch.targets[name][i : i + 1]) / 2
    assert loss.count == len(batch.lengths)
    torch.testing.assert_close(loss.total, expected)


# Candidates


def brute_force(scores: np.ndarray, window: Window, limit: int) -> dict[tuple[int, int], float]:
    """Every span of at most ``limit`` tokens, by its characters."""
    found: dict[tuple[int, int], float] = {}
    for i in range(len(window.offsets)):
        for j in range(i, min(i + limit, len(window.offsets))):
            span = int(window.offsets[i][0]), int(window.offsets[j][1])
            score = float(np.float32(scores[window.first + i, 0] + scores[window.first + j, 1]))
            found[span] = max(found.get(span, -math.inf), score)
    return found


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    stride=st.integers(0, 3),
    max_answer=st.integers(1, 15),
    n_best=st.integers(1, 30),
)
def test_candidates_are_those_of_a_plain_loop(
    seed: int, sizes: list[int], stride: int, max_answer: int, n_best: int
) -> None:
    """Over overlapping windows, each span once, with the better of its scores."""
    limits = {"max_answer": max_answer, "n_best": n_best}
    rng = np.random.default_rng(seed)
    windows, start = [], 0
    for size in sizes:
        edges = np.arange(start, start + size)
        windows.append(Window(3, np.stack([edges * 2, edges * 2 + 2], 1).astype(np.int32)))
        start += max(1, size - stride)
    context = "ab" * (start + 20)
    scores = [rng.normal(size=(3 + n + 1, 2)).astype(np.float32) for n in sizes]
    kept = [
        WindowAnswers(best_spans(s, w, **limits), float(s[0].sum()))
        for s, w in zip(scores, windows, strict=True)
    ]
    prediction = choose(context, kept, n_best=n_best, no_answer=False, null_threshold=0.0)

    expected: dict[tuple[int, int], float] = {}
    for s, w in zip(scores, windows, strict=True):
        for span, score in brute_force(s, w, max_answer).items():
            expected[span] = max(expected.get(span, -math.inf), score)
    best = sorted(expected.values(), reverse=True)[:n_best]
    assert [c.score for c in prediction.n_best] == pytest.approx(best, abs=1e-6)
    assert len({(c.start, c.end) for c in prediction.n_best}) == len(prediction.n_best)
    for c in prediction.n_best:
        assert expected[c.start, c.end] == pytest.approx(c.score, abs=1e-6)
    assert prediction.text == context[prediction.start : prediction.end]
    assert prediction.null_score == pytest.approx(min(float(s[0].sum()) for s in scores), abs=1e-6)
    total = sum(math.exp(x) for x in best)
    assert prediction.probability == pytest.approx(math.exp(best[0]) / total, rel=1e-4)


def test_scores_that_are_not_finite_make_no_answer() -> None:
    window = Window(1, np.array([[0, 1], [1, 2]], np.int32))
    scores = np.full((4, 2), np.nan, np.float32)
    assert best_spans(scores, window, max_answer=5, n_best=5) == ()


def test_an_empty_passage_has_no_candidates(model: Model) -> None:
    task = make(model)
    encoded = task.encode([tiny.question("Why?", "", None)], labeled=False)
    (answers,) = task.decode(encoded, [0], torch.zeros(len(encoded.features.ids), 2))
    (prediction,) = task.combine(encoded, [answers])
    assert (prediction.text, prediction.n_best) == ("", ())


def test_decode_takes_each_sequence_its_own_logits(model: Model) -> None:
    """Sequences in another order than encoded: as ``for_prediction`` gives them."""
    task = make(model, max_length=128)
    records = tiny.questions()
    encoded = task.encode(records)
    order = list(range(len(records)))[::-1]
    batch = encoded.features.batch(order)
    logits = torch.zeros(len(batch.ids), 2)
    for start, i in zip(batch.starts, order, strict=True):
        for column, name in enumerate(("start", "end")):
            logits[start + int(encoded.features.targets[name][i]), column] = 10
    partials: list[Any] = [None] * len(records)
    for i, partial in zip(order, task.decode(encoded, order, logits), strict=True):
        partials[i] = partial
    texts = [p.text for p in task.combine(encoded, partials)]
    assert texts == [covered(task, encoded, i) for i in range(len(records))]


# No answer


def answered(*windows: tuple[float, Sequence[tuple[float, int, int]]]) -> list[WindowAnswers]:
    return [WindowAnswers(tuple(Candidate(*c) for c in cs), null) for null, cs in windows]


@pytest.mark.parametrize(
    ("no_answer", "threshold", "nulls", "best", "text"),
    [
        (False, 0.0, [9.0], 1.0, "ab"),  # there always is an answer
        (True, 0.0, [9.0], 1.0, ""),
        (True, 0.0, [1.0], 9.0, "ab"),
        (True, 0.0, [5.0], 5.0, "ab"),  # not more than the threshold
        (True, 8.0, [9.0], 1.0, "ab"),
        (True, 7.9, [9.0], 1.0, ""),
        (True, -5.0, [1.0], 5.0, ""),
        (True, 0.0, [9.0, 0.0], 1.0, "ab"),  # one window has it
        (True, 0.0, [9.0, 2.0], 1.0, ""),
    ],
)
def test_null_threshold(
    no_answer: bool, threshold: float, nulls: list[float], best: float, text: str
) -> None:
    windows = answered(*((null, [(best, 0, 2)]) for null in nulls))
    prediction = choose("abc", windows, n_best=5, no_answer=no_answer, null_threshold=threshold)
    assert prediction.text == text
    assert prediction.null_score == min(nulls)
    rivals = [best, *([min(nulls)] if no_answer else [])]
    mine = math.exp(best if text else min(nulls))
    assert prediction.probability == pytest.approx(mine / sum(map(math.exp, rivals)))
    assert prediction.n_best[0].score == best
    if not text:
        assert (prediction.start, prediction.end, prediction.score) == (0, 0, min(nulls))


# Scores


def predicted(text: str, context: str, score: float, null: float) -> SpanPrediction:
    start = context.index(text)
    best = Candidate(score, start, start + len(text))
    return SpanPrediction(text, start, best.end, score, 0.5, null, (best,))


def scored(
    model: Model, threshold: float, margins: Sequence[float], **settings: Any
) -> dict[str, float]:
    """Two questions with an answer (one answered right), two without, all answered 'Incheon'."""
    context = "To Incheon and Seoul."
    gold = ["Incheon", "Seoul", None, None]
    records = [tiny.question("Where?", context, a, f"q{i}") for i, a in enumerate(gold)]
    task = make(
        model, metric="squad_v2", null_threshold=threshold, **{"no_answer": True} | settings
    )
    encoded = task.encode(records)
    predictions = [predicted("Incheon", context, 0.0, margin) for margin in margins]
    return dict(task.score(encoded, predictions).values)


def test_squad_v2_at_the_threshold_and_at_the_best(model: Model) -> None:
    margins = [1.0, 2.0, 3.0, 4.0]
    at_zero = scored(model, 0.0, margins)
    assert at_zero["exact_match"] == 50.0  # everything is refused
    assert (at_zero["best_exact"], at_zero["best_exact_thresh"]) == (75.0, 1.0)
    between = scored(model, 1.5, margins)
    assert between["exact_match"] == 75.0
    assert between["HasAns_exact"] == 50.0
    assert between["NoAns_exact"] == 100.0
    assert scored(model, 9.0, margins)["exact_match"] == 25.0


def test_squad_v2_of_a_task_that_always_answers(model: Model) -> None:
    """What is scored is what is answered."""
    values = scored(model, 0.0, [1.0, 2.0, 3.0, 4.0], no_answer=False)
    assert values["exact_match"] == 25.0
    assert values["best_exact"] == 75.0


def test_squad_v1_has_no_unanswerable_questions(model: Model) -> None:
    records = [tiny.question("Where?", "To Seoul.", None)]
    task = make(model)
    with pytest.raises(UserError, match=r"question 1: no answer.*squad_v1.*\n.*metric=squad_v2"):
        task.score(task.encode(records), [predicted("Seoul", "To Seoul.", 1.0, 0.0)])


def test_scores_of_each_question_are_in_their_order(model: Model) -> None:
    records = tiny.questions()
    task = make(model, max_length=128)
    encoded = task.encode(records)
    texts = [r.fields["answers"][0]["text"] for r in records]
    texts[2] = records[2].fields["context"][:3]
    predictions = [
        predicted(t, r.fields["context"], 1.0, 0.0) for t, r in zip(texts, records, strict=True)
    ]
    scores = task.score(encoded, predictions)
    assert [s == 100 for s in scores.per_example] == [i != 2 for i in range(8)]
    assert scores.values["exact_match"] == 87.5
    assert np.mean(scores.per_example) == pytest.approx(scores.values["f1"])


def test_korquad_counts_characters(model: Model) -> None:
    record = tiny.questions()[5]
    context = record.fields["context"]
    values = {}
    for metric in ("squad_v1", "korquad_v1"):
        task = make(model, metric=metric)
        scores = task.score(
            task.encode([record]), [predicted("집현전 학자들이", context, 1.0, 0.0)]
        )
        values[metric] = scores.values["f1"]
    assert values["squad_v1"] == pytest.approx(50.0)  # one of two words
    assert values["korquad_v1"] == pytest.approx(100 * 2 * 6 / (6 + 7))


def test_ids_that_occur_twice_are_refused(model: Model) -> None:
    record = tiny.question("Where?", "To Seoul.", "Seoul", "same")
    task = make(model)
    encoded = task.encode([record, record])
    with pytest.raises(UserError, match="question id 'same' occurs more than once"):
        task.score(encoded, [predicted("Seoul", "To Seoul.", 1.0, 0.0)] * 2)


def test_report_shows_right_and_wrong_answers(model: Model) -> None:
    records = tiny.questions()
    task = make(model, max_length=128)
    encoded = task.encode(records)
    texts = [r.fields["answers"][0]["text"] for r in records[:4]]
    texts += [r.fields["context"][:3] for r in records[4:]]
    predictions = [
        predicted(t, r.fields["context"], 1.0, 0.0) for t, r in zip(texts, records, strict=True)
    ]
    scores = task.score(encoded, predictions)
    by_title = {section.title: section for section in task.sections(encoded, predictions, scores)}
    right, wrong = by_title["Right answers"], by_title["Wrong answers"]
    assert [p.question for p in right.items] == [r.fields["question"] for r in records[:4]]
    assert {p.question for p in wrong.items} == {r.fields["question"] for r in records[4:]}
    for passage in right.items:
        assert passage.predicted in passage.gold


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("What's the name of the river?", "what"),
        ("In which city did the man who wrote it live?", "which"),
        ("Whose idea was it?", "who"),
        ("How many bridges are there?", "how many"),
        ("By how much did it grow?", "how many"),
        ("How, and why, did it grow?", "how"),
        ("Name the whole whatnot.", "other"),
        ("훈민정음을 누가 만들었나?", "누구"),
        ("그를 도운 사람은 누구인가?", "누구"),
        ("무슨 요일에 열리는가?", "무엇"),
        ("몇 년에 어디에서 태어났나?", "몇"),
        ("왜군이 처음 상륙한 곳은 어디인가?", "어디"),
        ("그가 떠난 것은 왜인가?", "왜"),
        ("그는 왜 떠났나?", "왜"),
        ("가격은 얼마였나?", "얼마"),
        ("이 강의 이름은?", "other"),
    ],
)
def test_question_words(question: str, word: str) -> None:
    assert question_word(question) == word


def test_scores_by_answer_length_have_those_without_an_answer() -> None:
    records = [*tiny.questions()[:2], tiny.question("Why?", "It rained.", None)]
    said = [SpanPrediction("", 0, 0, 0.0, 0.5, 0.0, ())] * 3
    _, lengths, *_ = span_sections(records, said, [100.0, 0.0, 100.0])
    assert [(row["kind"], row["score"]) for row in lengths.rows] == [
        ("1-10 (n=2)", 50.0),
        ("no answer (n=1)", 100.0),
    ]
