"""What a model with random weights can be given beforehand: words as vectors, and a look at neighbors."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.backbone import Backbone
from jeoni.models.model import Model
from jeoni.nn.attention import SelfAttention
from jeoni.nn.positions import LearnedPositions

_HEADS = 8  # that look at neighbors, at most
_SCORE = 7.68  # of a neighbor, where others have about 0


@torch.no_grad()
def words(model: Model, vectors: NDArray[np.float32]) -> int:
    """Begin the word table with vectors ``[n, width]``, as long as its rows; gives how many there were.

    The rows of tokens without one (zeros) stay.
    """
    table = model.backbone.embeddings.words.weight
    found = torch.from_numpy(vectors[: len(table)]).to(table)
    seen = found.norm(dim=1) > 1e-3
    own = found[seen] - found[seen].mean(0)  # what all have in common says nothing about a word
    table[: len(found)][seen] = nn.functional.normalize(own) * table.std() * table.shape[1] ** 0.5
    return int(seen.sum())


@torch.no_grad()
def neighbors(model: Model) -> None:
    """Begin with a first block whose heads each see one neighbor: -1, +1, -2, +2, ... tokens away.

    A causal one: -1, -2, -3, ... Positions are sines and cosines, of which a query has the neighbor's and a
    key its own. Cf. Trockman and Kolter, "Mimetic initialization of self-attention layers", ICML 2023.

    Raises:
        UserError: it has no learned positions, or no attention with queries and keys in one weight.
    """
    bodies = [part for part in model.backbone.modules() if isinstance(part, Backbone)]
    attentions = [getattr(body.stack.blocks[0], "attention", None) for body in bodies]
    plain = [isinstance(a, SelfAttention) and a.rotate is None for a in attentions]
    learned = [isinstance(body.embeddings.positions, LearnedPositions) for body in bodies]
    if not bodies or not all(plain + learned):
        able = sorted({n for n, s in hub.presets().values() if s.position_kind == "learned"})
        raise UserError(
            f"head_start.neighbors is for learned positions and plain attention, not {model.family.name}",
            hint=f"head_start={{words: true}}; or one of {', '.join(able)}",
        )
    for body in bodies:
        _look(body.embeddings, body.stack.blocks[0], model.spec.init_range)


def _look(embeddings: Any, block: Any, std: float) -> None:
    """Positions twice as large as words, and the first heads of a block."""
    table, attention, std = embeddings.positions.weight, block.attention, std * embeddings.scale
    pairs, height = table.shape[1] // 2, 2 * std
    half = attention.qkv.out_features // attention.heads // 6  # of a head's size
    # Evenly spread, so that different positions have an inner product of about 0.
    rates = math.pi * ((0.5 + torch.arange(pairs).double() * (5**0.5 - 1) / 2) % 1)
    angles = torch.arange(len(table))[:, None] * rates
    table[:, : 2 * pairs] = height * torch.cat([angles.sin(), angles.cos()], 1).to(table)
    normed = embeddings.norm is not None or block.order == "pre"
    variance = std**2 + height**2 / 2 if normed else 1.0
    scale = (_SCORE * variance / (attention.scale * half * height**2)) ** 0.5
    forth = torch.eye(table.shape[1]) if embeddings.project is None else embeddings.project.weight
    back = torch.linalg.pinv(forth).to(table)  # from what blocks read to what tables hold
    heads = attention.qkv.weight.view(3, attention.heads, -1, back.shape[1])
    for head in range(min(attention.heads, _HEADS)):
        away = -head - 1 if attention.causal else (head // 2 + 1) * (-1) ** (head + 1)
        taken = (head * half + torch.arange(half)) % pairs
        for kind, offset in enumerate((away, 0)):
            turned = _turned(rates[taken] * offset, taken, heads.shape[2], table.shape[1])
            heads[kind, head] = scale * turned.to(back) @ back


def _turned(angles: Tensor, taken: Tensor, size: int, width: int) -> Tensor:
    """``[D, width]``: from positions to some of their sines and cosines, turned by angles."""
    found, row, pairs = torch.zeros(size, width), torch.arange(len(taken)), width // 2
    cosines, sines = angles.cos().float(), angles.sin().float()
    found[row, taken], found[row, pairs + taken] = cosines, sines
    found[len(row) + row, taken], found[len(row) + row, pairs + taken] = -sines, cosines
    return found
