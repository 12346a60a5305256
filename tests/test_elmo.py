"""ELMo against a plain loop over its published weights (``elmo_loop.py``); its two layouts; its words."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import elmo_loop
import peers
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.base.runtime import autocast
from jeoni.models import hub
from jeoni.models.config_file import read_spec, write_config
from jeoni.models.convert import convert
from jeoni.models.families import _elmo_files
from jeoni.models.families._elmo_backbone import Elmo, ElmoSpec
from jeoni.models.families.elmo import FAMILY, Characters, write
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.nn.elmo import PADDING, ScalarMix
from jeoni.tasks.classification import TASK
from jeoni.transfer import frozen

h5py = pytest.importorskip("h5py", reason="the elmo extra is not installed")

SPEC = ElmoSpec(
    vocab=262, hidden=10, layers=2, feed_forward=7, width=3, filters=((1, 2), (2, 3), (3, 4)),
    highways=2, characters=14, cell_clip=0.4, output_clip=0.3, activation="relu", dropout=0.5,
    **FAMILY.fixed,
)  # fmt: skip
VARIANTS = {
    "published": SPEC,
    "tanh": replace(SPEC, activation="tanh", highways=1),
    "not clipped": replace(SPEC, cell_clip=0.0, output_clip=0.0),
    "not residual, three layers": replace(SPEC, residual=False, layers=3),
    "no highway, one layer": replace(SPEC, highways=0, layers=1, filters=((4, 5),)),
}
SENTENCES = [
    ["Transfer", "learning", ",", "in", "short", "."],
    ["a"],
    ["전이", "학습은", "사전학습된언어모형에서", "시작한다"],
    ["a", "a", "Donaudampfschifffahrt", "é", "1,234", "🙂", "in", "a", "a", "."],
    ["."],
]


def publish(folder: Path, spec: ElmoSpec = SPEC, seed: int = 0) -> dict[str, Tensor]:
    """Files as the authors' code writes them; the weights."""
    options = {**write(spec), "dropout": 0.1}
    weights = elmo_loop.draw(options, seed)
    (folder / "x_options.json").write_text(json.dumps(options))
    with h5py.File(folder / "x_weights.hdf5", "w") as file:
        for name, tensor in weights.items():
            file[name] = tensor.detach().float().numpy()
    return weights


def pack(model: Model, sentences: list[list[str]]) -> Batch:
    rows = [model.tokenizer.encode_words(words) for words in sentences]  # type: ignore[attr-defined]
    return Batch.pack(rows)


@pytest.mark.parametrize("name", VARIANTS)
def test_states(name: str, tmp_path: Path) -> None:
    """All layers of all sentences are those of the loop, in float64, over the published arrays."""
    spec = VARIANTS[name]
    weights = publish(tmp_path, spec)
    model = hub.load(tmp_path)
    with torch.no_grad():
        found = model.backbone.states(pack(model, SENTENCES))
        right = [elmo_loop.states(weights, write(spec), words) for words in SENTENCES]
    assert len(found) == spec.layers + 1
    for layer, state in enumerate(found):
        expected = torch.cat([states[layer] for states in right])
        assert peers.error(state.double(), expected) < 1e-5
    clipped = torch.cat([part for states in right for part in states[1:]]).abs()
    assert not spec.output_clip or (clipped >= spec.output_clip).any()


@pytest.mark.parametrize("name", ["published", "tanh", "not clipped"])
def test_gradients(name: str, tmp_path: Path) -> None:
    spec = VARIANTS[name]
    weights = publish(tmp_path, spec)
    model = hub.load(tmp_path)
    states = model.backbone.states(pack(model, SENTENCES))
    generator = torch.Generator().manual_seed(3)
    factors = [torch.randn(s.shape, generator=generator) for s in states]
    sum((f * s).sum() for f, s in zip(factors, states, strict=True)).backward()  # type: ignore[union-attr]
    right = [elmo_loop.states(weights, write(spec), words) for words in SENTENCES]
    full = [torch.cat(parts) for parts in zip(*right, strict=True)]
    sum((f * s).sum() for f, s in zip(factors, full, strict=True)).backward()  # type: ignore[union-attr]
    mine = {n: p.grad.numpy() for n, p in model.backbone.named_parameters() if p.grad is not None}
    assert not mine["embeddings.characters.weight"][0].any()
    compared = 0
    for key, gradient in _elmo_files._published(mine, write(spec)):
        if key.endswith(
            "LSTMCell/B"
        ):  # one is taken off the forget gate's: not a gradient's matter
            gradient = gradient.reshape(4, -1) + np.array([[0], [0], [1], [0]])
        expected = weights[key].grad
        assert expected is not None, key
        difference = np.ravel(gradient) - np.ravel(expected.numpy())
        assert np.linalg.norm(difference) < 1e-4 * float(expected.norm()), key
        compared += 1
    assert compared == len(weights)


