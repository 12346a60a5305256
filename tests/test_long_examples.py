"""A single example of megabytes: cut, read in windows, or refused, as its task says; never for hours."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.evaluation import runner
from jeoni.recipes import build, examples
from jeoni.report.page import Report

SHORT = " ".join(tiny.texts()[0].split()[:8])


def words(size: int) -> list[str]:
    whole = " ".join(tiny.texts()).split()
    found = whole * (size // len(" ".join(whole)) + 1)
    return found[: int(len(found) * size / len(" ".join(found)))]


def classified(size: int) -> list[dict[str, Any]]:
    long = {"text": " ".join(words(size)), "label": "a"}
    return [long, {"text": SHORT, "label": "b"}]


def rated(size: int) -> list[dict[str, Any]]:
    return [
        {**row, "label": number} for number, row in enumerate([*classified(size), *classified(9)])
    ]


def chosen(size: int) -> list[dict[str, Any]]:
    text = " ".join(words(size))
    return [
        {"text": text, "choices": ["a b", "c"], "label": 0},
        {"text": SHORT, "choices": [text, "c"], "label": 0},
    ]


def related(size: int) -> list[dict[str, Any]]:
    first = {"start": 0, "end": 3}
    long = {"subject": first, "object": {"start": size // 2, "end": size // 2 + 20}}
    short = {"subject": first, "object": {"start": 4, "end": 9}}
    return [row | own for row, own in zip(classified(size), (long, short), strict=True)]


def asked(size: int) -> list[dict[str, Any]]:
    text, middle = " ".join(words(size)), size // 2
    there = [{"text": text[middle : middle + 9], "start": middle}]
    return [
        {"id": "1", "question": "What?", "context": text, "answers": there},
        {"id": "2", "question": text, "context": SHORT, "answers": [{"text": "The", "start": 0}]},
    ]


def tagged(size: int) -> list[dict[str, Any]]:
    own = words(size)
    tags = (["B-X", "I-X", "O"] * len(own))[: len(own)]
    return [{"tokens": own, "tags": tags}, {"tokens": ["a"], "tags": ["O"]}]


def blank(size: int) -> list[dict[str, Any]]:
    long = {"characters": f"a{' ' * size}b", "tags": ["B-X", *["I-X"] * (size + 1)]}
    return [long, {"characters": "a b", "tags": ["O"] * 3}]


def parsed(size: int) -> list[dict[str, Any]]:
    own = words(size)
    long = {"tokens": own, "heads": [*range(len(own))], "relations": ["dep"] * len(own)}
    return [long, {"tokens": ["a"], "heads": [0], "relations": ["root"]}]


ROWS: dict[str, tuple[str, Callable[[int], list[dict[str, Any]]], bool]] = {
    "classification": ("classification", classified, False),
    "regression": ("regression", rated, False),
    "multiple_choice": ("multiple_choice", chosen, False),
    "relation": ("relation", related, False),
    "span_qa": ("span_qa", asked, True),
    "tagging": ("tagging", tagged, True),
    "characters": ("tagging", blank, False),
}
"""Task, examples, and whether long ones are read in windows."""


def evaluated(case: str, size: int, folder: Path) -> tuple[int, int]:
    """Sequences that the examples make, and bytes of the report."""
    name, rows, _ = ROWS[case]
    file = folder / "long.jsonl"
    file.write_text("\n".join(map(json.dumps, rows(size))), encoding="utf-8")
    dataset = open_dataset(DataConfig(train=str(file), dev=str(file)), task=name)  # type: ignore[arg-type]
    settings = {"max_length": 100, **({"stride": 8} if name in ("span_qa", "tagging") else {})}
    task = build.task(name, settings, dataset, tiny.model(), seed=0)
    encoded = examples.encode(task, dataset, "dev")
    assert max(encoded.features.lengths) <= 200  # (of two choices)
    found = runner.evaluate(task, encoded, precision="fp32", show=False)
    sections = task.sections(encoded, found.predictions, found.scores)
    page = Report("Long", "", list(sections)).write(folder / "report.html")
    return len(encoded.features), page.stat().st_size


@pytest.mark.parametrize("case", ROWS)
def test_long_examples(case: str, tmp_path: Path) -> None:
    sequences, page = evaluated(case, 30_000, tmp_path)
    assert (sequences > 50) is ROWS[case][2]
    assert page < 3_000_000


@pytest.mark.slow
@pytest.mark.parametrize("case", ROWS)
def test_examples_of_ten_megabytes(case: str, tmp_path: Path) -> None:
    sequences, page = evaluated(case, 10_000_000, tmp_path)
    assert (sequences > 10_000) is ROWS[case][2]
    assert page < 3_000_000


def test_a_tree_of_megabytes_is_refused(tmp_path: Path) -> None:
    rows = parsed(2_000_000)
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    config = {"train": str(tmp_path / "x.jsonl"), "dev": str(tmp_path / "x.jsonl")}
    dataset = open_dataset(DataConfig(**config), task="dependency")  # type: ignore[arg-type]
    task = build.task("dependency", {}, dataset, tiny.model(), seed=0)
    with pytest.raises(
        UserError, match=r"x\.jsonl, line 1: [\d,]+ words, more than task.max_words"
    ):
        examples.encode(task, dataset, "dev")
    skipping = open_dataset(DataConfig(**config, skip_bad=True), task="dependency")  # type: ignore[arg-type]
    assert len(examples.encode(task, skipping, "dev").records) == 1
