"""Taggers that jeoni has trained are models of ``transformers``, where it has the class; and come back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers.models.auto import modeling_auto

import peers
from jeoni.models import hub
from jeoni.models.heads import classification_head, tagging_head
from jeoni.models.model import Model
from jeoni.recipes import card
from jeoni.serving.tagger import tag
from jeoni.tasks.tagging import Tagging, TaggingConfig
from jeoni.transfer import features
from peers import WEIGHTS, assert_same_outputs, edit_config, edit_weights, read_to_end
from shell import Run

KIND = frozenset({"tagging"})
LABELS = ["O", "B-PER", "I-PER"]
CLASSES = {n: f.architectures[KIND] for n, f in peers.families().items() if KIND in f.architectures}
TEXT = "the Han River bridge was near the old town"


def tagger(family: str = "bert", **settings: Any) -> Model:
    """A tagger with a vocabulary, all weights away from their defaults, as trained."""
    model = peers.reader(family, dropout=0.3, positions=64)
    config = TaggingConfig(labels=tuple(LABELS), max_length=64, **settings)
    model.settings = Tagging(model=model, config=config).settings()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.2, generator=generator)
    return model.eval()


def own_names(folder: Path) -> set[str]:
    return {name for name in load_file(folder / WEIGHTS) if name.startswith("heads.")}


def architecture(folder: Path) -> str:
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    return str(name)


def test_every_class_there_is() -> None:
    """But T5's: it is for the encoder alone, and has no decoder's states."""
    known = modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES
    named = {name: known[f.name] for name, f in peers.families().items() if f.name in known}
    own = {n: c for n, c in CLASSES.items() if n != "gpt3"}  # which is written as GPT-2
    assert own == {n: c for n, c in named.items() if n not in ("t5", "mt5")}


@pytest.mark.parametrize("family", CLASSES)
def test_it_is_a_tagger_of_transformers(family: str, tmp_path: Path) -> None:
    ours = peers.fresh(family, "tagging", dropout=0.3)
    ours.labels = list(LABELS)
    ours.save(tmp_path / "ours")
    assert architecture(tmp_path / "ours") == CLASSES[family]
    assert not own_names(tmp_path / "ours")
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "ours")
    assert type(theirs).__name__ == CLASSES[family]
    assert theirs.config.id2label == dict(enumerate(LABELS))
    assert theirs.config.label2id == {name: number for number, name in enumerate(LABELS)}
    assert_same_outputs(ours, theirs.eval())
    theirs.save_pretrained(tmp_path / "theirs")
    for part in ("ours", "theirs"):
        again = read_to_end(tmp_path / part)
        assert list(again.heads) == ["tagging"]
        assert (again.labels, again.settings["task"]) == (LABELS, "tagging")
        assert not again.fresh
        before, after = ours.state_dict(), again.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        head: Any = again.heads["tagging"]
        assert head.dropout.p == pytest.approx(getattr(getattr(theirs, "dropout", None), "p", 0.0))


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "bart", "openai_gpt"])
def test_old_names(family: str, tmp_path: Path) -> None:
    """As all taggers were written once, and those without a class are."""
    model = tagger(family)
    model.save(tmp_path)
    if family in CLASSES:
        moved = "classifier.", "heads.tagging.out."
        edit_weights(tmp_path, lambda old: {n.replace(*moved): t for n, t in old.items()})
        edit_config(tmp_path, architectures=[model.family.architectures[frozenset()]])
    assert own_names(tmp_path) == {"heads.tagging.out.weight", "heads.tagging.out.bias"}
    assert tag(tmp_path, TEXT) == tag(model, TEXT)
    loaded = read_to_end(tmp_path)
    Tagging(model=loaded, config=TaggingConfig(labels=tuple(LABELS), max_length=64))
    loaded.save(tmp_path / "again")
    assert bool(own_names(tmp_path / "again")) == (family not in CLASSES)
    assert tag(tmp_path / "again", TEXT) == tag(model, TEXT)


def test_what_has_no_class(tmp_path: Path, jeoni: Run) -> None:
    """A chain over the tags: the folder, the card and ``convert`` say that it is jeoni's."""
    pytest.importorskip("torchcrf")
    model = tagger(crf=True)
    model.save(tmp_path / "a")
    assert "passes over the head, `heads.*`" in card._loads_as(model)
    done = jeoni("convert", str(tmp_path / "a"), str(tmp_path / "b"))
    assert "as BertModel, without its head" in done.out
    for part in ("a", "b"):
        assert {name.split(".")[2] for name in own_names(tmp_path / part)} == {"out", "chain"}
        assert architecture(tmp_path / part) == "BertModel"
        assert tag(tmp_path / part, TEXT) == tag(model, TEXT)
    plain = tagger()
    assert card._loads_as(plain) == "In `transformers` it is `BertForTokenClassification`."
    plain.save(tmp_path / "c")
    done = jeoni("convert", str(tmp_path / "c"), str(tmp_path / "d"))
    assert "as BertForTokenClassification\n" in done.out
    assert tag(tmp_path / "d", TEXT) == tag(plain, TEXT)


