"""What the two sides of the fine-tuning benchmark share: the job, the result, the rules of timing.

Each side is a program that reads a ``Job`` as JSON from stdin and prints a ``Result`` as one line of
JSON, the last of its stdout (``serve``). One process a job, so that memory is its own.
"""

import contextlib
import dataclasses
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jeoni.base.files import read_json


@dataclass(frozen=True)
class Job:
    """One training and prediction; everything that both sides must do alike.

    AdamW (betas 0.9, 0.999; eps 1e-8; biases and norms not decayed), linear schedule to 0, dropout
    as in the checkpoint's configuration, ``precision`` over float32 weights.

    Attributes:
        system: ``jeoni``, ``padded`` (transformers, every batch padded to ``max_length``) or
            ``grouped`` (transformers, length-grouped batches padded to their longest).
        model: checkpoint folder, Hugging Face layout.
        train: SQuAD 1.1 JSON file to train on. Windows without the answer point at ``[CLS]``.
        dev: SQuAD 1.1 JSON file to predict and score.
        max_steps: stop after so many optimizer steps; no EM and F1 then. 0: all epochs.
        untimed_steps: warm-up of the machine, left out of the timing.
        precision: ``bf16`` (autocast) or ``fp32``, the same on both sides.
        attention: implementation that transformers is told to use (jeoni chooses its own).
        pad_to: the ``grouped`` side pads a batch to its longest, rounded up to a multiple of this.
    """

    system: str
    model: str
    train: str
    dev: str
    seed: int = 0
    epochs: int = 2
    max_steps: int = 0
    batch_size: int = 16
    learning_rate: float = 1e-4
    warmup_steps: int = 50
    weight_decay: float = 0.01
    clip: float = 1.0
    max_length: int = 384
    stride: int = 128
    max_answer_tokens: int = 30
    predict_batch_size: int = 32
    untimed_steps: int = 3
    threads: int = 2
    precision: str = "bf16"
    attention: str = "sdpa"
    pad_to: int = 8


@dataclass(frozen=True)
class Result:
    """What a side reports.

    Attributes:
        features: windows in the training file (one pass).
        features_per_s: training rate without the first ``untimed_steps`` steps; neither loading nor
            feature building count.
        seconds: what it was measured over.
        peak_memory_mb: highest resident memory of the whole process, libraries included.
        train_flops: needed operations of a training feature, mean (see ``limits.Shape``).
        predict_features: windows in the dev file.
        predict_features_per_s: forward passes alone, one untimed warm-up before; no decoding.
        predict_flops: needed operations of a dev feature when predicting, mean.
        exact_match: percent, official; None if training stopped early.
        f1: percent, official; None if training stopped early.
    """

    system: str
    seed: int
    features: int
    features_per_s: float
    seconds: float
    peak_memory_mb: float
    train_flops: float
    predict_features: int
    predict_features_per_s: float
    predict_flops: float
    exact_match: float | None = None
    f1: float | None = None


@dataclass(frozen=True)
class Question:
    """A question of a SQuAD file; ``answers`` as (text, character offset)."""

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


@dataclass
class StepClock:
    """Times training steps: call it at the end of each with the features it took."""

    untimed_steps: int
    clock: Callable[[], float] = time.perf_counter
    steps: int = 0
    features: int = 0
    _began: float = field(default=0.0)
    _ended: float = field(default=0.0)

    def __call__(self, features: int) -> None:
        """A step of ``features`` has ended."""
        self._ended = self.clock()
        self.steps += 1
        if self.steps > self.untimed_steps:
            self.features += features
        else:
            self._began = self._ended

    @property
    def seconds(self) -> float:
        """Time of all timed steps, with what lay between them."""
        return self._ended - self._began

    @property
    def rate(self) -> float:
        """Features a second.

        Raises:
            ValueError: no step was timed.
        """
        if self.features == 0:
            raise ValueError(f"{self.steps} steps, of which the first {self.untimed_steps} untimed")
        return self.features / self.seconds


def read_questions(path: str) -> list[Question]:
    """All questions of a SQuAD file, in its order."""
    return list(_questions(read_json(Path(path))))


def score(questions: Sequence[Question], predictions: dict[str, str]) -> tuple[float, float]:
    """Official exact match and F1, percent."""
    from jeoni.metrics.spans import squad_v1

    references = {q.id: [text for text, _ in q.answers] for q in questions}
    scores = squad_v1(references, predictions)
    return scores.exact_match, scores.f1


def peak_memory_mb() -> float:
    """Highest resident memory of this process so far, in MB (10^6 bytes)."""
    # Not ru_maxrss where it can be helped: Linux starts it at the size of the parent process.
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def serve(run: Callable[[Job], Result]) -> None:
    """Read a job from stdin, run it, print its result; what libraries print goes to stderr."""
    job = Job(**json.load(sys.stdin))
    with contextlib.redirect_stdout(sys.stderr):
        result = run(job)
    print(json.dumps(dataclasses.asdict(result)))


def _questions(document: Any) -> Iterator[Question]:
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                answers = tuple((a["text"], a["answer_start"]) for a in qa["answers"])
                yield Question(qa["id"], qa["question"], paragraph["context"], answers)
