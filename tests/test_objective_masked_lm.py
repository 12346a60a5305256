"""Masked language modeling: how many, which, by what; and the loss at those places alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks
from jeoni.data.token_store import TokenStore
from jeoni.objectives import _masking
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._mixture import Mixture
from jeoni.objectives.masked_lm import MASKED, ORIGINAL

VOCAB = 180
PLAIN = set(range(5, VOCAB))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """60,000 tokens, half of which begin words."""
    folder = tmp_path_factory.mktemp("drawn") / "store"
    return parts.drawn_store(folder, vocab=VOCAB, documents=60, least=1000, most=1000)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("real") / "store")


def mixture(**settings: Any) -> Mixture:
    return parts.mixture({"masked_lm": settings}, parts.model())


def drafts(store: TokenStore, length: int = 130, **settings: Any) -> tuple[Draft, Draft]:
    mix = mixture(**settings)
    chunks = Chunks(store, mix.room(length))
    return parts.draft(mix, chunks, np.arange(len(chunks)))


def sequence(words: list[int], *, example: int = 0) -> Draft:
    """One text between special tokens; ``words`` says which tokens begin one."""
    n = len(words)
    return Draft(
        ids=np.array([2, *range(20, 20 + n), 3], np.int64),
        segments=np.zeros(n + 2, np.int64),
        special=np.array([True, *[False] * n, True]),
        words=np.array([1, *words, 1], np.bool_),
        lengths=np.array([n + 2]),
        examples=np.array([example]),
    )


def numbers_of_words(draft: Draft) -> NDArray[np.int64]:
    """Which word of all each token is of."""
    return np.cumsum(draft.words) - 1


@pytest.mark.parametrize("rate", [0.15, 0.3, 0.5])
@pytest.mark.parametrize("length", [20, 130])
@pytest.mark.parametrize("settings", [{}, {"whole_words": True}, {"ngram": 3}], ids=str)
def test_share(settings: dict[str, Any], length: int, rate: float, drawn: TokenStore) -> None:
    """Right on average; tokens one by one: right in every sequence, up to one."""
    clean, changed = drafts(drawn, length, rate=rate, **settings)
    places, text = changed.targets[MASKED], ~clean.special
    budget = rate * np.add.reduceat(text.astype(np.int64), clean.firsts)
    chosen = np.bincount(clean.owners[places], minlength=len(budget))
    if not settings:
        assert (abs(chosen - budget) < 1 + 1e-9).all()
    more = len(places) / text.sum() - rate
    error = (chosen - budget).std() * len(chosen) ** 0.5 / text.sum()
    # In a text of 18 tokens one run of words may be more than the budget.
    assert -4 * error - 1e-3 < more < 4 * error + (0.05 if budget.max() < 6 and settings else 1e-3)


@pytest.mark.parametrize(
    ("mask", "random"), [(0.8, 0.1), (0.85, 0.0), (0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]
)
def test_what_becomes_of_the_chosen(mask: float, random: float, drawn: TokenStore) -> None:
    clean, changed = drafts(drawn, mask=mask, random=random)
    places = changed.targets[MASKED]
    before, after = clean.ids[places], changed.ids[places]
    count = len(places)
    masked = after == parts.tokenizer().mask_id
    other = ~masked & (after != before)
    # A random token is the one that was there once in 175.
    for found, share in ((masked, mask), (other, random * (1 - 1 / len(PLAIN)))):
        assert abs(found.mean() - share) <= 4 * (share * (1 - share) / count) ** 0.5 + 1e-9
    assert set(after[other].tolist()) <= PLAIN
    if random:
        assert len(set(after[other].tolist())) > 150


def test_random_tokens_are_spread_evenly(drawn: TokenStore) -> None:
    clean, changed = drafts(drawn, mask=0.0, random=1.0, rate=0.5)
    found = np.bincount(changed.ids[changed.targets[MASKED]], minlength=VOCAB)
    assert found[:5].sum() == 0
    expected = len(changed.targets[MASKED]) / len(PLAIN)
    statistic = float(((found[5:] - expected) ** 2 / expected).sum())
    assert statistic < 237  # chi-square with 174 degrees of freedom, p = 0.001
    assert clean is not changed


def test_the_rest_stays_and_the_original_comes_back(drawn: TokenStore) -> None:
    for settings in ({}, {"whole_words": True}, {"ngram": 3, "rate": 0.4}):
        clean, changed = drafts(drawn, 40, **settings)
        places = changed.targets[MASKED]
        assert (np.diff(places) > 0).all()
        assert not clean.special[places].any()
        outside = np.setdiff1d(np.arange(len(clean.ids)), places)
        assert (changed.ids[outside] == clean.ids[outside]).all()
        restored = changed.ids.copy()
        restored[places] = changed.targets[ORIGINAL]
        assert (restored == clean.ids).all()


@pytest.mark.parametrize("settings", [{"whole_words": True}, {"ngram": 3}], ids=str)
def test_words_are_chosen_whole(settings: dict[str, Any], drawn: TokenStore) -> None:
    clean, changed = drafts(drawn, **settings)
    word = numbers_of_words(clean)
    chosen = np.bincount(word[changed.targets[MASKED]], minlength=word[-1] + 1)
    assert set(chosen[chosen > 0] / np.bincount(word)[chosen > 0]) == {1.0}
    assert (np.bincount(word)[chosen > 0] > 1).any()


def test_single_tokens_of_words_are_chosen_without(drawn: TokenStore) -> None:
    clean, changed = drafts(drawn)
    word = numbers_of_words(clean)
    chosen = np.bincount(word[changed.targets[MASKED]], minlength=word[-1] + 1)
    long = np.bincount(word) > 1
    assert (chosen[long] == 1).mean() > 0.1


def test_every_place_is_as_likely(drawn: TokenStore) -> None:
    """Whole words, too: no part of a sequence is favored, short words are not either."""
    clean, changed = drafts(drawn, 102, whole_words=True)
    full = np.flatnonzero(clean.lengths == 102)
    hit = np.zeros(len(clean.ids), np.bool_)
    hit[changed.targets[MASKED]] = True
    rows = np.stack([hit[clean.firsts[i] + 1 : clean.firsts[i] + 101] for i in full])
    tenths = rows.reshape(len(full), 10, 10).mean((0, 2))
    assert abs(tenths - 0.15).max() < 0.025
    size = np.bincount(numbers_of_words(clean))[numbers_of_words(clean)]
    short, long = (hit[~clean.special & chosen].mean() for chosen in (size == 1, size >= 4))
    assert abs(short - long) < 0.025


@pytest.mark.parametrize("longest", [1, 2, 3, 5])
def test_runs_of_words(longest: int) -> None:
    """n words with probability proportional to 1/n."""
    draft = sequence([1] * 60_000)
    config = _masking.MaskingConfig(ngram=longest)
    begins = _masking._units(draft, np.flatnonzero(~draft.special), config, Noise(0, 0))
    lengths = np.diff(np.flatnonzero(np.append(begins, True)))[:-1]
    odds = 1 / np.arange(1, longest + 1)
    expected = odds / odds.sum()
    found = np.bincount(lengths, minlength=longest + 1)[1:] / len(lengths)
    assert len(found) == longest
    assert (abs(found - expected) < 4 * (expected / len(lengths)) ** 0.5 + 1e-9).all()


def test_runs_do_not_go_over_special_tokens(drawn: TokenStore) -> None:
    mix = parts.mixture({"sentence_order": 1.0, "masked_lm": {"ngram": 10}}, parts.model())
    chunks = Chunks(drawn, mix.room(20))
    clean = mix._layout.arrange(chunks, np.arange(len(chunks)), Noise(0, 0))
    text = np.flatnonzero(~clean.special)
    begins = _masking._units(clean, text, mix.parts[1].objective.config, Noise(0, 0))
    for start, end in zip(*[iter(np.split(text, np.flatnonzero(begins)[1:]))] * 2, strict=False):
        for unit in (start, end):
            assert unit[-1] - unit[0] == len(unit) - 1
            assert len(set(clean.owners[unit])) == 1


@pytest.mark.parametrize("settings", [{}, {"whole_words": True}, {"ngram": 3}], ids=str)
@pytest.mark.parametrize("words", [[1], [1, 1], [1, 0, 0, 0, 0, 0, 0, 0], [1] * 5], ids=len)
def test_short_texts(words: list[int], settings: dict[str, Any]) -> None:
    """Something is predicted, whatever the budget; a text of one word is that word."""
    mix = mixture(**settings)
    for example in range(10):
        changed = mix.parts[0].objective.corrupt(sequence(words, example=example), Noise(0, 0))
        places = changed.targets[MASKED].tolist()
        assert places
        assert set(places) <= set(range(1, len(words) + 1))
        if settings and sum(words) == 1:
            assert len(places) == len(words)


@pytest.mark.parametrize("settings", [{}, {"whole_words": True}, {"ngram": 3}], ids=str)
def test_only_special_tokens(settings: dict[str, Any]) -> None:
    """Alone, and beside a sequence that has text."""
    mix = mixture(**settings)
    mix.module.train()
    changed = mix.parts[0].objective.corrupt(sequence([]), Noise(0, 0))
    assert changed.ids.tolist() == [2, 3]
    loss = mix(changed.batch())
    loss.total.backward()
    assert loss.total.item() == 0.0
    both = Draft(
        ids=np.array([2, 3, 2, 30, 3]),
        segments=np.zeros(5, np.int64),
        special=np.array([True, True, True, False, True]),
        words=np.ones(5, np.bool_),
        lengths=np.array([2, 3]),
        examples=np.array([0, 1]),
    )
    changed = mix.parts[0].objective.corrupt(both, Noise(0, 0))
    assert changed.targets[MASKED].tolist() == [3]
    assert changed.targets[ORIGINAL].tolist() == [30]


def test_a_function_of_seed_epoch_and_example(drawn: TokenStore) -> None:
    mix = mixture(whole_words=True)
    chunks = Chunks(drawn, mix.room(66))

    def masks(indices: list[int], **changed: int) -> dict[int, list[int]]:
        _, draft = parts.draft(mix, chunks, indices, **changed)
        cuts = draft.firsts[1:]
        return dict(zip(indices, (p.tolist() for p in np.split(draft.ids, cuts)), strict=True))

    base = masks([4, 9, 2, 30])
    assert masks([30, 4]) == {number: base[number] for number in (30, 4)}
    assert masks([4, 9, 2, 30], epoch=1) != base
    assert masks([4, 9, 2, 30], seed=1) != base


def test_loss_and_gradients_of_a_plain_computation(real: TokenStore) -> None:
    mix = mixture()
    mix.module.train()
    batch = parts.batch(mix, real)
    model = mix.model
    logits = model.heads["masked_lm"](model(batch), model.backbone.embeddings.words.weight)
    plain = cross_entropy(logits[batch.targets[MASKED]], batch.targets[ORIGINAL])
    plain.backward()
    expected = parts.gradients(mix)
    loss = mix(batch)
    loss.total.backward()
    assert loss.total.item() == pytest.approx(plain.item(), rel=1e-6)
    for name, gradient in parts.gradients(mix).items():
        assert torch.allclose(gradient, expected[name], atol=1e-6), name


def test_only_the_chosen_places_are_asked(real: TokenStore) -> None:
    mix = mixture()
    batch = parts.batch(mix, real)
    hidden = mix.model(batch).detach().requires_grad_()
    (loss,) = mix.parts[0].objective.losses(hidden, batch)
    loss.total.backward()
    assert hidden.grad is not None
    reached = hidden.grad.abs().sum(1).nonzero().flatten()
    assert reached.tolist() == batch.targets[MASKED].tolist()


def test_accuracy_and_perplexity_when_not_training(real: TokenStore) -> None:
    mix = mixture()
    batch = parts.batch(mix, real)
    mix.module.eval()
    model = mix.model
    logits = model.heads["masked_lm"](model(batch), model.backbone.embeddings.words.weight)
    right = logits[batch.targets[MASKED]].argmax(-1) == batch.targets[ORIGINAL]
    figures = mix(batch).metrics
    assert figures["masked_lm_accuracy"] == (float(right.sum()), float(len(right)))
    means = mix.figures(figures)
    assert means["masked_lm_perplexity"] == pytest.approx(np.exp(means["masked_lm_loss"]))
    mix.module.train()
    assert mix(batch).metrics.keys() == {"masked_lm_loss"}


def test_it_learns(tmp_path: Path) -> None:
    few = parts.store(tmp_path / "store", texts=parts.documents()[:3])
    losses = parts.learn(mixture(), few, steps=40, size=8, lr=5e-3)
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:3])


def test_a_model_s_own_head_stays() -> None:
    model = parts.model()
    parts.mixture("masked_lm", model)
    head = model.heads["masked_lm"]
    parts.mixture("masked_lm", model, seed=5)
    assert model.heads["masked_lm"] is head


def test_a_tokenizer_without_a_mask() -> None:
    with pytest.raises(UserError, match="no mask token"):
        parts.mixture("masked_lm", parts.model("gpt2"))


@pytest.mark.parametrize(
    "settings",
    [{"rate": 0}, {"rate": 1}, {"mask": 0.95}, {"random": -0.1}, {"ngram": 0}, {"ngram": 11}],
    ids=str,
)
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"objectives\.masked_lm"):
        mixture(**settings)


@pytest.mark.parametrize("weight", [0, -1, "much"])
def test_weights_out_of_range(weight: Any) -> None:
    with pytest.raises(UserError, match=r"objectives\.masked_lm: weight"):
        parts.mixture({"masked_lm": weight}, parts.model())
