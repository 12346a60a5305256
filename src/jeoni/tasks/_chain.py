"""A chain over tags: a conditional random field, which judges tags of a sentence together.

Sources: Lafferty et al., "Conditional random fields", ICML 2001; Huang et al., "Bidirectional LSTM-CRF
models for sequence tagging", 2015. The library is pytorch-crf (extra ``crf``).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from jeoni.base.errors import UserError


def chain(tags: int) -> nn.Module:
    """A chain over so many tags. At first any tag may follow any other, and it changes nothing.

    Raises:
        UserError: the library is not there.
    """
    try:
        from torchcrf import CRF
    except ImportError:
        raise UserError(
            "task.crf=true needs the package pytorch-crf", hint="pip install 'jeoni[crf]'"
        ) from None
    made: nn.Module = CRF(tags, batch_first=True)
    for weight in made.parameters():
        nn.init.zeros_(weight)
    return made


def chain_loss(made: nn.Module, logits: Tensor, target: Tensor, counts: Sequence[int]) -> Tensor:
    """Sum of the negative log-likelihoods of the right sequences, float32.

    Args:
        made: the chain.
        logits: of the tokens that carry a tag, ``[n, tags]``.
        target: their tags ``[n]``.
        counts: how many each sequence has, summing to ``n``.
    """
    if not len(logits):
        return logits.float().sum()
    rows, there = _padded(logits.float(), counts)
    total: Tensor = -made(rows, _padded(target, counts)[0], mask=there)
    return total


def best_paths(made: nn.Module, logits: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The likeliest tags of each sequence as a whole ``[n]``, and how probable each is ``[n]``.

    Arguments as for ``chain_loss``.
    """
    if not len(logits):
        return logits.new_zeros(0, dtype=torch.int64), logits.new_zeros(0)
    with torch.inference_mode(False), torch.enable_grad():
        rows, there = _padded(logits.float().clone(), counts)
        rows = rows.detach().requires_grad_()
        decode: Any = made.decode
        tags = torch.tensor([tag for path in decode(rows, there) for tag in path])
        padded, _ = _padded(tags.to(rows.device), counts)
        (gradient,) = torch.autograd.grad(made(rows, padded, mask=there), rows)
    # That of the log-likelihood is what is there (1) less its expectation, which is the probability.
    missing = gradient.gather(-1, padded[..., None]).squeeze(-1)
    # Rounding adds up along a sequence.
    return padded[there], (1.0 - missing[there]).clamp(0.0, 1.0)


def _padded(rows: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Rows of sequences that have some, ``[b, T, ...]``, and where there are such ``[b, T]``."""
    parts = [part for part in torch.split(rows, list(counts)) if len(part)]
    sizes = torch.tensor([len(part) for part in parts], device=rows.device)
    there = torch.arange(int(sizes.max()), device=rows.device) < sizes[:, None]
    return pad_sequence(parts, batch_first=True), there
