"""Permutation language modeling: which tokens, in which order, and the likelihood by its definition."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import objective_parts as parts
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import TokenStore
from jeoni.models.model import Model
from jeoni.nn.relative import waves
from jeoni.objectives._draft import Noise
from jeoni.objectives.permuted_lm import spans


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("text") / "xlnet", parts.tokenizer("xlnet"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    vocab = parts.tokenizer("xlnet").vocab_size
    return parts.drawn_store(tmp_path_factory.mktemp("drawn") / "xlnet", vocab=vocab)


@pytest.mark.parametrize("context", [2, 6])
@pytest.mark.parametrize("count", [40, 128, 511])
def test_the_share_is_right_at_every_place(count: int, context: int) -> None:
    times = 3000
    found = np.array([spans(count, context, 5, np.random.default_rng(i)) for i in range(times)])
    share = found.mean()
    assert abs(share - 1 / context) < 0.01
    error = math.sqrt(1 / context * (1 - 1 / context) / times)
    assert (np.abs(found.mean(0) - 1 / context) < 4.5 * error).all()


def test_spans_have_one_to_five_tokens_equally_often() -> None:
    found: list[int] = []
    for seed in range(400):
        chosen = spans(600, 6, 5, np.random.default_rng(seed))
        change = np.diff(chosen.astype(int))
        begins, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
        ends = ends[ends > begins[0]]
        found += (ends - begins[: len(ends)]).tolist()
    shares = np.bincount(found, minlength=7) / len(found)
    # (Neighboring spans may touch, and then count as one longer span.)
    assert (np.abs(shares[1:6] - 0.19) < 0.02).all()
    assert shares[6:].sum() < 0.06


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_short_texts_have_at_least_one(count: int) -> None:
    found = [spans(count, 6, 5, np.random.default_rng(seed)) for seed in range(200)]
    assert all(chosen.any() for chosen in found)
    assert all(len(chosen) == count for chosen in found)


@pytest.mark.parametrize("length", [32, 33, 61])
@pytest.mark.parametrize("whole_words", [False, True])
def test_order_and_targets(length: int, whole_words: bool, drawn: TokenStore) -> None:
    chosen = {"permuted_lm": {"whole_words": whole_words}}
    mix = parts.mixture(chosen, parts.model("xlnet"))
    chunks = Chunks(drawn, mix.room(length))
    clean, changed = parts.draft(mix, chunks, np.arange(len(chunks)))
    assert np.array_equal(clean.ids, changed.ids)
    predicted, order = changed.targets["predicted"], changed.targets["order"]
    assert not clean.special[predicted].any()
    assert np.array_equal(np.flatnonzero(order), predicted)
    assert np.array_equal(changed.targets["written"], clean.ids[predicted])
    owners = clean.owners[predicted]
    for number in range(len(clean.lengths)):
        ranks = order[predicted[owners == number]]
        assert sorted(ranks) == list(range(1, len(ranks) + 1))
    # (In the shortest, that there is at least one makes them more.)
    assert abs(len(predicted) / (~clean.special).sum() - 1 / 6) < (0.02 if length < 60 else 0.01)
    if whole_words:
        last = np.flatnonzero(~clean.special & ~clean.words)
        assert np.array_equal(order[last] > 0, order[last - 1] > 0)


def test_special_tokens_have_their_own_segments(text: TokenStore) -> None:
    mix = parts.mixture("permuted_lm", parts.model("xlnet"))
    batch = parts.batch(mix, text, indices=[0, 1])
    words = parts.tokenizer("xlnet")
    for ids, segments in zip(
        torch.split(batch.ids, list(batch.lengths)),
        torch.split(batch.segments, list(batch.lengths)),
        strict=True,
    ):
        assert ids[-2:].tolist() == [words.sep_id, words.cls_id]
        assert segments.tolist() == [0] * (len(ids) - 1) + [2]


def test_every_order_is_as_likely_as_another(drawn: TokenStore) -> None:
    mix = parts.mixture("permuted_lm", parts.model("xlnet"))
    chunks = Chunks(drawn, 30)
    found: dict[tuple[int, ...], int] = {}
    for epoch in range(8):
        _, draft = parts.draft(mix, chunks, np.arange(len(chunks)), epoch=epoch)
        owners = draft.owners[draft.targets["predicted"]]
        ranks = draft.targets["order"][draft.targets["predicted"]]
        for number in range(len(draft.lengths)):
            own = tuple(ranks[owners == number].tolist())
            if len(own) == 3:
                found[own] = found.get(own, 0) + 1
    total = sum(found.values())
    assert total > 400
    assert len(found) == 6
    chi = sum((count - total / 6) ** 2 / (total / 6) for count in found.values())
    assert chi < 20  # 5 degrees of freedom: 1 in 800


def test_another_epoch_has_another_order(text: TokenStore) -> None:
    mix = parts.mixture("permuted_lm", parts.model("xlnet"))
    first, second = (parts.batch(mix, text, epoch=epoch) for epoch in (0, 1))
    assert first.targets["predicted"].tolist() != second.targets["predicted"].tolist()


def scrambled(model: Model) -> Model:
    """All weights away from their defaults."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(parameter.data + 0.15 * noise)
    return model


