"""Gradients of steps of pretraining by two processes, and by each of them alone (see test_sharding).

    torchrun ... tests/sharded_steps.py FOLDER

Prints for every way how far they are apart, over the largest number of each parameter, as JSON.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import objective_parts as parts
from jeoni.data.batching import BatchConfig
from jeoni.data.token_store import TokenStore
from jeoni.nn.stack import Stack, blocks
from jeoni.objectives._batches import StoreBatches
from jeoni.objectives._mixture import Mixture
from jeoni.training import distributed
from jeoni.training.distributed import Replicas
from jeoni.training.sharding import Shards

WAYS: dict[str, tuple[str, parts.Chosen]] = {
    "shared embeddings": ("electra", {"replaced_token": {}}),
    "a mixture": ("bert", {"masked_lm": {"whole_words": True}, "sentence_order": 0.5}),
    "shared layers": ("albert", {"masked_lm": 1.0}),
    "two streams": ("xlnet", {"permuted_lm": 1.0}),
    "encoder and decoder": ("t5", {"span_corruption": 1.0}),
    "causal": ("gpt2", {"causal_lm": 1.0}),
}
SIZE = 7
CPU = torch.device("cpu")


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    """By name; whole."""
    return {
        name: None if p.grad is None else distributed.whole(p.grad).clone()
        for name, p in module.named_parameters()
    }


def by_one(mix: Mixture, batches: StoreBatches, step: int) -> dict[str, Tensor | None]:
    """What one process computes."""
    own = batches.get(0, step)
    mix.expect(parts.summed([mix.counts(batch) for batch in own]))
    for batch in own:
        mix(batch).total.backward()  # type: ignore[no-untyped-call]
    found = gradients(mix.module)
    mix.module.zero_grad()
    return found


def by_all(ranks: Replicas, batches: StoreBatches, step: int) -> dict[str, Tensor | None]:
    """What the processes compute together."""
    share = partial(batches.get, 0, step, world=distributed.world())
    own, mix = share(distributed.rank()), ranks.step
    assert isinstance(mix, Mixture)
    mix.expect(distributed.all_added([mix.counts(batch) for batch in own]))
    for batch, counts in ranks.passes(own, share):
        ranks.backward(ranks.loss(batch), counts=counts)
    ranks.add_gradients(list(ranks.module.parameters()))
    found = gradients(ranks.module)
    ranks.module.zero_grad()
    return found


def apart(one: dict[str, Tensor | None], other: dict[str, Tensor | None]) -> float:
    """The greatest difference; infinite where only one has a gradient."""
    assert one.keys() == other.keys()
    worst = 0.0
    for name, left in one.items():
        right = other[name]
        if left is None or right is None:
            worst = worst if left is right else float("inf")
            continue
        scale = max(float(left.abs().max()), 1e-4)
        worst = max(worst, float((left - right).abs().max()) / scale)
    return worst


def compare(folder: Path, family: str, chosen: parts.Chosen) -> dict[str, Any]:
    """Two steps: of all ranks, and with blocks computed again."""
    model = parts.model(family, init_range=0.1, inner_dropout=0.0, output_dropout=0.0)
    mix = parts.mixture(chosen, model)
    model.add_head("unused", nn.Linear(3, 3))
    mix.module.train()
    config = BatchConfig(size=SIZE, micro_tokens=60)
    batches = StoreBatches(TokenStore(folder), mix, length=32, config=config, seed=0)
    expected = [by_one(mix, batches, step) for step in range(2)]
    copies = [by_all(Replicas(mix), batches, step) for step in range(2)]
    shards = Shards(mix, blocks(mix.module), CPU)
    parted = [by_all(shards, batches, 0)]
    for part in shards.module.modules():
        if isinstance(part, Stack):
            part.recompute = True
    parted += [by_all(shards, batches, 1)]
    return {
        "empty": sum(p.numel() for p in mix.module.parameters()),
        "parts": sum(p.to_local().numel() for p in shards.module.parameters()),  # type: ignore[operator]
        "all": sum(p.numel() for p in shards.finish().parameters()),
        "units": sum(type(m).__name__.startswith("FSDP") for m in shards.module.modules()),
        "copies": max(map(apart, expected, copies)),
        "shards": max(map(apart, expected, parted)),
        "unused": sum(g is None for g in expected[0].values()),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    with distributed.session(CPU):
        found = {
            way: compare(Path(sys.argv[1]) / family, family, chosen)
            for way, (family, chosen) in WAYS.items()
        }
    if distributed.rank() == 0:
        print(json.dumps(found), flush=True)
