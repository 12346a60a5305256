"""What a backbone looks like, as numbers."""

from dataclasses import dataclass

from jeoni.nn.block import NormOrder


@dataclass(frozen=True, kw_only=True)
class ArchSpec:
    """The architecture of a backbone: everything needed to build it, nothing about its weights.

    Attributes:
        vocab: rows of the word table, ``V``.
        hidden: width, ``H``.
        layers: blocks, ``L``.
        heads: attention heads, ``A``.
        feed_forward: inner width of the feed-forward part.
        positions: longest sequence.
        segments: segment (token type) ids.
        width: width of the embedding tables; other than ``hidden``: factorized.
        activation: of the feed-forward part.
        norm: layer norm after (``post``) or before (``pre``) each part.
        norm_eps: epsilon of the layer norms.
        dropout: probability on embeddings and on the output of each part.
        attention_dropout: probability on attention weights.
        causal: a token sees only itself and those before it.
        init_range: standard deviation of freshly drawn weights.
    """

    vocab: int
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    positions: int = 512
    segments: int = 2
    width: int
    activation: str = "gelu"
    norm: NormOrder = "post"
    norm_eps: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    causal: bool = False
    init_range: float = 0.02
