"""Bad examples: an error with file and line, or counted and passed over with ``data.skip_bad``."""

import json
from pathlib import Path
from typing import Any

import pytest

import tiny
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, Dataset, open_dataset
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import FinetuneResult, finetune
from jeoni.recipes.predict import predict
from jeoni.tasks import text_to_text
from runs import reviews
from shell import Run

CSV = "text,label\n좋다,1\n{}\n나쁘다,0\n".encode()
WORDS = {"tokens": ["Ann", "sings"], "tags": ["B-PER", "O"]}
PLACES = {"subject": {"start": 0, "end": 3, "word": "Ann"}, "object": {"start": 8, "end": 11}}
RELATION = {"text": "Ann met Bob", **PLACES, "label": "knows"}
ASKED = {"question": "Who?", "context": "It was Ann.", "answers": [{"text": "Ann", "start": 7}]}
CHOICE = {"text": "She sat", "choices": ["down.", "the."], "label": 0}

DIALOGUE = {"dialogue": [{"role": "user", "text": "a room", "state": ["hotel-type-room"]}]}


def csv(line: str | bytes) -> bytes:
    return CSV.replace(b"{}", line if isinstance(line, bytes) else line.encode())


def rows(good: dict[str, Any], **change: Any) -> bytes:
    """Two good rows, a bad one between them."""
    bad = {k: v for k, v in {**good, **change}.items() if v is not ...}
    return "\n".join(map(json.dumps, (good, bad, good))).encode()


def asked(*questions: dict[str, Any]) -> bytes:
    paragraph = {"context": ASKED["context"], "qas": list(questions)}
    return json.dumps({"data": [{"paragraphs": [paragraph]}]}).encode()


def question(id: str, start: int = 7) -> dict[str, Any]:
    answers = [{"text": "Ann", "answer_start": start}]
    return {"id": id, "question": "Who?", "answers": answers}


def trees(*heads: str) -> bytes:
    sentences = (
        "".join(f"{n}\tw\t_\tX\t_\t_\t{head}\tdep\t_\t_\n" for n, head in enumerate(own.split(), 1))
        for own in heads
    )
    return "\n".join(sentences).encode()


