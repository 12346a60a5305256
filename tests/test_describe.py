"""``jeoni models list | show``: a preset or a checkpoint in numbers, as published."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import jeoni
import peers
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.convert import convert
from jeoni.models.describe import describe, on_meta, pretraining_heads
from jeoni.models.heads import build_head
from jeoni.models.model import Model

PRESETS = sorted(hub.presets())

# Millions of parameters as published, and how far the count may be from the rounded number.
PUBLISHED = {
    "bert-base": (110, 0.005), "bert-large": (340, 0.015), "bert-L2-H128": (4.4, 0.02),
    "bert-L4-H512": (29.1, 0.02), "distilbert-base-uncased": (66, 0.02),
    "albert-base-v2": (12, 0.02), "albert-large-v2": (18, 0.02), "albert-xlarge-v2": (60, 0.02),
    "albert-xxlarge-v2": (235, 0.06), "albert-base-shared-none": (108, 0.18),
    "electra-small": (14, 0.04), "electra-base": (110, 0.01), "electra-large": (335, 0.005),
    "roberta-base": (125, 0.005), "roberta-large": (355, 0.005), "xlm-roberta-base": (278, 0.005),
    "xlm-roberta-large": (560, 0.005),
    "openai-gpt": (117, 0.005), "gpt2": (124, 0.005), "gpt2-medium": (355, 0.005),
    "gpt2-large": (774, 0.001), "gpt2-xl": (1558, 0.001), "gpt3-175b": (174_600, 0.0005),
    "t5-small": (60, 0.02), "t5-base": (220, 0.02), "t5-large": (770, 0.05),
    "t5-3b": (2800, 0.02), "t5-11b": (11_000, 0.03),
}  # fmt: skip
"""Devlin 2019 (section 3), Turc 2019, Sanh 2019, Lan 2020 (table 1), Clark 2020, Liu 2019, Conneau 2020,
Radford 2018 and 2019 (with the corrected sizes of its repository), Brown 2020 (table D.1), Raffel 2020."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_published(name: str) -> None:
    millions, tolerance = PUBLISHED[name]
    assert describe(name).parameters.total / 1e6 == pytest.approx(millions, rel=tolerance)


def test_bert_large_is_not_340_million_however_it_is_counted() -> None:
    """Body, with pooler, with both pretraining heads; the paper's number is a rounded one."""
    found = describe("bert-large").parameters
    pooler = 1024 * 1024 + 1024
    assert found.body == 334_092_288
    assert found.body + pooler == 335_141_888
    assert found.total == 336_226_108


@pytest.mark.parametrize("name", PRESETS)
def test_the_parts_are_the_whole(name: str) -> None:
    model = on_meta(name)
    found = describe(name)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert sum(row.parameters for row in found.parts) == found.parameters.total
    assert len(found.parts) < 32  # a small table, however many layers
    p = found.parameters
    assert p.body == p.embedding + p.blocks + p.other == hub.parameter_count(model.backbone)
    assert p.total == hub.parameter_count(model) == p.body + sum(p.heads.values())
    assert min(p.embedding, p.blocks) > 0
    assert p.other >= 0
    if len(p.per_block) == 1:  # and not when blocks share parts, or there are two stacks
        (_, count, size), shared = p.per_block[0], model.spec.shared != "none"
        assert shared or count * size == p.blocks
    attention = sum(row.times for row in found.parts if row.name.endswith(".attention"))
    recurrent = sum(row.times for row in found.parts if row.name.endswith(".ahead"))
    assert attention + recurrent == model.spec.depth
    assert found.memory.weights_fp32 == 4 * p.total == found.memory.gradients
    assert found.memory.optimizer == 8 * p.total
    assert (found.operations.attention > 0) == (attention > 0)
    assert found.operations.attention < found.operations.body <= found.operations.forward
    assert (found.operations.body < found.operations.forward) == bool(model.heads)
    assert found.operations.training == 3 * found.operations.forward


def test_what_writes_keeps_keys_and_values() -> None:
    assert describe("bert-base").memory.kv_cache is None
    memory = describe("t5-small").memory
    assert memory.kv_cache == memory.kv_cache_read == 6 * 2 * 512 * 2
    assert describe("gpt3-175b").memory.kv_cache == 96 * 2 * 12288 * 2


def test_the_largest_is_there_at_once() -> None:
    largest = max(PRESETS, key=lambda name: hub.presets()[name][1].layers)
    on_meta("bert-base")  # what is imported is imported
    start = time.process_time()
    describe(largest)
    assert time.process_time() - start < 2


def test_an_encoder_decoder_uses_half_of_itself_for_a_token() -> None:
    """Brown et al., 2020, table D.1, counts 3 operations a parameter and token of T5."""
    assert describe("t5-11b", sequence=512).operations.per_parameter == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("family", peers.families())
