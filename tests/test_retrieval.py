"""Retrieval: what is read, the loss by hand, ranks against a brute force, a run, its files, mistakes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import objective_parts
import peers
import tiny
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import Record
from jeoni.evaluation import runner
from jeoni.models.model import Model
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.recipes.predict import predict
from jeoni.serving.vectors import embed
from jeoni.tasks import _matched
from jeoni.tasks.classification import Classification, ClassificationConfig
from jeoni.tasks.retrieval import Candidate, Retrieval, RetrievalConfig, RetrievalPrediction
from report_page import render
from shell import Run, user_error

ROWS = [(q, context) for context, pairs in tiny.PASSAGES.items() for q, _ in pairs]
ROWS += [(ROWS[0][0], ROWS[-1][1])]  # a text with two right pairs
QUESTIONS = [q for q, _ in ROWS[:-1]]
PASSAGES = list(tiny.PASSAGES)


def records(rows: Sequence[tuple[str, str]] = ROWS) -> list[Record]:
    return [Record({"text": t, "pair": p}, "x.csv", n) for n, (t, p) in enumerate(rows, 2)]


def make(model: Model | None = None, **settings: Any) -> Retrieval:
    return Retrieval(model=(model or tiny.model()).eval(), config=RetrievalConfig(**settings))


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tiny.write_csv(tmp_path / "questions.csv", ROWS, ("q", "passage"))


def columns(**files: Path) -> dict[str, Any]:
    return {name: str(path) for name, path in files.items()} | {"text": "q", "pair": "passage"}


# What is read


def test_each_different_text_and_passage_is_read_once() -> None:
    task = make()
    encoded = task.encode(records())
    assert len(encoded.features) == len(ROWS) == 9
    assert len(encoded.reading) == len(QUESTIONS) + len(PASSAGES) == 11
    encode = task.model.tokenizer.encode
    read = [encoded.reading.batch([n]).ids.tolist() for n in range(11)]
    assert read == [encode(text).ids for text in (*QUESTIONS, *PASSAGES)]
    batch = encoded.features.batch([8, 3])
    expected = [encode(text).ids for row in (ROWS[8], ROWS[3]) for text in row]
    assert batch.ids.tolist() == [token for ids in expected for token in ids]
    assert encoded.features.lengths[[8, 3]].sum() == len(batch.ids)
    assert encoded.features.ids is encoded.reading.ids  # each text is in memory once
    assert encoded.notes["different pairs that are searched"] == 3


def test_which_pairs_of_a_batch_are_right() -> None:
    """Also where the row that says so is not in the batch: text 0 is row 8, too, whose pair row 7 has."""
    features = make().encode(records()).features
    right = features.batch([0, 7, 3, 1]).targets["right"]
    assert right.tolist() == [
        [True, True, False, True],
        [False, True, False, False],
        [False, False, True, False],
        [True, False, False, True],
    ]


def test_loss_by_hand() -> None:
    task = make(temperature=0.5)
    batch = task.encode(records()).features.batch([0, 7, 3, 8])
    drawn = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    vectors = torch.nn.functional.normalize(drawn, dim=-1)
    loss = task.loss(vectors, batch)
    cosines = (vectors[0::2] @ vectors[1::2].T / 0.5).exp()
    wrong = [[2], [0, 2], [0, 1, 3], [2]]  # of each text; rows 0 and 8 have the same
    expected = sum(
        -torch.log(cosines[i, i] / (cosines[i, i] + cosines[i, others].sum()))
        for i, others in enumerate(wrong)
    )
    torch.testing.assert_close(loss.total, expected)
    assert loss.count == 4


def test_who_is_alone_learns_nothing() -> None:
    task = make()
    batch = task.encode(records()).features.batch([4])
    assert task(batch).total.item() == 0


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_vectors_are_those_of_embed(pooling: Any) -> None:
    task = make(pooling=pooling)
    encoded = task.encode(records())
    with torch.inference_mode():
        found = task.logits(encoded.reading.batch([2, 9]))
    expected = embed(task.model, [QUESTIONS[2], PASSAGES[1]], pooling=pooling, normalized=True)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_decoders_too(family: str) -> None:
    task = make(peers.reader(family), max_length=16)
    features = task.encode(records([("a film", "great acting"), ("music", "b")])).reading
    together = task.logits(features.batch([0, 1, 2, 3]))
    alone = torch.cat([task.logits(features.batch([i])) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_first_token_that_sees_no_other() -> None:
    with pytest.raises(UserError, match=r"first token sees no other(?s:.*)task\.pooling=last"):
        make(peers.reader("gpt2"), pooling="first")


def test_a_text_without_tokens() -> None:
    with pytest.raises(UserError, match=r"x\.csv, line 3: no token stands for the text"):
        make(objective_parts.model("gpt2")).encode(records([("a", "b"), ("c", "")]))


# What is found


def brute(model: Model, rows: Sequence[tuple[str, str]]) -> list[int]:
    """Ranks by one product of all vectors, one text at a time."""
    pool = list(dict.fromkeys(pair for _, pair in rows))
    texts, pairs = (embed(model, list(t), normalized=True) for t in ([t for t, _ in rows], pool))
    ranks = []
    for (text, _), scores in zip(rows, texts @ pairs.T, strict=True):
        right = {pool.index(p) for t, p in rows if t == text}
        best = max(scores[j] for j in right)
        ranks.append(1 + sum(s >= best for j, s in enumerate(scores) if j not in right))
    return ranks


@pytest.mark.parametrize("cells", [1, 7, 10**6])
def test_ranks_are_those_of_a_brute_force(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the blocks, and whatever the batches."""
    monkeypatch.setattr(_matched, "_CELLS", cells)
    texts = [text for text, _ in tiny.REVIEWS]
    rows = [*ROWS, *zip(texts, [*texts[5:], *texts[:5]], strict=True)]
    task = make()
    encoded = task.encode(records(rows))
    expected = brute(task.model, rows)
    assert len(set(expected)) > 3
    for budget in (8192, 30):
        result = runner.evaluate(task, encoded, batch_tokens=budget, precision="fp32", show=False)
        assert [p.rank for p in result.predictions] == expected
    distinct = [rank for n, rank in enumerate(expected) if n != 8]  # the same text as the first
    values = result.scores.values
    assert values["mrr"] == pytest.approx(np.mean(1 / np.array(distinct)))
    assert values["recall@5"] == pytest.approx(np.mean(np.array(distinct) <= 5))
    assert result.loss is None


