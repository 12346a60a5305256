"""A family from outside the package: ``examples/modern_bert.py``, by its path, with no change inside."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

import jeoni
import peers
import tiny
from jeoni.base.errors import UserError
from jeoni.cli import main
from jeoni.models import hub
from jeoni.models.config_file import read_spec, write_config
from jeoni.models.model import Model
from jeoni.models.weights import expand, to_theirs

EXAMPLES = Path(__file__).parents[1] / "examples"
FAMILY = "modern_bert:FAMILY"
LENGTHS = (1, 7, 50, 4, 9, 50, 23)


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


def make(seed: int = 0, **values: Any) -> Any:
    """A small ModernBERT of ``transformers``, every weight drawn anew."""
    tokens = dict.fromkeys([f"{kind}_token_id" for kind in ("eos", "bos", "cls", "sep")], 0)
    tokens["pad_token_id"] = None  # whose embedding would get no gradient
    sizes = {
        "vocab_size": 101, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 4,
        "num_attention_heads": 3, "max_position_embeddings": 50, "local_attention": 8,
    }  # fmt: skip
    config = transformers.ModernBertConfig(**(sizes | tokens | values))
    model = transformers.ModernBertModel._from_config(config, attn_implementation="eager")
    peers.scramble(model, seed)
    return model.eval()


def both(folder: Path, **values: Any) -> tuple[Any, Model]:
    theirs = make(**values)
    theirs.save_pretrained(folder)
    return theirs, jeoni.load(folder, family=FAMILY)


VARIANTS: dict[str, dict[str, Any]] = {
    "small": {},
    "one layer, one head": {"num_hidden_layers": 1, "num_attention_heads": 1},
    "every second global": {"layer_types": ["full_attention", "sliding_attention"] * 2},
    "all local": {"layer_types": ["sliding_attention"] * 4, "local_attention": 2},
    "all global": {"layer_types": ["full_attention"] * 4},
    "other frequencies": {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 500.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 30.0},
        }
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_states_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    theirs, ours = both(tmp_path, **VARIANTS[name])
    batch = peers.draw_batch(LENGTHS, ours.spec)
    with torch.no_grad():
        right, _ = peers.run(theirs, batch, ours.spec.vocab)
        states = ours.backbone.states(batch)
        assert len(states) == len(right) == ours.spec.layers + 1
        for mine, expected in zip(states, right, strict=True):
            assert peers.error(mine, expected) < 1e-5
        assert torch.equal(ours(batch), states[-1])


def test_the_choices_matter(tmp_path: Path) -> None:
    """Without the rotation, or without the windows, it is another model: the comparison can fail."""
    theirs, ours = both(tmp_path)
    batch = peers.draw_batch(LENGTHS, ours.spec)
    with torch.no_grad():
        right, _ = peers.run(theirs, batch, ours.spec.vocab)
        for name, value in (("rotate", None), ("window", 0)):
            kept = [getattr(block.attention, name) for block in ours.backbone.stack.blocks]
            for block in ours.backbone.stack.blocks:
                setattr(block.attention, name, value)
            assert peers.error(ours(batch), right[-1]) > 1e-3
            for block, old in zip(ours.backbone.stack.blocks, kept, strict=True):
                setattr(block.attention, name, old)
        assert peers.error(ours(batch), right[-1]) < 1e-5


def test_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    theirs, ours = both(tmp_path)
    batch = peers.draw_batch(LENGTHS, ours.spec)
    right, _ = peers.run(theirs, batch, ours.spec.vocab)
    (right[-1] ** 2).sum().backward()
    (ours(batch) ** 2).sum().backward()
    gradients = {n: p.grad for n, p in ours.backbone.named_parameters()}
    mine = to_theirs(gradients, expand(ours.family.body, ours.spec))
    expected = {n: p.grad for n, p in theirs.named_parameters()}
    assert mine.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (mine[name] - gradient).norm() < 1e-4 * gradient.norm(), name


def test_there_and_back(tmp_path: Path) -> None:
    theirs, ours = both(tmp_path / "theirs")
    assert not ours.fresh
    ours.save(tmp_path / "ours")
    before, after = (load_file(tmp_path / part / peers.WEIGHTS) for part in ("theirs", "ours"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again, info = peers.reload(tmp_path / "ours", "ModernBertModel")
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    batch = peers.draw_batch(LENGTHS, ours.spec)
    with torch.no_grad():
        first, second = (peers.run(m, batch, 101)[0][-1] for m in (theirs, again))
    assert torch.equal(first, second)


def test_config_of_the_published_files() -> None:
    """They say it in an older way than transformers 5 writes."""
    family = hub.own_family(FAMILY)
    base = family.presets["modernbert-base"]
    config = {theirs: getattr(base, ours) for ours, theirs in family.config.items()}
    older = {"global_attn_every_n_layers": 3, "local_attention": 128, "global_rope_theta": 160000.0}
    spec = read_spec(family, config | older, "config.json")
    assert spec == replace(base, windows=tuple([0, 65, 65] * 7 + [0]))
    small = hub.create(FAMILY, replace(base, layers=4, hidden=24, vocab=9), tokenizer=None)
    assert read_spec(family, write_config(small), "config.json").windows == (0, 65, 65, 0)
    with pytest.raises(UserError, match="norm_bias True"):
        read_spec(family, config | {"norm_bias": True}, "config.json")


@pytest.mark.parametrize(
    ("preset", "millions"), [("modernbert-base", 149), ("modernbert-large", 395)]
)
def test_parameters_are_as_published(preset: str, millions: int) -> None:
    """Warner et al., 2024, section 2: 149 and 395 million; with the vocabulary head's dense layer."""
    with torch.device("meta"):
        model = hub.create(FAMILY, preset, tokenizer=None)
    head = model.spec.hidden**2 + model.spec.hidden + model.spec.vocab
    assert round((hub.parameter_count(model.backbone) + head) / 1e6) == pytest.approx(
        millions, abs=1
    )


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    sys.argv = ["jeoni", *arguments]
    status = 0
    try:
        main.run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_trains_with_the_ordinary_commands(
    reviews_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """From a preset of its own to a run that is scored and asked."""
    monkeypatch.setattr(sys, "argv", [])
    data = [f"data.dev={reviews_csv}", "data.text=review", "data.label=stars"]
    out = str(tmp_path / "run")
    status, _, err = run(
        capsys, "finetune", "--family", FAMILY, "--model", "modernbert-tiny", "--out", out, "--json",
        *data, f"data.train={reviews_csv}", "spec.layers=2", "spec.hidden=32", "spec.heads=2",
            "tokenizer.vocab_size=300",
        "train.epochs=25", "train.lr=5e-3", "train.precision=fp32", "batch.size=16",
        "train.threads=1",
    )  # fmt: skip
    assert status == 0, err
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert f"--family {FAMILY}" in (tmp_path / "run/model/README.md").read_text()
    assert results["metrics"]["accuracy"] > 0.8  # it has seen these sixteen; half would be chance

    status, text, err = run(
        capsys, "evaluate", "--model", out, "--family", FAMILY, "--json", *data
    )  # fmt: skip
    assert status == 0, err
    assert json.loads(text)["metrics"]["accuracy"] == results["metrics"]["accuracy"]
    status, text, err = run(
        capsys, "classify", "--model", out, "--family", FAMILY, "--json", tiny.REVIEWS[0][0]
    )
    assert json.loads(text)[0]["label"] in tiny.LABELS
    status, _, err = run(capsys, "classify", "--model", out, "x")
    assert status == 2
    assert "no family named 'modernbert'" in err


def test_a_path_to_something_else(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="'modern_bert:Rotary' is not a family"):
        jeoni.load(tmp_path, family="modern_bert:Rotary")
