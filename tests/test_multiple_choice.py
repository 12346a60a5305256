"""Multiple choice: SWAG's layout, choices that stay together, scores over them, a run."""

import csv
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

import peers
import tiny
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig, EpochBatches, for_prediction
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.choices import choice_fields, choice_index
from jeoni.data.record import Record
from jeoni.data.standard import Columns
from jeoni.models.model import Model
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.recipes.predict import predict
from jeoni.recipes.suite_settings import absence, resolve
from jeoni.tasks.multiple_choice import MultipleChoice, MultipleChoiceConfig

SWAG = ("", "video-id", "fold-ind", "startphrase", "sent1", "sent2", "gold-source",
        "ending0", "ending1", "ending2", "ending3", "label")  # fmt: skip
ENDINGS = ["watches it again.", "wants the money back.", "makes no sense.", "is boring."]


def rows(count: int = 12) -> list[Sequence[Any]]:
    """In SWAG's own layout, made for the test."""
    return [
        (i, f"v{i}", i, "A film. She", f"A film number {i}.", "She", "gold",
         *(ENDINGS[i % 4 :] + ENDINGS[: i % 4]), (4 - i % 4) % 4)
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "swag"
    path.mkdir()
    for name in ("train", "val"):
        with (path / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([SWAG, *rows()])
    with (path / "test.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(row[:-1] for row in [SWAG, *rows()])  # without labels
    return path


def records(sizes: Sequence[int] = (4, 2, 3)) -> list[Record]:
    return [
        Record({"text": "a film", "choices": ENDINGS[:n], "label": n - 1}, "x.jsonl", i)
        for i, n in enumerate(sizes)
    ]


def make(model: Model | None = None, **settings: Any) -> MultipleChoice:
    return MultipleChoice(model=model or tiny.model(), config=MultipleChoiceConfig(**settings))


def test_swag_as_it_is_published(folder: Path) -> None:
    dataset = open_dataset(DataConfig(name="swag", root=str(folder.parent)))
    assert (dataset.task, dataset.metric, dataset.labels) == ("multiple_choice", "accuracy", None)
    fields = dataset.split("train")[1].fields
    assert fields["text"] == "A film number 1."
    assert fields["choices"][0] == "She wants the money back."
    for record in dataset.split("train"):
        assert record.fields["choices"][choice_index(record)] == "She watches it again."


def test_swag_s_test_file_has_no_labels(folder: Path) -> None:
    """There is something to predict, nothing to score: a suite does not train for it."""
    data = {"root": str(folder.parent)}
    assert "label" not in open_dataset(DataConfig(name="swag", **data)).split("test")[0].fields
    asked = {"name": "x", "model": "bert-base", "sets": {"swag": {"data": data}}}
    assert absence(resolve(asked, ["split=test"], {}), "swag") == (
        "dataset 'swag': its test has no labels"
    )


def test_choices_are_pairs_and_stay_together() -> None:
    task = make()
    features = task.encode(records()).features
    assert len(features) == 3
    batch = features.batch([1, 0])
    assert len(batch.lengths) == 6
    assert batch.targets["choices"].tolist() == [2, 4]
    assert batch.targets["label"].tolist() == [1, 3]
    encode = task.model.tokenizer.encode
    expected = [encode("a film", choice).ids for choice in (*ENDINGS[:2], *ENDINGS)]
    assert batch.ids.tolist() == [token for ids in expected for token in ids]
    assert features.lengths[1] == sum(map(len, expected[:2]))
    assert sorted(chain.from_iterable(for_prediction(features, 10))) == [0, 1, 2]
    batches = EpochBatches(features, config=BatchConfig(size=2, micro_tokens=1), seed=0)
    micro = [part for step in range(batches.steps(0)) for part in batches.get(0, step)]
    assert sorted(len(part.lengths) for part in micro) == [2, 3, 4]


def test_loss_is_cross_entropy_over_the_choices() -> None:
    task = make()
    batch = task.encode(records()).features.batch([0, 1, 2])
    logits = torch.randn(9, generator=torch.Generator().manual_seed(0))
    loss = task.loss(logits, batch)
    parts = zip(torch.split(logits, [4, 2, 3]), (3, 1, 2), strict=True)
    expected = sum(torch.nn.functional.cross_entropy(p, torch.tensor(i)) for p, i in parts)
    torch.testing.assert_close(loss.total, expected)
    assert loss.count == 3


def test_the_highest_score_is_chosen() -> None:
    task = make()
    encoded = task.encode(records((3, 2)))
    kept = task.decode(encoded, [1, 0], torch.tensor([1.0, 2.0, 0.0, 5.0, 0.0]))
    first, second = task.combine(encoded, [kept[1], kept[0]])
    assert (first.index, first.choice, second.index) == (1, ENDINGS[1], 1)
    assert sum(first.probabilities) == pytest.approx(1)
    scores = task.score(encoded, [first, second])
    assert scores.values == {"accuracy": 0.5}
    assert list(scores.per_example) == [0.0, 1.0]
    matrix, errors, _ = task.sections(encoded, [first, second], scores)
    assert matrix.matrix[2][1] == 1
    assert [item.gold for item in errors.items] == [ENDINGS[2]]


@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_decoders_too(family: str) -> None:
    task = make(peers.reader(family), max_length=20)
    features = task.encode(records()).features
    task.model.eval()
    together = task.logits(features.batch([0, 1, 2]))
    alone = torch.cat([task.logits(features.batch([i])) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "columns", "message"),
    [
        ({"choices": ["a"]}, {}, "1 choices: there must be two"),
        ({"choices": ["a", " "]}, {}, "choice 1 is empty"),
        ({"choices": "a b"}, {}, "'choices' is no list of texts"),
        ({"a": 1}, {"choices": "end*"}, r"(?s)no columns 'end\*'.*data.choices="),
        ({"end1": "a", "end2": None}, {"choices": "end*"}, "'end2' is missing"),
        ({"choices": ["a", "b"]}, {}, "no column 'label'"),
    ],
)
def test_what_is_wrong_is_named(
    values: dict[str, Any], columns: dict[str, str], message: str
) -> None:
    record = Record({"text": "t", **values}, "my.csv", 5)
    with pytest.raises(UserError, match=f"{message}"):
        choice_fields(record, Columns(**columns), True)


@pytest.mark.parametrize("label", [4, -1, "", None, "b", 1.5])
def test_labels_that_are_no_choice(label: Any) -> None:
    record = Record({"choices": list("abcd"), "label": label}, "my.csv", 5)
    with pytest.raises(UserError, match=r"my.csv, line 5: label .* is none of the 4 choices"):
        choice_index(record)
    assert choice_index(Record({"choices": list("ab"), "label": "1"}, "x", 1)) == 1
    assert choice_index(Record({"choices": list("ab"), "label": 1.0}, "x", 1)) == 1


def test_trained_evaluated_and_used(folder: Path, tiny_folder: Path, tmp_path: Path) -> None:
    data = {"name": "swag", "root": str(folder.parent)}
    run = finetune(tiny.recipe(tiny_folder, data, tmp_path / "run"), "task.max_length=48")
    assert evaluate(run.folder, data)["metrics"].keys() == run.metrics.keys()
    found = predict(run.folder, data, split="dev")
    assert {row["index"] for row in found} <= {0, 1, 2, 3}
    assert found[0]["choice"].startswith("She ")
    assert len(predict(run.folder, data)) == 12
    with pytest.raises(UserError, match="'swag': its test has no labels"):
        evaluate(run.folder, data, split="test")
