"""A run is asked for the columns of its data where nobody names them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.data.remembered import shared, trusted
from jeoni.data.standard import Columns
from jeoni.models import hub
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.recipes.predict import predict
from jeoni.tasks import _find as tasks
from shell import Run, user_error


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A run with columns of its own names."""
    folder = tmp_path_factory.mktemp("trained")
    path = str(tiny.write_csv(folder / "a.csv"))
    data = {"train": path, "dev": path, "text": "review", "label": "stars"}
    return finetune(tiny.recipe(tiny_folder, data, folder / "run")).folder


def table(path: Path, *header: str) -> str:
    return str(tiny.write_csv(path, [row[: len(header)] for row in tiny.REVIEWS], header))


def test_the_run_knows_its_columns(trained: Path, tmp_path: Path) -> None:
    assert hub.load(trained).settings["columns"] == {"text": "review", "label": "stars"}
    both = {"text": "review", "label": "stars"}
    path = table(tmp_path / "new.csv", "review", "stars")
    assert predict(trained, {"test": path}) == predict(trained, {"test": path, **both})
    known = evaluate(trained, {"dev": path})["metrics"]
    assert known == evaluate(trained, {"dev": path, **both})["metrics"]
    assert known == evaluate(trained, {"dev": path, "label": "stars"})["metrics"]
    assert len(predict(trained, {"test": table(tmp_path / "bare.csv", "review")})) == len(
        tiny.REVIEWS
    )


def test_standard_names_still_do(trained: Path, tmp_path: Path) -> None:
    usual, own = (
        predict(trained, {"test": table(tmp_path / "new.csv", *names)})
        for names in (("text", "label"), ("review", "stars"))
    )
    assert usual == own


def test_a_named_column_wins(trained: Path, tmp_path: Path) -> None:
    rows = [(text, "a") for text, _ in tiny.REVIEWS]
    path = str(tiny.write_csv(tmp_path / "new.csv", rows, ("body", "review")))
    bare = table(tmp_path / "bare.csv", "review")
    said = [row["probabilities"] for row in predict(trained, {"test": path, "text": "body"})]
    assert said == [row["probabilities"] for row in predict(trained, {"test": bare})]
    assert said != [row["probabilities"] for row in predict(trained, {"test": path})]


def test_the_error_says_where_the_name_is_from(jeoni: Run, trained: Path, tmp_path: Path) -> None:
    path = table(tmp_path / "new.csv", "body", "stars")
    result = jeoni("predict", "--model", str(trained), f"data.test={path}")
    user_error(result, "new.csv, line 2: no column 'text'", "trained with data.text=review", "body")
    path = table(tmp_path / "own.csv", "review", "mark")
    result = jeoni("evaluate", "--model", str(trained), f"data.dev={path}")
    user_error(result, "own.csv, line 2: no column 'label'", "trained with data.label=stars")


def test_a_card_has_columns_too(tiny_folder: Path, tmp_path: Path) -> None:
    lines = [f"{n}\t{text}\t{n % 2}\n" for n, (text, _) in enumerate(tiny.REVIEWS)]
    (tmp_path / "nsmc").mkdir()
    (tmp_path / "nsmc/ratings_train.txt").write_text("id\tdocument\tlabel\n" + "".join(lines))
    data = {"name": "nsmc", "root": str(tmp_path)}
    run = finetune(tiny.recipe(tiny_folder, data, tmp_path / "run")).folder
    rows = predict(run, {"test": table(tmp_path / "new.csv", "document", "stars")})
    assert len(rows) == len(tiny.REVIEWS)


def use(folder: Path, name: str, columns: Any, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an untrained model says of one example."""
    kind, model = tasks.find(name), tiny.model()
    own = {"tagging": {"labels": ("O", "B-X", "I-X")}, "dependency": {"labels": ("root", "x")}}
    config = kind.config(max_length=64, **own.get(name, {"labels": tiny.LABELS}))
    model.settings = kind.task(model=model, config=config).settings() | {"columns": columns}
    path = folder / "x.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return predict(model, {"test": str(path)})


@pytest.mark.parametrize(
    ("task", "columns", "row"),
    [
        ("tagging", {"tokens": "words"}, {"words": ["a", "b"]}),
        ("tagging", {"tokens": "words"}, {"text": "a b"}),
        ("tagging", {"text": "body", "tags": "upos"}, {"body": "a b"}),
        ("dependency", {"tokens": "forms | words"}, {"words": ["a", "b"], "text": "c"}),
        ("dependency", {"tokens": "forms"}, {"text": "a b"}),
        ("classification", {"pair": "second"}, {"text": "a", "second": "b"}),
        ("classification", {"pair": "second"}, {"text": "a", "pair": "b"}),
        ("classification", {"text": ["body"], "none": "x"}, {"text": "a"}),
        ("classification", 3, {"text": "a"}),
    ],
)
def test_of_other_tasks(tmp_path: Path, task: str, columns: Any, row: Any) -> None:
    (found,) = use(tmp_path, task, columns, row)
    assert len(found.get("tags", found.get("heads", "ab"))) == 2 or "label" in found


def test_a_model_of_pairs_wants_pairs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'second \| pair'") as error:
        use(tmp_path, "classification", {"pair": "second"}, {"text": "a"})
    assert "the model was trained with data.pair=second" in str(error.value)


def test_which_columns_are_asked_for() -> None:
    row = Record({"body": "a", "words": ["a"], "ending0": "b"}, "x", 1)
    known = {"text": "body", "choices": "ending*", "label": "stars"}
    assert shared(Columns(), known, row) == {"text": "body", "choices": "ending*"}
    assert shared(Columns(tokens="words"), known, row) == {"choices": "ending*"}
    assert trusted({"text": "body", "id": "n", "split_by": "title", "heads": 1}) == {"text": "body"}
