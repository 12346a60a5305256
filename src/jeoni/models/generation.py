"""Writing: a model that reads prompts and goes on, with a cache of keys and values.

Prompts of unequal length are read packed; then one token a text, and texts that are whole leave the
batch. What is written for a prompt does not depend on the others.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.models.beams import Beams
from jeoni.models.lines import HEAD, Line, Prompt, Written, line_of
from jeoni.models.model import Model
from jeoni.models.packing import Packed
from jeoni.models.sampling import Chooser, Repetition, Settings
from jeoni.nn.cache import Cache

TOGETHER = 32
"""Prompts that are written at once; more would need more memory for their keys."""


def generate(model: Model, prompts: Sequence[Prompt], **settings: Any) -> list[Written]:
    """Go on from each prompt; an encoder-decoder reads it and answers.

    Args:
        model: one with a language model head.
        prompts: texts, or lists of ids that are used as they are.
        settings: see ``Settings``.

    Raises:
        UserError: no such setting or value, a model that does not write, or a prompt without tokens or
            with more than the model has positions.
    """
    chosen = Settings.of(**settings)
    seeds = chosen.seeds(len(prompts))
    lines = [line_of(model, prompt, number, chosen) for number, prompt in enumerate(prompts)]
    # Of about the same length together: the cache has as many columns as its longest.
    order = sorted(range(len(lines)), key=lambda number: len(lines[number].prompt))
    rows = min(TOGETHER, len(lines)) * chosen.beams
    packed = Packed(model, rows, max((line.limit for line in lines), default=0))
    with _writing(model, packed):
        for first in range(0, len(order), TOGETHER):
            chunk = order[first : first + TOGETHER]
            own = [lines[number] for number in chunk]
            if chosen.beams > 1:
                _search(model, own, chosen)
            else:
                for _ in _one_by_one(model, own, chosen, [seeds[n] for n in chunk]):
                    pass
    return [line.written() for line in lines]


def stream(model: Model, prompt: Prompt, **settings: Any) -> Iterator[str]:
    """The text of ``generate`` for one prompt, piece by piece as it is written.

    A character whose bytes are not all there, and what could be the begin of a stop text, is held back.

    Args and errors: see ``generate``; also a model without a tokenizer, or beams (nothing is settled
        before their end).
    """
    chosen = Settings.of(**settings)
    if chosen.beams > 1:
        raise UserError("beams cannot be streamed: which text is best shows at the end")
    line = line_of(model, prompt, 0, chosen)
    if line.text is None:
        _ = model.tokenizer  # says what to do
    return _pieces(model, line, chosen)


def _pieces(model: Model, line: Line, settings: Settings) -> Iterator[str]:
    assert line.text is not None
    steps = _one_by_one(model, [line], settings, settings.seeds(1))
    packed = Packed(model, 1, line.limit)
    while True:
        with _writing(model, packed):  # the caller may train between two pieces
            step = next(steps, None)
        if step is None:
            return
        piece = line.text.add(line.ids, last=line.reason is not None)
        if piece:
            yield piece


@contextmanager
def _writing(model: Model, packed: Packed) -> Iterator[None]:
    """Without gradients and dropout; afterwards the model is as it was."""
    training = model.training
    if training:
        model.eval()
    try:
        with torch.inference_mode(), packed.used():
            yield
    finally:
        if training:
            model.train()


class _Writer:
    """The model with its cache: tokens in, logits of the next ones out.

    Args:
        model: the model.
        lines: what is written.
    """

    def __init__(self, model: Model, lines: Sequence[Line]) -> None:
        self.model = model
        # All end in the same column: one that may write more than the longest prompt's goes on behind it.
        room = max(len(line.before) for line in lines) + max(line.limit for line in lines)
        layers = model.spec.decoder_layers or model.spec.layers
        self.cache = Cache(layers=layers, room=room)
        self._lines = lines
        self._next = torch.tensor([len(line.before) for line in lines])

    def read(self) -> Tensor:
        """Read the prompts; logits ``[B, V]``."""
        batch = Batch.pack([line.prompt for line in self._lines])
        if self.model.spec.decoder_layers:
            batch = replace(batch, decoder=Batch.pack([line.start for line in self._lines]))
        hidden = self.model.backbone.extend(batch.to(self.model.device), self.cache)
        last = (batch.decoder or batch).ends
        return self._logits(hidden.index_select(0, torch.tensor(last, device=hidden.device)))

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Read one token of each text; logits ``[R, V]``."""
        ids = torch.tensor(tokens)
        batch = Batch(ids, torch.zeros_like(ids), self._next, (1,) * len(tokens))
        self._next = self._next + 1
        return self._logits(self.model.backbone.extend(batch.to(self.model.device), self.cache))

    def widen(self, times: int) -> None:
        """So many texts of every prompt."""
        self.cache.repeat(times)
        self._next = self._next.repeat_interleave(times)

    def select(self, rows: Sequence[int], prompts: Sequence[int]) -> None:
        """Go on with these texts, of these prompts."""
        self.cache.select(rows, prompts)
        self._next = self._next[torch.tensor(rows)]

    def _logits(self, hidden: Tensor) -> Tensor:
        words = self.model.backbone.embeddings.words.weight
        logits: Tensor = self.model.heads[HEAD](hidden, words)
        return logits


