"""The one transformer that families are presets of."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.models.spec import ArchSpec
from jeoni.nn.attention import CrossAttention, SelfAttention
from jeoni.nn.block import Block, FeedForward, norm
from jeoni.nn.cache import Cache
from jeoni.nn.context import Context
from jeoni.nn.embeddings import Embeddings
from jeoni.nn.positions import LearnedPositions, RelativeBias, SinusoidalPositions
from jeoni.nn.stack import Stack


class Backbone(nn.Module):
    """Embeddings and a stack of blocks.

    Args:
        embeddings: ids to ``[N, H]``.
        stack: ``[N, H]`` to ``[N, H]``.
    """

    def __init__(self, *, embeddings: Embeddings, stack: Stack) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.stack = stack

    def forward(self, batch: Batch) -> Tensor:
        """Hidden states of the last layer, ``[N, H]``."""
        result: Tensor = self.stack(self.embed(batch), self.context(batch))
        return result

    def states(self, batch: Batch) -> list[Tensor]:
        """Embedding output and every layer's output, ``L + 1`` of ``[N, H]``."""
        return self.stack.states(self.embed(batch), self.context(batch))

    def extend(self, batch: Batch, cache: Cache) -> Tensor:
        """Hidden states of what comes next, ``[N, H]``: prompts at first, then one token a sequence.

        They are those that ``forward`` would give if it read everything again.
        """
        cache.advance(batch.lengths)
        context = replace(self.context(batch), cache=cache)
        result: Tensor = self.stack(self.embed(batch), context)
        return result

    @staticmethod
    def context(batch: Batch) -> Context:
        """What the blocks see."""
        return Context(lengths=batch.lengths, positions=batch.positions)

    def embed(self, batch: Batch) -> Tensor:
        """Embedding output, ``[N, H]``."""
        result: Tensor = self.embeddings(batch.ids, batch.positions, batch.segments)
        return result


class EncoderDecoder(nn.Module):
    """An encoder, and a decoder that attends to its output (Vaswani et al., 2017, section 3).

    Args:
        encoder: reads the batch.
        decoder: reads ``batch.decoder``, each sequence with the encoder's output of its number.
    """

    def __init__(self, *, encoder: Backbone, decoder: Backbone) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    @property
    def embeddings(self) -> Embeddings:
        """The encoder's; the decoder has the same word table."""
        return self.encoder.embeddings

    def forward(self, batch: Batch) -> Tensor:
        """The decoder's last hidden states, ``[N', H]``; the encoder's ``[N, H]`` without ``decoder``."""
        memory: Tensor = self.encoder(batch)
        if batch.decoder is None:
            return memory
        result: Tensor = self.decoder.stack(
            self.decoder.embed(batch.decoder), self.context(batch, memory)
        )
        return result

    def states(self, batch: Batch) -> list[Tensor]:
        """The encoder's embeddings and layers; then the decoder's too, where the batch has a decoder."""
        states = self.encoder.states(batch)
        if batch.decoder is None:
            return states
        context = self.context(batch, states[-1])
        return states + self.decoder.stack.states(self.decoder.embed(batch.decoder), context)

    def extend(self, batch: Batch, cache: Cache) -> Tensor:
        """The decoder's hidden states of what it is to read next, ``[N', H]``, as ``Backbone.extend``.

        The first batch has what the encoder reads, too; it is read once.
        """
        if batch.decoder is None:
            return self.decoder.extend(batch, cache)
        memory: Tensor = self.encoder(batch)
        cache.advance(batch.decoder.lengths)
        context = replace(self.context(batch, memory), cache=cache)
        result: Tensor = self.decoder.stack(self.decoder.embed(batch.decoder), context)
        return result

    @staticmethod
    def context(batch: Batch, memory: Tensor) -> Context:
        """What the decoder's blocks see."""
        assert batch.decoder is not None
        return Context(
            lengths=batch.decoder.lengths,
            positions=batch.decoder.positions,
            memory=memory,
            memory_lengths=batch.lengths,
        )


def build(spec: ArchSpec) -> nn.Module:
    """A backbone as ``spec`` says, with torch's default weights (see ``initialize``)."""
    words = nn.Embedding(spec.vocab, spec.width)
    if not spec.decoder_layers:
        return Backbone(embeddings=_embeddings(spec, words), stack=_stack(spec, causal=spec.causal))
    return EncoderDecoder(
        encoder=Backbone(embeddings=_embeddings(spec, words), stack=_stack(spec, causal=False)),
        decoder=Backbone(
            embeddings=_embeddings(spec, words), stack=_stack(spec, causal=True, decoder=True)
        ),
    )


