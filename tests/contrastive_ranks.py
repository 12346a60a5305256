"""One step of contrastive learning, in one process or several: loss and gradients as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

import objective_parts as parts
from jeoni.data.batching import BatchConfig
from jeoni.data.token_store import TokenStore
from jeoni.objectives._batches import StoreBatches
from jeoni.training import distributed


def step(folder: Path, pairs: str) -> dict[str, Any]:
    """Seven pairs, computed in parts; no dropout, which would be another in every process."""
    chosen = {"contrastive": {"pairs": pairs, "at_once": 50, "projection": pairs == "dropout"}}
    mix = parts.mixture(chosen, parts.model("bert", init_range=0.3))
    mix.module.train()
    config = BatchConfig(size=7)
    batches = StoreBatches(TokenStore(folder), mix, length=24, config=config, seed=0)
    (batch,) = batches.get(0, 1, *distributed.place())
    mix.expect(distributed.all_added([mix.counts(batch)]))
    loss = mix(batch)
    loss.total.backward()  # type: ignore[no-untyped-call]
    total = distributed.add([float(loss.total.detach())], torch.device("cpu"))[0]
    named = dict(mix.module.named_parameters())
    distributed.add_gradients(list(named.values()))
    found = {n: p.grad.flatten()[:40].tolist() for n, p in named.items() if p.grad is not None}
    return {"loss": total, "gradients": found}


if __name__ == "__main__":
    with distributed.session(torch.device("cpu")):
        for kind in sys.argv[2:]:
            result = step(Path(sys.argv[1]), kind)
            if distributed.rank() == 0:
                print(json.dumps(result), flush=True)
