"""Dialogue-state tracking: KLUE's layout, long dialogues, loss, scores, errors, a run."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import peers
import tiny
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import GROUP, Record
from jeoni.metrics.dialogue import state_scores
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.recipes.predict import predict
from jeoni.tasks._dialogue_types import StatePrediction
from jeoni.tasks._shared_report import shared_sections
from jeoni.tasks.dialogue_state import CUT, UNKNOWN, UNSAID, DialogueState, DialogueStateConfig
from jeoni.text.training import train_wordpiece
from report_page import render

AREAS = {"서울 중앙": "서울 한가운데", "서울 북쪽": "북쪽", "dontcare": "아무 데나"}
FOODS = {"한식당": "한식", "양식당": "파스타", "일식당": "초밥"}
VALUES = tuple(f"식당-지역-{v}" for v in AREAS) + tuple(f"식당-종류-{v}" for v in FOODS)


def dialogue(number: int) -> dict[str, Any]:
    """A dialogue about a restaurant, in KLUE's own layout, made for the test."""
    area, food = list(AREAS)[number % 3], list(FOODS)[number // 3 % 3]
    first, second = f"식당-지역-{area}", f"식당-종류-{food}"
    greeting = ["안녕하세요.", "수고 많으십니다.", "저기요."][number % 2 + number % 3 // 2]
    turns: list[dict[str, Any]] = [
        {"role": "user", "text": greeting, "state": []},
        {"role": "sys", "text": "무엇을 도와드릴까요?"},
        {"role": "user", "text": f"{AREAS[area]} 식당 찾아요", "state": [first]},
        {"role": "sys", "text": "어떤 음식이요?"},
        {"role": "user", "text": f"{FOODS[food]} 먹을래요", "state": [first, second]},
        {"role": "sys", "text": "찾았습니다."},
    ]
    return {"guid": f"wos-v1_train_{number:05}", "domains": ["식당"], "dialogue": turns}


def dialogues(count: int = 20) -> list[dict[str, Any]]:
    return [dialogue(number) for number in range(count)]


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def records(tmp_path: Path, count: int = 2) -> list[Record]:
    path = write(tmp_path / "wos.json", dialogues(count))
    return open_dataset(DataConfig(dev=str(path))).split("dev")


@pytest.fixture(scope="module")
def start() -> Model:
    """A model whose vocabulary has the words."""
    texts = [t["text"] for d in dialogues() for t in d["dialogue"]]
    texts += [value.replace("-", " ") for value in VALUES] * 5
    tokenizer = train_wordpiece(texts, vocab_size=300, lowercase=True)
    spec = replace(tiny.model().spec, vocab=tokenizer.vocab_size)
    return hub.create("bert", spec, tokenizer=tokenizer, seed=0)


def make(model: Model, **settings: Any) -> DialogueState:
    config = {"values": VALUES, **settings}
    return DialogueState(model=model, config=DialogueStateConfig(**config))


# From a file to fields


def test_klue_as_it_is_published(tmp_path: Path) -> None:
    write(tmp_path / "wos-v1.1_dev.json", dialogues(2))
    write(tmp_path / "ontology.json", {"식당-지역": ["none", "dontcare", "서울 동쪽"]})
    dataset = open_dataset(DataConfig(name="klue-wos", root=str(tmp_path)))
    assert (dataset.task, dataset.metric) == ("dialogue_state", "joint_goal_accuracy")
    rows = dataset.split("dev")
    assert len(rows) == 6
    assert rows[1].fields == {
        "id": "wos-v1_train_00000-1",
        GROUP: "wos-v1_train_00000",
        "turn": 2,
        "text": "서울 한가운데 식당 찾아요",
        "turns": ["안녕하세요.", "무엇을 도와드릴까요?", "서울 한가운데 식당 찾아요"],
        "state": ["식당-지역-서울 중앙"],
    }
    assert rows[1].where == "wos-v1.1_dev.json, item 1, user turn 2"
    assert dataset.labels == ("식당-지역-dontcare", "식당-지역-서울 동쪽")


def test_values_are_those_of_the_ontology_and_of_training(tmp_path: Path) -> None:
    own = {"train": str(write(tmp_path / "t.json", dialogues(1)))}
    assert open_dataset(DataConfig(**own)).labels == ("식당-종류-한식당", "식당-지역-서울 중앙")
    listed = write(tmp_path / "o.json", {"a-b": ["none", "c-d"]})
    with_file = open_dataset(DataConfig(**own, ontology=str(listed)))
    assert with_file.labels == ("a-b-c-d", "식당-종류-한식당", "식당-지역-서울 중앙")


def test_ontology_that_is_none(tmp_path: Path) -> None:
    path = str(write(tmp_path / "t.json", dialogues(1)))
    for content, message in (
        (["none"], "o.json: no object with a list of values for each slot"),
        ({"slot": ["x"]}, "o.json: 'slot-x' in a state is not domain-slot-value"),
    ):
        listed = str(write(tmp_path / "o.json", content))
        with pytest.raises(UserError, match=message):
            open_dataset(DataConfig(train=path, ontology=listed)).labels  # noqa: B018
    with pytest.raises(UserError, match=r"no file nowhere\.json"):
        open_dataset(DataConfig(train=path, ontology="nowhere.json"))


def test_a_dialogue_stays_on_one_side_of_a_cut(tmp_path: Path) -> None:
    path = str(write(tmp_path / "t.json", dialogues(8)))
    dataset = open_dataset(DataConfig(train=path, dev_fraction=0.25))
    train, dev = ({r.fields[GROUP] for r in dataset.split(s)} for s in ("train", "dev"))
    assert (len(train), len(dev), train & dev) == (6, 2, set())


def changed(number: int, **turn: Any) -> list[dict[str, Any]]:
    """Two dialogues; one turn of the second is changed (None: taken away)."""
    rows = dialogues(2)
    new = rows[1]["dialogue"][number] | turn
    rows[1]["dialogue"][number] = {k: v for k, v in new.items() if v is not None}
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(2, state=None), r"item 2, user turn 2: 'state' is no list of texts: None"),
        (changed(2, state="식당-지역-x"), r"user turn 2: 'state' is no list of texts"),
        (changed(4, state=["식당"]), r"user turn 3: '식당' in a state is not domain-slot-value"),
        (changed(1, text=None), r"user turn 2, turn of the dialogue 2: no column 'text'"),
        (changed(1, text=7), r"turn of the dialogue 2: column 'text' holds 7, which is no text"),
        ([{"dialogue": "hello"}], r"item 1: column 'dialogue' is no list of turns: 'hello'"),
        ([{"dialogue": [{"role": "sys", "text": "a"}]}], "item 1: no turn has the role 'user'"),
    ],
)
def test_dialogues_that_are_none(tmp_path: Path, rows: Any, message: str) -> None:
    path = write(tmp_path / "wos.json", rows)
    with pytest.raises(UserError, match=rf"wos\.json, .*{message}"):
        open_dataset(DataConfig(dev=str(path))).split("dev")


