"""Span question answering: windows and targets, settings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import Record
from jeoni.models.model import Model
from jeoni.tasks._span_types import Window
from jeoni.tasks.span_qa import SpanQAConfig
from span_tasks import LONG, covered, make


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny.model()


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


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ((2, 4), (6, 6, 0)),  # a token ends where it begins
        ((0, 4), (5, 6, 0)),
        ((3, 7), (6, 7, 0)),  # from within a token
        ((2, 6), (6, 7, 1)),  # to within a token
        ((4, 5), (0, 0, 0)),  # of no token
        ((5, 8), (0, 0, 0)),  # goes on behind the window
        (None, (0, 0, 0)),
    ],
)
def test_tokens_of_an_answer(answer: tuple[int, int] | None, target: tuple[int, int, int]) -> None:
    offsets = np.array([[0, 2], [2, 4], [5, 7]], np.int32)
    assert Window(5, offsets).place(answer) == target
    assert Window(5, offsets + 1).place((0, 4)) == (0, 0, 0)  # begins before the window


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


@pytest.mark.parametrize("answer", [" Because", "rain. ", " the "])
def test_blanks_around_an_answer_are_none_of_it(model: Model, answer: str) -> None:
    """Also where the passage begins or ends with them."""
    task = make(model)
    encoded = task.encode([tiny.question("Why?", " Because of the rain. ", answer)])
    assert covered(task, encoded, 0) == answer.strip()


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
    assert saved["head"] == "independent"  # auto, as it was decided
    assert parse(SpanQAConfig, saved | {"head": "auto"}) == task.config


def test_the_data_set_decides_what_the_user_leaves_open() -> None:
    from jeoni.tasks.span_qa import from_data

    for metric in ("squad_v1", "squad_v2", "korquad_v1"):
        dataset = open_dataset(DataConfig(name="squad-sample", metric=metric))
        given = from_data(dataset)
        assert given == {"metric": metric, "no_answer": metric == "squad_v2", "trim": 0}


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
