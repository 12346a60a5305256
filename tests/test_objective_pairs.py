"""Next sentence and sentence order: where texts come from, how they are cut, laid out and told apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy

import objective_parts as parts
import peers
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Sentences
from jeoni.data.token_store import StoreWriter, TokenStore
from jeoni.models import hub
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._mixture import Mixture
from jeoni.objectives._pairs import split

NEXT, ORDER = "next_sentence", "sentence_order"
KINDS = [NEXT, ORDER]


def numbered(folder: Path, lengths: list[int], *, sentence: int = 13, word: int = 2) -> TokenStore:
    """A store whose ids say where they are: token ``i`` of all has id ``i + 10``."""
    start = 10
    with StoreWriter(folder, 10 + sum(lengths), {}) as writer:
        for length in lengths:
            places = np.arange(length)
            sentences = places[:: sentence or length]
            writer.add(start + places, places % word == 0, sentences)
            start += length
    return TokenStore(folder)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    lengths = np.random.default_rng(0).integers(20, 400, 150).tolist()
    return numbered(tmp_path_factory.mktemp("many") / "store", lengths)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("real") / "store")


def drafts(
    kind: str, store: TokenStore, length: int = 64, epoch: int = 0, **settings: Any
) -> tuple[Draft, Chunks]:
    mix = parts.mixture({kind: settings}, parts.model())
    chunks = mix.cut(store, mix.room(length), epoch=epoch)
    return parts.draft(mix, chunks, np.arange(len(chunks)), epoch=epoch)[0], chunks


def texts(draft: Draft) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Places in the store of the tokens of both texts of each sequence."""
    found = []
    for first, length in zip(draft.firsts.tolist(), draft.lengths.tolist(), strict=True):
        own = slice(first, first + length)
        text = ~draft.special[own]
        ids, segments = draft.ids[own] - 10, draft.segments[own]
        found.append((ids[text & (segments == 0)], ids[text & (segments == 1)]))
    return found


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


@pytest.mark.parametrize("length", [24, 64, 128])
def test_both_classes_are_filled_alike(length: int, many: TokenStore) -> None:
    """A negative is as long as the chunk that it was made from: its length tells nothing."""
    draft, chunks = drafts(NEXT, many, length)
    off = draft.lengths - 3 - chunks.lengths
    assert (np.abs(off) <= 4).mean() > 0.95
    assert abs(off.mean()) < 0.5
    assert (draft.lengths <= length).all()


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


def test_documents_no_longer_than_a_pair_fill_it_too(tmp_path: Path) -> None:
    """Wherever the token lies that was drawn."""
    draft, chunks = drafts(NEXT, numbered(tmp_path / "store", [62] * 80, sentence=5))
    assert (np.abs(draft.lengths - 3 - chunks.lengths) <= 4).all()


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


def test_a_single_sentence_is_not_asked_about(real: TokenStore) -> None:
    """Loss and figures are those of the others; where there are none, the loss is 0."""
    mix = parts.mixture({ORDER: 1.0}, parts.model())
    chunks = mix.cut(real, mix.room(24))
    batch = mix.batch(chunks, np.arange(40), Noise(0, 0))
    truth = batch.targets[ORDER]
    asked = truth >= 0
    ends = zip(chunks.starts.tolist(), chunks.stops.tolist(), strict=True)
    several = [len(chunks.breaks(start, stop)) > 0 for start, stop in ends]
    assert asked.tolist() == several[:40]
    assert 0 < int(asked.sum()) < 40
    assert mix.counts(batch)[f"{ORDER}/0"] == float(asked.sum())
    mix.module.eval()
    loss = mix(batch)
    logits = mix.model.heads[ORDER](mix.model(batch), batch)
    assert loss.total.item() == pytest.approx(cross_entropy(logits[asked], truth[asked]).item())
    assert loss.metrics[f"{ORDER}_accuracy"][1] == float(asked.sum())
    alone = mix.batch(chunks, np.flatnonzero(~np.array(several))[:3], Noise(0, 0))
    assert mix(alone).total.item() == 0


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


