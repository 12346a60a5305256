"""Replaced-token detection: what is shared, what is drawn, where gradients go, what is saved."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import cross_entropy

import objective_parts as parts
import peers
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import TokenStore
from jeoni.models import hub
from jeoni.objectives import replaced_token
from jeoni.objectives._mixture import Mixture
from jeoni.objectives.masked_lm import MASKED, ORIGINAL
from jeoni.objectives.replaced_token import LOTS, ReplacedToken
from jeoni.training import optimizer
from jeoni.training.config import TrainConfig

SHARED = ("words.weight", "positions.weight", "segments.weight", "norm.weight", "norm.bias")
EMBEDDINGS = {f"model.backbone.embeddings.{name}" for name in SHARED}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("real") / "store", parts.tokenizer("electra"))


def mixture(family: str = "electra", **settings: Any) -> Mixture:
    return parts.mixture({"replaced_token": settings}, parts.model(family))


def objective(mix: Mixture) -> ReplacedToken:
    found = mix.parts[0].objective
    assert isinstance(found, ReplacedToken)
    return found


def losses(mix: Mixture, batch: Batch) -> tuple[Tensor, Tensor]:
    """Sums of the generator's loss and of that of detection."""
    filled, found = mix.parts[0].objective.losses(mix._lead.run(batch), batch)
    return filled.total, found.total


def always(mix: Mixture, token: int) -> None:
    """Make the generator write the same token everywhere."""
    head: Any = objective(mix).generator.heads["masked_lm"]
    with torch.no_grad():
        head.bias.zero_()[token] = 1e4


def reading(mix: Mixture, batch: Batch) -> list[Batch]:
    """What the model, not the generator, is given to read."""
    seen: list[Batch] = []
    hook = mix.model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    mix._lead.losses(mix._lead.run(batch), batch)
    hook.remove()
    return seen


def test_embeddings_are_shared_and_trained_once() -> None:
    mix = mixture()
    generator, model = objective(mix).generator, mix.model
    own, shared = generator.backbone.embeddings, model.backbone.embeddings
    for part in ("words", "positions", "segments", "norm"):
        assert getattr(own, part) is getattr(shared, part)
    names = dict(mix.module.named_parameters())
    assert names.keys() >= EMBEDDINGS
    assert not any("generator.backbone.embeddings.words" in name for name in names)
    config = TrainConfig(lr=1e-3)
    built = optimizer.build(mix.module, optimizer.default_groups(mix.module), config)
    held = [id(p) for group in built.param_groups for p in group["params"]]
    assert len(held) == len(set(held)) == len(names)
    assert sum(p is shared.words.weight for g in built.param_groups for p in g["params"]) == 1
    both = sum(p.numel() for part in (model, generator) for p in part.parameters())
    once = sum(p.numel() for p in shared.parameters()) - sum(
        p.numel() for name, p in shared.named_parameters() if name.startswith("project")
    )
    assert sum(p.numel() for p in names.values()) == both - once


def test_they_are_still_shared_after_a_step(real: TokenStore) -> None:
    mix = mixture()
    before = mix.model.backbone.embeddings.words.weight.detach().clone()
    parts.learn(mix, real, steps=2)
    generator = objective(mix).generator
    assert not torch.equal(before, mix.model.backbone.embeddings.words.weight)
    assert generator.backbone.embeddings.words.weight is mix.model.backbone.embeddings.words.weight


@pytest.mark.parametrize(("size", "heads"), [(0.25, 1), (0.5, 2), (1.0, 4)])
def test_the_generator_is_narrower(size: float, heads: int) -> None:
    spec = objective(mixture(generator_size=size)).generator.spec
    assert (spec.heads, spec.hidden, spec.feed_forward) == (heads, 8 * heads, 16 * heads)
    assert spec.layers == 2
    assert objective(mixture(generator_layers=1)).generator.spec.layers == 1


def test_the_generator_s_vocabulary_head_is_tied_to_the_shared_table() -> None:
    head: Any = objective(mixture()).generator.heads["masked_lm"]
    assert head.out is None


def test_nothing_is_kept_random_or_special(real: TokenStore) -> None:
    """85% of the chosen are masked, the rest stays: the generator is asked for them all."""
    mix = mixture(rate=0.3)
    chunks = Chunks(real, mix.room(64))
    clean, changed = parts.draft(mix, chunks, np.arange(len(chunks)))
    places = changed.targets[MASKED]
    masked = changed.ids[places] == parts.tokenizer("electra").mask_id
    assert (changed.ids[places][~masked] == clean.ids[places][~masked]).all()
    assert abs(masked.mean() - 0.85) < 4 * (0.85 * 0.15 / len(places)) ** 0.5
    assert not clean.special[places].any()


