"""Batches: a pure function of (features, settings, seed, epoch, step), every sequence once an epoch."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jeoni.base.batch import Batch
from jeoni.data.batching import BatchConfig, EpochBatches, Features, by_tokens, for_prediction

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=60)
CONFIGS = st.builds(
    BatchConfig,
    size=st.integers(1, 20),
    tokens=st.none() | st.integers(1, 100),
    sort_pool=st.integers(1, 9),
    micro_tokens=st.integers(1, 120),
)


def make(lengths: Sequence[int]) -> Features:
    """Sequence ``i`` is ``100 i, 100 i + 1, ...``; its example is ``i // 2``, its target ``-i``."""
    return Features.of(
        [[100 * i + j for j in range(n)] for i, n in enumerate(lengths)],
        [[j % 2 for j in range(n)] for n in lengths],
        examples=[i // 2 for i in range(len(lengths))],
        targets={
            "place": [-i for i in range(len(lengths))],
            "pair": list(enumerate(lengths)),
        },
    )


def members(batches: Sequence[Batch]) -> list[int]:
    """Which sequences are in the batches, in order."""
    return [-int(place) for batch in batches for place in batch.targets["place"]]


def epoch_of(batches: EpochBatches, epoch: int, world: int = 1) -> list[list[int]]:
    """Members of each step, all ranks together."""
    return [
        [i for rank in range(world) for i in members(batches.get(epoch, step, rank, world))]
        for step in range(batches.steps(epoch))
    ]


@given(lengths=LENGTHS, config=CONFIGS, epoch=st.integers(0, 5), world=st.integers(1, 4))
def test_every_sequence_exactly_once_an_epoch(
    lengths: list[int], config: BatchConfig, epoch: int, world: int
) -> None:
    steps = epoch_of(EpochBatches(make(lengths), config=config, seed=3), epoch, world)
    assert sorted(i for step in steps for i in step) == list(range(len(lengths)))
    assert all(steps)  # no step without a sequence


@given(lengths=LENGTHS, config=CONFIGS, world=st.integers(2, 5))
def test_the_shares_of_all_ranks_are_the_batch_of_one(
    lengths: list[int], config: BatchConfig, world: int
) -> None:
    batches = EpochBatches(make(lengths), config=config, seed=3)
    alone, together = epoch_of(batches, 1), epoch_of(batches, 1, world)
    assert [sorted(step) for step in together] == [sorted(step) for step in alone]


@given(lengths=LENGTHS, config=CONFIGS, seed=st.integers(0, 9))
def test_the_same_arguments_give_the_same_batches(
    lengths: list[int], config: BatchConfig, seed: int
) -> None:
    """Whatever was asked for before, and in a new object, too."""
    first = EpochBatches(make(lengths), config=config, seed=seed)
    second = EpochBatches(make(lengths), config=config, seed=seed)
    epochs = [epoch_of(first, epoch) for epoch in (0, 1, 2, 0)]
    assert epochs[0] == epochs[3]
    assert epoch_of(second, 2) == epochs[2]
    last = second.steps(0) - 1
    assert members(second.get(0, last)) == epochs[0][last]


@given(lengths=LENGTHS, config=CONFIGS)
def test_budgets_are_kept_unless_one_sequence_is_longer(
    lengths: list[int], config: BatchConfig
) -> None:
    batches = EpochBatches(make(lengths), config=config, seed=0)
    for step in range(batches.steps(0)):
        micro = batches.get(0, step)
        sizes = [sum(batch.lengths) for batch in micro]
        for size, batch in zip(sizes, micro, strict=True):
            assert size <= config.micro_tokens or len(batch.lengths) == 1
        count = sum(len(batch.lengths) for batch in micro)
        if config.tokens is None:
            assert count <= config.size
        else:
            assert sum(sizes) <= config.tokens or count == 1


def test_steps_have_the_size_asked_for_but_for_the_last_of_an_epoch() -> None:
    batches = EpochBatches(make([3] * 50), config=BatchConfig(size=8, sort_pool=2), seed=0)
    assert sorted(len(step) for step in epoch_of(batches, 0)) == [2, 8, 8, 8, 8, 8, 8]


def test_order_differs_by_epoch_and_by_seed() -> None:
    features, config = make(list(range(1, 41))), BatchConfig(size=4)
    orders = [
        epoch_of(EpochBatches(features, config=config, seed=seed), epoch)
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert len({str(order) for order in orders}) == 3


@pytest.mark.parametrize("step", [{"size": 16}, {"tokens": 1600}], ids=str)
def test_pools_put_sequences_of_like_length_together(step: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    features = make(rng.integers(1, 200, 512).tolist())

    def spread(pool: int) -> float:
        batches = EpochBatches(features, config=BatchConfig(**step, sort_pool=pool), seed=0)
        lengths = features.lengths
        return float(np.mean([np.ptp(lengths[step]) for step in epoch_of(batches, 0)]))

    assert spread(16) < spread(1) / 4


def test_steps_are_not_in_order_of_length() -> None:
    features = make(list(range(1, 129)))
    batches = EpochBatches(features, config=BatchConfig(size=4, sort_pool=32), seed=0)
    longest = [max(features.lengths[step]) for step in epoch_of(batches, 0)]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)


def test_sequences_within_a_step_are_sorted_by_length() -> None:
    """Equal lengths next to each other are attended together."""
    features = make([5, 1, 9, 5, 2, 9, 7, 1])
    batches = EpochBatches(features, config=BatchConfig(size=8), seed=0)
    assert [features.lengths[i] for i in epoch_of(batches, 0)[0]] == [9, 9, 7, 5, 5, 2, 1, 1]


def test_a_rank_may_get_nothing() -> None:
    batches = EpochBatches(make([4, 4, 4]), config=BatchConfig(size=2), seed=0)
    shares = [[len(batches.get(0, step, rank, 3)) for rank in range(3)] for step in range(2)]
    assert sorted(map(sum, shares)) == [1, 2]


@given(lengths=LENGTHS, data=st.data())
def test_a_batch_holds_what_was_asked_for(lengths: list[int], data: st.DataObject) -> None:
    features = make(lengths)
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=8))
    batch = features.batch(chosen)
    assert batch.lengths == tuple(lengths[i] for i in chosen)
    assert batch.ids.tolist() == [100 * i + j for i in chosen for j in range(lengths[i])]
    assert batch.positions.tolist() == [j for i in chosen for j in range(lengths[i])]
    assert batch.segments.tolist() == [j % 2 for i in chosen for j in range(lengths[i])]
    assert batch.examples == tuple(i // 2 for i in chosen)
    assert batch.targets["place"].tolist() == [-i for i in chosen]
    assert batch.targets["pair"].tolist() == [[i, lengths[i]] for i in chosen]


def test_a_batch_is_what_pack_makes() -> None:
    features = make([3, 1, 2])
    batch = features.batch([2, 0])
    packed = Batch.pack([[200, 201], [0, 1, 2]], [[0, 1], [0, 1, 0]])
    for name in ("ids", "segments", "positions"):
        assert torch.equal(getattr(batch, name), getattr(packed, name))
        assert getattr(batch, name).dtype == torch.int64
    assert batch.lengths == packed.lengths
    assert batch.starts == [0, 2]


def test_examples_count_up_when_not_given() -> None:
    assert Features.of([[1], [2, 3]], [[0], [0, 0]]).examples.tolist() == [0, 1]


@given(lengths=LENGTHS, budget=st.integers(1, 80))
def test_prediction_takes_all_longest_first(lengths: list[int], budget: int) -> None:
    features = make(lengths)
    runs = for_prediction(features, budget)
    order = [i for run in runs for i in run]
    assert sorted(order) == list(range(len(lengths)))
    sizes = [lengths[i] for i in order]
    assert sizes == sorted(sizes, reverse=True)
    assert all(sum(lengths[i] for i in run) <= budget or len(run) == 1 for run in runs)


@pytest.mark.parametrize(
    ("lengths", "budget", "runs"),
    [
        ([], 5, []),
        ([5], 5, [[0]]),
        ([6], 5, [[0]]),
        ([2, 3, 1], 5, [[0, 1], [2]]),
        ([9, 1, 1, 9, 1], 3, [[0], [1, 2], [3], [4]]),
    ],
)
def test_runs_by_tokens(lengths: list[int], budget: int, runs: list[list[int]]) -> None:
    assert by_tokens(range(len(lengths)), np.array(lengths, np.int64), budget) == runs


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ValueError, match="no features"):
        EpochBatches(make([]), config=BatchConfig(), seed=0)


@pytest.mark.parametrize("name", ["size", "tokens", "sort_pool", "micro_tokens", "eval_tokens"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        BatchConfig(**{name: 0})


def test_random_batches_by_tokens_are_full() -> None:
    lengths = np.random.default_rng(0).integers(10, 200, 500).tolist()
    features = make(lengths)
    batches = EpochBatches(features, config=BatchConfig(tokens=1000, sort_pool=1), seed=0)
    sizes = [sum(sum(b.lengths) for b in batches.get(0, n)) for n in range(batches.steps(0))]
    assert sum(sizes) == sum(lengths)
    assert max(sizes) <= 1000
    assert sum(size <= 800 for size in sizes) <= 1  # the last one has what is left
