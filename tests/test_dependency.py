"""Dependency parsing: gold trees, places of words, the best tree, official scores, the report, a run."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import peers
import tiny
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import Record
from jeoni.data.trees import tree_problem
from jeoni.metrics.parsing import Tree, klue_dp
from jeoni.models import hub
from jeoni.models.model import Model
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.recipes.predict import predict
from jeoni.report.arcs import Arcs, Parsed
from jeoni.tasks._spanning_tree import best_tree
from jeoni.tasks._tree_scores import tree_scores
from jeoni.tasks.dependency import Dependency, DependencyConfig, TreePrediction
from report_page import NASTY, render

LABELS = ("det", "nsubj", "obj", "obl", "punct", "root")
SENTENCES: list[tuple[list[str], list[int], list[str]]] = [
    (["The", "River", "flows", "."], [2, 3, 0, 3], ["det", "nsubj", "root", "punct"]),
    (["July", "opened", "it"], [2, 0, 2], ["nsubj", "root", "obj"]),
    (["세종대왕은", "훈민정음을", "만들었다"], [3, 3, 0], ["nsubj", "obj", "root"]),
    (["wonderful"], [0], ["root"]),
]


def sentences(rows: Sequence[tuple[list[str], list[int], list[str]]] = SENTENCES) -> list[Record]:
    names = ("text", "tokens", "heads", "relations")
    return [
        Record(dict(zip(names, (" ".join(row[0]), *row), strict=True)), "x.conllu", n)
        for n, row in enumerate(rows, 1)
    ]


def make(model: Model | None = None, **settings: Any) -> Dependency:
    config = {"labels": LABELS, "arc_size": 8, "relation_size": 4, "dropout": 0.0, **settings}
    return Dependency(model=model or tiny.model(), config=DependencyConfig(**config))


def right(rows: Sequence[tuple[list[str], list[int], list[str]]] = SENTENCES) -> list[Any]:
    return [TreePrediction(tuple(h), tuple(r), (1.0,) * len(h)) for _, h, r in rows]


def conllu(rows: Sequence[tuple[list[str], Sequence[object], list[str]]] = SENTENCES) -> str:
    lines = (
        "".join(
            f"{n}\t{word}\t_\t_\t_\t_\t{head}\t{name}\t_\t_\n"
            for n, (word, head, name) in enumerate(zip(*row, strict=True), 1)
        )
        for row in rows
    )
    return "# text = x\n" + "\n".join(lines) + "\n"


# The best tree


def every_tree(count: int) -> list[tuple[int, ...]]:
    every = itertools.product(range(count + 1), repeat=count)
    return [heads for heads in every if tree_problem(heads) is None]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_best_tree_is_that_of_brute_force(count: int) -> None:
    rng = np.random.default_rng(count)
    trees = np.array(every_tree(count))
    assert len(trees) == count ** (count - 1)  # Cayley: so many trees with one root there are
    for _ in range(40):
        scores = rng.normal(0, 3, (count, count + 1)).round(1)
        sums = scores[np.arange(count), trees].sum(1)
        found = best_tree(scores)
        assert tree_problem(found) is None
        assert scores[np.arange(count), found].sum() == pytest.approx(sums.max())


def test_cycles_within_cycles() -> None:
    """Far from the greedy heads: each pair of words prefers itself, and pairs of pairs each other."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1, (64, 65))
    for size in (2, 4, 8, 16, 32, 64):
        block = np.kron(np.eye(64 // size), np.ones((size, size)))
        scores[:, 1:] += 10 * block
    assert tree_problem(scores.argmax(1).tolist()) is not None
    assert tree_problem(best_tree(scores)) is None


def test_a_forbidden_arc_is_not_taken() -> None:
    assert best_tree(np.array([[-9.0, 0.0, -np.inf], [-50.0, -3.0, 0.0]])) == [0, 1]
    # Two arcs must change where word 1 would be a second root.
    none = -np.inf
    rows = [[0.0, none, none, -10.0], [0.0, none, none, none], [0.0, 0.0, -10.0, none]]
    assert best_tree(np.array(rows)) == [3, 0, 2]


# Gold trees


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ([2, 1, 0], "words 1, 2 go round"),
        ([0, 3, 4, 2], "words 2, 3, 4 go round"),
        ([0, 0, 1], r"2 words have no head \(words 1, 2\)"),
        ([2, 3, 1], "0 words have no head"),
        ([0, 4, 1], "head 4 of word 2 is none of the 3 words"),
        ([0, 2, 1], "words 2 go round"),
        ([0, 1], "3 words, but 2 heads"),
        ([0, "x", 1], "word 2: head 'x' is no number"),
        ([0, None, 1], "word 2: head None is no number"),
        ([0, -1, 1], "word 2: head -1 is no number"),
        ("012", "no list of heads"),
    ],
)
def test_what_is_no_tree(tmp_path: Path, heads: Any, message: str) -> None:
    words = ["a", "b", "c", "d"][: max(3, len(heads))] if len(heads) != 2 else ["a", "b", "c"]
    good = {"tokens": ["a"], "head": [0], "deprel": ["root"]}
    bad = {"tokens": words, "head": heads, "deprel": ["x"] * len(words)}
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    dataset = open_dataset(DataConfig(train=str(path)), task="dependency")
    with pytest.raises(UserError, match=rf"x\.jsonl, line 2.*{message}"):
        dataset.split("train")


