"""Contextual embeddings: texts, or the words of texts, as vectors read off a model's layers.

Peters et al., "Deep contextualized word representations", NAACL 2018 (features of every layer); Devlin et
al., "BERT", NAACL 2019, section 5.3 and table 7 (which layers: the last, the one before, the last four).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from jeoni.base import lookup, runtime
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.heads import check_pooling
from jeoni.models.model import Model
from jeoni.nn.elmo import ScalarMix
from jeoni.nn.heads import Pooling, pooled
from jeoni.serving.words import Reading, Text, Vectors, encoded, listed, of_words
from jeoni.transfer._features import ABOVE, mixed
from jeoni.transfer.features import restore

Layers = Literal["last", "second_to_last", "sum_last_four", "concat_last_four", "scalar_mix", "all"]
Per = Literal["text", "word"]


@dataclass(frozen=True)
class Embedded:
    """Vectors, and what had to be done to the texts.

    Attributes:
        vectors: for each text ``[D]``, or ``[W, D]`` where each word has one; ``D`` is ``L + 1, H`` for all
            layers, else ``H``, or ``4 H`` where four are side by side.
        cut: texts that were longer than the model reads.
        missing: words whose vectors are zeros: no token stands for them (behind the cut, or of control
            characters), or a file of word vectors lacks them.
    """

    vectors: list[Vectors]
    cut: int
    missing: int


def embed(
    model: str | Path | Model,
    texts: Sequence[Text],
    *,
    layers: Layers = "last",
    pooling: Pooling = "mean",
    normalized: bool = False,
    max_length: int | None = None,
    tokens: int = 8192,
    precision: str = "fp32",
) -> Vectors:
    """A vector for each text, without dropout; it does not depend on the other texts.

    Of an encoder-decoder, the encoder's.

    Args:
        model: any; static vectors and ELMo, too. Anything ``jeoni.load`` takes, or a loaded model, which
            stays where it is.
        texts: ``n`` strings, or lists of words; a string alone is one text.
        layers: the ``last`` or ``second_to_last`` layer, the last four added up or side by side
            (``sum_last_four``, ``concat_last_four``); the weighted sum of all (``scalar_mix``): with the
            weights that the model has learned for that, else their mean; ``all``, the embeddings first.
        pooling: ``first`` (``[CLS]``) or ``last`` token, or ``mean`` of all.
        normalized: to length 1, so that products are cosines.
        max_length: tokens of a text, with special tokens; what is longer is cut. None: the model's limit.
        tokens: how many are computed at once.
        precision: ``auto``, ``bf16`` or ``fp32``.

    Returns:
        ``[n, H]``; ``[n, 4 H]`` for four layers side by side, ``[n, L + 1, H]`` for all.

    Raises:
        UserError: a text without tokens, no room for text, or a model with fewer layers.
    """
    loaded = _opened(model)
    found = read(
        loaded, texts, layers=layers, pooling=pooling, normalized=normalized, max_length=max_length,
        tokens=tokens, precision=precision,
    ).vectors  # fmt: skip
    return np.stack(found) if found else np.empty((0, *shape(loaded, layers)), np.float32)


def embed_words(
    model: str | Path | Model,
    texts: Sequence[Text],
    *,
    layers: Layers = "last",
    pooling: Pooling = "mean",
    max_length: int | None = None,
    tokens: int = 8192,
    precision: str = "fp32",
) -> list[Vectors]:
    """A vector for each word of each text, from the word's pieces; arguments as in ``embed``.

    Args:
        model: any.
        texts: strings, of which words are what stands between blanks, or lists of words.
        layers: as in ``embed``.
        pooling: a word's ``first`` or ``last`` piece, or the ``mean`` of all.
        max_length: words behind it have zeros, as have those that no token stands for.
        tokens, precision: as in ``embed``.

    Returns:
        For each text ``[W, H]`` (or ``[W, 4 H]``, ``[W, L + 1, H]``).
    """
    return read(
        _opened(model), texts, per="word", layers=layers, pooling=pooling, max_length=max_length,
        tokens=tokens, precision=precision,
    ).vectors  # fmt: skip


def _opened(model: str | Path | Model) -> Model:
    return model if isinstance(model, Model) else hub.load(model).to(runtime.device("auto"))


def read(
    model: Model,
    texts: Sequence[Text],
    *,
    per: Per = "text",
    layers: Layers = "last",
    pooling: Pooling = "mean",
    normalized: bool = False,
    max_length: int | None = None,
    tokens: int = 8192,
    precision: str = "fp32",
    where: Callable[[int], str] = "text {}".format,
) -> Embedded:
    """Vectors of texts or words, and what had to be left out; arguments as in ``embed``.

    Args:
        per: what has a vector, a ``text`` or each ``word``.
        where: what a text is called in messages, by its number.
    """
    for name, given, known in (("per", per, Per), ("pooling", pooling, Pooling)):
        _check(name, given, known)
    if per == "text":
        check_pooling(model, pooling, "pooling")
    size = shape(model, layers)
    texts = listed(texts)
    limit = model.spec.limit if max_length is None else max_length
    sequences, cut = encoded(model, texts, limit, where)
    result: list[Vectors] = [np.empty(0, np.float32)] * len(sequences)
    missing = 0

    def take(chosen: Sequence[int], batch: Batch, hidden: Tensor) -> None:
        nonlocal missing
        if per == "text":
            parts: Sequence[Vectors] = list(pooled(hidden, batch, pooling).float().cpu().numpy())
        else:
            split = np.split(hidden.float().cpu().numpy(), np.cumsum(batch.lengths)[:-1])
            parts = [
                of_words(part, sequences[i], pooling) for i, part in zip(chosen, split, strict=True)
            ]
            missing += sum(int((~part.any(-1)).sum()) for part in parts)
        for i, part in zip(chosen, parts, strict=True):
            part = part.reshape(*part.shape[:-1], *size).copy()  # else it keeps the whole batch
            if normalized:
                part /= np.maximum(np.linalg.norm(part, axis=-1, keepdims=True), 1e-12)
            result[i] = part

    _compute(model, sequences, layers, tokens, precision, take)
    return Embedded(result, cut, missing)


def shape(model: Model, layers: Layers) -> tuple[int, ...]:
    """Of a vector: ``(H,)``, ``(4 H,)``, or ``(L + 1, H)``.

    Raises:
        UserError: the model has fewer layers, or there is no such way.
    """
    _check("layers", layers, Layers)
    there, hidden = model.spec.layers, model.spec.hidden
    if there < ABOVE.get(layers, 0):
        raise UserError(
            f"layers={layers}, but the model has {there} above the embeddings",
            hint="layers=last, or layers=all",
        )
    return {"concat_last_four": (4 * hidden,), "all": (there + 1, hidden)}.get(layers, (hidden,))


def _check(name: str, given: str, known: Any) -> None:
    if given not in get_args(known):
        hint = lookup.suggest(str(given), [*get_args(known)])
        raise UserError(f"{name}={given!r} is none", hint=hint)


def _compute(
    model: Model,
    sequences: Sequence[Reading],
    layers: Layers,
    tokens: int,
    precision: str,
    take: Callable[[Sequence[int], Batch, Tensor], None],
) -> None:
    """Give ``take`` the vectors of all tokens ``[N, D]``, a batch at a time."""
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i].ids))
    mix = _mix(model, layers)
    training, kind = model.training, runtime.precision(precision, model.device)
    model.eval()
    try:
        with torch.inference_mode(), runtime.autocast(kind, model.device):
            while order:
                size = max(1, tokens // len(sequences[order[0]].ids))
                chosen, order = order[:size], order[size:]
                read = [sequences[i] for i in chosen]
                batch = Batch.pack([s.ids for s in read], [s.segments for s in read])
                batch = batch.to(model.device)
                take(chosen, batch, mix(model.backbone.states(batch)))
    finally:
        model.train(training)


def _mix(model: Model, layers: Layers) -> Callable[[list[Tensor]], Tensor]:
    """From the states of all layers to one vector for each token, ``[N, D]``; ``all`` lie end to end."""
    if layers == "all":
        return lambda states: torch.cat(states, -1)
    if layers != "scalar_mix":
        return lambda states: mixed(states, layers)
    restore(model)
    learned = getattr(model.features, "mix", None) or getattr(model.backbone, "mix", None)
    return learned or ScalarMix(model.spec.layers + 1, norm=False).to(model.device)
