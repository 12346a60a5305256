"""Recurring spans: what becomes blank, what is asked for, the loss by the formula, the head of the task."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints
from jeoni.data.token_store import TokenStore
from jeoni.models import hub
from jeoni.objectives._draft import Draft
from jeoni.objectives._mixture import Mixture
from jeoni.objectives.masked_lm import MASKED
from jeoni.objectives.recurring_spans import ASKING, END, START, RecurringSpans, _recurring

LENGTH = 64


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("real") / "store")


def mixture(**settings: object) -> Mixture:
    return parts.mixture(
        {"recurring_spans": {"rarity": 4.0, "rate": 0.2, **settings}}, parts.model()
    )


def laid_out(mix: Mixture, store: TokenStore) -> tuple[Chunks, Ints, Draft]:
    chunks = mix.cut(store, mix.room(LENGTH))
    indices = np.arange(len(chunks))
    return chunks, indices, parts.draft(mix, chunks, indices)[0]


def asked(draft: Draft) -> list[tuple[int, int, int]]:
    """Where a blank is, and its answer's first and last place, in the batch."""
    columns = (draft.targets[name].tolist() for name in (ASKING, START, END))
    return list(zip(*columns, strict=True))


def test_answers_fill_the_blanks(store: TokenStore) -> None:
    """With every answer in its blank, the text is what it was."""
    chunks, indices, draft = laid_out(mixture(), store)
    mask = parts.tokenizer().mask_id
    answers = {a: draft.ids[s : e + 1].tolist() for a, s, e in asked(draft)}
    assert len(answers) > len(indices)
    assert {blank < start for blank, start, _ in asked(draft)} == {True, False}
    assert sorted(answers) == np.flatnonzero(draft.ids == mask).tolist()
    for index, first, length in zip(indices, draft.firsts, draft.lengths, strict=True):
        places = range(first + 1, first + length - 1)
        filled = [id for place in places for id in answers.get(place, [draft.ids[place]])]
        assert filled == chunks.take(np.array([index])).ids.tolist()
        assert mask not in filled


@pytest.mark.parametrize("longest", [1, 3, 10])
def test_spans_are_of_the_sequence_and_tell_something(longest: int, store: TokenStore) -> None:
    mix = mixture(longest=longest, rarity=6.0)
    chunks, _, draft = laid_out(mix, store)
    objective = mix.parts[0].objective
    assert isinstance(objective, RecurringSpans)
    nats = objective.surprisal(chunks)
    sizes = []
    for blank, start, end in asked(draft):
        assert draft.owners[blank] == draft.owners[start] == draft.owners[end]
        assert draft.words[start]
        assert draft.words[blank]
        assert nats[draft.ids[start : end + 1]].sum() >= 6.0
        assert draft.special[[blank, *range(start, end + 1)]].all()
        sizes.append(end + 1 - start)
    assert max(sizes) <= longest
    assert longest == 1 or max(sizes) > 1


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_there_are_no_more_blanks_than_asked(rate: float, store: TokenStore) -> None:
    chunks, indices, draft = laid_out(mixture(rate=rate), store)
    counts = np.bincount(draft.owners[draft.targets[ASKING]], minlength=len(indices))
    assert (counts <= rate * chunks.lengths).all()
    assert counts.sum() > 0
    assert draft.lengths.max() <= LENGTH


def test_a_name_stands_once(tmp_path: Path) -> None:
    """Of three of a name, one is left; what is said once, and what is said everywhere, stays."""
    text = ["museum river the painter.", "the museum river opened.", "bread near museum river."]
    mix = mixture(rarity=0.0, longest=20)
    store = parts.store(tmp_path / "one", texts=[text])
    _, _, draft = laid_out(mix, store)
    name = parts.tokenizer().pieces(["museum river"])[0].ids.tolist()
    ids = draft.ids.tolist()
    found = [i for i in range(len(ids)) if ids[i : i + len(name)] == name]
    assert len(found) == 1
    spans = [(s, e) for _, s, e in asked(draft)]
    assert sum(s <= found[0] and found[0] + len(name) - 1 <= e for s, e in spans) == 2