def test_a_file_says_where(tmp_path: Path) -> None:
    path = tmp_path / "x.conllu"
    path.write_text(conllu([SENTENCES[0], (["a", "b"], [2, 1], ["x", "y"])]))
    dataset = open_dataset(DataConfig(dev=str(path)), task="dependency")
    with pytest.raises(UserError, match=r"x\.conllu, line 7: 0 words have no head"):
        dataset.split("dev")
    path.write_text(conllu([(["a", "b"], [0, 3], ["x", "y"])]))
    dataset = open_dataset(DataConfig(dev=str(path)), task="dependency")
    with pytest.raises(UserError, match=r"x\.conllu, line 3: head '3' is none of the 2 words"):
        dataset.split("dev")


def test_a_treebank_is_in_the_catalog_twice(tmp_path: Path) -> None:
    folder = tmp_path / "ud-korean-gsd"
    folder.mkdir()
    (folder / "ko_gsd-ud-dev.conllu").write_text(conllu(), encoding="utf-8")
    for name in ("ud-korean-gsd-dp", "ud-korean-gsd"):
        for root in (tmp_path, folder):
            rows = open_dataset(DataConfig(name=name, root=str(root))).split("dev")
            assert ("heads" in rows[0].fields) == name.endswith("-dp")
    data = DataConfig(name="ud-korean-gsd", root=str(tmp_path))
    with pytest.raises(UserError, match=r"is for tagging, not for dependency\n.*ud-korean-gsd-dp"):
        open_dataset(data, task="dependency")


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (("heads", "relations"), {}),
        (("head", "deprel"), {}),
        (("head", "deprel"), {"heads": "head"}),
        (("h", "r"), {"heads": "h", "relations": "r"}),
    ],
)
def test_columns_of_trees(tmp_path: Path, names: tuple[str, str], columns: dict[str, str]) -> None:
    row = {"tokens": ["a", "b"], names[0]: [2, 0], names[1]: ["det", "root"]}
    if columns:
        row["upos"] = ["DET", "NOUN"]  # without the names set, it would be for tagging
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(row))
    dataset = open_dataset(DataConfig(dev=str(path), **columns))
    assert dataset.task == "dependency"
    (found,) = dataset.split("dev")
    assert (found.fields["heads"], found.fields["relations"]) == ([2, 0], ["det", "root"])


