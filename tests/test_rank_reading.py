"""Each process reads its part of the text, and no other's."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import objective_parts as parts
from jeoni.data.batching import BatchConfig
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import TokenStore
from jeoni.objectives._batches import StoreBatches

WORLD = 3
Counts = NDArray[np.int64]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("text") / "store", parts.tokenizer("electra"))


@pytest.fixture
def reads(text: TokenStore, monkeypatch: pytest.MonkeyPatch) -> Counts:
    """How often each token of the store was read."""
    counts = np.zeros(len(text.ids), np.int64)
    read = Chunks.read

    def counted(self: Chunks, starts: Any, stops: Any) -> Any:
        for start, stop in zip(starts, stops, strict=True):
            counts[start:stop] += 1
        return read(self, starts, stops)

    monkeypatch.setattr(Chunks, "read", counted)
    return counts


@pytest.mark.parametrize("objective", ["masked_lm", "replaced_token"])
def test_tokens_are_read_by_one_process(objective: str, text: TokenStore, reads: Counts) -> None:
    mix = parts.mixture(objective, parts.model("electra"))
    config = BatchConfig(size=12, micro_tokens=100)
    batches = StoreBatches(text, mix, length=40, config=config, seed=0)
    seen = np.zeros((WORLD + 1, len(reads)), np.int64)
    for world in (1, WORLD):
        for rank in range(world):
            reads[:] = 0
            for step in range(batches.steps(0)):
                batches.get(0, step, rank, world)
            seen[rank if world > 1 else WORLD] = reads
    assert seen[WORLD].sum() > 0.9 * len(reads)
    assert (seen[:WORLD].sum(0) == seen[WORLD]).all()  # all of it, each token once
    assert seen.max() == 1
    shares = seen[:WORLD].sum(1) / seen[WORLD].sum()
    assert (abs(shares - 1 / WORLD) < 0.05).all()


def test_the_order_does_not_depend_on_their_number(text: TokenStore) -> None:
    """The sequences of every step are the same, and so is what is masked in them."""
    mix = parts.mixture("replaced_token", parts.model("electra"))
    batches = StoreBatches(text, mix, length=40, config=BatchConfig(size=10), seed=0)

    def sequences(step: int, world: int) -> dict[int, list[int]]:
        shares = [batch for rank in range(world) for batch in batches.get(1, step, rank, world)]
        return {
            example: ids.tolist()
            for batch in shares
            for example, ids in zip(batch.examples, batch.ids.split(batch.lengths), strict=True)
        }

    for step in (0, batches.steps(1) - 1):
        assert sequences(step, 1) == sequences(step, 2) == sequences(step, WORLD)


def test_steps_have_as_many_tokens_as_asked(text: TokenStore) -> None:
    """Longest first; of one pool, so neighbors in length are together; the steps in random order."""
    mix = parts.mixture("masked_lm", parts.model("electra"))
    config = BatchConfig(tokens=300, sort_pool=1000)
    batches = StoreBatches(text, mix, length=40, config=config, seed=0)
    steps = [
        [length - 2 for batch in batches.get(0, step) for length in batch.lengths]
        for step in range(batches.steps(0))
    ]
    assert all(abs(sum(lengths) - 300) < 40 for lengths in sorted(steps)[1:])
    assert all(lengths == sorted(lengths, reverse=True) for lengths in steps)
    longest = [lengths[0] for lengths in steps]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))
    ends = sorted((lengths[-1], lengths[0]) for lengths in steps)
    assert all(a[1] <= b[0] for a, b in pairwise(ends))
