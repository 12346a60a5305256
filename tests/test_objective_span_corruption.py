"""Span corruption: how much, in how many spans, which sentinels; nothing is lost and nothing wasted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import TokenStore
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.objectives._batches import StoreBatches
from jeoni.objectives._draft import Draft
from jeoni.objectives._mixture import Mixture
from jeoni.objectives._sentinels import sentinels
from jeoni.objectives.span_corruption import plan, spans


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("text") / "t5", parts.tokenizer("t5"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.drawn_store(tmp_path_factory.mktemp("drawn") / "t5", vocab=100)


def corrupted(mix: Mixture, store: TokenStore, length: int) -> tuple[Draft, Draft]:
    chunks = Chunks(store, mix.room(length))
    return parts.draft(mix, chunks, np.arange(len(chunks)))


def split(values: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    return [part.tolist() for part in np.split(values, np.cumsum(lengths)[:-1])]


@pytest.mark.parametrize("family", ["t5", "bart"])
@pytest.mark.parametrize("length", [9, 32, 65])
def test_the_text_can_be_put_together_again(family: str, length: int, tmp_path: Path) -> None:
    store = parts.store(tmp_path / "store", parts.tokenizer(family))
    vocab = parts.tokenizer(family).vocab_size + 30
    mix = parts.mixture("span_corruption", parts.model(family, vocab=vocab))
    clean, changed = corrupted(mix, store, length)
    assert changed.decoder is not None
    marks = sentinels(mix.model).tolist()
    end = mix.parts[0].objective.end
    reads = split(changed.ids, changed.lengths)
    writes = split(changed.targets["written"], changed.decoder.lengths)
    for whole, read, written in zip(split(clean.ids, clean.lengths), reads, writes, strict=True):
        assert written[-1] == end
        pieces: dict[int, list[int]] = {}
        for token in written[:-1]:
            if token in marks:
                now = pieces.setdefault(token, [])
                assert len(pieces) == marks.index(token) + 1
            else:
                now.append(token)
        assert all(pieces.values())
        found = [t for token in read for t in pieces.get(token, [token])]
        assert found == whole
        assert [t for t in read if t in marks] == list(pieces)


def test_what_the_decoder_reads_is_one_place_behind(text: TokenStore) -> None:
    mix = parts.mixture("span_corruption", parts.model("t5", decoder_start=7))
    batch = parts.batch(mix, text, length=40)
    assert batch.decoder is not None
    written = torch.split(batch.targets["written"], list(batch.decoder.lengths))
    for read, wrote in zip(
        torch.split(batch.decoder.ids, list(batch.decoder.lengths)), written, strict=True
    ):
        assert read.tolist() == [7, *wrote[:-1].tolist()]
    assert batch.decoder.positions[: len(written[0])].tolist() == list(range(len(written[0])))
    assert mix.tokens(batch) == len(batch.ids) + len(batch.decoder.ids)
    assert mix.rows(batch) == {"language_model": len(batch.decoder.ids)}


@pytest.mark.parametrize(("rate", "mean"), [(0.15, 3.0), (0.3, 2.0), (0.5, 8.0)])
def test_share_and_mean_length(rate: float, mean: float, drawn: TokenStore) -> None:
    chosen = {"span_corruption": {"rate": rate, "mean": mean}}
    mix = parts.mixture(chosen, parts.model("t5"))
    clean, changed = corrupted(mix, drawn, 128)
    marks = np.isin(changed.ids, sentinels(mix.model)).sum()
    taken = len(clean.ids) - (len(changed.ids) - marks)
    assert abs(taken / (~clean.special).sum() - rate) < 0.01
    assert abs(taken / marks - mean) < 0.1 * mean


def test_no_special_token_is_taken_and_no_text_is_without_a_span(drawn: TokenStore) -> None:
    mix = parts.mixture("span_corruption", parts.model("t5"))
    clean, changed = corrupted(mix, drawn, 24)
    end = parts.tokenizer("t5").eos_id
    assert (changed.ids == end).sum() == (clean.ids == end).sum() == len(clean.lengths)
    marked = np.isin(changed.ids, sentinels(mix.model))
    assert (np.bincount(changed.owners[marked], minlength=len(clean.lengths)) > 0).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40, 333])
@pytest.mark.parametrize(("rate", "mean"), [(0.15, 3.0), (0.9, 1.0), (0.01, 5.0)])
def test_spans_of_any_text(count: int, rate: float, mean: float) -> None:
    taken, parted = plan(count, rate, mean)
    for seed in range(20):
        chosen = spans(count, rate, mean, np.random.default_rng(seed))
        assert chosen.sum() == taken
        assert (np.diff(chosen.astype(int), prepend=0) == 1).sum() == parted
        assert not chosen[0]
        assert chosen[-1] == (count > 1)


def test_every_cut_is_as_likely_as_another() -> None:
    found: dict[tuple[bool, ...], int] = {}
    times = 4000
    for seed in range(times):
        chosen = tuple(spans(10, 0.5, 2.5, np.random.default_rng(seed)).tolist())
        found[chosen] = found.get(chosen, 0) + 1
    assert len(found) == 16  # five tokens in two parts, and five others: four ways each
    chi = sum((count - times / 16) ** 2 / (times / 16) for count in found.values())
    assert chi < 38  # 15 degrees of freedom: 1 in 1000


@pytest.mark.parametrize("length", [12, 64, 127, 128])
@pytest.mark.parametrize(("rate", "mean"), [(0.15, 3.0), (0.5, 3.0), (0.8, 10.0)])
def test_nothing_is_wasted(length: int, rate: float, mean: float, drawn: TokenStore) -> None:
    chosen = {"span_corruption": {"rate": rate, "mean": mean}}
    mix = parts.mixture(chosen, parts.model("t5"))
    _, changed = corrupted(mix, drawn, length)
    assert changed.decoder is not None
    longest = max(changed.lengths.max(), changed.decoder.lengths.max())
    assert length - 1 <= longest <= length
    taken, parted = plan(mix.room(length) + 1, rate, mean)
    assert max(mix.room(length) + 1 - taken + parted + 1, taken + parted + 1) > length


def test_published_lengths() -> None:
    """The authors' pretraining: inputs of 512 tokens come from 568, and 114 are written."""
    mix = parts.mixture("span_corruption", parts.model("t5"))
    assert mix.room(512) == 568
    assert sum(plan(568, 0.15, 3.0)) + 1 == 114


