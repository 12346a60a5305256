"""What a model with random weights is given beforehand: vectors from counts, and a look at neighbors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data import cooccurrence
from jeoni.data.cooccurrence import word_vectors
from jeoni.data.token_store import StoreWriter, TokenStore
from jeoni.models import head_start, hub
from jeoni.models.model import Model
from jeoni.recipes import head_start as given
from jeoni.recipes.pretrain import pretrain, resolve

LENGTH = 40


def attention(model: Model) -> Tensor:
    """Of the first block, on random words: ``[A, T, T]``."""
    body = model.backbone
    ids = torch.randint(5, model.spec.vocab, (LENGTH,), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = body.embeddings(ids, torch.arange(LENGTH), torch.zeros_like(ids))
        block = body.stack.blocks[0]
        own = block.attention
        x = block.attention_norm(x) if block.order == "pre" else x
        query, key, _ = own.qkv(x).view(LENGTH, 3, own.heads, -1).unbind(1)
        scores = torch.einsum("qad,kad->aqk", query, key) * own.scale
        if own.causal:
            scores = scores.masked_fill(torch.ones(LENGTH, LENGTH).triu(1) > 0, float("-inf"))
    return scores.softmax(-1)


@pytest.mark.parametrize(
    ("family", "sizes", "away", "least"),
    [
        ("bert", {"hidden": 256, "width": 256, "heads": 4}, (-1, 1, -2, 2), 0.7),
        ("bert", {"hidden": 96, "width": 96, "heads": 2, "init_range": 0.1}, (-1, 1), 0.6),
        ("distilbert", {"hidden": 128, "width": 128, "heads": 4}, (-1, 1, -2, 2), 0.7),
        ("electra", {"hidden": 256, "width": 128, "heads": 4}, (-1, 1, -2, 2), 0.7),
        ("electra", {"hidden": 320, "width": 160, "heads": 10},
         (-1, 1, -2, 2, -3, 3, -4, 4, None, None), 0.5),
        ("gpt2", {"hidden": 256, "width": 256, "heads": 4}, (-1, -2, -3, -4), 0.8),
        ("gpt2", {"hidden": 96, "width": 96, "heads": 3, "scaled_attention": False},
         (-1, -2, -3), 0.7),
    ],
)  # fmt: skip
def test_heads_look_at_neighbors(
    family: str, sizes: dict[str, Any], away: tuple[int | None, ...], least: float
) -> None:
    model = parts.model(family, **sizes)
    before = attention(model)
    head_start.neighbors(model)
    places = torch.arange(LENGTH)
    for head, (weights, offset) in enumerate(zip(attention(model), away, strict=True)):
        if offset is None:  # a ninth head begins at random, as it would have
            assert weights.max() < 0.5
            continue
        seen = places[(places + offset >= 0) & (places + offset < LENGTH)]
        assert weights[seen, seen + offset].mean() > least, (head, offset)
        assert before[head, seen, seen + offset].mean() < 0.2


def test_without_a_norm_heads_look_at_neighbors() -> None:
    """GPT-1: blocks read the embeddings as they are."""
    spec = replace(parts.model("gpt2", hidden=128, width=128, heads=2).spec, norm="post")
    model = hub.create("openai-gpt", replace(spec, embedding_norm=False), tokenizer=None)
    head_start.neighbors(model)
    weights, places = attention(model), torch.arange(2, LENGTH)
    assert weights[0, places, places - 1].mean() > 0.8
    assert weights[1, places, places - 2].mean() > 0.8


def test_encoder_and_decoder_both_look_at_neighbors() -> None:
    model = parts.model("bart")
    before = {name: p.clone() for name, p in model.named_parameters()}
    head_start.neighbors(model)
    changed = {name for name, p in model.named_parameters() if not p.equal(before[name])}
    ends = ("embeddings.positions.weight", "stack.blocks.0.attention.qkv.weight")
    assert changed == {f"backbone.{s}.{e}" for s in ("encoder", "decoder") for e in ends}


@pytest.mark.parametrize("family", ["t5", "xlnet"])
def test_models_without_learned_positions_are_refused(family: str) -> None:
    with pytest.raises(UserError, match=f"not {family}") as problem:
        head_start.neighbors(parts.model(family))
    assert "bert" in str(problem.value)
    assert "t5" not in str(problem.value.hint)


def written(folder: Path, documents: list[list[int]], vocab: int = 40) -> TokenStore:
    with StoreWriter(folder, vocab, {}) as writer:
        for ids in documents:
            writer.add(ids, np.ones(len(ids), np.bool_), [0])
    return TokenStore(folder)


def planted() -> list[list[int]]:
    """Words 10 and 11 stand among 20-23, words 12 and 13 among 24-27; 30 was never read."""
    generator, found = np.random.default_rng(0), []
    for number in range(400):
        context = generator.permutation([20, 21, 22, 23] if number % 2 else [24, 25, 26, 27])
        word = (12 - 2 * (number % 2)) + number // 2 % 2
        found.append([*context[:2].tolist(), word, *context[2:].tolist()])
    return found


def cosine(vectors: Any, one: int, other: int) -> float:
    a, b = vectors[one], vectors[other]
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_words_in_the_same_places_have_near_vectors(tmp_path: Path) -> None:
    store = written(tmp_path / "store", planted())
    vectors = word_vectors(store, 6)
    assert vectors.shape == (40, 6)
    assert cosine(vectors, 10, 11) > 0.8
    assert cosine(vectors, 12, 13) > 0.8
    assert cosine(vectors, 10, 12) < 0.3
    assert not vectors[30].any()
    assert np.array_equal(vectors, word_vectors(store, 6))


def test_rows_of_words(tmp_path: Path) -> None:
    """As long as they were, the mean taken off; who has no vector keeps the row."""
    model = parts.model()
    table = model.backbone.embeddings.words.weight
    before = table.detach().clone()
    vectors = word_vectors(written(tmp_path / "store", planted()), table.shape[1])
    assert head_start.words(model, vectors) == 12
    assert model.backbone.embeddings.words.weight is table
    seen = torch.from_numpy(vectors).norm(dim=1) > 0
    rows = table.detach()[: len(vectors)]
    assert torch.equal(rows[~seen], before[: len(vectors)][~seen])
    assert torch.equal(table[len(vectors) :], before[len(vectors) :])
    length = before.std() * before.shape[1] ** 0.5
    torch.testing.assert_close(rows[seen].norm(dim=1), length.expand(12))
    assert cosine(rows.numpy(), 10, 11) > 0.6 > 0 > cosine(rows.numpy(), 10, 12)


def test_pairs_are_counted_within_documents(tmp_path: Path) -> None:
    documents = np.random.default_rng(1).integers(0, 6, 90).tolist()
    documents = [documents[:50], documents[50:51], documents[51:]]
    store = written(tmp_path / "store", documents, 6)
    expected = np.zeros((6, 6))
    for ids in documents:
        for place, one in enumerate(ids):
            for away, other in enumerate(ids[place + 1 : place + 4], 1):
                expected[min(one, other), max(one, other)] += 1 / away
    found = cooccurrence._pairs(store, 0, 90).toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("documents", [[], [[1]], [[1], [2]] * 50, [[1, 2, 3]]])
def test_text_with_too_few_pairs_gives_nothing(tmp_path: Path, documents: list[list[int]]) -> None:
    assert not word_vectors(written(tmp_path / "store", documents), 8).any()


def test_a_long_text_is_counted_in_parts_evenly_spread(tmp_path: Path) -> None:
    assert cooccurrence._starts(37, 100, 10) == [0, 10, 20, 30]
    assert cooccurrence._starts(100, 30, 10) == [0, 30, 60]
    assert cooccurrence._starts(7, 1, 10) == [0]
    store = written(tmp_path / "store", planted())
    whole = word_vectors(store, 6)
    few = word_vectors(store, 6, part=100)  # whole documents, as it happens
    np.testing.assert_allclose(few @ few.T, whole @ whole.T, atol=1e-3)
    half = word_vectors(store, 6, part=100, limit=1000)
    assert cosine(half, 10, 11) > 0.5


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences that are parts of one circle of words: who knows the neighbors knows the word."""
    words = [a + b for a in "바사하다가나마" for b in "람조늘리을무음래"]
    generator, documents = np.random.default_rng(0), []
    for _ in range(60):
        starts = generator.integers(0, len(words), 6)
        documents.append("\n".join(" ".join(np.roll(words, -n)[:12]) for n in starts))
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