def test_without_states_there_is_something_to_predict(tmp_path: Path) -> None:
    path = write(tmp_path / "wos.json", changed(2, state=None)[1:])
    rows = open_dataset(DataConfig(test=str(path))).split("test")
    assert ["state" in r.fields for r in rows] == [True, False, True]


# Sequences


def test_history_system_and_user(start: Model, tmp_path: Path) -> None:
    task = make(start)
    rows = records(tmp_path, 1)
    encoded = task.encode(rows)
    names = start.tokenizer.tokens
    texts = [" ".join(names[i] for i in encoded.features.batch([n]).ids.tolist()) for n in range(3)]
    assert texts[0].startswith("[CLS] [SEP] 안녕")
    assert re.search(r"^\[CLS\] 안녕.* \[SEP\] 무엇.* \[SEP\] 서울 .* \[SEP\]$", texts[1])
    # The history is one text, with separators in it; then what was said last.
    assert texts[2].count("[SEP]") == 5
    assert encoded.features.targets["values"].tolist() == [[0, 4], [1, 4], [1, 5]]
    assert encoded.notes == {CUT: 0, UNKNOWN: 0}


def test_the_oldest_words_are_cut(start: Model, tmp_path: Path) -> None:
    rows = records(tmp_path, 1)
    whole = make(start).encode(rows).features.batch([2]).ids.tolist()
    cut = make(start, max_length=len(whole) - 3).encode(rows)
    assert cut.features.batch([2]).ids.tolist() == [whole[0], *whole[4:]]
    assert cut.notes[CUT] == 1
    short = make(start, max_length=6).encode(rows)
    assert short.features.batch([2]).ids.tolist() == [whole[0], whole[-1], *whole[-4:]]
    with pytest.raises(UserError, match="max_length=3 leaves no room for what is said"):
        make(start, max_length=3).encode(rows)


