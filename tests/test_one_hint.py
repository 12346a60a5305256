"""An error says one thing to do, also where one error is made of another."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import jeoni
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.models import where
from jeoni.models.describe import describe
from jeoni.recipes import demo, glue
from jeoni.recipes.build import located
from jeoni.recipes.finetune import finetune

CP949 = "text,label\n한글,1\n또 한글,0\n".encode("cp949")


def beside(folder: Path) -> None:
    """A name like that of a folder here, and like that of a preset."""
    (folder / "bert-bas").mkdir()
    (folder / "bert-bas" / "config.json").write_text("{}")
    located("./bert-base", ["bert-base"])


def file_in_another_encoding(folder: Path) -> None:
    (folder / "x.csv").write_bytes(CP949)
    open_dataset(DataConfig(train="x.csv", skip_bad=True), task="classification").split("train")


def no_test_files(folder: Path) -> None:
    rows = [
        {"name": name, "folder": str(folder), "main": "accuracy", "metrics": {}, "flags": []}
        for name in ("glue-cola", "glue-rte")
    ]
    (folder / "results.json").write_text(json.dumps({"suite": "glue", "runs": rows}))
    glue.submit(folder, folder / "out", root=str(folder))


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder or preset": (beside, "models near there: .*; or did you mean the preset"),
    "preset, described": (lambda _: describe("bert-bse"), "did you mean the preset 'bert-base'"),
    "neither model nor data": (lambda _: finetune({}), "--model .*; --data"),
    "file that skip_bad cannot mend": (file_in_another_encoding, "iconv"),
    "demo without its model": (lambda folder: demo.demo(folder), r"jeoni\[demo\]"),
    "no tokenizer": (
        lambda folder: jeoni.prepare(folder / "out", "x.txt", tokenizer="./none"),
        "learn one from the text",
    ),
    "data set like no other": (
        lambda _: open_dataset(DataConfig(name="x.tsv")),
        "^for your own file: data.train=FILE",
    ),
    "no test files of GLUE": (no_test_files, "JEONI_DATA"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_hint(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(where.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    call, hint = CASES[case]
    with pytest.raises(UserError) as error:
        call(tmp_path)
    assert str(error.value).count("→") == 1
    assert re.search(hint, error.value.hint or "")


def test_the_message_without_the_hint() -> None:
    assert str(UserError("wrong", hint="")) == "wrong"
    error = UserError("wrong", hint="do this")
    assert (error.message, error.hint, str(error)) == ("wrong", "do this", "wrong\n  → do this")
