"""What a model costs: counted by walking it, compared with what torch does and with published figures."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import peers
from jeoni.models import backbone, cost, hub
from jeoni.models.cost import Kept
from jeoni.models.describe import activations, describe, operations
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.nn.attention import CrossAttention, SelfAttention
from jeoni.nn.heads import LanguageModelHead
from jeoni.ops.attention import Sight

FAMILIES = peers.families()
GPT = ArchSpec(
    vocab=50257, hidden=1024, layers=24, heads=16, feed_forward=4096, width=1024, positions=2048,
    segments=0, norm="pre", causal=True, activation="gelu_new",
)  # fmt: skip


# Operations


@given(st.integers(1, 40), st.integers(0, 45), st.booleans())
def test_keys_seen_are_those_that_the_mask_leaves(length: int, window: int, causal: bool) -> None:
    mask = Sight(causal, window, 1.0).mask(length, torch.zeros(()))
    seen = length * length if mask is None else int((mask == 0).sum())
    assert cost.keys_seen(length, causal=causal, window=window) == pytest.approx(seen / length)


def counted(model: Model, length: int) -> int:
    """Operations of a forward pass by torch's own counter, which sees every product that is run."""
    batch = peers.draw_batch((length,), model.spec, family=model.family.name)
    if model.spec.decoder_layers:
        batch = replace(batch, decoder=peers.draw_batch((length,), model.spec))
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.backbone(batch)
    total: int = counter.get_total_flops()
    return total


def open_sight(model: Model) -> None:
    """Every token sees all: what masks leave out is computed all the same, and torch counts it."""
    for part in model.modules():
        if isinstance(part, SelfAttention):
            part.causal, part.window = False, 0


@pytest.mark.parametrize("family", FAMILIES)
def test_operations_are_what_torch_counts(family: str) -> None:
    """Of every family, so that none has products that the walk does not know."""
    spec = peers.fit(replace(peers.SMALL, width=20, layers=3), FAMILIES[family])
    model = hub.create(family, spec, tokenizer=None)
    open_sight(model)
    length = 16  # a length that attention does not pad
    assert cost.forward_flops(model.backbone, length) * length == counted(model, length)


def test_operations_of_shared_blocks_are_those_of_every_layer() -> None:
    spec = replace(peers.SMALL, layers=6)
    with torch.device("meta"):
        own, one, parts = (
            backbone.build(replace(spec, **sharing))
            for sharing in ({}, {"blocks": 1}, {"shared": "attention"})
        )
    assert hub.parameter_count(one) < hub.parameter_count(parts) < hub.parameter_count(own)
    flops = [cost.forward_flops(model, 20) for model in (own, one, parts)]
    assert flops[0] == flops[1] == flops[2]
    block = (4 * 48 * 48 + 2 * 48 * 40) * 2 + 4 * 48 * 20
    assert flops[0] == 6 * block


def model_of(spec: ArchSpec, *heads: str) -> Model:
    """On the meta device; the common transformer."""
    with torch.device("meta"):
        model = Model(family=FAMILIES["bert"], spec=spec, backbone=backbone.build(spec))
        for kind in heads:
            model.heads[kind] = LanguageModelHead(spec.hidden, spec.vocab, tied=True)
    return model


def test_operations_of_a_decoder_are_near_the_common_estimate() -> None:
    """6 N a token, and attention's 12 L H T / 2 (PaLM, 2022, appendix B, halved: half is not seen)."""
    model = model_of(GPT, "language_model")
    found = operations(model, 2048)
    tables = model.spec.positions * model.spec.hidden  # looked up only
    small = sum(p.numel() for p in model.parameters() if p.dim() == 1)
    n = hub.parameter_count(model) - tables - small
    assert found.training == pytest.approx(6 * n + 12 * 24 * 1024 * 2049 / 2, rel=1e-9)
    assert found.attention * 3 == pytest.approx(12 * 24 * 1024 * 2049 / 2)
    assert found.heads == 2 * 50257 * 1024


def test_windows_cost_less() -> None:
    far, near = (
        operations(model_of(replace(GPT, windows=w), "language_model"), 2048).attention
        for w in ((0,), (0, 128))
    )
    assert far / 2 < near < 0.57 * far