def test_values_that_the_model_does_not_know(start: Model, tmp_path: Path) -> None:
    rows = records(tmp_path, 1)
    task = make(start, values=(*VALUES[1:3], *VALUES[3:]))  # all but the area of this dialogue
    encoded = task.encode(rows)
    assert encoded.features.targets["values"].tolist() == [[0, 3], [UNSAID, 3], [UNSAID, 4]]
    assert encoded.notes[UNKNOWN] == 2
    with pytest.raises(
        UserError, match=r"user turn 2: the model knows none of the slots 식당-지역"
    ):
        make(start, values=("a-b-c",)).encode(rows)
    with pytest.raises(UserError, match="need the values of each slot"):
        make(start, values=None)
    assert make(start, values=("a-b-none", "a-b-c")).values == {"a-b": ("none", "c")}


# The model


def test_loss_is_the_cross_entropy_of_each_slot(start: Model, tmp_path: Path) -> None:
    task = make(start, values=(*VALUES[1:3], *VALUES[3:]))
    batch = task.encode(records(tmp_path, 1)).features.batch([0, 1, 2])
    logits = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    loss = task.loss(logits, batch)
    areas, foods = logits.log_softmax(1), logits[:, 3:].log_softmax(1)
    areas = logits[:, :3].log_softmax(1)
    expected = areas[0, 0] + foods[0, 0] + foods[1, 0] + foods[2, 1]
    torch.testing.assert_close(loss.total, -expected)
    assert loss.count == 4
    best = torch.zeros(3, 7)
    best[0, [0, 3]] = best[1, [1, 3]] = best[2, [1, 4]] = 9.0
    assert task.loss(best, batch).metrics["joint_goal_accuracy"] == (1.0, 3.0)


@pytest.mark.parametrize("family", ["bert", "gpt2", "bart"])
def test_neighbors_change_nothing(family: str, tmp_path: Path) -> None:
    model = tiny.model() if family == "bert" else peers.reader(family)
    task = make(model, max_length=40)
    features = task.encode(records(tmp_path)).features
    model.eval()
    together = task.logits(features.batch([0, 1, 2]))
    alone = torch.cat([task.logits(features.batch([i])) for i in (0, 1, 2)])
    assert together.shape == (3, 8)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_values_start_as_what_they_mean(start: Model) -> None:
    """The vectors of values are those of the model's own states, without what they have in common."""
    head: Any = make(start).model.heads["dialogue_state"]
    texts = ["none", *AREAS, "none", *FOODS]
    means = torch.stack(
        [torch.from_numpy(states[-1].mean(0)) for states in start.hidden_states(texts)]
    )
    expected = torch.nn.functional.normalize(means - means.mean(0))
    torch.testing.assert_close(head.values.weight.data, expected, atol=1e-5, rtol=1e-4)


def test_a_head_is_kept_for_the_same_values(start: Model, tmp_path: Path) -> None:
    task = make(start)
    task.model.settings = task.settings()
    weights = {k: v.clone() for k, v in task.model.heads["dialogue_state"].state_dict().items()}
    task.model.save(tmp_path)
    again = make(hub.load(tmp_path)).model
    assert not again.fresh
    assert all(
        torch.equal(v, weights[k]) for k, v in again.heads["dialogue_state"].state_dict().items()
    )
    assert len(make(hub.load(tmp_path), values=VALUES[::-1]).model.fresh) == len(weights)


# Scores


