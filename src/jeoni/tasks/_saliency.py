"""Which tokens a prediction rests on: gradient times input.

Source: Shrikumar et al., "Not just a black box", 2016; on text: Atanasova et al., "A diagnostic study of
explainability techniques for text classification", 2020.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.models.model import Model
from jeoni.report.shaded import Shade, Shaded, ShadedText
from jeoni.tasks._task import Encoded, Task, Verdict

EACH = 2
"""Wrong predictions that are shown, and right ones."""
LONGEST = 400
"""Tokens of an example that is shown."""
NOTE = (
    "Gradient times input of each token's vector, as a share of the strongest: what the prediction (of "
    "classes, its log-probability) would lose or gain first, were the vector to shrink. A hint, no proof. "
    "Of tags and heads one word's is asked: the surest error, or what is right and least sure."
)


def deciding(sure: Sequence[float], right: Sequence[bool]) -> int | None:
    """Which word stands for a sentence: the surest error, or if there is none, what is least sure.

    None if the model says nothing of any (probability 0).
    """
    said = [word for word, chance in enumerate(sure) if chance > 0]
    return max(said, key=lambda word: -sure[word] if right[word] else sure[word], default=None)


def surest_words(
    sentences: Iterable[tuple[Sequence[float], Sequence[bool]]],
) -> tuple[list[float], list[bool]]:
    """How sure the word of each sentence is that stands for it, and whether it is right."""
    found = [(sure, right, deciding(sure, right)) for sure, right in sentences]
    chosen = [(0.0, False) if w is None else (sure[w], right[w]) for sure, right, w in found]
    return [chance for chance, _ in chosen], [good for _, good in chosen]


def saliency_section(
    task: Task[Any, Any],
    encoded: Encoded,
    predictions: Sequence[Any],
    sure: Sequence[float],
    right: Sequence[bool],
) -> Shaded | None:
    """The surest errors and some right predictions; None for tasks or models that have no such view.

    Args:
        task: on a model with its weights.
        encoded: the examples.
        predictions: one an example.
        sure: their probabilities, or those of what stands for them.
        right: whether they are right.
    """
    if len(sure) != len(predictions):
        return None
    lengths = np.zeros(len(predictions), np.int64)
    np.maximum.at(lengths, encoded.features.examples, encoded.features.lengths)
    short = np.flatnonzero(lengths <= LONGEST).tolist()
    wrong = sorted((i for i in short if not right[i]), key=lambda i: -sure[i])
    chosen = wrong[:EACH] + [i for i in short if right[i]][:EACH]
    verdicts = [(task.verdict(encoded, predictions[i], i), bool(right[i])) for i in chosen]
    items = [_shaded(task, encoded, v, good) for v, good in verdicts if v is not None]
    found = [item for item in items if item is not None]
    return Shaded("What predictions rest on", found, NOTE) if found else None


def _shaded(
    task: Task[Any, Any], encoded: Encoded, verdict: Verdict, good: bool
) -> ShadedText | None:
    features = encoded.features if verdict.features is None else verdict.features
    batch = features.batch([verdict.sequence])
    there = batch.targets
    said = {k: torch.tensor(v).view_as(there[k]) for k, v in verdict.targets.items()}
    batch = replace(batch, targets={**there, **said}).to(task.model.device)
    weights = token_weights(task, batch)
    if weights is None:
        return None
    pieces = shades(task.model.tokenizer, batch.ids.tolist(), weights.tolist())
    return ShadedText(pieces, verdict.predicted, verdict.gold, good)


def token_weights(task: Task[Any, Any], batch: Batch) -> Tensor | None:
    """What each token says for the batch's targets, ``[N]``; 1 or -1 is the strongest.

    None where the model's tokens have no vectors of which gradients could be had.
    """
    # cuDNN's LSTM has no backward pass for a model that is not training; torch's own has.
    plain = torch.backends.cudnn.flags(enabled=False)
    with _watched(task.model) as found, torch.enable_grad(), plain:
        loss = task.loss(task.logits(batch), batch).total
        if not found or not loss.requires_grad:
            return None
        gradients = torch.autograd.grad(-loss, found, allow_unused=True)
    sums = torch.zeros(len(batch.ids), device=loss.device)
    for reader, (vectors, gradient) in enumerate(zip(found, gradients, strict=True)):
        if gradient is not None and not (reader and batch.decoder is not None):
            products = (vectors.detach() * gradient).flatten(1).sum(1)
            if reader:  # a decoder that reads the same, one place on
                products = products.masked_fill(batch.positions == 0, 0.0).roll(-1)
            around = (
                len(products) - len(sums)
            ) // 2  # marks that a model puts around its input (ELMo)
            sums += products[around : around + len(sums)]
    top = sums.abs().max()
    return sums / top if top > 0 and top.isfinite() else None


@contextmanager
def _watched(model: Model) -> Iterator[list[Tensor]]:
    """The vectors of tokens, as the model looks them up meanwhile; without dropout, whatever is frozen."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        found.append(output.detach().requires_grad_())
        return found[-1]

    place = getattr(model.backbone, "embeddings", None)
    place = getattr(place, "words", place)
    hooks = [place.register_forward_hook(keep)] if isinstance(place, nn.Module) else []
    training, frozen = model.training, model.frozen
    model.eval()
    model.frozen = False
    try:
        yield found
    finally:
        model.frozen = frozen
        model.train(training)
        for hook in hooks:
            hook.remove()


def shades(tokenizer: Any, ids: Sequence[Any], weights: Sequence[float]) -> list[Shade]:
    """A text in pieces with the weights of their tokens, as the tokenizer puts it together again.

    Tokens that make a character only together (bytes, jamo) are one piece.
    """
    whole = tokenizer.decode(ids, skip_special=False)
    pieces: list[Shade] = []
    end, sum_ = 0, 0.0
    for count, weight in enumerate(weights, 1):
        start, sum_ = end, sum_ + weight
        text = tokenizer.decode(ids[:count], skip_special=False)
        end = len(whole) if count == len(ids) else max(end, _common(text, whole))
        if end > start:
            text = whole[start:end]
            blanks = len(text) - len(text.lstrip()) if text.strip() else 0
            pieces += [Shade(text[:blanks], 0.0)] if blanks else []
            pieces.append(Shade(text[blanks:], max(-1.0, min(1.0, sum_))))
            sum_ = 0.0
    return pieces


def _common(first: str, second: str) -> int:
    """Characters that two texts have in common from their beginning on."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))
