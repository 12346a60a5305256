"""The page of a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jeoni.report.page import Report
from jeoni.report.sections import Bars, Curves, KeyValues, Section, Table

X = "tokens of text"


def report(found: Mapping[str, Any], path: Path) -> Path:
    """Table and bars of all ways, scores against text, claims beside what was found, configuration.

    Args:
        found: what ``results.json`` holds.
        path: the file.
    """
    table, seeds = found["table"], found["recipe"]["seeds"]
    tasks = sorted({task for row in table.values() for task in row})
    metrics = {score["task"]: score["metric"] for score in found["scores"]}
    sections: list[Section] = [
        Table(
            f"Median (smallest to largest) of {len(seeds)} seed{'s' * (len(seeds) > 1)}",
            ("pretrained with", *(f"{task}, {metrics[task]}" for task in tasks)),
            [(way, *(cell(row.get(task)) for task in tasks)) for way, row in table.items()],
            note="Ways with the same architecture have one row from scratch, under the first's name.",
        ),
        *flagged(found["scores"]),
        *amounts(found, metrics),
        *(
            Bars(
                f"{task}: {metrics[task]}",
                [{"way": way, "median": row[task][0]} for way, row in table.items() if task in row],
                "way",
                "median",
                value_format=".3g",
            )
            for task in tasks
        ),
        Table(
            "Published claims",
            ("claim", "source", "task", "difference", "found here"),
            [
                (claim["text"], claim["source"], row["task"], row["difference"], row["found"])
                for claim in found["claims"]
                for row in claim["found"]
            ],
        ),
        KeyValues("Common settings", found["recipe"]["common"]),
        *(KeyValues(way, own) for way, own in found["recipe"]["ways"].items()),
        *(KeyValues(task, own) for task, own in found["recipe"]["tasks"].items()),
    ]
    return Report(
        "Ways to pretrain, compared", f"seeds {', '.join(map(str, seeds))}", sections
    ).write(path)


def flagged(scores: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Which runs learned nothing, and by what that shows; no section, if all did."""
    rows = [(s["way"], s["task"], s["seed"], "; ".join(s["flags"])) for s in scores if s["flags"]]
    note = "They are in the medians and the claims all the same, if their score is a number."
    columns = ("pretrained with", "task", "seed", "why")
    return [Table("Learned nothing", columns, rows, note=note)] if rows else []


def amounts(found: Mapping[str, Any], metrics: Mapping[str, str]) -> list[Section]:
    """Scores of every seed against the amount of text, where ways were pretrained on more or less of it.

    Args:
        found: what ``results.json`` holds.
        metrics: of each task.
    """
    ways = found["recipe"]["ways"].values()
    data = [own["data"] for own in ways if isinstance(own.get("data"), Mapping)]
    shares = {part.get("fraction", 1) for part in data} | ({1} if len(data) < len(ways) else set())
    if len(shares) < 2:
        return []
    ends = [score["tokens"] for score in found["scores"] if score["tokens"]]
    charts: list[Section] = []
    for task, metric in metrics.items():
        rows = []
        for way, row in found["table"].items():
            tokens = {s["tokens"] for s in found["scores"] if s["way"] == way} - {0}
            which = "pretrained" if tokens else way
            for place in tokens or {min(ends), max(ends)}:  # from scratch: a level line
                lines = (which, f"{which}, smallest", f"{which}, largest")[: 3 if tokens else 1]
                rows += [
                    {X: place, metric: value, "which": line}
                    for line, value in zip(lines, row.get(task, ()), strict=False)
                ]
        title = f"{task}: {metric} against the text pretrained on"
        charts.append(Curves(title, rows, X, metric, "which", y_format=".3g", x_log=True))
    return charts


def cell(value: Sequence[float] | None) -> str:
    """Median and spread, if there is one."""
    if value is None:
        return "–"
    median, low, high = value
    return f"{median:.4g}" + (f" ({low:.4g} to {high:.4g})" if low < high else "")