def test_what_the_model_reads(real: TokenStore) -> None:
    """The text, with what the generator wrote at the chosen places; no mask is left."""
    mix = mixture()
    mix.module.train()
    batch = parts.batch(mix, real)
    places, wanted = batch.targets[MASKED], batch.targets[ORIGINAL]
    text = batch.ids.index_copy(0, places, wanted)
    (seen,) = reading(mix, batch)
    outside = torch.ones(len(text), dtype=torch.bool).index_fill(0, places, False)
    assert torch.equal(seen.ids[outside], text[outside])
    assert (seen.ids[places] != wanted).any()
    always(mix, 7)
    (seen,) = reading(mix, batch)
    assert set(seen.ids[places].tolist()) == {7}
    assert torch.equal(seen.segments, batch.segments)


def test_a_token_that_the_generator_gets_right_counts_as_original(real: TokenStore) -> None:
    mix = mixture()
    batch = parts.batch(mix, real)
    wanted = batch.targets[ORIGINAL]
    token = int(wanted.mode().values)
    always(mix, token)
    mix.module.eval()
    _, found = mix.parts[0].objective.losses(mix._lead.run(batch), batch)
    right = float((wanted == token).sum())
    assert right > 0
    assert found.metrics["generator_accuracy"] == (right, float(len(wanted)))
    assert found.metrics["recall"][1] == len(wanted) - right
    text = batch.ids.index_copy(0, batch.targets[MASKED], torch.full_like(wanted, token))
    truth = torch.zeros(len(text)).index_copy(0, batch.targets[MASKED], (wanted != token).float())
    head: Any = mix.model.heads["replaced_token"]
    read = Batch(text, batch.segments, batch.positions, batch.lengths)
    odds = torch.sigmoid(head(mix.model(read)).double())
    plain = -(truth * odds.log() + (1 - truth) * (1 - odds).log()).sum()
    assert found.total.item() == pytest.approx(plain.item(), rel=1e-5)
    said = odds > 0.5
    assert found.metrics["accuracy"] == (float((said == (truth > 0)).sum()), float(len(text)))
    assert found.metrics["precision"] == (
        float((said & (truth > 0)).sum()), float(said.sum()),
    )  # fmt: skip


def test_the_generator_s_loss_is_that_of_masked_lm(real: TokenStore) -> None:
    mix = mixture()
    batch = parts.batch(mix, real)
    generator = objective(mix).generator
    table = generator.backbone.embeddings.words.weight
    logits = generator.heads["masked_lm"](generator(batch), table)
    plain = cross_entropy(logits[batch.targets[MASKED]], batch.targets[ORIGINAL], reduction="sum")
    assert losses(mix, batch)[0].item() == pytest.approx(plain.item(), rel=1e-5)


def test_no_gradient_from_the_model_to_the_generator(real: TokenStore) -> None:
    """But through the embeddings that they share; nor from the generator to the model."""
    mix = mixture()
    mix.module.train()
    batch = parts.batch(mix, real)
    names = {name for name, _ in mix.module.named_parameters()}
    generator = {name for name in names if name.startswith("generator.")}
    assert len(generator) > 10
    losses(mix, batch)[1].backward()
    from_model = {name for name, gradient in parts.gradients(mix).items() if gradient.any()}
    assert not from_model & generator
    assert from_model >= EMBEDDINGS
    losses(mix, batch)[0].backward()
    from_generator = {name for name, gradient in parts.gradients(mix).items() if gradient.any()}
    assert from_generator <= generator | EMBEDDINGS
    assert from_generator >= EMBEDDINGS
    assert from_model | from_generator >= names - {"model.backbone.embeddings.project.bias"}


def test_weights_are_1_and_50(real: TokenStore) -> None:
    for settings, weight in (({}, 50.0), ({"detection": 5.0}, 5.0)):
        mix = mixture(**settings)
        mix.module.train()
        batch = parts.batch(mix, real)
        filled, found = losses(mix, batch)
        total = mix(batch).total.item()
        counts = mix.counts(batch)
        expected = filled / counts["replaced_token/0"] + weight * found / counts["replaced_token/1"]
        assert total == pytest.approx(expected.item(), rel=1e-5)
        assert counts["replaced_token/1"] == counts["tokens"] == len(batch.ids)


