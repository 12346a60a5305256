"""Next sentence and sentence order: losses and figures, beside other objectives, and as files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy

import objective_parts as parts
import peers
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import TokenStore
from jeoni.models import hub
from jeoni.objectives._draft import Noise
from jeoni.objectives._mixture import Mixture
from pair_texts import KINDS, NEXT, ORDER


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("real") / "store")


@pytest.mark.parametrize("kind", KINDS)
def test_decoders_are_refused(kind: str) -> None:
    for family in ("gpt2", "t5"):
        with pytest.raises(UserError, match=f"{kind}: the model must see both"):
            parts.mixture(kind, parts.model(family))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{"negative": 0}, {"negative": 1}, {"share": 0.5}])
def test_settings_out_of_range(kind: str, settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=rf"objectives\.{kind}"):
        parts.mixture({kind: settings}, parts.model())


def test_a_single_sentence_is_not_asked_about(real: TokenStore) -> None:
    """Loss and figures are those of the others; where there are none, the loss is 0."""
    mix = parts.mixture({ORDER: 1.0}, parts.model())
    chunks = mix.cut(real, mix.room(24))
    batch = mix.batch(chunks, np.arange(40), Noise(0, 0))
    truth = batch.targets[ORDER]
    asked = truth >= 0
    ends = zip(chunks.starts.tolist(), chunks.stops.tolist(), strict=True)
    several = [len(chunks.breaks(start, stop)) > 0 for start, stop in ends]
    assert asked.tolist() == several[:40]
    assert 0 < int(asked.sum()) < 40
    assert mix.counts(batch)[f"{ORDER}/0"] == float(asked.sum())
    mix.module.eval()
    loss = mix(batch)
    logits = mix.model.heads[ORDER](mix.model(batch), batch)
    assert loss.total.item() == pytest.approx(cross_entropy(logits[asked], truth[asked]).item())
    assert loss.metrics[f"{ORDER}_accuracy"][1] == float(asked.sum())
    alone = mix.batch(chunks, np.flatnonzero(~np.array(several))[:3], Noise(0, 0))
    assert mix(alone).total.item() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_by_cause(kind: str, real: TokenStore) -> None:
    mix = parts.mixture(kind, parts.model())
    batch = parts.batch(mix, real, indices=range(30))
    truth = batch.targets[kind]
    asked = float((truth >= 0).sum())
    mix.module.eval()
    head: Any = mix.model.heads[kind]
    for said in (0, 1):  # a head that always says the same
        with torch.no_grad():
            head.out.weight.zero_()
            head.out.bias.copy_(torch.tensor([1.0, 0.0] if said == 0 else [0.0, 1.0]))
        figures = mix(batch).metrics
        yes, no = float((truth == 0).sum()), float((truth == 1).sum())
        assert figures[f"{kind}_accuracy"] == ((yes, no)[said], asked)
        assert figures[f"{kind}_accuracy_positive"] == (yes * (1 - said), yes)
        assert figures[f"{kind}_accuracy_negative"] == (no * said, no)
    mix.module.train()
    assert mix(batch).metrics.keys() == {f"{kind}_loss"}


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns(kind: str, tmp_path: Path) -> None:
    few = parts.store(tmp_path / "store", texts=parts.documents()[:6])
    mix = parts.mixture(kind, parts.model())
    losses = parts.learn(mix, few, steps=30, size=16, length=48, fixed=True)
    assert losses[-1] < 0.2 < losses[0]


def micro_batches(mix: Mixture, store: TokenStore, cuts: list[int]) -> list[Batch]:
    order = np.split(np.arange(cuts[-1]), cuts[:-1])
    return [parts.batch(mix, store, indices=part.tolist(), length=48) for part in order]


@pytest.mark.parametrize(
    "pair", [("masked_lm", NEXT), (ORDER, "masked_lm"), (ORDER, "span_boundary")]
)
@pytest.mark.parametrize("cuts", [[12], [1, 4, 12], [5, 6, 7, 12]])
def test_the_mixture_is_the_weighted_sum_of_means(
    pair: tuple[str, str], cuts: list[int], real: TokenStore
) -> None:
    """Gradients and loss are those of two plain losses over one global batch, however it is cut."""
    weights = dict(zip(pair, (0.7, 1.3), strict=True))
    mix = parts.mixture(weights, parts.model())
    mix.module.train()
    whole = parts.batch(mix, real, indices=range(12), length=48)
    plain = sum(
        (weights[name] * mean for name in pair for mean in plain_means(mix, name, whole)),
        torch.zeros(()),
    )
    plain.backward()
    expected = parts.gradients(mix)
    batches = micro_batches(mix, real, cuts)
    mix.expect(parts.summed([mix.counts(batch) for batch in batches]))
    losses = [mix(batch) for batch in batches]
    for loss in losses:
        loss.total.backward()
    assert sum(loss.total.item() for loss in losses) == pytest.approx(plain.item(), rel=1e-5)
    assert sum(loss.count for loss in losses) == pytest.approx(1.0)
    means = {
        name: tuple(sum(loss.metrics[name][side] for loss in losses) for side in (0, 1))
        for name in losses[0].metrics
    }
    assert mix.figures(means)["loss"] == pytest.approx(plain.item(), rel=1e-5)  # type: ignore[arg-type]
    found = parts.gradients(mix)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert torch.allclose(gradient, expected[name], atol=2e-6), name


def plain_means(mix: Mixture, name: str, batch: Batch) -> list[torch.Tensor]:
    """Means of an objective's losses, one sequence after the other, with whole logits."""
    model, targets = mix.model, batch.targets
    words = model.backbone.embeddings.words.weight
    hidden = model(batch)
    if name in KINDS:
        logits = model.heads[name](hidden, batch)
        return [cross_entropy(logits, targets[name], ignore_index=-1)]
    own = model.heads["masked_lm"](hidden, words)
    masked = cross_entropy(own[targets["masked"]], targets["original"])
    if name == "masked_lm":
        return [masked]
    around = (targets["span_left"], targets["span_right"], targets["span_place"])
    outer = model.heads["span_boundary"](hidden, *around, words)
    return [masked, cross_entropy(outer, targets["original"][targets["span_inside"]])]


