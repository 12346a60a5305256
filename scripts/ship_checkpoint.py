"""Put a pretrained model among the checkpoints that come with jeoni.

    python scripts/ship_checkpoint.py NAME RUN [RUN ...] --about "..." --licence "..."

``RUN`` are folders of ``jeoni pretrain``, each started from the one before; the last one's model is
shipped, in bfloat16. The figures of the card are those that the runs wrote.
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jeoni.base.config import read_yaml
from jeoni.base.files import read_json, write_text
from jeoni.models.convert import convert
from jeoni.models.where import SHIPPED

LARGEST = 25_000_000


def stage(folder: Path) -> dict[str, Any]:
    """What a run did."""
    recipe, results = read_yaml(folder / "recipe.yaml"), read_json(folder / "results.json")
    tokens = results["training"]["tokens"]
    return {
        "recipe": recipe,
        "steps": results["training"]["steps"],
        "tokens": tokens,
        "flops": tokens * results["rate"]["training_flops_per_token"],
        "text": results["data"],
        "metrics": results["metrics"],
    }


def command(recipe: dict[str, Any], start: str) -> str:
    """The run as one would type it; folders as placeholders."""
    train = recipe["train"]
    starts, short = recipe.get("head_start", {}), recipe.get("short") or {}
    fraction = recipe["data"].get("fraction", 1)
    given = {
        "data.fraction": fraction if fraction < 1 else None,
        **{f"head_start.{part}": "true" for part, wanted in starts.items() if wanted},
        "length": recipe["length"],
        **{f"short.{key}": value for key, value in short.items()},
        "flops": recipe.get("flops"),
        "train.hours": train.get("hours"),
        "train.steps": train.get("steps"),
        "train.optimizer": None if train.get("optimizer") == "adamw" else train.get("optimizer"),
        "train.lr": train["lr"],
        "train.warmup": train["warmup"],
        "train.schedule": None if train.get("schedule") == "linear" else train.get("schedule"),
        "batch.tokens": recipe["batch"]["tokens"],
        "seed": recipe["seed"],
    }
    parts = [f"{key}={value}" for key, value in given.items() if value is not None]
    given_objectives = recipe["objectives"].items()
    objectives = [shlex.quote(f"objectives.{k}={v}".replace("'", "")) for k, v in given_objectives]
    spec = recipe.get("spec") or {}
    sizes = [f"spec.{key}={value}" for key, value in spec.items()]
    return " ".join(
        ["jeoni pretrain --model", start, text(recipe["data"]), *objectives, *sizes, *parts]
    )


def text(data: dict[str, Any]) -> str:
    """Which text, as one would type it: a store, or files, without their folders."""
    if data.get("store"):
        return f"--store {Path(data['store']).name}"
    names = ",".join(Path(name).name for name in data["text"])
    return shlex.quote(f"data.text=[{names}]" if len(data["text"]) > 1 else f"data.text={names}")


def row(number: int, found: dict[str, Any]) -> str:
    """A stage in the card's table."""
    recipe = found["recipe"]
    figures = ", ".join(f"{key} {value:.4g}" for key, value in found["metrics"].items())
    cells = (
        number,
        " + ".join(recipe["objectives"]),
        "{train_tokens:,} tokens in {train_documents:,} documents".format(**found["text"]),
        recipe["length"],
        f"{found['steps']:,}",
        f"{found['tokens']:,}",
        f"{found['flops']:.2g}",
        figures,
    )
    return f"| {' | '.join(map(str, cells))} |"


def card(name: str, stages: Sequence[dict[str, Any]], about: str, licence: str) -> str:
    """README.md of the checkpoint."""
    rows = "\n".join(row(number, found) for number, found in enumerate(stages, 1))
    starts = [stages[0]["recipe"]["model"], *["RUN/model"] * (len(stages) - 1)]
    commands = "\n".join(
        "    " + command(s["recipe"], start) for s, start in zip(stages, starts, strict=True)
    )
    total = sum(s["flops"] for s in stages)
    return f"""---
library_name: jeoni
license: {licence.split(";")[0].strip()}
---

# {name}

{about}

| stage | objective | text | length | steps | tokens read | operations | on held-out text |
|---|---|---|---|---|---|---|---|
{rows}

In all {total:.2g} floating-point operations. Made by jeoni alone:

{commands}

    jeoni finetune --model {name} --data ...

Licence: {licence}
"""


def main() -> None:
    """Convert, write the card, say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--about", required=True, help="a paragraph: data, tokenizer, limits")
    parser.add_argument("--licence", required=True)
    options = parser.parse_args()
    target = SHIPPED / options.name
    convert(options.runs[-1] / "model", target, dtype="bfloat16")
    stages = [stage(folder) for folder in options.runs]
    write_text(target / "README.md", card(options.name, stages, options.about, options.licence))
    for file in target.iterdir():
        file.chmod(0o644)
    size = sum(file.stat().st_size for file in target.iterdir())
    print(f"{target}: {size / 1e6:.1f} MB")
    if size > LARGEST:
        raise SystemExit("more than 25 MB")


if __name__ == "__main__":
    main()
