"""Students that start from a teacher's layers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import peers
from jeoni.base.errors import UserError
from jeoni.distillation.student import shrink
from jeoni.models import hub
from jeoni.models.families import albert, static
from jeoni.models.model import Model
from peers import assert_same_outputs, fresh


@pytest.fixture(scope="module")
def teacher() -> Model:
    model = fresh("bert", "masked_lm", "classification", layers=6)
    model.fresh = set()  # as loaded
    return model


def state(model: Model) -> dict[str, torch.Tensor]:
    return {name: t.detach() for name, t in model.state_dict().items()}


def test_distilbert_from_bert(teacher: Model, tmp_path: Path) -> None:
    """Every other layer, no segments (Sanh et al., 2019, section 3), as transformers runs it."""
    student = shrink(teacher, layers=[0, 2, 4], family="distilbert")
    old, new = state(teacher), state(student)
    block = "backbone.stack.blocks"
    for number, layer in enumerate([0, 2, 4]):
        for part in ("attention.qkv.weight", "feed_forward_norm.bias"):
            assert torch.equal(new[f"{block}.{number}.{part}"], old[f"{block}.{layer}.{part}"])
    assert torch.equal(
        new["backbone.embeddings.words.weight"], old["backbone.embeddings.words.weight"]
    )
    assert student.heads.keys() == {"masked_lm"}
    assert torch.equal(new["heads.masked_lm.dense.weight"], old["heads.masked_lm.dense.weight"])
    assert not student.fresh
    student.save(tmp_path)
    theirs, info = peers.reload(tmp_path, "DistilBertForMaskedLM")
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert_same_outputs(student, theirs)


def test_all_layers_are_the_teacher_itself(teacher: Model) -> None:
    assert_same_outputs(shrink(teacher, layers=range(6)), teacher, tolerance=1e-12)


def test_the_first_layers_compute_what_the_teacher_does(teacher: Model) -> None:
    student = shrink(teacher, layers=[0, 1, 2])
    batch = peers.draw_batch((5, 20, 1), teacher.spec)
    with torch.no_grad():
        whole, part = teacher.backbone.states(batch), student.backbone.states(batch)
    for mine, right in zip(part, whole[:4], strict=True):
        assert torch.equal(mine, right)


def test_the_teacher_does_not_learn_with_the_student(teacher: Model) -> None:
    before = {name: t.clone() for name, t in state(teacher).items()}
    student = shrink(teacher, layers=[5])
    for parameter in student.parameters():
        parameter.data.zero_()
    assert all(torch.equal(t, before[name]) for name, t in state(teacher).items())


def test_it_goes_on_as_its_own_model(teacher: Model, tmp_path: Path) -> None:
    student = shrink(teacher, layers=[1, 4])
    hub.save(student, tmp_path)
    assert hub.load(tmp_path).spec == replace(teacher.spec, layers=2)
    assert_same_outputs(hub.load(tmp_path), student, tolerance=1e-12)


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_what_was_drawn_is_drawn_in_the_student(family: str) -> None:
    teacher = fresh(family, "masked_lm", layers=4)
    student = shrink(teacher, layers=[1, 3])
    assert student.fresh == {name for name, _ in student.named_parameters()}
    teacher.fresh = {"backbone.stack.blocks.3.attention.qkv.weight"}
    found = {"bert": {"backbone.stack.blocks.1.attention.qkv.weight"}, "albert": set[str]()}
    assert shrink(teacher, layers=[1, 3]).fresh == found[family]


def test_layers_that_share_one_block() -> None:
    teacher = fresh("albert", layers=4)
    student = shrink(teacher, layers=[0, 3])
    assert (student.spec.layers, student.spec.distinct) == (2, 1)
    names = dict(student.backbone.named_parameters())
    for name, tensor in teacher.backbone.named_parameters():
        assert torch.equal(names[name], tensor)


def test_layers_that_share_a_part() -> None:
    spec = albert.sharing(replace(fresh("albert").spec, layers=4), "attention")
    teacher = hub.create("albert", spec, tokenizer=None)
    blocks = shrink(teacher, layers=[1, 3]).backbone.stack.blocks
    assert blocks[0].attention is blocks[1].attention
    old = teacher.backbone.stack.blocks
    assert torch.equal(blocks[1].feed_forward.up.weight, old[3].feed_forward.up.weight)


def test_windows_go_with_their_layers() -> None:
    spec = replace(peers.SMALL, layers=4, windows=(0, 3))
    student = shrink(hub.create("bert", spec, tokenizer=None), layers=[1, 2, 3])
    assert student.spec.windows == (3, 0, 3)
    assert [block.attention.window for block in student.backbone.stack.blocks] == [3, 0, 3]


@pytest.mark.parametrize("family", ["bart", "t5", "mt5", "marian"])
def test_encoder_and_decoder(family: str, tmp_path: Path) -> None:
    """Each stack has layers of its own (Shleifer and Rush, 2020, section 3)."""
    teacher = fresh(family, "language_model", layers=4)
    spec, old = teacher.spec, state(teacher)
    taken = {"encoder": [1, 3], "decoder": [0, 2, 3]}
    student = shrink(teacher, layers=taken["encoder"], decoder_layers=taken["decoder"])
    assert student.spec == replace(spec, layers=2, decoder_layers=3)
    for name, tensor in state(student).items():
        front, blocks, rest = name.partition(".blocks.")
        if blocks:
            stack = front.split(".")[1]
            number, _, end = rest.partition(".")
            name = f"{front}.blocks.{taken[stack][int(number)]}.{end}"
        assert torch.equal(tensor, old[name]), name
    student.save(tmp_path)
    theirs, info = peers.reload(tmp_path, teacher.family.architectures[frozenset(student.heads)])
    assert not info["unexpected_keys"]
    assert_same_outputs(student, theirs)
    assert shrink(teacher, layers=[0]).spec == replace(spec, layers=1)  # the whole decoder


def test_models_of_which_nothing_can_be_taken() -> None:
    elmo = next(iter(hub.presets("elmo").values()))[1]
    small = replace(elmo, hidden=16, feed_forward=24, filters=((1, 4),), highways=1)
    with pytest.raises(UserError, match=r"no such weights for the student: mix\.weights"):
        shrink(hub.create("elmo", small, tokenizer=None), layers=[0])
    table = static.StaticSpec(vocab=9, hidden=4, width=4, words=8, **static.FIXED)
    with pytest.raises(UserError, match=r"layers: the teacher has none, not \[0\]"):
        shrink(hub.create("static", table, tokenizer=None), layers=[0])


def test_mistakes(teacher: Model) -> None:
    with pytest.raises(UserError, match=r"layers 0 to 5, not \[6\]"):
        shrink(teacher, layers=[0, 6])
    with pytest.raises(UserError, match="needs a layer"):
        shrink(teacher, layers=[])
    with pytest.raises(UserError, match=r"no such weights .*embeddings\.project"):
        shrink(teacher, layers=[0], family="albert")
    with pytest.raises(UserError, match="decoder_layers: the teacher has none"):
        shrink(teacher, layers=[0], decoder_layers=[0])
    groups = fresh("albert", layers=4, blocks=2)
    with pytest.raises(UserError, match="in groups"):
        shrink(groups, layers=[0])
