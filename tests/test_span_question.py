"""Span question answering by a token behind the question: layout, scores, the head a checkpoint brings."""

from pathlib import Path
from typing import Any

import pytest
import torch

import objective_parts as parts
import tiny
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.convert import convert
from jeoni.recipes.evaluate import evaluate as evaluation
from jeoni.recipes.finetune import finetune
from jeoni.serving.predictor import answer
from span_tasks import LONG, make


def test_a_mask_follows_every_question() -> None:
    """In every window; all else is as without it."""
    records = [*tiny.questions(), tiny.question("Where?", LONG, "Incheon", "long")]
    model = tiny.model()
    plain, marked = (
        make(model, head=head, max_question=4, max_length=60, stride=8).encode(records)
        for head in ("independent", "question")
    )
    mask = model.tokenizer.mask_id
    for i in range(len(records)):
        one = marked.features.batch([i])
        ids, first = one.ids.tolist(), marked.windows[i].first
        assert ids.count(mask) == 1
        assert ids[: ids.index(mask)] == plain.features.batch([i]).ids.tolist()[: ids.index(mask)]
        assert first == plain.windows[i].first + 1
        assert len(ids) <= 60
    assert len(marked.features) >= len(plain.features) > len(records)
    assert (
        marked.notes["questions cut to max_question"]
        == plain.notes["questions cut to max_question"]
    )


def test_scores_are_those_for_the_mask() -> None:
    """Also where the question speaks of a mask itself, or a sequence stands before it in the batch."""
    task = make(tiny.model(), head="question")
    encoded = task.encode(tiny.questions())
    task.model.eval()
    together = task.logits(encoded.features.batch(range(4)))
    lengths = [len(encoded.features.batch([i]).ids) for i in range(4)]
    for i, rows in enumerate(together.split(lengths)):
        batch = encoded.features.batch([i])
        place = batch.ids.tolist().index(task.model.tokenizer.mask_id)
        hidden = task.model(batch)
        wanted = task.model.heads["question_span"](
            hidden, torch.tensor([place]), [1], [len(batch.ids)]
        )
        assert torch.allclose(rows, wanted, atol=1e-5)


def test_auto_takes_what_the_checkpoint_brings(tmp_path: Path) -> None:
    """The head that pretraining left, its weights too; and the run says which it took."""
    model = parts.model()
    parts.mixture("recurring_spans", model)
    head: Any = model.heads["question_span"]
    model.save(tmp_path)
    task = make(hub.load(tmp_path), head="auto")
    assert task.settings()["head"] == "question"
    assert list(task.model.heads) == ["question_span"]
    kept: Any = task.model.heads["question_span"]
    assert torch.equal(kept.start.weight, head.start.weight)
    assert make(hub.load(tmp_path), head="independent").settings()["head"] == "independent"


def test_it_stays_beside_other_heads(tmp_path: Path) -> None:
    """Pretraining leaves several heads: none is lost when the checkpoint is written anew."""
    model = parts.model()
    parts.mixture({"masked_lm": 1.0, "recurring_spans": 1.0}, model)
    model.save(tmp_path / "old")
    convert(tmp_path / "old", tmp_path / "new")
    again = hub.load(tmp_path / "new")
    assert set(again.heads) == {"masked_lm", "question_span"}
    for name, tensor in model.heads["question_span"].state_dict().items():
        assert torch.equal(again.heads["question_span"].state_dict()[name], tensor)


def test_no_mask_no_question_head() -> None:
    with pytest.raises(UserError, match="no mask"):
        make(parts.model("gpt2"), head="question")


@pytest.mark.parametrize("answerability", [False, True])
def test_through_a_run(answerability: bool, tiny_folder: Path, tmp_path: Path) -> None:
    records = [*tiny.questions(), tiny.question("Why?", "It rained.", None, "none")]
    file = str(tiny.write_squad(tmp_path / "q.json", records))
    task = {
        "name": "span_qa",
        "max_length": 100,
        "head": "question",
        "answerability": answerability,
    }
    data = {"train": file, "dev": file, "metric": "squad_v2"}
    done = finetune(tiny.recipe(tiny_folder, data, tmp_path / "run", task=task))
    again = evaluation(done.folder, data)
    assert again["metrics"]["f1"] == pytest.approx(done.metrics["f1"])
    found = answer(done.folder, "Which river?", records[0].fields["context"], no_answer=False)
    assert found.text
