"""What a pretraining run writes for people: report, model card, speed beside the machine's limit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jeoni.base.batch import Batch
from jeoni.base.limits import matmul_rate
from jeoni.models import describe
from jeoni.models.model import Model
from jeoni.objectives._mixture import Mixture
from jeoni.recipes.pretrain_settings import PretrainRecipe
from jeoni.report.page import Report
from jeoni.report.sections import Curves, Headline, KeyValues, Section
from jeoni.training import distributed
from jeoni.training.result import FitResult

Results = Mapping[str, Any]


def rate(
    recipe: PretrainRecipe, mixture: Mixture, result: FitResult, batches: Sequence[Batch]
) -> dict[str, float]:
    """Tokens a second, and operations a second beside those of a plain matrix product.

    Operations a token are those of ``batches``, in sequences of the recipe's length; shorter ones do a
    little less.
    """
    read = sum(sum(batch.lengths) for batch in batches)
    flops = operations(mixture, recipe.length, batches) / read
    tokens = result.tokens / max(result.train_seconds, 1e-9)
    spec, device = mixture.model.spec, mixture.model.device
    size = recipe.batch.tokens or recipe.batch.size * recipe.length
    limit = matmul_rate(
        min(size, recipe.batch.micro_tokens),
        spec.hidden,
        spec.feed_forward,
        device=device,
        precision=recipe.train.precision,
    )
    limit *= distributed.world()
    return {
        "tokens_per_s": round(tokens, 1),
        "training_flops_per_token": flops,
        "gflops": round(tokens * flops / 1e9, 1),
        "matmul_gflops": round(limit / 1e9, 1),
        "share_of_matmul": round(tokens * flops / limit, 3),
    }


def operations(mixture: Mixture, length: int, batches: Sequence[Batch]) -> float:
    """Operations of training on batches, of all models that train (a generator, too).

    Counted as ``jeoni models show`` does, for the tokens that are read and written and, in the heads with
    a vocabulary, for those that are predicted.

    Args:
        mixture: objectives on a model.
        length: tokens of a sequence, for what attention costs.
        batches: some, as the objectives make them.
    """
    tokens = sum(map(mixture.tokens, batches))
    rows = sum((Counter(mixture.rows(batch)) for batch in batches), Counter[str]())
    shares = {kind: count / tokens for kind, count in rows.items()}
    models = [m for m in mixture.module.modules() if isinstance(m, Model)]
    return tokens * sum(describe.operations(m, length, shares).training for m in models)


def report(
    recipe: PretrainRecipe,
    model: Model,
    results: Results,
    rows: Sequence[Mapping[str, Any]],
    path: Path,
) -> Path:
    """The report of a run."""
    whose = "Tokens are those that the encoder reads." if model.spec.decoder_layers else ""
    sections: list[Section] = [
        Headline(
            {said(recipe, n): f"{value:.3g}" for n, value in results["metrics"].items()},
            note=f"on {min(results['data']['held_out_tokens'], recipe.data.held_out_tokens):,} tokens of "
            "held-out text",
        ),
        *curves(recipe, rows),
        KeyValues("Text", results["data"]),
        KeyValues("Speed", results["rate"], whose),
        KeyValues(
            "Training", {k: v for k, v in results["training"].items() if not _nested(v)}, whose
        ),
        KeyValues("Configuration", recipe.model_dump(mode="json")),
        KeyValues("Machine", results["machine"]),
    ]
    title = f"{' + '.join(recipe.objectives)}: {recipe.model}"
    return Report(title, f"pretraining, seed {recipe.seed}", sections).write(path)


def said(recipe: PretrainRecipe, name: str) -> str:
    """A figure's name for people; of an only objective, without it."""
    prefixes = [objective.rpartition(":")[2] for objective in recipe.objectives]
    if len(prefixes) == 1:
        name = name.removeprefix(f"{prefixes[0]}_")
    return name.replace("_", " ")


def curves(recipe: PretrainRecipe, rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Losses of training and held-out text, and every other figure of held-out text."""
    known = {"kind", "step", "epoch", "which", "lr", "tokens_per_s"}
    rows = [{n if n in known else said(recipe, n): value for n, value in r.items()} for r in rows]
    training = [{**r, "which": "training"} for r in rows if r.get("kind") == "train"]
    unseen = [{**r, "which": "held out"} for r in rows if r.get("kind") == "eval"]
    names = sorted({name for row in unseen for name in row} - known)
    found: list[Section] = []
    for name in sorted(names, key=lambda name: "loss" not in name):
        shown = [row for row in training + unseen if name in row]
        found.append(Curves(name, shown, "step", name, series="which", y_format=".4~g"))
    return [
        *found,
        Curves("Tokens a second", training, "step", "tokens_per_s", y_format=",.0f"),
        Curves("Learning rate", training, "step", "lr", y_format=".1e"),
    ]


def card(recipe: PretrainRecipe, results: Results) -> str:
    """The model card: README.md of a saved model."""
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in results["metrics"].items())
    training, data, speed = results["training"], results["data"], results["rate"]
    flops = training["tokens"] * speed["training_flops_per_token"]
    return f"""---
library_name: jeoni
tags: [{", ".join(recipe.objectives)}]
---

# {recipe.model}, pretrained with {" + ".join(recipe.objectives)}

{training["steps"]:,} steps over {training["tokens"]:,} tokens, {flops:.2g} floating-point operations, seed
{recipe.seed}. Text: {data["train_tokens"]:,} tokens in {data["train_documents"]:,} documents.

| on held-out text | |
|---|---|
{rows}

Fine-tune it:

    jeoni finetune --model THIS_FOLDER --data NAME

Names: `jeoni data list`.

The recipe is in `recipe.yaml` beside this folder. The licence of the text applies.
"""


def _nested(value: object) -> bool:
    return isinstance(value, dict | list)
