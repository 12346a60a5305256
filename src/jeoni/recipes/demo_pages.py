"""The page of the demonstration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.metrics.spans import normalize_squad
from jeoni.recipes import run
from jeoni.recipes.demo_lessons import Lesson
from jeoni.recipes.finetune import FinetuneResult
from jeoni.report.page import Report
from jeoni.report.sections import (
    Bars,
    Curves,
    Headline,
    KeyValues,
    Note,
    Passage,
    Passages,
    Section,
)
from jeoni.serving.predictor import Answer
from jeoni.tasks._span_report import span_sections
from jeoni.tasks._span_types import SpanPrediction
from jeoni.training import log


@dataclass(frozen=True)
class Outcome:
    """What came of a lesson.

    Attributes:
        lesson: what was to be shown.
        recipe: as it was run.
        results: by start.
        answers: to the lesson's questions.
    """

    lesson: Lesson
    recipe: Mapping[str, Any]
    results: Mapping[str, FinetuneResult]
    answers: Sequence[Answer]


def write_report(
    outcomes: Sequence[Outcome],
    path: Path,
    asked: Sequence[tuple[Lesson, Sequence[Answer]]] = (),
) -> Path:
    """All languages in one page; every run has its own detailed report, too.

    Args:
        outcomes: of the lessons that were given.
        path: of the page.
        asked: answers of readers that had learned other lessons before.
    """
    sections: list[Section] = [_headline(outcomes)]
    for outcome in outcomes:
        sections += _sections(outcome)
    sections += [
        Passages(f"Asked {lesson.reader} ({lesson.language})", _asked(lesson, answers))
        for lesson, answers in asked
    ]
    machine = outcomes[0].results["transferred"].results["machine"]
    sections.append(KeyValues("Machine", machine))
    about = " · ".join(f"{o.lesson.model} on {o.lesson.data}" for o in outcomes)
    return Report("jeoni: what transfer does", about, sections).write(path)


def _headline(outcomes: Sequence[Outcome]) -> Headline:
    figures = {
        f"F1 {start}, {outcome.lesson.language}": f"{result.metrics['f1']:.1f}"
        for outcome in outcomes
        for start, result in outcome.results.items()
    }
    return Headline(
        figures,
        note="same architecture, data, steps and settings; only the starting weights differ",
    )


def _sections(outcome: Outcome) -> list[Section]:
    """One language's."""
    lesson, results = outcome.lesson, outcome.results
    rows = [
        {**row, "start": name}
        for name, result in results.items()
        for row in log.read(result.folder)
    ]
    evaluations = [row for row in rows if row["kind"] == "eval"]
    training = [row for row in rows if row["kind"] == "train"]
    within = f" ({lesson.language})"
    return [
        Note("What was done" + within, lesson.about),
        Curves(
            "F1 on held-out questions" + within, evaluations, "step", "f1",
            series="start", y_format=".1f",
        ),
        Curves("Training loss" + within, training, "step", "loss", series="start", y_format=".2f"),
        Bars(
            "F1 with 95% interval" + within,
            [
                {
                    "start": name,
                    "f1": result.metrics["f1"],
                    "low": result.results["interval"]["low"],
                    "high": result.results["interval"]["high"],
                }
                for name, result in results.items()
            ],
            "start",
            "f1",
            low="low",
            high="high",
        ),
        Passages("Asked after training" + within, _asked(lesson, outcome.answers)),
        *_examples(outcome.recipe, results["transferred"]),
        KeyValues("All metrics" + within, {name: dict(r.metrics) for name, r in results.items()}),
        KeyValues("Configuration" + within, outcome.recipe),
    ]  # fmt: skip


def _asked(lesson: Lesson, answers: Sequence[Answer]) -> list[Passage]:
    """A lesson's passage once for each question, with what is right and what was answered."""
    return [
        Passage(
            question=question,
            context=lesson.passage,
            gold=[(start := lesson.passage.index(wanted), start + len(wanted))],
            predicted=(answer.start or 0, answer.end or 0),
            good=normalize_squad(answer.text) == normalize_squad(wanted),
            caption=f"probability {answer.probability or 0:.0%}",
        )
        for (question, wanted), answer in zip(lesson.questions.items(), answers, strict=True)
    ]


def _examples(recipe: Mapping[str, Any], result: FinetuneResult) -> list[Section]:
    """Held-out questions with their answers marked, as in the run's own report."""
    rows = run.predictions(result.folder)
    if not rows:
        return []
    return span_sections(
        open_dataset(DataConfig(**recipe["data"])).split("dev"),
        [SpanPrediction.from_json(row["prediction"]) for row in rows],
        [row["score"] for row in rows],
    )
