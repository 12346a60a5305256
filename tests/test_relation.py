"""Relation extraction: KLUE's layout, markers, long texts, scores, errors, a run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import peers
import tiny
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import Record
from jeoni.metrics.labels import relation_scores
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.recipes.predict import predict
from jeoni.tasks.classification import LabelPrediction
from jeoni.tasks.relation import ALIKE, CUT, Relation, RelationConfig
from report_page import render

LABELS = ("no_relation", "born_in", "made")
Row = tuple[str, tuple[str, str | None], tuple[str, str | None], str]
ROWS: list[Row] = [
    ("The Han River flows through Seoul.", ("Han River", "LOC"), ("Seoul", "LOC"), "born_in"),
    ("세종대왕은 1443년에 훈민정음을 만들었다.", ("세종대왕", "PER"), ("훈민정음", "POH"), "made"),
    ("In Incheon the first bridge", ("bridge", None), ("Incheon", None), "no_relation"),
    ("a wonderful film", ("film", None), ("wonderful film", None), "no_relation"),
]


@pytest.fixture(scope="module")
def words() -> Model:
    """A model whose vocabulary has the markers."""
    from dataclasses import replace

    from jeoni.text.training import train_wordpiece

    texts = [*tiny.texts(), "@ * # ^ PER LOC POH"] * 3
    tokenizer = train_wordpiece(texts, vocab_size=700, lowercase=True)
    spec = replace(tiny.model().spec, vocab=tokenizer.vocab_size)
    return hub.create("bert", spec, tokenizer=tokenizer, seed=0)


def entity(text: str, word: str, kind: str | None) -> dict[str, Any]:
    start = text.index(word)
    return {"start": start, "end": start + len(word), "type": kind}


def records(rows: Sequence[Row] = ROWS) -> list[Record]:
    return [
        Record(
            {"text": t, "subject": entity(t, *s), "object": entity(t, *o), "label": label},
            "x.jsonl",
            n,
        )
        for n, (t, s, o, label) in enumerate(rows, 1)
    ]


def make(model: Model | None = None, **settings: Any) -> Relation:
    config = {"labels": LABELS, **settings}
    return Relation(model=model or tiny.model(), config=RelationConfig(**config))


def klue(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """In KLUE's own layout, made for the test."""

    def part(text: str, word: str, kind: str | None) -> dict[str, Any]:
        start = text.index(word)
        last = start + len(word) - 1
        return {"word": word, "start_idx": start, "end_idx": last, "type": kind}

    return [
        {
            "guid": f"klue-re-v1_train_{n:05}",
            "sentence": text,
            "subject_entity": part(text, *subject),
            "object_entity": part(text, *object),
            "label": {"born_in": "per:place_of_birth", "made": "per:product"}.get(label, label),
            "source": "wikipedia",
        }
        for n, (text, subject, object, label) in enumerate(rows)
    ]


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


# From a file to fields


def test_klue_as_it_is_published(tmp_path: Path) -> None:
    write(tmp_path / "klue-re-v1.1_dev.json", klue(ROWS[:2]))
    dataset = open_dataset(DataConfig(name="klue-re", root=str(tmp_path)))
    assert (dataset.task, dataset.metric, len(dataset.labels or ())) == ("relation", "micro_f1", 30)
    rows = dataset.split("dev")
    assert [r.fields | {"label": None} for r in rows] == [
        r.fields | {"label": None} for r in records(ROWS[:2])
    ]
    assert rows[0].fields["label"] == "per:place_of_birth"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject": "Han River"}, "column 'subject' is no entity: 'Han River'"),
        ({"subject": {"start": 4}}, "column 'subject' has no start and end"),
        ({"subject": {"start": "4", "end": 13}}, "column 'subject' has no start and end"),
        ({"object": {"start": 28, "end": 99}}, "nothing from character 28 to 99 of 34"),
        ({"object": {"start": 5, "end": 5}}, "nothing from character 5 to 5"),
        ({"object": {"start": 3, "end": 4}}, "nothing from character 3 to 4"),
        (
            {"object": {"start": 27, "end": 32, "word": "Seoul"}},
            "the entity is 'Seoul', but at character 27 stands ' Seou'",
        ),
        ({"text": None}, "column 'text' is missing"),
    ],
)
def test_entities_that_are_not_there(tmp_path: Path, change: Any, message: str) -> None:
    good = records()[0].fields
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(good | change)}\n")
    dataset = open_dataset(DataConfig(train=str(path)))
    assert dataset.task == "relation"
    with pytest.raises(UserError, match=rf"x\.jsonl, line 2.*{message}"):
        dataset.split("train")


