"""The benchmark of the families: same weights, batch and loss on both sides; ratios within rounds."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="the peer is not installed"
)


@pytest.fixture(scope="module", autouse=True)
def benchmarks_importable() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))
    for name in ("families", "family_pair", "generation"):
        sys.modules.pop(name, None)


def test_it_runs_and_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from families import main

    out = tmp_path / "families.json"
    arguments = ["--quick", "--families", "distilbert", "--precision", "fp32"]
    rows = main([*arguments, "--out", str(out)])
    kinds = [(row["class"], row["mode"]) for row in rows]
    assert kinds == [
        (name, mode) for name in ("DistilBertForMaskedLM",) for mode in ("forward", "training")
    ]
    for row in rows:
        assert row["loss_difference"] < 1e-4
        assert row["milliseconds"].keys() == {"jeoni", "sdpa", "eager"}
        assert row["ratio_range"][0] <= row["ratio"] <= row["ratio_range"][1]
    written = json.loads(out.read_text())
    assert written["rows"] == rows
    assert written["machine"]["precision"] == "fp32"
    assert "DistilBertForMaskedLM" in capsys.readouterr().out


def test_the_faster_peer_counts_and_ratios_are_within_rounds() -> None:
    from families import alternate, summary

    times = {"jeoni": [1.0, 10.0, 2.0], "sdpa": [3.0, 20.0, 6.0], "eager": [9.0, 9.0, 9.0]}
    row = summary(times)
    assert (row["peer"], row["ratio"], row["ratio_range"]) == ("sdpa", 3.0, [2.0, 3.0])
    assert row["milliseconds"]["jeoni"] == 2000.0
    ticks = iter(range(100))
    called: list[str] = []
    calls = {name: (lambda name=name: called.append(name)) for name in "abc"}
    found = alternate(calls, 2, lambda: float(next(ticks)))
    assert "".join(called) == "abcbcacab"  # the first three warm up
    assert found == {name: [1.0, 1.0] for name in "abc"}


@pytest.mark.parametrize("family", ["roberta", "t5", "electra"])
def test_both_sides_have_the_same_loss_and_other_weights_do_not(
    family: str, tmp_path: Path
) -> None:
    from family_pair import SIZES, Pair

    pair = Pair(family, SIZES["quick"], tmp_path, torch.device("cpu"), "fp32")
    assert pair.check() < 1e-4
    with torch.no_grad():
        pair.ours.backbone.embeddings.words.weight[::2].mul_(-1)
    with pytest.raises(ValueError, match="losses differ"):
        pair.check()


def test_lengths_are_those_of_real_text() -> None:
    from family_pair import SIZES, lengths

    found = lengths(SIZES["small"])
    assert len(found) == 8
    assert len({whole for whole, _ in found}) > 4
    assert all(question < whole <= 384 for whole, question in found)
    assert found == lengths(SIZES["small"])


def test_a_family_without_a_peer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    from family_pair import peerless

    from jeoni.models.families import bert

    assert peerless("bert") is None
    sys.modules["no_peer"] = type(sys)("no_peer")
    sys.modules["no_peer"].FAMILY = replace(bert.FAMILY, name="no_peer")  # type: ignore[attr-defined]
    assert peerless("no_peer:FAMILY") == "transformers does not have it"
    del sys.modules["no_peer"]


@pytest.mark.slow
def test_writing_is_compared(tmp_path: Path) -> None:
    from generation import main

    out = tmp_path / "generation.json"
    arguments = ["--quick", "--families", "gpt2", "--precision", "fp32", "--out", str(out)]
    rows = main(arguments)
    assert [(row["class"], row["prompts"]) for row in rows] == [
        ("GPT2LMHeadModel", 1),
        ("GPT2LMHeadModel", 8),
    ]
    assert all(row["same"] >= 2 / 3 for row in rows)
    assert json.loads(out.read_text())["rows"] == rows