def test_the_best_are_listed_best_first() -> None:
    task = make(best=2)
    encoded = task.encode(records([("a", "p"), ("b", "q"), ("c", "p"), ("a", "r")]))
    unit = np.eye(3, dtype=np.float32)
    texts = np.array([[0.6, 0, 0.8], [0.8, 0.6, 0], [0, 1, 0]], np.float32)
    found = task.combine(encoded, [*texts, *unit])
    assert [p.rank for p in found] == [1, 2, 3, 1]  # "c" finds "p" and "r" alike
    assert [(c.pair, pytest.approx(c.score)) for c in found[0].found] == [("r", 0.8), ("p", 0.6)]
    assert [c.pair for c in found[1].found] == ["p", "q"]
    partial = task.unpack(json.loads(json.dumps(task.pack(texts[0]))))
    assert (
        partial.tobytes() == texts[0].tobytes()
    )  # what other processes get is the same to the bit


def test_a_text_in_several_rows_counts_once() -> None:
    task = make()
    encoded = task.encode(records([("a", "p"), ("b", "q"), ("a", "q"), ("a", "r")]))
    found = [RetrievalPrediction(rank, (Candidate("p", 0.5),)) for rank in (1, 20, 1, 1)]
    scores = task.score(encoded, found)
    assert scores.values == {
        "mrr": pytest.approx((1 + 1 / 20) / 2),
        "recall@1": 0.5,
        "recall@5": 0.5,
        "recall@10": 0.5,
    }
    assert scores.sums is not None
    assert scores.sums.metric(scores.sums.rows.sum(0)) == pytest.approx(scores.values["mrr"])
    assert list(scores.per_example) == [1, 1 / 20, 1, 1]
    low, high = scores.intervals("mrr")["mrr"]
    assert 1 / 20 <= low < scores.values["mrr"] < high <= 1


def test_sections() -> None:
    task = make()
    more = [(f"text {n}", f"pair {n}") for n in range(1998)]
    encoded = task.encode(records([*ROWS[:4], *more]))
    ranks = (1, 4, 1500, 2, *[1] * 1998)
    found = [RetrievalPrediction(r, (Candidate(PASSAGES[2], 0.25),)) for r in ranks]
    bars, worst = task.sections(encoded, found, task.score(encoded, found))
    assert [row["examples"] for row in bars.rows] == [1999, 2, 0, 0, 0, 1]
    assert [item.text for item in worst.items] == [ROWS[2][0], ROWS[1][0], ROWS[3][0]]
    few = task.encode(records(ROWS[:4]))  # there is no rank behind the second
    assert len(task.sections(few, found[:4], task.score(few, found[:4]))[0].rows) == 2
    page = render(bars, worst)
    assert any("(found at 1,500)" in text for text in page.texts("footer"))
    assert any("(cosine 0.250) Near the old" in text for text in page.texts("footer"))


# From a file to a run, and back


def test_trained_evaluated_and_used(tiny_folder: Path, csv: Path, tmp_path: Path) -> None:
    data = columns(train=csv, dev=csv)
    untrained = evaluate(tiny_folder, columns(dev=csv))["metrics"]
    train = {"epochs": 15, "lr": 3e-3}
    run = finetune(tiny.recipe(tiny_folder, data, tmp_path / "run", train=train), "task.best=2")
    assert run.results["main_metric"] == "mrr"
    assert run.metrics["mrr"] > max(0.9, untrained["mrr"])
    assert run.results["interval"]["low"] <= run.metrics["mrr"] <= run.results["interval"]["high"]
    assert evaluate(run.folder, columns(dev=csv))["metrics"] == pytest.approx(run.metrics, abs=1e-6)
    rows = predict(run.folder, columns(test=csv), out=tmp_path / "out.jsonl")
    assert rows[0]["at"] == "questions.csv, line 2"
    assert [len(row["found"]) for row in rows] == [2] * 9
    assert rows[1]["found"][0]["pair"] == ROWS[1][1]
    assert rows[1]["found"][0]["score"] > rows[1]["found"][1]["score"]
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == json.loads(json.dumps(rows))
    assert "Ranks of right pairs" in (run.folder / "report.html").read_text(encoding="utf-8")