def test_packed_equals_one_by_one(tmp_path: Path) -> None:
    publish(tmp_path)
    model = hub.load(tmp_path)
    with torch.no_grad():
        together = torch.stack(model.backbone.states(pack(model, SENTENCES)))
        parts = together.split([len(words) for words in SENTENCES], 1)
        for words, part in zip(SENTENCES, parts, strict=True):
            alone = torch.stack(model.backbone.states(pack(model, [words])))
            assert peers.error(part, alone) < 1e-5


def test_words_texts_and_rows_give_the_same(tmp_path: Path) -> None:
    publish(tmp_path)
    model = hub.load(tmp_path)
    words = ["전이", "학습", ",", "short", "."]
    rows = [elmo_loop.characters(word, SPEC.characters) for word in words]
    results = model.hidden_states([words, "전이 학습, short.", rows])
    for result in results:
        assert result.shape == (3, 5, 10)
        assert np.allclose(result, results[0], atol=1e-6)
    half = results[0][0]
    assert np.array_equal(half[:, :5], half[:, 5:])  # the characters' layer, twice


def test_offsets_of_words_in_a_text(tmp_path: Path) -> None:
    publish(tmp_path)
    text = " 전이 학습 (Transfer)\t!"
    encoding = hub.load(tmp_path).tokenizer.encode(text)
    assert [text[a:b] for a, b in encoding.offsets] == ["전이", "학습", "(", "Transfer", ")", "!"]
    assert encoding.tokens == ["전이", "학습", "(", "Transfer", ")", "!"]
    assert hub.load(tmp_path).tokenizer.decode(encoding.ids) == "전이 학습 ( Transfer ) !"


@pytest.mark.parametrize(
    ("word", "begins"),
    [
        ("ab", [259, 98, 99, 260, 261]),
        ("가", [259, 235, 177, 129, 260, 261]),
        ("é", [259, 196, 170, 260]),
    ],
)
def test_characters_of_a_word(word: str, begins: list[int]) -> None:
    """Bytes and one; the published numbers."""
    row = Characters(50)(word)
    assert len(row) == 50
    assert row[: len(begins)] == begins
    assert set(row[len(begins) :]) == {PADDING}
    assert row == elmo_loop.characters(word, 50)


def test_a_long_word_is_cut() -> None:
    row = Characters(50)("x" * 80)
    assert row == [259, *[121] * 48, 260]


@pytest.mark.parametrize("length", range(1, 50))
def test_trimmed_words_are_whole_words(length: int) -> None:
    """Convolutions leave out padding; that changes nothing, at any length."""
    torch.manual_seed(length)
    filters = ((1, 3), (4, 3), (7, 3))
    with torch.no_grad():
        spec = replace(SPEC, filters=filters, highways=0, characters=50)
        cnn = Elmo(spec).embeddings
        row = torch.tensor([Characters(50)("q" * length), Characters(50)("a")])
        x = cnn.characters(row).transpose(1, 2)
        maxima = torch.cat([own(x).amax(-1) for own in cnn.filters], -1)
        assert torch.allclose(cnn(row), cnn.project(torch.relu(maxima)), atol=1e-6)


def test_config_keeps_every_field_of_the_spec() -> None:
    odd = replace(
        SPEC, init_range=0.05, dropout=0.3, mix_norm=True, layers=3, activation="tanh", highways=4
    )
    config = json.loads(json.dumps(write_config(hub.create("elmo", odd, tokenizer=None))))
    assert read_spec(FAMILY, config, "config.json") == odd


@pytest.mark.parametrize("kinds", [(), ("classification",), ("span",)])
def test_saved_and_loaded(kinds: tuple[str, ...], tmp_path: Path) -> None:
    model = hub.create("elmo", SPEC, tokenizer=None, seed=4)
    for kind in kinds:
        model.add_head(kind, build_head(kind, model, {"out.weight": torch.empty(3, 10)}))
    peers.scramble(model)
    model.save(tmp_path)
    again = peers.read_to_end(tmp_path)
    assert again.heads.keys() == set(kinds)
    assert not again.fresh
    right = model.state_dict()
    assert again.state_dict().keys() == right.keys()
    assert all(torch.equal(tensor, right[name]) for name, tensor in again.state_dict().items())
    assert again.hidden_states([SENTENCES[2]])[0].shape == (3, 4, 10)


