"""The heads of span question answering: how states become scores of starts, of ends, of no answer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.models.heads import beam_span_head, build_head
from jeoni.models.model import Model
from jeoni.nn.heads import BeamSpanHead, SpanHead, pooled
from jeoni.tasks._span_decode import best_joint_spans, best_spans, search
from jeoni.tasks._span_trim import TRIM
from jeoni.tasks._span_types import Window, WindowAnswers

INDEPENDENT, JOINT, QUESTION = "span", "beam_span", "question_span"
NO_ANSWER = "answerability"


class Spans(ABC):
    """A way to find spans, with its heads on a model that is left with no others.

    Args:
        model: gets the heads, where the checkpoint has none.
        answerability: whether it also says if there is an answer at all.
        seed: draws fresh heads.

    Attributes:
        mark: tokens that follow every question.
    """

    mark: tuple[int, ...] = ()

    def __init__(self, model: Model, *, answerability: bool, seed: int) -> None:
        self.model = model
        self.answerability = answerability
        self.attach(seed)

    @abstractmethod
    def attach(self, seed: int) -> None:
        """Put the heads on the model."""

    @abstractmethod
    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """What ``scores`` and ``answers`` are made from, a row a token, of the states ``[N, H]``."""

    @abstractmethod
    def scores(self, logits: Tensor, batch: Batch, starts: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores of starts, and of ends given where the answers start, ``[N, 2]``; of no answer ``[B]``."""

    @abstractmethod
    def answers(
        self,
        logits: Tensor,
        batch: Batch,
        windows: Sequence[Window],
        *,
        max_answer: int,
        n_best: int,
    ) -> list[WindowAnswers]:
        """The best candidates of each window.

        Its ``null_score`` is that of the span of the first token alone; with ``answerability``, the log
        odds of there being no answer.
        """


class Independent(Spans):
    """Start and end are scored each on its own."""

    def attach(self, seed: int) -> None:
        """A linear layer; for answerability another."""
        model = self.model
        if model.keep_head(INDEPENDENT, NO_ANSWER, TRIM) is None:
            model.add_head(INDEPENDENT, SpanHead(model.state_size), seed=seed)
        self._answerable(seed)

    def _answerable(self, seed: int) -> None:
        model = self.model
        if self.answerability and NO_ANSWER not in model.heads:
            model.add_head(NO_ANSWER, nn.Linear(model.state_size, 1), seed=seed)

    def spans(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Scores of starts and ends, ``[N, 2]``."""
        result: Tensor = self.model.heads[INDEPENDENT](hidden)
        return result

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Scores of starts and ends ``[N, 2]``; in a third column, of no answer."""
        scores = self.spans(hidden, batch)
        if not self.answerability:
            return scores
        return torch.cat([scores, self.model.heads[NO_ANSWER](hidden)], -1)

    def scores(self, logits: Tensor, batch: Batch, starts: Tensor) -> tuple[Tensor, Tensor | None]:
        """As they are: ends do not depend on starts."""
        if not self.answerability:
            return logits, None
        token = self.model.family.classification.token
        return logits[:, :2], pooled(logits[:, 2:], batch, token)[:, 0]

    def answers(
        self,
        logits: Tensor,
        batch: Batch,
        windows: Sequence[Window],
        *,
        max_answer: int,
        n_best: int,
    ) -> list[WindowAnswers]:
        """From all spans."""
        scores, no_answer = self.scores(logits.float(), batch, torch.empty(0))
        parts = np.split(scores.cpu().numpy(), np.cumsum(batch.lengths)[:-1])
        nulls = [float(part[0].sum()) for part in parts]
        if no_answer is not None:
            nulls = no_answer.tolist()
        return [
            WindowAnswers(best_spans(part, window, max_answer=max_answer, n_best=n_best), null)
            for part, window, null in zip(parts, windows, nulls, strict=True)
        ]


class Asked(Independent):
    """Start and end are scored as the answer to a token behind the question, the tokenizer's mask.

    Source: Ram et al., "Few-Shot Question Answering by Pretraining Span Selection", ACL 2021, section 3.3;
    ``objectives.recurring_spans`` trains the head.
    """

    def attach(self, seed: int) -> None:
        """The head; for answerability another.

        Raises:
            UserError: the tokenizer has no mask.
        """
        model, mask = self.model, self.model.tokenizer.mask_id
        if mask is None:
            raise UserError(
                "task.head=question: the tokenizer has no mask, which stands for what is asked",
                hint="take task.head=independent",
            )
        self.mark = (mask,)
        if model.keep_head(QUESTION, NO_ANSWER, TRIM) is None:
            model.add_head(QUESTION, build_head(QUESTION, model, {}), seed=seed)
        self._answerable(seed)

    def spans(self, hidden: Tensor, batch: Batch) -> Tensor:
        """By the first mask of each sequence: the one behind the question, or one that the question has."""
        masks = (batch.ids == self.mark[0]).nonzero()[:, 0]
        asking = masks[torch.searchsorted(masks, torch.tensor(batch.starts, device=masks.device))]
        result: Tensor = self.model.heads[QUESTION](
            hidden, asking, [1] * len(asking), batch.lengths
        )
        return result


class Joint(Spans):
    """Ends are scored given a start; the most probable starts are looked at.

    In float32 from the last hidden states on: probabilities of spans are compared between windows.

    Args:
        model, answerability, seed: as in ``Spans``.
        beam: how many starts.
    """

    def __init__(self, model: Model, *, answerability: bool, seed: int, beam: int) -> None:
        super().__init__(model, answerability=answerability, seed=seed)
        self.beam = beam

    def attach(self, seed: int) -> None:
        """One head; a checkpoint's may lack the part for answerability."""
        head = self.model.keep_head(JOINT, TRIM)
        if not isinstance(head, BeamSpanHead) or (self.answerability and head.answer is None):
            fresh = beam_span_head(self.model, answers=self.answerability)
            self.model.add_head(JOINT, fresh, seed=seed)

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The states as they are."""
        return hidden

    def scores(self, logits: Tensor, batch: Batch, starts: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ends given these starts."""
        with torch.autocast(logits.device.type, enabled=False):
            own, ends, no_answer = self.model.heads[JOINT](logits.float(), batch, starts)
        return torch.stack([own, ends], -1), no_answer if self.answerability else None

    def answers(
        self,
        logits: Tensor,
        batch: Batch,
        windows: Sequence[Window],
        *,
        max_answer: int,
        n_best: int,
    ) -> list[WindowAnswers]:
        """By a beam: scores are log-probabilities."""
        within = [(w.first, w.first + len(w.offsets)) for w in windows]
        head = self.model.heads[JOINT]
        assert isinstance(head, BeamSpanHead)
        with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
            found, no_answer = search(head, logits.float(), batch, starts=self.beam, within=within)
        tables = [(places.cpu().numpy(), table.cpu().numpy()) for places, table in found]
        nulls = [float(table[0, 0]) for _, table in tables]
        if self.answerability and no_answer is not None:
            nulls = no_answer.tolist()
        limits = {"max_answer": max_answer, "n_best": n_best}
        return [
            WindowAnswers(best_joint_spans(places[1:], table[1:], window, **limits), null)
            for (places, table), window, null in zip(tables, windows, nulls, strict=True)
        ]
