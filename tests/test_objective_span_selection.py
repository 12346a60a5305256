"""Span selection: where the blank and the answer are, what the passage leaves out; the head of the task."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data.chunks import Chunks, Ints
from jeoni.data.token_store import TokenStore
from jeoni.models import hub
from jeoni.objectives._draft import Draft, Noise
from jeoni.objectives._mixture import Mixture
from jeoni.objectives.masked_lm import MASKED
from jeoni.objectives.span_selection import END, START, SpanSelection

LENGTH = 64


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("real") / "store")


def mixture(**settings: object) -> Mixture:
    return parts.mixture({"span_selection": settings}, parts.model())


def objective(mix: Mixture) -> SpanSelection:
    (part,) = mix.parts
    assert isinstance(part.objective, SpanSelection)
    return part.objective


def all_chunks(mix: Mixture, store: TokenStore) -> tuple[Chunks, Ints]:
    chunks = mix.cut(store, mix.room(LENGTH))
    return chunks, np.arange(len(chunks))


def sequences(draft: Draft) -> Iterator[tuple[list[int], int, int]]:
    """Ids, and the answer's first and last place."""
    for first, length, start, end in zip(
        draft.firsts, draft.lengths, draft.targets[START], draft.targets[END], strict=True
    ):
        yield draft.ids[first : first + length].tolist(), int(start - first), int(end - first)


def test_the_answer_fills_the_blank(store: TokenStore) -> None:
    """The question with the answer in its blank is text of the document, the answer is in the passage."""
    mix = mixture()
    chunks, indices = all_chunks(mix, store)
    draft, _ = parts.draft(mix, chunks, indices)
    mask, separator = parts.tokenizer().mask_id, parts.tokenizer().pieces(["[SEP]"])[0].ids[0]
    for index, (ids, start, end) in enumerate(sequences(draft)):
        assert ids.count(mask) == 1
        middle = ids.index(separator)
        assert middle < start <= end < len(ids) - 1
        blank = ids.index(mask)
        filled = [*ids[1:blank], *ids[start : end + 1], *ids[blank + 1 : middle]]
        text = chunks.take(np.array([index])).ids.tolist()
        size = len(filled)
        assert filled in [text[i : i + size] for i in range(len(text) - size + 1)]
        # The passage is the chunk, with or without the question's sentence.
        passage = ids[middle + 1 : -1]
        kept = 0
        while kept < len(passage) and passage[kept] == text[kept]:
            kept += 1
        rest = len(passage) - kept
        assert passage[kept:] == text[len(text) - rest :]


@pytest.mark.parametrize("longest", [2, 10])
def test_a_sentence_is_left_out_where_the_rest_has_the_answer(
    longest: int, store: TokenStore
) -> None:
    mix = mixture(rarity=2.0, longest=longest)
    chunks, indices = all_chunks(mix, store)
    found = objective(mix)
    nats = found.surprisal(chunks)
    clozes = [found._cloze(chunks, int(i), nats, Noise(0, 0)) for i in indices]
    away = [c for c in clozes if c.without[0] < c.without[1]]
    assert len(away) > len(clozes) / 2
    assert 2 <= max(c.blank[1] - c.blank[0] for c in clozes) <= longest
    for cloze in away:
        first, last = cloze.without
        assert first <= cloze.asked[0] <= cloze.blank[0] < cloze.blank[1] <= cloze.asked[1] <= last
        size = cloze.blank[1] - cloze.blank[0]
        assert cloze.answer + size <= first or cloze.answer >= last
        told = nats[store.ids[cloze.blank[0] : cloze.blank[1]]].sum()
        assert told >= 2.0
        assert store.words(*cloze.blank)[0] or cloze.blank[0] == cloze.without[0]
        assert cloze.blank != cloze.without  # something is left that asks


def test_answers_begin_where_words_do(tmp_path: Path) -> None:
    """Where a token does not tell whether it begins one."""
    drawn = parts.drawn_store(tmp_path / "drawn", vocab=40, documents=4)
    mix = mixture(rarity=2.0)
    chunks, indices = all_chunks(mix, drawn)
    found = objective(mix)
    nats = found.surprisal(chunks)
    clozes = [found._cloze(chunks, int(i), nats, Noise(0, 0)) for i in indices]
    away = [c for c in clozes if c.without[0] < c.without[1]]
    assert len(away) > 10
    begins = drawn.words(0, len(drawn))
    assert begins[[place for c in away for place in (c.answer, c.blank[0])]].all()


