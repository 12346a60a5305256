"""A model: backbone, heads, and the tokenizer that goes with them."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jeoni.base import rng
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.base.files import named_problems
from jeoni.models.backbone import initialize
from jeoni.models.decoding import shift_right
from jeoni.models.family import Family
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row, expand, to_ours
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.words import Token, WordTokenizer

if TYPE_CHECKING:
    from jeoni.models.lines import Written

Input = str | tuple[str, str] | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]
TOKENS_A_BATCH = 8192


class Model(nn.Module):
    """A backbone with any number of heads, its tokenizer, and what it was read from.

    Args:
        family: the family's data.
        spec: architecture.
        backbone: built as ``spec`` says; has ``forward`` and ``states`` as ``Backbone`` has.
        tokenizer: None if there is none (a model can be trained on ready-made ids).
        spare: tensors of the checkpoint that no part took yet, by their name there; ``add_head`` looks
            here.
        config: keys of config.json that are passed on unread.
        settings: what jeoni.json says about the task the model was trained for.
        labels: class names, where the checkpoint has them.

    Attributes:
        fresh: names of the parameters that were drawn, not loaded. Strategies read this.
        features: what a strategy put between backbone and heads: from the states of all layers, and the
            batch, to what heads read. It has ``width``, ``pooling`` and ``settings`` (JSON, which
            jeoni.json remembers). None: heads read the last layer.
        frozen: the backbone is read without dropout and gradients, in training too. A strategy sets this.
    """

    def __init__(
        self,
        *,
        family: Family,
        spec: ArchSpec,
        backbone: nn.Module,
        tokenizer: Tokenizer | None = None,
        spare: Mapping[str, Tensor] | None = None,
        config: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.family = family
        self.spec = spec
        self.backbone: Any = backbone
        self.heads = nn.ModuleDict()
        self.features: Any = None
        self.frozen = False
        self._tokenizer = tokenizer
        self.spare = dict(spare or {})
        self.config = dict(config or {})
        self.settings = dict(settings or {})
        self.labels = list(labels) if labels is not None else None
        self.fresh: set[str] = set()

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            UserError: the model came without one.
        """
        if self._tokenizer is None:
            raise UserError(
                "this model has no tokenizer",
                hint="put tokenizer.json, or the files it was published as, beside its config.json; or "
                "give lists of ids",
            )
        return self._tokenizer

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        weights = itertools.chain(self.parameters(), self.buffers())
        return next(weights).device

    @property
    def state_size(self) -> int:
        """Width of what heads read."""
        return self.spec.hidden if self.features is None else int(self.features.width)

    def train(self, mode: bool = True) -> Self:
        """As ever; a frozen backbone stays as it is used."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, batch: Batch) -> Tensor:
        """What heads read, ``[N, H]``: hidden states of the last layer, or features of several.

        An encoder-decoder that is given nothing to decode reads the same tokens with both stacks, and
        gives the decoder's states (Lewis et al., "BART", 2020, sections 3.1 and 3.2); features are the
        encoder's.
        """
        if self.features is not None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                states = self.backbone.states(batch)
            found: Tensor = self.features(states, batch)
            return found
        if self.spec.decoder_layers and batch.decoder is None:
            again = shift_right(batch.ids, batch.lengths, self.spec.decoder_start)
            batch = replace(batch, decoder=again)
        hidden: Tensor = self.backbone(batch)
        return hidden

    def add_head(
        self, kind: str, head: nn.Module, *, seed: int = 0, drawn: tuple[str, ...] = ()
    ) -> nn.Module:
        """Attach a head; take its weights from the checkpoint's spare tensors where names and shapes fit.

        The head is put in the mode (training or not) that the model is in.

        Args:
            kind: the key in ``heads``; kinds that the family's table knows are written in its layout.
            head: the module.
            seed: draws what is not loaded.
            drawn: parts of the head that are drawn even if the checkpoint has them.

        Returns:
            The head that is now there.
        """
        loaded, _ = to_ours(self.spare, self.names(kind, head))
        self._fill(head, f"heads.{kind}", rng.derive("head", kind, seed), loaded, drawn)
        self.heads[kind] = head
        return head

    def names(self, kind: str, head: nn.Module) -> list[Row]:
        """The family's names for a head; none if it lacks some (a chain's), or the head reads features."""
        table = self.family.heads.get(kind, ()) if self.features is None else ()
        if kind == "tagging" and "classification" in self.heads:  # whose names are the same
            table = ()
        rows = expand(table, self.spec)
        return rows if head.state_dict().keys() <= {row.ours for row in rows} else []

    def add_features(self, features: nn.Module, *, seed: int = 0) -> None:
        """Put features between backbone and heads; their weights as for ``add_head``."""
        self._fill(features, "features", rng.derive("features", seed))
        self.features = features

    def _fill(
        self,
        part: nn.Module,
        where: str,
        seed: int,
        loaded: Mapping[str, Tensor] | None = None,
        drawn: tuple[str, ...] = (),
    ) -> None:
        """Weights of a new part: drawn, then taken from ``loaded``, or the spare tensors of its name."""
        self.draw(part, where, seed)
        if not loaded:
            prefix = f"{where}."
            loaded = {
                k.removeprefix(prefix): v for k, v in self.spare.items() if k.startswith(prefix)
            }
        own = part.state_dict(keep_vars=True)
        fresh = {name for name, _ in part.named_parameters()}
        for name, tensor in loaded.items():
            if name.startswith(drawn):
                continue
            if name in own and own[name].shape == tensor.shape:
                own[name].data.copy_(tensor)
                fresh.discard(name)
        self.fresh |= {f"{where}.{name}" for name in fresh}
        part.train(self.training).to(self.device)

    def draw(self, part: nn.Module, where: str, seed: int) -> None:
        """Fresh weights for a part, in the manner of the family.

        Args:
            part: the backbone or a head; or features, which are drawn as BERT's weights.
            where: its name in this model.
            seed: decides the weights.
        """
        own = self.family.std
        spread = None if own is None else lambda name: own(self.spec, f"{where}.{name}")
        usual = spread or self.spec.init_range
        initialize(part, std=0.02 if where == "features" else usual, seed=seed)

    def keep_head(self, kind: str, *beside: str) -> nn.Module | None:
        """Drop every head but this one and those beside it; the one of this kind, if it is there."""
        kept = {name: self.heads[name] for name in (kind, *beside) if name in self.heads}
        self.heads.clear()
        self.heads.update(kept)
        own = tuple(f"heads.{name}." for name in kept)
        self.fresh = {n for n in self.fresh if n.startswith(("backbone.", "features.", *own))}
        return kept.get(kind)

    def layer_of(self, name: str) -> int:
        """Depth of a parameter, for layer-wise rates: 0 embeddings, then the blocks, heads last.

        A decoder's blocks come after the encoder's. What layers share has the depth of the first.
        """
        parts = name.split(".")
        if parts[0] != "backbone":
            return self.spec.depth + 1
        if "stack" not in parts:
            return 0
        behind = self.spec.layers if "decoder" in parts else 0
        if "blocks" in parts:
            block = int(parts[parts.index("blocks") + 1])
            return behind + (block if behind else self.spec.order.index(block)) + 1
        if "bias" in parts[:-1]:
            return behind + 1
        return self.spec.depth if "decoder" in parts else self.spec.layers

    def hidden_states(self, inputs: Iterable[Input]) -> list[NDArray[np.float32]]:
        """Hidden states of every layer for every input, each on its own, without dropout.

        Those of the encoder, where there is one.

        Args:
            inputs: texts, (text, pair) tuples, or lists of token ids that are used as they are; for models
                of words (ELMo, static vectors) also lists of words. A string alone is one text.

        Returns:
            For each input an array ``[L + 1, T, H]``, float32: the embedding output first, then
            every layer. It does not depend on the other inputs.

        Raises:
            UserError: an input without tokens, longer than the model's positions, or with an id
                outside the vocabulary.
        """
        given = [inputs] if isinstance(inputs, str) else inputs
        sequences = [self._ids(item, number) for number, item in enumerate(given)]
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i][0]))
        result: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(sequences)
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                for chunk in _chunks(order, [len(ids) for ids, _ in sequences]):
                    chosen = [sequences[i] for i in chunk]
                    batch = Batch.pack([ids for ids, _ in chosen], [s for _, s in chosen])
                    states = torch.stack(self.backbone.states(batch.to(self.device)))
                    parts = torch.split(states, list(batch.lengths), dim=1)
                    for i, part in zip(chunk, parts, strict=True):
                        result[i] = part.float().cpu().numpy().copy()  # else it keeps all of them
        finally:
            self.train(training)
        return result

    def _ids(self, item: Input, number: int) -> tuple[list[Token], list[int]]:
        if isinstance(item, str):
            encoding = self.tokenizer.encode(item)
            ids, segments = list[Token](encoding.ids), list(encoding.segments)
        elif isinstance(item, tuple) and len(item) == 2 and all(isinstance(t, str) for t in item):
            encoding = self.tokenizer.encode(*item)
            ids, segments = list(encoding.ids), list(encoding.segments)
        else:
            listed = isinstance(item, Iterable) and not isinstance(item, bytes)
            ids = self._listed(list(item) if listed else [None], number)
            segments = [0] * len(ids)
        self.check_ids(ids, f"input {number}")
        return ids, segments

    def _listed(self, tokens: list[Any], number: int) -> list[Token]:
        """Ids of a list of words, or of one of ids."""
        if tokens and all(isinstance(token, str) for token in tokens):
            if not isinstance(self._tokenizer, WordTokenizer):
                raise UserError(f"input {number}: a list of words, but this model's tokens are not")
            return self._tokenizer.encode_words(tokens)
        try:
            return [
                [*map(index, token)] if isinstance(token, list | tuple) else index(token)
                for token in tokens
            ]
        except TypeError:
            raise UserError(
                f"input {number}: neither a text, a pair of texts, nor a list of token ids"
            ) from None

    def check_ids(self, ids: Sequence[Token], where: str) -> None:
        """Raise UserError if the model cannot take the ids: none, too many, or outside the vocabulary."""
        if not ids:
            raise UserError(f"{where}: no tokens")
        limit = self.spec.limit
        if limit is not None and len(ids) > limit:
            raise UserError(
                f"{where}: {len(ids)} tokens, but the model has {limit} positions",
                hint="shorten the text, or cut it into windows",
            )
        numbers = self._numbers(ids, where)
        if min(numbers) < 0 or max(numbers) >= self.spec.vocab:
            bad = next(i for i in numbers if not 0 <= i < self.spec.vocab)
            last = self.spec.vocab - 1
            raise UserError(f"{where}: id {bad} is outside the vocabulary (0..{last})")

    def _numbers(self, ids: Sequence[Token], where: str) -> list[int]:
        """All numbers of tokens that may be rows of numbers."""
        width = self.spec.characters
        if width and any(isinstance(token, int) or len(token) != width for token in ids):
            raise UserError(
                f"{where}: each word must be a row of {width} characters",
                hint="give words, or texts: the tokenizer makes rows of them",
            )
        if any(not isinstance(token, int) and not token for token in ids):
            raise UserError(f"{where}: a token without numbers")
        return [n for token in ids for n in ([token] if isinstance(token, int) else token)]

    def generate(self, prompts: Sequence[str | Sequence[int]], **settings: Any) -> "list[Written]":
        """Go on from each prompt (see ``generation.generate``)."""
        from jeoni.models import generation

        return generation.generate(self, prompts, **settings)

    def stream(self, prompt: str | Sequence[int], **settings: Any) -> Iterator[str]:
        """Go on from a prompt, piece by piece (see ``generation.stream``)."""
        from jeoni.models import generation

        return generation.stream(self, prompt, **settings)

    def save(self, folder: str | Path) -> Path:
        """Write the model in Hugging Face layout: config, weights, tokenizer (see ``hub.save``)."""
        from jeoni.models import hub

        with named_problems(Path(folder), "give another folder"):
            return hub.save(self, Path(folder))


def _chunks(order: Sequence[int], lengths: Sequence[int]) -> Iterable[list[int]]:
    """Cut ``order`` so that no chunk has more than ``TOKENS_A_BATCH`` tokens (or is one input)."""
    chunk: list[int] = []
    total = 0
    for i in order:
        if chunk and total + lengths[i] > TOKENS_A_BATCH:
            yield chunk
            chunk, total = [], 0
        chunk.append(i)
        total += lengths[i]
    if chunk:
        yield chunk