@pytest.mark.parametrize("cuts", [[1, 5], [3, 4]])
def test_micro_batches_add_up(cuts: list[int], real: TokenStore) -> None:
    """What is written depends on the sequence alone: the same gradients as of one batch."""
    mix = mixture()
    mix.module.train()
    mix(parts.batch(mix, real)).total.backward()
    expected = parts.gradients(mix)
    batches = [parts.batch(mix, real, indices=p.tolist()) for p in np.split(np.arange(8), cuts)]
    mix.expect(parts.summed([mix.counts(batch) for batch in batches]))
    for batch in batches:
        mix(batch).total.backward()
    for name, gradient in parts.gradients(mix).items():
        assert torch.allclose(gradient, expected[name], atol=1e-5), name


@pytest.mark.parametrize("training", [True, False])
def test_what_is_written_is_a_function_of_the_sequence(training: bool, real: TokenStore) -> None:
    """And of seed and epoch: not of the batch, the process, or what torch has drawn before."""
    mix = mixture()
    mix.module.train(training)
    batch = parts.batch(mix, real)
    (seen,) = reading(mix, batch)
    torch.rand(5)
    (again,) = reading(mix, batch)
    assert torch.equal(seen.ids, again.ids)
    (alone,) = reading(mix, parts.batch(mix, real, indices=[3]))
    assert torch.equal(alone.ids, torch.split(seen.ids, list(seen.lengths))[3])
    other = parts.batch(mix, real, epoch=1).targets[LOTS]
    assert not np.isin(other, batch.targets[LOTS]).any()


def test_it_learns(tmp_path: Path) -> None:
    """The generator to fill in, the model to tell: more than that most tokens are original."""
    few = parts.store(tmp_path / "store", parts.tokenizer("electra"), parts.documents()[:3])
    mix = mixture(generator_size=0.5, detection=10.0)
    found = parts.learn(mix, few, steps=50, size=8, lr=5e-3)
    assert np.mean(found[-5:]) < 0.85 * np.mean(found[:3])


@pytest.mark.parametrize("family", ["electra", "albert"])
def test_the_generator_is_dropped_when_saved(family: str, tmp_path: Path) -> None:
    """What is saved is what the model computes, whatever the generator has become."""
    text = parts.store(tmp_path / "store", parts.tokenizer(family))
    mix = mixture(family)
    parts.learn(mix, text, steps=2, size=8)
    mix.model.eval().save(tmp_path / "model")
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert sum(t.numel() for t in saved.values()) == sum(p.numel() for p in mix.model.parameters())
    again = parts.mixture("replaced_token", hub.load(tmp_path / "model"), seed=3).model
    assert not any(name.startswith("heads.") for name in again.fresh)
    batch = parts.batch(mix, text)
    head, other = mix.model.heads["replaced_token"], again.heads["replaced_token"]
    with torch.no_grad():
        assert torch.equal(head(mix.model(batch)), other(again(batch)))


def test_transformers_loads_the_discriminator(real: TokenStore, tmp_path: Path) -> None:
    mix = mixture()
    parts.learn(mix, real, steps=2, size=8)
    mix.model.eval().save(tmp_path)
    theirs, info = transformers.ElectraForPreTraining.from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager"
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    theirs.eval()
    batch = parts.batch(mix, real)
    with torch.no_grad():
        ours = mix.model.heads["replaced_token"](mix.model(batch))
        for number, single in enumerate(peers.split(batch)):
            found = theirs(input_ids=single.ids[None], token_type_ids=single.segments[None])
            assert peers.error(peers.part(ours, batch, number), found.logits[0]) < 1e-5


def test_models_that_do_not_fit() -> None:
    for family in ("gpt2", "t5"):
        with pytest.raises(UserError, match="replaced_token: the model must see both sides"):
            mixture(family)


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "xlnet"])
def test_other_encoders_share_their_table_with_a_narrow_generator(family: str) -> None:
    mix = mixture(family)
    generator = objective(mix).generator
    assert generator.spec.hidden < mix.model.spec.hidden
    assert generator.backbone.embeddings.words is mix.model.backbone.embeddings.words


def test_tables_of_unequal_width_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A family of one's own may know no projection."""
    narrow = replaced_token._narrow
    monkeypatch.setattr(replaced_token, "_narrow", lambda *given: replace(narrow(*given), width=8))
    with pytest.raises(UserError, match="word tables of the same width") as caught:
        mixture("bert")
    assert "electra" in str(caught.value.hint)


def test_it_stands_alone() -> None:
    with pytest.raises(UserError, match="replaced_token cannot be combined"):
        parts.mixture({"replaced_token": 1.0, "sentence_order": 1.0}, parts.model("electra"))


@pytest.mark.parametrize(
    "settings",
    [{"generator_size": 0}, {"generator_size": 1.5}, {"generator_layers": 0}, {"detection": 0}],
    ids=str,
)
def test_settings_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"objectives\.replaced_token"):
        mixture(**settings)
