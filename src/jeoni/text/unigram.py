"""Learning a Unigram vocabulary: expectation maximization over all ways to cut each word.

Kudo, "Subword regularization", ACL 2018, section 3.2, with the details of his SentencePiece: candidates
are the strings that occur again and again; of those, the ones that are missed least are kept, round
after round. Written for arrays: a step handles all words at once that have a piece of one length
ending at one place. Unlike the Rust library's trainer, it gives the same result every time.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LONGEST = 16  # characters of a piece
_WORD = 32  # longer words are learned from in parts
_MOST_WORDS = 4_000_000  # counted at a time; beyond, the rarest so far are forgotten
_MOST_CHARACTERS = 4_000_000  # of different words that are learned from, the most frequent first
_SHRINK = 0.75  # of the pieces that stay in a round
_SEEDS = 20  # candidates for each piece that is wanted


def count_words(words: Iterable[str]) -> Counter[str]:
    """How often each word occurs; bounded, so that rare words are lost from very long texts."""
    counts: Counter[str] = Counter()
    for word in words:
        counts[word] += 1
        if len(counts) > _MOST_WORDS:
            # To half: a table that stays full would forget each new word at once.
            counts = Counter(dict(counts.most_common(_MOST_WORDS // 2)))
    return counts


def learn(counts: Mapping[str, int], size: int) -> list[tuple[str, float]]:
    """Pieces with their log probabilities, the most probable first.

    Args:
        counts: words with how often they occur.
        size: pieces, at most. All characters of the words are among them, as many as there is room.
    """
    lattice = _Lattice.of(_parts(counts), seeds=max(_SEEDS * size, 100_000))
    scores = lattice.frequencies
    while True:
        for _ in range(2):
            lattice, scores = _step(lattice, scores)
        if len(lattice.pieces) <= size:
            break
        keep = max(size, int(_SHRINK * len(lattice.pieces)))
        lattice, scores = lattice.only(_least_missed(lattice, scores, keep), scores)
    logs = np.log(np.maximum(scores, 1e-12) / scores.sum())
    return sorted(zip(lattice.pieces, logs.tolist(), strict=True), key=lambda p: (-p[1], p[0]))


def _parts(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Words in parts of bounded length, the longest first, with their counts."""
    parts: Counter[str] = Counter()
    room = _MOST_CHARACTERS
    for word in sorted(counts, key=lambda word: (-counts[word], word)):
        room -= len(word)
        if room < 0 and parts:
            break
        for start in range(0, len(word), _WORD):
            parts[word[start : start + _WORD]] += counts[word]
    return sorted(parts.items(), key=lambda part: (-len(part[0]), part[0]))


@dataclass(frozen=True)
class _Edges:
    """Pieces of one length that end at one place of their words.

    Attributes:
        end: place in the word.
        length: of the pieces.
        words: numbers of the words.
        pieces: numbers of the pieces, one for each word.
    """

    end: int
    length: int
    words: Ints
    pieces: Ints


@dataclass(frozen=True)
class _Lattice:
    """All ways to cut all words.

    Attributes:
        pieces: the strings.
        frequencies: how often each occurs in the words.
        counts: how often each word occurs.
        lengths: characters of each word, falling.
        edges: where which piece fits, by rising end.
    """

    pieces: list[str]
    frequencies: Floats
    counts: Floats
    lengths: Ints
    edges: list[_Edges]

    @classmethod
    def of(cls, words: list[tuple[str, int]], *, seeds: int) -> "_Lattice":
        """The lattice of all characters, and of the strings that repeat."""
        counts = np.array([count for _, count in words], np.float64)
        lengths = np.array([len(word) for word, _ in words], np.int64)
        text = np.frombuffer("".join(w for w, _ in words).encode("utf-32-le"), np.uint32)
        levels = list(_repeats(text.astype(np.int64), lengths, counts))
        chosen = _chosen(levels, seeds)
        joined = "".join(word for word, _ in words)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        owner = np.repeat(np.arange(len(words)), lengths)
        pieces: list[str] = []
        edges: list[_Edges] = []
        frequencies = []
        for length, (level, keep) in enumerate(zip(levels, chosen, strict=True), 1):
            number = np.full(len(keep), -1)
            number[keep] = np.arange(keep.sum()) + len(pieces)
            pieces += [joined[place : place + length] for place in level.first[keep].tolist()]
            frequencies.append(level.frequencies[keep])
            fits = keep[level.strings]
            places, strings = level.places[fits], number[level.strings[fits]]
            ends = places - starts[places] + length
            for end in np.unique(ends).tolist():
                at = ends == end
                edges.append(_Edges(end, length, owner[places[at]], strings[at]))
        edges.sort(key=lambda edge: (edge.end, edge.length))
        return cls(pieces, np.concatenate(frequencies), counts, lengths, edges)

    def only(self, keep: npt.NDArray[np.bool_], scores: Floats) -> tuple["_Lattice", Floats]:
        """The lattice, and the scores, of some of the pieces."""
        number = np.where(keep, np.cumsum(keep) - 1, -1)
        edges = []
        for edge in self.edges:
            fits = keep[edge.pieces]
            if fits.any():
                kept = number[edge.pieces[fits]]
                edges.append(_Edges(edge.end, edge.length, edge.words[fits], kept))
        pieces = [piece for piece, kept in zip(self.pieces, keep.tolist(), strict=True) if kept]
        frequencies = self.frequencies[keep]
        return _Lattice(pieces, frequencies, self.counts, self.lengths, edges), scores[keep]

    def expected(self, probabilities: Floats) -> Floats:
        """How often each piece is expected in a cut, all cuts weighed by their probability."""
        ahead = np.zeros((_WORD + 1, len(self.counts)))
        back = np.zeros((_WORD + 1, len(self.counts)))
        ahead[0] = 1
        back[self.lengths, np.arange(len(self.lengths))] = 1
        for e in self.edges:
            ahead[e.end, e.words] += ahead[e.end - e.length, e.words] * probabilities[e.pieces]
        for e in reversed(self.edges):
            back[e.end - e.length, e.words] += back[e.end, e.words] * probabilities[e.pieces]
        weights = self.counts / np.maximum(back[0], 1e-300)
        total = np.zeros(len(self.pieces))
        for e in self.edges:
            through = ahead[e.end - e.length, e.words] * back[e.end, e.words] * weights[e.words]
            total += np.bincount(e.pieces, through * probabilities[e.pieces], len(total))
        return total