def dense(model: Model, ids: Tensor, segments: Tensor, order: Tensor, memory: Any = None) -> Tensor:
    """Log-probabilities ``[T, V]`` of all places of one sequence, with the masks of section 2.3.

    A token's own stream sees ``order[j] <= order[i]``; the second stream sees ``order[j] < order[i]``.
    ``memory``: inputs of every layer for the text before, which all see.
    """
    length = len(ids)
    spec = model.spec
    size = spec.hidden // spec.heads
    words = model.backbone.embeddings.words.weight
    h, g = words[ids], model.backbone.blank.weight.expand(length, -1)
    sees_h, sees_g = order[None, :] <= order[:, None], order[None, :] < order[:, None]
    for layer, block in enumerate(model.backbone.stack.blocks):
        own = block.attention
        old = h[:0] if memory is None else memory[layer]
        before = len(old)
        context = torch.cat([old, h])
        query, key, value = own.qkv.weight.chunk(3)
        away = torch.arange(length)[:, None] - torch.arange(-before, length)[None, :]
        places = waves(away.flatten(), spec.hidden, torch.float32).view(length, -1, spec.hidden)
        outputs = []
        for x, sees in ((h, sees_h), (g, sees_g)):
            seen = torch.cat([torch.ones(length, before, dtype=torch.bool), sees], 1)
            heads = []
            for head in range(spec.heads):
                part = slice(head * size, (head + 1) * size)
                q, k, v = (x @ query[part].T), context @ key[part].T, context @ value[part].T
                r = places @ own.distance.weight[part].T  # [T, S, D]
                scores = (q + own.content_bias[head]) @ k.T
                scores = scores + torch.einsum("id,ijd->ij", q + own.distance_bias[head], r)
                at = torch.cat([torch.zeros(before, dtype=torch.int64), segments])
                kinds = (at[None, :] != segments[:, None]).long()
                biased = (q + own.segment_bias[head]) @ own.segments[:, head].T  # [T, 2]
                scores = (scores + biased.gather(1, kinds)) / math.sqrt(size)
                weights = scores.masked_fill(~seen, float("-inf")).softmax(-1).nan_to_num()
                heads.append(weights @ v)
            x = block.attention_norm(x + own.out(torch.cat(heads, -1)))
            outputs.append(block.feed_forward_norm(x + block.feed_forward(x)))
        h, g = outputs
    head = model.heads["language_model"]
    return (g @ words.T + head.bias).log_softmax(-1)


@pytest.mark.parametrize("length", [8, 11, 13])
@pytest.mark.parametrize("epoch", range(3))
def test_the_likelihood_by_its_definition(length: int, epoch: int, text: TokenStore) -> None:
    model = scrambled(parts.model("xlnet", inner_dropout=0.0, output_dropout=0.0))
    mix = parts.mixture({"permuted_lm": {"context": 2}}, model)
    scrambled(model)
    batch = parts.batch(mix, text, length=length, indices=[0, 4, 9], epoch=epoch)
    objective = mix.parts[0].objective
    with torch.no_grad():
        found = objective.losses(objective.run(batch), batch)[0]
        total, count, start = 0.0, 0, 0
        for size in batch.lengths:
            own = slice(start, start + size)
            order = batch.targets["order"][own]
            wanted = dense(model, batch.ids[own], batch.segments[own], order)
            # One factor after the other, in the order that was drawn.
            for rank in range(1, int(order.max()) + 1):
                place = int((order == rank).nonzero())
                total -= float(wanted[place, batch.ids[own][place]])
                count += 1
            start += size
    assert found.count == count >= 6
    assert float(found.total) == pytest.approx(total, rel=1e-4)


