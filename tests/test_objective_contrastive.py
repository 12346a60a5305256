"""Contrastive learning: pairs, the loss by its definition, and gradients of large batches in parts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import contrastive_ranks
import launch
import objective_parts as parts
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig
from jeoni.data.token_store import TokenStore
from jeoni.objectives import contrastive
from jeoni.objectives._batches import StoreBatches, held_out
from jeoni.objectives._draft import Noise
from jeoni.objectives._mixture import Mixture
from jeoni.serving.vectors import embed

PAIRS = ("documents", "dropout")
DROPOUT = {"dropout": 0.1, "attention_dropout": 0.1}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("text") / "bert")


def mixed(family: str = "bert", *, dropout: bool = True, **settings: Any) -> Mixture:
    changes = DROPOUT if dropout else {}
    # (With large weights, sentences differ: else gradients are differences of nearly equal numbers.)
    own = {} if family == "t5" else {"init_range": 0.3}
    return parts.mixture({"contrastive": settings}, parts.model(family, **changes, **own))


def sentences(mix: Mixture, store: TokenStore, count: int = 12, length: int = 64) -> Batch:
    chunks = mix.cut(store, mix.room(length))
    return mix.batch(chunks, np.arange(count), Noise(0, 0))


def found(mix: Mixture, batch: Batch, seed: int = 0) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients."""
    torch.manual_seed(seed)
    mix.module.train()
    loss = mix(batch)
    loss.total.backward()  # type: ignore[no-untyped-call]
    return float(loss.total.detach()), parts.gradients(mix)


