"""What the objectives' tests share: documents, stores, tiny models of every family, a few steps."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jeoni.base import lookup
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig
from jeoni.data.chunks import Chunks, Ints
from jeoni.data.token_store import StoreWriter, TokenStore
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.objectives import _mixture
from jeoni.objectives._batches import StoreBatches
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._mixture import Mixture
from jeoni.text.boundaries import all_word_starts
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import train

Chosen = Mapping[str, float | Mapping[str, Any]]
NAMES = lookup.names(_mixture.FOLDER)
# What kind of tokenizer a family's tiny one is, like which published one, of how many tokens.
LIKE = {
    "bert": ("wordpiece", "bert", 180),
    "electra": ("wordpiece", "electra", 180),
    "distilbert": ("wordpiece", "distilbert", 180),
    "roberta": ("bpe", "roberta", 420),
    "albert": ("unigram", "albert", 100),
    "xlnet": ("unigram", "xlnet", 110),
    "gpt2": ("bpe", "gpt2", 420),
    "t5": ("unigram", "t5", 200),
    "bart": ("bpe", "bart", 420),
}
TOPICS = [
    "river bridge water mountain valley forest island harbor",
    "kitchen bread butter pepper recipe dinner supper breakfast",
    "서울에서 부산까지 기차를 타고 여행하는 사람들이 많다고",
    "학교에서 학생들은 선생님과 함께 역사를 공부하였다고",
    "painter museum gallery picture portrait landscape drawing color",
    "football player stadium winner season training captain referee",
]
COMMON = "the a of and is was it near their other 그리고 하지만 많은 오래된"


@functools.cache
def documents(count: int = 36, sentences: int = 8, seed: int = 0) -> tuple[tuple[str, ...], ...]:
    """Documents, each of one topic, as sentences of 4 to 11 words."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        words = [*TOPICS[number % len(TOPICS)].split(), *COMMON.split()]
        lengths = generator.integers(4, 12, sentences)
        found.append(tuple(" ".join(generator.choice(words, n)) + "." for n in lengths))
    return tuple(found)


@functools.cache
def tokenizer(family: str = "bert") -> Tokenizer:
    """Like the family's published one, so small that most words have several tokens."""
    kind, like, size = LIKE[family]
    texts = [sentence for document in documents() for sentence in document]
    return train(texts, kind=kind, like=like, vocab_size=size, coverage=1.0)


def model(family: str = "bert", *, seed: int = 0, **changes: Any) -> Model:
    """Two layers of the family's, hidden 32 (word table 16 where that is its own width), no dropout."""
    words = tokenizer(family)
    preset: ArchSpec = next(iter(hub.own_family(family).presets.values()))
    own = family in ("electra", "albert")
    sizes = {
        "vocab": words.vocab_size, "hidden": 32, "layers": 2, "heads": 4, "feed_forward": 64,
        "width": 16 if own else 32, "positions": 128, "dropout": 0.0, "attention_dropout": 0.0,
    }  # fmt: skip
    sizes["decoder_layers"] = 2 if preset.decoder_layers else 0
    if preset.head_size is not None:
        sizes["head_size"] = 8
    return hub.create(family, replace(preset, **sizes | changes), tokenizer=words, seed=seed)


def store(
    folder: Path,
    words: Tokenizer | None = None,
    texts: Iterable[Sequence[str]] | None = None,
) -> TokenStore:
    """Documents as a token store, with the places where words and sentences begin."""
    words = words or tokenizer()
    with StoreWriter(folder, words.vocab_size, {}) as writer:
        for sentences in documents() if texts is None else texts:
            pieces = words.pieces(list(sentences))
            lengths = [len(piece.ids) for piece in pieces]
            offsets = np.concatenate([piece.offsets for piece in pieces])
            begins = all_word_starts(list(sentences), offsets, lengths)
            ids = np.concatenate([piece.ids for piece in pieces])
            writer.add(ids, begins, np.cumsum([0, *lengths[:-1]]))
    return TokenStore(folder)