def test_operations_of_bert_as_the_electra_paper_has_them() -> None:
    """Clark et al., 2020, table 1: 2.9e10 for BERT-base on 128 tokens; table look-up as a product there."""
    found = describe("bert-base", sequence=128)
    lookup = 2 * 30522 * 768
    assert 128 * (found.operations.body + lookup) == pytest.approx(2.9e10, rel=0.03)
    small = describe("electra-small", sequence=128)
    lookup = 2 * 30522 * 128
    assert 128 * (small.operations.body + lookup) == pytest.approx(3.7e9, rel=0.1)


# Activations


class Saved(torch.autograd.graph.saved_tensors_hooks):
    """Bytes that autograd really keeps, each storage once, without the weights."""

    def __init__(self, model: Model) -> None:
        self._kept: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []
        self._weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        super().__init__(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights and tensor.dtype is not torch.int64:
            self._kept[storage.data_ptr()] = storage.nbytes()
            self._alive.append(tensor)
        return tensor

    @property
    def bytes(self) -> int:
        return sum(self._kept.values())


def saved_bytes(model: Model, lengths: tuple[int, ...]) -> int:
    """Of a backbone's forward pass."""
    batch = peers.draw_batch(lengths, model.spec, family=model.family.name)
    saved = Saved(model)
    with saved:
        out = model.backbone(batch)
    assert out.requires_grad
    return saved.bytes


VARIANTS: dict[str, dict[str, Any]] = {
    "post-norm": {},
    "pre-norm, causal": {"norm": "pre", "causal": True, "activation": "gelu_new"},
    "relu": {"activation": "relu"},
    "gated, RMS": {"norm": "pre", "norm_kind": "rms", "gated": True, "bias": False},
    "factorized": {"width": 32, "blocks": 1},
}


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("name", VARIANTS)
def test_activations_are_about_what_autograd_keeps(name: str, dropout: float) -> None:
    spec = ArchSpec(
        vocab=50, hidden=64, layers=4, heads=4, feed_forward=256, width=64, positions=96,
        dropout=dropout, attention_dropout=dropout,
    )  # fmt: skip
    spec = replace(spec, **VARIANTS[name])
    model = Model(family=FAMILIES["bert"], spec=spec, backbone=backbone.build(spec)).train()
    estimate = 3 * 96 * cost.kept_bytes(model.backbone, Kept(length=96, bytes=4))
    assert estimate == pytest.approx(saved_bytes(model, (96, 96, 96)), rel=0.04)


def test_activations_of_a_decoder_are_as_published() -> None:
    """Korthikanti et al., 2022, equation 1: s b h (34 + 5 a s / h) bytes a layer, in 16 bits."""
    body = model_of(GPT).backbone
    by_block = cost.kept_bytes(body.stack.blocks[0], Kept(length=2048))
    assert by_block == pytest.approx(1024 * (34 + 5 * 16 * 2048 / 1024), rel=0.015)
    fused = cost.kept_bytes(body.stack.blocks[0], Kept(length=2048, fused=True))
    assert fused == pytest.approx(1024 * 34, rel=0.04)


def test_the_vocabulary_layer_keeps_its_share() -> None:
    """A row for each token, and no logits: what is kept besides does not grow with the tokens."""
    spec = replace(GPT, vocab=300, hidden=64, width=64, heads=2, layers=1, positions=96)
    model = model_of(spec, "language_model").to_empty(device="cpu").train()
    how, head = Kept(length=96, bytes=4), model.heads["language_model"]
    words = model.backbone.embeddings.words.weight
    found = []
    for count in (96, 192):
        hidden = torch.zeros(count, 64, requires_grad=True)
        saved = Saved(model)
        with saved:
            head.loss(hidden, words, torch.zeros(count, dtype=torch.int64))  # type: ignore[operator]
        found.append(saved.bytes)
    estimate = activations(model, how) - cost.kept_bytes(model.backbone, how)
    assert found[1] - found[0] == 96 * estimate == 96 * 4 * 64


# Keys and values


def test_keys_and_values_that_writing_keeps() -> None:
    spec = replace(peers.SMALL, norm="pre", causal=True, layers=5)
    assert cost.cached_numbers(model_of(spec).backbone) == (5 * 2 * 48, 0)
    both = replace(peers.SMALL, layers=3, decoder_layers=2, head_size=10)
    body = model_of(both).backbone
    assert cost.cached_numbers(body) == (2 * 2 * 30, 2 * 2 * 30)
    assert sum(isinstance(part, CrossAttention) for part in body.modules()) == 2
    assert cost.cached_numbers(model_of(peers.SMALL).backbone) == (0, 0)
