"""Span question answering: for each token of a passage, is it the start, is it the end of the answer.

Source: Devlin et al., "BERT", 2019, sections 4.2 and 4.3 (start and end vectors; the no-answer
score of SQuAD 2.0 is that of the first token).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from jeoni.base.batch import Batch, Loss
from jeoni.base.config import Config
from jeoni.base.errors import UserError
from jeoni.data.batching import Features
from jeoni.data.catalog import Dataset
from jeoni.data.record import Record, text_field
from jeoni.metrics.spans import SCORERS
from jeoni.nn.heads import SpanHead
from jeoni.ops.losses import segment_log_softmax
from jeoni.report.sections import Section
from jeoni.tasks._span_report import span_sections
from jeoni.tasks._span_types import Candidate, SpanPrediction, WindowAnswers
from jeoni.tasks._task import Encoded, Scores, Task, TaskType
from jeoni.text.tokenizer import Pieces

HEAD = "span"
SCORER_WITH_NO_ANSWER = "squad_v2"


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
    metric: Literal["squad_v1", "squad_v2", "korquad_v1"] = "squad_v1"


@dataclass(frozen=True)
class Window:
    """The part of a passage that one sequence holds.

    Attributes:
        first: index in the sequence of the passage's first token.
        offsets: characters ``[start, end)`` of its tokens in the passage, ``[P, 2]``.
    """

    first: int
    offsets: NDArray[np.int32]


@dataclass(frozen=True)
class EncodedSpans(Encoded):
    """Encoded questions, with the window of each sequence."""

    windows: Sequence[Window] = field(default_factory=list)


class SpanQA(Task[WindowAnswers, SpanPrediction]):
    """The answer as a span of the passage."""

    main_metric = "f1"
    config: SpanQAConfig

    def attach(self, seed: int) -> None:
        """Use the checkpoint's head if there is one, else a fresh one."""
        if self.config.max_length > self.model.spec.positions:
            raise UserError(
                f"task.max_length={self.config.max_length}, but the model has "
                f"{self.model.spec.positions} positions"
            )
        if self.model.keep_head(HEAD) is None:
            self.model.add_head(HEAD, SpanHead(self.model.spec.hidden), seed=seed)

    def encode(self, records: Sequence[Record], *, labeled: bool = True) -> EncodedSpans:
        """Questions to windows; targets ``start [n]`` and ``end [n]`` are tokens of the sequence.

        Where a window does not hold the answer, both targets are 0, the first token.
        """
        tokenizer = self.model.tokenizer
        questions = tokenizer.pieces([text_field(record, "question") for record in records])
        contexts = [text_field(record, "context") for record in records]
        unique = list(dict.fromkeys(contexts))
        passages = dict(zip(unique, tokenizer.pieces(unique), strict=True))
        sequences: list[tuple[list[int], list[int]]] = []
        windows: list[Window] = []
        examples: list[int] = []
        targets: list[tuple[int, int]] = []
        cut = 0
        for number, (record, question) in enumerate(zip(records, questions, strict=True)):
            passage = passages[contexts[number]]
            asked = question.ids[: self.config.max_question]
            cut += len(asked) < len(question.ids)
            first = tokenizer.text_start(len(asked))
            answer = self._answer(record) if labeled else None
            for start, end in self._windows(record, len(asked), passage):
                sequences.append(tokenizer.build_pair(asked, passage.ids[start:end]))
                windows.append(Window(first, passage.offsets[start:end]))
                examples.append(number)
                targets.append(_target(windows[-1], answer))
        features = Features.of(
            [ids for ids, _ in sequences],
            [segments for _, segments in sequences],
            examples=examples,
            targets={"start": [s for s, _ in targets], "end": [e for _, e in targets]}
            if labeled
            else {},
        )
        notes = {"questions cut to max_question": cut, "windows": len(windows)}
        if labeled:
            notes["windows without the answer"] = sum(end == 0 for _, end in targets)
        return EncodedSpans(records, features, notes, windows)

    def _answer(self, record: Record) -> tuple[int, int] | None:
        """Characters ``[start, end)`` of the first answer, without blanks around; None for none."""
        answers = record.fields.get("answers")
        if answers is None:
            raise UserError(f"{record.where}: no column 'answers'")
        if not answers:
            if self.config.metric != SCORER_WITH_NO_ANSWER:
                raise UserError(
                    f"{record.where}: no answer, but scorer {self.config.metric} knows none such",
                    hint=f"set task.metric={SCORER_WITH_NO_ANSWER} task.no_answer=true",
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
        """Start and end scores of every token, ``[N, 2]``."""
        result: Tensor = self.model.heads[HEAD](self.model(batch))
        return result

    def loss(self, logits: Tensor, batch: Batch) -> Loss:
        """Mean of the cross-entropies of start and end over the tokens of each sequence."""
        logs = segment_log_softmax(logits, batch.lengths)
        first = torch.tensor(batch.starts, device=logits.device)
        chosen_start = logs[first + batch.targets["start"], 0]
        chosen_end = logs[first + batch.targets["end"], 1]
        return Loss(-(chosen_start + chosen_end).sum() / 2, float(len(batch.lengths)))

    def decode(
        self, encoded: Encoded, indices: Sequence[int], logits: Tensor
    ) -> list[WindowAnswers]:
        """Best candidates of each window."""
        assert isinstance(encoded, EncodedSpans)
        scores = logits.float().cpu().numpy()
        lengths = encoded.features.lengths[list(indices)]
        parts = np.split(scores, np.cumsum(lengths)[:-1])
        return [
            self._best(part, encoded.windows[index])
            for index, part in zip(indices, parts, strict=True)
        ]

    def _best(self, scores: NDArray[np.float32], window: Window) -> WindowAnswers:
        """The ``n_best`` spans of at most ``max_answer`` tokens of one window's ``[T, 2]`` scores."""
        null = float(scores[0].sum())
        length = len(window.offsets)
        if not length:
            return WindowAnswers((), null)
        inside = scores[window.first : window.first + length]
        reach = min(self.config.max_answer, length)
        # Row: start, column: how many tokens further the end is; past the passage: -inf.
        ends = np.concatenate([inside[:, 1], np.full(reach - 1, -np.inf, np.float32)])
        table = inside[:, :1] + np.lib.stride_tricks.sliding_window_view(ends, reach)
        flat = table.ravel()
        keep = min(self.config.n_best, flat.size)
        top = np.argpartition(-flat, keep - 1)[:keep]
        top = top[np.argsort(-flat[top], kind="stable")]
        found = []
        for place in top[np.isfinite(flat[top])].tolist():
            start, further = divmod(place, reach)
            span = (int(window.offsets[start, 0]), int(window.offsets[start + further, 1]))
            found.append(Candidate(float(flat[place]), *span))
        return WindowAnswers(tuple(found), null)

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
        return [
            self._choose(text_field(record, "context"), windows)
            for record, windows in zip(encoded.records, gathered, strict=True)
        ]

    def _choose(self, context: str, windows: Sequence[WindowAnswers]) -> SpanPrediction:
        # Overlapping windows find the same span twice: the better score counts.
        best: dict[tuple[int, int], Candidate] = {}
        for candidate in (c for window in windows for c in window.candidates):
            old = best.get((candidate.start, candidate.end))
            if old is None or candidate.score > old.score:
                best[candidate.start, candidate.end] = candidate
        ranked = sorted(best.values(), key=lambda c: -c.score)[: self.config.n_best]
        # A window without the answer says so; only if every window does is there none.
        null = min(window.null_score for window in windows)
        if not ranked or (
            self.config.no_answer and null - ranked[0].score > self.config.null_threshold
        ):
            probability = _share(null, [null, *(c.score for c in ranked)])
            return SpanPrediction("", 0, 0, null, probability, null, tuple(ranked))
        top = ranked[0]
        rivals = [c.score for c in ranked] + ([null] if self.config.no_answer else [])
        return SpanPrediction(
            text=context[top.start : top.end],
            start=top.start,
            end=top.end,
            score=top.score,
            probability=_share(top.score, rivals),
            null_score=null,
            n_best=tuple(ranked),
        )

    def score(self, encoded: Encoded, predictions: Sequence[SpanPrediction]) -> Scores:
        """The official scores, in percent.

        With ``squad_v2`` the figures at ``null_threshold`` come first; those at the threshold that
        would have been best on these very questions are apart, as ``best_*``.
        """
        ids = [_id(record, i) for i, record in enumerate(encoded.records)]
        if len(set(ids)) < len(ids):
            twice = next(i for n, i in enumerate(ids) if i in ids[:n])
            raise UserError(f"question id {twice!r} occurs more than once")
        references = {
            i: [a["text"] for a in record.fields.get("answers", [])]
            for i, record in zip(ids, encoded.records, strict=True)
        }
        texts = {i: p.text for i, p in zip(ids, predictions, strict=True)}
        name = self.config.metric
        if name == SCORER_WITH_NO_ANSWER:
            # The search for the best threshold needs the answer that would be given without one.
            answered = {
                i: text_field(r, "context")[p.n_best[0].start : p.n_best[0].end] if p.n_best else ""
                for i, r, p in zip(ids, encoded.records, predictions, strict=True)
            }
            margin = {
                i: p.null_score - (p.n_best[0].score if p.n_best else -math.inf)
                for i, p in zip(ids, predictions, strict=True)
            }
            margin = {i: min(value, 1e9) for i, value in margin.items()}
            threshold = self.config.null_threshold if self.config.no_answer else math.inf
            raw = SCORERS[name](references, answered, margin, threshold)
        else:
            raw = SCORERS[name](references, texts)
        return Scores(raw.as_dict(), [100 * f1 for _, f1 in (raw.per_question[i] for i in ids)])

    def sections(
        self, encoded: Encoded, predictions: Sequence[SpanPrediction], scores: Scores
    ) -> list[Section]:
        """Scores by kind of question, and passages with the answers marked."""
        return span_sections(encoded.records, predictions, scores.per_example)

    def settings(self) -> dict[str, Any]:
        """Name and settings for jeoni.json."""
        return {"task": "span_qa", **self.config.model_dump()}


def _id(record: Record, index: int) -> str:
    return str(record.fields.get("id", index))


def _target(window: Window, answer: tuple[int, int] | None) -> tuple[int, int]:
    """First and last token of the answer in the sequence; (0, 0) if the window does not hold it."""
    offsets = window.offsets
    if answer is None or not len(offsets):
        return 0, 0
    if answer[0] < offsets[0, 0] or answer[1] > offsets[-1, 1]:
        return 0, 0
    first = int(np.searchsorted(offsets[:, 1], answer[0], side="right"))
    last = int(np.searchsorted(offsets[:, 0], answer[1], side="left")) - 1
    if last < first:
        return 0, 0
    return window.first + first, window.first + last


def _share(score: float, rivals: Sequence[float]) -> float:
    """Softmax of ``score`` among ``rivals`` (which it is one of)."""
    top = max(rivals)
    return math.exp(score - top) / sum(math.exp(rival - top) for rival in rivals)


def from_data(dataset: Dataset) -> dict[str, Any]:
    """The data set's official scorer; questions without answer where it has such."""
    return {"metric": dataset.metric, "no_answer": dataset.metric == SCORER_WITH_NO_ANSWER}


TASK = TaskType(SpanQAConfig, SpanQA, from_data, "the answer to a question as a span of a passage")