def _one_by_one(
    model: Model, lines: Sequence[Line], settings: Settings, seeds: Sequence[int]
) -> Iterator[int]:
    """Write greedily, or draw; after every token of all lines, how many are not whole yet."""
    writer, choose = _Writer(model, lines), Chooser(settings, seeds)
    logits = writer.read()
    alive = list(range(len(lines)))
    repetition = _repetition(settings, lines, logits)
    while True:
        if repetition is not None:
            logits = repetition.apply(logits)
        tokens = choose(logits, alive)
        for number, token in zip(alive, tokens, strict=True):
            lines[number].add(token)
        rows = [row for row, number in enumerate(alive) if lines[number].reason is None]
        yield len(rows)
        if not rows:
            return
        if len(rows) < len(alive):
            writer.select(rows, rows)
            alive, tokens = [alive[row] for row in rows], [tokens[row] for row in rows]
        if repetition is not None:
            repetition.add(rows, tokens)
        logits = writer.step(tokens)


def _search(model: Model, lines: Sequence[Line], settings: Settings) -> None:
    """Write by beam search."""
    width, writer = settings.beams, _Writer(model, lines)
    beams = [Beams(settings, limit=line.limit, ends=line.whole) for line in lines]
    logits = writer.read()
    repetition = _repetition(settings, lines, logits)
    alive = list(range(len(lines)))
    while True:
        scores = logits.float().log_softmax(-1)
        if repetition is not None:
            scores = repetition.apply(scores)
        candidates = _candidates(scores, [beams[number] for number in alive], width)
        each = len(scores) // len(alive)  # rows of a prompt: one at first
        rows, tokens, staying = [], [], []
        for place, number in enumerate(alive):
            taken = beams[number].take(candidates[place])
            if not beams[number].done:
                staying.append(place)
                rows += [place * each + beam for beam, _ in taken]
                tokens += [token for _, token in taken]
        if not staying:
            break
        if each < width:
            writer.widen(width)
            wide = [place * width + n for place in staying for n in range(width)]
        else:
            wide = rows
        if len(staying) < len(alive):
            writer.select(wide, staying)
        elif each == width:
            writer.cache.reorder(torch.tensor(rows, device=logits.device))
        if repetition is not None:
            repetition.add(rows, tokens)
        alive = [alive[place] for place in staying]
        logits = writer.step(tokens)
    for line, found in zip(lines, beams, strict=True):
        line.take(found.whole[0].ids)
        line.score = found.whole[0].score


def _candidates(
    scores: Tensor, beams: Sequence[Beams], width: int
) -> list[list[tuple[float, int, int]]]:
    """For each prompt the best continuations of its beams, (score, beam, token)."""
    vocab = scores.shape[-1]
    running = [[text.score for text in own.running] for own in beams]
    total = (
        scores.view(len(beams), -1, vocab) + torch.tensor(running, device=scores.device)[..., None]
    )
    best, places = total.flatten(1).topk(2 * width)
    rows = zip(best.tolist(), places.tolist(), strict=True)
    return [[(s, p // vocab, p % vocab) for s, p in zip(*row, strict=True)] for row in rows]


def _repetition(settings: Settings, lines: Sequence[Line], logits: Tensor) -> Repetition | None:
    if settings.repetition_penalty == 1.0:
        return None
    return Repetition(settings.repetition_penalty, [line.before for line in lines], logits)