def test_features_have_no_class(tmp_path: Path) -> None:
    model = peers.reader("bert")
    model.fresh.clear()  # as if they had been loaded
    features.edit(model, features.FeaturesConfig(), seed=0)
    config = TaggingConfig(labels=tuple(LABELS), max_length=20)
    model.settings = Tagging(model=model, config=config).settings()
    model.save(tmp_path)
    assert own_names(tmp_path)
    assert architecture(tmp_path) == "BertModel"
    assert tag(tmp_path, "the Han River") == tag(model, "the Han River")


def test_a_chain_on_a_tagger(tmp_path: Path) -> None:
    """What its tokens say by themselves stays, and is there without the chain again."""
    pytest.importorskip("torchcrf")
    tagger().save(tmp_path / "a")
    model = hub.load(tmp_path / "a")
    config = TaggingConfig(labels=tuple(LABELS), max_length=64, crf=True)
    model.settings = Tagging(model=model, config=config).settings()
    model.save(tmp_path / "b")
    assert tag(tmp_path / "b", TEXT, crf=False) == tag(tmp_path / "a", TEXT)


def test_choosing_has_a_classifier_too(tmp_path: Path) -> None:
    """RoBERTa's for multiple choice says nothing of tags."""
    family = peers.families()["roberta"]
    theirs = peers.make(family, "RobertaForMultipleChoice", peers.fit(peers.SMALL, family))
    theirs.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"nothing reads: classifier\.bias"):
        assert not hub.load(tmp_path).heads


def test_a_classifier_is_no_tagger(tmp_path: Path) -> None:
    """Though its ``classifier`` has the names, and for as many classes the shape, of a tagger's."""
    model = peers.fresh("bert", "classification")
    model.labels = list(LABELS)
    loaded = hub.load(model.save(tmp_path))
    assert list(loaded.heads) == ["classification"]
    Tagging(model=loaded, config=TaggingConfig(labels=tuple(LABELS), max_length=20))
    assert {"heads.tagging.out.weight", "heads.tagging.out.bias"} <= loaded.fresh


def test_beside_a_classifier(tmp_path: Path) -> None:
    """Both heads in one model: one name cannot be two tensors."""
    model = tagger()
    model.heads.pop("tagging")
    model.add_head("classification", classification_head(model, 3), seed=0)
    model.add_head("tagging", tagging_head(model, 5), seed=1)
    model.save(tmp_path)
    again = hub.load(tmp_path)
    again.add_head("tagging", tagging_head(again, 5), seed=2)
    for kind in ("classification", "tagging"):
        for name, tensor in model.heads[kind].state_dict().items():
            assert torch.equal(again.heads[kind].state_dict()[name], tensor), (kind, name)
