"""``jeoni pretrain`` under torchrun: what one process gives; a process that is killed is started again."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

import launch
import objective_parts as parts
from jeoni.base.files import read_json
from jeoni.training import log

SCRIPT = Path(__file__).with_name("killed_rank.py")
MIXTURE = {"masked_lm": {"whole_words": True}, "sentence_order": 0.5}
# Which process is killed, before step 4 of 6 (the last checkpoint is that of step 2), and whether weights
# are divided.
WAYS: dict[str, tuple[str, dict[str, Any], int, bool]] = {
    "mixture": ("bert", MIXTURE, 0, False),
    "generator, divided": ("electra", {"replaced_token": {}}, 1, True),
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranks") / "text.txt"
    text = "\n\n".join("\n".join(d) for d in parts.documents()) + "\n"
    path.write_text(text, encoding="utf-8")
    return path


def recipe(folder: Path, text: Path, family: str, objectives: dict[str, Any]) -> str:
    """No dropout (every rank draws its own), micro-batches of unequal size."""
    values = {
        "model": str(parts.model(family).save(folder / "start")),
        "objectives": objectives,
        "data": {"text": str(text), "held_out": 0.2},
        "length": 40,
        "batch": {"size": 9, "micro_tokens": 100, "eval_tokens": 150},
        "train": {
            "steps": 6, "eval_every": 3, "log_every": 2, "precision": "fp32", "threads": 1,
            "save_every": 2,
        },
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return str(folder / "recipe.yaml")


@pytest.mark.parametrize(
    "way", ["mixture", pytest.param("generator, divided", marks=pytest.mark.slow)]
)
def test_two_processes_one_of_them_killed_are_one(way: str, text: Path, tmp_path: Path) -> None:
    family, objectives, killed, shard = WAYS[way]
    given = ["pretrain", recipe(tmp_path, text, family, objectives)]
    folders = one, two = tmp_path / "one", tmp_path / "two"
    launch.run(["-m", "jeoni", *given, f"out={one}"])
    script = [str(SCRIPT), "3", str(killed)]
    out = launch.run([*script, *given, f"out={two}", f"train.shard={shard}"], 2, restarts=3)
    assert out.count("Report: ") == 1  # one of them talks
    assert_same(one, two)
    a, b = (read_json(folder / "results.json") for folder in folders)
    assert a["metrics"] == pytest.approx(b["metrics"], rel=1e-4)
    assert a["training"]["tokens"] == b["training"]["tokens"]


def assert_same(one: Path, two: Path) -> None:
    """Weights, and all figures but times."""
    left, right = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    assert left.keys() == right.keys()
    for name, expected in left.items():
        furthest = (right[name] - expected).abs().max()
        assert furthest <= 2e-5 * max(float(expected.abs().max()), 1), name
    timing = {"seconds", "tokens_per_s"}
    for a, b in zip(log.read(one), log.read(two), strict=True):
        for key in a.keys() - timing:
            assert a[key] == b[key] or a[key] == pytest.approx(b[key], rel=1e-3), key
