"""``torchrun -m jeoni pretrain``: two processes give what one gives; each computes its part."""

from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

import launch
import objective_parts as parts
from jeoni.base.files import read_json
from jeoni.training import log


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masked LM without dropout (every rank draws its own), micro-batches of unequal size."""
    folder = tmp_path_factory.mktemp("ranks")
    text = "\n\n".join("\n".join(d) for d in parts.documents()) + "\n"
    (folder / "text.txt").write_text(text, encoding="utf-8")
    start = parts.model("bert").save(folder / "start")
    values = {
        "model": str(start),
        "objectives": {"masked_lm": {"whole_words": True}},
        "data": {"text": str(folder / "text.txt"), "held_out": 0.2},
        "length": 40,
        "batch": {"size": 9, "micro_tokens": 100, "eval_tokens": 150},
        "train": {
            "steps": 6, "eval_every": 3, "log_every": 2, "precision": "fp32", "threads": 1,
            "save_every": 2,
        },
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder / "recipe.yaml"


def test_two_processes_are_one(recipe: Path) -> None:
    folders = [recipe.parent / name for name in ("one", "two")]
    for processes, folder in enumerate(folders, 1):
        out = launch.run(["-m", "jeoni", "pretrain", str(recipe), f"out={folder}"], processes)
        assert out.count("Report: ") == 1  # one of them talks
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in folders)
    assert one.keys() == two.keys()
    for name, expected in one.items():
        assert (two[name] - expected).abs().max() <= 2e-5 * max(float(expected.abs().max()), 1), (
            name
        )
    a, b = (read_json(folder / "results.json") for folder in folders)
    assert a["metrics"] == pytest.approx(b["metrics"], rel=1e-4)
    assert a["training"]["tokens"] == b["training"]["tokens"]
    timing = {"seconds", "tokens_per_s"}
    for left, right in zip(*map(log.read, folders), strict=True):
        for key in left.keys() - timing:
            assert left[key] == right[key] or left[key] == pytest.approx(right[key], rel=1e-3), key