CP949 = "한국어,1".encode("cp949")
BAD: dict[str, tuple[str, bytes, str]] = {
    "an empty text": ("x.csv", csv(" ,1"), "x.csv, line 3: the text is empty"),
    "no label": ("x.csv", csv("그냥,"), "x.csv, line 3: no label"),
    "a cell too many": ("x.csv", csv("그냥, 뭐,1"), "x.csv, line 3: 3 fields"),
    "a quote that goes on": ("x.csv", csv('"그냥" 뭐,1'), "x.csv, line 3: "),
    "mixed encodings": ("x.csv", csv(CP949), "x.csv, line 3: not UTF-8"),
    "mixed encodings, JSON": (
        "x.jsonl",
        rows({"text": "a", "label": 1}).replace(b'1}\n{"text": "a"', b'0}\n{"text": "\xb0\xa1"', 1),
        "x.jsonl, line 2: not UTF-8",
    ),
    "broken JSON": (
        "x.jsonl",
        b'{"text": "a", "label": 1}\n{"text": \n{"text": "b", "label": 0}',
        "x.jsonl, line 2, column",
    ),
    "a number without end": (
        "x.jsonl",
        b'{"text": "a", "label": 1}\n' + b"9" * 5000 + b'\n{"text": "b", "label": 0}',
        "x.jsonl, line 2: not usable JSON",
    ),
    "a nesting without end": (
        "x.jsonl",
        b'{"text": "a", "label": 1}\n' + b"[" * 200_000 + b'\n{"text": "b", "label": 0}',
        "x.jsonl, line 2: not usable JSON",
    ),
    "fewer tags than words": (
        "x.jsonl", rows(WORDS, tags=["O"]), "x.jsonl, line 2: 2 words, but 1 tags",
    ),
    "a word without a tag": (
        "x.conll", b"Ann B-PER\n\nsings O\nloudly\n\nAnn B-PER\n", "x.conll, line 4: 1 columns",
    ),
    "a span of another text": (
        "x.json", asked(question("a"), question("b", 6), question("c")),
        r"x.json, article 1, paragraph 1, question 2 \(id b\): the passage has ' An' at 6",
    ),
    "a span of another text, flat": (
        "x.jsonl", rows(ASKED, answers=[{"text": "Ann", "start": 0}]),
        "x.jsonl, line 2.*the passage has 'It ' at 0",
    ),
    "an id that was there": (
        "x.json", asked(question("a"), question("a"), question("c")), "id 'a' is also that of",
    ),
    "an empty question": ("x.jsonl", rows(ASKED, question=""), "line 2: the question is empty"),
    "an entity elsewhere": (
        "x.jsonl", rows(RELATION, object={"start": 8, "end": 11, "word": "Ben"}),
        "x.jsonl, line 2.*the entity is 'Ben', but at character 8 stands 'Bob'",
    ),
    "an entity behind the end": (
        "x.jsonl", rows(RELATION, object={"start": 8, "end": 99}), "nothing from character 8 to 99",
    ),
    "a cycle": ("x.conllu", trees("0 1", "2 1 0", "0"), "x.conllu, line 4: the heads of words 1, 2 go"),
    "two roots": ("x.conllu", trees("0 1", "0 0", "0"), "x.conllu, line 4: 2 words have no head"),
    "a head that is no word": ("x.conllu", trees("0 1", "0 9", "0"), "line 5: head '9' is none"),
    "no such choice": ("x.jsonl", rows(CHOICE, label=2), "line 2: label 2 is none of the 2 choices"),
    "a dialogue without end": (
        "x.jsonl", rows(DIALOGUE, dialogue=DIALOGUE["dialogue"] * 1001),
        "x.jsonl, line 2: 1,001 turns in a dialogue, more than 1,000",
    ),
    "a state that is none": (
        "x.jsonl", rows(DIALOGUE, dialogue=[{**DIALOGUE["dialogue"][0], "state": ["hotel"]}]),
        "x.jsonl, line 2.*'hotel' in a state is not domain-slot-value",
    ),
    "an empty turn": (
        "x.jsonl", rows(DIALOGUE, dialogue=[{**DIALOGUE["dialogue"][0], "text": " "}]),
        "x.jsonl, line 2, user turn 1: the text is empty",
    ),
    "an empty source": (
        "x.jsonl", rows({"source": "a", "target": "b"}, source=""), "line 2: the source is empty",
    ),
    "an empty sentence": (
        "x.jsonl", rows({"good": "a", "bad": "b"}, bad=""), "line 2: the bad sentence is empty",
    ),
    "a column that a row lacks": ("x.jsonl", rows(CHOICE, text=...), "line 2: no column 'text'"),
}  # fmt: skip


def opened(folder: Path, case: str, *, skip: bool) -> Dataset:
    name, content, _ = BAD[case]
    (folder / name).write_bytes(content)
    config = DataConfig(train=str(folder / name), dev=str(folder / name), skip_bad=skip)
    return open_dataset(config, task="dependency" if name.endswith(".conllu") else None)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_example_is_an_error_with_file_and_line(tmp_path: Path, case: str) -> None:
    with pytest.raises(UserError, match=BAD[case][2]):
        opened(tmp_path, case, skip=False).split("train")


@pytest.mark.parametrize("case", BAD)
def test_a_bad_example_is_passed_over_and_counted(tmp_path: Path, case: str) -> None:
    dataset = opened(tmp_path, case, skip=True)
    assert len(dataset.split("train")) == len(dataset.split("dev")) == 2
    (skipped,) = dataset.skips().values()
    assert (skipped.count, len(skipped.first)) == (1, 1)
    with pytest.raises(UserError, match=BAD[case][2]):
        raise UserError(skipped.first[0])


