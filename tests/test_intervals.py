"""Every figure that is a mean over examples, or a function of sums, has an interval of its own."""

import math
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tiny
from jeoni.data.batching import Features
from jeoni.data.record import Record
from jeoni.metrics.counts import class_rows, macro_f1_of_sums
from jeoni.metrics.intervals import bootstrap, bootstrap_each, bootstrap_sums
from jeoni.metrics.parsing import Tree
from jeoni.tasks._dialogue_types import StatePrediction
from jeoni.tasks._scores import Scores, means
from jeoni.tasks._span_scores import span_scores
from jeoni.tasks._span_types import Candidate, SpanPrediction
from jeoni.tasks._tag_scores import tag_scores
from jeoni.tasks._task import Encoded
from jeoni.tasks._text_scores import text_scores
from jeoni.tasks._tree_scores import tree_scores
from jeoni.tasks.classification import Classification, ClassificationConfig, LabelPrediction
from jeoni.tasks.dialogue_state import DialogueState
from jeoni.tasks.minimal_pairs import MinimalPairs, PairPrediction
from jeoni.tasks.regression import NumberPrediction, Regression, RegressionConfig
from jeoni.tasks.relation import Relation

RNG = np.random.default_rng(0)
WORDS = ("the river", "a bridge", "water", "an old bridge")


@pytest.fixture(autouse=True)
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "RNG", np.random.default_rng(0))


def encoded(records: list[Record], **targets: Any) -> Encoded:
    return Encoded(
        records, Features.of([[1]] * len(records), [[0]] * len(records), targets=targets), {}
    )


def labels(metric: Any, *names: str) -> Scores:
    config = ClassificationConfig(labels=names, metric=metric)
    task = Classification(model=tiny.model(), config=config)
    gold, said = RNG.integers(
        max(2, len(names) - 1), size=(2, 40)
    ).tolist()  # of three, one is in neither
    records = tiny.labeled([("x", names[index]) for index in gold])
    return task.score(task.encode(records), [LabelPrediction((), i, names[i]) for i in said])


def numbers(metric: Any) -> Scores:
    task = Regression(model=tiny.model(), config=RegressionConfig(metric=metric))
    gold = RNG.integers(0, 6, 40).astype(float)
    predictions = [NumberPrediction(value) for value in gold + RNG.normal(0, 1, 40)]
    return task.score(task.encode(tiny.labeled([("x", value) for value in gold])), predictions)


def tags(metric: str) -> Scores:
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    gold, said = ([list(RNG.choice(names, 6)) for _ in range(30)] for _ in range(2))
    said[:10] = gold[:10]
    return tag_scores(metric, [list("ab cde")] * 30, gold, said, ["PER", "LOC", "DT"])


def trees(metric: str) -> Scores:
    names = ["nsubj", "obj", "aux", "det:x", "obl:y"]

    def draw() -> Tree:
        heads = [0, *(int(RNG.integers(1, n + 1)) for n in range(1, 5))]
        return Tree(heads, ["root", *RNG.choice(names, 4).tolist()])

    gold, said = [draw() for _ in range(30)], [draw() for _ in range(30)]
    return tree_scores(metric, gold, said, ["root", *names])


def texts(metric: Any) -> Scores:
    gold = [[word] if n or metric != "squad_v2" else [] for n, word in enumerate(WORDS)]
    return text_scores(metric, gold, [*WORDS[1:], "water"], "words")


def answers(metric: str) -> Scores:
    records, said = [], []
    for number in range(20):
        text, there = RNG.choice(WORDS, 2).tolist()
        own = [] if metric != "squad_v1" and number % 4 == 0 else [{"text": there, "start": 0}]
        records.append(Record({"id": str(number), "context": text, "answers": own}, "x", number))
        best = Candidate(float(number), 0, len(text))
        said.append(SpanPrediction(text, 0, len(text), 1.0, 0.5, float(RNG.normal()), (best,)))
    return span_scores(metric, records, said, 0.0)


def states() -> Scores:
    values = ["a-b-c", "a-d-e", "f-g-h"]
    sides = [
        [RNG.choice(values, RNG.integers(3), replace=False).tolist() for _ in range(30)]
        for _ in "ab"
    ]
    records = [Record({"state": state}, "x", 1) for state in sides[0]]
    task: Any = None
    return DialogueState.score(
        task, encoded(records), [StatePrediction(tuple(s), 1.0) for s in sides[1]]
    )


def pairs() -> Scores:
    columns = {"paradigm": "pqr", "field": "st"}
    rows = [{k: str(RNG.choice(list(names))) for k, names in columns.items()} for _ in range(30)]
    task: Any = None
    said = [PairPrediction(*RNG.normal(size=2).tolist(), "") for _ in rows]
    return MinimalPairs.score(task, encoded([Record(row, "x", 1) for row in rows]), said)