def test_what_comes_later_in_the_order_changes_nothing(text: TokenStore) -> None:
    model = scrambled(parts.model("xlnet"))
    mix = parts.mixture({"permuted_lm": {"context": 2}}, model)
    batch = parts.batch(mix, text, length=24, indices=[1])
    objective = mix.parts[0].objective
    order, predicted = batch.targets["order"], batch.targets["predicted"]
    with torch.no_grad():
        before = objective.run(batch)
        for rank in range(1, int(order.max()) + 1):
            ids = batch.ids.clone()
            ids[order >= rank] = (ids[order >= rank] + 7) % model.spec.vocab
            after = objective.run(replace(batch, ids=ids))
            same = order[predicted] <= rank
            assert torch.allclose(before[same], after[same], atol=1e-6)
            assert same.all() or not torch.allclose(before[~same], after[~same], atol=1e-3)


@pytest.mark.parametrize("memory", [1, 7, 40])
def test_memory_is_the_text_before_the_chunk(memory: int, text: TokenStore) -> None:
    model = scrambled(parts.model("xlnet", inner_dropout=0.0, output_dropout=0.0))
    mix = parts.mixture({"permuted_lm": {"memory": memory}}, model)
    scrambled(model)
    chunks = Chunks(text, mix.room(20))
    batch = mix.batch(chunks, np.arange(7), Noise(0, 0))
    lengths = batch.targets["before_lengths"].tolist()
    for number, length in enumerate(lengths):
        first = text.documents[chunks.documents[number]]
        assert length == min(memory, chunks.starts[number] - first)
    assert min(lengths) == 0 < max(lengths)
    objective = mix.parts[0].objective
    total, start, read = 0.0, 0, 0
    with torch.no_grad():
        found = objective.losses(objective.run(batch), batch)[0]
        for size, old in zip(batch.lengths, lengths, strict=True):
            own = slice(start, start + size)
            order = batch.targets["order"][own]
            before = batch.targets["before"][read : read + old]
            chunk = len(read_back := before.tolist())
            assert read_back == text.ids[_at(chunks, start, batch) - chunk :][:chunk].tolist()
            states = model.backbone.states(Batch.pack([read_back]))[:-1] if old else None
            wanted = dense(model, batch.ids[own], batch.segments[own], order, states)
            places = (order > 0).nonzero().flatten()
            total -= float(wanted[places, batch.ids[own][places]].sum())
            start, read = start + size, read + old
    assert float(found.total) == pytest.approx(total, rel=1e-4)


def test_memory_costs_a_forward_pass(text: TokenStore) -> None:
    """A third of what a token costs that is learned from."""
    model = parts.model("xlnet")
    mixes = [parts.mixture({"permuted_lm": {"memory": size}}, model) for size in (0, 40)]
    chunks = Chunks(text, mixes[0].room(20))
    plain, longer = (mix.batch(chunks, np.arange(7), Noise(0, 0)) for mix in mixes)
    read = len(longer.targets["before"])
    assert read > 10
    assert mixes[0].tokens(plain) == sum(plain.lengths) + len(plain.targets["predicted"])
    assert mixes[1].tokens(longer) == mixes[0].tokens(plain) + round(read / 3)


def _at(chunks: Chunks, start: int, batch: Batch) -> int:
    """Where the chunk of the sequence that starts at ``start`` begins in the store."""
    return int(chunks.starts[batch.starts.index(start)])


def test_no_gradient_goes_into_memory_and_it_trains(text: TokenStore) -> None:
    mix = parts.mixture({"permuted_lm": {"memory": 16}}, parts.model("xlnet"))
    losses = parts.learn(mix, text, steps=12, length=32, size=8, fixed=True)
    assert losses[-1] < 0.98 * losses[0]


def test_gradients_reach_the_second_stream(text: TokenStore) -> None:
    mix = parts.mixture("permuted_lm", parts.model("xlnet"))
    mix(parts.batch(mix, text)).total.backward()
    found = parts.gradients(mix)
    assert float(found["backbone.blank.weight"].norm()) > 0
    assert found.keys() == dict(mix.module.named_parameters()).keys()


def test_it_learns_the_text(text: TokenStore) -> None:
    mix = parts.mixture("permuted_lm", parts.model("xlnet"))
    losses = parts.learn(mix, text, steps=40, length=64, size=8)
    assert np.mean(losses[-4:]) < 0.9 * losses[0]


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_a_model_without_two_streams_is_refused(family: str) -> None:
    with pytest.raises(UserError, match="two streams"):
        parts.mixture("permuted_lm", parts.model(family))