def test_models_for_other_tasks_are_scored_as_they_are(csv: Path, tmp_path: Path) -> None:
    model = tiny.model()
    model.settings = {"task": "regression", "cosine": "mean"}
    model.save(tmp_path / "sts")
    found = evaluate(tmp_path / "sts", columns(dev=csv), task="retrieval")
    assert found["metrics"].keys() == {"mrr", "recall@1", "recall@5", "recall@10"}


def test_models_that_write_are_scored_as_they_are() -> None:
    model = objective_parts.model("gpt2")
    model.settings = {"task": "text_to_text", "source": "{text}", "target": "{label}"}
    found = evaluate(model, {"name": "wiki-ko-retrieval", "limit_dev": 4})
    assert found["metrics"].keys() == {"mrr", "recall@1", "recall@5", "recall@10"}


def test_a_loaded_model_keeps_its_heads_and_labels(csv: Path) -> None:
    model = tiny.model()
    Classification(model=model, config=ClassificationConfig(labels=tiny.LABELS))
    weights = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    evaluate(model, columns(dev=csv), task="retrieval")
    assert model.labels == list(tiny.LABELS)
    assert {n: tensor.data_ptr() for n, tensor in model.state_dict().items()} == weights


def test_one_pair_found_for_everything_is_flagged(tmp_path: Path) -> None:
    from jeoni.recipes.flags import _one_answer

    said = [{"rank": r, "found": [{"pair": "p", "score": 0.1}, {"pair": str(r)}]} for r in (1, 2)]
    rows = [{"score": 1 / p["rank"], "prediction": p} for p in said]
    assert list(_one_answer(rows, 1.0, logarithms=False)) == ["one pair predicted: p"]


def test_wiki_ko_retrieval() -> None:
    """The card reads the questions of wiki-ko-qa, which come with the package."""
    dataset = open_dataset(DataConfig(name="wiki-ko-retrieval"))
    assert (dataset.task, dataset.metric, dataset.labels) == ("retrieval", "mrr", None)
    rows = dataset.split("dev")
    assert len(rows) > len({row.fields["pair"] for row in rows}) > 50
    found = evaluate(tiny.model(), {"name": "wiki-ko-retrieval", "limit_dev": 4})
    assert found["n"] == 4


def test_passages_are_not_on_both_sides_of_a_cut(tmp_path: Path) -> None:
    rows = [(f"question {n}", f"passage {n % 6}") for n in range(30)]
    path = tiny.write_csv(tmp_path / "x.csv", rows, ("text", "pair"))
    dataset = open_dataset(DataConfig(train=str(path), dev_fraction=0.4))
    train, dev = ({r.fields["pair"] for r in dataset.split(name)} for name in ("train", "dev"))
    assert (len(train), len(dev), train & dev) == (4, 2, set())


# Mistakes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q,passage\na,b\nc,d\n ,e\n", "line 4: the text is empty"),
        ("q,passage\na,b\nc,\n", "line 3: the pair is empty"),
        ("q,passage\na,b\nc,b\n", "line 2: there is no other pair than 'b' to be found"),
        ("q,other\na,b\nc,d\n", "line 2: no column 'passage'"),
        ("q,passage\n", "no "),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, tiny_folder: Path, jeoni: Run, content: str, message: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content)
    asked = [f"data.{k}={v}" for k, v in columns(dev=path).items()]
    result = jeoni("evaluate", "--model", str(tiny_folder), *asked, "--task", "retrieval")
    user_error(result, message)


def test_two_columns_that_are_a_text_and_its_pair(tmp_path: Path) -> None:
    for name, text, task in (
        ("two", "text,pair\na,b\nc,d\n", "retrieval"),
        ("three", "text,pair,label\na,b,1\nc,d,0\n", "classification"),
    ):
        path = tmp_path / f"{name}.csv"
        path.write_text(text)
        assert open_dataset(DataConfig(dev=str(path))).task == task


def test_data_for_another_task() -> None:
    with pytest.raises(UserError, match=r"for span_qa, not for retrieval\n.*wiki-ko-retrieval"):
        evaluate(tiny.model(), "wiki-ko-qa", task="retrieval")


@pytest.mark.parametrize("values", [{"temperature": 0}, {"pooling": "max"}, {"best": 0}])
def test_settings_that_make_no_sense(csv: Path, values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        evaluate(tiny.model(), columns(dev=csv), settings=values, task="retrieval")
