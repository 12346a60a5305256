"""Span question answering: windows and targets, the loss, candidates over windows, scores."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

import tiny
from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import Record
from jeoni.models.model import Model
from jeoni.tasks._span_types import Candidate, SpanPrediction, WindowAnswers
from jeoni.tasks.span_qa import EncodedSpans, SpanQA, SpanQAConfig, Window

LONG = (
    " ".join(f"word {i} and some more." for i in range(40))
    + " The answer is Incheon. "
    + "Bye. " * 30
)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny.model()


def make(model: Model, **settings: Any) -> SpanQA:
    return SpanQA(
        model=model, config=parse(SpanQAConfig, {"max_length": 64, "stride": 16} | settings)
    )


def covered(task: SpanQA, encoded: EncodedSpans, sequence: int) -> str:
    """The text between the targets of a sequence."""
    window = encoded.windows[sequence]
    start, end = (int(encoded.features.targets[k][sequence]) for k in ("start", "end"))
    span = window.offsets[start - window.first][0], window.offsets[end - window.first][1]
    context: str = encoded.records[int(encoded.features.examples[sequence])].fields["context"]
    return context[span[0] : span[1]]


# Encoding


@pytest.mark.parametrize("record", tiny.questions(), ids=lambda r: r.fields["id"])
def test_targets_are_the_answer(model: Model, record: Record) -> None:
    """Also behind emoji and decomposed accents, and in Korean before a particle."""
    task = make(model, max_length=128)
    encoded = task.encode([record])
    assert len(encoded.features) == 1
    found, answer = covered(task, encoded, 0), record.fields["answers"][0]["text"]
    assert answer in found
    assert len(found) <= len(answer) + 3  # a token may be more than the answer


def test_the_sequence_is_cls_question_sep_passage_sep(model: Model) -> None:
    record = tiny.questions()[0]
    encoded = make(model, max_length=128).encode([record])
    whole = model.tokenizer.encode(record.fields["question"], record.fields["context"])
    assert encoded.features.ids.tolist() == whole.ids
    assert encoded.features.segments.tolist() == whole.segments
    window = encoded.windows[0]
    assert window.first == whole.sequence.index(1)
    part = [o for o, s in zip(whole.offsets, whole.sequence, strict=True) if s == 1]
    assert window.offsets.tolist() == [list(o) for o in part]


@pytest.mark.parametrize(("max_length", "stride"), [(48, 8), (64, 16), (100, 50), (128, 0)])
def test_windows_cover_the_passage_and_some_have_the_answer(
    model: Model, max_length: int, stride: int
) -> None:
    record = tiny.question("Where?", LONG, "Incheon")
    task = make(model, max_length=max_length, stride=stride)
    encoded = task.encode([record])
    starts, ends = encoded.features.targets["start"], encoded.features.targets["end"]
    assert len(encoded.features) > 2
    assert set(encoded.features.examples.tolist()) == {0}
    assert encoded.features.lengths.max() <= max_length
    assert encoded.windows[0].offsets[0, 0] == 0
    assert encoded.windows[-1].offsets[-1, 1] == len(LONG.rstrip())
    for before, after in zip(encoded.windows, encoded.windows[1:], strict=False):
        both = {tuple(o) for o in before.offsets.tolist()} & {
            tuple(o) for o in after.offsets.tolist()
        }
        assert len(both) == stride
    holds = [
        w.offsets[0, 0] <= LONG.index("Incheon") < w.offsets[-1, 1] - 7 for w in encoded.windows
    ]
    with_answer = [i for i in range(len(holds)) if ends[i] > 0]
    assert with_answer
    assert all(covered(task, encoded, i) == "Incheon" for i in with_answer)
    assert all(starts[i] == ends[i] == 0 for i in range(len(holds)) if i not in with_answer)
    assert [i for i, held in enumerate(holds) if held] == with_answer
    assert encoded.notes["windows without the answer"] == len(holds) - len(with_answer)


def test_like_transformers(model: Model, tmp_path: Path) -> None:
    """Ids, segments, windows and targets of its question answering example."""
    from transformers import AutoTokenizer

    model.save(tmp_path)
    records = [*tiny.questions(), tiny.question("Where?", LONG, "Incheon", "long")]
    encoded = make(model).encode(records)
    theirs = AutoTokenizer.from_pretrained(tmp_path)(
        [r.fields["question"] for r in records], [r.fields["context"] for r in records],
        truncation="only_second", max_length=64, stride=16,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    assert len(theirs["input_ids"]) == len(encoded.features)
    bounds = encoded.features.bounds
    for i, ids in enumerate(theirs["input_ids"]):
        assert encoded.features.ids[bounds[i] : bounds[i + 1]].tolist() == ids
        assert (
            encoded.features.segments[bounds[i] : bounds[i + 1]].tolist()
            == theirs["token_type_ids"][i]
        )
        example = theirs["overflow_to_sample_mapping"][i]
        assert encoded.features.examples[i] == example
        targets = _their_targets(theirs, i, records[example].fields["answers"][0])
        assert targets == (
            encoded.features.targets["start"][i],
            encoded.features.targets["end"][i],
        )


def _their_targets(theirs: Any, i: int, answer: dict[str, Any]) -> tuple[int, int]:
    """As ``run_qa.py`` finds them, in the plain way."""
    begin, end = answer["start"], answer["start"] + len(answer["text"])
    inside = [t for t, s in enumerate(theirs.sequence_ids(i)) if s == 1]
    offsets = theirs["offset_mapping"][i]
    if offsets[inside[0]][0] > begin or offsets[inside[-1]][1] < end:
        return 0, 0
    first = max(t for t in inside if offsets[t][0] <= begin)
    last = min(t for t in inside if offsets[t][1] >= end)
    return first, last


def test_every_answer_of_the_sample_is_covered() -> None:
    """The span between the targets has the answer, and its first and last token are of the answer."""
    dataset = open_dataset(DataConfig(name="squad-sample"))
    records = dataset.split("dev")[:300] + dataset.split("train")[:300]
    task = make(_with_positions(512), max_length=512, stride=200)
    encoded = task.encode(records)
    answered: set[int] = set()
    for i, end in enumerate(encoded.features.targets["end"].tolist()):
        if not end:
            continue
        example = int(encoded.features.examples[i])
        answer = records[example].fields["answers"][0]
        window, start = encoded.windows[i], int(encoded.features.targets["start"][i])
        assert answer["text"].strip() in covered(task, encoded, i)
        assert window.offsets[start - window.first][1] > answer["start"]
        assert window.offsets[end - window.first][0] < answer["start"] + len(answer["text"])
        answered.add(example)
    assert answered == set(range(len(records)))


def _with_positions(positions: int) -> Model:
    return tiny.model(positions=positions)


@pytest.mark.parametrize("positions", [16])
def test_longer_than_the_model(positions: int) -> None:
    with pytest.raises(UserError, match=r"task\.max_length=64, but the model has 16 positions"):
        make(_with_positions(positions))


def test_long_questions_are_cut_and_counted(model: Model) -> None:
    record = tiny.question("why " * 50 + "?", "Because of the rain.", "the rain")
    task = make(model, max_question=5)
    encoded = task.encode([record, tiny.questions()[0]])
    assert encoded.windows[0].first == 1 + 5 + 1
    assert encoded.notes["questions cut to max_question"] == 2
    assert covered(task, encoded, 0) == "the rain"


def test_no_room_for_windows_names_the_question(model: Model) -> None:
    records = [tiny.questions()[0], tiny.question("why " * 50, LONG, "Incheon", line=7)]
    with pytest.raises(UserError, match=r"questions\.json, question 7: .*too few for windows"):
        make(model, max_length=64, stride=32).encode(records)


def test_a_question_without_answer_points_at_the_first_token(model: Model) -> None:
    task = make(model, no_answer=True, metric="squad_v2")
    encoded = task.encode([tiny.question("Why?", "It rained.", None)])
    assert [encoded.features.targets[k].tolist() for k in ("start", "end")] == [[0], [0]]


def test_unlabeled_questions_have_no_targets(model: Model) -> None:
    record = Record({"question": "Why?", "context": "It rained."}, "input", 3, "item")
    encoded = make(model).encode([record], labeled=False)
    assert not encoded.features.targets
    with pytest.raises(UserError, match=r"input, item 3: no column 'answers'"):
        make(model).encode([record])


@pytest.mark.parametrize("field", ["question", "context"])
def test_a_missing_column_is_named(model: Model, field: str) -> None:
    record = tiny.question("Why?", "It rained.", "rained", line=4)
    del record.fields[field]
    with pytest.raises(UserError, match=rf"question 4: no column '{field}'"):
        make(model).encode([record])


# The tab-separated format with ready-made tokens


def mrc(tmp_path: Path, *passages: str) -> list[Record]:
    """A line for each passage; its answer are the tokens of 강 at its end."""
    lines = []
    for passage in passages:
        tokens = ["[CLS]", *"무엇인가", "[SEP]", *passage.replace(" ", "_"), "[SEP]"]
        place = len(tokens) - 2
        lines.append(f"{' '.join(tokens)}\t{place}\t{place}\n")
    (tmp_path / "mine.tsv").write_text("".join(lines))
    config = DataConfig(
        train=str(tmp_path / "mine.tsv"), format="mrc_tsv", dev=str(tmp_path / "mine.tsv")
    )
    return open_dataset(config, task="span_qa").split("train")


def test_ready_made_tokens(model: Model, tmp_path: Path) -> None:
    records = mrc(tmp_path, "서울에 흐르는 강", "긴 강")
    task = make(model)
    encoded = task.encode(records)
    assert [covered(task, encoded, i) for i in range(2)] == ["강", "강"]
    assert encoded.records[0].fields["context"] == "서울에 흐르는 강"


def test_ready_made_tokens_that_are_too_many(model: Model, tmp_path: Path) -> None:
    records = mrc(tmp_path, "짧은 강", "아주 " * 60 + "강", "또 하나의 강")
    with pytest.raises(
        UserError,
        match=r"mine\.tsv, line 2: \d+ tokens, longer than task\.max_length=64\n.*overflow=window",
    ):
        make(model).encode(records)
    task = make(model, overflow="window")
    encoded = task.encode(records)
    assert set(encoded.features.examples.tolist()) == {0, 1, 2}
    last = max(i for i, e in enumerate(encoded.features.examples.tolist()) if e == 1)
    assert covered(task, encoded, last) == "강"


def test_overflow_is_an_error_for_any_passage_when_asked(model: Model) -> None:
    with pytest.raises(UserError, match=r"question 5: \d+ tokens, longer"):
        make(model, overflow="error").encode([tiny.question("Where?", LONG, "Incheon", line=5)])


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


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(
    seed=st.integers(0, 1000),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    stride=st.integers(0, 3),
    max_answer=st.integers(1, 15),
    n_best=st.integers(1, 30),
)
def test_candidates_are_those_of_a_plain_loop(
    model: Model, seed: int, sizes: list[int], stride: int, max_answer: int, n_best: int
) -> None:
    """Over overlapping windows, each span once, with the better of its scores."""
    task = make(model, max_answer=max_answer, n_best=n_best)
    rng = np.random.default_rng(seed)
    windows, start = [], 0
    for size in sizes:
        edges = np.arange(start, start + size)
        windows.append(Window(3, np.stack([edges * 2, edges * 2 + 2], 1).astype(np.int32)))
        start += max(1, size - stride)
    context = "ab" * (start + 20)
    scores = [rng.normal(size=(3 + n + 1, 2)).astype(np.float32) for n in sizes]
    prediction = task._choose(
        context, [task._best(s, w) for s, w in zip(scores, windows, strict=True)]
    )

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


def test_scores_that_are_not_finite_make_no_answer(model: Model) -> None:
    task = make(model)
    window = Window(1, np.array([[0, 1], [1, 2]], np.int32))
    scores = np.full((4, 2), np.nan, np.float32)
    assert task._best(scores, window).candidates == ()


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
    model: Model, no_answer: bool, threshold: float, nulls: list[float], best: float, text: str
) -> None:
    task = make(model, no_answer=no_answer, null_threshold=threshold)
    windows = answered(*((null, [(best, 0, 2)]) for null in nulls))
    prediction = task._choose("abc", windows)
    assert prediction.text == text
    assert prediction.null_score == min(nulls)
    assert 0 < prediction.probability <= 1
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


# Settings


@pytest.mark.parametrize(
    "values",
    [
        {"max_length": 0}, {"stride": -1}, {"max_answer": 0}, {"n_best": 0}, {"max_question": 0},
        {"overflow": "cut"}, {"metric": "accuracy"}, {"maxlength": 64},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        parse(SpanQAConfig, values)


def test_settings_come_back(model: Model) -> None:
    task = make(model, stride=7, no_answer=True)
    saved = task.settings()
    assert saved.pop("task") == "span_qa"
    assert parse(SpanQAConfig, saved) == task.config


def test_the_data_set_decides_what_the_user_leaves_open() -> None:
    from jeoni.tasks.span_qa import from_data

    for metric in ("squad_v1", "squad_v2", "korquad_v1"):
        dataset = open_dataset(DataConfig(name="squad-sample", metric=metric))
        assert from_data(dataset) == {"metric": metric, "no_answer": metric == "squad_v2"}


def test_a_loaded_head_is_kept_and_a_missing_one_drawn(tmp_path: Path) -> None:
    first = make(tiny.model(), max_length=64).model
    assert {n for n in first.fresh if n.startswith("heads")} == {
        "heads.span.out.weight", "heads.span.out.bias",
    }  # fmt: skip
    first.save(tmp_path)
    from jeoni.models import hub

    again = make(hub.load(tmp_path)).model
    assert not again.fresh
    assert torch.equal(again.heads["span"].out.weight, first.heads["span"].out.weight)