@dataclass(frozen=True)
class _Level:
    """Strings of one length that repeat.

    Attributes:
        places: where each begins in the text.
        strings: which it is, by place.
        first: where each string occurs first.
        frequencies: how often each occurs.
        extended: whether a string is always followed by the same character.
    """

    places: Ints
    strings: Ints
    first: Ints
    frequencies: Floats
    extended: npt.NDArray[np.bool_]


def _repeats(text: Ints, lengths: Ints, counts: Floats) -> Iterator[_Level]:
    """Strings of 1, 2, ... characters: each is a shorter one and a character after it."""
    left = np.concatenate([np.arange(n, 0, -1) for n in lengths.tolist()])  # to the word's end
    weights = np.repeat(counts, lengths)
    places, before = np.arange(len(text)), np.zeros(len(text), np.int64)
    last: _Level | None = None
    for length in range(1, LONGEST + 1):
        fits = left[places] >= length
        places, before = places[fits], before[fits]
        keys = before << 21 | text[places + length - 1]
        _, first, strings = np.unique(keys, return_index=True, return_inverse=True)
        frequencies: Floats = np.bincount(strings, weights[places]).astype(np.float64)
        if last is not None:
            same = frequencies == last.frequencies[before[first]]
            last.extended[before[first][same]] = True
            yield last
        often = (frequencies >= 2) | (length == 1)
        number = np.cumsum(often) - 1
        stays = often[strings]
        first = places[first][often]
        places, strings = places[stays], number[strings[stays]]
        if not len(places):
            return
        last = _Level(places, strings, first, frequencies[often], np.zeros(len(first), np.bool_))
        before = strings
    if last is not None:
        yield last


def _chosen(levels: list[_Level], seeds: int) -> list[npt.NDArray[np.bool_]]:
    """Which strings begin as pieces: all characters, and what takes up most of the text."""
    taken = [level.frequencies * n * ~level.extended for n, level in enumerate(levels, 1)]
    taken[0][:] = np.inf
    everything = np.concatenate(taken)
    order = np.argsort(-everything, kind="stable")[:seeds]
    keep = np.zeros(len(everything), np.bool_)
    keep[order] = everything[order] > 0
    return np.split(keep, np.cumsum([len(one) for one in taken])[:-1])


def _step(lattice: _Lattice, scores: Floats) -> tuple[_Lattice, Floats]:
    """One round of expectation maximization; pieces that are hardly used go."""
    from scipy.special import digamma

    expected = lattice.expected(scores / scores.sum())
    single = np.array([len(piece) == 1 for piece in lattice.pieces])
    lattice, expected = lattice.only((expected >= 0.5) | single, expected)
    expected = np.maximum(expected, 0.5)
    # A sparse prior on the counts, as variational Bayes has it (SentencePiece's "Bayesianified EM").
    return lattice, np.exp(digamma(expected) - digamma(expected.sum()))


def _least_missed(lattice: _Lattice, scores: Floats, keep: int) -> npt.NDArray[np.bool_]:
    """The pieces without which the text would be the most improbable, and all single characters."""
    logs = dict(zip(lattice.pieces, np.log(scores / scores.sum()).tolist(), strict=True))
    expected = lattice.expected(scores / scores.sum())
    loss = np.array(
        [
            math.inf if len(piece) == 1 else times * (logs[piece] - _best_cut(piece, logs))
            for piece, times in zip(lattice.pieces, expected.tolist(), strict=True)
        ]
    )
    # What single characters there is no room for are the rarest.
    single = np.isinf(loss)
    loss[single] = 1e200 * (1 + scores[single])
    kept = np.zeros(len(loss), np.bool_)
    kept[np.argsort(-np.round(loss, 9), kind="stable")[:keep]] = True
    return kept


def _best_cut(piece: str, logs: Mapping[str, float]) -> float:
    """Log probability of the best way to make up a piece from others."""
    size = len(piece)
    best = [0.0] + [-math.inf] * size
    for end in range(1, size + 1):
        for start in range(end == size, end):
            log = logs.get(piece[start:end])
            if log is not None and best[start] + log > best[end]:
                best[end] = best[start] + log
    return best[size]
