"""``predict`` on files of one's own, without labels: the model says as what they are read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.base.errors import UserError
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.predict import predict
from jeoni.tasks import _find as tasks
from shell import Run, user_error

TAGS = ("O", "B-LOC", "I-LOC")
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "words": {"task": "tagging", "labels": TAGS, "unit": "word"},
    "characters": {"task": "tagging", "labels": TAGS, "unit": "character"},
    "dependency": {"task": "dependency", "labels": ("root", "nsubj")},
    "classification": {"task": "classification", "labels": tiny.LABELS},
    "regression": {"task": "regression"},
    "relation": {"task": "relation", "labels": ("no_relation", "in")},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model for each task; none was trained."""
    folders = {}
    for name, settings in SETTINGS.items():
        kind = tasks.find(settings["task"])
        model = tiny.model()
        own = {k: v for k, v in settings.items() if k != "task"}
        model.settings = kind.task(model=model, config=kind.config(max_length=64, **own)).settings()
        folders[name] = model.save(tmp_path_factory.mktemp(name) / "model")
    return folders


def write(path: Path, *rows: Mapping[str, Any]) -> str:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


SENTENCE = "한강은 서울에 있다"


@pytest.mark.parametrize(
    ("model", "row", "columns", "count"),
    [
        ("words", {"text": SENTENCE}, {}, 3),
        ("words", {"body": SENTENCE, "label": "x"}, {"text": "body"}, 3),
        ("words", {"tokens": SENTENCE.split()}, {}, 3),
        ("words", {"tokens": ["a", "b"], "heads": [0, 1], "relations": ["x", "y"]}, {}, 2),
        ("words", {"parts": ["a", "b"], "text": "a b c"}, {"tokens": "parts"}, 2),
        ("characters", {"text": SENTENCE}, {}, 10),
        ("characters", {"body": SENTENCE}, {"text": "body"}, 10),
        ("characters", {"characters": list(SENTENCE)}, {}, 10),
        ("characters", {"tokens": list(SENTENCE)}, {}, 10),
    ],
)
def test_taggers(
    models: dict[str, Path], tmp_path: Path, model: str, row: Any, columns: Any, count: int
) -> None:
    path = write(tmp_path / "x.jsonl", row)
    (found,) = predict(models[model], {"test": path, **columns})
    assert len(found["tags"]) == count


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"text": SENTENCE}, {}),
        ({"body": SENTENCE}, {"text": "body"}),
        ({"tokens": SENTENCE.split()}, {}),
        ({"tokens": SENTENCE.split(), "tags": ["O", "O", "O"]}, {}),
    ],
)
def test_parsers(models: dict[str, Path], tmp_path: Path, row: Any, columns: Any) -> None:
    path = write(tmp_path / "x.jsonl", row)
    (found,) = predict(models["dependency"], {"test": path, **columns})
    assert len(found["heads"]) == 3


def test_lines_of_text(models: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(f"{SENTENCE}\n서울\n", encoding="utf-8")
    for model, key in (("words", "tags"), ("dependency", "heads")):
        rows = predict(models[model], {"test": str(path)})
        assert [len(row[key]) for row in rows] == [3, 1]
    assert [row["at"] for row in rows] == ["x.txt, line 1", "x.txt, line 2"]


def test_columns_that_look_like_another_task(models: dict[str, Path], tmp_path: Path) -> None:
    """A letter has a subject, and nothing of relations."""
    path = write(tmp_path / "x.jsonl", {"text": "a film", "subject": "Hi", "object": "?"})
    assert predict(models["classification"], {"test": path})[0]["label"] in tiny.LABELS
    assert isinstance(predict(models["regression"], {"test": path})[0]["value"], float)


@pytest.mark.parametrize(
    ("model", "row", "message"),
    [
        ("words", {"characters": ["a"]}, "x.jsonl, line 1: characters, but this model tags words"),
        ("characters", {"tokens": ["The", "Han"]}, "line 1: 'The' is not one character"),
        ("words", {"review": "a"}, "line 1: no column 'tokens'"),
        ("dependency", {"review": "a"}, "line 1: no column 'tokens'"),
        ("classification", {"question": "a", "context": "b"}, "line 1: no column 'text'"),
        ("relation", {"text": "a film"}, "line 1: no column 'subject'"),
        ("words", {"text": " "}, "line 1: nothing to tag: the sentence is empty"),
        ("dependency", {"text": " "}, "line 1: nothing to parse: the sentence is empty"),
    ],
)
def test_files_that_do_not_fit(
    models: dict[str, Path], tmp_path: Path, model: str, row: Any, message: str
) -> None:
    path = write(tmp_path / "x.jsonl", row)
    with pytest.raises(UserError, match=message):
        predict(models[model], {"test": path})


def test_labels_are_needed_to_score(models: dict[str, Path], tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"text": SENTENCE})
    with pytest.raises(UserError, match="line 1: no column 'tags'"):
        evaluate(models["words"], {"dev": path})


def test_from_the_shell(jeoni: Run, models: dict[str, Path], tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", {"body": SENTENCE})
    done = jeoni("predict", "--model", str(models["words"]), f"data.test={path}", "data.text=body")
    assert len(json.loads(done.out)["tags"]) == 3
    wrong = jeoni("predict", "--model", str(models["words"]), f"data.test={path}")
    user_error(wrong, "no column 'tokens'", "columns: body")


@pytest.mark.parametrize("verb", [evaluate, predict])
def test_a_folder_to_write_to_is_refused_before_all_work(verb: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder\n.*for example"):
        verb("no model there", {"test": "no file there"}, out=tmp_path)


@pytest.mark.parametrize("verb", [evaluate, predict])
def test_what_is_read_is_not_written_over(
    verb: Any, models: dict[str, Path], tmp_path: Path
) -> None:
    path = Path(write(tmp_path / "x.jsonl", {"text": "a film", "label": tiny.LABELS[0]}))
    before = path.read_bytes()
    data = {"test": str(path)}
    with pytest.raises(UserError, match=r"x\.jsonl is a file that is read"):
        verb(models["classification"], data, split="test", out=tmp_path / "." / "x.jsonl")
    assert path.read_bytes() == before
