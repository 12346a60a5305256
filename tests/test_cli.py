"""The command line: what it teaches, what it prints, how it fails."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.cli import main
from jeoni.tasks.classification import Classification, ClassificationConfig
from jeoni.tasks.span_qa import SpanQA, SpanQAConfig

VERBS = (
    "finetune",
    "evaluate",
    "answer",
    "classify",
    "demo",
    "data list",
    "models list",
    "models show",
    "plan",
)


@dataclass
class Output:
    status: int
    out: str
    err: str


Run = Callable[..., Output]


@pytest.fixture
def jeoni(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the entry point in this process."""

    def run(*arguments: str, stdin: bytes | str = b"") -> Output:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "argv", ["jeoni", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        monkeypatch.setenv("COLUMNS", "120")
        try:
            main.run()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsys.readouterr()
        return Output(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One model for each task, as a run leaves it (its answers are random)."""
    folder = tmp_path_factory.mktemp("models")
    qa = SpanQA(model=tiny.model(), config=SpanQAConfig(max_length=100, stride=16))
    labels = Classification(model=tiny.model(), config=ClassificationConfig(labels=tiny.LABELS))
    for task in (qa, labels):
        task.model.settings = task.settings()
    return {
        "qa": str(qa.model.save(folder / "qa")),
        "labels": str(labels.model.save(folder / "labels")),
    }


# Help


@pytest.mark.parametrize("verb", ["", *VERBS, "data", "models"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_verb_explains_itself(jeoni: Run, verb: str, flag: str) -> None:
    result = jeoni(*verb.split(), flag)
    assert result.status == 0
    assert "Usage:" in result.out
    assert result.err == ""


@pytest.mark.parametrize("verb", ["finetune", "evaluate", "answer", "classify"])
def test_help_teaches_by_example(jeoni: Run, verb: str) -> None:
    result = jeoni(verb, "--help")
    assert "Example" in result.out
    assert f"jeoni {verb} --model" in result.out


@pytest.mark.parametrize(
    "verb", ["", "finetune", "evaluate", "answer", "classify", "data", "models"]
)
def test_a_verb_alone_shows_its_help(jeoni: Run, verb: str) -> None:
    result = jeoni(*verb.split())
    assert result.status in (0, 2)
    assert "Usage:" in result.out + result.err


def test_help_names_every_verb(jeoni: Run) -> None:
    out = jeoni("--help").out
    assert all(verb.split()[0] in out for verb in VERBS)


def test_version(jeoni: Run) -> None:
    import jeoni as package

    assert jeoni("--version").out.strip() == package.__version__


@pytest.mark.parametrize("arguments", [["--help"], ["finetune", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from jeoni.cli import main; sys.argv = ['jeoni', *sys.argv[1:]]\n"
        "try: main.run()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'sklearn', 'pandas', 'altair', 'tokenizers'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    assert result.stderr.strip() == "[]"


def test_as_a_program() -> None:
    """``python -m jeoni``: exit status and streams of a real process."""
    result = subprocess.run(
        [sys.executable, "-m", "jeoni", "finetune", "--model", "m", "data.nam=x"],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("jeoni: recipe: unknown key 'data.nam'; did you mean 'name'?")
    assert "Traceback" not in result.stderr


# Mistakes


def user_error(result: Output, *parts: str) -> None:
    """Status 2, no traceback, nothing on standard output, and a message that says it."""
    assert result.status == 2, result
    assert "Traceback" not in result.err
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if line.startswith("jeoni: ")]
    assert len(lines) == 1, result.err
    for part in parts:
        assert part in result.err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["data.train=my.csv", "trian.lr=1"], ["unknown key 'trian'", "did you mean 'train'?"]),
        (["data.train=my.csv", "train.lr=fast"], ["train.lr", "number", "'fast'"]),
        (["data.train=none.csv"], ["no file none.csv", "JEONI_DATA"]),
        (["none.yaml"], ["no recipe file none.yaml"]),
        (["--data", "sqad"], ["no dataset named 'sqad'", "did you mean 'squad'?"]),
        (["--data", "nsmc"], ["nsmc", "JEONI_DATA"]),
        ([], ["key 'data' is missing"]),
        (["--data", "squad-sample", "--task", "classification"], ["is for span_qa"]),
        (["--data", "squad-sample", "--strategy", "ful"], ["no strategy named 'ful'"]),
        (["--data", "squad-sample", "--seeds", "1,x"], ["seeds"]),
        (["--data", "squad-sample", "device=gpu"], ["gpu"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)  # fmt: skip
def test_mistakes_in_finetune(
    jeoni: Run, arguments: list[str], parts: list[str], tiny_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JEONI_DATA", raising=False)
    tiny.write_csv(tmp_path / "my.csv", header=("text", "label"))
    limits = ["data.limit_train=4", "data.limit_dev=4"] if "--data" in arguments else []
    limits += ["task.max_length=100", "task.stride=16"] if "--strategy" in arguments else []
    user_error(jeoni("finetune", "--model", str(tiny_folder), *arguments, *limits), *parts)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("my.csv", b"", ["my.csv", "no examples"]),
        ("my.csv", b"text,label\n", ["my.csv", "no examples"]),
        ("my.csv", "text,label\na,긍정\nb,\n".encode(), ["my.csv, line 3", "no label"]),
        ("my.csv", b"text,label\na,x\nb,x\n", ["every example has the label 'x'"]),
        ("my.csv", b"text,label\na,x\nb,y,z\n", ["my.csv, line 3: 3 fields"]),
        ("my.csv", b"review,label\na,x\nb,y\n", ["my.csv, line 2: no column 'text'", "review, label"]),
        ("my.csv", b"review,stars\na,1\nb,2\n", ["review, stars: which is what?", "data.text=COLUMN"]),
        ("my.csv", b'text,label\n"open,x\nb,y\n', ["my.csv, line 2"]),
        ("my.csv", "text,label\n좋다,1\n나쁘다,0\n".encode("cp949"), ["line 2: not UTF-8", "cp949"]),
        ("my.jsonl", b'{"text": "a", "label": NaN}\n{"text": "b", "label": 1}\n', ["my.jsonl, line 1"]),
        ("my.jsonl", b'{"text": "a", "label": 0}\n{"text": "b", "lab', ["my.jsonl, line 2"]),
        ("my.json", b'{"data": [{"paragraphs": [', ["my.json, line 1", "not valid JSON"]),
        ("my.json", b'[{"question": "?", "context": "abc", "answers": [{"text": "x", "start": 0}]}]',
         ["item 1 (id 1): the passage has 'a' at 0, not the answer 'x'"]),
        ("my.pkl", b"\x80\x04", ["my.pkl", "no reader for 'pkl'"]),
        ("my.parquet", b"PAR1 not at all", ["my.parquet: not whole parquet"]),
        ("my.csv.gz", b"not packed", ["my.csv.gz: damaged"]),
        ("folder/a.csv", b"x", ["folder is a folder", "a.csv"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_mistakes_in_data(
    jeoni: Run, name: str, content: bytes, parts: list[str], tiny_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    given = path.parent if "/" in name else path
    user_error(
        jeoni("finetune", "--model", str(tiny_folder), f"data.train={given}", f"data.dev={given}",
              f"out={tmp_path / 'run'}"),
        *parts,
    )  # fmt: skip
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("./none", ["no folder none"]),
        ("package:no_such_package", ["no installed package", "pip install"]),
        ("package:jeoni/../..", ["leads out of the package"]),
        ("package:jeoni", ["has no config.json"]),
        ("{tmp}/empty", ["no model in", "config.json"]),
        ("{tmp}/pickle", ["pytorch_model.bin"]),
        ("{tmp}/broken", ["config.json", "not valid JSON"]),
        ("{tmp}/file.txt", ["is a file"]),
    ],
)
@pytest.mark.parametrize("verb", ["answer", "classify", "evaluate", "finetune"])
def test_models_that_are_none(
    jeoni: Run, verb: str, model: str, parts: list[str], tiny_folder: Path, tmp_path: Path
) -> None:
    import shutil

    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("")
    for name in ("pickle", "broken"):
        shutil.copytree(tiny_folder, tmp_path / name)
    (tmp_path / "pickle/model.safetensors").unlink()
    # A pickle that would run code: it is refused, not run.
    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    (tmp_path / "pickle/pytorch_model.bin").write_bytes(evil)
    (tmp_path / "broken/config.json").write_text('{"model_type": ')
    rest = {
        "answer": ["--question", "Q?", "--context", "C."],
        "classify": ["a text"],
        "evaluate": ["--data", "squad-sample"],
        "finetune": ["--data", "squad-sample", "--out", str(tmp_path / "run")],
    }
    place = model.format(tmp=tmp_path)
    user_error(jeoni(verb, "--model", place, *rest[verb]), *parts)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "run").exists()


def test_a_hub_id_without_network(jeoni: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    user_error(
        jeoni("classify", "--model", "some/model", "text"),
        "no folder 'some/model'",
        "HF_HUB_OFFLINE",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["answer", "--question", "Q?"],
        ["classify", "text"],
        ["finetune", "a.yaml", "b.yaml"],
        ["finetune", "--sedes", "1"],
        ["nothing"],
        ["data", "nothing"],
    ],
    ids=" ".join,
)
def test_wrong_arguments(jeoni: Run, arguments: list[str]) -> None:
    result = jeoni(*arguments)
    assert result.status == 2
    assert "Traceback" not in result.err
    assert result.out == ""


def test_a_bug_is_not_a_user_error(jeoni: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its traceback; an interrupt says so and has its own status."""
    from jeoni.data import cards
    from jeoni.training.signals import Interrupted

    def fail(error: BaseException) -> Any:
        def raise_(root: Any) -> None:
            raise error

        return raise_

    monkeypatch.setattr(cards, "available", fail(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        jeoni("data", "list")
    monkeypatch.setattr(cards, "available", fail(Interrupted("stopped after step 3")))
    result = jeoni("data", "list")
    assert (result.status, "stopped after step 3" in result.err) == (130, True)
    monkeypatch.setattr(cards, "available", fail(KeyboardInterrupt()))
    assert jeoni("data", "list").status == 130


# Answers and labels

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


# Lists


def test_data_list(jeoni: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JEONI_DATA", raising=False)
    found = {entry["name"]: entry for entry in json.loads(jeoni("data", "list", "--json").out)}
    assert found.keys() >= {"squad", "squad_v2", "korquad", "nsmc", "glue-sst2", "squad-sample"}
    assert found["squad-sample"]["at_hand"]
    assert not found["nsmc"]["at_hand"]
    (tmp_path / "korquad").mkdir()
    (tmp_path / "korquad/KorQuAD_v1.0_dev.json").write_text("{}")
    again = json.loads(jeoni("data", "list", "--json", "--root", str(tmp_path)).out)
    assert all(str(tmp_path) in str(e["searched"]) for e in again if e["name"] != "squad-sample")
    plain = jeoni("data", "list").out
    assert all(name in plain for name in found)
    assert "JEONI_DATA" in plain


def test_models_list(jeoni: Run) -> None:
    found = {entry["preset"]: entry for entry in json.loads(jeoni("models", "list", "--json").out)}
    assert found["bert-base-uncased"]["parameters"] == pytest.approx(110e6, rel=0.005)
    assert found["electra-small-discriminator"]["family"] == "electra"
    plain = jeoni("models", "list").out
    assert all(name in plain for name in found)


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
    assert "95% interval of accuracy" in plain.out

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
