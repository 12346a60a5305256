"""Predictions for GLUE's server: its test files as they are published, its words, an archive."""

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.base.errors import UserError
from jeoni.base.files import write_json
from jeoni.data import cards
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.recipes.glue import submit
from jeoni.recipes.predict import predict
from jeoni.recipes.suite_table import Score
from jeoni.tasks import _find as tasks
from shell import Run, user_error

OFFICIAL = {
    "CoLA": "glue-cola", "SST-2": "glue-sst2", "MRPC": "glue-mrpc", "STS-B": "glue-stsb",
    "QQP": "glue-qqp", "MNLI-m": "glue-mnli", "MNLI-mm": "glue-mnli-mm", "QNLI": "glue-qnli",
    "RTE": "glue-rte", "WNLI": "glue-wnli", "AX": "glue-ax",
}  # fmt: skip
FILES: dict[str, Sequence[Sequence[str]]] = {
    "CoLA/test.tsv": [
        ("index", "sentence"),
        ("0", "Bill whistled past the house."),
        ("1", 'He said "no'),
    ],
    "MNLI/test_matched.tsv": [
        ("index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence1", "sentence2"),
        ("7", "31493", "31493", "travel", "( a film )", "a wonderful film", "a film"),
    ],
    "MNLI/test_mismatched.tsv": [
        ("index", "promptID", "pairID", "genre", "sentence1", "sentence2"),
        ("0", "1", "1", "letters", "boring", "funny"),
    ],
    "diagnostic/diagnostic.tsv": [
        ("index", "sentence1", "sentence2"),
        ("0", "The cat sat.", "The cat did not sit."),
    ],
    "STS-B/test.tsv": [
        ("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1",
         "sentence2"),
        ("0", "main-captions", "MSRvid", "2012test", "0024", "none", "none", "A girl.", "A boy."),
        ("1", "main-captions", "MSRvid", "2012test", "0033", "none", "none", "A cat.", "Rain."),
    ],
    "QQP/test.tsv": [("id", "question1", "question2"), ("0", "Why?", "Who?")],
    "MRPC/test.tsv": [
        ("index", "#1 ID", "#2 ID", "#1 String", "#2 String"),
        ("0", "1089874", "1089925", "PCCW's chief.", "Current chief."),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model for a few data sets; none was trained."""
    folders = {}
    for name in ("glue-cola", "glue-mnli", "glue-stsb", "glue-mrpc"):
        card = cards.card(name)
        kind = tasks.find(card.task)
        settings = {"labels": card.labels} if card.labels else {}
        model = tiny.model()
        task = kind.task(model=model, config=kind.config(max_length=32, **settings))
        model.settings = task.settings()
        folders[name] = model.save(tmp_path_factory.mktemp(name) / "model")
    return folders


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, rows in FILES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path / "data"


def suite(folder: Path, rows: Sequence[tuple[str, Path, float, Sequence[str]]]) -> Path:
    """The folder of a suite that was trained elsewhere: data set, run, score on dev, flags."""
    scores = []
    for seed, (name, run, score, flags) in enumerate(rows):
        place = f"{name}/seed-{seed}"
        if run.is_dir():
            shutil.copytree(run, folder / place)
        about = name, seed, f"runs/suite-glue/{place}", "classification", "x"
        scores.append(Score(*about, {"x": score}, 9, flags))
    write_json(folder / "results.json", {"suite": "glue", "runs": [asdict(s) for s in scores]})
    return folder


def lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_file_of_the_server_is_of_a_card() -> None:
    found = {
        s.file: (n, cards.card(n).labels, s.words)
        for n in cards.names()
        if (s := cards.card(n).submission)
    }
    assert {file: name for file, (name, _, _) in found.items()} == {
        f"{file}.tsv": name for file, name in OFFICIAL.items()
    }
    for name, labels, words in found.values():
        assert len(labels or ()) == len(words or ())
        assert cards.card(name).submission
    assert found["QNLI.tsv"][1:] == (("entailment", "not_entailment"),) * 2
    assert found["WNLI.tsv"][1:] == (("not_entailment", "entailment"), ("0", "1"))


@pytest.mark.parametrize(
    ("name", "text", "pair"),
    [
        ("glue-cola", 'He said "no', None),
        ("glue-mnli", "a wonderful film", "a film"),
        ("glue-mnli-mm", "boring", "funny"),
        ("glue-qqp", "Why?", "Who?"),
    ],
)
def test_test_sets_without_labels_are_read(data: Path, name: str, text: str, pair: Any) -> None:
    rows = open_dataset(DataConfig(name=name, root=str(data))).split("test")
    assert (rows[-1].fields["text"], rows[-1].fields.get("pair")) == (text, pair)


PARSES = "( a film )\t( a film )\t(ROOT (NP a film))\t(ROOT (NP a film))"
MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
    "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\t"
)
QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
MRPC = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
PUBLISHED: dict[str, tuple[str, str, Sequence[tuple[Any, ...]]]] = {
    "glue-cola": (
        "CoLA/{}.tsv",
        "gj04\t1\t\tOur friends won't buy this.\ngj04\t0\t*\t\"They drank the pub.\n",
        [("Our friends won't buy this.", "acceptable"), ('"They drank the pub.', "unacceptable")],
    ),
    "glue-sst2": (
        "SST-2/{}.tsv",
        'sentence\tlabel\nhide new secretions \t0\nno " wit \t1\n',
        [("hide new secretions ", "negative"), ('no " wit ', "positive")],
    ),
    "glue-mrpc": (
        "MRPC/{}.tsv",
        MRPC + '1\t702876\t702977\tHe said "no.\tHe did.\n0\t1\t2\tA cat.\t"Rain" fell.\n',
        [('He said "no.', "He did.", "equivalent"), ("A cat.", '"Rain" fell.', "not_equivalent")],
    ),
    "glue-qqp": (
        "QQP/{}.tsv",
        # A question with a line's end in it is published as two lines.
        QQP + '0\t1\t2\tWhy "me"?\tWhy us?\t1\n7\t3\t4\t"Was he real?\n"\tWas he?\t0\n'
        '9\t5\t6\tWho?\t"Quo" who?\t0\n',
        [('Why "me"?', "Why us?", "duplicate"), ("Who?", '"Quo" who?', "not_duplicate")],
    ),
    "glue-stsb": (
        "STS-B/{}.tsv",
        STSB + "0\tmain-captions\tMSRvid\t2012test\t0001\tnone\tnone\tA girl.\tA boy.\t2.500\n"
        "1\tmain-news\theadlines\t2013\t5\tnone\tnone\tRain.\tIt rains.\t5.000\n",
        [("A girl.", "A boy.", "2.500"), ("Rain.", "It rains.", "5.000")],
    ),
    "glue-mnli": (
        "MNLI/{}.tsv",
        MNLI
        + f'gold_label\n0\t31193\t31193n\tfiction\t{PARSES}\ta film\ta "film\tneutral\tneutral\n'
        f"1\t2\t2e\ttravel\t{PARSES}\tone\ttwo\tentailment\tentailment\n",
        [("a film", 'a "film', "neutral"), ("one", "two", "entailment")],
    ),
    "glue-qnli": (
        "QNLI/{}.tsv",
        'index\tquestion\tsentence\tlabel\n0\tWhen?\tIn "91.\tentailment\n1\tWho?\tNo.\tnot_entailment\n',
        [("When?", 'In "91.', "entailment"), ("Who?", "No.", "not_entailment")],
    ),
    "glue-rte": (
        "RTE/{}.tsv",
        'index\tsentence1\tsentence2\tlabel\n0\tNo "arms.\tArms.\tnot_entailment\n1\ta\tb\tentailment\n',
        [('No "arms.', "Arms.", "not_entailment"), ("a", "b", "entailment")],
    ),
    "glue-wnli": (
        "WNLI/{}.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\tI stuck a pin.\tThe carrot had a hole.\t1\n1\ta\tb\t0\n",
        [("I stuck a pin.", "The carrot had a hole.", "entailment"), ("a", "b", "not_entailment")],
    ),
}
"""As GLUE's download script leaves them: the file, what is in it, and what that means."""


@pytest.mark.parametrize("name", [*PUBLISHED, "glue-mnli-mm"])
def test_training_data_as_glue_has_them(name: str, tmp_path: Path) -> None:
    file, content, expected = PUBLISHED[name.removesuffix("-mm")]
    dev, judged = "dev", content
    if name.startswith("glue-mnli"):  # of dev, five people have said what they think
        dev = "dev_mismatched" if name.endswith("mm") else "dev_matched"
        judged = content.replace("label1\t", "label1\tlabel2\tlabel3\tlabel4\tlabel5\t")
        for word in ("neutral", "entailment"):
            judged = judged.replace(f"\t{word}\t{word}\n", f"\t{word}" * 6 + "\n")
    for split, text in (("train", content), (dev, judged)):
        path = tmp_path / file.format(split)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    dataset = open_dataset(DataConfig(name=name, root=str(tmp_path)))
    for split in ("train", "dev"):
        rows = [record.fields for record in dataset.split(split)]
        found = [tuple(row[k] for k in ("text", "pair", "label") if k in row) for row in rows]
        assert found == expected
        assert dataset.skipped(split).count == (2 if name == "glue-qqp" else 0)


def test_lines_that_are_no_examples_are_not_counted(tmp_path: Path) -> None:
    file, content, expected = PUBLISHED["glue-qqp"]
    (tmp_path / "QQP").mkdir()
    (tmp_path / file.format("dev")).write_text(content, encoding="utf-8")
    (entry,) = cards.available(str(tmp_path), only="glue-qqp", count=True)
    assert entry.rows["dev"] == len(expected)


def test_mrpc_as_microsoft_has_it(tmp_path: Path) -> None:
    _, content, expected = PUBLISHED["glue-mrpc"]
    (tmp_path / "msr_paraphrase_train.txt").write_text(
        content, encoding="utf-8-sig", newline="\r\n"
    )
    (tmp_path / "msr_paraphrase_test.txt").write_text(content, encoding="utf-8-sig")
    (row, _) = open_dataset(DataConfig(name="glue-mrpc", root=str(tmp_path))).split("test")
    assert (row.fields["text"], row.fields["pair"], row.fields["label"]) == expected[0]


def test_a_bad_line_of_ones_own_is_an_error(tmp_path: Path) -> None:
    """Also in the form of a data set whose published files have such."""
    path = tmp_path / "mine.tsv"
    path.write_text(PUBLISHED["glue-qqp"][1], encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.tsv, line 3: 4 fields, but"):
        open_dataset(DataConfig(name="glue-qqp", train=str(path))).split("train")


def test_one_data_set(models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = submit(models["glue-cola"], out, data="glue-cola", root=str(data))
    said = predict(models["glue-cola"], {"name": "glue-cola", "root": str(data)})
    words = {"unacceptable": "0", "acceptable": "1"}
    expected = [["index", "prediction"], *([str(n), words[r["label"]]] for n, r in enumerate(said))]
    assert lines(out / "CoLA.tsv") == expected
    assert done.files == {"glue-cola": out / "CoLA.tsv"}
    assert len(done.absent) == 10
    done = submit(models["glue-stsb"], out, data="glue-stsb", root=str(data))
    assert "glue-cola" not in done.absent  # its file is still there
    with zipfile.ZipFile(done.archive) as archive:
        assert archive.namelist() == ["CoLA.tsv", "STS-B.tsv"]
        assert archive.read("CoLA.tsv") == (out / "CoLA.tsv").read_bytes()


def test_numbers_are_between_0_and_5(
    models: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [{"value": 7.25}, {"value": -0.5}]
    monkeypatch.setattr("jeoni.recipes.glue.predict", lambda *_, **__: values)
    submit(models["glue-stsb"], tmp_path, data="glue-stsb", root=str(data))
    assert lines(tmp_path / "STS-B.tsv")[1:] == [["0", "5.000"], ["1", "0.000"]]


def test_the_best_runs_of_a_suite(models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    mnli = models["glue-mnli"].parent
    folder = suite(
        tmp_path / "suite",
        [
            ("glue-cola", models["glue-cola"].parent, 0.5, []),
            ("glue-cola", tmp_path / "flagged", 0.9, ["one class predicted"]),
            ("glue-cola", tmp_path / "worse", 0.4, []),
            ("glue-mnli", mnli, 0.5, []),
            ("glue-mnli-mm", tmp_path / "best on mm", 0.9, []),
            ("glue-rte", tmp_path / "no test file", 0.9, []),
        ],
    )
    done = submit(folder, tmp_path / "out", root=str(data))
    assert done.files.keys() == {"glue-cola", "glue-mnli", "glue-mnli-mm", "glue-ax"}
    (number, word) = lines(tmp_path / "out" / "MNLI-m.tsv")[1]
    assert number == "7"
    assert word in ("entailment", "neutral", "contradiction")
    assert "looked for RTE/test.tsv" in done.absent["glue-rte"]
    assert done.absent["glue-sst2"] == "the suite has no run for it"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nsmc", r"'nsmc' is not of GLUE\n.*glue-cola"),
        (None, "is not the folder of a suite that was scored on dev"),
        ("glue-sst2", "no test file of GLUE; looked for SST-2/test.tsv"),
        ("glue-mrpc", r"test\.tsv, line 2: no column index \| idx \| id: this is not GLUE's own"),
    ],
)
def test_mistakes(
    models: dict[str, Path], data: Path, tmp_path: Path, name: Any, message: str
) -> None:
    (data / "MRPC/test.tsv").write_text("quality\t#1 String\t#2 String\n1\ta film\tb\n")
    model = models.get(name, models["glue-cola"])
    with pytest.raises(UserError, match=message):
        submit(model, tmp_path / "out", data=name, root=str(data))
    assert not (tmp_path / "out").exists()


def test_an_index_twice(models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    (data / "CoLA/test.tsv").write_text("index\tsentence\n0\ta\n0\tb\n")
    with pytest.raises(UserError, match="an index occurs more than once"):
        submit(models["glue-cola"], tmp_path / "out", data="glue-cola", root=str(data))


def test_from_the_shell(
    jeoni: Run, models: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JEONI_DATA", str(data))
    out = tmp_path / "out"
    model = str(models["glue-cola"])
    done = jeoni("predict", "--model", model, "--data", "glue-cola", "--glue", str(out))
    assert done.status == 0, done.err
    assert "CoLA.tsv" in done.out
    assert "submission.zip" in done.out
    wrong = jeoni("predict", "--model", model, "--glue", str(out), "data.test=x.tsv")
    user_error(wrong, "data.test: --glue takes the test files of GLUE as they are")
    user_error(jeoni("predict", "--model", model, "--glue", str(out)), "not the folder of a suite")
    glue = ("predict", "--model", model, "--glue", str(out))
    user_error(jeoni(*glue, "--split", "dev"), "--glue predicts the test sets")
    user_error(jeoni(*glue, "--out", "x.jsonl"), "--out has no meaning with --glue")
    user_error(jeoni(*glue, "task.max_length=16"), "task.KEY has no meaning with --glue")
