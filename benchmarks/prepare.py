"""Speed of ``jeoni data prepare`` against the tokenizer's own batch call on the same lines.

    python benchmarks/prepare.py [--megabytes 12] [--rounds 3] [--kinds bert gpt2] [--workers 1]

Each tokenizer is learned from the beginning of a corpus (``$JEONI_DATA/corpus-ko``, ``corpus-en``); what is
prepared is the text after that. "tokenizer" is the Rust library's ``encode_batch`` and its ids, on
batches of lines that are in memory already; "prepare" is everything: reading zstd, filters, hashes, tokens
with words, sentences and documents, writing, joining, the report. All in turn, round after round; a share
is the median over rounds of (tokenizer's time / prepare's time). With one worker, time is the process's own
processor time, so that other work on the machine hardly disturbs it; with several, it is the clock's,
and the tokenizer has as many threads. Results: ``benchmarks/results/prepare.json``.
"""

import argparse
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zstandard

from jeoni.base.files import open_binary, write_json
from jeoni.data.prepare.pipeline import prepare
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.text import recipes
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import KINDS, train

RESULTS = Path(__file__).parent / "results" / "prepare.json"
CORPORA = {"ko": "corpus-ko/kowiki.txt.zst", "en": "corpus-en/enwiki.txt.zst"}
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "near copies": {"duplicates": "near"},
    "language": {"languages": None},
}
BATCH = 1 << 17  # characters


def read(name: str, learn: int, size: int) -> tuple[list[str], list[str]]:
    """Lines to learn from, and the lines after them, blank ones included."""
    root = Path(os.environ.get("JEONI_DATA", Path(__file__).parents[2] / "shared" / "data"))
    with open_binary(root / name) as stream:
        lesson = [line.decode() for line in itertools.islice(stream, learn)]
        rest: list[str] = []
        for line in stream:
            rest.append(line.decode())
            size -= len(line)
            if size < 0:
                break
    return lesson, rest


def batches(lines: list[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        if size > BATCH:
            yield batch
            batch, size = [], 0
    yield batch


def tokenize(tokenizer: Tokenizer, lines: list[str]) -> int:
    rust, count = tokenizer._rust, 0
    for batch in batches(lines):
        count += sum(len(e.ids) for e in rust.encode_batch(batch, add_special_tokens=False))
    return count


def seconds(call: Callable[[], object], own: bool) -> float:
    clock = time.process_time if own else time.perf_counter
    start = clock()
    call()
    return clock() - start


def measure(
    tokenizer: Path, file: Path, language: str, options: argparse.Namespace
) -> dict[str, Any]:
    """Times of all ways, and of the tokenizer alone."""
    with open_binary(file) as stream:
        lines = [line.decode().strip() for line in stream]
    lines = [line for line in lines if line]
    loaded, own = Tokenizer.from_folder(tokenizer), options.workers == 1
    out = file.parent / "out"
    ways = {n: {k: v or [language] for k, v in WAYS[n].items()} for n in options.ways}
    times: dict[str, list[float]] = {name: [] for name in ("tokenizer", *ways)}
    for number in range(options.rounds + 1):
        os.environ["TOKENIZERS_PARALLELISM"] = "false" if own else "true"
        found = {"tokenizer": seconds(lambda: tokenize(loaded, lines), own)}
        for name, way in ways.items():
            config = PrepareConfig(inputs=(str(file),), tokenizer=str(tokenizer), **way)
            shutil.rmtree(out, ignore_errors=True)
            found[name] = seconds(lambda c=config: prepare(c, out, workers=options.workers), own)
        for name, value in found.items():
            if number:  # the first round fills caches
                times[name].append(value)
    return {
        "tokens": tokenize(loaded, lines),
        "bytes": sum(map(len, map(str.encode, lines))),
        "times": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=12, help="of text to prepare")
    parser.add_argument("--learn", type=int, default=20_000, help="lines to learn from")
    parser.add_argument("--vocab-size", type=int, default=16_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=["bert", "gpt2"])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    options = parser.parse_args()
    rows = []
    print(f"{'kind':8}{'text':6}{'way':14}{'tokens/s':>12}{'MB/s':>8}{'of the tokenizer':>18}")
    for like, (language, corpus) in itertools.product(options.kinds, CORPORA.items()):
        lesson, lines = read(corpus, options.learn, int(options.megabytes * 1e6))
        kind = recipes.find(like).kind
        name = next((name for name, file in KINDS.items() if file == kind), "bpe")
        with tempfile.TemporaryDirectory() as folder:
            train(lesson, kind=name, vocab_size=options.vocab_size, like=like).save(
                Path(folder) / "t"
            )
            file = Path(folder) / "text.zst"
            file.write_bytes(zstandard.compress("".join(lines).encode()))
            row = measure(Path(folder) / "t", file, language, options)
        times = row["times"]
        for way, spent in times.items():
            shares = [a / b for a, b in zip(times["tokenizer"], spent, strict=True)]
            middle = statistics.median(spent)
            print(
                f"{like:8}{language:6}{way:14}{row['tokens'] / middle:>12,.0f}"
                f"{row['bytes'] / middle / 1e6:>8.2f}{statistics.median(shares):>18.0%}",
                flush=True,
            )
        rows.append({"kind": like, "text": language, **row})
    write_json(RESULTS, {"options": vars(options), "rows": rows})


if __name__ == "__main__":
    main()