def test_numbers(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(csv("그냥,viel"))
    config = {"train": str(tmp_path / "x.csv"), "dev": str(tmp_path / "x.csv")}
    with pytest.raises(UserError, match=r"x.csv, line 3: label 'viel' is no number"):
        open_dataset(DataConfig(**config), task="regression").split("train")
    dataset = open_dataset(DataConfig(**config, skip_bad=True), task="regression")
    assert len(dataset.split("train")) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "text,label\n한글,1\n또 한글,0\n".encode("cp949"), "not UTF-8, 2 of 3 lines"),
        ("x.json", b'{"data": [', "line 1, column"),
        ("x.csv", b'text,label\na,1\n"b,0\nc,1\n', "line 3: unexpected end of data"),
        ("x.csv", b"text,text\na,1\n", "column name 'text' is given twice"),
        ("x.csv", "글,label\na,1\n".encode("cp949"), "line 1: not UTF-8"),
        ("x.csv.gz", b"no gzip", "damaged"),
    ],
)
def test_a_bad_file_is_an_error_all_the_same(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    config = DataConfig(train=str(tmp_path / name), skip_bad=True, text="text", label="label")
    dataset = open_dataset(config, task="classification")
    with pytest.raises(UserError, match=f"{message}.*skip_bad cannot pass over that"):
        dataset.split("train")


def test_a_bad_example_may_be_the_first(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{\n{"text": "a", "label": 1}\n{"text": "b", "label": 2}\n')
    dataset = open_dataset(DataConfig(train=str(tmp_path / "x.jsonl"), skip_bad=True))
    assert (dataset.task, dataset.labels) == ("classification", ("1", "2"))
    # What is cut off as dev is of the same rows: they are read, and counted, once.
    assert len(dataset.split("train")) == len(dataset.split("dev")) == 1
    assert {name: skipped.count for name, skipped in dataset.skips().items()} == {
        "train and dev": 1
    }


def test_nothing_but_bad_examples(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "", "label": 1}\n' * 7)
    config = DataConfig(train=str(tmp_path / "x.jsonl"), skip_bad=True)
    with pytest.raises(UserError, match=r"all 7 records are bad; the first: x.jsonl, line 1: "):
        open_dataset(config).split("train")


@pytest.mark.parametrize("task", [None, "classification"])
def test_no_line_can_be_read(tmp_path: Path, task: Any) -> None:
    (tmp_path / "x.jsonl").write_text("{\n" * 7)
    config = DataConfig(train=str(tmp_path / "x.jsonl"), skip_bad=True)
    with pytest.raises(UserError, match=r"all 7 records are bad; the first: .*line 1, column"):
        open_dataset(config, task=task).split("train")


@pytest.mark.parametrize("good", [{"text": "a", "label": 1}, {"source": "a", "target": "b"}])
def test_the_first_row_may_have_other_columns(tmp_path: Path, good: dict[str, Any]) -> None:
    lines = ({"x": 1}, good, {**good, "label": 2}, {"x": 2})
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    test = str(tmp_path / "x.jsonl")
    with pytest.raises(UserError, match=r"x.jsonl, line 1: columns x: which is what"):
        open_dataset(DataConfig(test=test))
    dataset = open_dataset(DataConfig(test=test, skip_bad=True))
    assert dataset.task == ("text_to_text" if "source" in good else "classification")
    if "source" in good:
        assert text_to_text.from_data(dataset)["source"] == "{source}"
    (tmp_path / "x.jsonl").write_text('{"x": 1}\n' * 3)
    with pytest.raises(UserError, match=r"line 1: columns x: which is what(?s:.*)data.text=COLUMN"):
        open_dataset(DataConfig(test=test, skip_bad=True))


def test_of_a_dialogue_only_bad_turns_are_passed_over(tmp_path: Path) -> None:
    turn = DIALOGUE["dialogue"][0]
    turns = [turn, {**turn, "state": ["hotel"]}, turn]
    (tmp_path / "x.jsonl").write_text(json.dumps({"dialogue": turns}))
    dataset = open_dataset(DataConfig(dev=str(tmp_path / "x.jsonl"), skip_bad=True))
    assert [record.fields["turn"] for record in dataset.split("dev")] == [1, 3]
    assert dataset.skipped("dev").count == 1


@pytest.mark.parametrize("first", ["dev", "test"])
def test_one_file_with_labels_and_without(tmp_path: Path, first: Any) -> None:
    file = str(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_bytes(csv("그냥,"))
    dataset = open_dataset(DataConfig(dev=file, test=file, skip_bad=True))
    dataset.split(first)
    assert (len(dataset.split("dev")), len(dataset.split("test"))) == (2, 3)
    assert {name: skipped.count for name, skipped in dataset.skips().items()} == {"dev": 1}


@pytest.fixture(scope="module")
def strange_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviews, two of which have a label that the others do not have."""
    strange = [tiny.REVIEWS[0], ("그저 그렇다", "보통"), *tiny.REVIEWS[1:], ("so so", "보통")]
    return tiny.write_csv(tmp_path_factory.mktemp("strange") / "strange.csv", strange)


def test_labels_that_training_did_not_have(
    tiny_folder: Path, reviews_csv: Path, strange_csv: Path, tmp_path: Path
) -> None:
    data = reviews(reviews_csv, dev=str(strange_csv))
    message = "strange.csv, line 3: label '보통' is not one of the classes"
    with pytest.raises(UserError, match=message):
        finetune(tiny.recipe(tiny_folder, data, tmp_path / "run"))
    skipping = tiny.recipe(tiny_folder, data | {"skip_bad": True}, tmp_path / "run")
    with pytest.warns(UserWarning, match=f"dev: 2 bad records skipped:\n  {message}"):
        result = finetune(skipping)
    facts = result.results["data"]
    assert (facts["train_examples"], facts["dev_examples"]) == (16, 16)
    assert facts["skipped"]["dev"]["count"] == 2
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "Bad examples that were skipped" in page
    assert "strange.csv, line 19" in page


def test_wrong_label_names(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    recipe = tiny.recipe(
        tiny_folder, reviews(reviews_csv), tmp_path / "run", task={"labels": ["긍정", "부정적"]}
    )
    with pytest.raises(UserError, match=r"reviews.csv, line 3: label '부정' is not one of"):
        finetune(recipe)


def test_evaluating_and_predicting(label_run: FinetuneResult, strange_csv: Path) -> None:
    data = {"dev": str(strange_csv), "text": "review", "label": "stars"}
    with pytest.raises(UserError, match=r"strange.csv, line 3"):
        evaluate(label_run.folder, data)
    with pytest.warns(UserWarning, match="dev: 2 bad records"):
        found = evaluate(label_run.folder, data | {"skip_bad": True})
    assert (found["n"], found["skipped"]["dev"]["count"]) == (16, 2)
    assert len(predict(label_run.folder, data, split="dev")) == 18  # it needs no labels


def test_what_is_predicted_says_where_it_stands(
    jeoni: Run, label_run: FinetuneResult, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("review\nfine\n\n  \ngood\n", encoding="utf-8")
    asked = ("predict", "--model", str(label_run.folder), f"data.test={tmp_path / 'new.csv'}")
    found = jeoni(*asked, "data.text=review")
    assert (found.status, found.out) == (2, "")
    assert "new.csv, line 4: the text is empty" in found.err
    found = jeoni(*asked, "data.text=review", "data.skip_bad=true")
    assert [json.loads(line)["at"] for line in found.out.splitlines()] == [
        "new.csv, line 2",
        "new.csv, line 5",
    ]
    assert "warning: test: 1 bad records skipped:" in found.err
