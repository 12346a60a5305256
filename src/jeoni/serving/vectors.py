"""Sentence vectors: texts as points, near where texts mean about the same."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from jeoni.base import runtime
from jeoni.base.batch import Batch
from jeoni.models.model import Model
from jeoni.nn.heads import Pooling, pooled


def embed(
    model: Model,
    texts: Sequence[str],
    *,
    pooling: Pooling = "mean",
    normalized: bool = True,
    max_length: int | None = None,
    tokens: int = 8192,
    precision: str = "fp32",
) -> NDArray[np.float32]:
    """A vector for each text, ``[n, H]``, without dropout; it does not depend on the other texts.

    Of an encoder-decoder, the encoder's.

    Args:
        model: any.
        texts: ``n`` strings.
        pooling: ``first`` (``[CLS]``) or ``last`` token, or ``mean`` of all: as the model was trained.
        normalized: to length 1, so that products are cosines.
        max_length: tokens of a text, with special tokens; what is longer is cut. None: the model's limit.
        tokens: how many are computed at once.
        precision: ``auto``, ``bf16`` or ``fp32``.

    Raises:
        UserError: a text without tokens, or no room for text.
    """
    limit = model.spec.limit if max_length is None else max_length
    encoded = model.tokenizer.encode_ids(list(texts), max_length=limit)
    for number, (ids, _) in enumerate(encoded):
        model.check_ids(ids, f"text {number}")
    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i][0]))
    vectors = np.empty((len(encoded), model.spec.hidden), np.float32)
    training = model.training
    model.eval()
    kind = runtime.precision(precision, model.device)
    try:
        with torch.inference_mode(), runtime.autocast(kind, model.device):
            while order:
                size = max(1, tokens // len(encoded[order[0]][0]))
                chosen, order = order[:size], order[size:]
                batch = Batch.pack(
                    [encoded[i][0] for i in chosen], [encoded[i][1] for i in chosen]
                ).to(model.device)
                found = pooled(model.backbone(batch), batch, pooling).float()
                if normalized:
                    found = torch.nn.functional.normalize(found, dim=-1)
                vectors[chosen] = found.cpu().numpy()
    finally:
        model.train(training)
    return vectors