def relations() -> Scores:
    task: Any = SimpleNamespace(labels=["no_relation", "made"], none=0)
    gold, said = RNG.integers(2, size=(2, 30)).tolist()
    predictions = [LabelPrediction((1.0 - i, float(i)), i, "") for i in said]
    return Relation.score(task, encoded([Record({}, "x", 1)] * 30, label=gold), predictions)


SEARCHED = {
    f"{word}{kind}{end}"
    for word in ("best_", "attainable_best_")
    for kind in ("exact", "f1")
    for end in ("", "_thresh")
} | {"pr_exact_ap", "pr_f1_ap", "pr_oracle_ap"}
TOTALS = {"total", "HasAns_total", "NoAns_total"}
CASES: dict[str, tuple[str, Callable[[], Scores], set[str]]] = {
    "two classes": ("accuracy", lambda: labels("accuracy", *"ab"), set()),
    "several classes": ("macro_f1", lambda: labels("macro_f1", *"abcd"), set()),
    "correlation of classes": ("matthews_corrcoef", lambda: labels("matthews_corrcoef", *"abc"), set()),
    "numbers": ("pearson", lambda: numbers("pearson"), set()),
    "ranks": ("spearman", lambda: numbers("spearman"), set()),
    # Names of which each counts once are no sum over sentences.
    "entities": ("entity_f1", lambda: tags("entity_f1"), {"surface_f1"}),
    "characters": ("entity_macro_f1", lambda: tags("klue_ner"), set()),
    "tags": ("tag_accuracy", lambda: tags("tag_accuracy"), set()),
    "trees": ("las", lambda: trees("las"), set()),
    "klue_dp": ("las_macro_f1", lambda: trees("klue_dp"), set()),
    "words": ("accuracy", lambda: texts("accuracy"), set()),
    "rouge": ("rougeL", lambda: texts("rouge"), set()),
    "bleu": ("bleu", lambda: texts("bleu"), set()),
    "chrf": ("chrf", lambda: texts("chrf"), set()),
    "written answers": ("f1", lambda: texts("squad_v2"), TOTALS - {"total"}),
    "squad_v1": ("f1", lambda: answers("squad_v1"), set()),
    "squad_v2": ("f1", lambda: answers("squad_v2"), TOTALS | SEARCHED),
    "klue_mrc": ("rouge_w", lambda: answers("klue_mrc"), set()),
    "states": ("joint_goal_accuracy", states, set()),
    "pairs": ("accuracy", pairs, set()),
    "relations": ("micro_f1", relations, {"auprc", "auprc_classes_with_references"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_figure_of_sums_has_an_interval(name: str) -> None:
    main, make, without = CASES[name]
    scores = make()
    found = scores.intervals(main)
    assert next(iter(found)) == main
    assert scores.values.keys() - found.keys() == without
    assert found.keys() <= scores.values.keys()
    assert all(math.isfinite(low) and low <= high for low, high in found.values())


@pytest.mark.parametrize("name", CASES)
def test_the_figure_of_all_sums_is_the_official_one(name: str) -> None:
    scores = CASES[name][1]()
    for part in scores.beside:
        total = np.asarray(part.rows.sum(0), np.float64).reshape(-1)
        for figure in part.metrics.keys() & scores.values.keys():
            value = float(part.metrics[figure](total))
            assert value == pytest.approx(scores.values[figure], abs=1e-9), figure


def test_all_come_from_the_same_resamples() -> None:
    """Alone, or beside others, in an array or a sparse table: an interval is the same."""
    gold, said = RNG.integers(3, size=(2, 50))
    table = class_rows(range(50), gold, said, count=50, classes=3)
    hits = (gold == said).astype(float)
    both = bootstrap_each(
        [(table, [macro_f1_of_sums]), (hits[:, None], [lambda s: s[..., 0] / 50])]
    )
    assert both[0] == bootstrap_sums(table.toarray(), macro_f1_of_sums)
    assert both[1] == bootstrap(hits.tolist())
    scores = Scores({"a": 0.0, "b": 0.0}, hits.tolist(), beside=[means({"b": (1 - hits).tolist()})])
    (low, high), (other_low, other_high) = scores.intervals("a").values()
    assert (other_low, other_high) == pytest.approx((1 - high, 1 - low))


def test_what_a_resample_has_nothing_of_is_not_counted() -> None:
    values = means({"rare": [0.25, math.nan, math.nan], "all": [1.0, 0.0, 0.0]})
    found = bootstrap_each([(values.rows, list(values.metrics.values()))])
    assert found == [(0.25, 0.25), (0.0, 1.0)]
