"""The page of a suite, its table as text, and what it says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jeoni.report.page import Report
from jeoni.report.sections import Bars, KeyValues, Section, Table

COLUMNS = ("data set", "metric", "ours", "n", "published", "band")


def report(found: Mapping[str, Any], path: Path) -> Path:
    """Table and bars, what was left out and why, published scores with sources, all runs.

    Args:
        found: what ``results.json`` holds.
        path: the file.
    """
    table, recipe = found["table"], found["recipe"]
    sections: list[Section] = [
        Table(
            f"{found['split']}, in percent: median (smallest to largest) of n runs",
            COLUMNS,
            rows(found),
            note="Inside: our spread and the published one touch.",
        ),
        Bars(
            "Median, smallest and largest",
            [{**row, "what": f"{row['data']}, {row['metric']}"} for row in table],
            "what",
            "median",
            low="low",
            high="high",
        ),
        Table("Left out of the medians", ("data set", "seed", "why"), flagged(found)),
        Table("Not scored", ("data set", "why"), list(found["absent"].items())),
        Table(
            "Published",
            ("data set", "metric", "model", "score", "split", "source"),
            [
                (row["data"], row["metric"], p["model"], p["score"], p["split"], p["source"])
                for row in table
                for p in row["published"]
            ],
        ),
        Table(
            "All runs",
            ("data set", "seed", "metric", "value", "95% interval", "examples", "folder"),
            [
                (
                    r["name"],
                    r["seed"],
                    r["main"],
                    r["metrics"].get(r["main"]),
                    _interval(r),
                    r["n"],
                    r["folder"],
                )
                for r in found["runs"]
            ],
            note="Interval: by bootstrap over the examples.",
        ),
        KeyValues("Common settings", recipe["common"]),
        *(KeyValues(name, own) for name, own in recipe["sets"].items()),
    ]
    title = f"{found['model']} on the suite {found['suite']}"
    seeds = f"seeds {', '.join(map(str, recipe['seeds']))}"
    return Report(title, f"{found['split']} split, {seeds}", sections).write(path)


def markdown(found: Mapping[str, Any]) -> str:
    """What a paper, a README or an issue wants: the table, the settings, and what is not in it."""
    recipe = found["recipe"]
    sets = {name: own for name, own in recipe["sets"].items() if own}
    parts = [
        f"## {found['model']} on the suite {found['suite']}",
        (
            f"The {found['split']} split, in percent: median (smallest to largest) of n runs, seeds "
            f"{', '.join(map(str, recipe['seeds']))}. Published scores with their sources: the report."
        ),
        _pipes(COLUMNS, rows(found)),
    ]
    if lost := flagged(found):
        parts += ["Left out of the medians:", _pipes(("data set", "seed", "why"), lost)]
    if absent := list(found["absent"].items()):
        parts += ["Not scored:", _pipes(("data set", "why"), absent)]
    settings = [
        f"- all: `{recipe['common']}`",
        *(f"- {name}: `{own}`" for name, own in sets.items()),
    ]
    return "\n\n".join([*parts, "Settings of fine-tuning:", "\n".join(settings)]) + "\n"


def _pipes(names: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A table of Markdown."""
    cells = [names, ["---"] * len(names), *lines]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
        for line in cells
    )


def rows(found: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """The lines of the table as text, see ``COLUMNS``."""
    return [
        (
            row["data"],
            row["metric"],
            _spread(row),
            f"{row['n']}, {row['left_out']} left out" if row["left_out"] else str(row["n"]),
            _published(row["published"]),
            row["band"] or "–",
        )
        for row in found["table"]
    ]


def flagged(found: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Data set, seed and reason of the runs that are in no median."""
    degenerate = [
        (r["name"], r["seed"], "; ".join(r["flags"])) for r in found["runs"] if r["flags"]
    ]
    return [*degenerate, *((r["data"], r["seed"], r["why"]) for r in found["failed"])]


def _interval(one: Mapping[str, Any]) -> str:
    return "{:.4g} to {:.4g}".format(*one["interval"]) if one["interval"] else "–"


def _spread(row: Mapping[str, Any]) -> str:
    if row["median"] is None:
        return "–"
    if row["n"] == 1:
        return f"{row['median']:.2f}"
    return f"{row['median']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def _published(scores: Sequence[Mapping[str, Any]]) -> str:
    """The band, whose it is, and of which split."""
    if not scores:
        return "–"
    values = [score["score"] for score in scores]
    band = f"{min(values):.2f}" + (f" to {max(values):.2f}" if max(values) > min(values) else "")
    models = ", ".join(dict.fromkeys(score["model"] for score in scores))
    return f"{band} ({models}; {scores[0]['split']})"
