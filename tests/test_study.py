"""``jeoni study``: ways to pretrain on the same budget, transferred, compared."""

from pathlib import Path
from typing import Any

import pytest

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.base.files import read_json
from jeoni.recipes import named, study_pages
from jeoni.recipes import study as module
from jeoni.recipes.study import Score, resolve, study
from jeoni.report.sections import Curves, Table

TRAIN = {"steps": 2, "threads": 1, "precision": "fp32"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("study")
    text = "\n\n".join("\n".join(d) for d in parts.documents()) + "\n"
    (folder / "text.txt").write_text(text, encoding="utf-8")
    rows = [f"{document[0]},{number % 2}" for number, document in enumerate(parts.documents())]
    (folder / "rows.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    spec = {"layers": 1, "hidden": 32, "heads": 2, "feed_forward": 64, "positions": 64}
    return {
        "common": {
            "model": "bert-L2-H128", "spec": spec, "tokenizer": {"vocab_size": 150}, "length": 32,
            "data": {"text": str(folder / "text.txt"), "held_out": 0.2}, "train": TRAIN,
        },
        "ways": {
            "mlm": {"objectives": "masked_lm"},
            "half": {"objectives": {"masked_lm": {"rate": 0.5}}},
        },
        "tasks": {"toy": {"data": {"train": str(folder / "rows.csv")}, "train": TRAIN}},
        "seeds": [1, 2],
        "claims": [{"text": "15% is enough", "source": "folklore", "better": "mlm", "than": "half"}],
        "out": str(folder / "out"),
    }  # fmt: skip


def test_a_study_from_text_to_page(recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    result = study(recipe)
    ways = {"mlm", "half", "from scratch"}  # (one architecture)
    assert {(s.way, s.seed) for s in result.scores} == {(w, s) for w in ways for s in (1, 2)}
    found = read_json(result.folder / "results.json")
    assert found["table"].keys() == ways
    runs = [read_json(path) for path in sorted((result.folder / "tasks").glob("*/*/results.json"))]
    assert sorted(s["flags"] for s in found["scores"]) == sorted(r["flags"] for r in runs)
    assert found["claims"][0]["found"][0]["task"] == "toy"
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "15% is enough" in page
    assert "from scratch" in page

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("jeoni.recipes.pretrain._run", never)
    monkeypatch.setattr("jeoni.recipes.finetune._one_seed", never)
    assert study(recipe).table == result.table


@pytest.mark.parametrize(
    ("better", "than", "verdict"),
    [
        ([0.8, 0.9], [0.5, 0.6], "agrees"),
        ([0.5, 0.6], [0.8, 0.9], "does not agree"),
        ([0.5, 0.9], [0.6, 0.7], "within the spread"),
        ([0.9], [0.6, 0.7], "one seed cannot tell"),
    ],
)
def test_verdicts(
    recipe: dict[str, Any], better: list[float], than: list[float], verdict: str
) -> None:
    claim = resolve(recipe, [], {}).claims[0]
    scores = [
        Score(way, "toy", seed, "accuracy", value)
        for way, values in (("mlm", better), ("half", than))
        for seed, value in enumerate(values)
    ]
    (row,) = module._verdict(claim, scores)["found"]
    assert row["found"] == verdict


def test_a_score_that_is_no_number_is_in_no_median(recipe: dict[str, Any]) -> None:
    values: dict[str, list[float | None]] = {"mlm": [None, 0.8, 0.9], "half": [None]}
    scores = [
        Score(way, "toy", seed, "accuracy", value)
        for way, own in values.items()
        for seed, value in enumerate(own)
    ]
    assert module._table(scores) == {"mlm": {"toy": (pytest.approx(0.85), 0.8, 0.9)}, "half": {}}
    assert module._verdict(resolve(recipe, [], {}).claims[0], scores)["found"] == []


def test_mistakes(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="objectives"):
        study("objektives")
    right = {**recipe, "claims": [{**recipe["claims"][0], "than": "from scratch"}]}
    resolve(right, [], {})
    wrong = {**recipe, "claims": [{**recipe["claims"][0], "than": "hlf"}]}
    with pytest.raises(UserError, match="'half'"):
        study(wrong)
    with pytest.raises(UserError, match="ways"):
        study({"tasks": recipe["tasks"], "out": str(tmp_path)})


def test_studies_that_come_with_jeoni_are_valid() -> None:
    assert named.names(named.STUDIES) == ["objectives", "text"]
    for name in named.names(named.STUDIES):
        resolve(name, ["common.data.store=somewhere"], {})


def test_runs_that_learned_nothing_are_told() -> None:
    some = {"way": "mlm", "task": "toy", "seed": 1, "flags": []}
    assert study_pages.flagged([some]) == []
    (table,) = study_pages.flagged([some, {**some, "seed": 2, "flags": ["one class", "stuck"]}])
    assert isinstance(table, Table)
    assert table.rows == [("mlm", "toy", 2, "one class; stuck")]


def test_scores_against_the_amount_of_text(recipe: dict[str, Any]) -> None:
    """The levels of what was pretrained on nothing are lines from end to end."""
    ways = {"some": {"data": {"fraction": 0.5}}, "all": {}}
    scores = [
        {"way": "some", "task": "toy", "tokens": 50, "metric": "accuracy"},
        {"way": "all", "task": "toy", "tokens": 100, "metric": "accuracy"},
        {"way": "from scratch", "task": "toy", "tokens": 0, "metric": "accuracy"},
    ]
    table = {"some": [0.6, 0.5, 0.7], "all": [0.8, 0.8, 0.8], "from scratch": [0.4, 0.3, 0.5]}
    found = {"scores": scores, "table": {w: {"toy": v} for w, v in table.items()}}
    (chart,) = study_pages.amounts({**found, "recipe": {"ways": ways}}, {"toy": "accuracy"})
    assert isinstance(chart, Curves)
    lines: dict[Any, list[Any]] = {}
    for row in chart.rows:
        lines.setdefault(row["which"], []).append((row["tokens of text"], row["accuracy"]))
    assert lines["pretrained"] == [(50, 0.6), (100, 0.8)]
    assert lines["pretrained, largest"] == [(50, 0.7), (100, 0.8)]
    assert sorted(lines["from scratch"]) == [(50, 0.4), (100, 0.4)]
    equal = {"recipe": {"ways": {"one": {}, "other": {"objectives": "causal_lm"}}}}
    assert study_pages.amounts({**found, **equal}, {"toy": "accuracy"}) == []


def test_sections_of_a_way_are_on_top_of_the_common_ones(recipe: dict[str, Any]) -> None:
    ways = {"one": {"spec": {"layers": 2}, "data": {"fraction": 0.5}}, "other": {}}
    full = resolve({**recipe, "ways": ways, "claims": []}, ["common.objectives=masked_lm"], {})
    own = module._settings(full, "one")
    assert own["spec"] == {**recipe["common"]["spec"], "layers": 2}
    assert own["data"] == {**recipe["common"]["data"], "fraction": 0.5}
    assert module.from_scratch(full) == {"one, from scratch": "one", "other, from scratch": "other"}


def test_a_mistake_in_any_way_is_found_first(recipe: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="fraktion"):
        study({**recipe, "ways": {**recipe["ways"], "last": {"data": {"fraktion": 0.5}}}})
    with pytest.raises(UserError, match=r"train\.epoks"):
        study(
            {
                **recipe,
                "tasks": {**recipe["tasks"], "last": {"train": {"epoks": 1}, "data": "nsmc"}},
            }
        )


@pytest.mark.parametrize(
    ("ways", "tasks", "message"),
    [
        ({"last": {"objectives": "masked_ml"}}, {}, "no objective named 'masked_ml'.*masked_lm"),
        ({"last": {"objectives": {"masked_lm": {"rat": 1}}}}, {}, "objectives.masked_lm: .*'rat'"),
        (
            {"last": {"model": "bert-L2-H127", "init": "random"}},
            {},
            "bert-L2-H127.*mean the preset",
        ),
        ({}, {"last": {"strategy": "frosen"}}, "no strategy named 'frosen'"),
        ({}, {"last": {"task": "clasification"}}, "no task named 'clasification'"),
        ({}, {"last": {"data": "nsmcc"}}, "no dataset named 'nsmcc'"),
        ({}, {"last": {"data": {"train": "none.csv"}}}, "no file none.csv"),
    ],
)
def test_a_name_that_is_none_is_found_first(
    recipe: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    ways: dict[str, Any],
    tasks: dict[str, Any],
    message: str,
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr("jeoni.recipes.pretrain._run", never)
    data = recipe["tasks"]["toy"]["data"]
    further = {name: {"data": data, **own} for name, own in tasks.items()}
    changed = {"ways": {**recipe["ways"], **ways}, "tasks": {**recipe["tasks"], **further}}
    with pytest.raises(UserError, match=f"(?s){message}"):
        study({**recipe, **changed})


def test_the_same_seed_twice(recipe: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="seeds: 1 is given twice"):
        study({**recipe, "seeds": [1, 2, 1]})