def test_more_tries_find_more_answers(store: TokenStore) -> None:
    found = []
    for tries in (1, 2, 9):
        mix = mixture(rarity=16.0, tries=tries)
        chunks, indices = all_chunks(mix, store)
        nats = objective(mix).surprisal(chunks)
        clozes = [objective(mix)._cloze(chunks, int(i), nats, Noise(0, 0)) for i in indices]
        found.append(sum(c.without[0] < c.without[1] for c in clozes))
    assert 0 < found[0] < found[1] < found[2]


def test_what_tells_too_little_is_not_asked_for(store: TokenStore) -> None:
    mix = mixture(rarity=1e6)
    chunks, indices = all_chunks(mix, store)
    found = objective(mix)
    nats = found.surprisal(chunks)
    words = set()
    for index in indices[:40]:
        cloze = found._cloze(chunks, int(index), nats, Noise(0, 0))
        assert cloze.without[0] == cloze.without[1]
        assert cloze.answer == cloze.blank[0]
        words.add(int(store.words(*cloze.blank).sum()))
    assert words == {1, 2, 3}


@pytest.mark.parametrize("question", [1, 4, 40])
def test_questions_are_no_longer_than_asked(question: int, store: TokenStore) -> None:
    mix = mixture(question=question)
    chunks, indices = all_chunks(mix, store)
    draft, _ = parts.draft(mix, chunks, indices)
    separator = parts.tokenizer().pieces(["[SEP]"])[0].ids[0]
    longest = max(ids.index(separator) - 1 for ids, _, _ in sequences(draft))
    assert longest <= min(question, mix.room(LENGTH) // 2)
    assert draft.lengths.max() <= LENGTH


def test_masking_leaves_the_blank(store: TokenStore) -> None:
    mix = parts.mixture({"span_selection": 1.0, "masked_lm": {"rate": 0.5}}, parts.model())
    chunks, indices = all_chunks(mix, store)
    clean, changed = parts.draft(mix, chunks, indices)
    blanks = np.flatnonzero(clean.ids == parts.tokenizer().mask_id)
    assert not np.isin(blanks, changed.targets[MASKED]).any()
    assert (changed.targets[START] == clean.targets[START]).all()


def test_the_loss_by_its_definition(store: TokenStore) -> None:
    """Column 0 is the start, as the task has it: the head is fine-tuned with these."""
    mix = mixture()
    batch = parts.batch(mix, store)
    mix.module.eval()
    with torch.no_grad():
        hidden = mix.model(batch)
        logits = mix.model.heads["span"](hidden)
        (part,) = objective(mix).losses(hidden, batch)
    total, right = 0.0, 0
    for number, own in enumerate(torch.split(logits, list(batch.lengths))):
        wanted = [int(batch.targets[name][number]) - batch.starts[number] for name in (START, END)]
        logs = own.log_softmax(0)
        total -= sum(float(logs[place, side]) for side, place in enumerate(wanted)) / 2
        right += own.argmax(0).tolist() == wanted
    assert float(part.total) == pytest.approx(total, rel=1e-5)
    assert part.metrics["accuracy"] == (right, len(batch.lengths)) == (right, part.count)


def test_surprisal_is_that_of_the_store(store: TokenStore, tmp_path: Path) -> None:
    """Held-out text has its own."""
    found = objective(mixture())
    other = parts.drawn_store(tmp_path / "other", vocab=180, documents=3)
    for text in (store, other):
        share = (np.bincount(text.ids, minlength=180) + 1) / (len(text.ids) + 180)
        assert found.surprisal(Chunks(text, 30)) == pytest.approx(-np.log(share))


def test_the_head_is_the_tasks(store: TokenStore, tmp_path: Path) -> None:
    """What was learned is there when the model is saved and fine-tuned for questions."""
    mix = mixture()
    losses = parts.learn(mix, store, steps=25, length=LENGTH, fixed=True)
    assert losses[-1] < losses[0] / 2
    mix.model.save(tmp_path / "saved")
    again = hub.load(tmp_path / "saved")
    weight = mix.model.heads["span"].out.weight  # type: ignore[union-attr]
    head = again.keep_head("span")
    assert head is not None
    assert (head.out.weight == weight).all()  # type: ignore[union-attr]


def test_no_room_for_two_texts() -> None:
    mix = mixture()
    with pytest.raises(UserError, match="no room for two texts"):
        mix.room(5)


@pytest.mark.parametrize("length", range(6, 40))
def test_no_sequence_is_longer_than_asked(length: int, store: TokenStore) -> None:
    mix = mixture(rarity=1e6)  # the sentence stays: the longest case
    chunks = mix.cut(store, mix.room(length))
    draft, _ = parts.draft(mix, chunks, np.arange(min(len(chunks), 60)))
    assert draft.lengths.max() <= length
