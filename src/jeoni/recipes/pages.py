"""The pages that runs write."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jeoni.metrics.scales import in_percent
from jeoni.recipes.results import FIGURES, base_task, degenerate, figures
from jeoni.recipes.settings import FinetuneRecipe
from jeoni.report.page import Report
from jeoni.report.sections import Bars, Curves, Headline, KeyValues, Section, Table
from jeoni.training.optimizer import GroupRow

Results = Mapping[str, Any]
_MORE = ", with language modeling"  # of which that on dev has none (``task.lm_weight``)
BESIDE = ("exact_match", "macro_f1", "spearman", "char_macro_f1_without_O", "f1", "loss")
"""Metrics that are shown with the main one, where there are such."""


def run_report(
    recipe: FinetuneRecipe,
    results: Results,
    groups: Sequence[GroupRow],
    examples: Sequence[Section],
    rows: Sequence[Mapping[str, Any]],
    path: Path,
) -> Path:
    """The report of one training run."""
    task, main = base_task(results), results["main_metric"]
    interval = results["interval"]
    training = results["training"]
    sections: list[Section] = [
        Headline(
            headline(task, results["metrics"], main),
            note=f"95% interval of {main} by bootstrap over {results['data']['dev_examples']} examples: "
            f"{shown(task, main, interval['low'])} to {shown(task, main, interval['high'])}",
        ),
        *flagged(results),
        *curves(rows, task, main),
        *examples,
        Table(
            "Parameter groups",
            ("group", "tensors", "parameters", "learning rate", "weight decay", "frozen"),
            [
                (
                    g.name,
                    g.tensors,
                    g.parameters,
                    g.learning_rate,
                    g.weight_decay,
                    "yes" if g.frozen else "",
                )
                for g in groups
            ],
        ),
        Table("All metrics", FIGURES, figures(results)),
        *data_sections(results["data"]),
        KeyValues(
            "Training",
            {
                "steps": training["steps"],
                "epochs": training["epochs"],
                "tokens": training["tokens"],
                "seconds in training steps": training["train_seconds"],
                "tokens a second": training["tokens"] / max(training["train_seconds"], 1e-9),
                "steps skipped (not finite)": training["skipped"],
                "best step": training["best_step"],
                "stopped early": training["stopped_early"],
            },
        ),
        KeyValues("Configuration", recipe.model_dump(mode="json")),
        KeyValues("Machine", results["machine"]),
    ]
    title = f"{recipe.model} on {results['data']['name']}"
    start = "" if recipe.init == "pretrained" else ", from random weights"
    subtitle = f"strategy {recipe.strategy['name']}{start}, seed {results['seeds'][0]}"
    return Report(title, subtitle, sections).write(path)


def seeds_report(recipe: FinetuneRecipe, results: Results, path: Path) -> Path:
    """The report of a run with several seeds: median, spread, a link to each seed by name."""
    task, main = base_task(results), results["main_metric"]
    names = list(results["metrics"])
    runs = results["runs"]
    sections: list[Section] = [
        Headline(
            headline(task, results["metrics"], main),
            note=f"median of {_seeds(results)}; every seed has its own report in its folder",
        ),
        *flagged(results),
        Bars(
            f"{main} by seed",
            [{"seed": f"seed {r['seed']}", main: r["metrics"][main]} for r in runs],
            "seed",
            main,
            value_format=digits(task, main),
        ),
        Table(
            "All seeds",
            ("metric", "median", "smallest", "largest", *(f"seed {r['seed']}" for r in runs)),
            [
                (n, results["metrics"][n], *results["spread"][n], *(r["metrics"][n] for r in runs))
                for n in names
            ],
        ),
        *data_sections(results["data"]),
        KeyValues("Configuration", recipe.model_dump(mode="json")),
        KeyValues("Machine", results["machine"]),
    ]
    title = f"{recipe.model} on {results['data']['name']}"
    return Report(title, f"{len(runs)} seeds, strategy {recipe.strategy['name']}", sections).write(
        path
    )


def flagged(results: Results) -> list[Section]:
    """Which runs learned nothing, and by what that shows; no section, if all did."""
    rows = degenerate(results)
    note = "Its score is no sample of what the model can do. Another rate or a longer warm-up may help."
    return [Table("Learned nothing", ("seed", "why"), rows, note=note)] if rows else []


def _seeds(results: Results) -> str:
    """How many are in the medians."""
    count, out = len(results["runs"]), len(degenerate(results))
    if not out:
        return f"{count} seeds"
    if out == count:
        return f"{count} seeds, of which none learned anything"
    return f"{count - out} of {count} seeds; {out} learned nothing and are left out"


def data_sections(data: Results) -> list[Section]:
    """Facts of the data, and what of it was passed over."""
    rows = [
        (splits, skipped["count"], reason) if number == 0 else ("", "", reason)
        for splits, skipped in data.get("skipped", {}).items()
        for number, reason in enumerate(skipped["first"])
    ]
    note = "They are in no figure: scores are not those of the whole split."
    columns = ("of", "examples", "what is wrong with the first")
    table = Table("Bad examples that were skipped", columns, rows, note=note)
    known = KeyValues("Data", {k: v for k, v in data.items() if k != "skipped"})
    return [known, table] if rows else [known]


def curves(rows: Sequence[Mapping[str, Any]], task: str, main: str) -> list[Section]:
    """Learning curves from the metrics file."""
    training = (r for r in rows if r.get("kind") == "train")
    losses = [{**r, "which": "training" + _MORE * ("lm_loss" in r)} for r in training]
    evaluations = [{**r, "which": "dev"} for r in rows if r.get("kind") == "eval"]
    return [
        Curves("Loss", losses + evaluations, "step", "loss", series="which", y_format=".3f"),
        Curves(f"{main} on dev", evaluations, "step", main, y_format=digits(task, main)),
        Curves("Learning rate", losses, "step", "lr", y_format=".1e"),
    ]


def headline(task: str, metrics: Mapping[str, float], main: str) -> dict[str, str]:
    """The main metric first, then those that go with it."""
    wanted = [main, *(name for name in BESIDE if name != main)]
    return {name: shown(task, name, metrics[name]) for name in wanted if name in metrics}


def digits(task: str, metric: str) -> str:
    """The format of a task's figure: percent, or with the digits of a fraction."""
    return ".1f" if in_percent(task, metric) else ".3f"


def shown(task: str, metric: str, value: float | None) -> str:
    """A figure as text, with the digits that mean something."""
    return "–" if value is None else f"{value:{digits(task, metric)}}"