def drawn_store(
    folder: Path,
    *,
    vocab: int,
    documents: int = 50,
    least: int = 200,
    most: int = 600,
    word: float = 2.0,
    sentence: float = 25.0,
    seed: int = 0,
) -> TokenStore:
    """Ids drawn at random, much text at little cost: to count with.

    Args:
        folder: where.
        vocab: of the ids; the first 10 (special tokens) are not drawn.
        documents: how many.
        least, most: tokens of one.
        word, sentence: mean number of tokens of each.
        seed: of everything.
    """
    generator = np.random.default_rng(seed)
    with StoreWriter(folder, vocab, {}) as writer:
        for _ in range(documents):
            length = int(generator.integers(least, most + 1))
            ids = generator.integers(10, vocab, length)
            begins = generator.random(length) < 1 / word
            starts = np.flatnonzero(generator.random(length) < 1 / sentence)
            writer.add(ids, begins, np.array([0, *starts[starts > 0]]))
    return TokenStore(folder)


def mixture(chosen: str | Chosen, of: Model, *, seed: int = 0) -> Mixture:
    """Objectives on a model: a name, or what a recipe has."""
    return _mixture.build({chosen: 1.0} if isinstance(chosen, str) else chosen, of, seed=seed)


@functools.cache
def fitting(*names: str) -> str:
    """The first family whose tiny model takes these objectives together.

    Raises:
        UserError: there is none; the last family's reason.
    """
    problem: UserError | None = None
    for family in LIKE:
        try:
            mixture(dict.fromkeys(names, 1.0), model(family))
        except UserError as error:
            problem = error
            continue
        return family
    assert problem is not None
    raise problem


def draft(
    mix: Mixture, chunks: Chunks, indices: Sequence[int] | Ints, *, seed: int = 0, epoch: int = 0
) -> tuple[Draft, Draft]:
    """Chunks before and after corruption."""
    noise = Noise(seed, epoch)
    clean = mix._layout.arrange(chunks, np.asarray(indices, np.int64), noise)
    changed = clean
    for part in mix.parts:
        changed = part.objective.corrupt(changed, noise)
    return clean, changed


def batch(
    mix: Mixture,
    text: TokenStore,
    *,
    length: int = 64,
    indices: Sequence[int] = range(8),
    seed: int = 0,
    epoch: int = 0,
) -> Batch:
    """Some chunks of a store as a batch."""
    chunks = mix.cut(text, mix.room(length), seed=seed, epoch=epoch)
    return mix.batch(chunks, np.array(indices, np.int64), Noise(seed, epoch))


def gradients(mix: Mixture) -> dict[str, torch.Tensor]:
    """Gradients by name, those that are there; then there are none."""
    found = {
        name: parameter.grad.clone()
        for name, parameter in mix.module.named_parameters()
        if parameter.grad is not None
    }
    mix.module.zero_grad()
    return found


def learn(
    mix: Mixture,
    text: TokenStore,
    *,
    steps: int = 30,
    length: int = 64,
    size: int = 16,
    lr: float = 3e-3,
    fixed: bool = False,
) -> list[float]:
    """Train; the losses of the steps.

    Args:
        mix: what trains.
        text: what on.
        steps, length, size, lr: as in a recipe.
        fixed: the first step's batch over and over.
    """
    batches = StoreBatches(text, mix, length=length, config=BatchConfig(size=size), seed=0)
    optimizer = torch.optim.Adam(mix.module.parameters(), lr=lr)
    mix.module.train()
    losses = []
    for step in range(steps):
        epoch, number = divmod(0 if fixed else step, batches.steps(0))
        torch.manual_seed(step)
        total = 0.0
        parts = batches.get(epoch, number)
        for part in parts:
            mix.expect(summed([mix.counts(one) for one in parts]))
            loss = mix(part)
            loss.total.backward()  # type: ignore[no-untyped-call]
            total += float(loss.total.detach())
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


def summed(counts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Counts of several micro-batches, added up."""
    return {name: sum(one[name] for one in counts) for name in counts[0]}
