"""The contract of every objective. A new file in ``objectives/`` is tested by being there."""

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

import objective_parts as parts
from jeoni.base.batch import Batch
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig
from jeoni.data.token_store import TokenStore
from jeoni.objectives import _mixture
from jeoni.objectives._batches import StoreBatches, held_out
from jeoni.objectives._draft import Noise
from jeoni.objectives._mixture import Mixture

LENGTH = 48
Sequence = list[tuple[list[int], list[int]]]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TokenStore]:
    """The documents in every family's tokens."""
    folder = tmp_path_factory.mktemp("stores")
    return {name: parts.store(folder / name, parts.tokenizer(name)) for name in parts.LIKE}


def built(*names: str) -> tuple[Mixture, str]:
    family = parts.fitting(*names)
    return parts.mixture(dict.fromkeys(names, 1.0), parts.model(family)), family


def test_settings_are_in_the_documents() -> None:
    """Each in its row, with the value that it has by default."""
    page = Path(__file__).parents[1] / "docs" / "pretraining.md"
    rows = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines()]
    said = {
        name: row[3] for row in rows if len(row) == 5 for name in re.findall(r"`(\w+)`", row[1])
    }
    for name in parts.NAMES:
        for key, field in _mixture.find(name).config.model_fields.items():
            value = str(field.default)
            value = value.lower() if isinstance(field.default, bool) else value
            alone = field.default is None or field.default == ()
            assert f"`{key}`" in said[name] if alone else f"`{key}={value}`" in said[name], (
                name,
                key,
            )


def check_counts(mix: Mixture, batch: Batch) -> None:
    """What is known before is what the losses turn out to be over."""
    objective_counts = mix.counts(batch)
    mix.expect({})
    hidden = mix._lead.run(batch)
    for part in mix.parts:
        losses = part.objective.losses(hidden, batch)
        assert [loss.count for loss in losses] == part.objective.counts(batch)
        names = [loss.name for loss in losses]
        assert len(set(names)) == len(names)
        assert all(name.endswith("loss") for name in names)
        for number, loss in enumerate(losses):
            assert objective_counts[f"{part.name}/{number}"] == loss.count > 0
            assert loss.total.dtype == torch.float32
            assert loss.total.shape == ()
            assert torch.isfinite(loss.total)
            assert all(count >= 0 for _, count in loss.metrics.values())


@pytest.mark.parametrize("name", parts.NAMES)
def test_it_says_what_it_is(name: str) -> None:
    kind = _mixture.find(name)
    assert kind.about
    assert "\n" not in kind.about
    assert issubclass(kind.config, Config)
    assert kind.config.__doc__
    kind.config()


@pytest.mark.parametrize("name", parts.NAMES)
def test_counts_are_those_of_the_losses(name: str, stores: dict[str, TokenStore]) -> None:
    mix, family = built(name)
    batch = parts.batch(mix, stores[family], length=LENGTH)
    for training in (True, False):
        mix.module.train(training)
        check_counts(mix, batch)


@pytest.mark.parametrize("name", parts.NAMES)
def test_the_same_every_time(name: str, stores: dict[str, TokenStore]) -> None:
    mix, family = built(name)
    first, again = (parts.batch(mix, stores[family], length=LENGTH) for _ in range(2))
    assert torch.equal(first.ids, again.ids)
    assert torch.equal(first.segments, again.segments)
    assert first.lengths == again.lengths
    assert first.targets.keys() == again.targets.keys()
    assert all(torch.equal(first.targets[k], again.targets[k]) for k in first.targets)


def sequences(batch: Batch) -> dict[int, Sequence]:
    """Ids and segments of the sequences, by example."""
    found: dict[int, Sequence] = {}
    ids = torch.split(batch.ids, list(batch.lengths))
    segments = torch.split(batch.segments, list(batch.lengths))
    for example, own, segment in zip(batch.examples, ids, segments, strict=True):
        found.setdefault(example, []).append((own.tolist(), segment.tolist()))
    return found