# Markers


@pytest.mark.parametrize(
    ("row", "typed", "expected"),
    [
        (0, True, "The @ * LOC * Han River @ flows through # ^ LOC ^ Seoul # ."),
        (0, False, "The @ Han River @ flows through # Seoul # ."),
        (1, True, "@ * PER * 세종대왕 @ 은 1443년에 # ^ POH ^ 훈민정음 # 을 만들었다."),
        (2, True, "In # Incheon # the first @ bridge @"),
        (3, True, "a # wonderful @ film @ #"),
    ],
)
def test_markers(row: int, typed: bool, expected: str) -> None:
    task = make(typed=typed)
    text, places = task._marked(records()[row])
    assert text == expected
    assert [text[place] for place in places] == ["@", "#"]
    assert places == [expected.index("@"), expected.index("#")]


def test_decoders_read_the_closing_ones() -> None:
    task = make(peers.reader("gpt2"))
    for record in records():
        text, places = task._marked(record)
        assert places == [text.rindex("@"), text.rindex("#")]


def test_marks_are_the_markers_tokens(words: Model) -> None:
    task = make(words)
    encoded = task.encode(records())
    for index in range(len(ROWS)):
        batch = encoded.features.batch([index])
        marks = batch.targets["marks"][0]
        assert [words.tokenizer.tokens[i] for i in batch.ids[marks].tolist()] == ["@", "#"]
    assert encoded.notes == {CUT: 0, ALIKE: 0}
    assert encoded.features.targets["label"].tolist() == [1, 2, 0, 0]
    assert make().encode(records()).notes[ALIKE] == 4  # a vocabulary without them: all unknown


def test_long_texts_are_read_around_the_entities(words: Model) -> None:
    filler = "money back " * 40
    text = f"{filler}Seoul {filler}Incheon {filler}"
    row: Row = (text, ("Seoul", "LOC"), ("Incheon", "LOC"), "made")
    task = make(words, max_length=24)
    encoded = task.encode(records([row]))
    batch = encoded.features.batch([0])
    assert len(batch.ids) == 24
    assert encoded.notes[CUT] == 1
    tokens = [words.tokenizer.tokens[i] for i in batch.ids.tolist()]
    assert [tokens[i] for i in batch.targets["marks"][0].tolist()] == ["@", "#"]
    read = words.tokenizer.decode(batch.ids.tolist())
    assert "seoul" in read
    assert "incheon" in read
    with pytest.raises(UserError, match="max_length=3 leaves no room"):
        make(max_length=3).encode(records())


def test_a_label_that_is_none() -> None:
    with pytest.raises(UserError, match=r"x\.jsonl, line 2: label 'ate' is not one of the classes"):
        make().encode(records([ROWS[0], (*ROWS[1][:3], "ate")]))
    with pytest.raises(UserError, match="needs the names of the relations"):
        make(labels=None)


# The model


