"""Models of words through a whole fine-tuning run: from a file of vectors, or with fresh ELMo layers."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import jeoni
import vector_files
from jeoni.models.families import elmo

GOOD, BAD, OTHER = ["좋다", "great"], ["나쁘다", "awful"], ["영화", "the", "배우"]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for n in range(24):
            word = (GOOD if n % 2 else BAD)[n // 2 % 2]
            writer.writerow(
                [f"{OTHER[n % 3]} {word} {OTHER[n // 3 % 3]}", "pos" if n % 2 else "neg"]
            )
    return path


def finetune(model: str | Path, reviews: Path, out: Path, **settings: Any) -> Any:
    return jeoni.finetune(
        model=str(model),
        task={"name": "classification", "labels": ["neg", "pos"]},
        data={"train": str(reviews), "dev": str(reviews)},
        out=str(out),
        train={"precision": "fp32", "threads": 1, **settings},
    )


@pytest.mark.parametrize("name", ["x.vec", "x.bin"])
def test_from_a_file_of_vectors(name: str, reviews: Path, tmp_path: Path) -> None:
    words = GOOD + BAD + OTHER
    if name == "x.vec":
        vector_files.fasttext_vec(tmp_path / name, words, vector_files.table(len(words), 8))
    else:
        values = vector_files.table(len(words) + 97, 8)
        vector_files.fasttext_bin(tmp_path / name, words, values, parts=97)
    finetune(tmp_path / name, reviews, tmp_path / "run", epochs=40, lr=0.1)
    model = jeoni.load(tmp_path / "run")
    assert [n for n, _ in model.named_parameters()] == [
        "heads.classification.out.weight",
        "heads.classification.out.bias",
    ]
    assert jeoni.classify(tmp_path / "run", "the 나쁘다 영화")[0].label == "neg"


def test_fresh_elmo_reads_characters(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = replace(
        elmo.FAMILY.presets["elmo-small"], hidden=16, feed_forward=8, filters=((1, 8), (3, 8))
    )
    monkeypatch.setitem(elmo.FAMILY.presets, "elmo-tiny", tiny)  # type: ignore[arg-type]
    finetune("elmo-tiny", reviews, tmp_path / "run", epochs=12, lr=0.02)
    model = jeoni.load(tmp_path / "run")
    assert model.spec.characters == 50
    assert jeoni.classify(tmp_path / "run", "the 나쁘다 영화")[0].label == "neg"