@pytest.mark.parametrize("name", parts.NAMES)
def test_neighbors_make_no_difference(name: str, stores: dict[str, TokenStore]) -> None:
    mix, family = built(name)
    chosen = [3, 0, 7, 5, 11]
    together = parts.batch(mix, stores[family], length=LENGTH, indices=chosen)
    counts = []
    for one in chosen:
        alone = parts.batch(mix, stores[family], length=LENGTH, indices=[one])
        assert sequences(alone)[one] == sequences(together)[one]
        counts.append(mix.counts(alone))
        if alone.decoder is not None and together.decoder is not None:
            assert sequences(alone.decoder)[one] == sequences(together.decoder)[one]
    assert parts.summed(counts) == mix.counts(together)


@pytest.mark.parametrize("name", parts.NAMES)
def test_ranks_and_micro_batches_divide_the_same_sequences(
    name: str, stores: dict[str, TokenStore]
) -> None:
    mix, family = built(name)

    def steps(world: int, micro: int) -> list[tuple[dict[str, float], dict[int, Sequence]]]:
        config = BatchConfig(size=10, micro_tokens=micro)
        batches = StoreBatches(stores[family], mix, length=LENGTH, config=config, seed=4)
        found = []
        for number in range(min(4, batches.steps(1))):
            own = [b for rank in range(world) for b in batches.get(1, number, rank, world)]
            together = {key: value for b in own for key, value in sequences(b).items()}
            found.append((parts.summed([mix.counts(batch) for batch in own]), together))
        return found

    whole = steps(1, 10**6)
    assert max(len(together) for _, together in whole) == 10
    for world, micro in ((1, 100), (2, 10**6), (3, 60), (7, 1)):
        assert steps(world, micro) == whole


@pytest.mark.parametrize("name", parts.NAMES)
def test_losses_are_the_same_however_a_step_is_divided(
    name: str, stores: dict[str, TokenStore]
) -> None:
    """Targets too, such as an order to predict in, are each sequence's own."""
    mix, family = built(name)
    if mix.whole:
        pytest.skip("compares the sequences of a step with each other")
    mix.module.eval()
    mix.expect({})
    torch.manual_seed(0)
    with torch.no_grad():  # drawn as small as usual, they say nearly the same of any input
        for weight in mix.module.parameters():
            weight.add_(0.5 * torch.randn_like(weight))

    def losses(world: int, micro: int) -> dict[str, float]:
        config = BatchConfig(size=10, micro_tokens=micro)
        batches = StoreBatches(stores[family], mix, length=LENGTH, config=config, seed=4)
        own = [b for rank in range(world) for b in batches.get(1, 0, rank, world)]
        with torch.no_grad():
            found = [mix(batch).metrics for batch in own]
        return {key: sum(one[key][0] for one in found if key in one) for key in found[0]}

    whole = losses(1, 10**6)
    for world, micro in ((1, 100), (3, 60), (7, 1)):
        assert losses(world, micro) == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("name", parts.NAMES)
def test_another_seed_or_epoch_corrupts_otherwise(name: str, stores: dict[str, TokenStore]) -> None:
    mix, family = built(name)
    chunks = mix.cut(stores[family], mix.room(LENGTH))

    def made(seed: int, epoch: int) -> list[list[int]]:
        batch = mix.batch(chunks, np.arange(12), Noise(seed, epoch))
        decoder = [] if batch.decoder is None else [batch.decoder.ids]
        found = [batch.ids, *(batch.targets[key] for key in sorted(batch.targets)), *decoder]
        return [values.tolist() for values in found]

    drawn = name not in ("causal_lm", "contrastive")  # these read the text as it is
    assert made(1, 2) == made(1, 2)
    assert (made(1, 2) != made(1, 3)) is drawn
    assert (made(1, 2) != made(2, 2)) is drawn


