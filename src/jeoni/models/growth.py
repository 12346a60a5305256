"""A longer vocabulary for a model that is trained already."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from jeoni.models.describe import VOCABULARY
from jeoni.models.model import Model
from jeoni.models.weights import expand
from jeoni.text.extension import extends, parts
from jeoni.text.tokenizer import Tokenizer


def grow(model: Model, tokenizer: Tokenizer) -> int:
    """Give a model a tokenizer that has the tokens of its own, and more behind them.

    A new token's row is the mean of the rows of the pieces that the old tokenizer cuts it into (Gee et
    al., "Fast vocabulary transfer for language model compression", EMNLP 2022, section 3): in the word
    table, and in the rows and biases of vocabulary heads. If it cannot cut it, of all rows (Hewitt,
    "Initializing new word embeddings for pretrained language models", 2021). Rows that no token has stay
    the last ones.

    Args:
        model: its heads are taken off; those put on again get their weights, with the new rows.
        tokenizer: another that does not extend the model's changes nothing.

    Returns:
        How many tokens are new.
    """
    old = model.tokenizer
    if not extends(tokenizer, old):
        return 0
    pieces = parts(old, tokenizer.tokens[len(old.tokens) :])
    sized = {
        name
        for kind in model.family.heads.keys() & set(VOCABULARY)
        for row in expand(model.family.heads[kind], model.spec)
        for name in row.theirs
        if row.ours in ("bias", "out.weight")
    }
    model.keep_head("")
    words: nn.Embedding = model.backbone.embeddings.words
    vocab = len(words.weight)
    for name in sized & model.spare.keys():
        spare = model.spare[name]
        if spare.shape == (1, vocab):  # as BART has its bias
            model.spare[name] = _grown(spare[0], len(old.tokens), pieces)[None]
        elif len(spare) == vocab:
            model.spare[name] = _grown(spare, len(old.tokens), pieces)
    words.weight = nn.Parameter(_grown(words.weight.data, len(old.tokens), pieces))
    words.num_embeddings = len(words.weight)
    model.spec = replace(model.spec, vocab=len(words.weight))
    model._tokenizer = tokenizer
    return len(pieces)


def _grown(table: Tensor, known: int, pieces: Sequence[Sequence[int]]) -> Tensor:
    """Rows of the known tokens, means for the new ones, and what is over."""
    means = [table[list(own) or slice(None)].float().mean(0).to(table.dtype) for own in pieces]
    return torch.cat([table[:known], torch.stack(means), table[known:]])