def test_scores_and_report(start: Model, tmp_path: Path) -> None:
    task = make(start)
    encoded = task.encode(records(tmp_path, 1))
    logits = torch.zeros(3, 8)
    logits[0, [0, 4]] = logits[1, [2, 4]] = logits[2, [1, 6]] = 9.0
    found = task.combine(encoded, task.decode(encoded, [0, 1, 2], logits))
    states = [(), ("식당-지역-서울 북쪽",), ("식당-지역-서울 중앙", "식당-종류-양식당")]
    assert [p.state for p in found] == states
    assert all(0.9 < p.probability < 1 for p in found)
    scores = task.score(encoded, found)
    assert dict(scores.values) == state_scores([r.fields["state"] for r in encoded.records], states)
    assert list(scores.per_example) == [1, 0, 0]
    page = render(*task.sections(encoded, found, scores))
    cells = page.texts("td")
    assert cells[:8] == ["식당-지역", "2", "1", "0", "1", "0", "0.5", "0.6667"]
    assert cells[16:20] == ["식당-종류", "한식당", "양식당", "1"]
    assert cells[20:24] == ["식당-지역", "서울 중앙", "서울 북쪽", "1"]


def test_what_the_report_asks_of_a_prediction(start: Model, tmp_path: Path) -> None:
    task = make(start)
    encoded = task.encode(records(tmp_path, 1))
    found = [StatePrediction(state, 0.5) for state in [(), VALUES[1:2], VALUES[:1]]]
    scores = task.score(encoded, found)
    assert task.confidences(encoded, found, scores) == ([0.5] * 3, [True, False, False])
    first, second, third = (task.verdict(encoded, p, n) for n, p in enumerate(found))
    assert (first.predicted, first.gold) == ("(nothing)", "(nothing)")
    assert first.targets == {"values": [0, 4]}  # nothing is said: of every slot
    assert second.targets == {"values": [2, UNSAID]}
    assert (third.predicted, third.gold) == (VALUES[0], f"{VALUES[0]}, {VALUES[3]}")
    sections = shared_sections(task, encoded, found, scores)
    assert any("rest" in section.title for section in sections)


def test_a_slot_that_no_state_has(start: Model, tmp_path: Path) -> None:
    task = make(start, values=(*VALUES, "택시-종류-모범"))
    encoded = task.encode(records(tmp_path, 1))
    found = [StatePrediction((), 1.0)] * 3
    page = render(*task.sections(encoded, found, task.score(encoded, found)))
    assert "택시-종류" not in page.texts("td")


# From a file to a run, and back


def test_twenty_dialogues_are_learned(start: Model, tmp_path: Path) -> None:
    start.heads.clear()
    start.save(tmp_path / "model")
    path = str(write(tmp_path / "wos.json", dialogues()))
    data = {"train": path, "dev": path}
    recipe = tiny.recipe(
        tmp_path / "model", data, tmp_path / "run", train={"epochs": 30, "lr": 5e-3}
    )
    run = finetune(recipe, "batch.size=12", "task.max_length=64")
    assert run.metrics["joint_goal_accuracy"] == 1.0
    assert run.metrics["slot_micro_f1_pooled"] == 1.0
    assert evaluate(run.folder, {"dev": path})["metrics"]["joint_goal_accuracy"] == 1.0
    open_ended = [
        {**d, "dialogue": [{k: v for k, v in t.items() if k != "state"} for t in d["dialogue"]]}
        for d in dialogues(2)
    ]
    rows = predict(run.folder, {"test": str(write(tmp_path / "x.json", open_ended))})
    assert set(rows[-1]["state"]) == {"식당-종류-한식당", "식당-지역-서울 북쪽"}
    assert rows[-1]["at"] == "x.json, item 2, user turn 3"
    assert "Most confused values" in (run.folder / "report.html").read_text(encoding="utf-8")


def test_another_ontology_is_other_data(start: Model, tmp_path: Path) -> None:
    """Of a run that is over, and of one to go on with: its values decide what the model can say."""
    model = start.save(tmp_path / "model")
    listed = write(tmp_path / "o.json", {"식당-지역": ["서울 동쪽"]})
    data = {"train": str(write(tmp_path / "t.json", dialogues(2))), "ontology": str(listed)}
    recipe = tiny.recipe(model, {**data, "dev": data["train"]}, tmp_path / "run")
    finetune(recipe)
    assert finetune(recipe).earlier
    write(listed, {"식당-지역": ["서울 서쪽"]})
    with pytest.raises(UserError, match=r"data have changed.*ontology \(.*o\.json\)"):
        finetune(recipe)