def test_a_checkpoint_is_described_as_it_is(family: str, tmp_path: Path) -> None:
    data = peers.families()[family]
    spec = peers.fit(peers.SMALL, data)
    model = hub.create(family, spec, tokenizer=None)
    model.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()  # not read
    found = jeoni.describe(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert found.family == config["model_type"]
    assert found.spec == spec
    assert found.parameters.body == hub.parameter_count(model.backbone)
    assert found.operations.sequence == spec.positions


def test_the_class_in_config_says_which_heads() -> None:
    electra = peers.families()["electra"]
    assert pretraining_heads(electra) == ["replaced_token"]
    assert pretraining_heads(electra, ["ElectraForMaskedLM"]) == ["masked_lm"]
    assert pretraining_heads(electra, ["ElectraForQuestionAnswering"]) == ["replaced_token"]
    assert pretraining_heads(peers.families()["bert"]) == ["masked_lm", "next_sentence"]


@pytest.mark.parametrize("shard", ["5GB", "10KB"])
def test_heads_of_a_checkpoint_are_its_own(shard: str, tmp_path: Path) -> None:
    """Those of pretraining stand for what is not there; a head that no class has is there, too."""
    spec = peers.fit(peers.SMALL, peers.families()["electra"])
    model = hub.create("electra", spec, tokenizer=None)
    for kind in ("span", "masked_lm", "question_span"):
        model.add_head(kind, build_head(kind, model, {}))
    model.save(tmp_path / "one")
    convert(tmp_path / "one", tmp_path / "two", max_shard=shard)
    assert (tmp_path / "two" / "model.safetensors").exists() == (shard == "5GB")
    found, shown = on_meta(tmp_path / "two"), jeoni.describe(tmp_path / "two")
    assert found.heads.keys() == model.heads.keys()
    assert {p.device.type for p in found.parameters()} == {"meta"}
    assert shown.parameters.total == hub.parameter_count(model)
    assert {row.name.split(".")[1] for row in shown.parts if "heads." in row.name} == set(
        model.heads
    )


def test_a_classifier_reads_a_sequence_once(tmp_path: Path) -> None:
    peers.fresh("bert", "classification").save(tmp_path)
    found = jeoni.describe(tmp_path, sequence=16).operations
    assert found.heads == 2 * (48 * 48 + 48 * 3) / 16


def test_sequence_and_batch_decide() -> None:
    short, long = (describe("bert-base", sequence=n) for n in (128, 512))
    assert long.operations.attention == 4 * short.operations.attention
    assert long.operations.body - long.operations.attention == pytest.approx(
        short.operations.body - short.operations.attention
    )
    twice = describe("bert-base", sequence=512, batch=2)
    assert twice.memory.activations == pytest.approx(2 * long.memory.activations, abs=2)
    assert long.memory.activations_fused < long.memory.activations


def test_a_sequence_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(UserError, match="513 tokens, but there are 512 positions"):
        describe("bert-L2-H128", sequence=513)
    assert describe("t5-small", sequence=513).operations.sequence == 513  # relative positions


def test_random_numbers_are_not_touched() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = on_meta("bert-L2-H128")
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(model, Model)


def test_a_name_that_is_none_suggests_a_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="did you mean the preset 'bert-base"):
        describe("bert-bas")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    from typer.testing import CliRunner

    from jeoni.cli.models import app

    result = CliRunner().invoke(app, ["show", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "bert-base")
    for part in (
        "110,106,428 parameters", "stack.blocks.0-11.attention", "12 heads of 64, sees all",
        "768 -> 3,072, gelu", "vocabulary, tied", "196 MFLOP", "440.4 MB", "Kaplan",
    ):  # fmt: skip
        assert part in text, part
    found: dict[str, Any] = json.loads(shown(capsys, "bert-base", "--json", "--sequence", "128"))
    assert found["parameters"]["total"] == 110_106_428
    assert found["operations"]["sequence"] == 128
    assert found["spec"]["heads"] == 12
    assert found["parts"][0]["what"] == "table, 30,522 x 768"


def test_one_s_own_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    found = describe("modernbert-base", family="modern_bert:FAMILY", sequence=1024)
    rows = {row.name: row.what for row in found.parts}
    assert rows["stack.blocks.0.attention"] == "12 heads of 64, sees all, rotary"
    local = "12 heads of 64, sees all, less than 65 away, rotary"
    assert rows["stack.blocks.1,2...20.attention"] == local
    assert rows["stack.blocks.3,6...21.attention"] == rows["stack.blocks.0.attention"]
    assert rows["stack.blocks.1,2...20.feed_forward"] == "768 -> 1,152, gelu, gated"
