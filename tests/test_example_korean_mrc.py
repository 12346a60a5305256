"""The exercise in ``examples/korean_mrc``: its data, train and test modes, and the notebook, at tiny sizes.

The notebook's cells are plain Python and are executed as such, after the one tagged ``parameters`` has been
given tiny values: a Jupyter kernel would be fifteen more packages for the tests.
"""

import json
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import runs
from jeoni.data.readers import read

FOLDER = Path(__file__).parents[1] / "examples" / "korean_mrc"
TINY = {"layers": 1, "hidden": 16, "heads": 1}
EXAMPLES = 6


@pytest.fixture(autouse=True)
def _there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make_data() -> ModuleType:
    import make_data

    return make_data


@pytest.fixture
def mrc(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import mrc

    monkeypatch.setattr(mrc, "SMALL", TINY)
    return mrc


def rows(path: Path | str) -> list[dict[str, Any]]:
    return [dict(row.fields) for row in read(Path(path), format="mrc_tsv")]


def test_data_are_whole_and_say_what_the_sample_says(make_data: ModuleType) -> None:
    make_data.write("data")
    from jeoni.data.catalog import DataConfig, open_dataset

    sample = open_dataset(DataConfig(name="wiki-ko-qa"))
    parts = {name: rows(f"data/{name}.tsv") for name in ("train", "dev", "test")}
    assert all(len(parts[name]) == len(sample.split(name)) for name in ("dev", "test"))
    most = sample.split("train")[: make_data.MOST]
    for row, record in zip(parts["train"], most, strict=True):
        tokens = row["tokens"]
        assert all(len(t) == 1 for t in tokens if t not in ("[CLS]", "[SEP]"))
        assert len(tokens) <= 512
        answer = record.fields["answers"][0]["text"]
        assert "".join(tokens[row["start_token"] : row["end_token"] + 1]) == answer.replace(
            " ", "_"
        )
        assert row["question"] == record.fields["question"]


def test_train_keeps_every_epoch_and_test_prints_both_spans(
    make_data: ModuleType, mrc: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    make_data.write("data", EXAMPLES)
    mrc.train(Path("data"), "run", epochs=2)
    assert "dev: exact_match" in capsys.readouterr().out
    kept = [Path("run/epochs") / name / "model.safetensors" for name in ("1", "2")]
    assert sorted(path.name for path in Path("run/epochs").iterdir()) == ["1", "2"]
    assert not runs.same_weights(*kept)
    assert any(runs.same_weights(path, Path("run", runs.WEIGHTS)) for path in kept)

    mrc.test(Path("data/test.tsv"), "run/epochs/1")
    lines = capsys.readouterr().out.splitlines()
    same = 0
    for number, row in enumerate(rows("data/test.tsv")):
        answer, predicted, passage, question, blank = lines[5 * number : 5 * number + 5]
        assert (
            answer
            == f"Answer span: {row['start_token']} {row['end_token']} {row['answers'][0]['text']}"
        )
        start, end, text = predicted.removeprefix("Predicted span: ").split(" ", 2)
        span = "".join(row["tokens"][int(start) : int(end) + 1])
        assert span.replace("_", " ") == text
        assert (passage, question) == (f"Passage: {row['context']}", f"Question: {row['question']}")
        assert blank == ""
        same += (int(start), int(end)) == (row["start_token"], row["end_token"])
    assert lines[5 * EXAMPLES :] == [f"{same} of {EXAMPLES} spans are the same"]


def test_the_model_reads_syllables_and_up_to_512_of_them(
    make_data: ModuleType, mrc: ModuleType
) -> None:
    import jeoni

    make_data.write("data", EXAMPLES)
    mrc.train(Path("data"), "run", epochs=1)
    model = jeoni.load("run/epochs/1")
    assert model.family.name == "electra"
    assert model.settings["max_length"] == 512
    row = rows("data/train.tsv")[0]
    found = model.tokenizer.encode(row["question"], row["context"])
    assert len(found.ids) == len(row["tokens"])  # so positions are those of the file
    assert found.ids.count(model.tokenizer.sep_id) == 2


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("[CLS] 가 [SEP] 나 [SEP]\t3", "train.tsv, line 7: 2 columns, not 3"),
        ("[CLS] 가 [SEP] 나 [SEP]\t1\t1", "train.tsv, line 7: answer tokens 1 to 1"),
        (f"[CLS] 가 [SEP] {'나 ' * 600}[SEP]\t3\t4", "train.tsv, line 7: 604 tokens, longer than"),
    ],
    ids=["columns", "outside", "too long"],
)
def test_a_bad_line_is_named(
    make_data: ModuleType, monkeypatch: pytest.MonkeyPatch, line: str, what: str
) -> None:
    make_data.write("data", EXAMPLES)
    with Path("data/train.tsv").open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    monkeypatch.setattr(sys, "argv", ["mrc.py", "train", "--data", "data", "--out", "run"])
    with pytest.raises(SystemExit, match=what):
        runpy.run_path(str(FOLDER / "mrc.py"), run_name="__main__")
    assert not Path("run").exists()


def test_at_most_60_lines() -> None:
    text = (FOLDER / "mrc.py").read_text(encoding="utf-8")
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 60


def test_the_notebook_runs_from_start_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    notebook = json.loads((FOLDER / "korean_mrc.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    space: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), space)
        if "parameters" in cell["metadata"].get("tags", ()):
            space |= {"examples": EXAMPLES, "epochs": 2, "sizes": TINY}
    printed = capsys.readouterr().out
    assert printed.startswith("[CLS] ")
    assert "epoch 1 {" in printed
    assert "epoch 2 {" in printed
    assert printed.count("Predicted span: ") == 5
    answer = printed.splitlines()[-1]
    assert answer
    assert answer in space["passage"]
