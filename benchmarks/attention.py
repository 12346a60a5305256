"""Attention on the CPU: explicit products against torch's fused kernel, by length (bfloat16).

    python benchmarks/attention.py [--threads 1] [--tokens 4096] [--heads 12] [--size 32]

Each row has the same number of tokens in sequences of one length. Paths alternate in rounds; a cell is
the fastest round, the one that other work on the machine disturbed least. With one thread it is
processor time, which other work hardly touches. ``FUSED_FROM`` in ``jeoni/ops/attention.py`` comes from
this table, also written to ``benchmarks/results/attention.json``.
"""

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from jeoni.base.files import write_json
from jeoni.base.runtime import keep_freed_memory
from jeoni.ops import attention

LENGTHS = (16, 32, 64, 128, 192, 256, 320, 384, 512, 1024)
PATHS = {"explicit": 10**9, "fused": 0}  # the length from which the fused kernel is taken
MODES = ("forward", "training", "training, dropout 0.1")
RESULTS = Path(__file__).parent / "results" / "attention.json"


def step(qkv: Tensor, lengths: tuple[int, ...], mode: str, upstream: Tensor) -> None:
    """One forward, or one forward and backward."""
    if mode == "forward":
        with torch.no_grad():
            attention.attend(qkv, lengths)
        return
    dropout = 0.1 if "dropout" in mode else 0.0
    attention.attend(qkv, lengths, dropout=dropout).backward(upstream)
    qkv.grad = None


def milliseconds(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Fastest time of each call, all of them once a round."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = clock()
            call()
            if number:  # the first round warms up
                times[name].append(1000 * (clock() - start))
    return {name: round(min(values), 3) for name, values in times.items()}


def measure(length: int, mode: str, options: argparse.Namespace) -> dict[str, float]:
    """Both paths on ``tokens`` tokens in sequences of ``length``."""
    lengths = (length,) * max(1, options.tokens // length)
    shape = (sum(lengths), 3, options.heads, options.size)
    qkv = torch.randn(shape, dtype=torch.bfloat16, requires_grad=True)
    upstream = torch.randn(shape[0], options.heads * options.size, dtype=torch.bfloat16)

    def on(path: str) -> Callable[[], None]:
        def call() -> None:
            attention.FUSED_FROM = PATHS[path]
            step(qkv, lengths, mode, upstream)

        return call

    return milliseconds({path: on(path) for path in PATHS}, options.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in [("threads", 1), ("tokens", 4096), ("heads", 12), ("size", 32)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as training and evaluation do
    rows = []
    print(f"{'mode':24}{'length':>8}" + "".join(f"{f'{p}, ms':>14}" for p in PATHS) + "   ratio")
    for mode in MODES:
        for length in LENGTHS:
            times = measure(length, mode, options)
            ratio = times["fused"] / times["explicit"]
            cells = "".join(f"{times[path]:14.2f}" for path in PATHS)
            print(f"{mode:24}{length:8}{cells}{ratio:8.2f}", flush=True)
            rows.append({"mode": mode, "length": length, **times})
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    write_json(RESULTS, {"machine": machine, "options": vars(options), "milliseconds": rows})
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
