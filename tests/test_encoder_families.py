"""What the contract test does not ask of RoBERTa, ALBERT, DistilBERT, TinyBERT and SpanBERT."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import peers
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.families import albert, distilbert
from jeoni.models.heads import build_head, classification_head, span_boundary_head
from jeoni.models.spec import ArchSpec
from jeoni.nn.heads import SpanBoundaryHead
from peers import WEIGHTS, assert_same_outputs, edit_config, edit_weights, fresh, read_to_end

FAMILIES = peers.families()


def written(family: str, architecture: str, folder: Path, **changes: Any) -> Any:
    """A model of ``transformers``, saved."""
    data = FAMILIES[family]
    theirs = peers.make(
        data, architecture, replace(peers.fit(peers.SMALL, data), **changes), seed=1
    )
    theirs.save_pretrained(folder)
    return theirs


# RoBERTa


def test_roberta_gives_every_token_its_one_segment() -> None:
    """A BERT tokenizer beside it (Korean ones have that) calls the second text's segment 1."""
    model = fresh("roberta", segments=1)
    ids = [[3, 4, 5], [6]]
    with torch.no_grad():
        one = model(Batch.pack(ids, [[0, 0, 1], [1]]))
        assert torch.equal(one, model(Batch.pack(ids)))
        model.backbone.embeddings.segments.weight[0, ::2] += 1.0
        assert peers.error(model(Batch.pack(ids)), one) > 0.01


@pytest.mark.parametrize("padding", [0, 1, 5])
def test_roberta_positions_begin_behind_the_padding_id(padding: int, tmp_path: Path) -> None:
    theirs = written("roberta", "RobertaModel", tmp_path, position_offset=padding + 1)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["max_position_embeddings"] == 20 + padding + 1
    ours = hub.load(tmp_path)
    assert (ours.spec.positions, ours.spec.position_offset) == (20, padding + 1)
    batch = peers.draw_batch((20, 1, 7), ours.spec)
    with torch.no_grad():
        assert peers.error(ours(batch), peers.run(theirs, batch, 101)[0][-1]) < 1e-5


def test_roberta_without_a_padding_id_has_the_published_one(tmp_path: Path) -> None:
    written("roberta", "RobertaModel", tmp_path)
    edit_config(tmp_path, remove=("pad_token_id",))
    assert hub.load(tmp_path).spec.position_offset == 2
    for key, value in (("pad_token_id", "1"), ("max_position_embeddings", None)):
        written("roberta", "RobertaModel", tmp_path)
        edit_config(tmp_path, **{key: value})
        with pytest.raises(UserError, match="not a size"):
            hub.load(tmp_path)


def test_roberta_published_file_with_a_pooler_nobody_trained(tmp_path: Path) -> None:
    """``roberta-base`` has one beside its vocabulary head; a bare body keeps it."""
    theirs = written("roberta", "RobertaForMaskedLM", tmp_path / "head")
    extra = {"roberta.pooler.dense.weight": torch.ones(48, 48)}
    edit_weights(tmp_path / "head", lambda tensors: tensors | extra)
    assert_same_outputs(read_to_end(tmp_path / "head"), theirs)
    bare = written("roberta", "RobertaModel", tmp_path / "bare")
    read_to_end(tmp_path / "bare").save(tmp_path / "again")
    again, _ = peers.reload(tmp_path / "again", "RobertaModel")
    assert torch.equal(again.pooler.dense.weight, bare.pooler.dense.weight)


# ALBERT


@pytest.mark.parametrize(("layers", "groups"), [(4, 2), (5, 3), (3, 3), (18, 14)])
def test_albert_groups(layers: int, groups: int, tmp_path: Path) -> None:
    """Also where ``transformers`` rounds a group's first layer down (18 layers, 14 groups)."""
    blocks = None if groups == layers else groups
    theirs = written("albert", "AlbertModel", tmp_path, layers=layers, blocks=blocks)
    ours = read_to_end(tmp_path)
    assert len(ours.backbone.stack.blocks) == groups
    assert_same_outputs(ours, theirs)
    for block in range(groups):
        first = ours.spec.order.index(block)
        assert ours.layer_of(f"backbone.stack.blocks.{block}.feed_forward.up.weight") == first + 1


