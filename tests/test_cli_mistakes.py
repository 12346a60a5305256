"""The command line: how it fails."""

import os
from pathlib import Path
from typing import Any

import pytest

import tiny
from shell import Run, user_error


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["data.train=my.csv", "trian.lr=1"], ["unknown key 'trian'", "did you mean 'train'?"]),
        (["data.train=my.csv", "train.lr=fast"], ["train.lr", "number", "'fast'"]),
        (["data.train=none.csv"], ["no file none.csv", "JEONI_DATA"]),
        (["data.train=a\udcff.csv"], [r"data.train is 'a\udcff.csv'", "no UTF-8", "rename"]),
        (["none.yaml"], ["no recipe file none.yaml"]),
        (["--data", "sqad"], ["no dataset named 'sqad'", "did you mean 'squad'?"]),
        (["--data", "nsmc"], ["nsmc", "JEONI_DATA"]),
        ([], ["key 'data' is missing", "--data NAME"]),
        (["--data", "squad-sample", "--task", "classification"], ["is for span_qa"]),
        (["--data", "squad-sample", "--strategy", "ful"], ["no strategy named 'ful'"]),
        (["--data", "squad-sample", "strategy.decay=0.9"], ["'strategy.decay'", "it has no settings"]),
        (["--data", "squad-sample", "--seeds", "1,x"], ["seeds must be a whole number, not 'x'"]),
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
    ("model", "near"),
    [
        ("runs/qb", "runs/qa, runs/stars"),
        ("runs/strs", "runs/stars, runs/qa"),
        ("stras", "runs/stars"),
        ("./runs/qb", "runs/qa, runs/stars"),
        ("rnus/stars", "runs/stars"),
        ("bert-bsae", None),
        ("org/name", None),
    ],
)
def test_a_slip_in_the_name_of_a_run(
    jeoni: Run, model: str, near: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for place in ("runs/qa/model", "runs/stars", "runs/begun", "other"):
        Path(place).mkdir(parents=True)
        if place != "runs/begun":
            Path(place, "config.json").write_text("{}")
    told = f"models near there: {near}\n" if near else "→ give a folder"
    user_error(
        jeoni("answer", "--model", model, "--question", "Q?", "--context", "C."), "no folder", told
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
        def raise_(*_: Any, **__: Any) -> None:
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


def test_what_one_may_not_read(
    jeoni: Run, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, stat = tmp_path / "secret.csv", os.stat

    def forbidden(asked: Any, **options: Any) -> os.stat_result:
        if str(asked) == str(path):
            raise PermissionError(13, "Permission denied", str(asked))
        return stat(asked, **options)

    monkeypatch.setattr(os, "stat", forbidden)
    result = jeoni("finetune", "--model", str(tiny_folder), f"data.train={path}")
    user_error(result, f"no permission for {path}")


def test_a_text_where_a_file_should_be(jeoni: Run, tmp_path: Path) -> None:
    """Of 90 Korean letters, no file system has a name."""
    text = "가" * 90
    result = jeoni("tokenizer", "train", text, "--out", str(tmp_path / "out"))
    user_error(result, f"{text}: File name too long")


def test_a_home_that_is_none(jeoni: Run) -> None:
    user_error(jeoni("data", "list", "--root", "~nobody-of-that-name/data"), "begins with ~")
