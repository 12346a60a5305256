"""Minimal pairs: likelihoods by hand, of both kinds of language model, by group; through the shell."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import objective_parts as parts
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import Record
from jeoni.evaluation import runner
from jeoni.models.heads import masked_lm_head
from jeoni.models.model import Model
from jeoni.tasks.minimal_pairs import MinimalPairs, MinimalPairsConfig
from shell import Run, user_error

PAIRS = [
    ("the river was near the old bridge", "the river near was the old bridge", "order", "syntax"),
    ("a portrait and a picture", "a portrait a and picture", "order", "syntax"),
    ("their dinner was bread", "their dinner was breads of", "agreement", "morphology"),
    ("water", "water water", "agreement", "morphology"),
]
NAMES = ("sentence_good", "sentence_bad", "UID", "field")


def records(pairs: Sequence[Any] = PAIRS) -> list[Record]:
    names = ("good", "bad", "paradigm", "field")
    return [Record(dict(zip(names, row, strict=True)), "x", n) for n, row in enumerate(pairs, 1)]


def model(family: str) -> Model:
    made = parts.model(family)
    if family == "gpt2":
        from jeoni.models.heads import language_model_head

        made.add_head("language_model", language_model_head(made))
    else:
        made.add_head("masked_lm", masked_lm_head(made))
    with torch.no_grad():
        made.backbone.embeddings.words.weight.mul_(20)  # so that words are not about as likely
    return made.eval()


def by_hand(of: Model, text: str) -> float:
    """The chain rule; or each token masked alone."""
    words, table = of.tokenizer, of.backbone.embeddings.words.weight
    pieces, total = words.pieces([text])[0].ids.tolist(), 0.0
    if of.spec.causal:
        ids = [words.eos_id, *pieces]
        logits = of.heads["language_model"](of(Batch.pack([ids])), table).log_softmax(-1)
        return sum(float(logits[n, token]) for n, token in enumerate(pieces))
    ids = words.encode(text).ids
    for place in range(1, len(ids) - 1):
        masked = [*ids[:place], words.mask_id, *ids[place + 1 :]]
        logits = of.heads["masked_lm"](of(Batch.pack([masked])), table).log_softmax(-1)
        total += float(logits[place, ids[place]])
    return total


@pytest.mark.parametrize("family", ["gpt2", "bert", "albert", "roberta"])
def test_likelihoods_by_hand(family: str) -> None:
    task = MinimalPairs(model=model(family), config=MinimalPairsConfig())
    encoded = task.encode(records())
    with torch.inference_mode():
        right = [(by_hand(task.model, row[0]), by_hand(task.model, row[1])) for row in PAIRS]
    for budget in (8192, 30):  # whatever the batches
        found = runner.evaluate(task, encoded, batch_tokens=budget, show=False)
        for prediction, (good, bad), row in zip(found.predictions, right, PAIRS, strict=True):
            assert prediction.good == pytest.approx(good, rel=1e-4)
            assert prediction.bad == pytest.approx(bad, rel=1e-4)
            assert prediction.choice == row[good <= bad]
    hits = [good > bad for good, bad in right]
    values = found.scores.values
    assert values["accuracy"] == sum(hits) / 4
    assert values["order"] == values["field syntax"] == sum(hits[:2]) / 2
    assert values["macro_accuracy"] == (values["order"] + values["agreement"]) / 2
    assert list(found.scores.per_example) == [float(hit) for hit in hits]
    assert found.loss == pytest.approx(-sum(map(sum, right)) / counted(task), rel=1e-4)
    assert task.sections(encoded, found.predictions, found.scores)


def counted(task: MinimalPairs) -> int:
    """Tokens of all sentences."""
    return sum(len(p) for row in PAIRS for p in task.model.tokenizer.pieces(list(row[:2])))


def test_lengths_are_what_is_read() -> None:
    task = MinimalPairs(model=model("bert"), config=MinimalPairsConfig())
    features = task.encode(records()).features
    assert len(features) == 4
    for number in range(4):
        batch = features.batch([number])
        assert features.lengths[number] == len(batch.ids) == sum(batch.lengths)
        assert len(batch.lengths) == int(batch.targets["counts"].sum())  # a reading a token


def test_longer_sentences_are_refused() -> None:
    task = MinimalPairs(model=model("gpt2"), config=MinimalPairsConfig(max_length=4))
    with pytest.raises(
        UserError, match=r"x, line 1: a sentence of .* longer than task.max_length=4"
    ):
        task.encode(records())


@pytest.mark.parametrize("family", ["t5", "xlnet", "gpt2"])
def test_models_that_say_nothing_of_it(family: str) -> None:
    with pytest.raises(UserError, match="has no head that says how likely words are"):
        MinimalPairs(model=parts.model(family), config=MinimalPairsConfig())


def test_through_the_shell(tmp_path: Path, jeoni: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In BLiMP's own layout."""
    monkeypatch.chdir(tmp_path)
    of = model("gpt2")
    of.settings = {"task": "pretraining"}
    of.save(tmp_path / "gpt2")
    folder = tmp_path / "blimp"
    folder.mkdir()
    data = open_dataset(DataConfig(name="blimp", root=str(write(folder))))
    assert data.split("dev")[0].fields["paradigm"] == "order"
    result = jeoni(
        "evaluate", "--model", "gpt2", "--data", "blimp", f"data.root={tmp_path}", "--json"
    )
    found = json.loads(result.out)
    assert found["n"] == 4
    assert {"accuracy", "macro_accuracy", "order", "field syntax"} <= found["metrics"].keys()
    said = jeoni(
        "predict", "--model", "gpt2", "--data", "blimp", f"data.root={tmp_path}", "--split", "dev"
    )
    assert json.loads(said.out.splitlines()[0]).keys() == {"at", "good", "bad", "choice"}
    refused = jeoni("finetune", "--model", "gpt2", "--data", "blimp", f"data.root={tmp_path}")
    user_error(refused, "there is nothing to train", "jeoni evaluate")


def write(folder: Path) -> Path:
    """One file, as staged; returns the folder around."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        dict(zip(("sentence_good", "sentence_bad", "uid", "field"), p, strict=True)) for p in PAIRS
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "test.parquet")
    return folder.parent