@pytest.mark.parametrize("choice", ["attention", "feed_forward"])
def test_albert_layers_that_share_a_part(choice: Any, tmp_path: Path) -> None:
    """In ``transformers`` every layer has its own equal tensors; here the part exists once."""
    spec = albert.sharing(replace(fresh("albert").spec, layers=3), choice)
    ours = hub.create("albert", spec, tokenizer=None, seed=3)
    first, last = ours.backbone.stack.blocks[0], ours.backbone.stack.blocks[2]
    for part in ("attention", "attention_norm", "feed_forward", "feed_forward_norm"):
        same = part.removesuffix("_norm") == choice
        assert (getattr(first, part) is getattr(last, part)) == same
    ours.save(tmp_path)
    theirs, info = peers.reload(tmp_path, "AlbertModel")
    assert all("pooler" in key for key in info["missing_keys"])
    assert_same_outputs(ours, theirs)
    again = read_to_end(tmp_path)
    assert again.spec == spec
    assert hub.parameter_count(again) == hub.parameter_count(ours)
    ours(Batch.pack([[1, 2, 3]])).sum().backward()
    assert {n for n, p in ours.named_parameters() if p.grad is None} == {
        n for n, _ in ours.named_parameters() if "segments" in n and not spec.segments
    }


def test_albert_choices_and_what_is_not_one(tmp_path: Path) -> None:
    spec = fresh("albert").spec
    counts = {c: albert.sharing(replace(spec, layers=3), c).distinct for c in albert.CHOICES}
    assert counts == {"none": 3, "attention": 3, "feed_forward": 3, "all": 1}
    with pytest.raises(UserError, match="there are none, attention"):
        albert.sharing(spec, "norms")  # type: ignore[arg-type]
    written("albert", "AlbertModel", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for key, value, message in (
        ("inner_group_num", 2, "inner_group_num is 2"),
        ("num_hidden_groups", 3, "num_hidden_groups is 3"),
        ("num_hidden_groups", None, "num_hidden_groups is None"),
        ("shared_parameters", ["all"], "shared_parameters is"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(UserError, match=rf"config\.json: {message}"):
            hub.load(tmp_path)


# DistilBERT


def test_distilbert_with_waves(tmp_path: Path) -> None:
    theirs = written("distilbert", "DistilBertForMaskedLM", tmp_path / "theirs", sinusoidal=True)
    ours = read_to_end(tmp_path / "theirs")
    assert_same_outputs(ours, theirs)  # the table is the file's (here: noise)
    assert "embeddings.positions.weight" not in dict(ours.backbone.named_parameters())
    ours.save(tmp_path / "ours")
    before, after = (load_file(tmp_path / part / WEIGHTS) for part in ("theirs", "ours"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_distilbert_waves_are_those_of_transformers() -> None:
    from transformers import DistilBertConfig, DistilBertModel

    config = DistilBertConfig(
        dim=33, n_heads=3, n_layers=1, hidden_dim=4, vocab_size=5, sinusoidal_pos_embds=True
    )
    right = DistilBertModel(config).embeddings.position_embeddings.weight
    assert peers.error(distilbert.WaveTable(512, 33).weight, right.detach()) < 1e-6


def test_classification_dropout_is_the_family_s_own(tmp_path: Path) -> None:
    """Each family has another key in config.json, and another default."""
    dropouts = {}
    for name in ("bert", "roberta", "albert", "distilbert"):
        model = fresh(name, dropout=0.3)
        dropouts[name] = classification_head(model, 2).dropout.p
    assert dropouts == {"bert": 0.3, "roberta": 0.3, "albert": 0.1, "distilbert": 0.2}
    fresh("distilbert").save(tmp_path)
    edit_config(tmp_path, seq_classif_dropout=0.4)
    assert classification_head(hub.load(tmp_path), 2).dropout.p == 0.4


# TinyBERT and SpanBERT: BERT's layout


def test_tinybert_as_published_does_not_name_its_family(tmp_path: Path) -> None:
    theirs = written("bert", "BertModel", tmp_path)
    edit_config(tmp_path, remove=("model_type", "architectures"), cell={}, emb_size=312)
    with pytest.raises(UserError, match=r"no 'model_type'\n.*family='bert'"):
        hub.load(tmp_path)
    assert_same_outputs(hub.load(tmp_path, family="bert"), theirs)


def boundary_by_hand(
    head: SpanBoundaryHead, hidden: Tensor, left: int, right: int, place: int, words: Tensor
) -> Tensor:
    """Joshi et al., 2020, equations 2 to 4, for one token."""

    def layer(x: Tensor, dense: torch.nn.Linear, norm: torch.nn.LayerNorm) -> Tensor:
        x = dense.weight @ x + dense.bias
        x = x * 0.5 * (1 + torch.erf(x / 2**0.5))
        x = (x - x.mean()) / (x.var(unbiased=False) + norm.eps).sqrt()
        return x * norm.weight + norm.bias

    x = torch.cat([hidden[left], hidden[right], head.positions.weight[place]])
    x = layer(layer(x, head.first, head.first_norm), head.second, head.second_norm)
    return words @ x + head.bias


def test_span_boundary_head_is_the_paper_s(tmp_path: Path) -> None:
    model = fresh("bert", "span_boundary", "masked_lm")
    head, words = model.heads["span_boundary"], model.backbone.embeddings.words.weight
    batch = peers.draw_batch((12, 9), model.spec)
    # Spans of 3 tokens behind the 2nd of the first sequence, and of 1 behind the 4th of the second.
    spans = ((2, 6, 0), (2, 6, 1), (2, 6, 2), (16, 18, 0))
    left, right, places = (torch.tensor(column) for column in zip(*spans, strict=True))
    with torch.no_grad():
        hidden = model(batch)
        logits = head(hidden, left, right, places, words)
        by_hand = [boundary_by_hand(head, hidden, *span, words) for span in spans]  # type: ignore[arg-type]
    assert peers.error(logits, torch.stack(by_hand)) < 1e-5
    model.save(tmp_path)
    names = set(load_file(tmp_path / WEIGHTS))
    assert "cls.pair_target_predictions.mlp_layer_norm.layer_norm1.weight" in names
    again = read_to_end(tmp_path)
    with torch.no_grad():
        assert torch.equal(again.heads["span_boundary"](hidden, left, right, places, words), logits)


def test_span_boundary_head_beside_transformers_class(tmp_path: Path) -> None:
    """There it is passed over; older names of norms are read here."""
    model = fresh("bert", "span_boundary", "masked_lm")
    model.save(tmp_path)
    theirs, info = peers.reload(tmp_path, "BertForMaskedLM")
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [
        "BertForMaskedLM"
    ]
    assert not info["missing_keys"]
    assert all("pair_target" in key for key in info["unexpected_keys"])
    batch = peers.draw_batch((5, 9), model.spec)
    with torch.no_grad():
        words = model.backbone.embeddings.words.weight
        logits = model.heads["masked_lm"](model(batch), words)
        assert peers.error(logits, peers.run(theirs, batch, 101)[1]["masked_lm"]) < 1e-5

    def age(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        norm = "pair_target_predictions.mlp_layer_norm.layer_norm1"
        table = {"cls.pair_target_predictions.decoder.weight": words.detach()}
        renamed = {
            k.replace(f"{norm}.weight", f"{norm}.gamma").replace(f"{norm}.bias", f"{norm}.beta"): v
            for k, v in tensors.items()
        }
        return renamed | table

    edit_weights(tmp_path, age)
    old = read_to_end(tmp_path).heads["span_boundary"]
    for name, tensor in model.heads["span_boundary"].state_dict().items():
        assert torch.equal(old.state_dict()[name], tensor)


def test_span_boundary_head_has_the_published_sizes() -> None:
    with torch.device("meta"):
        model = hub.create("bert", "spanbert-base-cased", tokenizer=None)
        head = span_boundary_head(model)
        other = build_head("span_boundary", model, {"positions.weight": torch.empty(10, 8)})
    assert tuple(head.positions.weight.shape) == (20, 200)
    assert tuple(head.first.weight.shape) == (768, 2 * 768 + 200)
    assert tuple(other.positions.weight.shape) == (10, 8)  # type: ignore[union-attr,arg-type]


def test_every_published_encoder_is_a_preset() -> None:
    names = set(hub.presets())
    miniatures = {f"bert-L{n}-H{h}" for n in range(2, 13, 2) for h in (128, 256, 512, 768)}
    albert_names = {
        f"albert-{s}-v{v}" for s in ("base", "large", "xlarge", "xxlarge") for v in (1, 2)
    }
    assert miniatures | albert_names | {"tinybert-4", "tinybert-6", "spanbert-large-cased"} <= names
    for name in albert_names:
        family, spec = hub.presets()[name]
        assert isinstance(spec, ArchSpec)
        assert family == "albert"
        assert (spec.dropout == 0) == (name.endswith("v2") or "xxlarge" in name)
        assert spec.activation == ("gelu_new" if name.endswith("v2") else "gelu")
