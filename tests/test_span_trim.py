"""Span answers that end inside a token: what is learned of them, and that they are then exact."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.tasks._span_types import Window
from jeoni.tasks.span_qa import LONGEST_PARTICLE, SpanQA, from_data
from jeoni.text.training import train_wordpiece
from span_tasks import make

PASSAGE = "세종대왕은 1443년에 훈민정음을 만들었다. 집현전 학자들이 그를 도왔다."
ANSWERS = {
    "누가 만들었나?": "세종대왕",
    "언제 만들었나?": "1443년",
    "무엇을 만들었나?": "훈민정음",
    "어디 학자들이 도왔나?": "집현전",  # a word of its own
    "누가 도왔나?": "집현전 학자들",
}
RECORDS = [tiny.question(q, PASSAGE, a, id=q) for q, a in ANSWERS.items()]
BEYOND = [1, 1, 1, 0, 1]


def test_what_is_left_of_tokens() -> None:
    """Of a token without characters (SentencePiece's for a blank alone), none; of others, one at least."""
    window = Window(1, np.array([[0, 0], [0, 3], [3, 4]], np.int32))
    assert window.trimmed(np.array([0, 1, 0])).offsets.tolist() == [[0, 0], [0, 2], [3, 4]]
    assert window.trimmed(np.array([4, 4, 4])).offsets.tolist() == [[0, 0], [0, 1], [3, 4]]


@pytest.fixture
def model() -> Model:
    """Whole words are tokens, with their particles."""
    words = train_wordpiece([*ANSWERS, PASSAGE] * 50, vocab_size=2000)
    spec = ArchSpec(
        vocab=words.vocab_size, hidden=32, layers=2, heads=2, feed_forward=64, width=32,
        positions=64, dropout=0.0, attention_dropout=0.0,
    )  # fmt: skip
    return hub.create("bert", spec, tokenizer=words, seed=0)


def answers(task: SpanQA, logits: Any = None) -> list[str]:
    """What the task says of the questions, by its model or by given scores."""
    encoded = task.encode(RECORDS)
    indices = range(len(encoded.features))
    if logits is None:
        with torch.no_grad():
            logits = task.logits(encoded.features.batch(indices))
    found = task.decode(encoded, indices, logits)
    return [p.text for p in task.combine(encoded, found)]


def ideal(task: SpanQA) -> torch.Tensor:
    """Scores that say what is right."""
    batch = task.encode(RECORDS).features.batch(range(len(RECORDS)))
    rows = torch.zeros(len(batch.ids), 2 + (1 + task.config.trim if task.config.trim else 0))
    first = torch.tensor(batch.starts)
    rows[first + batch.targets["start"], 0] = 9.0
    ends = first + batch.targets["end"]
    rows[ends, 1] = 9.0
    if task.config.trim:
        rows[ends, 2 + batch.targets["trim"]] = 9.0
    return rows


@pytest.mark.parametrize("head", ["independent", "question"])
def test_answers_are_exact(model: Model, head: str) -> None:
    task = make(model, trim=2, head=head)
    encoded = task.encode(RECORDS)
    assert encoded.features.targets["trim"].tolist() == BEYOND
    assert encoded.notes["answers that end inside a token"] == sum(BEYOND)
    assert answers(task, ideal(task)) == list(ANSWERS.values())


def test_without_it_particles_stay(model: Model) -> None:
    task = make(model)
    assert "trim" not in task.encode(RECORDS).features.targets
    assert "trim" not in task.model.heads
    said = answers(task, ideal(task))
    assert said == ["세종대왕은", "1443년에", "훈민정음을", "집현전", "집현전 학자들이"]


def test_the_loss_is_the_sum(model: Model) -> None:
    task = make(model, trim=1)
    batch = task.encode(RECORDS).features.batch(range(len(RECORDS)))
    logits = torch.randn(len(batch.ids), 4, generator=torch.Generator().manual_seed(0))
    ends = torch.tensor(batch.starts) + batch.targets["end"]
    left_off = torch.log_softmax(logits[ends, 2:], -1)[range(len(RECORDS)), BEYOND]
    both = task.loss(logits, batch)
    alone = make(tiny.model()).loss(logits[:, :2], batch)
    torch.testing.assert_close(both.total, alone.total - 0.5 * left_off.sum())
    assert both.count == alone.count


def test_windows_without_the_answer_teach_nothing_of_it(model: Model) -> None:
    task = make(model, trim=1, metric="squad_v2", no_answer=True)
    record = tiny.question("누가?", PASSAGE, None)
    batch = task.encode([record]).features.batch([0])
    logits = torch.zeros(len(batch.ids), 4, requires_grad=True)
    task.loss(logits, batch).total.backward()
    assert logits.grad is not None
    assert logits.grad[:, :2].any()
    assert not logits.grad[:, 2:].any()


@pytest.mark.parametrize("head", ["independent", "joint", "question"])
def test_it_is_learned_and_kept(model: Model, head: str, tmp_path: Path) -> None:
    task = make(model, trim=LONGEST_PARTICLE, head=head)
    encoded = task.encode(RECORDS)
    batch = encoded.features.batch(range(len(RECORDS)))
    optimizer = torch.optim.Adam(task.model.parameters(), lr=5e-3)
    for _ in range(250):
        optimizer.zero_grad()
        task.loss(task.logits(batch), batch).total.backward()
        optimizer.step()
    assert answers(task) == list(ANSWERS.values())
    hub.save(task.model, tmp_path)
    again = make(hub.load(tmp_path), trim=LONGEST_PARTICLE, head=head)
    assert not again.model.fresh
    assert answers(again) == list(ANSWERS.values())
    other = make(again.model, trim=1, head=head)  # another size is drawn anew
    assert other.logits(batch).shape[1] == task.logits(batch).shape[1] - LONGEST_PARTICLE + 1


@pytest.mark.parametrize(("name", "trim"), [("squad-sample", 0), ("wiki-ko-qa", LONGEST_PARTICLE)])
def test_the_language_decides(name: str, trim: int) -> None:
    assert from_data(open_dataset(DataConfig(name=name)))["trim"] == trim


def test_ready_made_tokens_have_no_particles(tmp_path: Path) -> None:
    file = tmp_path / "mine.tsv"
    file.write_text("[CLS] 누 가 ? [SEP] 왕 이 _ 왔 다 [SEP]\t5\t5\n", encoding="utf-8")
    config = DataConfig(train=str(file), dev=str(file), format="mrc_tsv")
    assert from_data(open_dataset(config))["trim"] == 0
