"""Runs of the tiny model, and what tests ask of them."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

WEIGHTS = "model/model.safetensors"
QA = {"task": {"name": "span_qa", "max_length": 100, "stride": 16}}


def reviews(csv: Path, **more: Any) -> dict[str, Any]:
    return {"train": str(csv), "dev": str(csv), "text": "review", "label": "stars"} | more


def questions(file: Path, **more: Any) -> dict[str, Any]:
    return {"train": str(file), "dev": str(file)} | more


def same_weights(first: Path, second: Path) -> bool:
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