@pytest.mark.parametrize("kind", KINDS)
def test_decoders_are_refused(kind: str) -> None:
    for family in ("gpt2", "t5"):
        with pytest.raises(UserError, match=f"{kind}: the model must see both"):
            parts.mixture(kind, parts.model(family))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{"negative": 0}, {"negative": 1}, {"share": 0.5}])
def test_settings_out_of_range(kind: str, settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=rf"objectives\.{kind}"):
        parts.mixture({kind: settings}, parts.model())


@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_by_cause(kind: str, real: TokenStore) -> None:
    mix = parts.mixture(kind, parts.model())
    batch = parts.batch(mix, real, indices=range(30))
    truth = batch.targets[kind]
    asked = float((truth >= 0).sum())
    mix.module.eval()
    head: Any = mix.model.heads[kind]
    for said in (0, 1):  # a head that always says the same
        with torch.no_grad():
            head.out.weight.zero_()
            head.out.bias.copy_(torch.tensor([1.0, 0.0] if said == 0 else [0.0, 1.0]))
        figures = mix(batch).metrics
        yes, no = float((truth == 0).sum()), float((truth == 1).sum())
        assert figures[f"{kind}_accuracy"] == ((yes, no)[said], asked)
        assert figures[f"{kind}_accuracy_positive"] == (yes * (1 - said), yes)
        assert figures[f"{kind}_accuracy_negative"] == (no * said, no)
    mix.module.train()
    assert mix(batch).metrics.keys() == {f"{kind}_loss"}


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns(kind: str, tmp_path: Path) -> None:
    few = parts.store(tmp_path / "store", texts=parts.documents()[:6])
    mix = parts.mixture(kind, parts.model())
    losses = parts.learn(mix, few, steps=30, size=16, length=48, fixed=True)
    assert losses[-1] < 0.2 < losses[0]


# Several objectives together


def micro_batches(mix: Mixture, store: TokenStore, cuts: list[int]) -> list[Batch]:
    order = np.split(np.arange(cuts[-1]), cuts[:-1])
    return [parts.batch(mix, store, indices=part.tolist(), length=48) for part in order]


@pytest.mark.parametrize(
    "pair", [("masked_lm", NEXT), (ORDER, "masked_lm"), (ORDER, "span_boundary")]
)
@pytest.mark.parametrize("cuts", [[12], [1, 4, 12], [5, 6, 7, 12]])
def test_the_mixture_is_the_weighted_sum_of_means(
    pair: tuple[str, str], cuts: list[int], real: TokenStore
) -> None:
    """Gradients and loss are those of two plain losses over one global batch, however it is cut."""
    weights = dict(zip(pair, (0.7, 1.3), strict=True))
    mix = parts.mixture(weights, parts.model())
    mix.module.train()
    whole = parts.batch(mix, real, indices=range(12), length=48)
    plain = sum(
        (weights[name] * mean for name in pair for mean in plain_means(mix, name, whole)),
        torch.zeros(()),
    )
    plain.backward()
    expected = parts.gradients(mix)
    batches = micro_batches(mix, real, cuts)
    mix.expect(parts.summed([mix.counts(batch) for batch in batches]))
    losses = [mix(batch) for batch in batches]
    for loss in losses:
        loss.total.backward()
    assert sum(loss.total.item() for loss in losses) == pytest.approx(plain.item(), rel=1e-5)
    assert sum(loss.count for loss in losses) == pytest.approx(1.0)
    found = parts.gradients(mix)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert torch.allclose(gradient, expected[name], atol=2e-6), name


