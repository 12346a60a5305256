"""Attention of one new token to what is in a cache: sequences side by side, no padding to write to."""

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def attend_one(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention of the last token of each sequence, to keys and values that are side by side.

    Args:
        query: ``[R, A, D]``; ``R`` may be several times ``B``, sequences of the same keys side by side.
        keys: ``[B, A, T, D]``; of another type than the query's, attention is computed in that one.
        values: ``[B, A, T, D]``.
        mask: added to the scores, broadcast to ``[B, A, R / B, T]``; or True where a key is seen.
        scale: of the scores; None: one by the root of ``D``.

    Returns:
        ``[R, A * D]``.
    """
    rows, batch = query.shape[0], keys.shape[0]
    side_by_side = query.unsqueeze(2)
    if rows != batch:
        side_by_side = query.view(batch, -1, *query.shape[1:]).transpose(1, 2)
    out = scaled_dot_product_attention(side_by_side.to(keys.dtype), keys, values, mask, scale=scale)
    return out.transpose(1, 2).reshape(rows, -1).to(query.dtype)