def test_klue_as_it_is_published(tmp_path: Path) -> None:
    """In its layout, made for the test."""
    lines = ["## INDEX\tWORD_FORM\tLEMMA\tPOS\tHEAD\tDEPREL\n\n"]
    for number, (words, heads, _) in enumerate(SENTENCES):
        lines.append(f"## klue-dp-v1_dev_{number:05}_x\t{' '.join(words)}\n")
        pairs = zip(words, heads, strict=True)
        lines += [f"{n}\t{w}\t{w} x\tNNG\t{h}\tNP_SBJ\n" for n, (w, h) in enumerate(pairs, 1)]
        lines.append("\n")
    (tmp_path / "klue-dp-v1.1_dev.tsv").write_text("".join(lines), encoding="utf-8")
    dataset = open_dataset(DataConfig(name="klue-dp", root=str(tmp_path)))
    rows = dataset.split("dev")
    assert [row.fields["tokens"] for row in rows] == [words for words, _, _ in SENTENCES]
    assert [row.fields["heads"] for row in rows] == [heads for _, heads, _ in SENTENCES]
    assert rows[0].fields["relations"] == ["NP_SBJ"] * 4
    assert rows[1].fields["id"] == "klue-dp-v1_dev_00001_x"
    assert (dataset.metric, len(dataset.labels or ())) == ("klue_dp", 38)


# Sequences


def test_a_word_is_known_by_its_first_token() -> None:
    task = make()
    encoded = task.encode(sentences())
    assert {str(rows.dtype) for rows in encoded.features.targets.values()} == {"int16"}
    for index, (words, heads, names) in enumerate(SENTENCES):
        batch = encoded.features.batch([index])
        encoding = task.model.tokenizer.encode(" ".join(words))
        assert batch.ids.tolist() == encoding.ids
        places = batch.targets["places"][0].tolist()
        starts = [0, *itertools.accumulate(len(word) + 1 for word in words)][: len(words)]
        assert [encoding.offsets[p][0] for p in places[: len(words)]] == starts
        assert places[len(words) :] == [-1] * (4 - len(words))
        assert batch.targets["heads"][0].tolist()[: len(words)] == heads
        found = batch.targets["relations"][0].tolist()
        assert [LABELS[r] for r in found if r >= 0] == names


def test_words_behind_the_end_are_parsed_but_not_learned() -> None:
    task = make(max_length=4)
    encoded = task.encode(sentences([SENTENCES[0]]))
    assert encoded.features.lengths.tolist() == [4]
    batch = encoded.features.batch([0])
    assert batch.targets["heads"].tolist() == [[2, 3, -100, -100]]
    assert batch.targets["places"].tolist() == [[1, 2, 2, 2]]
    assert [count for note, count in encoded.notes.items() if "without a token" in note] == [2]
    (kept,) = task.decode(encoded, [0], task.logits(batch))
    assert tree_problem(kept[0]) is None
    short = make(tiny.model(positions=4)).encode(sentences([SENTENCES[0]]))
    assert short.features.lengths.tolist() == [4]  # as many as the model has places
    with pytest.raises(UserError, match="max_length=2 leaves no room"):
        make(max_length=2).encode(sentences())


def test_relations_that_are_unknown() -> None:
    strange = (["a", "film"], [2, 0], ["nsubj:odd", "root"])
    encoded = make().encode(sentences([strange]))
    assert encoded.features.targets["relations"].tolist() == [[-100, 5]]
    assert encoded.notes["words with a relation that the model does not know"] == 1
    for settings, row in (({"metric": "klue_dp"}, strange), ({}, (["a"], [0], ["HEAD"]))):
        with pytest.raises(UserError, match=r"x\.conllu, line 2: relation '.*' is not one of"):
            make(**settings).encode(sentences([SENTENCES[1], row]))


# Scores of arcs


def test_loss_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make()
    batch = task.encode(sentences()).features.batch(range(4))
    logits = task.logits(batch)
    assert logits.shape == (4, 4, 5, 1 + len(LABELS))
    total, count = torch.zeros(()), 0
    for row, (_, heads, names) in enumerate(SENTENCES):
        for word, (head, name) in enumerate(zip(heads, names, strict=True)):
            total = total - torch.log_softmax(logits[row, word, :, 0], -1)[head]
            relations = torch.log_softmax(logits[row, word, head, 1:], -1)
            total, count = total - relations[LABELS.index(name)], count + 1
    loss = task.loss(logits, batch)
    torch.testing.assert_close(loss.total, total)
    assert loss.count == count
    loss.total.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in task.model.heads["dependency"].parameters()]
    assert all(g is not None and g.isfinite().all() and g.any() for g in gradients)


