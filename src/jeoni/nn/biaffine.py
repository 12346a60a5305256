"""The biaffine parser: a score for each word and each head that it could have.

Source: Dozat and Manning, "Deep biaffine attention for neural dependency parsing", 2017, section 2.2.
"""

import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.ops.dropout import Dropout


class BiaffineHead(nn.Module):
    """Scores of heads and relations.

    A learned vector stands for the root, as not every backbone has a token before the words.

    Args:
        hidden: ``H``.
        relations: how many relations there are, ``R``.
        arc_size: width of the vectors that arcs are scored with.
        relation_size: the same for relations.
        dropout: probability, of the words' states and of these vectors.
    """

    def __init__(
        self, hidden: int, relations: int, *, arc_size: int, relation_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.sizes = (relations, arc_size, relation_size)
        self.root = nn.Embedding(1, hidden)
        self.dropout = Dropout(dropout)
        self.arc_word = _layer(hidden, arc_size, dropout)
        self.arc_head = _layer(hidden, arc_size, dropout)
        self.arc = nn.Linear(arc_size, arc_size)
        self.relation_word = _layer(hidden, relation_size, dropout)
        self.relation_head = _layer(hidden, relation_size, dropout)
        self.out = nn.Linear(relation_size, relations * relation_size, bias=False)
        self.out_word = nn.Linear(relation_size, relations)
        self.out_head = nn.Linear(relation_size, relations, bias=False)

    def forward(self, hidden: Tensor, batch: Batch, places: Tensor) -> Tensor:
        """Scores for sentences of at most ``W`` words, ``[B, W, 1 + W, 1 + R]``.

        Args:
            hidden: ``[N, H]``.
            batch: where it comes from.
            places: the token of the sequence whose state is each word's, ``[B, W]``; -1 where words end.

        Returns:
            Of each word and each head (the root, then the words): the score of the arc, -inf where there is
            no such word or it is the word itself; behind it the scores of the relations.
        """
        first = torch.tensor(batch.starts, device=hidden.device)[:, None]
        words = hidden[first + places.clamp(min=0)]
        root = self.root.weight.expand(len(words), 1, -1)
        heads = self.dropout(torch.cat([root.to(words.dtype), words], 1))
        words = heads[:, 1:]
        arcs = self.arc(self.arc_word(words)) @ self.arc_head(heads).transpose(1, 2)
        itself = torch.ones_like(arcs[0], dtype=torch.bool).triu(1).tril(1)
        absent = nn.functional.pad(places < 0, (1, 0))[:, None]
        arcs = arcs.masked_fill(itself | absent, -torch.inf)
        return torch.cat([arcs[..., None], self._relations(words, heads)], -1)

    def _relations(self, words: Tensor, heads: Tensor) -> Tensor:
        """Of words ``[B, W, H]`` to heads ``[B, 1 + W, H]``: ``[B, W, 1 + W, R]``."""
        word, head = self.relation_word(words), self.relation_head(heads)
        both = self.out(word).unflatten(-1, (-1, word.shape[-1]))
        pairs = torch.einsum("bwrk,bhk->bwhr", both, head)
        result: Tensor = pairs + self.out_word(word)[:, :, None] + self.out_head(head)[:, None]
        return result


def _layer(hidden: int, size: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(hidden, size), nn.LeakyReLU(0.1), Dropout(dropout))
