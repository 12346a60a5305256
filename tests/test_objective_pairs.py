"""Next sentence and sentence order: where the two texts come from, how they are laid out."""

from pathlib import Path

import numpy as np
import pytest

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import TokenStore
from pair_texts import KINDS, NEXT, ORDER, drafts, many_documents, numbered, texts


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return many_documents(tmp_path_factory.mktemp("many") / "store")


@pytest.mark.parametrize("kind", KINDS)
def test_half_and_half(kind: str, many: TokenStore) -> None:
    draft, chunks = drafts(kind, many)
    asked = draft.targets[kind] >= 0
    share = draft.targets[kind][asked].mean()
    assert set(draft.targets[kind][asked].tolist()) == {0, 1}
    assert abs(share - 0.5) < 4 * 0.5 / len(chunks) ** 0.5
    fewer, _ = drafts(kind, many, negative=0.2)
    assert abs(fewer.targets[kind][asked].mean() - 0.2) < 4 * 0.4 / len(chunks) ** 0.5


def test_positives_are_as_they_were_and_negatives_from_elsewhere(many: TokenStore) -> None:
    draft, chunks = drafts(NEXT, many)
    owner = np.searchsorted(many.documents, np.arange(len(many)), side="right") - 1
    sources = set()
    for number, (first, second) in enumerate(texts(draft)):
        document = chunks.documents[number]
        assert (np.diff(first) == 1).all()
        assert (np.diff(second) == 1).all()
        assert first[0] == chunks.starts[number]
        assert set(owner[first].tolist()) == {document}
        assert len(set(owner[second].tolist())) == 1
        if draft.targets[NEXT][number] == 0:
            assert second[0] == first[-1] + 1
            assert second[-1] + 1 == chunks.stops[number]
        else:
            assert owner[second[0]] != document
            sources.add(int(owner[second[0]]))
    assert len(sources) > 100


def test_swapped_texts_are_whole_chunks(many: TokenStore) -> None:
    draft, chunks = drafts(ORDER, many)
    for number, (first, second) in enumerate(texts(draft)):
        swapped = draft.targets[ORDER][number] == 1
        early, late = (second, first) if swapped else (first, second)
        together = np.concatenate([early, late])
        expected = np.arange(chunks.starts[number], chunks.stops[number])
        assert (together == expected).all()
        assert min(len(first), len(second)) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_ends_of_texts_tell_nothing(kind: str, many: TokenStore) -> None:
    """In both classes a text ends where a sentence does: half of one would be known by its missing mark."""
    draft, chunks = drafts(kind, many)
    ends = set(many.sentences.tolist())
    seen = set()
    for number, (first, second) in enumerate(texts(draft)):
        if len(chunks.breaks(int(chunks.starts[number]), int(chunks.stops[number]))):
            whole = int(first[-1]) + 1 in ends and int(second[-1]) + 1 in ends
            seen.add((int(draft.targets[kind][number]), whole))
    assert seen == {(0, True), (1, True)}


@pytest.mark.parametrize("kind", KINDS)
def test_texts_begin_where_sentences_do(kind: str, many: TokenStore) -> None:
    draft, chunks = drafts(kind, many)
    starts = set(many.sentences.tolist())
    for number, (first, second) in enumerate(texts(draft)):
        early = second if kind == ORDER and draft.targets[kind][number] == 1 else first
        late = first if early is second else second
        if len(chunks.breaks(int(chunks.starts[number]), int(chunks.stops[number]))):
            assert int(late[0]) in starts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["bert", "albert", "roberta", "xlnet"])
def test_the_template_is_the_tokenizer_s(kind: str, family: str, tmp_path: Path) -> None:
    words = parts.tokenizer(family)
    text = parts.store(tmp_path / "store", words)
    mix = parts.mixture(kind, parts.model(family))
    chunks = Chunks(text, mix.room(40))
    draft, _ = parts.draft(mix, chunks, np.arange(12))
    for first, length in zip(draft.firsts.tolist(), draft.lengths.tolist(), strict=True):
        own = slice(first, first + length)
        special = draft.special[own]
        runs = np.split(np.arange(length), np.flatnonzero(np.diff(special)) + 1)
        left, right = (draft.ids[own][run] for run in runs if not special[run[0]])
        ids, segments = words.build_pair(left, right)
        assert draft.ids[own].tolist() == ids
        assert draft.segments[own].tolist() == segments
        start = words.text_start(len(left))
        assert not special[start]
        assert special[start - 1]


def test_words_begin_where_texts_do(many: TokenStore) -> None:
    for kind in KINDS:
        draft, _ = drafts(kind, many)
        assert draft.words[draft.special].all()
        after = np.flatnonzero(draft.special[:-1] & ~draft.special[1:]) + 1
        assert draft.words[after].all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_of_seed_epoch_and_example(kind: str, many: TokenStore) -> None:
    mix = parts.mixture(kind, parts.model())
    chunks = Chunks(many, mix.room(64))
    indices = np.arange(40)
    base, _ = parts.draft(mix, chunks, indices)
    shuffled, _ = parts.draft(mix, chunks, indices[::-1])
    assert (base.targets[kind] == shuffled.targets[kind][::-1]).all()
    for number, (first, second) in enumerate(texts(base)):
        other = texts(shuffled)[39 - number]
        assert (other[0] == first).all()
        assert (other[1] == second).all()
    for changed in ({"epoch": 1}, {"seed": 1}):
        again, _ = parts.draft(mix, chunks, indices, **changed)
        assert (base.targets[kind] != again.targets[kind]).any()


def test_one_document_is_not_enough(tmp_path: Path) -> None:
    store = numbered(tmp_path / "store", [200])
    with pytest.raises(UserError, match=r"store: one document.*\n?.*") as caught:
        drafts(NEXT, store)
    assert "blank lines" in str(caught.value.hint)
    drafts(ORDER, store)


def test_sentences_alone_have_no_order(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="each document is one sentence"):
        drafts(ORDER, numbered(tmp_path / "store", [13, 12, 13]))


def test_of_two_documents_the_other_is_taken(tmp_path: Path) -> None:
    """Shorter than what is to be filled: all of it."""
    store = numbered(tmp_path / "store", [400, 9])
    draft, chunks = drafts(NEXT, store, negative=0.9)
    for number, (_, second) in enumerate(texts(draft)):
        if draft.targets[NEXT][number] and chunks.documents[number] == 0:
            assert second.min() >= 400
            wanted = chunks.lengths[number] - len(texts(draft)[number][0])
            assert len(second) <= 9
            assert len(second) == 9 or wanted < 9


def test_class_0_is_what_transformers_calls_0(many: TokenStore) -> None:
    """BERT: ``0 indicates sequence B is a continuation of sequence A``; ALBERT: 0 is the original order."""
    draft, _ = drafts(NEXT, many)
    for label, (first, second) in zip(draft.targets[NEXT].tolist(), texts(draft), strict=True):
        assert (label == 0) == (second[0] == first[-1] + 1)
    draft, _ = drafts(ORDER, many)
    assert {0, 1} <= set(draft.targets[ORDER].tolist())
    for label, (first, second) in zip(draft.targets[ORDER].tolist(), texts(draft), strict=True):
        if label >= 0:  # single sentences are not asked
            assert (label == 0) == (second[0] > first[0])
