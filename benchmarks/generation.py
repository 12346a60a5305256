"""Writing against transformers: tokens a second with a cache of keys and values, one prompt and eight.

    python benchmarks/generation.py [--size base] [--families gpt2,t5] [--beams 4] [--threads 1] [--quick]

Same weights, same prompts (lengths are those of SQuAD's questions and passages, up to ``--longest``), as
many new tokens for each, the likeliest always (or beams); same precision. transformers writes with its own
cache, prompts padded on the left, with the faster of its attentions. That both write the same is looked
at before anything is timed, in float32. Systems alternate in rounds; the ratio is the median over rounds.
With one thread on a CPU the clock is processor time. Results go to ``results/generation.json`` as well.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from families import alternate, clock, summary
from family_pair import FIRST_ID, SIZES, Size, lengths, sized

from jeoni.base import runtime
from jeoni.base.files import write_json
from jeoni.models import hub
from jeoni.models.heads import build_head
from jeoni.models.model import Model

RESULTS = Path(__file__).parent / "results" / "generation.json"
BATCHES = (1, 8)
Prompts = list[list[int]]


class Writers:
    """One family's model here, and in transformers for each of its attentions.

    Args:
        family: file name.
        size: of all.
        options: device, precision, new tokens, beams.
    """

    def __init__(self, family: str, size: Size, options: argparse.Namespace) -> None:
        self.options = options
        data = hub.own_family(family)
        self.architecture = data.architectures[frozenset({"language_model"})]
        spec = replace(sized(data, size), positions=max(512, size.longest + options.new))
        ours = hub.create(family, spec, tokenizer=None)
        ours.add_head("language_model", build_head("language_model", ours, {}))
        self.kind = torch.bfloat16 if options.precision == "bf16" else torch.float32
        with tempfile.TemporaryDirectory() as folder:
            ours.save(Path(folder))
            ours.config["eos_token_id"] = []  # everybody writes as many tokens
            self.ours: Model = ours.to(options.device, self.kind)
            self.theirs = {name: self._load(folder, name) for name in ("sdpa", "eager")}

    def _load(self, folder: str, attention: str) -> Any:
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = getattr(transformers, self.architecture).from_pretrained(
                folder, attn_implementation=attention, dtype=self.kind
            )
        settings = model.generation_config
        settings.eos_token_id, settings.forced_eos_token_id = None, None
        settings.pad_token_id = 0
        return model.to(self.options.device).eval()

    def calls(self, prompts: Prompts) -> dict[str, Callable[[], Any]]:
        """What is timed, by name: the new ids of each prompt."""
        found: dict[str, Callable[[], Any]] = {"jeoni": lambda: self.write(prompts)}
        for name, model in self.theirs.items():
            found[name] = lambda model=model: self.their_ids(model, prompts)
        return found

    def write(self, prompts: Prompts) -> Prompts:
        """Ours."""
        options = self.options
        found = self.ours.generate(prompts, max_new=options.new, beams=options.beams)
        return [list(text.ids) for text in found]

    def their_ids(self, model: Any, prompts: Prompts) -> Prompts:
        """Of transformers."""
        longest = max(map(len, prompts))
        padded = [[0] * (longest - len(prompt)) + prompt for prompt in prompts]
        ids = torch.tensor(padded, device=self.options.device)
        out = model.generate(
            ids,
            attention_mask=(ids != 0).long(),
            max_new_tokens=self.options.new,
            num_beams=self.options.beams,
            do_sample=False,
        )
        new: Prompts = out[:, -self.options.new :].tolist()
        return new

    def check(self, prompts: Prompts) -> float:
        """Share of the prompts for which both write the same, each alone (padding changes rounding).

        Raises:
            ValueError: in float32, for less than all but one (two tokens may be as likely).
        """
        model = self.theirs["eager"]
        same = sum(self.write([p]) == self.their_ids(model, [p]) for p in prompts)
        if self.kind == torch.float32 and same < len(prompts) - 1:
            raise ValueError(f"{self.architecture}: {same} of {len(prompts)} texts are the same")
        return same / len(prompts)


def draw_prompts(size: Size, count: int) -> Prompts:
    """Random ids; as long as real texts."""
    generator = torch.Generator().manual_seed(0)
    counts = [whole for whole, _ in lengths(replace(size, sequences=count))]
    drawn = [torch.randint(FIRST_ID, size.vocab, (n,), generator=generator) for n in counts]
    return [ids.tolist() for ids in drawn]


def measure(family: str, size: Size, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of one family: each number of prompts."""
    writers, rows = Writers(family, size, options), []
    same = writers.check(draw_prompts(size, 3))
    for count in BATCHES:
        prompts = draw_prompts(size, count)
        times = alternate(
            writers.calls(prompts), options.rounds, clock(torch.device(options.device))
        )
        found = summary(times)
        del found["milliseconds"]
        rates = {n: round(count * options.new / median(t), 1) for n, t in times.items()}
        facts = {"family": family, "class": writers.architecture, "prompts": count}
        tokens = {"prompt_tokens": sum(map(len, prompts)), "new_tokens": options.new * count}
        rows.append({**facts, **tokens, "tokens_a_second": rates, **found, "same": same})
        peer = rows[-1]["peer"]
        print(
            f"{writers.architecture:34}{count:8}{rates['jeoni']:12.1f}{rates[peer]:14.1f}"
            f"  {peer:6}{found['ratio']:7.2f}x",
            flush=True,
        )
    return rows


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", default="gpt2,t5", help="names, with commas")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--longest", type=int, default=128, help="tokens of a prompt at most")
    parser.add_argument("--new", type=int, default=32, help="tokens written for each prompt")
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    options.precision = runtime.precision(options.precision, torch.device(options.device))
    if options.quick:
        options.size, options.rounds, options.new, options.longest = "quick", 3, 6, 24
    return options


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure, print, write; the rows."""
    options = parse(arguments)
    size = replace(SIZES[options.size], longest=options.longest)
    if options.size == "base":
        size = replace(size, vocab=50257)
    rows: list[dict[str, Any]] = []
    print(f"{'class':34}{'prompts':>8}{'jeoni, /s':>12}{'transformers':>14}{'ratio':>16}")
    with runtime.threads(options.threads):
        for family in options.families.split(","):
            rows += measure(family, size, options)
            facts = runtime.facts(options.device, options.precision)
            settings = {name: value for name, value in vars(options).items() if name != "out"}
            write_json(options.out, {"machine": facts, **settings, "rows": rows})
    return rows


if __name__ == "__main__":
    main()