def test_ranks_and_parts_make_no_difference(text: TokenStore) -> None:
    mix = parts.mixture("span_corruption", parts.model("t5"))
    config = BatchConfig(size=12, micro_tokens=100)
    batches = StoreBatches(text, mix, length=40, config=config, seed=3)
    found = []
    for world in (1, 3):
        shares = [part for rank in range(world) for part in batches.get(1, 2, rank, world)]
        pairs = []
        for part in shares:
            assert part.decoder is not None
            ids = torch.split(part.ids, list(part.lengths))
            written = torch.split(part.targets["written"], list(part.decoder.lengths))
            pairs += [(a.tolist(), b.tolist()) for a, b in zip(ids, written, strict=True)]
        found.append(sorted(pairs))
    assert len(found[0]) == 12
    assert found[0] == found[1]


def test_the_loss_is_that_of_each_text_alone(text: TokenStore) -> None:
    model = parts.model("t5")
    mix = parts.mixture("span_corruption", model)
    batch = parts.batch(mix, text, length=40)
    assert batch.decoder is not None
    objective = mix.parts[0].objective
    words = model.backbone.embeddings.words.weight
    with torch.no_grad():
        found = objective.losses(objective.run(batch), batch)[0]
        total = 0.0
        for number in range(len(batch.lengths)):
            alone = parts.batch(mix, text, length=40, indices=[number])
            wanted = alone.targets["written"]
            logits = model(alone) * model.spec.output_scale @ words.T
            total -= float(logits.log_softmax(-1).gather(1, wanted[:, None]).sum())
    assert float(found.total) == pytest.approx(total, rel=1e-5)
    assert found.count == len(batch.decoder.ids)
    assert 0 <= found.metrics["accuracy"][0] <= found.count


def test_gradients_reach_both_stacks(text: TokenStore) -> None:
    mix = parts.mixture("span_corruption", parts.model("t5"))
    mix(parts.batch(mix, text)).total.backward()
    assert parts.gradients(mix).keys() == dict(mix.module.named_parameters()).keys()


def test_it_learns_the_text(text: TokenStore) -> None:
    mix = parts.mixture("span_corruption", parts.model("t5"))
    losses = parts.learn(mix, text, steps=25, length=64, size=8, lr=0.03)
    assert np.mean(losses[-4:]) < 0.9 * losses[0]


def test_a_model_without_a_decoder_is_refused() -> None:
    for family in ("bert", "gpt2"):
        with pytest.raises(UserError, match="an encoder and a decoder"):
            parts.mixture("span_corruption", parts.model(family))


def test_too_few_sentinels() -> None:
    mix = parts.mixture("span_corruption", parts.model("t5"))
    assert mix.room(1500) > 1500
    with pytest.raises(UserError, match=r"2048 tokens have \d+ spans, but there are 100 sentinels"):
        mix.room(2048)


def test_a_tokenizer_without_sentinels() -> None:
    with pytest.raises(UserError, match="no sentinels") as caught:
        parts.mixture("span_corruption", parts.model("bart"))
    assert "--like t5" in str(caught.value.hint)


def renamed(model: Model, names: dict[int, str]) -> Model:
    """The model with other names for some tokens."""
    tokens = list(model.tokenizer.tokens)
    for id, name in names.items():
        tokens[id] = name
    model.tokenizer.__dict__["tokens"] = tuple(tokens)
    return model


def test_which_tokens_are_sentinels() -> None:
    words = parts.tokenizer("t5")
    names = {name: id for id, name in enumerate(words.tokens)}
    found = sentinels(parts.model("t5"))
    assert found.tolist() == [names[f"<extra_id_{number}>"] for number in range(100)]
    bart = parts.model("bart")
    size = bart.spec.vocab
    wide = hub.create("bart", replace(bart.spec, vocab=size + 3), tokenizer=bart.tokenizer)
    assert sentinels(wide).tolist() == [size + 2, size + 1, size]
    fresh = parts.tokenizer.__wrapped__("bart")
    spare = hub.create("bart", bart.spec, tokenizer=fresh)
    named = renamed(spare, {30: "<unused10>", 31: "<unused2>", 40: "[unused0]"})
    assert sentinels(named).tolist() == [40, 31, 30]
