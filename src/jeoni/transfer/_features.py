"""Features: what a small model reads of a backbone's layers, and the body that reads it before a head does.

Sources: Peters et al., "Deep contextualized word representations", NAACL 2018, equation (1) (a weighted sum
of all layers); Devlin et al., "BERT", NAACL 2019, section 5.3 and table 7 (which layers; a BiLSTM on them).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from jeoni.base.batch import Batch, of_words
from jeoni.base.config import Config
from jeoni.nn.attention import SelfAttention
from jeoni.nn.context import Context
from jeoni.nn.elmo import ScalarMix, steps_of
from jeoni.nn.heads import Pooling
from jeoni.ops.dropout import Dropout

Layers = Literal["last", "second_to_last", "sum_last_four", "concat_last_four", "scalar_mix"]
ABOVE: Mapping[str, int] = {"second_to_last": 2, "sum_last_four": 4, "concat_last_four": 4}
"""Layers above the embeddings that there must be; for the others, none."""
HEADS = 4


class FeaturesConfig(Config):
    """Settings of the features.

    Attributes:
        layers: the ``last`` or ``second_to_last``, the last four added up or side by side, or the weighted
            sum of all that the task learns (``scalar_mix``).
        body: what reads them: nothing, a BiLSTM, or one with self-attention over its states.
        body_size: cells of each direction.
        body_layers: BiLSTMs on top of each other.
        dropout: probability, on what the body reads and between its layers.
        pooling: of tokens, where a head reads a text as a whole.
    """

    layers: Layers = "scalar_mix"
    body: Literal["none", "bilstm", "bilstm_attention"] = "none"
    body_size: int = Field(256, ge=2, multiple_of=2)
    body_layers: int = Field(1, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    pooling: Pooling = "mean"


class Features(nn.Module):
    """From the states of all layers to what a head reads.

    Args:
        config: which layers, and the body.
        layers: of the backbone, above its embeddings.
        hidden: ``H``.

    Attributes:
        settings: the config's.
        pooling: of tokens, where a head reads a text as a whole.
        width: of what heads read, ``D``.
    """

    def __init__(self, config: FeaturesConfig, *, layers: int, hidden: int) -> None:
        super().__init__()
        self.settings, self.pooling = config.model_dump(), config.pooling
        self.layers = config.layers
        self.mix = ScalarMix(layers + 1, norm=False) if config.layers == "scalar_mix" else None
        self.width = 4 * hidden if config.layers == "concat_last_four" else hidden
        self.dropout = Dropout(config.dropout)
        self.lstm: BiLSTM | None = None
        self.attention: SelfAttention | None = None
        if config.body != "none":
            self.lstm = BiLSTM(
                self.width, config.body_size, layers=config.body_layers, dropout=config.dropout
            )
            self.width = 2 * config.body_size
        if config.body == "bilstm_attention":
            self.attention = SelfAttention(
                hidden=self.width, heads=HEADS, dropout=0.0, causal=False
            )

    def forward(self, states: Sequence[Tensor], batch: Batch) -> Tensor:
        """``L + 1`` of ``[N, H]`` to ``[N, D]``.

        Where the batch says which word each token is of (see ``of_words``), the body reads words, and every
        token of a word gets what it says of that.
        """
        x = mixed(states, self.layers) if self.mix is None else self.mix(states)
        if "words" not in batch.targets:
            return self._read(x, batch.lengths)
        x, owners, lengths = of_words(x, batch)
        return self._read(x, lengths).index_select(0, owners)

    def _read(self, x: Tensor, lengths: tuple[int, ...]) -> Tensor:
        if self.lstm is not None:
            x = self.lstm(self.dropout(x), lengths)
        if self.attention is not None:
            x = x + self.attention(x, Context(lengths=lengths))
        return x


class BiLSTM(nn.Module):
    """LSTMs over each sequence, in both directions (Graves and Schmidhuber, Neural Networks 18, 2005).

    Args:
        width: of the input, ``H``.
        size: cells of each direction, ``S``.
        layers: on top of each other.
        dropout: probability, between them.
    """

    def __init__(self, width: int, size: int, *, layers: int, dropout: float) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(width, size, layers, bidirectional=True, dropout=between)

    def draw_weights(self, std: float, generator: torch.Generator) -> None:
        """As torch draws them: uniform, by the number of cells."""
        bound = self.lstm.hidden_size**-0.5
        for weight in self.lstm.parameters():
            nn.init.uniform_(weight, -bound, bound, generator=generator)

    def forward(self, x: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """``[n, H]`` to ``[n, 2 S]``; inside, cells are in float32."""
        steps = steps_of(lengths, False, x.device)
        rows = x.float().index_select(0, steps.tokens)
        found: Any = self.lstm(PackedSequence(rows, torch.tensor(steps.active)))[0]
        result: Tensor = found.data.index_select(0, steps.back).to(x.dtype)
        return result


def mixed(states: Sequence[Tensor], layers: str) -> Tensor:
    """One vector for each token, ``[N, H]`` or ``[N, 4 H]``, by a way that learns nothing."""
    if layers == "sum_last_four":
        return torch.stack(list(states[-4:])).float().sum(0)
    if layers == "concat_last_four":
        return torch.cat(list(states[-4:]), -1)
    return states[-2 if layers == "second_to_last" else -1]
