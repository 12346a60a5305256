"""The command line: answers, labels and scores from trained models."""

import json
from pathlib import Path

import pytest

import tiny
from jeoni.tasks.span_qa import SpanQA, SpanQAConfig
from shell import Run, user_error

PASSAGE = next(iter(tiny.PASSAGES))


def test_answer(jeoni: Run, models: dict[str, str], tmp_path: Path) -> None:
    arguments = ("answer", "--model", models["qa"], "--question", "When?", "--context")
    plain = jeoni(*arguments, PASSAGE)
    assert plain.status == 0
    result = jeoni(*arguments, PASSAGE, "--json")
    found = json.loads(result.out)
    assert found["text"] == PASSAGE[found["start"] : found["end"]] != ""
    assert found.keys() == {"text", "start", "end", "score", "probability", "candidates"}
    first, second = plain.out.splitlines()
    assert first == found["text"]
    assert f"characters {found['start']}-{found['end']}" in second

    (tmp_path / "passage.txt").write_bytes(b"\xef\xbb\xbf" + PASSAGE.encode())
    for context in (str(tmp_path / "passage.txt"), "-"):
        again = jeoni(*arguments, context, "--json", stdin=PASSAGE)
        assert json.loads(again.out) == found


def test_answer_in_korean(jeoni: Run, models: dict[str, str]) -> None:
    context = list(tiny.PASSAGES)[1]
    result = jeoni(
        "answer", "--model", models["qa"], "--question", "언제?", "--context", context, "--json"
    )
    assert json.loads(result.out)["text"] in context
    assert "\\u" not in result.out


def test_no_answer(jeoni: Run, tmp_path: Path) -> None:
    """A model that was trained to leave questions open, and always does."""
    task = SpanQA(
        model=tiny.model(),
        config=SpanQAConfig(max_length=100, stride=16, no_answer=True, null_threshold=-1e9),
    )
    task.model.settings = task.settings()
    place = str(task.model.save(tmp_path / "model"))
    arguments = ("answer", "--model", place, "--question", "When?", "--context", PASSAGE)
    assert jeoni(*arguments).out.startswith("(no answer)\n")
    assert json.loads(jeoni(*arguments, "--json").out)["text"] == ""
    assert jeoni(*arguments, "--always").out.splitlines()[0] in PASSAGE


@pytest.mark.parametrize(
    ("question", "context", "parts"),
    [
        ("", "C.", ["question is empty"]),
        ("  ", "C.", ["question is empty"]),
        ("Q?", "", ["context is empty"]),
        ("Q?", "none.txt", ["no file none.txt"]),
        ("Q?", "some/where", ["no file some/where"]),
    ],
)
def test_mistakes_in_answer(
    jeoni: Run, models: dict[str, str], question: str, context: str, parts: list[str]
) -> None:
    result = jeoni("answer", "--model", models["qa"], "--question", question, "--context", context)
    user_error(result, *parts)


def test_text_that_is_not_utf8(jeoni: Run, models: dict[str, str], tmp_path: Path) -> None:
    old = "한강은 서울을 흐른다".encode("cp949")
    (tmp_path / "old.txt").write_bytes(old)
    arguments = ("answer", "--model", models["qa"], "--question", "Q?", "--context")
    user_error(jeoni(*arguments, str(tmp_path / "old.txt")), "old.txt: not UTF-8", "cp949")
    user_error(jeoni(*arguments, "-", stdin=old), "standard input: not UTF-8")
    user_error(jeoni("classify", "--model", models["labels"], "-", stdin=old), "not UTF-8")


