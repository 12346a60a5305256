"""The page of a study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jeoni.report.page import Report
from jeoni.report.sections import Bars, KeyValues, Section, Table


def report(found: Mapping[str, Any], path: Path) -> Path:
    """Table and bars of all ways, claims beside what was found, configuration.

    Args:
        found: what ``results.json`` holds.
        path: the file.
    """
    table, seeds = found["table"], found["recipe"]["seeds"]
    tasks = sorted({task for row in table.values() for task in row})
    metrics = {score["task"]: score["metric"] for score in found["scores"]}
    sections: list[Section] = [
        Table(
            f"Median (smallest to largest) of {len(seeds)} seeds",
            ("pretrained with", *(f"{task}, {metrics[task]}" for task in tasks)),
            [(way, *(_cell(row.get(task)) for task in tasks)) for way, row in table.items()],
        ),
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


def _cell(value: list[float] | None) -> str:
    if value is None:
        return "–"
    median, low, high = value
    return f"{median:.4g} ({low:.4g} to {high:.4g})"
