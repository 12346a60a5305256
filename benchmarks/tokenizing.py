"""Tokenizing speed against the Rust library's own batch call, and against transformers.

    python benchmarks/tokenizing.py [--lines 2000] [--rounds 7] [--kinds bert roberta ...]

Each kind is learned from the first lines of both corpora (``$JEONI_DATA/corpus-ko``, ``corpus-en``) and
tokenizes the lines after them, other lines every round: nobody has seen a text before, though many of its
words. Three results are asked for: ids and segments for a classifier; ids and offsets as arrays, for
answers in passages; everything that ``encode_batch`` gives. All systems in turn, round after round; a ratio
is the median over rounds of (theirs / ours) within a round, so above 1 is faster than theirs.
``rust_fast`` is the library's call without offsets. Time is the processor's, of all threads, so that other
work on the machine hardly disturbs it. Results: ``benchmarks/results/tokenizing.json``.
"""

import argparse
import itertools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers

from jeoni.base.files import open_binary, write_json
from jeoni.text import recipes
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import KINDS, train

RESULTS = Path(__file__).parent / "results" / "tokenizing.json"
CORPORA = {"ko": "corpus-ko/kowiki.txt.zst", "en": "corpus-en/enwiki.txt.zst"}
LIKE = [r.like for r in recipes.ALL if r.like not in ("electra", "distilbert", "bart", "morpheme")]
Call = Callable[[list[str]], object]


def read_lines(name: str, count: int, skip: int) -> list[str]:
    root = Path(os.environ.get("JEONI_DATA", Path(__file__).parents[2] / "shared" / "data"))
    with open_binary(root / name) as stream:
        return [line.decode().strip() for line in itertools.islice(stream, skip, skip + count)]


def learn(like: str, lines: list[str], size: int) -> Tokenizer:
    kind = recipes.find(like).kind
    name = next((name for name, file in KINDS.items() if file == kind), "bpe")
    return train(lines, kind=name, vocab_size=size, like=like)


def calls(learned: Tokenizer) -> dict[str, dict[str, Call]]:
    """For each result that is asked for, the systems that give it."""
    import transformers

    with tempfile.TemporaryDirectory() as name:
        learned.save(Path(name))
        ours = Tokenizer.from_folder(Path(name))
        rust = tokenizers.Tokenizer.from_file(f"{name}/tokenizer.json")
        peer = transformers.AutoTokenizer.from_pretrained(name, model_max_length=10**9)

    def rust_ids(texts: list[str]) -> Any:
        return [(e.ids, e.type_ids) for e in rust.encode_batch(texts)]

    def rust_fast_ids(texts: list[str]) -> Any:
        return [(e.ids, e.type_ids) for e in rust.encode_batch_fast(texts)]

    def rust_offsets(texts: list[str]) -> Any:
        return [(e.ids, e.offsets) for e in rust.encode_batch(texts, add_special_tokens=False)]

    def rust_everything(texts: list[str]) -> Any:
        return [
            (e.ids, e.type_ids, e.offsets, e.sequence_ids, e.tokens)
            for e in rust.encode_batch(texts)
        ]

    return {
        "ids": {
            "jeoni": ours.encode_ids,
            "rust": rust_ids,
            "rust_fast": rust_fast_ids,
            "transformers": lambda texts: peer(texts, return_token_type_ids=True)["input_ids"],
        },
        "offsets": {
            "jeoni": ours.pieces,
            "rust": rust_offsets,
            "transformers": lambda texts: peer(
                texts, add_special_tokens=False, return_offsets_mapping=True
            ),
        },
        "everything": {"jeoni": ours.encode_batch, "rust": rust_everything},
    }


def seconds(systems: dict[str, Call], rounds: list[list[str]]) -> dict[str, list[float]]:
    """Processor time of each system for the lines of each round; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in systems}
    for number, texts in enumerate(rounds):
        for name, call in systems.items():
            start = time.process_time()
            result = call(texts)
            spent = time.process_time() - start
            del result  # its memory is freed outside of the clock, for all alike
            if number:
                times[name].append(spent)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--lines", type=int, default=2_000, help="tokenized a round, of each corpus"
    )
    parser.add_argument("--learn", type=int, default=3_000, help="lines to learn from, of each")
    parser.add_argument("--vocab-size", type=int, default=16_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kinds", nargs="+", default=LIKE, choices=LIKE)
    options = parser.parse_args()
    lesson = [line for name in CORPORA.values() for line in read_lines(name, options.learn, 0)]
    rows = []
    names = f"{'kind':14}{'text':6}{'result':12}{'tokens/s':>12}"
    print(f"{names}{'vs rust':>9}{'fast':>7}{'vs transformers':>17}")
    for like in options.kinds:
        ours = learn(like, lesson, options.vocab_size)
        for language, name in CORPORA.items():
            texts = read_lines(name, options.lines * (options.rounds + 1), options.learn)
            rounds = [texts[n : n + options.lines] for n in range(0, len(texts), options.lines)]
            tokens = sum(len(ids) for part in rounds[1:] for ids, _ in ours.encode_ids(part))
            for result in calls(ours):
                times = seconds(calls(ours)[result], rounds)  # nobody knows words from before
                row: dict[str, Any] = {"kind": like, "text": language, "result": result}
                row["tokens_per_s"] = round(tokens / sum(times["jeoni"]))
                for system in times.keys() - {"jeoni"}:
                    ratios = [a / b for a, b in zip(times[system], times["jeoni"], strict=True)]
                    row[f"vs_{system}"] = round(statistics.median(ratios), 3)
                row["seconds"] = times
                rows.append(row)
                print(
                    f"{like:14}{language:6}{result:12}{row['tokens_per_s']:>12,}"
                    f"{row['vs_rust']:>9}{row.get('vs_rust_fast', ''):>7}"
                    f"{row.get('vs_transformers', ''):>17}",
                    flush=True,
                )
    facts = {"tokenizers": tokenizers.__version__, "machine": platform.processor()}
    write_json(RESULTS, {"options": vars(options), **facts, "rows": rows})


if __name__ == "__main__":
    main()
