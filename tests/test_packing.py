"""Copies of weights while a model writes: the same texts, and nothing of them is left behind."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import peers
import tiny
from jeoni.models import hub, packing
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.ops import packed
from jeoni.text.training import train

FAMILIES = peers.families()
TOKENIZER = train(tiny.texts(), kind="bpe", vocab_size=300, like="gpt2")
PROMPTS = [[5, 9, 2], [7], [3, 4, 5, 6, 8, 9, 10, 11]]
NEW = 8


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Copies for however small a matrix and short a text; the shapes of those that are made."""
    shapes: list[tuple[int, int]] = []

    def product(
        weight: torch.Tensor, bias: torch.Tensor | None, rows: int
    ) -> Callable[..., torch.Tensor] | None:
        made = packed.product(weight, bias, rows)
        if made is not None:
            shapes.append((weight.shape[0], weight.shape[1]))
        return made

    monkeypatch.setattr(packing, "WORTH", 1)
    monkeypatch.setattr(packed, "LARGE", 1)
    monkeypatch.setattr(packing, "product", product)
    return shapes


def model_of(family: str) -> Model:
    spec = peers.fit(replace(peers.SMALL, layers=2, positions=64), FAMILIES[family])
    spec = replace(spec, vocab=TOKENIZER.vocab_size, decoder_start=0)
    model = hub.create(family, spec, tokenizer=TOKENIZER)
    model.add_head("language_model", build_head("language_model", model, {}))
    peers.scramble(model)
    model.config["eos_token_id"] = []
    return model


def replaced(model: nn.Module) -> list[str]:
    return [name for name, part in model.named_modules() if "forward" in part.__dict__]


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(48, 20), (20, 48), (7, 7)], ids=str)
def test_products_are_those_of_a_linear_layer(
    shape: tuple[int, int], biased: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever number of rows they were made for."""
    monkeypatch.setattr(packed, "LARGE", 1)
    layer = nn.Linear(shape[1], shape[0], bias=biased)
    for kind, most in ((torch.float32, 1e-5), (torch.bfloat16, 0.01)):
        layer.to(kind)
        with torch.no_grad():
            made = packed.product(layer.weight, layer.bias, rows)
            if kind == torch.float32 and rows == 1 and shape[1] > shape[0]:
                assert made is None
            for count in (1, 3, 40) if made is not None else ():
                x = torch.randn(count, shape[1], generator=torch.manual_seed(0)).to(kind)
                assert made is not None
                assert peers.error(made(x).float(), layer(x).float()) < most


def test_small_matrices_and_other_types_stay() -> None:
    assert packed.product(torch.zeros(64, 64), None, 8) is None
    assert packed.product(torch.zeros(512, 512, dtype=torch.float64), None, 8) is None
    assert packed.product(torch.zeros(512, 512), None, 8) is not None


@pytest.mark.parametrize("settings", [{}, {"beams": 3}, {"temperature": 1.0}], ids=str)
@pytest.mark.parametrize("family", ["gpt2", "t5", "bart"])
def test_texts_are_the_same(
    family: str, settings: dict[str, float], copying: list[tuple[int, int]]
) -> None:
    model = model_of(family)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "WORTH", NEW + 1)
        right = model.generate(PROMPTS, max_new=NEW, **settings)
    assert not copying
    found = model.generate(PROMPTS, max_new=NEW, **settings)
    assert [text.ids for text in found] == [text.ids for text in right]
    parts = 2 * (4 if family == "gpt2" else 6) + 1  # of blocks, without what reads the encoder
    assert len(copying) == parts
    alone = [model.generate([p], max_new=NEW, seed=n, **settings)[0] for n, p in enumerate(PROMPTS)]
    assert [text.ids for text in alone] == [text.ids for text in right]
    assert not replaced(model)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_copies_in_autocast_s_type(kind: torch.dtype, copying: list[tuple[int, int]]) -> None:
    """Where there are such products; else torch's."""
    model = model_of("t5")
    head, words = model.heads["language_model"], model.backbone.embeddings.words.weight
    x = torch.randn(3, model.spec.hidden, generator=torch.manual_seed(0))
    there = kind == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    copies = packing.Packed(model, 3, NEW)
    with torch.no_grad(), copies.used():
        plain = head(x, words)
        assert "forward" in head.__dict__
    with torch.no_grad(), torch.autocast("cpu", kind):
        right = head(x, words)
        with copies.used():
            found = head(x, words)
            assert ("forward" in head.__dict__) == there
        texts = model.generate(PROMPTS, max_new=NEW)
    assert (plain.dtype, right.dtype, found.dtype) == (torch.float32, kind, kind)
    assert peers.error(found.float(), right.float()) < 0.01
    assert all(len(text.ids) == NEW for text in texts)
    assert not replaced(model)


def test_bfloat16(copying: list[tuple[int, int]]) -> None:
    model = model_of("gpt2").to("cpu", torch.bfloat16)
    found = model.generate(PROMPTS, max_new=NEW)
    assert all(len(text.ids) == NEW for text in found)
    assert copying or not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def test_nothing_is_left_after_a_mistake(
    copying: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("gpt2").train()
    during: list[list[str]] = []

    def fails(logits: torch.Tensor) -> None:
        during.append(replaced(model))
        raise RuntimeError("no")

    monkeypatch.setattr("jeoni.models.sampling.likeliest", fails)
    with pytest.raises(RuntimeError, match="no"):
        model.generate(PROMPTS, max_new=NEW)
    assert during[0]
    assert not replaced(model)
    assert model.training


def test_nothing_is_left_between_pieces(copying: list[tuple[int, int]]) -> None:
    model = model_of("gpt2")
    pieces = model.stream([5, 9], max_new=NEW)
    next(pieces)
    made = len(copying)
    assert made
    assert not replaced(model)
    next(pieces)
    assert len(copying) == made  # nothing was trained: the same copies
    pieces.close()  # type: ignore[attr-defined]
    assert not replaced(model)


def test_what_is_trained_between_pieces_is_written_with(copying: list[tuple[int, int]]) -> None:
    """By the next token: as without copies."""

    def written() -> list[str]:
        model = model_of("gpt2").train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
        pieces = model.stream([5, 9], max_new=NEW)
        found = [next(pieces)]
        torch.manual_seed(0)  # dropout
        hidden = model(peers.Batch.pack(PROMPTS))
        hidden[:, 0].sum().backward()
        optimizer.step()
        return [*found, *pieces]

    found = written()
    assert len(copying) > len(set(copying)) * 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "WORTH", NEW + 1)
        assert written() == found
