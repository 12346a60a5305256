"""Next sentence and sentence order: where texts are cut, and how they fill a sequence."""

from pathlib import Path

import numpy as np
import pytest

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Sentences
from jeoni.data.token_store import TokenStore
from jeoni.objectives import next_sentence
from jeoni.objectives._draft import Noise
from jeoni.objectives._pairs import split
from pair_texts import KINDS, NEXT, ORDER, drafts, many_documents, numbered, texts


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return many_documents(tmp_path_factory.mktemp("many") / "store")


@pytest.mark.parametrize("room", [5, 13, 30, 61])
def test_chunks_are_whole_sentences(room: int, many: TokenStore) -> None:
    """As many as there is room for; longer ones are cut; nothing is left out but what is too short."""
    chunks = Sentences(many, room, epoch=1, least=1)
    edges = np.append(chunks.starts, len(many))
    assert (chunks.stops == edges[1:]).all()
    assert edges[0] == 0
    assert chunks.lengths.max() <= room
    more = np.searchsorted(many.sentences, chunks.stops[:-1], side="right")
    fuller = chunks.lengths[:-1] + many.sentences[more] - chunks.stops[:-1]
    first = np.isin(chunks.starts[:-1], many.documents)
    last = np.isin(chunks.stops[:-1], many.documents)
    assert (first | last | (fuller > room)).all()
    assert np.isin(many.documents, edges).all()
    ends = np.isin(edges, many.sentences)
    assert ends.all() or room < 13
    owner = np.searchsorted(many.documents, chunks.starts, side="right") - 1
    assert (owner == chunks.documents).all()
    assert (Sentences(many, room, epoch=1).lengths >= min(8, room)).all()


def test_cuts_move_from_epoch_to_epoch(many: TokenStore) -> None:
    long = np.flatnonzero(np.diff(many.documents) > 200)
    seen = [set(Sentences(many, 61, epoch=epoch).starts.tolist()) for epoch in range(6)]
    inner = set.union(*seen) - set(many.documents.tolist())
    assert len(inner) > 3 * len(long)
    assert all(len(inner - one) > len(long) for one in seen)


def test_documents_are_cut_from_their_beginning_or_from_their_end(many: TokenStore) -> None:
    """Whole chunks and a rest, which is now the end, now the beginning; nothing is left out."""
    seen = set()
    for epoch in range(2):
        chunks = Chunks(many, 61, epoch=epoch, least=1)
        assert (chunks.stops == np.append(chunks.starts[1:], len(many))).all()
        owner = np.searchsorted(many.documents, chunks.starts, side="right") - 1
        assert (owner == chunks.documents).all()
        assert (chunks.stops <= many.documents[owner + 1]).all()
        for rest in np.flatnonzero(chunks.lengths < 61).tolist():
            first = chunks.starts[rest] == many.documents[owner[rest]]
            last = chunks.stops[rest] == many.documents[owner[rest] + 1]
            assert first or last
            seen |= {(int(owner[rest]), "first")} if not last else set()
            seen |= {(int(owner[rest]), "last")} if not first else set()
        kept = Chunks(many, 61, epoch=epoch).lengths
        assert sorted(kept) == sorted(n for n in chunks.lengths if n >= 8)
    assert 2 * sum((n, "last") in seen for n, side in seen if side == "first") > 50
    assert Chunks(many, 5).lengths.min() == 5  # shorter than what is left out of longer ones


def test_sentences_begin_after_a_chunk_does_and_before_it_ends(tmp_path: Path) -> None:
    chunks = Chunks(numbered(tmp_path / "store", [50], sentence=10), 64)
    assert chunks.breaks(10, 30).tolist() == [20]
    assert chunks.breaks(9, 31).tolist() == [10, 20, 30]


def test_splits_are_not_near_the_ends_if_there_is_a_choice(many: TokenStore) -> None:
    chunks = Chunks(many, 61)
    indices = np.arange(len(chunks))
    middles, sentences = split(chunks, indices, Noise(0, 0))
    for index, middle in zip(indices.tolist(), middles.tolist(), strict=True):
        start, stop = int(chunks.starts[index]), int(chunks.stops[index])
        assert start < middle < stop
        places = chunks.breaks(start, stop)
        assert sentences[index] == (len(places) > 0)
        edge = min(8, (stop - start) // 4)
        choice = [p for p in places if start + edge <= p <= stop - edge]
        if choice:
            assert middle in choice
    whole = chunks.lengths == 61
    spread = (middles - chunks.starts[indices])[whole]
    assert len(set(spread.tolist())) > 30  # sentences begin anywhere in a chunk


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("word", [1, 3, 1000])
def test_without_sentences_words_are_not_cut(kind: str, word: int, tmp_path: Path) -> None:
    """Where no sentence begins in a chunk it is cut at words (in a word if it has no other).

    Its halves are not swapped, and it is not asked about.
    """
    store = numbered(tmp_path / "store", [60, 130, 50, 61], sentence=45, word=word)
    begins = store.words(0, len(store))
    draft, chunks = drafts(kind, store, 40)
    seen = set()
    for number, (first, second) in enumerate(texts(draft)):
        if len(chunks.breaks(int(chunks.starts[number]), int(chunks.stops[number]))):
            continue
        seen.add(int(draft.targets[kind][number]))
        assert len(first)
        assert len(second)
        early = second if kind == ORDER and draft.targets[kind][number] == 1 else first
        late = first if early is second else second
        if word < 1000:
            assert begins[late[0]]
        elif kind == ORDER:
            assert len(early) == chunks.lengths[number] // 2
    assert seen == ({0, 1} if kind == NEXT else {-1})


def test_documents_no_longer_than_a_pair_fill_it_too(tmp_path: Path) -> None:
    """Wherever the token lies that was drawn."""
    draft, chunks = drafts(NEXT, numbered(tmp_path / "store", [62] * 80, sentence=5))
    assert (np.abs(draft.lengths - 3 - chunks.lengths) <= 4).all()


def test_text_from_elsewhere_is_as_long_as_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first draw, also where it is near the end of its document."""
    monkeypatch.setattr(next_sentence, "_DRAWS", 1)
    store = numbered(tmp_path / "store", [62] * 20, sentence=5)
    for seed in range(40):
        begin, stop = next_sentence._elsewhere(
            store, 3, wanted=30, most=40, sentence=True, generator=np.random.default_rng(seed)
        )
        assert abs(stop - begin - 30) <= 4


@pytest.mark.parametrize("length", [24, 64, 128])
def test_both_classes_are_filled_alike(length: int, many: TokenStore) -> None:
    """A negative is as long as the chunk that it was made from: its length tells nothing."""
    draft, chunks = drafts(NEXT, many, length)
    off = draft.lengths - 3 - chunks.lengths
    assert (np.abs(off) <= 4).mean() > 0.95
    assert abs(off.mean()) < 0.5
    assert (draft.lengths <= length).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_room_for_two(kind: str) -> None:
    mix = parts.mixture(kind, parts.model())
    assert mix.room(5) == 2
    with pytest.raises(UserError, match="4 tokens have no room for two texts"):
        mix.room(4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_smallest_room(kind: str, tmp_path: Path) -> None:
    draft, _ = drafts(kind, numbered(tmp_path / "store", [30, 2, 50]), 5)
    assert all(len(first) == len(second) == 1 for first, second in texts(draft))