@pytest.mark.parametrize("other", ["masked_lm", "span_boundary"])
@pytest.mark.parametrize("kind", KINDS)
def test_masking_leaves_the_pair_as_it_is(kind: str, other: str, real: TokenStore) -> None:
    mix = parts.mixture({other: 1.0, kind: 1.0}, parts.model())
    chunks = Chunks(real, mix.room(48))
    clean, changed = parts.draft(mix, chunks, np.arange(40))
    places = changed.targets["masked"]
    assert not clean.special[places].any()
    assert (clean.segments == changed.segments).all()
    restored = changed.ids.copy()
    restored[places] = changed.targets["original"]
    assert (restored == clean.ids).all()
    both = np.bincount(clean.segments[places], minlength=2)
    assert both.min() > 0


def test_two_layouts_are_refused() -> None:
    with pytest.raises(UserError, match="next_sentence and sentence_order cannot be combined"):
        parts.mixture({NEXT: 1.0, ORDER: 1.0}, parts.model())
    with pytest.raises(UserError, match="masked_lm and span_boundary cannot be combined"):
        parts.mixture({"masked_lm": 1.0, "span_boundary": 1.0}, parts.model())


@pytest.mark.parametrize(
    ("family", "kind", "architecture"),
    [("bert", NEXT, "BertForPreTraining"), ("albert", ORDER, "AlbertForPreTraining")],
)
def test_saved_models_load_in_transformers(
    family: str, kind: str, architecture: str, tmp_path: Path
) -> None:
    text = parts.store(tmp_path / "store", parts.tokenizer(family))
    mix = parts.mixture({"masked_lm": 1.0, kind: 1.0}, parts.model(family))
    mix.model.save(tmp_path / "model")
    theirs, info = getattr(transformers, architecture).from_pretrained(
        tmp_path / "model", output_loading_info=True, attn_implementation="eager"
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    theirs.eval()
    mix.model.eval()
    batch = parts.batch(mix, text)
    with torch.no_grad():
        hidden = mix.model(batch)
        ours = mix.model.heads[kind](hidden, batch)
        fills = mix.model.heads["masked_lm"](hidden, mix.model.backbone.embeddings.words.weight)
        for number, single in enumerate(peers.split(batch)):
            found = theirs(input_ids=single.ids[None], token_type_ids=single.segments[None])
            two = found["seq_relationship_logits" if kind == NEXT else "sop_logits"]
            assert peers.error(ours[number], two[0]) < 1e-5
            own = peers.part(fills, batch, number)
            assert peers.error(own, found["prediction_logits"][0]) < 1e-5
    again = hub.load(tmp_path / "model")
    assert set(again.heads) == {"masked_lm", kind}


@pytest.mark.parametrize("family", ["bert", "electra"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", ["masked_lm", "span_boundary"])
def test_saved_models_go_on_in_jeoni(family: str, kind: str, other: str, tmp_path: Path) -> None:
    """Also with heads that the family's published layout has no names for."""
    text = parts.store(tmp_path / "store", parts.tokenizer(family))
    chosen = {other: 1.0, kind: 1.0}
    mix = parts.mixture(chosen, parts.model(family))
    parts.learn(mix, text, steps=1, size=8)
    mix.model.eval().save(tmp_path / "model")
    mix.expect({})
    again = parts.mixture(chosen, hub.load(tmp_path / "model"), seed=7)
    batch = parts.batch(mix, text)
    with torch.no_grad():
        assert again(batch).total.item() == pytest.approx(mix(batch).total.item(), rel=1e-6)
