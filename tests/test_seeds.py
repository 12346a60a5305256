"""Several seeds in one command: what they have in common is made once."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.data import catalog
from jeoni.models import hub
from jeoni.recipes import build
from jeoni.recipes.finetune import finetune
from jeoni.tasks.classification import Classification


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often data are read, cut, encoded, and a vocabulary is learned."""
    counts: Counter[str] = Counter()

    def watch(owner: Any, name: str) -> None:
        do: Callable[..., Any] = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return do(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    watch(catalog, "read")
    watch(catalog, "_held_out")
    watch(Classification, "encode")
    watch(build, "train_wordpiece")
    return counts


@pytest.mark.parametrize("start", ["folder", "preset"])
def test_data_are_read_and_encoded_once(
    start: str, calls: Counter[str], tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    data = {"train": str(reviews_csv), "text": "review", "label": "stars"}
    more: dict[str, Any] = {}
    if start == "preset":
        more = {"spec": {"hidden": 32, "heads": 2}, "tokenizer": {"vocab_size": 300}}
    model = tiny_folder if start == "folder" else "bert-L2-H128"
    recipe = tiny.recipe(model, data, tmp_path / "run", seeds=[1, 2, 3], **more)
    result = finetune(recipe, "train.steps=2")
    assert calls["encode"] == 2  # train and dev
    assert calls["_held_out"] == 1
    assert calls["read"] == 2  # a first line to see what they are for, then all
    assert calls["train_wordpiece"] == (start == "preset")
    losses = [run["metrics"]["loss"] for run in result.results["runs"]]
    assert len(set(losses)) == 3


def test_each_seed_is_as_if_alone(reviews_csv: Path, tmp_path: Path) -> None:
    data = {"train": str(reviews_csv), "text": "review", "label": "stars"}
    vocabulary = tiny.model().save(tmp_path / "words") / "vocab.txt"
    more = {
        "spec": {"hidden": 32, "heads": 2},
        "tokenizer": {"path": str(vocabulary), "lowercase": True},
    }
    together = tiny.recipe("bert-L2-H128", data, tmp_path / "both", seeds=[5, 6], **more)
    alone = tiny.recipe("bert-L2-H128", data, tmp_path / "one", seeds=[6], **more)
    for recipe in (together, alone):
        finetune(recipe, "train.steps=3")
    weights = [
        (folder / "model/model.safetensors").read_bytes()
        for folder in (tmp_path / "both/seed-6", tmp_path / "one")
    ]
    assert weights[0] == weights[1]
    assert hub.load(tmp_path / "both/seed-5").tokenizer.tokens == (
        hub.load(tmp_path / "one").tokenizer.tokens
    )