@pytest.mark.parametrize("family", ["bert", "gpt2", "bart"])
def test_neighbors_change_nothing(family: str) -> None:
    task = make(tiny.model() if family == "bert" else peers.reader(family), max_length=40)
    features = task.encode(records()).features
    task.model.eval()
    together = task.logits(features.batch([0, 1, 2]))
    alone = torch.cat([task.logits(features.batch([i])) for i in (0, 1, 2)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_logits_are_of_both_markers(words: Model) -> None:
    task = make(words)
    batch = task.encode(records()).features.batch([1])
    states = task.model(batch)[batch.targets["marks"][0]]
    head: Any = task.model.heads["relation"]
    expected = head.out(torch.relu(head.dense(torch.cat([states[0], states[1]]))))
    torch.testing.assert_close(task.logits(batch)[0], expected)
    loss = task.loss(task.logits(batch), batch)
    torch.testing.assert_close(loss.total, -torch.log_softmax(expected, -1)[2])


def test_a_head_is_kept_for_the_same_relations(tmp_path: Path) -> None:
    task = make()
    task.model.settings = task.settings()
    task.model.save(tmp_path)
    assert not make(hub.load(tmp_path)).model.fresh
    others = make(hub.load(tmp_path), labels=LABELS[::-1]).model.fresh
    assert {name.split(".")[2] for name in others} == {"out"}


# Scores


def predicted(rows: Sequence[Sequence[float]]) -> list[LabelPrediction]:
    best = [int(np.argmax(row)) for row in rows]
    return [LabelPrediction(tuple(row), i, LABELS[i]) for row, i in zip(rows, best, strict=True)]


def test_scores() -> None:
    task = make()
    encoded = task.encode(records())
    rows = [[0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [0.3, 0.4, 0.3], [0.9, 0.0, 0.1]]
    scores = task.score(encoded, predicted(rows))
    assert scores.values["micro_f1"] == pytest.approx(2 * 1 / (2 + 2))
    official = relation_scores([1, 2, 0, 0], [1, 0, 1, 0], rows, classes=3)
    assert dict(scores.values) == official
    assert scores.sums is not None
    assert scores.sums.metric(scores.sums.rows.sum(0)[None])[0] == official["micro_f1"]
    assert list(scores.per_example) == [1, 0, 0, 1]


def test_without_a_label_for_none_all_count() -> None:
    task = make(no_relation="nothing")
    encoded = task.encode(records())
    rows = [[0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [0.3, 0.4, 0.3], [0.9, 0.0, 0.1]]
    assert task.score(encoded, predicted(rows)).values["micro_f1"] == 0.5


def test_sections() -> None:
    task = make()
    encoded = task.encode(records())
    found = predicted([[0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [0.3, 0.4, 0.3], [0.9, 0.0, 0.1]])
    page = render(*task.sections(encoded, found, task.score(encoded, found)))
    assert f"세종대왕 (PER) → 훈민정음 (POH): {ROWS[1][0]}" in page.texts("p", "text")
    cells = page.texts("td")
    assert cells[:4] == ["no_relation", "2", "2", "1"]


# From a file to a run, and back


def test_trained_evaluated_and_used(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "klue-re-v1.1_train.json"
    write(path, klue(ROWS * 3))
    write(tmp_path / "klue-re-v1.1_dev.json", klue(ROWS))
    data = {"name": "klue-re", "root": str(tmp_path)}
    recipe = tiny.recipe(tiny_folder, data, tmp_path / "run", train={"epochs": 40, "lr": 5e-3})
    run = finetune(recipe, "task.max_length=64")
    assert run.metrics["micro_f1"] == 1.0
    assert run.metrics["auprc"] is None  # officially no number, where a class has no reference
    assert run.metrics["auprc_classes_with_references"] == 1.0
    found = evaluate(run.folder, data)
    assert found["metrics"]["micro_f1"] == 1.0
    rows = [{k: v for k, v in row.items() if k != "label"} for row in klue(ROWS)]
    columns = {"text": "sentence", "subject": "subject_entity", "object": "object_entity"}
    test = {"test": str(write(tmp_path / "x.json", rows)), **columns}
    assert predict(run.folder, test)[1]["label"] == "per:product"
    assert "Most confused" in (run.folder / "report.html").read_text(encoding="utf-8")