def test_runs_are_those_that_recur() -> None:
    """Against a count of all runs, on an alphabet of three."""
    generator = np.random.default_rng(0)
    ids, words = generator.integers(0, 3, 60), generator.random(60) < 0.5
    for size, found in _recurring(ids, words, 6):
        runs = defaultdict(list)
        for place in np.flatnonzero(words[: 61 - size]).tolist():
            runs[tuple(ids[place : place + size])].append(place)
        assert sorted(found) == sorted(run for run in runs.values() if len(run) > 1)


def test_a_text_that_repeats_nothing_is_read_as_it_is(store: TokenStore) -> None:
    mix = mixture(rarity=1e6)
    chunks, indices, draft = laid_out(mix, store)
    plain, _ = parts.draft(parts.mixture("masked_lm", parts.model()), chunks, indices)
    assert (draft.ids == plain.ids).all()
    assert (draft.special == plain.special).all()
    batch = parts.batch(mix, store)
    loss = mix(batch)
    assert float(loss.total.detach()) == 0.0
    torch.autograd.backward(loss.total)
    assert not any(bool(g.any()) for g in parts.gradients(mix).values())


def test_the_loss_is_that_of_the_formula(store: TokenStore) -> None:
    """Every blank for itself: scores of its own sequence's tokens, start and end."""
    mix = mixture()
    batch = parts.batch(mix, store)
    mix.module.eval()
    with torch.no_grad():
        hidden = mix.model(batch)
    (part,) = mix.parts[0].objective.losses(hidden, batch)
    head: Any = mix.model.heads["question_span"]
    width = hidden.shape[1]
    total, right, bounds = 0.0, 0, np.cumsum([0, *batch.lengths])
    for blank, start, end in zip(
        *(batch.targets[n].tolist() for n in (ASKING, START, END)), strict=True
    ):
        number = int(np.searchsorted(bounds, blank, side="right")) - 1
        own = hidden[bounds[number] : bounds[number + 1]]
        best = []
        for side, weight, target in ((0, head.start, start), (1, head.end, end)):
            columns = slice(side * width, (side + 1) * width)
            gelu = torch.nn.functional.gelu
            query = head.asking_norm(gelu(head.asking(hidden[blank]))[columns].clone())
            keys = head.said_norm(gelu(head.said(own))[:, columns])
            scores = keys @ weight(query) / width**0.5
            total -= float(scores.detach().log_softmax(0)[target - bounds[number]]) / 2
            best.append(int(scores.argmax()) + bounds[number])
        right += best == [start, end]
    assert float(part.total) == pytest.approx(total, rel=1e-4)
    assert part.metrics["accuracy"] == (right, len(batch.targets[ASKING]))


def test_masking_leaves_blanks_and_answers(store: TokenStore) -> None:
    chosen = {"recurring_spans": {"rarity": 4.0}, "masked_lm": {"rate": 0.5}}
    mix = parts.mixture(chosen, parts.model())
    chunks = mix.cut(store, mix.room(LENGTH))
    clean, changed = parts.draft(mix, chunks, np.arange(len(chunks)))
    masked = set(changed.targets[MASKED].tolist())
    assert masked
    for blank, start, end in asked(changed):
        assert masked.isdisjoint([blank, *range(start, end + 1)])
    assert (changed.targets[ASKING] == clean.targets[ASKING]).all()


def test_it_is_learned_and_the_head_is_kept(store: TokenStore, tmp_path: Path) -> None:
    mix = mixture()
    losses = parts.learn(mix, store, steps=25, length=LENGTH, fixed=True)
    assert losses[-1] < losses[0] / 2
    mix.model.save(tmp_path / "saved")
    again = hub.load(tmp_path / "saved")
    assert "question_span" in again.heads
    assert "span" not in again.heads


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_blank_must_see_what_follows(family: str) -> None:
    with pytest.raises(UserError, match="an encoder that sees all"):
        parts.mixture("recurring_spans", parts.model(family))
