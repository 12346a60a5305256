"""Static vectors: word2vec, GloVe and fastText as a model of one layer, the feature-based baseline.

Mikolov et al., "Distributed representations of words and phrases", NIPS 2013; Pennington et al., "GloVe",
EMNLP 2014; Bojanowski et al., "Enriching word vectors with subword information", TACL 2017. A word has
one vector wherever it stands. One that was never seen has the mean of the vectors of its parts, if the
file has such (fastText's ``.bin``), else zeros. Vectors do not train, unless the config says so.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.base.files import decode, open_binary
from jeoni.models import hub
from jeoni.models.config_file import read_spec
from jeoni.models.families import _vectors
from jeoni.models.families._subwords import Subwords
from jeoni.models.family import Family, Foreign, HeadStyle, Published
from jeoni.models.model import Model
from jeoni.models.spec import ArchSpec
from jeoni.models.weights import Row, row
from jeoni.nn.embeddings import FrozenTable
from jeoni.ops.dropout import Dropout
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.words import Token, WordTokenizer

WORDS = "words.txt"


@dataclass(frozen=True, kw_only=True)
class StaticSpec(ArchSpec):
    """A table. Its rows are words, then parts of words, then one for what is unknown.

    Attributes:
        words: rows that are words.
        parts: rows that parts of words are hashed to; 0: there are none.
        shortest: letters of a part, at least.
        longest: letters of a part, at most.
        lowercase: text is, as all words are.
        trainable: whether the vectors train.
    """

    layers: int = 0
    words: int
    parts: int = 0
    shortest: int = 0
    longest: int = 0
    lowercase: bool = False
    trainable: bool = False


FIXED: dict[str, Any] = {
    "heads": 1,
    "layers": 0,
    "feed_forward": 1,
    "segments": 0,
    "position_kind": "none",
}


class _Tables(nn.Module):
    def __init__(self, words: nn.Module) -> None:
        super().__init__()
        self.words = words


class StaticVectors(nn.Module):
    """A vector for each token, the mean of several rows where a token is a row of numbers.

    Args:
        spec: sizes.
    """

    def __init__(self, spec: StaticSpec) -> None:
        super().__init__()
        kind = nn.Embedding if spec.trainable else FrozenTable
        self.embeddings = _Tables(kind(spec.vocab, spec.hidden))
        self.dropout = Dropout(spec.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """``[N, H]``."""
        result: Tensor = self.dropout(self.states(batch)[0])
        return result

    def states(self, batch: Batch) -> list[Tensor]:
        """The only layer, ``[N, H]``."""
        ids = batch.ids
        if ids.dim() == 1:
            return [self.embeddings.words(ids)]
        there = (ids >= 0)[..., None]
        found = self.embeddings.words(ids.clamp(min=0)) * there
        return [found.sum(1) / there.sum(1)]


class Rows:
    """From a word to its row, or its rows.

    Args:
        words: in the order of the table.
        spec: says what else is in the table.
    """

    def __init__(self, words: list[str], spec: StaticSpec) -> None:
        self.words = words
        self.numbers = {word: number for number, word in enumerate(words)}
        self.unknown = spec.vocab - 1
        self.parts = (
            Subwords(spec.words, spec.parts, spec.shortest, spec.longest) if spec.parts else None
        )

    def __call__(self, word: str) -> Token:
        """A number; where there are parts, a list: the word, if it is known, and its parts."""
        number = self.numbers.get(word)
        if self.parts is None:
            return self.unknown if number is None else number
        known = [] if number is None else [number]
        return known + self.parts(word) or [self.unknown]

    def name(self, token: Any) -> str:
        """The word of a number; an unknown one is ``[UNK]``."""
        first = int(token if self.parts is None else token[0])
        return self.words[first] if first < len(self.words) else "[UNK]"


def open_words(folder: Path, spec: StaticSpec) -> Tokenizer:
    """The words beside a saved model.

    Raises:
        UserError: the file is missing, or is not of this model.
    """
    path = folder / WORDS
    with open_binary(path) as stream:
        words = decode(stream.read(), str(path)).removesuffix("\n").split("\n")
    if len(words) != spec.words:
        raise UserError(f"{path} has {len(words)} words, config.json says {spec.words}")
    return _tokenizer(words, spec)


def _tokenizer(words: list[str], spec: StaticSpec) -> Tokenizer:
    rows = Rows(words, spec)
    content = ("\n".join(words) + "\n").encode()
    return WordTokenizer(
        rows, rows.name, size=spec.vocab, lowercase=spec.lowercase, files={WORDS: content}
    )


def read(
    path: Path,
    *,
    top: int | None = None,
    words: Collection[str] | None = None,
    trainable: bool = False,
) -> Published:
    """Vectors from a file: word2vec's text or binary, GloVe's text, fastText's ``.vec`` or ``.bin``.

    ``.gz`` and ``.zst`` are decompressed. If all words are in lower case, so will be all text.

    Args:
        path: the file.
        top: only so many first words, which are the most frequent ones.
        words: only these; of fastText's ``.bin`` all of them, whether known or not, without parts.
        trainable: whether the vectors are to train.

    Raises:
        UserError: the file is cut off, damaged, not UTF-8, has rows of different widths, or a word
            twice; the message names file and line.
    """
    found = _vectors.read(path, top=top, words=words)
    parts = found.parts
    config = {
        "model_type": "static",
        "vocab_size": len(found.table),
        "hidden_size": found.table.shape[1],
        "num_words": len(found.words),
        "num_parts": parts.rows if parts else 0,
        "shortest_part": parts.shortest if parts else 0,
        "longest_part": parts.longest if parts else 0,
        "lowercase": not any(word != word.lower() for word in found.words),
        "trainable": trainable,
    }
    spec = read_spec(FAMILY, config, str(path))
    assert isinstance(spec, StaticSpec)
    tensors = {"vectors.weight": torch.from_numpy(found.table)}
    return Published(path, config, lambda: tensors, _tokenizer(found.words, spec))


def load(
    path: str | Path,
    *,
    top: int | None = None,
    words: Collection[str] | None = None,
    trainable: bool = False,
) -> Model:
    """A model from a file of vectors; see ``read``. Without limits, ``jeoni.load(path)`` does the same."""
    found = read(Path(path).expanduser(), top=top, words=words, trainable=trainable)
    return hub.from_published(FAMILY, found)


FAMILY = Family(
    name="static",
    presets={},
    spec=StaticSpec,
    fixed=FIXED,
    config={
        "vocab": "vocab_size",
        "hidden": "hidden_size",
        "words": "num_words",
        "parts": "num_parts",
        "shortest": "shortest_part",
        "longest": "longest_part",
        "lowercase": "lowercase",
        "trainable": "trainable",
        "dropout": "dropout",
        "init_range": "initializer_range",
    },
    prefix="",
    body=(Row("embeddings.words.weight", ("vectors.weight",)),),
    heads={"span": row("out", "qa_outputs"), "classification": row("out", "classifier")},
    classification=HeadStyle(activation=None, token="mean"),
    build=StaticVectors,
    architectures={
        frozenset(): "StaticModel",
        frozenset({"span"}): "StaticForQuestionAnswering",
        frozenset({"classification"}): "StaticForSequenceClassification",
    },
    tokenizer="",
    open_tokenizer=open_words,
    foreign=Foreign(knows=_vectors.knows, read=read),
    alone=True,
)
