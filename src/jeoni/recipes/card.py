"""The model card: README.md of a saved model."""

from collections.abc import Mapping
from typing import Any

from jeoni.recipes.settings import FinetuneRecipe


def model_card(recipe: FinetuneRecipe, results: Mapping[str, Any]) -> str:
    """What the model is, what it was made from, how well it does, how to use it."""
    rows = "\n".join(
        f"| {name} | {'not finite' if value is None else f'{value:.4g}'} |"
        for name, value in results["metrics"].items()
    )
    own = recipe.own_options(results["task"])
    start = "the weights of" if recipe.init == "pretrained" else "random weights in the shape of"
    return f"""---
library_name: jeoni
tags: [{results["task"]}]
---

# {recipe.model} on {results["data"]["name"]}

Fine-tuned with jeoni from {start} `{recipe.model}` (strategy `{recipe.strategy["name"]}`,
seed {results["seeds"][0]}) on {results["data"]["train_examples"]} examples of
{results["data"]["name"]}.

| metric on {results["data"]["dev_examples"]} dev examples | value |
|---|---|
{rows}

The recipe is in `recipe.yaml` beside this folder; the same recipe gives the same weights.

    jeoni evaluate --model THIS_FOLDER --data {results["data"]["name"]}{own}

The licences of the starting weights and of the data apply.
"""
