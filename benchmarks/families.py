"""Every family against transformers: a forward pass with its loss, and one with the backward pass.

    python benchmarks/families.py [--size small] [--families bert,t5] [--threads 1] [--quick]

Same weights, same ragged batches (lengths are those of SQuAD's questions and passages), same loss, which
is compared before anything is timed; same precision, dropout as in training. transformers gets padded
batches and the faster of its attentions. Systems alternate in rounds; the ratio is the median over
rounds of the ratio within a round. With one thread on a CPU the clock is processor time, which other
work on the machine hardly touches. Results go to ``results/families.json`` (``--out``) as well.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from family_pair import SIZES, Pair, Size, peerless

from jeoni.base import lookup, runtime
from jeoni.base.files import write_json
from jeoni.models import hub

MODES = ("forward", "training")
RESULTS = Path(__file__).parent / "results" / "families.json"
Call = Callable[[], object]


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds: of this process on one thread of a CPU, else on the wall."""
    if device.type == "cuda":

        def synchronized() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return synchronized
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def alternate(
    calls: dict[str, Call], rounds: int, seconds: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each call in each round; the order turns with the rounds; the first warms up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    gc.collect()
    gc.disable()  # its pauses would fall on one system or the other
    try:
        for number in range(rounds + 1):
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                start = seconds()
                calls[name]()
                if number:
                    times[name].append(seconds() - start)
    finally:
        gc.enable()
    return times


def summary(times: dict[str, list[float]]) -> dict[str, Any]:
    """Medians in milliseconds, the faster peer, and how many times as fast jeoni is."""
    peers = [name for name in times if name != "jeoni"]
    peer = min(peers, key=lambda name: median(times[name]))
    ratios = [theirs / ours for ours, theirs in zip(times["jeoni"], times[peer], strict=True)]
    return {
        "milliseconds": {name: round(1000 * median(values), 2) for name, values in times.items()},
        "peer": peer,
        "ratio": round(median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def step(forward: Callable[[], torch.Tensor], model: Any, mode: str) -> Call:
    """What is timed: the loss without gradients, or the loss and all gradients."""

    def run() -> None:
        with torch.no_grad():
            forward()

    def train() -> None:
        forward().backward()
        for parameter in model.parameters():
            parameter.grad = None

    return run if mode == "forward" else train


def measure(family: str, size: Size, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of one family: each mode."""
    device = torch.device(options.device)
    precision = runtime.precision(options.precision, device)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(family, size, Path(folder), device, precision)
        difference = pair.check()
        for mode in MODES:
            calls = {}
            for name, (forward, model) in pair.systems().items():
                model.train(mode == "training")
                calls[name] = step(forward, model, mode)
            times = alternate(calls, options.rounds, clock(device))
            facts = {"family": family, "class": pair.architecture, "mode": mode}
            rows.append({**facts, **summary(times), "loss_difference": difference})
            show(rows[-1])
    return rows


def show(row: dict[str, Any]) -> None:
    """One line of the table."""
    times = row["milliseconds"]
    print(
        f"{row['class']:34}{row['mode']:10}{times['jeoni']:10.1f}{times[row['peer']]:14.1f}"
        f"  {row['peer']:6}{row['ratio']:7.2f}x",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure, print, write; the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="", help="names, with commas; empty: all")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    size = SIZES["quick" if options.quick else options.size]
    options.rounds = 3 if options.quick else options.rounds
    chosen = options.families.split(",") if options.families else lookup.names(hub.FAMILIES)
    runtime.keep_freed_memory()  # as training and evaluation do; transformers has it, too
    rows: list[dict[str, Any]] = []
    print(f"{'class':34}{'mode':10}{'jeoni, ms':>10}{'transformers':>14}{'ratio':>16}")
    with runtime.threads(options.threads):
        for family in chosen:
            if reason := peerless(family):
                print(f"{family}: {reason}")
                continue
            rows += measure(family, size, options)
            facts = runtime.facts(options.device, options.precision)
            document = {"machine": facts, "size": vars(size), "rounds": options.rounds}
            write_json(options.out, {**document, "rows": rows})
    return rows


if __name__ == "__main__":
    main()
