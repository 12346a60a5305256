"""Span question answering: for each token of a passage, is it the start, is it the end of the answer.

Source: Devlin et al., "BERT", 2019, sections 4.2 and 4.3 (start and end vectors; the no-answer
score of SQuAD 2.0 is that of the first token). Ends that depend on starts, and a score of there being no
answer: Yang et al., "XLNet", 2019, appendix A.4, and its authors' code. Ends inside a token (``trim``)
are ours: Korean particles stay on the last piece of a word, and the annotated answers leave them off.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Features
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record, text_field
from jeoni.ops.losses import segment_log_softmax
from jeoni.report.sections import Section
from jeoni.tasks._span_decode import choose
from jeoni.tasks._span_heads import JOINT, QUESTION, Asked, Independent, Joint, Spans
from jeoni.tasks._span_report import RIGHT, span_sections
from jeoni.tasks._span_scores import WITH_NO_ANSWER, span_scores
from jeoni.tasks._span_trim import Trim
from jeoni.tasks._span_types import Candidate, EncodedSpans, SpanPrediction, Window, WindowAnswers
from jeoni.tasks._task import Encoded, Scores, Task, TaskType, Verdict
from jeoni.text.tokenizer import Pieces

HEADS = {"question": QUESTION, "joint": JOINT}
"""Heads that a checkpoint may bring, and ``auto`` takes then."""
WEIGHT = 0.5
"""Of the loss of there being an answer, beside that of start and end (XLNet's code); also of ``trim``."""
LONGEST_PARTICLE = 4
"""Characters; with jeoni-ko-small's vocabulary, of 8,522 answers of wiki-ko-qa none leaves off over 3."""


class SpanQAConfig(Config):
    """Settings of span question answering.

    Attributes:
        max_length: longest sequence (question, passage and special tokens) in tokens.
        stride: tokens that a window over a long passage has in common with the next.
        max_question: longer questions are cut to so many tokens (BERT's script: 64).
        overflow: what to do with a passage that does not fit: ``window`` slides over it, ``error``
            names its line, ``auto`` is an error for ready-made token lists and a window else.
        max_answer: longest answer in tokens.
        n_best: candidates kept for each question.
        no_answer: whether a question may have no answer.
        null_threshold: no answer is given when its score exceeds the best answer's by more than this.
        head: ``independent`` scores of start and end; ``joint``: ends are scored given a start;
            ``question``: both as the answer to a mask behind the question (Ram et al., "Few-Shot Question
            Answering by Pretraining Span Selection", 2021); ``auto``: what the checkpoint has a head for.
        beam: of a joint head, how many starts of each window are looked at.
        answerability: learn beside the spans whether a window has the answer, from what stands for the
            sequence (``[CLS]``); no answer is given where that says so, by more than ``null_threshold``.
        trim: learn beside the spans how many characters, up to so many, an answer leaves off at the end of
            its last token, as Korean answers do with particles; 0: answers end where tokens do.
        metric: official scorer; the data set gives it if this does not.
    """

    max_length: int = Field(384, ge=1)
    stride: int = Field(128, ge=0)
    max_question: int = Field(64, ge=1)
    overflow: Literal["auto", "window", "error"] = "auto"
    max_answer: int = Field(30, ge=1)
    n_best: int = Field(20, ge=1)
    no_answer: bool = False
    null_threshold: float = 0.0
    head: Literal["auto", "independent", "joint", "question"] = "auto"
    beam: int = Field(5, ge=1)
    answerability: bool = False
    trim: int = Field(0, ge=0, le=16)
    metric: Literal["squad_v1", "squad_v2", "korquad_v1", "klue_mrc"] = "squad_v1"


class SpanQA(Task[WindowAnswers, SpanPrediction]):
    """The answer as a span of the passage."""

    main_metric = "f1"
    config: SpanQAConfig

    def attach(self, seed: int) -> None:
        """Use the checkpoint's head if there is one, else a fresh one."""
        self.main_metric = "rouge_w" if self.config.metric == "klue_mrc" else "f1"
        if self.config.max_length > self.model.spec.positions:
            raise UserError(
                f"task.max_length={self.config.max_length}, but the model has "
                f"{self.model.spec.positions} positions"
            )
        config = self.config
        brought = [name for name, kind in HEADS.items() if kind in self.model.heads]
        self.head = config.head if config.head != "auto" else (*brought, "independent")[0]
        own: dict[str, Any] = {"answerability": config.answerability, "seed": seed}
        self.spans: Spans
        match self.head:
            case "joint":
                self.spans = Joint(self.model, beam=config.beam, **own)
            case "question":
                self.spans = Asked(self.model, **own)
            case _:
                self.spans = Independent(self.model, **own)
        self.trim = Trim(self.model, config.trim, seed=seed) if config.trim else None

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> EncodedSpans:
        """Questions to windows; targets ``start [n]`` and ``end [n]`` are tokens of the sequence.

        Where a window does not hold the answer, both targets are 0, the first token. ``trim [n]``:
        characters of the last token that are not the answer's.
        """
        tokenizer = self.model.tokenizer
        questions = tokenizer.pieces([text_field(record, "question") for record in records])
        contexts = [text_field(record, "context") for record in records]
        unique = list(dict.fromkeys(contexts))
        passages = dict(zip(unique, tokenizer.pieces(unique), strict=True))
        sequences: list[tuple[list[int], list[int]]] = []
        windows: list[Window] = []
        examples: list[int] = []
        targets: list[tuple[int, int, int]] = []
        cut = 0
        for number, (record, question) in enumerate(zip(records, questions, strict=True)):
            passage = passages[contexts[number]]
            asked = [*question.ids[: self.config.max_question], *self.spans.mark]
            cut += self.config.max_question < len(question.ids)
            first = tokenizer.text_start(len(asked))
            answer = self._answer(record) if labeled else None
            for start, end in self._windows(record, len(asked), passage):
                sequences.append(tokenizer.build_pair(asked, passage.ids[start:end]))
                windows.append(Window(first, passage.offsets[start:end]))
                examples.append(number)
                targets.append(windows[-1].place(answer))
        features = Features.of(
            [ids for ids, _ in sequences],
            [segments for _, segments in sequences],
            examples=examples,
            targets=self._targets(targets) if labeled else {},
        )
        notes = {"questions cut to max_question": cut, "windows": len(windows)}
        if labeled:
            notes["windows without the answer"] = sum(end == 0 for _, end, _ in targets)
            notes["answers that end inside a token"] = sum(beyond > 0 for *_, beyond in targets)
        return EncodedSpans(records, features, notes, windows)

    def _targets(self, places: Sequence[tuple[int, int, int]]) -> dict[str, Sequence[int]]:
        """The places of answers in each window, by name."""
        starts, ends, beyond = ([place[column] for place in places] for column in range(3))
        trims = {} if self.trim is None else self.trim.targets(beyond)
        return {"start": starts, "end": ends, **trims}

    def _answer(self, record: Record) -> tuple[int, int] | None:
        """Characters ``[start, end)`` of the first answer, without blanks around; None for none."""
        answers = record.fields.get("answers")
        if answers is None:
            raise UserError(f"{record.where}: no column 'answers'")
        if not answers:
            if self.config.metric not in WITH_NO_ANSWER:
                raise UserError(
                    f"{record.where}: no answer, but scorer {self.config.metric} knows none such",
                    hint=f"set task.metric={WITH_NO_ANSWER[0]} task.no_answer=true",
                )
            return None
        text, start = str(answers[0]["text"]), int(answers[0]["start"])
        return start + len(text) - len(text.lstrip()), start + len(text.rstrip())

    def _windows(self, record: Record, asked: int, passage: Pieces) -> list[tuple[int, int]]:
        config = self.config
        try:
            ranges = self.model.tokenizer.windows(
                asked, len(passage), max_length=config.max_length, stride=config.stride
            )
        except UserError as error:
            raise UserError(f"{record.where}: {error}") from None
        ready_made = config.overflow == "auto" and "tokens" in record.fields
        if len(ranges) > 1 and (config.overflow == "error" or ready_made):
            total = asked + len(passage) + self.model.tokenizer.special_count(pair=True)
            raise UserError(
                f"{record.where}: {total} tokens, longer than task.max_length={config.max_length}",
                hint="raise task.max_length, or slide windows over it with task.overflow=window",
            )
        return ranges

    def logits(self, batch: Batch) -> Tensor:
        """A row a token: scores, or for a joint head the states ``[N, H]`` (see ``_span_heads``).

        Behind them, where answers may end inside a token, scores of that (see ``_span_trim``).
        """
        hidden = self.model(batch)
        rows = self.spans.logits(hidden, batch)
        return rows if self.trim is None else self.trim.beside(rows, hidden)

    def _parts(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What ``logits`` puts side by side."""
        return (logits, logits[:, :0]) if self.trim is None else self.trim.parts(logits)

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Mean of the cross-entropies of start and end over the tokens of each sequence.

        Beside it, where they are learned, those of whether the sequence has the answer, and of how much
        an answer leaves off at its end.
        """
        logits, trims = self._parts(logits)
        first = torch.tensor(batch.starts, device=logits.device)
        starts, ends = (first + batch.targets[name] for name in ("start", "end"))
        scores, no_answer = self.spans.scores(logits, batch, starts)
        logs = segment_log_softmax(scores, batch.lengths)
        total = -(logs[starts, 0] + logs[ends, 1]).sum() / 2
        if no_answer is not None:
            absent = (batch.targets["end"] == 0).float()
            odds = no_answer.float()
            total = total + WEIGHT * binary_cross_entropy_with_logits(odds, absent, reduction="sum")
        if self.trim is not None:
            total = total + WEIGHT * self.trim.loss(trims, batch, ends)
        return Loss(total, float(len(batch.lengths)))

    def decode(
        self, encoded: Encoded, indices: Sequence[int], logits: Tensor
    ) -> list[WindowAnswers]:
        """Best candidates of each window."""
        assert isinstance(encoded, EncodedSpans)
        batch = encoded.features.batch(indices).to(logits.device)
        windows = [encoded.windows[index] for index in indices]
        logits, trims = self._parts(logits)
        if self.trim is not None:
            windows = self.trim.windows(trims, batch, windows)
        return self.spans.answers(
            logits,
            batch,
            windows,
            max_answer=self.config.max_answer,
            n_best=self.config.n_best,
        )

    def pack(self, partial: WindowAnswers) -> list[Any]:
        """Numbers only."""
        return [partial.null_score, [[c.score, c.start, c.end] for c in partial.candidates]]

    def unpack(self, packed: list[Any]) -> WindowAnswers:
        """The way back."""
        null, candidates = packed
        return WindowAnswers(tuple(Candidate(*numbers) for numbers in candidates), null)

    def combine(self, encoded: Encoded, partials: Sequence[WindowAnswers]) -> list[SpanPrediction]:
        """The best candidate over all windows of a question."""
        gathered: list[list[WindowAnswers]] = [[] for _ in encoded.records]
        for example, partial in zip(encoded.features.examples.tolist(), partials, strict=True):
            gathered[example].append(partial)
        config = self.config
        return [
            choose(
                text_field(record, "context"),
                windows,
                n_best=config.n_best,
                no_answer=config.no_answer,
                null_threshold=config.null_threshold,
                relative=config.answerability,
            )
            for record, windows in zip(encoded.records, gathered, strict=True)
        ]

    def score(self, encoded: Encoded, predictions: Sequence[SpanPrediction]) -> Scores:
        """The official scores, in percent (see ``_span_scores``)."""
        config = self.config
        threshold = config.null_threshold if config.no_answer else math.inf
        return span_scores(config.metric, encoded.records, predictions, threshold)

    def sections(
        self, encoded: Encoded, predictions: Sequence[SpanPrediction], scores: Scores
    ) -> list[Section]:
        """Scores by kind of question, and passages with the answers marked."""
        return span_sections(encoded.records, predictions, scores.per_example, self.main_metric)

    def confidences(
        self, encoded: Encoded, predictions: Sequence[SpanPrediction], scores: Scores
    ) -> tuple[list[float], list[bool]]:
        """Of every answer; one that says all that a right one does, in whatever order, is right."""
        return [p.probability for p in predictions], [s >= RIGHT for s in scores.per_example]

    def verdict(self, encoded: Encoded, prediction: SpanPrediction, example: int) -> Verdict:
        """The answer, in the first window that holds it."""
        assert isinstance(encoded, EncodedSpans)
        said = (prediction.start, prediction.end) if prediction.text else None
        own = np.flatnonzero(encoded.features.examples == example).tolist()
        places = [encoded.windows[sequence].place(said) for sequence in own]
        held = next((number for number, (_, end, _) in enumerate(places) if end), 0)
        answers = [a["text"] for a in encoded.records[example].fields.get("answers", [])]
        right = answers[0] if answers else "no answer"
        targets = {name: values[0] for name, values in self._targets([places[held]]).items()}
        return Verdict(own[held], targets, prediction.text or "no answer", right)

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "span_qa", **self.config.model_dump(), "head": self.head}


def from_data(dataset: Dataset) -> dict[str, Any]:
    """The data set's official scorer; questions without answer where it has such; Korean particles."""
    particles = dataset.language == "ko" and dataset.config.format != "mrc_tsv"
    return {
        "metric": dataset.metric,
        "no_answer": dataset.metric in WITH_NO_ANSWER,
        "trim": LONGEST_PARTICLE if particles else 0,
    }


TASK = TaskType(SpanQAConfig, SpanQA, from_data, "the answer to a question as a span of a passage")