def test_scores_are_biaffine() -> None:
    """By the paper's formulas, from the head's own layers."""
    task = make()
    head: Any = task.model.heads["dependency"]
    batch = task.encode(sentences([SENTENCES[1]])).features.batch([0])
    logits = task.logits(batch)[0]
    states = task.model(batch)[batch.targets["places"][0].long()]
    both = torch.cat([head.root.weight, states])
    word, other = head.arc_word(states[0]), head.arc_head(both[2])
    torch.testing.assert_close(
        logits[0, 2, 0], other @ (head.arc.weight @ word) + other @ head.arc.bias
    )
    word, other = head.relation_word(states[0]), head.relation_head(both[2])
    for relation in range(len(LABELS)):
        expected = word @ head.out.weight.view(len(LABELS), 4, 4)[relation].T @ other
        expected = expected + torch.cat([word, other]) @ torch.cat(
            [head.out_word.weight[relation], head.out_head.weight[relation]]
        )
        torch.testing.assert_close(
            logits[0, 2, 1 + relation], expected + head.out_word.bias[relation]
        )


@pytest.mark.parametrize("family", ["bert", "gpt2", "bart"])
def test_neighbors_change_nothing(family: str) -> None:
    model = tiny.model() if family == "bert" else peers.reader(family)
    task = make(model, max_length=32)
    assert task.last == (family == "gpt2")
    features = task.encode(sentences()).features
    task.model.eval()
    together = task.logits(features.batch([0, 1, 3]))
    alone = task.logits(features.batch([1]))
    torch.testing.assert_close(together[1:2, :3, :4], alone, atol=1e-5, rtol=1e-5)
    assert together[1, :, 4:, 0].eq(-torch.inf).all()


def test_what_is_kept_comes_back_from_json() -> None:
    task = make()
    encoded = task.encode(sentences())
    logits = task.logits(encoded.features.batch([3, 0, 1, 2])).detach()
    kept = task.decode(encoded, [3, 0, 1, 2], logits)
    assert [len(heads) for heads, _, _ in kept] == [1, 4, 3, 3]
    assert all(tree_problem(heads) is None for heads, _, _ in kept)
    arcs = torch.softmax(logits[..., 0], -1)
    for table, (heads, _, sure) in zip(arcs, kept, strict=True):
        assert sure == pytest.approx([float(table[n, head]) for n, head in enumerate(heads)])
    again = [task.unpack(json.loads(json.dumps(task.pack(k)))) for k in kept]
    assert task.combine(encoded, again) == task.combine(encoded, kept)


# Official scores


def test_scores_by_hand() -> None:
    gold = [
        Tree([2, 0, 2], ["nsubj:pass", "root", "obj"]),
        Tree([0, 1, 1], ["root", *["punct"] * 2]),
    ]
    said = [Tree([2, 0, 1], ["nsubj", "root", "obj"]), Tree([0, 1, 1], ["root", "obj", "punct"])]
    scores = tree_scores("las", gold, said, ())
    assert scores.values == pytest.approx(
        # Content words: four there, five said (obj is for punct), three of them right.
        {"uas": 5 / 6, "las": 4 / 6, "las_with_subtypes": 3 / 6, "clas": 2 * 3 / (4 + 5)}
    )
    assert list(scores.per_example) == pytest.approx([2 / 3, 2 / 3])
    assert scores.sums is not None
    assert scores.sums.metric(scores.sums.rows.sum(0)) == pytest.approx(scores.values["las"])


def test_klue_scores_add_up() -> None:
    names = [f"R{n}" for n in range(20)]
    rng = np.random.default_rng(0)
    trees = every_tree(4)

    def draw() -> Tree:
        return Tree(trees[rng.integers(len(trees))], [names[n] for n in rng.integers(13, 20, 4)])

    gold, said = [draw() for _ in range(30)], [draw() for _ in range(30)]
    said[:10] = gold[:10]
    scores = tree_scores("klue_dp", gold, said, names)
    assert dict(scores.values) == klue_dp(gold, said, names)
    assert scores.sums is not None
    whole = scores.sums.metric(scores.sums.rows.sum(0))
    assert whole == pytest.approx(scores.values["las_macro_f1"])


