"""Checkpoints that come with jeoni: small, described, read here and by ``transformers``."""

import json
import math
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import jeoni
from jeoni.base.errors import UserError
from jeoni.base.files import read_json
from jeoni.models import hub, where
from jeoni.recipes.demo_lessons import KOREAN

NAMES = where.shipped()


def test_there_are_some() -> None:
    assert {"jeoni-ko-small", "jeoni-ko-small-qa", "jeoni-en-small"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_small_and_described(name: str) -> None:
    folder = where.resolve(name)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 25_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    for said in ("Text: ", "Licence: ", "steps", "floating-point operations", "loss"):
        assert said in card
    learned = ("jeoni finetune", "held-out questions") if name.endswith("-qa") else (
        "jeoni pretrain", "on held-out text")  # fmt: skip
    assert all(said in card for said in learned)
    assert str(Path.home()) not in card
    assert read_json(folder / "config.json")["torch_dtype"] == "bfloat16"
    data = (folder / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    tensors = {name: facts for name, facts in header.items() if name != "__metadata__"}
    assert {facts["dtype"] for facts in tensors.values()} == {"BF16"}
    assert sum(math.prod(facts["shape"]) for facts in tensors.values()) <= 12_000_000


@pytest.mark.parametrize("name", NAMES)
def test_transformers_reads_the_same(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    folder = where.resolve(name)
    ours = jeoni.load(name).eval()
    theirs = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    text = "전이 학습은 다른 과제에서 배운 것을 쓴다."
    (states,) = ours.hidden_states([text])
    ids = torch.tensor([ours.tokenizer.encode(text).ids])
    with torch.no_grad():
        last = theirs(ids).last_hidden_state[0].numpy()
    np.testing.assert_allclose(states[-1], last, atol=1e-4)


def test_a_slip_in_the_name() -> None:
    with pytest.raises(UserError, match="jeoni-ko-small"):
        jeoni.finetune(model="jeoni-ko-smal", data="wiki-ko-qa")


@pytest.mark.parametrize(
    ("data", "said"),
    [({"store": "/here/stores/ko"}, "--store ko "), ({"text": ["wiki-ko"]}, "data.text=wiki-ko "),
     ({"store": None, "text": ["/a/b.txt", "/a/c.txt"]}, "'data.text=[b.txt,c.txt]' ")],
)  # fmt: skip
def test_the_command_of_a_card(data: dict[str, Any], said: str) -> None:
    """It says which text, a store or files, and not where they were."""
    path = Path(__file__).parents[1] / "scripts" / "ship_checkpoint.py"
    script = runpy.run_path(str(path))
    recipe = {
        "data": data, "length": 128, "train": {"lr": 1e-3, "warmup": 0.1}, "seed": 1,
        "batch": {"tokens": None}, "objectives": {"masked_lm": 1.0},
    }  # fmt: skip
    command = script["command"](recipe, "bert-small")
    assert f"--model bert-small {said}objectives.masked_lm=1.0 " in command
    assert "/" not in command
    ends = {"flops": 2e14, "short": {"length": 32, "steps": 9}, "data": {**data, "fraction": 0.25}}
    command = script["command"]({**recipe, **ends}, "bert-small")
    for said in ("flops=200000000000000.0", "short.length=32 short.steps=9", "data.fraction=0.25"):
        assert f" {said} " in command


def test_weights_are_trained_in_float32() -> None:
    model = hub.load(where.resolve(NAMES[0]))
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_korean_reader_answers_what_the_demonstration_asks() -> None:
    for question, wanted in KOREAN.questions.items():
        assert jeoni.answer(KOREAN.reader, question, KOREAN.passage).text == wanted
