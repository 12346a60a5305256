"""What the contract test does not ask of GPT-1, GPT-2 and GPT-3."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import peers
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from peers import WEIGHTS, assert_same_outputs, edit_config, edit_weights, fresh, read_to_end

FAMILIES = peers.families()
# Table 2.1 of Brown et al., 2020, and the counts in millions of table D.1.
GPT3 = {
    "gpt3-125m": (12, 768, 64, 125),
    "gpt3-350m": (24, 1024, 64, 356),
    "gpt3-760m": (24, 1536, 96, 760),
    "gpt3-1.3b": (24, 2048, 128, 1320),
    "gpt3-2.7b": (32, 2560, 80, 2650),
    "gpt3-6.7b": (32, 4096, 128, 6660),
    "gpt3-13b": (40, 5120, 128, 12850),
    "gpt3-175b": (96, 12288, 128, 174600),
}
GPT2 = {  # exact: of the published weights
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "openai-gpt": 116_534_784,
}


def writer(family: str, **changes: Any) -> Model:
    """A small model with a vocabulary head that is the word table."""
    model = fresh(family, **changes)
    model.add_head("language_model", build_head("language_model", model, {}))
    return model


def count(name: str) -> int:
    with torch.device("meta"):
        return hub.parameter_count(hub.create(hub.presets()[name][0], name, tokenizer=None))


@pytest.mark.parametrize("name", GPT2)
def test_parameters_are_those_of_the_published_weights(name: str) -> None:
    assert count(name) == GPT2[name]


@pytest.mark.parametrize("name", GPT3)
def test_gpt3_has_the_sizes_of_the_papers_table(name: str) -> None:
    layers, hidden, size, millions = GPT3[name]
    spec = FAMILIES["gpt3"].presets[name]
    assert (spec.layers, spec.hidden, spec.hidden // spec.heads) == (layers, hidden, size)
    assert (spec.positions, spec.vocab, spec.feed_forward) == (2048, 50257, 4 * hidden)
    assert set(spec.windows) == {0, 256}
    assert count(name) / 1e6 == pytest.approx(millions, rel=0.006)


def test_the_largest_is_174_6_billion() -> None:
    assert round(count("gpt3-175b") / 1e9, 1) == 174.6


# Round trips


def written(family: str, architecture: str, folder: Path, **changes: Any) -> Any:
    data = FAMILIES[family]
    spec = replace(peers.fit(peers.SMALL, data), **changes)
    theirs = peers.make(data, architecture, spec, seed=1)
    theirs.save_pretrained(folder)
    return theirs


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("family", "architecture"),
    [("gpt2", "GPT2LMHeadModel"), ("openai_gpt", "OpenAIGPTLMHeadModel")],
)
def test_output_layer_tied_or_not(
    family: str, architecture: str, tied: bool, tmp_path: Path
) -> None:
    theirs = written(family, architecture, tmp_path / "theirs", tied=tied)
    ours = read_to_end(tmp_path / "theirs")
    assert (dict(ours.heads.items())["language_model"].out is None) == tied
    assert_same_outputs(ours, theirs)
    ours.save(tmp_path / "ours")
    again, info = peers.reload(tmp_path / "ours", architecture)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert_same_outputs(again, theirs, tolerance=1e-12)


def test_weights_in_the_file_are_transposed(tmp_path: Path) -> None:
    model = writer("gpt2")
    model.save(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    assert "lm_head.weight" not in tensors
    theirs = tensors["transformer.h.1.attn.c_attn.weight"]
    assert theirs.shape == (48, 3 * 48)
    assert torch.equal(theirs.t(), model.backbone.stack.blocks[1].attention.qkv.weight)


def test_names_and_masks_of_the_first_checkpoints(tmp_path: Path) -> None:
    """Published GPT-2 weights have no prefix, no head, and the causal mask of every layer."""
    theirs = written("gpt2", "GPT2LMHeadModel", tmp_path)

    def as_published(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        bare = {n.removeprefix("transformer."): t for n, t in tensors.items() if "lm_head" not in n}
        masks = {f"h.{i}.attn.bias": torch.ones(1, 1, 20, 20).tril() for i in range(2)}
        ends = {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}
        return bare | masks | ends

    edit_weights(tmp_path, as_published)
    edit_config(tmp_path, remove=("activation_function", "n_inner"), n_ctx=20)
    with pytest.raises(UserError, match="wrong shape"):  # n_inner is four times the width then
        hub.load(tmp_path)
    edit_config(tmp_path, n_inner=40, activation_function="gelu")
    ours = read_to_end(tmp_path)
    assert_same_outputs(ours, theirs)
    assert "n_ctx" in ours.config


def test_defaults_that_config_json_leaves_out(tmp_path: Path) -> None:
    fresh("gpt2", feed_forward=192, activation="gelu_new", norm_eps=1e-5).save(tmp_path)
    spec = hub.load(tmp_path).spec
    keys = ("activation_function", "n_inner", "layer_norm_epsilon", "scale_attn_weights")
    edit_config(tmp_path, remove=keys)
    assert hub.load(tmp_path).spec == spec


@pytest.mark.parametrize(
    ("family", "values", "message"),
    [
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
        ("gpt2", {"n_head": 5}, "n_embd 48 is not a multiple of 5"),
        ("gpt2", {"n_inner": "wide"}, "feed_forward is 'wide', not a size"),
        ("gpt3", {"model_type": "gpt3", "windows": [0, -1]}, r"windows is \[0, -1\]"),
        ("gpt3", {"model_type": "gpt3", "windows": 256}, "windows is 256"),
        ("openai_gpt", {"afn": "tanh"}, "afn is 'tanh', not one of gelu, relu"),
        ("openai_gpt", {"n_embd": None}, "n_embd is None, not a size"),
    ],
)
def test_variants_that_are_not_built(
    family: str, values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    spec = peers.fit(peers.SMALL, FAMILIES[family])
    hub.create(family, spec, tokenizer=None).save(tmp_path)
    edit_config(tmp_path, **values)
    with pytest.raises(UserError, match=message):
        hub.load(tmp_path)


def test_another_rate_for_embeddings_is_said(tmp_path: Path) -> None:
    fresh("gpt2").save(tmp_path)
    edit_config(tmp_path, embd_pdrop=0.0)
    with pytest.warns(UserWarning, match="embd_pdrop is 0.0, resid_pdrop 0.1"):
        hub.load(tmp_path)


@pytest.mark.parametrize("changes", [{"activation": "gelu"}, {"feed_forward": 50}])
def test_what_gpt1_cannot_say_is_not_written(changes: dict[str, Any], tmp_path: Path) -> None:
    spec = replace(peers.fit(peers.SMALL, FAMILIES["openai_gpt"]), **changes)
    with pytest.raises(UserError, match="GPT-1's"):
        hub.create("openai-gpt", spec, tokenizer=None).save(tmp_path)


def test_fresh_weights_are_smaller_where_layers_add_up() -> None:
    spec = replace(FAMILIES["gpt2"].presets["gpt2"], layers=2, hidden=96, width=96, vocab=400)
    block = hub.create("gpt2", spec, tokenizer=None).backbone.stack.blocks[0].requires_grad_(False)
    assert block.attention.qkv.weight.std() == pytest.approx(0.02, rel=0.03)
    for layer in (block.attention.out, block.feed_forward.down):
        assert layer.weight.std() == pytest.approx(0.01, rel=0.03)


# GPT-3's bands


def banded(**changes: Any) -> Model:
    return writer("gpt3", windows=(0, 3), layers=3, **changes)


def test_bands_stay_bands(tmp_path: Path) -> None:
    model = banded()
    model.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["windows"]) == ("gpt3", [0, 3])
    again = read_to_end(tmp_path)
    assert again.family is FAMILIES["gpt3"]
    assert again.spec == model.spec
    assert_same_outputs(model, again, tolerance=1e-12)
    assert hub.parameter_count(again) == hub.parameter_count(model)


def test_without_bands_it_is_gpt2_for_everybody(tmp_path: Path) -> None:
    model = writer("gpt3")
    model.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "gpt2"
    assert "windows" not in config
    theirs, info = peers.reload(tmp_path, "GPT2LMHeadModel")
    assert not info["missing_keys"]
    assert_same_outputs(model, theirs)
    assert hub.load(tmp_path).family is FAMILIES["gpt2"]


def plain(model: Model, ids: list[int]) -> Tensor:
    """Logits of one sequence, layer by layer, query by query, head by head, key by key."""
    body, spec = model.backbone, model.spec
    tables = body.embeddings
    x = tables.words.weight[ids] + tables.positions.weight[: len(ids)]
    for number, block in enumerate(body.stack.blocks):
        window = spec.windows[number % len(spec.windows)]
        x = x + plain_attention(block, spec, x, window)
        up = block.feed_forward.up(block.feed_forward_norm(x))
        x = x + block.feed_forward.down(nn.functional.gelu(up))
    states: Tensor = body.stack.final_norm(x)
    return states @ tables.words.weight.t()


def plain_attention(block: Any, spec: ArchSpec, x: Tensor, window: int) -> Tensor:
    size = spec.hidden // spec.heads
    query, key, value = block.attention.qkv(block.attention_norm(x)).chunk(3, -1)
    rows = []
    for i in range(len(x)):
        seen = [j for j in range(i + 1) if not window or i - j < window]
        heads = []
        for a in range(spec.heads):
            part = slice(a * size, (a + 1) * size)
            scores = torch.stack([query[i, part] @ key[j, part] for j in seen]) / size**0.5
            weights = scores.softmax(0)
            heads.append(sum(w * value[j, part] for w, j in zip(weights, seen, strict=True)))
        rows.append(torch.cat(heads))  # type: ignore[arg-type]
    result: Tensor = block.attention.out(torch.stack(rows))
    return result


def test_bands_against_a_plain_loop() -> None:
    model = banded(activation="gelu")
    batch = peers.draw_batch((9, 1, 4, 20), model.spec, family="gpt3")
    with torch.no_grad():
        logits = peers.forward(model, batch)[1]["language_model"]
        for ids, mine in zip(
            batch.ids.split(batch.lengths), logits.split(batch.lengths), strict=True
        ):
            assert peers.error(mine, plain(model, ids.tolist())) < 1e-5


def test_a_banded_layer_sees_no_farther() -> None:
    """With bands in every layer, a far token reaches no farther than the bands added up."""
    model = fresh("gpt3", windows=(3,), layers=2)
    ids = torch.randint(101, (1, 20)).tolist()[0]
    other = [(ids[0] + 1) % 101, *ids[1:]]
    with torch.no_grad():
        first, second = (model(Batch.pack([row])) for row in (ids, other))
    changed = (first - second).abs().amax(-1) > 0
    assert changed[:5].all()
    assert not changed[5:].any()


def test_last_token_classifies() -> None:
    model = fresh("gpt2")
    head = model.add_head(
        "classification", build_head("classification", model, {"out.weight": torch.empty(3, 48)})
    )
    assert [name for name, _ in head.named_parameters()] == ["out.weight"]
    batch = peers.draw_batch((4, 9), model.spec, family="gpt2")
    with torch.no_grad():
        hidden = model(batch)
        assert torch.equal(head(hidden, batch), hidden[[3, 12]] @ head.out.weight.t())  # type: ignore[union-attr,operator]