@pytest.mark.parametrize(("metric", "main"), [("las", "las"), ("klue_dp", "las_macro_f1")])
def test_a_perfect_parser(metric: str, main: str) -> None:
    task = make(metric=metric)
    assert task.main_metric == main
    scores = task.score(task.encode(sentences()), right())
    assert set(scores.values.values()) == {1.0}
    assert scores.intervals(task.main_metric)[task.main_metric] == (1.0, 1.0)


# The report


def test_sections() -> None:
    task = make()
    encoded = task.encode(sentences())
    said = right()
    said[1] = TreePrediction((2, 0, 1), ("obj", "root", "obj"), (0.9,) * 3)
    page = render(*task.sections(encoded, said, task.score(encoded, said)))
    assert page.texts("span", "badge") == ["✗ wrong", *["✓ right"] * 3]
    assert page.texts("text", "word")[:3] == SENTENCES[1][0]
    drawn = page.texts("svg", "tree")[0].split()
    assert sorted(drawn) == sorted(["nsubj", "root", "obj", "obj", "obj", *SENTENCES[1][0]])
    assert len(page.texts("g", "predicted")) == 2  # only what differs


def test_arcs_are_nested_and_words_are_text() -> None:
    item = Parsed(
        [NASTY, "b", "c"], [(2, NASTY), (0, "r"), (2, "x")], [(3, "x"), (1, "r"), (0, "x")]
    )
    drawing = item.drawing
    assert all(0 < curve.y < drawing.height for curve in drawing.curves)
    assert [place.x for place in drawing.words] == sorted(place.x for place in drawing.words)
    page = render(Arcs("T", [item], note=NASTY))
    assert not page.texts("script")
    assert NASTY in page.texts("text", "word")
    with pytest.raises(ValueError, match="2 words, but arcs"):
        Parsed(["a", "b"], [(0, "r"), (3, "x")], [(0, "r"), (1, "x")])


# From a file to a run, and back


def test_a_head_is_kept_for_the_same_relations(tmp_path: Path) -> None:
    task = make()
    task.model.settings = task.settings()
    task.model.save(tmp_path)
    assert not make(hub.load(tmp_path)).model.fresh
    others = make(hub.load(tmp_path), labels=LABELS[::-1]).model.fresh
    assert {name.split(".")[2] for name in others} == {"out", "out_word", "out_head"}


def test_trained_evaluated_and_used(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.conllu"
    path.write_text(conllu(), encoding="utf-8")
    data = {"train": str(path), "dev": str(path)}
    recipe = tiny.recipe(tiny_folder, data, tmp_path / "run", train={"epochs": 40, "lr": 5e-3})
    sizes = ("task.arc_size=16", "task.relation_size=8")
    run = finetune(recipe, "task=dependency", *sizes)
    assert run.metrics["las"] > 0.9
    assert (run.folder / "report.html").read_text(encoding="utf-8").count("<svg class") >= 4
    found = evaluate(run.folder, {"dev": str(path)})
    assert found["metrics"].keys() == run.metrics.keys()
    assert found["interval"]["metric"] == "las"
    path.write_text(conllu([(words, ["_"] * len(words), names) for words, _, names in SENTENCES]))
    (first, *_) = predict(run.folder, {"test": str(path)}, task="dependency")
    assert len(first["heads"]) == len(first["relations"]) == len(first["probabilities"]) == 4


def test_a_sentence_may_not_have_words_without_end() -> None:
    long = [(["a"] * 9, [*range(9)], ["root"] + ["obj"] * 8)]
    assert make(max_words=9).encode(sentences(long)).features.targets["places"].shape == (1, 9)
    with pytest.raises(UserError, match=r"x\.conllu, line 1: 9 words, more than task.max_words=8"):
        make(max_words=8).encode(sentences(long))


def test_a_long_chain_of_heads_is_looked_through_at_once() -> None:
    heads = [*range(200_000)]
    assert tree_problem(heads) is None
    problem = tree_problem([0, *heads[3:], 2])
    assert problem is not None
    assert problem.startswith("the heads of words 2, 3, 4, ")
    assert problem.endswith(", ... go round in a circle")