def test_published_and_read_again(tmp_path: Path) -> None:
    publish(tmp_path, VARIANTS["not residual, three layers"])
    model = hub.load(tmp_path)
    (tmp_path / "again").mkdir()
    _elmo_files.export(model.backbone.state_dict(), write(model.spec), tmp_path / "again")
    again = hub.load(tmp_path / "again" / "weights.hdf5")
    right = hub.load(tmp_path / "x_options.json").state_dict()
    for name, tensor in again.state_dict().items():  # a one is added and taken off: rounding
        assert torch.allclose(tensor, right[name], atol=1e-6, rtol=0), name
    assert convert(tmp_path / "x_weights.hdf5", tmp_path / "ours").family == "elmo"
    ours = hub.load(tmp_path / "ours")
    inputs = [SENTENCES[0]]
    assert np.array_equal(ours.hidden_states(inputs)[0], model.hidden_states(inputs)[0])


def test_the_mix_is_new_and_a_task_s(tmp_path: Path) -> None:
    publish(tmp_path)
    model = hub.load(tmp_path)
    assert model.fresh == {"backbone.mix.weights", "backbone.mix.scale"}
    batch = pack(model, SENTENCES)
    states = torch.stack(model.backbone.states(batch))
    assert torch.allclose(model(batch), states.mean(0), atol=1e-6)
    model.backbone.mix.weights.data.copy_(torch.tensor([0.5, -1.0, 2.0]))
    model.backbone.mix.scale.data.fill_(1.7)
    shares = torch.tensor([0.5, -1.0, 2.0]).exp()
    expected = 1.7 * sum(share * state for share, state in zip(shares, states, strict=True))
    assert torch.allclose(model(batch), expected / shares.sum(), atol=1e-5)


def test_layers_may_be_normalized_before_they_are_mixed() -> None:
    states = [torch.randn(4, 6) * 10**n for n in range(2)]
    normed = [(s - s.mean(1, True)) / s.var(1, unbiased=False, keepdim=True).sqrt() for s in states]
    assert torch.allclose(ScalarMix(2, norm=True)(states), sum(normed) / 2, atol=1e-5)


def test_nothing_is_carried_on_unless_asked_for(tmp_path: Path) -> None:
    weights = publish(tmp_path)
    model = hub.load(tmp_path)
    body = model.backbone
    texts = [SENTENCES[:3], [SENTENCES[4], SENTENCES[2], SENTENCES[0]]]
    with torch.no_grad():
        first, second = (pack(model, text) for text in texts)
        before, fresh = body.states(first), body.states(second)
        _, carried = body.carry(first)
        on, _ = body.carry(second, carried)
        assert all(torch.equal(a, b) for a, b in zip(before, body.states(first), strict=True))
        assert all(torch.equal(a, b) for a, b in zip(fresh, body.states(second), strict=True))
        assert not torch.allclose(on[1], fresh[1], atol=1e-3)
        right = []
        for one, two in zip(*texts, strict=True):
            carry: elmo_loop.Carry = {}
            elmo_loop.states(weights, write(SPEC), one, carry)
            right.append(elmo_loop.states(weights, write(SPEC), two, carry))
    for layer, state in enumerate(on):
        assert peers.error(state.double(), torch.cat([r[layer] for r in right])) < 1e-5


@pytest.mark.parametrize(
    ("name", "millions"),
    [("small", 13.6), ("medium", 28.0), ("original", 93.6), ("original-5.5b", 93.6)],
)
def test_parameters_are_as_published(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = hub.create("elmo", f"elmo-{name}", tokenizer=None)
    published = [n for n, _ in model.named_parameters() if "mix." not in n]
    sizes = dict(model.named_parameters())
    total = sum(sizes[n].numel() for n in published) - 16  # there is no row for nothing
    assert total / 1e6 == pytest.approx(millions, abs=0.05)


def test_fresh_weights_are_a_function_of_the_seed() -> None:
    one, same, other = (hub.create("elmo", SPEC, tokenizer=None, seed=s) for s in (1, 1, 2))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name]), name
        constant = name.endswith(("bias", "mix.weights", "mix.scale"))
        assert constant == torch.equal(tensor, other.state_dict()[name]), name
    forget = one.backbone.stack.blocks[0].ahead.bias.view(4, -1)[1]
    assert torch.equal(forget, torch.ones(7))