def test_classify(jeoni: Run, models: dict[str, str]) -> None:
    arguments = ("classify", "--model", models["labels"], "--json")
    found = json.loads(jeoni(*arguments, "좋다", "a film").out)
    assert [row["text"] for row in found] == ["좋다", "a film"]
    assert all(set(row["probabilities"]) == set(tiny.LABELS) for row in found)
    for stdin in ("좋다\na film\n", "좋다\r\na film"):
        assert json.loads(jeoni(*arguments, "-", stdin=stdin).out) == found
    table = jeoni(*arguments[:-1], "좋다", "[bold]a [/film]").out
    assert "좋다" in table
    assert "[bold]a [/film]" in table  # no markup
    assert found[0]["label"] in table
    assert json.loads(jeoni(*arguments, "좋다", "--pair", "나쁘다").out)[0]["text"] == "좋다"


def test_a_blank_line_is_named(jeoni: Run, models: dict[str, str]) -> None:
    result = jeoni("classify", "--model", models["labels"], "-", stdin="좋다\n\n나쁘다\n")
    user_error(result, "input 2: the text is empty")


def test_a_model_for_another_task(jeoni: Run, models: dict[str, str]) -> None:
    user_error(jeoni("classify", "--model", models["qa"], "text"), "was trained for span_qa")


# From the first command to the last


def test_finetune_evaluate_classify(
    jeoni: Run, tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    data = [
        f"data.train={reviews_csv}",
        f"data.dev={reviews_csv}",
        "data.text=review",
        "data.label=stars",
    ]
    out = tmp_path / "2024-05-01"
    command = [
        "finetune", "--model", str(tiny_folder), "--out", str(out), "--seeds", "3", *data,
        "train.precision=fp32", "train.epochs=1", "batch.size=8", "train.lr=1e-3",
    ]  # fmt: skip
    first = jeoni(*command)
    assert first.status == 0, first.err
    assert "accuracy" in first.out
    assert "report.html" in first.out
    assert "jeoni classify" in first.out
    assert "What trains" in first.err
    results = json.loads(jeoni(*command, "--json").out)
    assert results == json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert results["seeds"] == [3]

    settings = [d for d in data if "train" not in d]
    scores = json.loads(jeoni("evaluate", "--model", str(out), "--json", *settings).out)
    assert scores["metrics"]["accuracy"] == results["metrics"]["accuracy"]
    assert scores["n"] == 16
    plain = jeoni("evaluate", "--model", str(out), *settings)
    low, high = scores["intervals"]["macro_f1"]
    assert "95% interval" in plain.out
    assert f"{low:.4g} to {high:.4g}" in plain.out

    labels = json.loads(jeoni("classify", "--model", str(out), "--json", "좋다").out)
    assert labels[0]["label"] in tiny.LABELS


def test_a_recipe_file(jeoni: Run, tiny_folder: Path, squad_json: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "my.yaml"
    recipe.write_text(
        f"model: {tiny_folder}\ndata: {{train: {squad_json}, dev: {squad_json}}}\n"
        "task: {max_length: 100, stride: 16}\ntrain: {steps: 1, precision: fp32}\n"
    )
    out = str(tmp_path / "run")
    result = jeoni("finetune", str(recipe), "--out", out, "--seeds", "1,2", "--json")
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert found["seeds"] == [1, 2]
    assert "median" in jeoni("finetune", str(recipe), "--out", out, "--seeds", "1,2").out
    user_error(jeoni("finetune", str(recipe), "--out", out), "another recipe", "seeds")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["model.x=1"], ["unknown setting 'model'"]),
        (["--split", "all"], ["--split all"]),
        (["--data", "squad-sample", "--split", "test"], ["squad-sample", "test"]),
        (["--data", "squad-sample", "task.max_lenght=3"], ["did you mean 'max_length'?"]),
        ([], ["no data named"]),
        (["data.dev=none.json"], ["no file none.json"]),
    ],
    ids=lambda value: " ".join(value)[:30],
)
def test_mistakes_in_evaluate(
    jeoni: Run, models: dict[str, str], arguments: list[str], parts: list[str]
) -> None:
    user_error(jeoni("evaluate", "--model", models["qa"], *arguments), *parts)
