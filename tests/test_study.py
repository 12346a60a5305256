"""``jeoni study``: ways to pretrain on the same budget, transferred, compared."""

from pathlib import Path
from typing import Any

import pytest

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.base.files import read_json
from jeoni.recipes import named
from jeoni.recipes import study as module
from jeoni.recipes.study import Score, resolve, study

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