def farthest(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest difference, over the size of the gradient."""
    assert a.keys() == b.keys()
    largest = max(float(g.abs().max()) for g in a.values())
    return max(float((a[name] - b[name]).abs().max()) for name in a) / largest


def test_each_sentence_is_there_twice(text: TokenStore) -> None:
    mix = mixed()
    chunks = mix.cut(text, mix.room(64))
    starts = set(text.sentences.tolist())
    assert len(chunks) > 250
    assert set(chunks.starts.tolist()) <= starts
    assert set(chunks.stops.tolist()) <= starts
    batch = sentences(mix, text)
    first, second = batch.ids[: len(batch.ids) // 2], batch.ids[len(batch.ids) // 2 :]
    assert torch.equal(first, second)
    assert batch.lengths[:12] == batch.lengths[12:]
    assert batch.examples == (*range(12), *range(12))
    longer = mixed(least=30).cut(text, 62).lengths
    assert longer.min() >= 30
    assert 0 < len(longer) < len(chunks)


def test_dropout_makes_the_difference(text: TokenStore) -> None:
    mix = mixed()
    batch = sentences(mix, text)
    mix.module.train()
    vectors = mix.parts[0].objective.run(batch)
    assert not torch.allclose(vectors[:12], vectors[12:], atol=1e-3)
    mix.module.eval()
    vectors = mix.parts[0].objective.run(batch)
    assert torch.allclose(vectors[:12], vectors[12:], atol=1e-6)


@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
@pytest.mark.parametrize("projection", [False, True])
def test_the_loss_by_its_definition(pooling: str, projection: bool, text: TokenStore) -> None:
    mix = mixed(pooling=pooling, projection=projection, temperature=0.2)
    mix.module.eval()
    batch = sentences(mix, text, 6)
    vectors = []
    with torch.no_grad():
        for ids in torch.split(batch.ids, list(batch.lengths)):
            hidden = mix.model(Batch.pack([ids.tolist()]))
            one = {"first": hidden[0], "mean": hidden.mean(0), "last": hidden[-1]}[pooling]
            if projection:
                layer = mix.module["projection"]  # type: ignore[index]
                one = torch.tanh(layer.weight @ one + layer.bias)
            vectors.append(one)
        total = 0.0
        for i in range(6):
            cosines = [
                float(torch.dot(vectors[i], v) / vectors[i].norm() / v.norm()) for v in vectors[6:]
            ]
            odds = np.exp(np.array(cosines) / 0.2)
            total -= np.log(odds[i] / odds.sum())
        objective = mix.parts[0].objective
        loss = objective.losses(objective.run(batch), batch)[0]
    assert float(loss.total) == pytest.approx(total, rel=1e-4)
    assert loss.count == 6
    assert not loss.metrics  # without dropout both readings are one, and always the nearest


@pytest.mark.filterwarnings("ignore:contrastive")
@pytest.mark.parametrize("at_once", [1, 40, 100])
def test_gradients_in_parts_are_those_of_the_whole(at_once: int, text: TokenStore) -> None:
    whole, cut = (mixed(dropout=False, at_once=n) for n in (10**6, at_once))
    batch = sentences(whole, text)
    loss, gradients = found(whole, batch)
    again, same = found(cut, batch)
    assert again == pytest.approx(loss, rel=1e-5)
    assert farthest(gradients, same) < 1e-5


@pytest.mark.parametrize("family", ["bert", "xlnet", "t5"])
def test_with_dropout_parts_draw_it_again(
    family: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = parts.store(tmp_path / "store", parts.tokenizer(family))
    mix = mixed(family, at_once=60)
    batch = sentences(mix, store)
    loss, gradients = found(mix, batch)
    after = torch.rand(())
    with monkeypatch.context() as patch:  # the same parts, all kept
        patch.setattr(contrastive, "checkpoint", lambda f, *args, **_: f(*args))
        assert (loss, after) == (found(mix, batch)[0], torch.rand(()))
        assert farthest(gradients, found(mix, batch)[1]) < 1e-6
    with monkeypatch.context() as patch:  # and what it would be with other dropout
        original = contrastive.checkpoint
        careless = lambda f, *args, **k: original(f, *args, **k | {"preserve_rng_state": False})
        patch.setattr(contrastive, "checkpoint", careless)
        assert farthest(gradients, found(mix, batch)[1]) > 1e-3


def test_with_blocks_computed_again_as_well(text: TokenStore) -> None:
    mix = mixed(at_once=60)
    batch = sentences(mix, text)
    loss, gradients = found(mix, batch)
    mix.model.backbone.stack.recompute = True
    again, same = found(mix, batch)
    assert again == loss
    assert farthest(gradients, same) < 1e-6


def test_under_bfloat16_too(monkeypatch: pytest.MonkeyPatch, text: TokenStore) -> None:
    mix = mixed(at_once=60)
    batch = sentences(mix, text)
    with torch.autocast("cpu", torch.bfloat16):
        loss, gradients = found(mix, batch)
        monkeypatch.setattr(contrastive, "checkpoint", lambda f, *args, **_: f(*args))
        again, same = found(mix, batch)
    assert loss == again
    assert farthest(gradients, same) < 1e-2


def test_parts_keep_no_activations(text: TokenStore) -> None:
    kept = {}
    for at_once in (60, 10**6):
        mix = mixed(at_once=at_once)
        mix.module.train()
        batch = sentences(mix, text, 40)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, own=sizes: (own.append(t.numel()), t)[1],  # type: ignore[misc]
            lambda t: t,
        ):
            mix(batch)
        kept[at_once] = sum(sizes)
    assert kept[60] < 0.05 * kept[10**6]


def test_a_step_is_one_batch_however_large(text: TokenStore) -> None:
    mix = mixed()
    config = BatchConfig(size=24, micro_tokens=50, eval_tokens=50)
    batches = StoreBatches(text, mix, length=40, config=config, seed=1)
    one = batches.get(0, 1)
    assert len(one) == 1
    assert mix.counts(one[0])["contrastive/0"] == 24
    shares = [batches.get(0, 1, rank, 5)[0] for rank in range(5)]
    examples = sorted(set(one[0].examples))
    assert sorted(e for share in shares for e in set(share.examples)) == examples
    assert batches.get(0, 1, 3, 25) == []  # one would have none, and the others wait for it
    unseen = held_out(text, mix, length=40, tokens=1000, config=config)
    assert [mix.counts(batch)["contrastive/0"] for batch in unseen[:-1]] == [24] * (len(unseen) - 1)


@pytest.mark.filterwarnings("ignore:contrastive")
def test_two_processes_are_one(tmp_path: Path) -> None:
    parts.store(tmp_path / "store")
    script = str(Path(contrastive_ranks.__file__))
    out = launch.run([script, str(tmp_path / "store"), *PAIRS], 2)
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    for pairs, two in zip(PAIRS, lines, strict=True):
        one = contrastive_ranks.step(tmp_path / "store", pairs)
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert one["gradients"].keys() == two["gradients"].keys()
        largest = max(abs(value) for values in one["gradients"].values() for value in values)
        for name, values in one["gradients"].items():
            near = pytest.approx(values, rel=1e-4, abs=1e-5 * largest)
            assert two["gradients"][name] == near, name


def test_pairs_and_hard_negatives_from_documents(tmp_path: Path) -> None:
    texts = [
        ("The river is near the bridge.", "The bridge is near the river."),
        ("Bread and butter.", "Butter and bread.", "The river is old."),
        ("Only one sentence here.",),
        (
            "A football player.",
            "The player of football.",
            "A painter.",
            "The gallery of the other.",
        ),
    ]
    words = parts.tokenizer()
    store = parts.store(tmp_path / "store", words, texts)
    mix = mixed(pairs="documents")
    chunks = mix.cut(store, mix.room(64))
    assert len(chunks) == 3
    batch = mix.batch(chunks, np.array([2, 0, 1]), Noise(0, 0))
    read = [words.decode(ids.tolist()) for ids in torch.split(batch.ids, list(batch.lengths))]
    ids = [words.encode(t).ids for n in (3, 0, 1) for t in texts[n][:1]]
    ids += [words.encode(texts[n][1]).ids for n in (3, 0, 1)]
    ids += [words.encode(texts[n][2]).ids for n in (3, 1)]
    assert [list(s) for s in torch.split(batch.ids, list(batch.lengths))] == ids, read
    assert batch.examples == (2, 0, 1, 2, 0, 1, 2, 1)
    assert mix.counts(batch)["contrastive/0"] == 3
    mix.module.eval()
    objective = mix.parts[0].objective
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(objective.run(batch), dim=-1)
        loss = objective.losses(objective.run(batch), batch)[0]
        scores = (vectors[:3] @ vectors[3:].T) / 0.05
        assert scores.shape == (3, 5)
        right = -scores.log_softmax(-1).diagonal().sum()
    assert float(loss.total) == pytest.approx(float(right), rel=1e-5)
    short = mix.cut(store, 3)
    assert max(mix.batch(short, np.arange(3), Noise(0, 0)).lengths) <= 5


def test_a_document_counts_for_what_is_read_of_it(text: TokenStore) -> None:
    """Two or three sentences: not the rest, by which batches and held-out text would be too small."""
    mix = mixed(pairs="documents")
    chunks = mix.cut(text, 6)
    counts = [
        sum(mix.batch(chunks, np.array([i]), Noise(0, 0)).lengths) for i in range(len(chunks))
    ]
    around = 3 * mix.model.tokenizer.special_count()
    assert chunks.lengths.tolist() == [count - around for count in counts]
    batches = held_out(text, mix, length=64, tokens=200, config=BatchConfig())
    read = sum(sum(batch.lengths) - 2 * len(batch.lengths) for batch in batches)
    assert 200 <= read < 200 + 3 * 62


def test_documents_of_one_sentence_are_no_pairs(tmp_path: Path) -> None:
    store = parts.store(tmp_path / "store", None, [("Only one sentence here.",)])
    with pytest.raises(UserError, match="no document is long enough"):
        StoreBatches(store, mixed(pairs="documents"), length=40, config=BatchConfig(), seed=0)


def test_pairs_come_nearer(tmp_path: Path) -> None:
    texts = []
    for number, topic in enumerate(parts.TOPICS * 2):
        words = topic.split()
        half = len(words) // 2
        texts.append(
            (" ".join(words[:half]), " ".join(words[half:]), "near the other " + "a" * number)
        )
    store = parts.store(tmp_path / "store", None, texts[:6])
    mix = mixed(pairs="documents", temperature=0.1)
    losses = parts.learn(mix, store, steps=30, size=6, fixed=True)
    assert losses[-1] < 0.5 * losses[0]


def test_what_is_kept_has_no_projection(tmp_path: Path) -> None:
    mix = mixed()
    assert {name.split(".")[0] for name, _ in mix.module.named_parameters()} == {
        "model",
        "projection",
    }
    assert not mix.model.heads
    assert not any("projection" in name for name, _ in mix.model.named_parameters())


def test_a_model_without_dropout_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="no dropout"):
        mixed(dropout=False)


def test_a_first_token_that_sees_no_other() -> None:
    with pytest.raises(UserError, match="first token sees no other"):
        mixed("gpt2")
    assert mixed("gpt2", pooling="last").room(20) == 20


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"pooling": "cls"}, {"pairs": "nli"}])
def test_mistakes(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"objectives\.contrastive.*{next(iter(settings))}"):
        mixed(**settings)


# Vectors


TEXTS = [
    "The river.",
    "서울에서 부산까지 기차를 타고",
    "A bridge near the other bridge.",
    "the river",
]


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "bart", "xlnet"])
@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
def test_vectors_of_sentences(family: str, pooling: Any) -> None:
    model = parts.model(family, **DROPOUT).train()
    if (family, pooling) == ("gpt2", "first"):
        with pytest.raises(UserError, match="first token sees no other"):
            embed(model, TEXTS, pooling=pooling)
        return
    found = embed(model, TEXTS, pooling=pooling, tokens=16)
    assert model.training
    assert found.shape == (4, 32)
    states = [array[-1] for array in model.hidden_states(TEXTS)]
    for vector, state in zip(found, states, strict=True):
        wanted = {"first": state[0], "mean": state.mean(0), "last": state[-1]}[pooling]
        assert np.allclose(vector, wanted, atol=1e-5)


def test_vectors_have_length_one_and_texts_are_cut() -> None:
    model = parts.model("bert")
    found = embed(model, TEXTS, normalized=True)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.allclose(embed(model, TEXTS[2:3], normalized=True)[0], found[2], atol=1e-6)
    long = " ".join(TEXTS * 40)
    assert embed(model, [long], max_length=16).shape == (1, 32)
    assert np.isfinite(embed(model, [long])).all()
    assert embed(model, []).shape == (0, 32)


def test_vectors_of_nothing() -> None:
    with pytest.raises(UserError, match="text 1: no tokens"):
        embed(parts.model("gpt2"), ["a river", ""])


def test_the_projection_is_drawn_for_itself() -> None:
    """Not with the seed of the backbone, whose word table begins with the first numbers."""
    mix = mixed()
    of = dict(mix.module.named_parameters())
    (projection,) = (w for name, w in of.items() if name.endswith("projection.weight"))
    words = next(w for name, w in of.items() if name.endswith("embeddings.words.weight"))
    own, other = projection.detach().flatten(), words.detach().flatten()[: projection.numel()]
    assert abs(float(torch.corrcoef(torch.stack([own, other]))[0, 1])) < 0.5
