"""Causal language modeling: every token predicted once, documents apart or one after the other."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import objective_parts as parts
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig
from jeoni.data.token_store import StoreWriter, TokenStore
from jeoni.models import hub
from jeoni.objectives._batches import StoreBatches, held_out
from jeoni.objectives._draft import Noise
from jeoni.objectives._mixture import Mixture
from jeoni.objectives._writing import end_id, start_id
from jeoni.text.training import train

ACROSS = {"causal_lm": {"across_documents": True}}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("text") / "gpt2", parts.tokenizer("gpt2"))


def counted(folder: Path, lengths: tuple[int, ...] = (30, 9, 8, 41)) -> TokenStore:
    """Documents whose tokens count up from 10, so that a token tells its place."""
    ids = iter(range(10, 400))
    with StoreWriter(folder, 420, {}) as writer:
        for length in lengths:
            own = [next(ids) for _ in range(length)]
            writer.add(own, np.ones(length, bool), [0])
    return TokenStore(folder)


def whole(mix: Mixture, store: TokenStore, length: int, *, epoch: int = 0) -> Batch:
    """An epoch as one batch, in the order of the text."""
    chunks = mix.cut(store, mix.room(length), epoch=epoch)
    return mix.batch(chunks, np.arange(len(chunks)), Noise(0, epoch))


@pytest.mark.parametrize("epoch", range(4))
def test_every_token_is_predicted_once_from_the_one_before(epoch: int, tmp_path: Path) -> None:
    mix = parts.mixture("causal_lm", parts.model("gpt2"))
    store = counted(tmp_path / "store")
    batch = whole(mix, store, 17, epoch=epoch)
    end = end_id(parts.tokenizer("gpt2"))
    written = batch.targets["written"]
    plain = written[written != end]
    chunks = mix.cut(store, mix.room(17), epoch=epoch)
    assert sorted(plain.tolist()) == list(range(10, 10 + len(store)))
    assert len(written) == len(batch.ids)
    ends = set((store.documents[1:] - 1 + 10).tolist())
    for read, wanted in zip(batch.ids.tolist(), written.tolist(), strict=True):
        if wanted == end:
            assert read in ends
        elif read == end:
            assert wanted - 10 in store.documents
        else:
            assert wanted == read + 1
    owner = np.repeat(chunks.documents, batch.lengths)
    inside = (written != end).numpy()
    places = written.numpy()[inside] - 10
    assert np.array_equal(np.searchsorted(store.documents, places, "right") - 1, owner[inside])


def test_the_last_target_of_a_document_is_its_end(tmp_path: Path) -> None:
    mix = parts.mixture("causal_lm", parts.model("gpt2"))
    batch = whole(mix, counted(tmp_path / "store", (12, 20)), 64)
    end = end_id(parts.tokenizer("gpt2"))
    assert batch.lengths == (13, 21)
    assert batch.targets["written"].tolist() == [*range(10, 22), end, *range(22, 42), end]
    assert batch.ids.tolist() == [end, *range(10, 22), end, *range(22, 42)]


@pytest.mark.parametrize("epoch", range(3))
@pytest.mark.parametrize("length", [9, 16, 40])
def test_across_documents_is_one_text_in_equal_pieces(
    epoch: int, length: int, tmp_path: Path
) -> None:
    mix = parts.mixture(ACROSS, parts.model("gpt2"))
    store = counted(tmp_path / "store")
    batch = whole(mix, store, length, epoch=epoch)
    end = end_id(parts.tokenizer("gpt2"))
    wanted = [end]
    for first, last in zip(store.documents[:-1], store.documents[1:], strict=True):
        wanted += [*store.ids[first:last].tolist(), end]
    assert batch.targets["written"].tolist() == wanted[1:]
    assert batch.ids.tolist() == wanted[:-1]
    assert set(batch.lengths[1:-1]) <= {length}
    assert max(batch.lengths) <= length
    assert batch.positions.tolist() == [i for n in batch.lengths for i in range(n)]


def test_across_documents_the_cuts_move_from_epoch_to_epoch(tmp_path: Path) -> None:
    mix = parts.mixture(ACROSS, parts.model("gpt2"))
    store = parts.drawn_store(tmp_path / "store", vocab=400, documents=5)
    cuts = {mix.cut(store, 64, epoch=epoch).starts[1].item() for epoch in range(8)}
    assert len(cuts) > 4


def test_a_token_sees_its_document_alone_or_the_ones_before_too(tmp_path: Path) -> None:
    store = counted(tmp_path / "store", (10, 10))
    other = counted(tmp_path / "other", (10, 10))
    changed = np.array(store.ids)
    changed[3] = 300
    object.__setattr__(other, "ids", changed)
    for chosen, moved in (({"causal_lm": 1.0}, False), (ACROSS, True)):
        mix = parts.mixture(chosen, parts.model("gpt2"))
        first, second = (whole(mix, s, 64) for s in (store, other))
        with torch.no_grad():
            a, b = (mix.model(batch)[-3:] for batch in (first, second))
        assert torch.equal(a, b) is not moved


def test_the_loss_is_the_mean_of_plain_log_probabilities(text: TokenStore) -> None:
    model = parts.model("gpt2")
    mix = parts.mixture("causal_lm", model)
    words = model.backbone.embeddings.words.weight
    total, count, sums = 0.0, 0, {}
    for batch in held_out(text, mix, length=32, tokens=600, config=BatchConfig(eval_tokens=150)):
        start = 0
        for length in batch.lengths:
            ids = batch.ids[start : start + length]
            with torch.no_grad():
                logits = model(Batch.pack([ids.tolist()])) @ words.T
            wanted = batch.targets["written"][start : start + length]
            total -= float(logits.log_softmax(-1).gather(1, wanted[:, None]).sum())
            count, start = count + length, start + length
        mix.expect({})
        for name, (value, of) in mix(batch).metrics.items():
            old = sums.get(name, (0.0, 0.0))
            sums[name] = (old[0] + value, old[1] + of)
    figures = mix.figures(sums)
    assert sums["causal_lm_loss"][1] == count
    assert figures["causal_lm_perplexity"] == pytest.approx(math.exp(total / count), rel=1e-5)
    assert 0 <= figures["causal_lm_accuracy"] <= 1


@pytest.mark.parametrize("chosen", [{"causal_lm": 1.0}, ACROSS], ids=["apart", "across"])
def test_ranks_and_parts_make_no_difference(chosen: parts.Chosen, text: TokenStore) -> None:
    mix = parts.mixture(chosen, parts.model("gpt2"))
    config = BatchConfig(size=12, micro_tokens=100)
    batches = StoreBatches(text, mix, length=40, config=config, seed=3)
    found = []
    for world in (1, 3):
        shares = [part for rank in range(world) for part in batches.get(1, 2, rank, world)]
        ids = [
            s for part in shares for s in torch.split(part.targets["written"], list(part.lengths))
        ]
        found.append(sorted(sequence.tolist() for sequence in ids))
    assert len(found[0]) == 12
    assert found[0] == found[1]


def test_it_learns_the_text(text: TokenStore) -> None:
    mix = parts.mixture("causal_lm", parts.model("gpt2"))
    losses = parts.learn(mix, text, steps=25, length=64, size=8)
    assert np.mean(losses[-4:]) < 0.85 * losses[0]


def test_accuracy_costs_nothing_while_training(text: TokenStore) -> None:
    mix = parts.mixture("causal_lm", parts.model("gpt2"))
    batch = parts.batch(mix, text)
    for training in (True, False):
        mix.module.train(training)
        assert ("causal_lm_accuracy" in mix(batch).metrics) is not training


def test_what_begins_and_ends_a_text() -> None:
    for family, names in (
        ("gpt2", ("<|endoftext|>", "<|endoftext|>")),
        ("bert", ("[CLS]", "[SEP]")),
        ("bart", ("<s>", "</s>")),
        ("t5", ("</s>", "</s>")),
    ):
        words = parts.tokenizer(family)
        assert (words.tokens[start_id(words)], words.tokens[end_id(words)]) == names
    bare = train(["a river near a bridge"], kind="bpe", like="gpt1", vocab_size=60)
    model = hub.create("gpt2", replace(parts.model("gpt2").spec, vocab=60), tokenizer=bare)
    with pytest.raises(UserError, match="no token that ends a text") as caught:
        parts.mixture("causal_lm", model)
    assert "jeoni tokenizer train" in str(caught.value.hint)


@pytest.mark.parametrize("family", ["bert", "t5", "xlnet"])
def test_a_model_that_sees_what_comes_next_is_refused(family: str) -> None:
    with pytest.raises(UserError, match="see what comes next"):
        parts.mixture("causal_lm", parts.model(family))


def test_words_narrower_than_the_states_are_refused() -> None:
    with pytest.raises(UserError, match="width 8 cannot be written") as caught:
        parts.mixture("causal_lm", parts.model("electra", causal=True, width=8))
    assert "spec.tied=false" in (caught.value.hint or "")
