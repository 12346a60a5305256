"""The model card: README.md of a saved model."""

from collections.abc import Mapping
from typing import Any

from jeoni.models.config_file import write_config
from jeoni.models.model import Model
from jeoni.recipes.settings import FinetuneRecipe


def model_card(recipe: FinetuneRecipe, results: Mapping[str, Any], model: Model) -> str:
    """What the model is, what it was made from, how well it does, how to use it, with what."""
    rows = "\n".join(
        f"| {name} | {'not finite' if value is None else f'{value:.4g}'} |"
        for name, value in results["metrics"].items()
    )
    own = recipe.own_options(results["task"])
    body = {f"backbone.{name}" for name, _ in model.backbone.named_parameters()}
    start = "random weights in the shape of" if body and body <= model.fresh else "the weights of"
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

{_loads_as(model)}

The recipe is in `recipe.yaml` beside this folder; the same recipe gives the same weights.

    jeoni evaluate --model THIS_FOLDER {_data(recipe)}{own}

The licences of the starting weights and of the data apply.
"""


def _data(recipe: FinetuneRecipe) -> str:
    """The data as one gives them to a command: by name, or the dev file and its columns."""
    data = recipe.data
    if data.name is not None:
        return f"--data {data.name}"
    given = {"data.dev": data.dev or "FILE", "data.text": data.text, "data.label": data.label}
    return " ".join(f"{key}={value}" for key, value in given.items() if value is not None)


def _loads_as(model: Model) -> str:
    """Which class of ``transformers`` config.json names, and whether it has the task's head."""
    name = write_config(model)["architectures"][0]
    heads = frozenset(model.heads)
    if model.family.architectures.get(heads) == name:
        return f"In `transformers` it is `{name}`."
    kinds = ", ".join(sorted(heads))
    return (
        f"`transformers` has no class for this family with the task's head ({kinds}): `{name}`, which "
        "config.json\nnames, loads the body, and passes over the head, `heads.*`. jeoni loads both."
    )
