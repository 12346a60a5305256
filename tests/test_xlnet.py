"""XLNet beyond the contract of families: two streams in any order, memory, spans by beam."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import peers
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.families.xlnet import FAMILY, XLNetSpec
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.nn.relative import waves
from jeoni.nn.two_stream import Memory, TwoStream
from jeoni.tasks._span_decode import search

LENGTHS = (9, 1, 20, 6, 6, 13)
SPEC = XLNetSpec(vocab=23, hidden=24, layers=2, heads=3, feed_forward=10, width=24, **FAMILY.fixed)


def pair(folder: Path, architecture: str = "XLNetLMHeadModel", **changes: Any) -> tuple[Any, Model]:
    theirs = peers.make(FAMILY, architecture, replace(SPEC, **changes))
    theirs.save_pretrained(folder)
    return theirs, hub.load(folder)


def ordered(lengths: tuple[int, ...], seed: int, spec: XLNetSpec = SPEC) -> Batch:
    """Every sequence in a random order; about half of its tokens are predicted, one never is."""
    batch = peers.draw_batch(lengths, spec, seed, "xlnet")
    generator = torch.Generator().manual_seed(seed)
    ranks, predicted = [], []
    for start, length in zip(batch.starts, lengths, strict=True):
        order = torch.randperm(length, generator=generator)
        chosen = torch.randperm(length, generator=generator)[: length // 2]
        own = torch.zeros(length, dtype=torch.int64)
        own[chosen] = 1 + order[chosen]
        ranks.append(own)
        predicted.append(chosen + start)
    return replace(batch, targets={"order": torch.cat(ranks), "predicted": torch.cat(predicted)})


def alone(batch: Batch, i: int) -> Batch:
    """One sequence of a batch, with its order."""
    single = peers.split(batch)[i]
    start, end = batch.starts[i], batch.ends[i]
    predicted = batch.targets["predicted"]
    own = predicted[(predicted >= start) & (predicted <= end)] - start
    order = batch.targets["order"][start : end + 1]
    return replace(single, targets={"order": order, "predicted": own})


def asked(theirs: Any, single: Batch, mems: Any = None) -> Any:
    """``transformers`` on one sequence, with masks made from the definition of ``order``."""
    order, predicted = single.targets["order"], single.targets["predicted"]
    mask = (order[None, :] > order[:, None]).float()
    mask[predicted] = (order[None, :] >= order[predicted, None]).float()
    target = torch.nn.functional.one_hot(predicted, len(order)).float()
    return theirs(
        input_ids=single.ids[None],
        token_type_ids=single.segments[None],
        perm_mask=mask[None],
        target_mapping=target[None],
        output_hidden_states=True,
        mems=mems,
    )


def sees_something(single: Batch, row: int, causal: bool) -> bool:
    """What sees nothing gets the mean of all in ``transformers``, itself included; nothing here."""
    order, token = single.targets["order"], single.targets["predicted"][row]
    before = order[:token] if causal else order
    return bool((before < order[token]).any())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("causal", [False, True])
def test_both_streams_in_any_order(seed: int, causal: bool, tmp_path: Path) -> None:
    theirs, ours = pair(tmp_path, causal=causal)
    batch = ordered(LENGTHS, seed)
    with torch.no_grad():
        content, query = ours.backbone.streams(batch)
    assert query is not None
    logits = ours.heads["language_model"](ours(batch), ours.backbone.embeddings.words.weight)
    sizes = [len(alone(batch, i).targets["predicted"]) for i in range(len(LENGTHS))]
    compared = 0
    for i, size in enumerate(sizes):
        if not size:
            continue
        right = asked(theirs, alone(batch, i))
        seeing = [sees_something(alone(batch, i), token, causal) for token in range(size)]
        assert len(right.hidden_states) == 2 * len(content) == 2 * len(query)
        for layer, (h, g) in enumerate(zip(content, query, strict=True)):
            assert peers.error(h.split(LENGTHS)[i], right.hidden_states[2 * layer][0]) < 1e-5
            mine, expected = g.split(sizes)[i], right.hidden_states[2 * layer + 1][0]
            assert peers.error(mine[seeing], expected[seeing]) < 1e-5
        assert peers.error(logits.split(sizes)[i][seeing], right.logits[0][seeing]) < 1e-5
        compared += sum(seeing)
    assert len(query[0]) > 20
    assert compared > 15 if causal else compared == len(query[0])


def test_gradients_of_both_streams(tmp_path: Path) -> None:
    theirs, ours = pair(tmp_path)
    batch = ordered(LENGTHS, 5)
    weights = torch.randn(len(batch.targets["predicted"]), SPEC.vocab)
    logits = ours.heads["language_model"](ours(batch), ours.backbone.embeddings.words.weight)
    (logits.log_softmax(-1) * weights).sum().backward()
    rest = weights
    for i in range(len(LENGTHS)):
        single = alone(batch, i)
        count = len(single.targets["predicted"])
        if count:
            (asked(theirs, single).logits[0].log_softmax(-1) * rest[:count]).sum().backward()
        rest = rest[count:]
    from test_families import gradients_by_their_names

    mine = gradients_by_their_names(ours)
    expected = dict(peers.parameters_by_name(theirs, FAMILY))
    assert "mask_emb" in mine
    for name, parameter in expected.items():
        gradient = parameter.grad
        assert gradient is not None
        found = mine[name.removeprefix("transformer.")]
        assert (found - gradient).norm() < 1e-4 * gradient.norm() + 1e-6, name


@pytest.mark.parametrize(
    "changes",
    [
        {"remembered": 0},
        {"remembered": 7},
        {"remembered": 9, "reused": 4},
        {"causal": True, "remembered": 11},
        {"causal": True, "same_length": True, "remembered": 12, "clamp": 5},
    ],
    ids=str,
)
def test_memory_over_parts_of_a_text(changes: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = pair(tmp_path, "XLNetModel", **changes)
    mems, memory = None, None
    for part, length in enumerate((8, 5, 12, 1)):
        single = peers.draw_batch((length,), SPEC, part, "xlnet")
        out = theirs(
            input_ids=single.ids[None],
            token_type_ids=single.segments[None],
            mems=mems,
            use_mems=True,
            output_hidden_states=True,
        )
        mems = out.mems
        states, memory = ours.backbone.remember(single, memory)
        for mine, right in zip(states, out.hidden_states, strict=True):
            assert peers.error(mine, right[0]) < 1e-5
        assert memory.lengths == (len(mems[0]),)
        for mine, right in zip(memory.states, mems, strict=True):
            assert not mine.requires_grad
            assert peers.error(mine, right[:, 0]) < 1e-5


def test_memory_with_an_order_packed_with_memories_of_other_lengths(tmp_path: Path) -> None:
    theirs, ours = pair(tmp_path)
    body: TwoStream = ours.backbone
    first = [peers.draw_batch((n,), SPEC, n, "xlnet") for n in (3, 11, 7)]
    memories = [body.remember(single)[1] for single in first]
    together = Memory(
        tuple(torch.cat(layer) for layer in zip(*(m.states for m in memories), strict=True)),
        tuple(m.lengths[0] for m in memories),
    )
    batch = ordered((6, 18, 9), 3)
    content, query = body.streams(batch, together)
    assert query is not None
    for i, memory in enumerate(memories):
        right = asked(theirs, alone(batch, i), [state[:, None] for state in memory.states])
        assert peers.error(content[-1].split(batch.lengths)[i], right.hidden_states[-2][0]) < 1e-5
        size = [3, 9, 4]
        assert peers.error(query[-1].split(size)[i], right.hidden_states[-1][0]) < 1e-5


def plain(model: Model, ids: list[int], order: list[int], target: int) -> Tensor:
    """Log-probabilities of one token, by loops over sections 2.3 and 2.5 and equation (4) of the paper.

    ``order`` is a permutation: ``order[t]`` is the token that comes at step ``t``.
    """
    w = {n: p.detach() for n, p in model.backbone.named_parameters()}
    size = SPEC.hidden // SPEC.heads
    step = {token: t for t, token in enumerate(order)}
    h = [w["embeddings.words.weight"][i] for i in ids]
    g = w["blank.weight"][0]
    for layer in range(SPEC.layers):
        own = {n.split(f"blocks.{layer}.")[1]: p for n, p in w.items() if f"blocks.{layer}." in n}

        def attend(x: Tensor, i: int, seen: list[int], own: Any = own, h: Any = h) -> Tensor:
            query, key, value = own["attention.qkv.weight"].chunk(3)
            out = []
            for head in range(SPEC.heads):
                part = slice(head * size, (head + 1) * size)
                q = (query @ x)[part]
                scores, values = [], []
                for j in seen:
                    r = waves(torch.tensor([i - j]), SPEC.hidden, torch.float32)[0]
                    by_content = (q + own["attention.content_bias"][head]) @ (key @ h[j])[part]
                    place = (own["attention.distance.weight"] @ r)[part]
                    by_place = (q + own["attention.distance_bias"][head]) @ place
                    same = own["attention.segments"][0, head]
                    by_segment = (q + own["attention.segment_bias"][head]) @ same
                    scores.append((by_content + by_place + by_segment) / math.sqrt(size))
                    values.append((value @ h[j])[part])
                total = sum(s.exp() for s in scores)
                parts = [s.exp() / total * v for s, v in zip(scores, values, strict=True)]
                out.append(sum(parts, torch.zeros(size)))
            return own["attention.out.weight"] @ torch.cat(out)

        def norm(x: Tensor, name: str, own: Any = own) -> Tensor:
            x = (x - x.mean()) / (x.var(unbiased=False) + SPEC.norm_eps).sqrt()
            return x * own[f"{name}.weight"] + own[f"{name}.bias"]

        def rest(x: Tensor, attended: Tensor, own: Any = own, norm: Any = norm) -> Tensor:
            x = norm(x + attended, "attention_norm")
            inner = own["feed_forward.up.weight"] @ x + own["feed_forward.up.bias"]
            inner = torch.nn.functional.gelu(inner)
            down = own["feed_forward.down.weight"] @ inner + own["feed_forward.down.bias"]
            return norm(x + down, "feed_forward_norm")

        before = order[: step[target]]
        g = rest(g, attend(g, target, before))
        h = [rest(h[i], attend(h[i], i, order[: step[i] + 1])) for i in range(len(ids))]
    logits = w["embeddings.words.weight"] @ g + model.heads["language_model"].bias
    return logits.log_softmax(-1)


def small(kind: str = "language_model", spec: XLNetSpec = SPEC) -> Model:
    """A model with one head, all weights away from their defaults."""
    model = hub.create("xlnet", spec, tokenizer=None)
    model.add_head(kind, build_head(kind, model, {}))
    peers.scramble(model)
    return model


def log_probabilities(model: Model, sequences: list[list[int]], order: tuple[int, ...]) -> Tensor:
    """Of every token given those before it in the order, ``[B, T]``, by the packed two-stream model."""
    length = len(order)
    ranks = torch.tensor([order.index(i) for i in range(length)])
    count = len(sequences)
    targets = {"order": ranks.repeat(count), "predicted": torch.arange(count * length)}
    batch = Batch.pack(sequences, targets=targets)
    with torch.no_grad():
        words = model.backbone.embeddings.words.weight
        logits = model.heads["language_model"](model(batch), words)
    found = logits.log_softmax(-1).gather(1, batch.ids[:, None])
    return found.view(count, length)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_every_order_of_three_tokens_by_the_paper(order: tuple[int, ...]) -> None:
    model = small()
    ids = [5, 17, 5]
    found = log_probabilities(model, [ids], order)[0]
    with torch.no_grad():
        right = [plain(model, ids, list(order), i)[ids[i]] for i in range(3)]
    assert torch.allclose(found, torch.stack(right), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_the_probabilities_of_all_texts_sum_to_one(order: tuple[int, ...]) -> None:
    """They would not if a token saw itself, or anything that comes later in the order."""
    model = small(spec=replace(SPEC, vocab=4))
    texts = [list(ids) for ids in itertools.product(range(4), repeat=3)]
    total = log_probabilities(model, texts, order).double().sum(1).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-5)


def test_a_token_cannot_tell_what_comes_later_in_the_order() -> None:
    model = small()
    batch = ordered((12, 7), 1)
    order, predicted = batch.targets["order"], batch.targets["predicted"]
    with torch.no_grad():
        content, query = model.backbone.streams(batch)
        for changed in predicted.tolist():
            ids = batch.ids.clone()
            ids[changed] = (ids[changed] + 1) % SPEC.vocab
            new_content, new_query = model.backbone.streams(replace(batch, ids=ids))
            same = (torch.arange(19) // 12 == changed // 12) & (order >= order[changed])
            for old, new in zip(content, new_content, strict=True):
                assert torch.equal(old[~same], new[~same])
            later = same[predicted] & (order[predicted] > order[changed])
            for old, new in zip(query, new_query, strict=True):
                assert torch.equal(old[~later], new[~later])
            if later.any():
                assert not torch.equal(query[-1][later], new_query[-1][later])
            assert not torch.equal(content[-1][changed], new_content[-1][changed])


def test_a_predicted_token_that_is_not_there_is_an_error() -> None:
    batch = peers.draw_batch((3, 4), SPEC, family="xlnet")
    for wrong in (7, -1):
        targets = {"predicted": torch.tensor([1, wrong])}
        with pytest.raises(ValueError, match=r"must be in 0..6"):
            small().backbone(replace(batch, targets=targets))


def test_spans_by_beam(tmp_path: Path) -> None:
    theirs, ours = pair(tmp_path, "XLNetForQuestionAnswering")
    theirs.start_n_top, theirs.end_n_top = 3, 2
    batch = peers.draw_batch((8, 3, 15), SPEC, family="xlnet")
    found, answers = search(ours.heads["beam_span"], ours(batch), batch, starts=3)
    for i, single in enumerate(peers.split(batch)):
        with torch.no_grad():
            right = theirs(input_ids=single.ids[None], token_type_ids=single.segments[None])
        places, spans = found[i]
        starts = spans[1:].logsumexp(1, keepdim=True)
        ends, end_places = (spans[1:] - starts).exp().topk(2)
        assert torch.allclose(starts[:, 0].exp(), right.start_top_log_probs[0], rtol=1e-4)
        assert places.tolist() == [0, *right.start_top_index[0].tolist()]
        assert torch.allclose(ends.t().flatten(), right.end_top_log_probs[0], rtol=1e-4)
        assert torch.equal(end_places.t().flatten(), right.end_top_index[0])
        assert torch.allclose(answers[i], right.cls_logits[0], rtol=1e-4, atol=1e-5)


def test_beams_no_wider_than_the_text() -> None:
    model = small("beam_span")
    batch = peers.draw_batch((1, 4), SPEC, family="xlnet")
    found, _ = search(model.heads["beam_span"], model(batch), batch)
    assert [tuple(spans.shape) for _, spans in found] == [(1 + 1, 1), (1 + 4, 4)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"attn_type": "sideways"}, "attn_type is 'sideways', neither 'bi' nor 'uni'"),
        ({"bi_data": True}, "bi_data .* is not supported"),
        ({"d_head": 5}, "d_head is 5, but d_model 24 has 3 heads"),
        ({"summary_type": "mean"}, "summary_type is 'mean'"),
        ({"clamp_len": "far"}, "clamp is 'far', not a size"),
        ({"mem_len": -3}, "remembered is -3, not a size"),
    ],
    ids=str,
)
def test_what_is_not_built(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    pair(tmp_path, "XLNetForSequenceClassification")
    peers.edit_config(tmp_path, **change)
    with pytest.raises(UserError, match=says):
        hub.load(tmp_path)


def test_fresh_weights_are_drawn_not_zero() -> None:
    model = hub.create("xlnet", SPEC, tokenizer=None)
    attention = model.backbone.stack.blocks[0].attention
    for own in (attention.content_bias, attention.segments, attention.distance.weight):
        assert 0.01 < float(own.std()) < 0.03
    again = hub.create("xlnet", SPEC, tokenizer=None)
    assert torch.equal(attention.segments, again.backbone.stack.blocks[0].attention.segments)


def test_heads_of_a_fresh_model_train() -> None:
    model = small()
    head = model.heads["language_model"]
    assert [name for name, _ in head.named_parameters()] == ["bias"]
    words = model.backbone.embeddings.words.weight
    head(model(peers.draw_batch((4,), SPEC, family="xlnet")), words).sum().backward()
    assert head.bias.grad is not None