def _embeddings(spec: ArchSpec, words: nn.Embedding) -> Embeddings:
    positions: nn.Module | None = None
    if spec.position_kind == "learned":
        positions = LearnedPositions(spec.positions, spec.width, offset=spec.position_offset)
    elif spec.position_kind == "sinusoidal":
        positions = SinusoidalPositions(spec.positions, spec.width)
    return Embeddings(
        words=words,
        hidden=spec.hidden,
        projected=spec.projected,
        positions=positions,
        segments=spec.segments,
        norm=_norm(spec, spec.width) if spec.normed_embeddings else None,
        dropout=spec.dropout,
        scale=spec.hidden**0.5 if spec.scaled_embeddings else 1.0,
    )


def _stack(spec: ArchSpec, *, causal: bool, decoder: bool = False) -> Stack:
    count = spec.decoder_layers if decoder else spec.distinct
    blocks = [_block(spec, i, causal=causal, decoder=decoder) for i in range(count)]
    for block in blocks[1:]:
        if spec.shared in ("attention", "all"):
            block.attention, block.attention_norm = blocks[0].attention, blocks[0].attention_norm
        if spec.shared in ("feed_forward", "all"):
            block.feed_forward = blocks[0].feed_forward
            block.feed_forward_norm = blocks[0].feed_forward_norm
    bias = None
    if spec.position_kind == "relative":
        bias = RelativeBias(
            heads=spec.heads,
            buckets=spec.buckets,
            distance=spec.distance,
            bidirectional=not causal,
        )
    return Stack(
        blocks,
        order=None if decoder else spec.order,
        final_norm=_norm(spec, spec.hidden) if spec.normed_output else None,
        bias=bias,
        dropout=spec.output_dropout,
    )


def _block(spec: ArchSpec, layer: int, *, causal: bool, decoder: bool) -> Block:
    window = spec.windows[layer % len(spec.windows)] if spec.windows else 0
    attention = SelfAttention(
        hidden=spec.hidden,
        heads=spec.heads,
        size=spec.head_size,
        dropout=spec.attention_dropout,
        causal=causal,
        window=window,
        bias=spec.bias,
        scaled=spec.scaled_attention,
    )
    cross = None
    if decoder:
        cross = CrossAttention(
            hidden=spec.hidden,
            heads=spec.heads,
            size=spec.head_size,
            dropout=spec.attention_dropout,
            bias=spec.bias,
            scaled=spec.scaled_attention,
        )
    feed_forward = FeedForward(
        hidden=spec.hidden,
        inner=spec.feed_forward,
        activation=spec.activation,
        bias=spec.bias,
        gated=spec.gated,
        dropout=spec.inner_dropout,
    )
    return Block(
        attention=attention,
        cross=cross,
        feed_forward=feed_forward,
        norms=tuple(_norm(spec, spec.hidden) for _ in range(3 if decoder else 2)),
        order=spec.norm,
        dropout=spec.dropout,
    )


def _norm(spec: ArchSpec, width: int) -> nn.Module:
    return norm(spec.norm_kind, width, spec.norm_eps)


Spread = Callable[[str], float | Tensor]
"""Standard deviation of a weight's fresh values, by its name: one for all, or one a row."""


@runtime_checkable
class Drawn(Protocol):
    """A module with weights of its own, other than its layers', that knows how to draw them."""

    def draw_weights(self, std: float, generator: torch.Generator) -> None:
        """Fresh values, with this standard deviation where they are normal."""


def initialize(module: nn.Module, *, std: float | Spread, seed: int) -> None:
    """Fresh weights as published for BERT: normal(0, std), biases 0, norms 1 (float32, on the CPU).

    The result depends on the seed, ``std`` and the module's shapes only.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            own = std(f"{name}.weight" if name else "weight") if callable(std) else std
            rows = isinstance(own, Tensor)
            nn.init.normal_(part.weight, 0.0, 1.0 if rows else float(own), generator=generator)
            if isinstance(own, Tensor):
                part.weight.data.mul_(own[:, None])
        elif isinstance(part, Drawn):
            own = std(name) if callable(std) else std
            assert not isinstance(own, Tensor)
            part.draw_weights(own, generator)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.LayerNorm | nn.RMSNorm):
            nn.init.ones_(part.weight)
        if isinstance(part, nn.LayerNorm) and part.bias is not None:
            nn.init.zeros_(part.bias)
