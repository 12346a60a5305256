"""From scores to answers: the best spans of a window, and the best of all windows of a question."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.nn.heads import BeamSpanHead
from jeoni.tasks._span_types import Candidate, SpanPrediction, Window, WindowAnswers

Floats = NDArray[np.float32]


def best_spans(
    scores: Floats, window: Window, *, max_answer: int, n_best: int
) -> tuple[Candidate, ...]:
    """The ``n_best`` spans of at most ``max_answer`` tokens, by the sum of start and end score.

    Args:
        scores: of the window's sequence, start and end of each token ``[T, 2]``.
        window: where in it the passage is.
        max_answer: tokens of the longest answer.
        n_best: how many are kept.
    """
    length = len(window.offsets)
    if not length:
        return ()
    inside = scores[window.first : window.first + length]
    reach = min(max_answer, length)
    # Row: start, column: how many tokens further the end is; past the passage: -inf.
    ends = np.concatenate([inside[:, 1], np.full(reach - 1, -np.inf, np.float32)])
    table = inside[:, :1] + np.lib.stride_tricks.sliding_window_view(ends, reach)
    return _best(table, np.arange(length), window, n_best)


def search(
    head: BeamSpanHead,
    hidden: Tensor,
    batch: Batch,
    *,
    starts: int = 5,
    within: Sequence[tuple[int, int]] | None = None,
) -> tuple[list[tuple[Tensor, Tensor]], Tensor | None]:
    """How probable spans are that begin at the most probable starts, or at the first token.

    Args:
        head: whose ends depend on starts.
        hidden: ``[N, H]``.
        batch: where it comes from.
        starts: ``s``, how many, if there are so many tokens.
        within: of each sequence, which tokens they are looked for in ``[first, end)``; None: all.

    Returns:
        For each sequence places in it of the first token and the starts, best first, ``[1 + s]``, and
        log-probabilities of each with every end, ``[1 + s, T]``; and scores of there being no answer
        ``[B]``, from the expected start.
    """
    found, expected = [], []
    lengths = list(batch.lengths)
    parts = zip(
        torch.split(head.starts(hidden), lengths),
        torch.split(hidden, lengths),
        within or [(0, length) for length in lengths],
        strict=True,
    )
    for scores, states, (first, end) in parts:
        logs = torch.log_softmax(scores.float(), -1)
        best = logs[first:end].topk(min(starts, end - first)).indices + first
        places = torch.cat([best.new_zeros(1), best])
        ends = torch.log_softmax(head.ends(states, states[places, None]).float(), -1)
        found.append((places, logs[places, None] + ends))
        expected.append(logs.exp().to(states.dtype) @ states)
    return found, head.answers(hidden, batch, torch.stack(expected))


def best_joint_spans(
    places: NDArray[np.int64], table: Floats, window: Window, *, max_answer: int, n_best: int
) -> tuple[Candidate, ...]:
    """The same of what ``search`` found: of its starts in the passage, the best ends behind them.

    Args:
        places: of the starts in the window's sequence ``[s]``.
        table: scores of each with every end ``[s, T]``.
        window, max_answer, n_best: as in ``best_spans``.
    """
    length = len(window.offsets)
    if not length:
        return ()
    reach, starts = min(max_answer, length), places - window.first
    inside = table[:, window.first : window.first + length]
    past = np.full((len(starts), reach - 1), -np.inf, np.float32)
    behind = starts[:, None] + np.arange(reach)
    rows = np.take_along_axis(np.concatenate([inside, past], 1), behind, 1)
    return _best(rows, starts, window, n_best)


def _best(
    table: Floats, starts: NDArray[np.int64], window: Window, n_best: int
) -> tuple[Candidate, ...]:
    """Of a table ``[starts, tokens further]`` the best finite entries as candidates, best first."""
    flat, reach = table.ravel(), table.shape[1]
    keep = min(n_best, flat.size)
    top = np.argpartition(-flat, keep - 1)[:keep]
    top = top[np.argsort(-flat[top], kind="stable")]
    found = []
    for place in top[np.isfinite(flat[top])].tolist():
        row, further = divmod(place, reach)
        first = starts[row]
        span = (int(window.offsets[first, 0]), int(window.offsets[first + further, 1]))
        found.append(Candidate(float(flat[place]), *span))
    return tuple(found)


def choose(
    context: str,
    windows: Sequence[WindowAnswers],
    *,
    n_best: int,
    no_answer: bool,
    null_threshold: float,
    relative: bool = False,
) -> SpanPrediction:
    """The answer to a question from the candidates of all of its windows.

    Args:
        context: the passage.
        windows: what each says.
        n_best: candidates to keep.
        no_answer: whether there may be none.
        null_threshold: there is none if that scores better than the best candidate by more than this.
        relative: the windows' null scores say already by how much.
    """
    # Overlapping windows find the same span twice: the better score counts.
    best: dict[tuple[int, int], Candidate] = {}
    for candidate in (c for window in windows for c in window.candidates):
        old = best.get((candidate.start, candidate.end))
        if old is None or candidate.score > old.score:
            best[candidate.start, candidate.end] = candidate
    ranked = sorted(best.values(), key=lambda c: -c.score)[:n_best]
    # A window without the answer says so; only if every window does is there none.
    null = min(window.null_score for window in windows)
    if relative and ranked:
        null += ranked[0].score
    if not ranked or (no_answer and null - ranked[0].score > null_threshold):
        probability = _share(null, [null, *(c.score for c in ranked)])
        return SpanPrediction("", 0, 0, null, probability, null, tuple(ranked))
    top = ranked[0]
    rivals = [c.score for c in ranked] + ([null] if no_answer else [])
    return SpanPrediction(
        text=context[top.start : top.end],
        start=top.start,
        end=top.end,
        score=top.score,
        probability=_share(top.score, rivals),
        null_score=null,
        n_best=tuple(ranked),
    )


def _share(score: float, rivals: Sequence[float]) -> float:
    """Softmax of ``score`` among ``rivals`` (which it is one of)."""
    top = max(rivals)
    return math.exp(score - top) / sum(math.exp(rival - top) for rival in rivals)