def plain_means(mix: Mixture, name: str, batch: Batch) -> list[torch.Tensor]:
    """Means of an objective's losses, one sequence after the other, with whole logits."""
    model, targets = mix.model, batch.targets
    words = model.backbone.embeddings.words.weight
    hidden = model(batch)
    if name in KINDS:
        logits = model.heads[name](hidden, batch)
        return [cross_entropy(logits, targets[name], ignore_index=-1)]
    own = model.heads["masked_lm"](hidden, words)
    masked = cross_entropy(own[targets["masked"]], targets["original"])
    if name == "masked_lm":
        return [masked]
    around = (targets["span_left"], targets["span_right"], targets["span_place"])
    outer = model.heads["span_boundary"](hidden, *around, words)
    return [masked, cross_entropy(outer, targets["original"][targets["span_inside"]])]


@pytest.mark.parametrize("other", ["masked_lm", "span_boundary"])
@pytest.mark.parametrize("kind", KINDS)
def test_masking_leaves_the_pair_as_it_is(kind: str, other: str, real: TokenStore) -> None:
    mix = parts.mixture({other: 1.0, kind: 1.0}, parts.model())
    chunks = Chunks(real, mix.room(48))
    clean, changed = parts.draft(mix, chunks, np.arange(40))
    places = changed.targets["masked"]
    assert not clean.special[places].any()
    assert (clean.segments == changed.segments).all()
    restored = changed.ids.copy()
    restored[places] = changed.targets["original"]
    assert (restored == clean.ids).all()
    both = np.bincount(clean.segments[places], minlength=2)
    assert both.min() > 0


def test_two_layouts_are_refused() -> None:
    with pytest.raises(UserError, match="next_sentence and sentence_order cannot be combined"):
        parts.mixture({NEXT: 1.0, ORDER: 1.0}, parts.model())
    with pytest.raises(UserError, match="masked_lm and span_boundary cannot be combined"):
        parts.mixture({"masked_lm": 1.0, "span_boundary": 1.0}, parts.model())


# Files


@pytest.mark.parametrize(
    ("family", "kind", "architecture"),
    [("bert", NEXT, "BertForPreTraining"), ("albert", ORDER, "AlbertForPreTraining")],
)
def test_saved_models_load_in_transformers(
    family: str, kind: str, architecture: str, tmp_path: Path
) -> None:
    text = parts.store(tmp_path / "store", parts.tokenizer(family))
    mix = parts.mixture({"masked_lm": 1.0, kind: 1.0}, parts.model(family))
    mix.model.save(tmp_path / "model")
    theirs, info = getattr(transformers, architecture).from_pretrained(
        tmp_path / "model", output_loading_info=True, attn_implementation="eager"
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    theirs.eval()
    mix.model.eval()
    batch = parts.batch(mix, text)
    with torch.no_grad():
        hidden = mix.model(batch)
        ours = mix.model.heads[kind](hidden, batch)
        fills = mix.model.heads["masked_lm"](hidden, mix.model.backbone.embeddings.words.weight)
        for number, single in enumerate(peers.split(batch)):
            found = theirs(input_ids=single.ids[None], token_type_ids=single.segments[None])
            two = found["seq_relationship_logits" if kind == NEXT else "sop_logits"]
            assert peers.error(ours[number], two[0]) < 1e-5
            own = peers.part(fills, batch, number)
            assert peers.error(own, found["prediction_logits"][0]) < 1e-5
    again = hub.load(tmp_path / "model")
    assert set(again.heads) == {"masked_lm", kind}


@pytest.mark.parametrize("family", ["bert", "electra"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", ["masked_lm", "span_boundary"])
def test_saved_models_go_on_in_jeoni(family: str, kind: str, other: str, tmp_path: Path) -> None:
    """Also with heads that the family's published layout has no names for."""
    text = parts.store(tmp_path / "store", parts.tokenizer(family))
    chosen = {other: 1.0, kind: 1.0}
    mix = parts.mixture(chosen, parts.model(family))
    parts.learn(mix, text, steps=1, size=8)
    mix.model.eval().save(tmp_path / "model")
    mix.expect({})
    again = parts.mixture(chosen, hub.load(tmp_path / "model"), seed=7)
    batch = parts.batch(mix, text)
    with torch.no_grad():
        assert again(batch).total.item() == pytest.approx(mix(batch).total.item(), rel=1e-6)


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