def settings(text: Path, out: Path, **others: Any) -> dict[str, Any]:
    spec = {"layers": 2, "hidden": 64, "heads": 2, "feed_forward": 64, "positions": 64}
    return {
        "model": "electra-small",
        "spec": {**spec, "width": 32, "init_range": 0.1, "dropout": 0.0},
        "tokenizer": {"vocab_size": 150},
        "length": 32,
        "batch": {"size": 8},
        "train": {"steps": 30, "lr": 3e-3, "threads": 1, "precision": "fp32"},
        "objectives": {"masked_lm": {"rate": 0.3}},
        "data": {"text": str(text), "held_out": 0.2},
        "out": str(out),
        **others,
    }


def test_a_run_learns_more_with_it(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pretrain(settings(text, tmp_path / "plain"))
    recipe = settings(text, tmp_path / "given", head_start=True)
    given_ = pretrain(recipe)
    assert given_.metrics["loss"] < plain.metrics["loss"] - 0.1
    # Gone on from its checkpoint, nothing is counted again, and the same comes out.
    monkeypatch.setattr(given, "word_vectors", lambda *_, **__: pytest.fail("counted again"))
    (tmp_path / "given" / "results.json").unlink()
    assert pretrain(recipe).metrics == given_.metrics
    checkpoint = {"model": str(tmp_path / "plain"), "spec": None, "head_start": {"words": True}}
    with pytest.raises(UserError, match="is a checkpoint"):
        pretrain({**recipe, **checkpoint, "out": str(tmp_path / "on")})
    assert not (tmp_path / "on").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head_start": "yes please"}, "head_start"),
        ({"head_start": {"word": True}}, "word"),
    ],
)
def test_mistakes(text: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        resolve(settings(text, tmp_path / "run", **change), [], {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, (True, True)), (False, (False, False)), ({"words": True}, (True, False))],
)
def test_short_forms(text: Path, tmp_path: Path, value: Any, expected: tuple[bool, bool]) -> None:
    found = resolve(settings(text, tmp_path / "run", head_start=value), [], {}).head_start
    assert (found.words, found.neighbors) == expected