@pytest.mark.parametrize("lengths", [(1,), (1, 1, 1), (60, 1, 7)])
def test_bfloat16_is_near_and_finite(lengths: tuple[int, ...]) -> None:
    model = hub.create("elmo", replace(SPEC, cell_clip=3.0, output_clip=3.0), tokenizer=None)
    rows = torch.randint(1, 262, (sum(lengths), SPEC.characters))
    batch = replace(Batch.pack([[0] * n for n in lengths]), ids=rows)
    right = torch.stack(model.backbone.states(batch)).detach()
    with autocast("bf16", "cpu"):
        states = model.backbone.states(batch)
    assert states[0].dtype == torch.bfloat16
    assert peers.error(torch.stack(states).float().detach(), right) < 0.04
    sum(s.float().square().sum() for s in states).backward()  # type: ignore[union-attr]
    for name, parameter in model.backbone.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_a_classifier_on_frozen_layers(tmp_path: Path) -> None:
    """What trains is the mix and the head; saved and loaded, they say the same."""
    publish(tmp_path)
    model = hub.load(tmp_path)
    task = TASK.task(model=model, config=TASK.config(labels=("plus", "minus")))
    groups = frozen.STRATEGY.groups(model, frozen.STRATEGY.config())
    trained = {name for group in groups if not group.frozen for name in group.parameters}
    head = {"heads.classification.out.weight", "heads.classification.out.bias"}
    assert trained == head | {"backbone.mix.weights", "backbone.mix.scale"}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    batch = replace(pack(model, SENTENCES), targets={"label": torch.tensor([0, 1, 0, 1, 1])})
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = task(batch).total
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert float(model.backbone.mix.weights.detach().std()) > 0
    model.save(tmp_path / "run")
    again = TASK.task(
        model=hub.load(tmp_path / "run"), config=TASK.config(labels=("plus", "minus"))
    )
    with torch.no_grad():
        assert torch.equal(again.logits(batch), task.logits(batch))


MISTAKES: dict[str, tuple[Any, str]] = {
    "no weights": (lambda f: (f / "x_weights.hdf5").unlink(), "neither config.json"),
    "damaged": (lambda f: (f / "x_weights.hdf5").write_bytes(b"x" * 100), "damaged or not hdf5"),
    "other sizes": (lambda f: edit(f, "lstm", projection_dim=6), "wrong shape: .*project.weight"),
    "another layer": (lambda f: edit(f, "lstm", n_layers=3), "no RNN_0/RNN/MultiRNNCell/Cell2"),
    "one more highway": (lambda f: edit(f, "char_cnn", n_highway=3), "no CNN_high_2"),
    "no sizes": (lambda f: edit(f, "lstm", dim=None), "no lstm.dim"),
    "filters": (lambda f: edit(f, "char_cnn", filters=[3]), r"should be \[\[width, number\]"),
    "short words": (lambda f: edit(f, "char_cnn", max_characters_per_token=2), "fewer than"),
    "activation": (lambda f: edit(f, "char_cnn", activation="sine"), "activation is 'sine'"),
    "no JSON": (lambda f: (f / "x_options.json").write_text("[1"), "not valid JSON"),
    "a list": (lambda f: (f / "x_options.json").write_text("[1]"), "not a JSON object"),
    "other options": (lambda f: (f / "x_options.json").write_text("{}"), "no 'lstm'"),
}


def edit(folder: Path, part: str, **values: Any) -> None:
    path = folder / "x_options.json"
    options = json.loads(path.read_text())
    options[part] |= values
    path.write_text(json.dumps(options))


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told(name: str, tmp_path: Path) -> None:
    publish(tmp_path)
    change, says = MISTAKES[name]
    change(tmp_path)
    with pytest.raises(UserError, match=says) as caught:
        hub.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_inputs_that_are_no_words_are_told(tmp_path: Path) -> None:
    publish(tmp_path)
    model = hub.load(tmp_path)
    with pytest.raises(UserError, match="input 1: each word must be a row of 14 characters"):
        model.hidden_states([["a"], [5, 2, 9]])
    with pytest.raises(UserError, match=r"input 0: id 262 is outside the vocabulary \(0..261\)"):
        model.hidden_states([[[262] * 14]])
    with pytest.raises(UserError, match="'' is not a word"):
        model.hidden_states([["a", ""]])
    with pytest.raises(UserError, match="a list of words, but this model's tokens are not"):
        peers.fresh("bert").hidden_states([["a", "b"]])
