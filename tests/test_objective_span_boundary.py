"""Span masking and the span-boundary objective: lengths, budget, whole spans, both losses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import TokenStore
from jeoni.models import hub
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._mixture import Mixture
from jeoni.objectives._spans import _lengths
from jeoni.objectives.masked_lm import MASKED, ORIGINAL
from jeoni.objectives.span_boundary import INSIDE, LEFT, PLACE, RIGHT, SpanBoundaryConfig

Spans = list[tuple[int, int]]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """80,000 tokens."""
    folder = tmp_path_factory.mktemp("drawn") / "store"
    return parts.drawn_store(folder, vocab=180, documents=40, least=2000, most=2000)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("real") / "store")


def mixture(**settings: object) -> Mixture:
    return parts.mixture({"span_boundary": settings}, parts.model())


def drafts(store: TokenStore, length: int, **settings: object) -> tuple[Draft, Draft]:
    mix = mixture(**settings)
    chunks = Chunks(store, mix.room(length))
    return parts.draft(mix, chunks, np.arange(len(chunks)))


def runs(places: NDArray[np.int64]) -> Spans:
    """Where stretches of neighboring places start and end."""
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(places, cuts) if len(part)]


def word_lengths(clean: Draft, changed: Draft) -> NDArray[np.int64]:
    return np.array([clean.words[a:b].sum() for a, b in runs(changed.targets[MASKED])])


@pytest.mark.parametrize("length", [66, 130, 514])
def test_lengths_are_geometric(length: int, drawn: TokenStore) -> None:
    """Truncated, not clipped: the mean is 3.8 words, as published."""
    lengths = word_lengths(*drafts(drawn, length))
    odds = 0.8 ** np.arange(10)
    expected = odds / odds.sum() * len(lengths)
    found = np.bincount(lengths, minlength=11)
    assert found[0] == 0
    assert len(found) == 11
    statistic = float(((found[1:] - expected) ** 2 / expected).sum())
    assert statistic < 27.9  # chi-square with 9 degrees of freedom, p = 0.001
    assert abs(lengths.mean() - 3.797) < 4 * 2.6 / len(lengths) ** 0.5


@pytest.mark.parametrize(("stop", "longest"), [(0.2, 10), (0.5, 3), (0.1, 30)])
def test_lengths_of_a_very_long_text(stop: float, longest: int) -> None:
    config = SpanBoundaryConfig(stop=stop, longest=longest)
    lengths = _lengths(500_000, config, np.random.default_rng(0))
    expected = [
        (1 - stop) ** (n - 1) * stop / (1 - (1 - stop) ** longest) for n in range(1, longest + 1)
    ]
    found = np.bincount(lengths, minlength=longest + 1)[1:] / len(lengths)
    assert found == pytest.approx(expected, abs=0.012)
    mean = float(np.arange(1, longest + 1) @ expected)
    assert lengths.mean() == pytest.approx(mean, rel=0.03)
    assert lengths.sum() == pytest.approx(0.15 * 500_000, rel=0.03)


@pytest.mark.parametrize("rate", [0.15, 0.3])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("length", [34, 130])
def test_budget(length: int, whole: bool, rate: float, drawn: TokenStore) -> None:
    clean, changed = drafts(drawn, length, rate=rate, whole_words=whole)
    places, text = changed.targets[MASKED], int((~clean.special).sum())
    sequences = np.bincount(clean.owners[places], minlength=len(clean.lengths))
    assert sequences.min() >= 1
    error = sequences.std() * len(sequences) ** 0.5 / text
    assert abs(len(places) / text - rate) < 4 * error + 0.002
    if not whole:
        assert max(b - a for a, b in runs(places)) == 10


def test_tokens_outside_of_spans_and_special_ones_stay(drawn: TokenStore) -> None:
    clean, changed = drafts(drawn, 64)
    places = changed.targets[MASKED]
    assert not clean.special[places].any()
    restored = changed.ids.copy()
    restored[places] = changed.targets[ORIGINAL]
    assert (restored == clean.ids).all()
    outside = np.setdiff1d(np.arange(len(clean.ids)), places)
    assert (changed.ids[outside] == clean.ids[outside]).all()


def test_whole_words_and_visible_boundaries(drawn: TokenStore) -> None:
    """A span begins and ends where words do, in one sequence, and its neighbors are not masked."""
    clean, changed = drafts(drawn, 64)
    chosen = set(changed.targets[MASKED].tolist())
    for start, end in runs(changed.targets[MASKED]):
        assert clean.words[start]
        assert clean.words[end]  # special tokens begin words, too
        assert len(set(clean.owners[start - 1 : end + 1])) == 1
        assert start - 1 not in chosen
        assert end not in chosen


def test_a_span_is_masked_changed_or_kept_as_a_whole(drawn: TokenStore) -> None:
    clean, changed = drafts(drawn, 130)
    mask = parts.tokenizer().mask_id
    masked, kept = 0, 0
    spans = [(a, b) for a, b in runs(changed.targets[MASKED]) if b - a >= 4]
    changed_ids = []
    for a, b in spans:
        is_mask = changed.ids[a:b] == mask
        assert is_mask.all() or not is_mask.any()
        same = (changed.ids[a:b] == clean.ids[a:b]).all()
        masked += bool(is_mask.all())
        kept += bool(same)
        if not is_mask.any() and not same:
            changed_ids += changed.ids[a:b].tolist()
    count = len(spans)
    assert abs(masked / count - 0.8) < 4 * (0.8 * 0.2 / count) ** 0.5
    assert abs(kept / count - 0.1) < 4 * (0.1 * 0.9 / count) ** 0.5
    plain = set(range(5, 180))
    assert set(changed_ids) <= plain
    assert len(set(changed_ids)) > 150


def test_what_boundaries_are_asked(drawn: TokenStore) -> None:
    _, changed = drafts(drawn, 130)
    targets, spans = changed.targets, runs(changed.targets[MASKED])
    expected = [(a - 1, b, place - a) for a, b in spans for place in range(a, b) if place - a < 20]
    found = zip(
        targets[LEFT].tolist(), targets[RIGHT].tolist(), targets[PLACE].tolist(), strict=True
    )
    assert list(found) == expected
    assert (targets[MASKED][targets[INSIDE]] == targets[LEFT] + 1 + targets[PLACE]).all()
    assert max(b - a for a, b in spans) > 20  # what is left out is there


def test_pairs_of_texts_are_not_crossed(drawn: TokenStore) -> None:
    mix = parts.mixture({"sentence_order": 1.0, "span_boundary": {"rate": 0.4}}, parts.model())
    chunks = Chunks(drawn, mix.room(40))
    clean, changed = parts.draft(mix, chunks, np.arange(len(chunks)))
    for start, end in runs(changed.targets[MASKED]):
        assert not clean.special[start:end].any()
        assert len(set(clean.segments[start:end])) == 1
    share = len(changed.targets[MASKED]) / (~clean.special).sum()
    assert abs(share - 0.4) < 0.02


@pytest.mark.parametrize("words", [[1], [1, 0, 0], [1, 1], [1, 0, 1, 1, 0], [1] * 9])
@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_short_texts(words: list[int], rate: float) -> None:
    """One token, one word, two words: something is predicted, the boundaries are special tokens."""
    mix = mixture(rate=rate)
    n = len(words)
    draft = Draft(
        ids=np.array([2, *range(20, 20 + n), 3]),
        segments=np.zeros(n + 2, np.int64),
        special=np.array([True, *[False] * n, True]),
        words=np.array([1, *words, 1], np.bool_),
        lengths=np.array([n + 2]),
        examples=np.array([5]),
    )
    counts = set()
    for epoch in range(20):
        changed = mix.parts[0].objective.corrupt(draft, Noise(0, epoch))
        places = changed.targets[MASKED]
        counts.add(len(runs(places)))
        assert 1 <= len(places) <= n
        assert places.min() >= 1
        assert places.max() <= n
        assert (np.diff(places) > 0).all()
        assert len(changed.targets[LEFT]) == len(places)
    assert 0 not in counts


def test_only_special_tokens() -> None:
    """Nothing is chosen, both losses are zero, and nothing breaks."""
    mix = mixture()
    draft = Draft(
        ids=np.array([2, 3, 2, 3]),
        segments=np.zeros(4, np.int64),
        special=np.ones(4, np.bool_),
        words=np.ones(4, np.bool_),
        lengths=np.array([2, 2]),
        examples=np.array([0, 1]),
    )
    batch = mix.parts[0].objective.corrupt(draft, Noise(0, 0)).batch()
    assert mix.counts(batch) == {"tokens": 4.0, "span_boundary/0": 0.0, "span_boundary/1": 0.0}
    mix.module.train()
    loss = mix(batch)
    loss.total.backward()
    assert loss.total.item() == 0.0


def test_a_span_at_an_end_of_its_sequence_has_no_boundary_there() -> None:
    """Not every layout has special tokens on both sides."""
    draft = Draft(
        ids=np.arange(20, 60),
        segments=np.zeros(40, np.int64),
        special=np.zeros(40, np.bool_),
        words=np.ones(40, np.bool_),
        lengths=np.full(4, 10),
        examples=np.arange(4),
    )
    left_out = 0
    for epoch in range(20):
        targets = mixture(rate=0.5).parts[0].objective.corrupt(draft, Noise(0, epoch)).targets
        owners = targets[MASKED][targets[INSIDE]] // 10
        assert (targets[LEFT] >= 0).all()
        assert (targets[LEFT] // 10 == owners).all()
        assert (targets[RIGHT] // 10 == owners).all()
        left_out += len(targets[MASKED]) - len(targets[INSIDE])
    assert left_out > 0


def test_both_losses_against_a_plain_computation(real: TokenStore) -> None:
    mix = mixture(boundary=0.5)
    mix.module.train()
    batch = parts.batch(mix, real)
    model, targets = mix.model, batch.targets
    hidden = model(batch)
    words = model.backbone.embeddings.words.weight
    wanted = targets[ORIGINAL]
    own = model.heads["masked_lm"](hidden, words)[targets[MASKED]]
    plain = cross_entropy(own, wanted)
    total = hidden.new_zeros(())
    for left, right, place, inside in zip(
        targets[LEFT], targets[RIGHT], targets[PLACE], targets[INSIDE], strict=True
    ):
        logits = model.heads["span_boundary"](hidden, left[None], right[None], place[None], words)
        total = total + cross_entropy(logits, wanted[inside][None])
    plain = plain + 0.5 * total / len(targets[INSIDE])
    plain.backward()
    expected = parts.gradients(mix)
    loss = mix(batch)
    loss.total.backward()
    assert loss.total.item() == pytest.approx(plain.item(), rel=1e-5)
    found = parts.gradients(mix)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert torch.allclose(gradient, expected[name], atol=1e-6), name


def test_the_boundaries_see_the_masked_tokens_only_from_outside(real: TokenStore) -> None:
    """The gradient of the boundary loss reaches the states on either side, and no state in a span."""
    mix = mixture()
    batch = parts.batch(mix, real)
    hidden = mix.model(batch).detach().requires_grad_()
    _, bounds = mix.parts[0].objective.losses(hidden, batch)
    bounds.total.backward()
    assert hidden.grad is not None
    reached = set(hidden.grad.abs().sum(1).nonzero().flatten().tolist())
    assert reached == {*batch.targets[LEFT].tolist(), *batch.targets[RIGHT].tolist()}


def test_figures_when_not_training(real: TokenStore) -> None:
    mix = mixture()
    mix.module.eval()
    batch = parts.batch(mix, real)
    figures = mix(batch).metrics
    counts = mix.counts(batch)
    assert figures["span_boundary_accuracy"][1] == counts["span_boundary/0"]
    assert figures["span_boundary_boundary_accuracy"][1] == counts["span_boundary/1"]
    assert "span_boundary_boundary_perplexity" in mix.figures(figures)


def test_it_learns(tmp_path: Path) -> None:
    few = parts.store(tmp_path / "store", texts=parts.documents()[:3])
    losses = parts.learn(mixture(), few, steps=25, size=8, lr=5e-3)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:3])


def test_saved_and_loaded_with_both_heads(real: TokenStore, tmp_path: Path) -> None:
    mix = mixture()
    mix.model.eval()
    mix.model.save(tmp_path / "model")
    again = hub.load(tmp_path / "model")
    assert set(again.heads) == {"masked_lm", "span_boundary"}
    batch = parts.batch(mix, real)
    other = parts.mixture("span_boundary", again)
    with torch.no_grad():
        assert mix(batch).total.item() == pytest.approx(other(batch).total.item(), rel=1e-6)


@pytest.mark.parametrize(
    "settings", [{"rate": 0.0}, {"rate": 0.6}, {"longest": 0}, {"stop": 1.0}, {"mask": 0.95}]
)
def test_settings_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"objectives\.span_boundary"):
        mixture(**settings)