@pytest.mark.parametrize("name", parts.NAMES)
@pytest.mark.parametrize("length", [16, LENGTH, 100])
def test_no_sequence_is_too_long(name: str, length: int, stores: dict[str, TokenStore]) -> None:
    mix, family = built(name)
    chunks = mix.cut(stores[family], mix.room(length))
    batch = mix.batch(chunks, np.arange(len(chunks)), Noise(0, 0))
    assert max(batch.lengths) <= length
    assert min(batch.lengths) > 0
    assert sum(batch.lengths) == len(batch.ids)
    assert int(batch.ids.max()) < mix.model.spec.vocab
    if batch.decoder is not None:
        assert max(batch.decoder.lengths) <= length


@pytest.mark.parametrize("name", parts.NAMES)
def test_no_room(name: str) -> None:
    mix, _ = built(name)
    with pytest.raises(UserError, match="room"):
        mix.room(0)


@pytest.mark.parametrize("name", parts.NAMES)
def test_unknown_settings_are_named(name: str) -> None:
    with pytest.raises(UserError, match=rf"objectives\.{name}"):
        parts.mixture({name: {"no_such_setting": 1}}, parts.model(parts.fitting(name)))


@pytest.mark.parametrize("name", parts.NAMES)
def test_a_batch_is_learned(name: str, stores: dict[str, TokenStore]) -> None:
    mix, family = built(name)
    losses = parts.learn(mix, stores[family], steps=12, length=64, size=16, fixed=True)
    assert np.mean(losses[-3:]) < 0.98 * np.mean(losses[:3])


@pytest.mark.parametrize("name", parts.NAMES)
def test_held_out_text_is_always_the_same(name: str, stores: dict[str, TokenStore]) -> None:
    mix, family = built(name)
    first, again = (
        held_out(stores[family], mix, length=LENGTH, tokens=400, config=BatchConfig())
        for _ in range(2)
    )
    assert [b.ids.tolist() for b in first] == [b.ids.tolist() for b in again]
    mix.module.eval()
    mix.expect({})
    with torch.no_grad():
        for number, batch in enumerate(first):
            torch.manual_seed(number)
            figures = mix.figures(mix(batch).metrics)
            assert mix.figures(mix(batch).metrics) == figures
            assert all(np.isfinite(figure) for figure in figures.values())
            assert losses_of(figures.keys()) == {name}


@pytest.mark.parametrize("pair", list(itertools.combinations(parts.NAMES, 2)), ids="+".join)
def test_pairs_are_combined_or_refused(
    pair: tuple[str, str], stores: dict[str, TokenStore]
) -> None:
    try:
        mix, family = built(*pair)
    except UserError as error:
        assert any(name in str(error) for name in pair)  # noqa: PT017 (which one cannot, it says)
        return
    batch = parts.batch(mix, stores[family], length=LENGTH)
    check_counts(mix, batch)
    assert losses_of(mix(batch).metrics) == set(pair)


def test_two_of_the_same_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures go by the last name: one's count would be the other's."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for module, name in (("own_masks", "masked_lm"), ("own_order", "sentence_order")):
        line = f"from jeoni.objectives.{name} import OBJECTIVE\n"
        (tmp_path / f"{module}.py").write_text(line)
    with pytest.raises(UserError, match=r"two have the same name \(OBJECTIVE, OBJECTIVE\)"):
        parts.mixture({"own_masks:OBJECTIVE": 1.0, "own_order:OBJECTIVE": 1.0}, parts.model())
    parts.mixture({"own_masks:OBJECTIVE": 1.0, "sentence_order": 1.0}, parts.model())


def losses_of(keys: Iterable[str]) -> set[str]:
    """The objectives that have losses among these figures."""
    return {name for name in parts.NAMES for key in keys if re.fullmatch(rf"{name}_\w*loss", key)}
