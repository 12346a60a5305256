"""Checkpoints that others have trained for a task, as their authors wrote them: used as they are."""

import json
import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers

import peers
import tiny
from jeoni.base.errors import UserError
from jeoni.data.cards import card
from jeoni.models import hub
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.serving.predictor import classify
from jeoni.serving.tagger import tag

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
WORDS = ["the", "museum", "near", "Han", "River", "bridge", "was", "wonderful"]


def published(folder: Path, kind: str, labels: Sequence[str], family: str = "bert") -> Any:
    """A model of ``transformers`` with random weights, saved as it does with these labels."""
    words = tiny.tokenizer()
    sizes = {**SIZES, "t5": _T5, "mt5": _T5}[family]
    config = transformers.AutoConfig.for_model(family, **sizes, vocab_size=words.vocab_size)
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: number for number, name in enumerate(labels)}
    torch.manual_seed(0)
    theirs = getattr(transformers, f"AutoModelFor{kind}").from_config(config)
    peers.scramble(theirs)
    theirs.save_pretrained(folder)
    words.save(folder)
    return theirs.eval()


_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
_T5 = {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_kv": 16, "d_ff": 64}
_SIZES |= {"max_position_embeddings": 128}
SIZES: dict[str, dict[str, Any]] = {
    "bert": _SIZES,
    "roberta": {**_SIZES, "pad_token_id": 0},
    "electra": {**_SIZES, "embedding_size": 32},
    "albert": {**_SIZES, "embedding_size": 32},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
}


def says(theirs: Any, folder: Path, text: str) -> torch.Tensor:
    """Their logits for a text, of each token."""
    ids = hub.load(folder).tokenizer.encode(text).ids
    with torch.inference_mode():
        return theirs(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("family", [*SIZES, "t5", "mt5"])
def test_a_tagger_tags(family: str, tmp_path: Path) -> None:
    labels = ["NOUN", "VERB", "ADJ", "PUNCT"]  # not sorted
    theirs = published(tmp_path, "TokenClassification", labels, family)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = tag(tmp_path, [WORDS])
    rows = says(theirs, tmp_path, " ".join(WORDS))
    pieces = hub.load(tmp_path).tokenizer.pieces(WORDS)
    firsts = torch.tensor([1 + sum(map(len, pieces[:n])) for n in range(len(WORDS))])
    best = rows[firsts].softmax(-1).max(-1)
    assert [span.tag for span in found.spans] == [labels[n] for n in best.indices.tolist()]
    assert [s.probability for s in found.spans] == pytest.approx(best.values.tolist(), abs=1e-4)


@pytest.mark.parametrize(
    "labels",
    [
        TAGS,
        ("B-LOC", "B-MISC", "I-LOC", "I-MISC", "I-PER", "O"),  # some has none that begins
        ("O", "S-PER", "B-PER", "E-PER", "I-PER", "S-LOC", "B-LOC", "E-LOC", "I-LOC",
         "B-MISC", "I-MISC", "E-MISC", "S-MISC"),
    ],
)  # fmt: skip
def test_a_tagger_of_entities_is_scored(labels: Sequence[str], tmp_path: Path) -> None:
    published(tmp_path / "model", "TokenClassification", labels)
    (tmp_path / "dev.conll").write_text("Han B-LOC\nRiver I-LOC\nwas O\n\nKim B-PER\nwas O\n")
    (tagged,) = tag(tmp_path / "model", [["Han", "River", "was"]])
    assert all(span.tag in ("PER", "LOC", "MISC") for span in tagged.spans)
    found = evaluate(tmp_path / "model", {"dev": str(tmp_path / "dev.conll")})
    assert found["interval"]["metric"] == "entity_f1"
    assert found["n"] == 2


def test_numbers_of_tags_are_those_of_the_data(tmp_path: Path) -> None:
    """WNUT-17 as it is on the hub: numbers, in another order than the model's."""
    data = {"name": "wnut17", "root": str(tmp_path)}
    kinds = card("wnut17").labels or ()
    names = ["O", *(f"{mark}-{kind}" for kind in kinds for mark in "BI")]
    words, tags = [["Han", "River", "was"], ["Kim", "was"]], [[7, 8, 0], [1, 0]]
    (tmp_path / "wnut17").mkdir()
    classes = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}
    about = {"huggingface": json.dumps({"info": {"features": {"tags": classes}}})}
    table = pa.table({"tokens": words, "tags": tags}).replace_schema_metadata(about)
    pq.write_table(table, tmp_path / "wnut17" / "dev.parquet")
    published(tmp_path / "model", "TokenClassification", names[::-1])
    rows = zip(chain(*words), [names[n] for n in chain(*tags)], strict=True)
    text = "\n".join(f"{word} {tag}" for word, tag in rows).replace("\nKim", "\n\nKim")
    (tmp_path / "dev.conll").write_text(text + "\n")
    by_number = evaluate(tmp_path / "model", data)
    by_name = evaluate(tmp_path / "model", {"dev": str(tmp_path / "dev.conll")})
    assert by_number["metrics"]["loss"] == by_name["metrics"]["loss"]


def test_a_tagger_learns_on(tmp_path: Path) -> None:
    """Its head is not drawn again for the same tags, and is there when the run is loaded."""
    published(tmp_path / "model", "TokenClassification", TAGS)
    rows = "Han B-LOC\nRiver I-LOC\nwas O\n\nKim B-PER\nKim I-PER\n\nthe B-MISC\nthe I-MISC\n"
    (tmp_path / "x.conll").write_text(rows)
    data = {"train": str(tmp_path / "x.conll"), "dev": str(tmp_path / "x.conll")}
    recipe = tiny.recipe(tmp_path / "model", data, tmp_path / "run", train={"lr": 1e-9})
    run = finetune(recipe, "task.max_length=64")
    before = evaluate(tmp_path / "model", {"dev": data["dev"]})
    assert run.metrics["loss"] == pytest.approx(before["metrics"]["loss"], rel=0.02)
    assert (
        evaluate(run.folder, {"dev": data["dev"]})["metrics"]["entity_f1"]
        == run.metrics["entity_f1"]
    )


def test_a_tagger_with_a_pooler_is_no_classifier(tmp_path: Path) -> None:
    """As old ones have it."""
    published(tmp_path, "TokenClassification", TAGS)
    pooler = {"bert.pooler.dense.weight": torch.eye(32), "bert.pooler.dense.bias": torch.zeros(32)}
    peers.edit_weights(tmp_path, lambda tensors: tensors.update(pooler))
    assert list(hub.load(tmp_path).heads) == ["tagging"]
    (before,) = tag(tmp_path, [WORDS])
    with pytest.raises(UserError, match="was trained for tagging, not for classification"):
        classify(tmp_path, "the museum")
    hub.load(tmp_path).save(tmp_path / "again")
    (after,) = tag(tmp_path / "again", [WORDS])
    assert before.spans == after.spans


@pytest.mark.parametrize("family", SIZES)
def test_a_classifier_classifies(family: str, tmp_path: Path) -> None:
    labels = ["toxic", "fine", "unsure"]
    theirs = published(tmp_path, "SequenceClassification", labels, family)
    (found,) = classify(tmp_path, "the museum was near")
    chances = says(theirs, tmp_path, "the museum was near").softmax(-1)
    expected = dict(zip(labels, chances.tolist(), strict=True))
    assert found.probabilities == pytest.approx(expected, abs=1e-4)
    with pytest.raises(UserError, match="no trained head for tagging"):
        tag(tmp_path, "the museum")


@pytest.mark.parametrize(
    "labels", [("LABEL_0", "LABEL_1"), ("NEGATIVE", "POSITIVE"), ("Positive", "Negative")]
)
def test_a_classifier_calls_classes_as_the_data_do(labels: Sequence[str], tmp_path: Path) -> None:
    published(tmp_path / "model", "SequenceClassification", labels)
    (tmp_path / "SST-2").mkdir()
    rows = "sentence\tlabel\na wonderful film\t1\na boring film\t0\nthe river\t1\n"
    (tmp_path / "SST-2" / "dev.tsv").write_text(rows)
    found = evaluate(tmp_path / "model", {"name": "glue-sst2", "root": str(tmp_path)})
    texts, right = ["a wonderful film", "a boring film", "the river"], [1, 0, 1]
    positive = [name.casefold() in ("label_1", "positive") for name in labels].index(True)
    said = [
        max(p.probabilities, key=lambda n: p.probabilities[n]) == labels[positive]
        for p in classify(tmp_path / "model", texts)
    ]
    expected = sum(a == b for a, b in zip(said, right, strict=True)) / 3
    assert found["metrics"]["accuracy"] == pytest.approx(expected)
