"""Denoising: each noise on its own, its share, what it must leave alone; the text is what is written."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import TokenStore
from jeoni.objectives._batches import StoreBatches
from jeoni.objectives._mixture import Mixture
from jeoni.objectives.denoising import infilled

OFF = {"infill": 0, "reorder": False}
MASK = 5


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("text") / "bart", parts.tokenizer("bart"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.drawn_store(tmp_path_factory.mktemp("drawn") / "bart", vocab=400)


def mixed(**settings: Any) -> Mixture:
    return parts.mixture({"denoising": {**OFF, **settings}}, parts.model("bart"))


def damaged(mix: Mixture, store: TokenStore, length: int = 66) -> list[tuple[list[int], list[int]]]:
    """Texts as they are read and as they were, without special tokens."""
    chunks = Chunks(store, mix.room(length))
    _, draft = parts.draft(mix, chunks, np.arange(len(chunks)))
    assert draft.decoder is not None
    words = parts.tokenizer("bart")
    read = np.split(draft.ids, np.cumsum(draft.lengths)[:-1])
    wrote = np.split(draft.targets["written"], np.cumsum(draft.decoder.lengths)[:-1])
    for one in (*read, *wrote):
        assert one[0] == words.cls_id
        assert one[-1] == words.sep_id
    whole = [chunks.take(np.array([i])).ids.tolist() for i in range(len(chunks))]
    assert [one[1:-1].tolist() for one in wrote] == whole
    return [(a[1:-1].tolist(), b) for a, b in zip(read, whole, strict=True)]


def is_part(short: list[int], whole: list[int]) -> bool:
    """Whether ``short`` is ``whole`` with some tokens left out."""
    rest = iter(whole)
    return all(token in rest for token in short)


def test_masked(drawn: TokenStore) -> None:
    mask = parts.tokenizer("bart").mask_id
    pairs = damaged(mixed(mask=0.2), drawn)
    for read, whole in pairs:
        changed = [a for a, b in zip(read, whole, strict=True) if a != b]
        assert set(changed) <= {mask}
        assert len(changed) == round(0.2 * len(whole))


def test_deleted(drawn: TokenStore) -> None:
    for read, whole in damaged(mixed(delete=0.3), drawn):
        assert len(read) == len(whole) - round(0.3 * len(whole))
        assert is_part(read, whole)


def test_replaced(drawn: TokenStore) -> None:
    words = parts.tokenizer("bart")
    special = {words.mask_id, words.cls_id, words.sep_id, words.pad_id, words.unk_id}
    pairs = damaged(mixed(replace=0.25), drawn)
    changed = [a for read, whole in pairs for a, b in zip(read, whole, strict=True) if a != b]
    total = sum(round(0.25 * len(whole)) for _, whole in pairs)
    assert 0.98 * total < len(changed) <= total
    assert not special & set(changed)
    assert len(set(changed)) > 300


def test_reordered(drawn: TokenStore) -> None:
    mix = mixed(reorder=True)
    chunks = Chunks(drawn, mix.room(130))
    begins = []
    for number, (read, whole) in enumerate(damaged(mix, drawn, 130)):
        start = int(chunks.starts[number])
        breaks = chunks.breaks(start, int(chunks.stops[number])) - start
        sentences = [s.tolist() for s in np.split(np.array(whole), breaks)]
        rest, order = list(read), []
        while rest:
            fits = [i for i, s in enumerate(sentences) if i not in order and rest[: len(s)] == s]
            order.append(max(fits, key=lambda i: len(sentences[i])))
            rest = rest[len(sentences[order[-1]]) :]
        assert len(order) == len(sentences)
        begins.append((order[0] + 0.5) / len(order))
    assert abs(np.mean(begins) - 0.5) < 4 * 0.29 / len(begins) ** 0.5


def test_rotated(drawn: TokenStore) -> None:
    shifts = []
    for read, whole in damaged(mixed(rotate=True), drawn):
        twice = whole + whole
        found = [i for i in range(len(whole)) if twice[i : i + len(whole)] == read]
        assert found
        shifts.append(found[0] / len(whole))
    assert abs(np.mean(shifts) - 0.5) < 0.06
    assert len(set(shifts)) > 80


def test_infilled(drawn: TokenStore) -> None:
    mask = parts.tokenizer("bart").mask_id
    pairs = damaged(mixed(infill=0.3), drawn)
    masks = taken = total = 0
    for read, whole in pairs:
        left = [token for token in read if token != mask]
        assert is_part(left, whole)
        assert len(left) == len(whole) - max(1, round(0.3 * len(whole)))
        assert len(read) <= len(whole)
        masks += len(read) - len(left)
        taken += len(whole) - len(left)
        total += len(whole)
    assert abs(taken / total - 0.3) < 0.01
    # The last span is cut off where the share is reached, so the mean is a little less than 3.
    assert 2.5 < taken / masks < 3.05


def test_lengths_of_spans_are_poisson() -> None:
    lengths: Counter[int] = Counter()
    ids = np.arange(100, 2100)
    for seed in range(40):
        found = infilled(
            ids, np.ones(2000, bool), 0.15, 3.0, MASK, np.random.default_rng(seed)
        ).tolist()
        before = 99
        pending = 0
        for token in [*found, 2100]:
            if token == MASK:
                pending += 1
                continue
            if pending == 1:  # two masks in a row do not tell how the gap divides
                lengths[token - before - 1] += 1
            before, pending = token, 0
    total = lengths.total()
    for length, share in enumerate((0.0498, 0.1494, 0.2240, 0.2240, 0.1680, 0.1008)):
        assert abs(lengths[length] / total - share) < 4.5 * np.sqrt(share / total)


def test_every_place_is_infilled_equally_often() -> None:
    ids = np.arange(100, 300)
    left = np.zeros(200)
    for seed in range(2000):
        found = infilled(ids, np.ones(200, bool), 0.3, 3.0, MASK, np.random.default_rng(seed))
        left[found[found != MASK] - 100] += 1 / 2000
    assert abs(left.mean() - 0.7) < 0.001
    # (No span goes over an end of the text: a few tokens there are left more often.)
    assert (np.abs(left[10:-10] - left[10:-10].mean()) < 4.5 * (0.21 / 2000) ** 0.5).all()
    assert abs(left[10:-10].mean() - 0.7) < 0.01


def test_whole_words_are_infilled(drawn: TokenStore) -> None:
    begins = np.random.default_rng(0).random(400) < 0.4
    begins[0] = True
    ids = np.arange(100, 500)
    word = np.cumsum(begins)
    for seed in range(30):
        found = infilled(ids, begins, 0.3, 3.0, MASK, np.random.default_rng(seed))
        there = np.isin(ids, found)
        for number in np.unique(word):
            assert len(set(there[word == number])) == 1
        assert len(set(word[~there])) == round(0.3 * begins.sum())
    assert mixed(infill=0.3, whole_words=True).room(64) == 62


@pytest.mark.parametrize("order", [{}, {"reorder": True}, {"rotate": True}], ids=str)
def test_words_stay_whole_in_whatever_order(order: dict[str, bool]) -> None:
    """But for the one in which a text begins that was rotated."""
    begins = np.random.default_rng(0).random(400) < 0.4
    begins[::40] = True
    word, ids = np.cumsum(begins), np.arange(1000, 1400)
    part: Any = mixed(infill=0.3, whole_words=True, **order).parts[0].objective
    for seed in range(10):
        found = part._damaged(ids, begins, np.arange(40, 400, 40), np.random.default_rng(seed))
        there = np.isin(ids, found)
        torn = sum(len(set(there[word == number])) > 1 for number in np.unique(word))
        assert torn <= ("rotate" in order)


@pytest.mark.parametrize("mean", [0.5, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_infilling_never_makes_a_text_longer(count: int, mean: float) -> None:
    for seed in range(100):
        generator = np.random.default_rng(seed)
        found = infilled(
            np.arange(10, 10 + count), np.ones(count, bool), 0.3, mean, MASK, generator
        )
        assert 0 < len(found) <= count
        assert MASK in found


def test_all_at_once(text: TokenStore) -> None:
    chosen = {"infill": 0.2, "mask": 0.1, "replace": 0.1, "delete": 0.1}
    mix = mixed(**chosen, reorder=True, rotate=True)
    for read, whole in damaged(mix, text):
        assert 0.4 * len(whole) < len(read) <= len(whole)


def test_shares_are_of_the_text_as_it_was_and_no_mask_is_left_out() -> None:
    part: Any = mixed(infill=0.4, delete=0.2).parts[0].objective
    ids, begins, none = np.arange(1000, 1100), np.ones(100, bool), np.zeros(0, np.int64)
    for seed in range(20):
        found = part._damaged(ids, begins, none, np.random.default_rng(seed))
        assert (found != part.mask).sum() == 100 - 40 - 20
    part = mixed(delete=0.9).parts[0].objective
    assert len(part._damaged(ids[:1], begins[:1], none, np.random.default_rng(0))) == 1


def test_ranks_and_parts_make_no_difference(text: TokenStore) -> None:
    mix = mixed(infill=0.3, reorder=True)
    config = BatchConfig(size=12, micro_tokens=100)
    batches = StoreBatches(text, mix, length=40, config=config, seed=3)
    found = []
    for world in (1, 3):
        shares = [part for rank in range(world) for part in batches.get(1, 2, rank, world)]
        ids = [s for part in shares for s in torch.split(part.ids, list(part.lengths))]
        found.append(sorted(sequence.tolist() for sequence in ids))
    assert len(found[0]) == 12
    assert found[0] == found[1]


def test_another_epoch_is_damaged_otherwise(text: TokenStore) -> None:
    mix = mixed(infill=0.3)
    first, second = (parts.batch(mix, text, epoch=epoch) for epoch in (0, 1))
    assert first.ids.tolist() != second.ids.tolist()


def test_gradients_reach_both_stacks(text: TokenStore) -> None:
    mix = mixed(infill=0.3)
    mix(parts.batch(mix, text)).total.backward()
    assert parts.gradients(mix).keys() == dict(mix.module.named_parameters()).keys()


def test_it_learns_to_write_the_text(tmp_path: Path) -> None:
    few = parts.documents()[:4]
    store = parts.store(tmp_path / "store", parts.tokenizer("bart"), [d[:1] for d in few])
    mix = mixed(infill=0.2)
    losses = parts.learn(mix, store, steps=30, length=48, size=8)
    assert np.mean(losses[-4:]) < 0.8 * losses[0]


def test_without_masks_no_mask_is_needed(text: TokenStore) -> None:
    with pytest.raises(UserError, match="denoising: the tokenizer has no mask token"):
        parts.mixture("denoising", parts.model("t5"))
    parts.mixture({"denoising": OFF | {"delete": 0.2}}, parts.model("t5"))
    with pytest.raises(UserError, match="an encoder and a decoder"):
        parts.mixture("denoising", parts.model("bert"))


def test_no_sentinel_takes_a_tokens_place() -> None:
    mix = parts.mixture({"denoising": OFF | {"replace": 0.2}}, parts.model("t5"))
    names = parts.tokenizer("t5").tokens
    assert not any("extra_id" in names[id] for id in mix.parts[0].objective.plain)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"mask": 0.5, "delete": 0.5, "infill": 0},
            "mask 0.5, delete 0.5: they must be less than 1",
        ),
        (OFF, "every noise is switched off"),
        ({"mean": 0}, "mean"),
        ({"infill": 1.5}, "infill"),
    ],
    ids=["too much", "nothing", "no mean", "no share"],
)
def test_mistakes(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        parts.mixture({"denoising": settings}, parts.model("bart"))
    assert "objectives.denoising" in str(caught.value)
