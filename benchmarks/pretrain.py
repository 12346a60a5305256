"""Masked-language-model pretraining: jeoni against the transformers ``Trainer``.

    python benchmarks/pretrain.py [--size small|base] [--rounds 3] [--steps 8] [--threads 2]
    python benchmarks/pretrain.py --systems jeoni rtd         ours alone, replaced-token detection too

Same architecture (BERT), batch (32 sequences of 128 tokens), precision, optimizer; every job in its own
process, in rounds. The Trainer gets grouped texts (nothing padded), SDPA and fused AdamW, once as it is and
once with torch.compile; its first steps (compiling, warming up) are not counted. Tokens are random ids in
one document, so that every sequence is full. The share of the machine's matrix products counts the
operations that the mathematics needs: logits at the 15% of positions that have a target. (Without
jeoni's job, which counts them, the Trainer has no share.) With one thread of a CPU, seconds are processor
time. Memory is the most that the process held, or on a GPU (``--device cuda --batch 256``) what was
allocated there. Results go to ``results/pretrain.json`` as well.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from job import peak_memory_mb

from jeoni.base import runtime
from jeoni.base.files import write_json
from jeoni.base.limits import matmul_rate
from jeoni.data.batching import BatchConfig
from jeoni.data.token_store import StoreWriter, TokenStore
from jeoni.models import describe, hub
from jeoni.models.model import Model
from jeoni.objectives import _mixture
from jeoni.objectives._batches import StoreBatches
from jeoni.text.tokenizer import Tokenizer
from jeoni.training.config import TrainConfig
from jeoni.training.loop import fit
from jeoni.training.optimizer import default_groups

RESULTS = Path(__file__).parent / "results" / "pretrain.json"
SYSTEMS = ("jeoni", "rtd", "trainer", "compiled")
# Layers, hidden size, heads, vocabulary.
SIZES = {"small": (12, 256, 4, 32000), "base": (12, 768, 12, 30522), "quick": (2, 64, 2, 1000)}
UNTIMED = 3


def vocabulary(size: int, folder: Path) -> Tokenizer:
    """Special tokens, and names for the rest."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = [*special, *(f"w{number}" for number in range(size - len(special)))]
    (folder / "vocab.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return Tokenizer.from_folder(folder)


class Clock:
    """Seconds of the steps after the first ones."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.cuda = options.device == "cuda"
        alone = options.threads == 1 and not self.cuda
        self.now: Callable[[], float] = time.process_time if alone else time.perf_counter
        self.ends: list[float] = []

    def tick(self) -> None:
        """A step is over."""
        if self.cuda:
            torch.cuda.synchronize()
        self.ends.append(self.now())

    def seconds(self) -> float:
        """Median of the timed steps."""
        return statistics.median(np.diff(self.ends[UNTIMED:]))


def ours(options: argparse.Namespace) -> dict[str, float]:
    """jeoni: masked LM on BERT, or replaced-token detection on ELECTRA."""
    layers, hidden, heads, vocab = SIZES[options.size]
    family = "electra" if options.job == "rtd" else "bert"
    preset = next(iter(hub.own_family(family).presets.values()))
    spec = replace(
        preset, vocab=vocab, hidden=hidden, layers=layers, heads=heads, feed_forward=4 * hidden,
        width=min(hidden, 128 if hidden < 768 else 768) if family == "electra" else hidden,
    )  # fmt: skip
    clock = Clock(options)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = hub.create(family, spec, tokenizer=vocabulary(vocab, folder))
        steps = UNTIMED + options.steps + 1
        batches = _batches(options, folder, model, steps, clock)
        config = TrainConfig(
            steps=steps,
            lr=1e-4,
            threads=options.threads,
            save_every_minutes=0,
            precision=options.precision,
        )
        fit(batches.mixture, batches, groups=default_groups(batches.mixture.module), config=config,
            folder=folder / "run", seed=0, device=options.device)  # fmt: skip
    models = [m for m in batches.mixture.module.modules() if isinstance(m, Model)]
    flops = sum(describe.operations(m, options.length).training for m in models)
    return {"seconds": clock.seconds(), "flops_per_token": flops}


def _memory(options: argparse.Namespace) -> float:
    """Most memory so far, in MB: of the GPU, if that is where the model is."""
    return torch.cuda.max_memory_allocated() / 1e6 if options.device == "cuda" else peak_memory_mb()


def _batches(
    options: argparse.Namespace, folder: Path, model: Model, steps: int, clock: Clock
) -> StoreBatches:
    """Full sequences of one long document; the clock ticks when the loop asks for a step."""
    mixture = _mixture.build(
        {"replaced_token" if options.job == "rtd" else "masked_lm": 1.0}, model, seed=0
    )
    room = mixture.room(options.length)
    count = room * options.batch * steps
    ids = np.random.default_rng(0).integers(5, model.spec.vocab, count)
    begins = np.ones(count, np.bool_)
    with StoreWriter(folder / "store", model.spec.vocab, {}) as writer:
        writer.add(ids, begins, np.arange(0, count, 25))

    class Timed(StoreBatches):
        def get(self, epoch: int, step: int, rank: int = 0, world: int = 1) -> Any:
            clock.tick()
            return super().get(epoch, step, rank, world)

    sizes = BatchConfig(size=options.batch)
    store = TokenStore(folder / "store")
    return Timed(store, mixture, length=options.length, config=sizes, seed=0)


def theirs(options: argparse.Namespace) -> dict[str, float]:
    """The Trainer with grouped texts."""
    import transformers

    layers, hidden, heads, vocab = SIZES[options.size]
    torch.set_num_threads(options.threads)
    clock = Clock(options)

    class Ticks(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.tick()

    config = transformers.BertConfig(
        vocab_size=vocab, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=4 * hidden, attn_implementation="sdpa",
    )  # fmt: skip
    model = transformers.BertForMaskedLM(config)
    steps = UNTIMED + options.steps + 1
    with tempfile.TemporaryDirectory() as place:
        vocabulary(vocab, Path(place)).save(Path(place) / "tokenizer")
        tokenizer = transformers.AutoTokenizer.from_pretrained(Path(place) / "tokenizer")
        rows = np.random.default_rng(0).integers(5, vocab, (options.batch * steps, options.length))
        data = [{"input_ids": row.tolist()} for row in rows]
        arguments = transformers.TrainingArguments(
            output_dir=place, use_cpu=options.device == "cpu", bf16=options.precision == "bf16",
            max_steps=steps, per_device_train_batch_size=options.batch, learning_rate=1e-4,
            optim="adamw_torch_fused", torch_compile=options.job == "compiled",
            logging_strategy="no", save_strategy="no",
            report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = transformers.Trainer(
            model=model, args=arguments, train_dataset=data, callbacks=[Ticks()],
            data_collator=transformers.DataCollatorForLanguageModeling(tokenizer),
        )  # fmt: skip
        trainer.train()
    return {"seconds": clock.seconds()}


def job(system: str, options: argparse.Namespace) -> dict[str, float]:
    """One system in a process of its own."""
    arguments = [f"--{k.replace('_', '-')}={getattr(options, k)}"
                 for k in ("size", "steps", "threads", "batch", "length", "precision", "device")
                 ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, __file__, "--job", system, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{system} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="that are timed, of each job")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32, help="sequences")
    parser.add_argument("--length", type=int, default=128, help="tokens of each")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--job", choices=SYSTEMS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.precision = runtime.precision(options.precision, options.device)
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parse(arguments)
    if options.job:
        run = ours if options.job in ("jeoni", "rtd") else theirs
        print(json.dumps({**run(options), "memory_mb": _memory(options)}))
        return
    _, hidden, _, _ = SIZES[options.size]
    tokens = options.batch * options.length
    found: dict[str, list[float]] = {name: [] for name in options.systems}
    memory: dict[str, list[float]] = {name: [] for name in options.systems}
    flops: dict[str, float | None] = {}
    limits = []
    with runtime.threads(options.threads):
        for number in range(options.rounds):
            rate = matmul_rate(
                tokens,
                hidden,
                4 * hidden,
                device=options.device,
                precision=options.precision,
                seconds=2,
            )
            limits.append(rate)
            print(
                f"round {number + 1}: {options.precision} products {rate / 1e9:.0f} GFLOP/s",
                flush=True,
            )
            for name in options.systems:
                result = job(name, options)
                found[name].append(result["seconds"])
                memory[name].append(result["memory_mb"])
                flops[name] = result.get("flops_per_token")
                print(f"  {name:10}{result['seconds']:8.3f} s a step", flush=True)
    limit = statistics.median(limits)
    rows: dict[str, dict[str, Any]] = {
        name: {
            "seconds": statistics.median(times),
            "tokens_per_s": tokens / statistics.median(times),
            "share_of_matmul": None,
            "memory_mb": statistics.median(memory[name]),
            "times": times,
        }
        for name, times in found.items()
    }
    print(
        f"\n{'system':12}{'s a step':>10}{'tokens/s':>12}{'of products':>13}"
        f"{'memory, GB':>12}{'jeoni is':>11}"
    )
    for name, row in rows.items():
        reached = "-"
        if needed := flops[name] or flops.get("jeoni"):  # the Trainer's model is the same
            row["share_of_matmul"] = row["tokens_per_s"] * needed / limit
            reached = f"{row['share_of_matmul']:.0%}"
        pairs = zip(found[name], found.get("jeoni", found[name]), strict=True)
        row["ratio"] = statistics.median(a / b for a, b in pairs)
        print(
            f"{name:12}{row['seconds']:10.3f}{row['tokens_per_s']:12,.0f}"
            f"{reached:>13}{row['memory_mb'] / 1e3:12.2f}{row['ratio']:10.2f}x"
        )
    facts = {"machine": runtime.facts(options.device, options.precision), "matmul_flops": limits}
    settings = {k: v for k, v in vars(options).items() if k not in ("out", "job")}
    write_json(options.out, {**facts, **settings, "systems": rows})


if __name__ == "__main__":
    main()
