"""The model card says what ``transformers`` makes of the folder, and that is what happens."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

import peers
from jeoni.models import hub
from jeoni.recipes import card
from jeoni.tasks.classification import Classification, ClassificationConfig
from jeoni.tasks.span_qa import SpanQA, SpanQAConfig
from peers import WEIGHTS, fresh

FAMILIES = ("bert", "marian", "bart", "openai_gpt")
WITHOUT = {("marian", "classification"), ("marian", "span"), ("openai_gpt", "span")}


@pytest.mark.parametrize("kind", ["classification", "span"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_names_the_class(family: str, kind: str, tmp_path: Path) -> None:
    model = fresh(family, kind)
    model.save(tmp_path)
    (name,) = json.loads((tmp_path / "config.json").read_text())["architectures"]
    text = card._loads_as(model)
    assert f"`{name}`" in text
    _, info = peers.reload(tmp_path, name)
    whole = not info["unexpected_keys"]
    assert whole == ("In `transformers` it is" in text)
    assert whole == ("passes over the head" not in text)
    assert whole == ((family, kind) not in WITHOUT)
    own = {n for n in load_file(tmp_path / WEIGHTS) if n.startswith("heads.")}
    assert set(info["unexpected_keys"]) == (set() if whole else own)


@pytest.mark.parametrize("family", FAMILIES)
def test_jeoni_loads_the_head_all_the_same(family: str, tmp_path: Path) -> None:
    """Whatever config.json names: the task finds its weights, and draws nothing."""
    for kind, where in (("classification", "a"), ("span", "b")):
        model = fresh(family, kind)
        expected = {n: t.clone() for n, t in model.heads[kind].state_dict().items()}
        loaded = hub.load(model.save(tmp_path / where))
        if kind == "span":
            SpanQA(model=loaded, config=SpanQAConfig(max_length=20))
        else:
            Classification(model=loaded, config=ClassificationConfig(labels=("x", "y", "z")))
        assert not loaded.fresh
        found = loaded.heads[kind].state_dict()
        assert found.keys() == expected.keys()
        assert all((found[n] == t).all() for n, t in expected.items())


def test_a_head_for_other_classes_is_not_taken(tmp_path: Path) -> None:
    model = fresh("marian", "classification")
    model.labels = ["a", "b", "c"]
    model.save(tmp_path)
    for labels, new in ((("a", "b", "c"), False), (("x", "y", "z"), True), (("a", "b"), True)):
        loaded = hub.load(tmp_path)
        Classification(model=loaded, config=ClassificationConfig(labels=labels))
        assert ("heads.classification.out.weight" in loaded.fresh) == new
