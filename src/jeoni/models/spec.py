"""What a backbone looks like, as numbers."""

from dataclasses import dataclass
from typing import Literal

from jeoni.base.errors import UserError
from jeoni.nn.block import NormKind, NormOrder

PositionKind = Literal["learned", "sinusoidal", "relative", "none"]
Sharing = Literal["none", "attention", "feed_forward", "all"]


@dataclass(frozen=True, kw_only=True)
class ArchSpec:
    """The architecture of a backbone: everything needed to build it, nothing about its weights.

    A family whose blocks need more numbers than these brings a subclass and its own ``build``.

    Attributes:
        vocab: rows of the word table, ``V``.
        hidden: width, ``H``.
        layers: blocks of the encoder, or of the only stack, ``L``.
        heads: attention heads, ``A``.
        feed_forward: inner width of the feed-forward part.
        positions: longest sequence.
        segments: segment (token type) ids.
        width: width of the embedding tables; other than ``hidden``: factorized.
        projected: a projection from ``width`` to ``hidden``; None: where they differ.
        activation: of the feed-forward part.
        norm: norm after (``post``) or before (``pre``) each part.
        norm_eps: epsilon of the norms.
        dropout: probability on embeddings and on the output of each part.
        attention_dropout: probability on attention weights.
        causal: a token sees only itself and those before it.
        init_range: standard deviation of freshly drawn weights.
        decoder_layers: blocks of the decoder; 0: there is only one stack.
        head_size: ``D``; None: ``H / A``.
        norm_kind: layer norm, or root mean square norm.
        bias: whether projections have one.
        gated: feed-forward part with a gate.
        inner_dropout: probability inside the feed-forward part.
        output_dropout: probability on the last layer's normalized output.
        scaled_attention: scores divided by the root of ``D``.
        scaled_embeddings: word embeddings times the root of ``H``.
        embedding_norm: norm on the embeddings; None: where ``norm`` is ``post``.
        final_norm: norm on the last layer's output; None: where ``norm`` is ``pre``.
        position_kind: how a model knows where a token is.
        position_offset: unused rows at the start of the position table.
        buckets: of relative positions.
        distance: relative positions farther than this share a bucket.
        windows: how far a token sees in each layer (0: everything), repeated over the layers.
        blocks: distinct blocks that the layers share; None: one a layer.
        shared: what of a block all blocks have in common.
        output_scale: of the hidden states that a language model head gets.
        tied: whether a new vocabulary head has the word table for its weights.
        decoder_start: id that a decoder reads first.
        characters: a token is a row of so many characters (ELMo); 0: it is one id.
    """

    vocab: int
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    positions: int = 512
    segments: int = 2
    width: int
    projected: bool | None = None
    activation: str = "gelu"
    norm: NormOrder = "post"
    norm_eps: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    causal: bool = False
    init_range: float = 0.02
    decoder_layers: int = 0
    head_size: int | None = None
    norm_kind: NormKind = "layer"
    bias: bool = True
    gated: bool = False
    inner_dropout: float = 0.0
    output_dropout: float = 0.0
    scaled_attention: bool = True
    scaled_embeddings: bool = False
    embedding_norm: bool | None = None
    final_norm: bool | None = None
    position_kind: PositionKind = "learned"
    position_offset: int = 0
    buckets: int = 32
    distance: int = 128
    windows: tuple[int, ...] = ()
    blocks: int | None = None
    shared: Sharing = "none"
    output_scale: float = 1.0
    tied: bool = True
    decoder_start: int = 0
    characters: int = 0

    @property
    def distinct(self) -> int:
        """Blocks with names of their own."""
        return self.layers if self.blocks is None else self.blocks

    @property
    def order(self) -> tuple[int, ...]:
        """The block that each layer is; in groups as published for ALBERT, to the rounding."""
        return tuple(int(i / (self.layers / self.distinct)) for i in range(self.layers))

    @property
    def depth(self) -> int:
        """Layers from the embeddings to the output: those of encoder and decoder."""
        return self.layers + self.decoder_layers

    @property
    def limit(self) -> int | None:
        """Longest sequence that there are positions for; None where a token's place is relative."""
        return self.positions if self.position_kind in ("learned", "sinusoidal") else None

    def length(self, sequence: int | None) -> int:
        """So many tokens of a sequence, or as many as there are positions; UserError for more."""
        if sequence and self.limit is not None and sequence > self.limit:
            raise UserError(
                f"a sequence of {sequence:,} tokens, but there are {self.limit:,} positions"
            )
        return sequence or self.positions

    @property
    def normed_embeddings(self) -> bool:
        """Whether the embeddings have a norm."""
        return self.norm == "post" if self.embedding_norm is None else self.embedding_norm

    @property
    def normed_output(self) -> bool:
        """Whether the last layer's output has a norm of its own."""
        return self.norm == "pre" if self.final_norm is None else self.final_norm
