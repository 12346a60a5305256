"""Evaluation is divided over the ranks, and says what one process says, to the bit."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import launch
import tiny
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.evaluation.runner import evaluate
from jeoni.models import hub
from jeoni.tasks._task import Task
from jeoni.tasks.classification import Classification, ClassificationConfig
from jeoni.tasks.span_qa import SpanQA, SpanQAConfig
from jeoni.training import distributed


class Odd(Classification):
    """A task that keeps what is not JSON, and says no other way to share it."""

    def decode(self, *arguments: Any) -> list[Any]:
        return [set(row) for row in super().decode(*arguments)]


class Torn(Classification):
    """A task whose model says nothing on one rank."""

    def logits(self, batch: Batch) -> torch.Tensor:
        return super().logits(batch) * (float("nan") if distributed.rank() else 1.0)


def figures(start: Path) -> dict[str, Any]:
    """Everything that evaluation gives, of both tasks, and how many sequences went through here."""
    found: dict[str, Any] = {}
    labels = ClassificationConfig(labels=tiny.LABELS, max_length=40, class_weights=(1, 3))
    tasks: list[tuple[Task[Any, Any], Any]] = [
        (
            SpanQA(model=hub.load(start), config=SpanQAConfig(max_length=40, stride=8)),
            tiny.questions,
        ),
        (Classification(model=hub.load(start), config=labels), tiny.labeled),
    ]
    for task, records in tasks:
        encoded = task.encode(records())
        seen = []
        task.model.register_forward_hook(lambda *a, seen=seen: seen.append(len(a[1][0].lengths)))
        result = evaluate(task, encoded, batch_tokens=100, precision="fp32", show=False)
        found[type(task).__name__] = {
            "values": result.values(),
            "per example": list(result.scores.per_example),
            "predictions": repr(result.predictions),
        }
        found[f"{type(task).__name__} here"] = (sum(seen), len(encoded.features))
    return found


def main(start: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    with distributed.session(torch.device("cpu")):
        found = figures(start)
        for kind in (Odd, Torn):
            task = kind(model=hub.load(start), config=ClassificationConfig(labels=tiny.LABELS))
            try:
                evaluate(task, task.encode(tiny.labeled()), batch_tokens=100, show=False)
            except UserError as error:
                found[kind.__name__] = str(error)
    (folder / f"{distributed.rank()}.json").write_text(json.dumps(found), encoding="utf-8")


def test_the_same_as_one_process(tiny_folder: Path, tmp_path: Path) -> None:
    alone = json.loads(json.dumps(figures(tiny_folder)))
    launch.run([__file__, str(tiny_folder), str(tmp_path)], 2)
    shares = [json.loads((tmp_path / f"{i}.json").read_text()) for i in range(2)]
    for name in ("SpanQA", "Classification"):
        assert all(share[name] == alone[name] for share in shares)
        here = [share[f"{name} here"] for share in shares]
        assert all(0 < part < whole for part, whole in here)
        assert sum(part for part, _ in here) == here[0][1] == alone[f"{name} here"][0]
    assert all("give the task `pack` and `unpack`" in share["Odd"] for share in shares)
    assert all(share["Torn"].startswith("what the model says is not") for share in shares)
    assert all("a lower train.lr" in share["Torn"] for share in shares)


def test_outside_a_session_every_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert distributed.place() == (0, 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
