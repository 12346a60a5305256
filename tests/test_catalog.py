"""The catalog: named datasets, your own files, standard fields, cuts and samples."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jeoni.base.config import parse
from jeoni.base.errors import UserError
from jeoni.data import cards
from jeoni.data.catalog import DataConfig, Dataset, available, open_dataset
from jeoni.data.readers import FORMATS
from jeoni.data.record import Record
from jeoni.data.standard import Columns, label_index

SHARED = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the folders of whoever runs the tests nor the current one count."""
    monkeypatch.delenv(cards.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


def data(**settings: Any) -> Dataset:
    return open_dataset(DataConfig(**settings))


def values(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [record.fields for record in records]


def write_csv(name: str, rows: Sequence[Sequence[Any]], header: str = "text,label") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name


def write_squad(name: str, titles: int = 4, questions: int = 5, **extra: Any) -> str:
    def ask(title: int, number: int) -> dict[str, Any]:
        answer = {"text": f"t{title}", "answer_start": 9}
        return {"id": f"{title}-{number}", "question": "Who?", "answers": [answer]} | extra

    articles = [
        {
            "title": f"title{t}",
            "paragraphs": [
                {"context": f"passage: t{t}", "qas": [ask(t, n) for n in range(questions)]}
            ],
        }
        for t in range(titles)
    ]
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(json.dumps({"data": articles}))
    return name


# The cards

METRICS = {
    "classification": {"accuracy", "macro_f1", "f1", "matthews_corrcoef"},
    "regression": {"pearson", "spearman"},
    "tagging": {"entity_f1", "klue_ner", "tag_accuracy"},
    "dependency": {"las", "klue_dp"},
    "relation": {"micro_f1"},
    "multiple_choice": {"accuracy"},
    "span_qa": {"squad_v1", "squad_v2", "korquad_v1", "klue_mrc"},
    "dialogue_state": {"joint_goal_accuracy"},
    "text_to_text": {"nq_open", "trivia_qa", "bleu", "chrf", "rouge", "final_number"},
    "minimal_pairs": {"minimal_pairs"},
    "retrieval": {"mrr"},
}


@pytest.mark.parametrize("name", cards.names())
def test_every_card_is_whole(name: str) -> None:
    card = cards.card(name)
    assert card.description
    assert card.licence
    if card.task != "dependency":  # a treebank's own subtypes of relations are in its files alone
        assert bool(card.labels) == (card.task in ("classification", "tagging", "relation"))
    assert card.metric in METRICS[card.task]
    assert all(card.columns.values())
    Columns(**card.columns)  # no other fields
    assert {name.split(":")[0] for name in card.formats.values()} <= FORMATS.keys()
    for published in card.published:
        assert all(0 < score <= 100 for m in published.scores.values() for score in m.values())
    lines = (cards.HERE / "datasets" / f"{name}.yaml").read_text().splitlines()
    assert 6 <= len(lines) <= 17


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UserError, match=r"(?s)no dataset named 'korqad'.*'korquad'"):
        data(name="korqad")


def test_nothing_named() -> None:
    with pytest.raises(UserError, match="no data named"):
        data()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trian": "x"}, "unknown key 'trian'.*'train'"),
        ({"limit_dev": 0}, "limit_dev must be above 0, not 0"),
        ({"dev_fraction": 1.0}, "dev_fraction must be below 1, not 1.0"),
        ({"metric": "blue"}, "metric"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(DataConfig, settings)


# Named datasets: where their files are looked for


def test_files_are_found_in_root_then_in_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    write_squad("a/korquad/KorQuAD_v1.0_dev.json", titles=1)
    write_squad("b/KorQuAD_v1.0_dev.json", titles=2)
    write_squad("c/KorQuAD_v1.0_dev.json", titles=3)
    monkeypatch.setenv(cards.VARIABLE, os.pathsep.join(["nowhere", "a", "b"]))
    assert len(data(name="korquad").split("dev")) == 5
    assert len(data(name="korquad", root="c").split("dev")) == 15


def test_missing_dataset_says_what_and_where_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"(?s)no train file; .*JEONI_DATA is not set"):
        data(name="nsmc")
    monkeypatch.setenv(cards.VARIABLE, "my-data")
    with pytest.raises(UserError) as caught:
        data(name="nsmc")
    for part in (
        "'nsmc'",
        "ratings_train.txt",
        f"my-data{os.sep}nsmc (no such folder)",
        "e9t/nsmc",
    ):
        assert part in str(caught.value)


def test_missing_split() -> None:
    write_squad("korquad/KorQuAD_v1.0_dev.json")
    dataset = data(name="korquad", root=".")
    assert list(dataset.sources) == ["dev"]
    with pytest.raises(UserError, match=r"no train file; looked for KorQuAD_v1.0_train.json"):
        dataset.split("train")
    with pytest.raises(UserError, match="'korquad' has no test; it has train, dev"):
        dataset.split("test")


def test_nsmc_in_its_official_format() -> None:
    Path("ratings_train.txt").write_text('id\tdocument\tlabel\n1\t굳 ㅋ\t1\n2\t\t0\n3\t"흠\t0\n')
    Path("ratings_test.txt").write_text("id\tdocument\tlabel\n1\t굳\t1\n")
    dataset = data(name="nsmc", root=".", dev_fraction=0.34)
    assert (dataset.task, dataset.metric, dataset.language) == ("classification", "accuracy", "ko")
    assert dataset.labels == ("negative", "positive")
    assert values(dataset.split("test")) == [{"text": "굳", "label": "positive"}]
    both = dataset.split("train") + dataset.split("dev")
    assert sorted(r.fields["text"] for r in both) == ["", '"흠', "굳 ㅋ"]
    assert [label_index(r, dataset.labels) for r in dataset.split("test")] == [1]


def test_a_split_of_several_files(tmp_path: Path) -> None:
    for name, label in (("train", 1), ("dev_in_domain", 0), ("dev_out_of_domain", 1)):
        table = pa.table({"sentence": [f"in {name}"], "label": [label]})
        Path("glue-cola").mkdir(exist_ok=True)
        pq.write_table(table, f"glue-cola/{name}.parquet")
    dataset = data(name="glue-cola", root=".")
    assert [r.fields["text"] for r in dataset.split("dev")] == [
        "in dev_in_domain",
        "in dev_out_of_domain",
    ]
    assert str(dataset.sources["dev"]) == "dev_in_domain.parquet + dev_out_of_domain.parquet"
    assert {e.name: e.rows for e in available(".")}["glue-cola"] == {"train": 1, "dev": 2}
    Path("glue-cola/dev_out_of_domain.parquet").unlink()
    assert cards.locate("glue-cola", "dev", ".") == ()


def test_rows_of_a_split_by_a_column() -> None:
    rows = [
        ("a", "books", "train"),
        ("b", "dvd", "train"),
        ("c", "books", "dev"),
        ("d", "books", "train"),
    ]
    names = ("text", "domain", "split")
    table = pa.table(
        dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) | {"label": [0, 1, 0, 1]}
    )
    Path("multidomain-sentiment-en").mkdir()
    pq.write_table(table, "multidomain-sentiment-en/all.parquet")
    both = data(name="multidomain-sentiment", root=".")
    assert [r.fields["text"] for r in both.split("train")] == ["a", "b", "d"]
    assert [r.fields["text"] for r in both.split("dev")] == ["c"]
    books = data(name="multidomain-sentiment", root=".", only={"domain": "books"})
    assert [r.fields["text"] for r in books.split("train")] == ["a", "d"]
    none = data(name="multidomain-sentiment", root=".", only={"domain": "toys"})
    with pytest.raises(UserError, match="no row has split=train, domain=toys"):
        none.split("train")
    write_csv("mine.csv", [("e", 0), ("f", 1), ("g", 0)])
    mine = data(name="multidomain-sentiment", root=".", train="mine.csv")
    assert [r.fields["text"] for r in mine.split("train")] == ["e", "f", "g"]
    assert [r.fields["text"] for r in mine.split("dev")] == ["c"]
    cut = data(name="multidomain-sentiment", root=".", train="mine.csv", dev_fraction=0.4)
    assert len(cut.split("train")) + len(cut.split("dev")) == 3


def test_klue_as_it_is_published() -> None:
    """Scores stand inside an object; headlines' topics are names; characters of names are lines."""
    labels = {"label": 3.7, "real-label": 3.714, "binary-label": 1}
    rows = [{"guid": "a", "sentence1": "가", "sentence2": "나", "labels": labels}]
    Path("klue-sts-v1.1_dev.json").write_text(json.dumps(rows))
    Path("ynat-v1.1_dev.json").write_text(json.dumps([{"title": "제목", "label": "IT과학"}]))
    lines = "## klue-ner-v1_dev_0\t<나:PS> 가\n나\tB-PS\n \tO\n가\tO\n"
    Path("klue-ner-v1.1_dev.tsv").write_text(lines, encoding="utf-8")
    assert values(data(name="klue-sts", root=".").split("dev")) == [
        {"text": "가", "pair": "나", "label": 3.714}
    ]
    topics = data(name="klue-ynat", root=".")
    assert label_index(topics.split("dev")[0], topics.labels or ()) == 0
    names = data(name="klue-ner", root=".")
    assert values(names.split("dev")) == [
        {"id": "klue-ner-v1_dev_0", "text": "나 가", "tags": ["B-PS", "O", "O"]}
    ]
    assert (names.labels or ())[:3] == ("O", "B-DT", "I-DT")


def test_another_column_has_other_labels() -> None:
    rows = "1\tI\ti\tPRON\tPRP\t_\t0\troot\t_\t_\n2\tam\tbe\tAUX\tVBP\t_\t1\tcop\t_\t_\n"
    Path("en_ewt-ud-train.conllu").write_text(rows)
    known = data(name="ud-english-ewt", root=".", dev="en_ewt-ud-train.conllu")
    assert len(known.labels or ()) == 17
    assert values(known.split("train"))[0]["tags"] == ["PRON", "AUX"]
    fine = data(name="ud-english-ewt", root=".", dev="en_ewt-ud-train.conllu", tags="xpos")
    assert (fine.labels, fine.metric) == (("PRP", "VBP"), "tag_accuracy")
    mine = data(train="en_ewt-ud-train.conllu", dev="en_ewt-ud-train.conllu")
    assert (mine.task, mine.labels, mine.metric) == ("tagging", ("AUX", "PRON"), "tag_accuracy")


def test_the_sample_in_the_package() -> None:
    dataset = data(name="squad-sample", skip_ambiguous=True)
    assert (dataset.task, dataset.metric) == ("span_qa", "squad_v1")
    train, dev = dataset.split("train"), dataset.split("dev")
    assert (len(train), len(dev)) == (4000, 500)
    fields = dev[0].fields
    for answer in fields["answers"]:
        assert fields["context"].startswith(answer["text"], answer["start"])
    assert not {r.fields["context"] for r in train} & {r.fields["context"] for r in dev}


def test_available() -> None:
    Path("nsmc").mkdir()
    table = pa.table({"id": ["1"], "document": ["x"], "label": [0]})
    pq.write_table(table, "nsmc/train.parquet")
    Path("nsmc/test.parquet").write_text("broken")
    entries = {entry.name: entry for entry in available(".")}
    assert entries.keys() == set(cards.names())
    assert {name for name, e in entries.items() if e.at_hand} == {
        "nsmc",
        "squad-sample",
        "wiki-ko-qa",
        "wiki-ko-retrieval",
    }
    nsmc = entries["nsmc"]
    assert nsmc.rows == {"train": 1, "test": None}
    assert entries["squad"].files == {"train": (), "dev": ()}
    assert entries["squad"].searched == (Path("squad"), Path())


# Your own files


def test_own_file_for_classification() -> None:
    write_csv("my.csv", [("좋아요", 10), ("별로", 2), ("음", 9)], header="review,stars")
    dataset = data(train="my.csv", dev="my.csv", text="review", label="stars")
    assert (dataset.name, dataset.task, dataset.metric) == ("my", "classification", "accuracy")
    assert dataset.labels == ("2", "9", "10")  # numbers sort as numbers
    assert dataset.language == "ko"
    train = dataset.split("train")
    assert [label_index(r, dataset.labels) for r in train] == [2, 0, 1]
    assert train[1].where == "my.csv, line 3"


def test_own_pairs_in_json_lines() -> None:
    rows = [{"a": "x", "b": "y", "gold": "no", "extra": 1}, {"a": "z", "b": "w", "gold": "yes"}]
    Path("my.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = data(dev="my.jsonl", text="a", pair="b", label="gold")
    assert values(dataset.split("dev"))[0] == {"text": "x", "pair": "y", "label": "no"}
    assert dataset.labels is None  # nothing to learn them from
    with pytest.raises(UserError, match="no train data; given: dev"):
        dataset.split("train")


def test_own_file_for_questions() -> None:
    row = {"q": "Who?", "p": "It was I.", "a": {"text": ["I"], "answer_start": [7]}}
    Path("my.jsonl").write_text(json.dumps(row))
    dataset = data(test="my.jsonl", question="q", context="p", answers="a")
    assert (dataset.task, dataset.metric, dataset.language) == ("span_qa", "squad_v1", "en")
    (record,) = dataset.split("test")
    assert record.fields == {
        "id": "1",
        "question": "Who?",
        "context": "It was I.",
        "answers": [{"text": "I", "start": 7}],
    }


def test_own_teaching_format() -> None:
    Path("my.txt").write_text("[CLS] 누 구 ? [SEP] 나 _ 다 [SEP]\t5\t5\n", encoding="utf-8")
    dataset = data(dev="my.txt", format="mrc_tsv")
    assert (dataset.task, dataset.metric) == ("span_qa", "korquad_v1")
    (record,) = dataset.split("dev")
    assert record.fields["answers"] == [{"text": "나", "start": 0}]
    assert record.fields["tokens"][5] == "나"


def test_metric_of_own_questions_without_answer() -> None:
    write_squad("my.json", is_impossible=True)
    assert data(dev="my.json").metric == "squad_v2"
    assert data(dev="my.json", metric="korquad_v1").metric == "korquad_v1"


def test_own_file_in_place_of_a_named_one() -> None:
    write_squad("korquad/KorQuAD_v1.0_dev.json", titles=1)
    write_squad("mine.json", titles=2)
    dataset = data(name="korquad", root=".", train="mine.json")
    assert (len(dataset.split("train")), len(dataset.split("dev"))) == (10, 5)
    assert dataset.metric == "korquad_v1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": "no.csv"}, "(?s)no file no.csv; looked in .*JEONI_DATA"),
        ({"train": "."}, "is a folder"),
        ({"train": "my.csv", "text": "revue"}, "(?s)line 2: no column 'revue'.*review, stars"),
        ({"train": "my.csv", "text": "review"}, "(?s)no column 'label'.*data.label=COLUMN"),
        ({"train": "my.csv"}, "(?s)columns review, stars: which is what.*data.text="),
        ({"train": "my.csv", "question": "q", "context": "c"}, "no column 'c'"),
        ({"train": "my.csv", "text": "review", "split_by": "x"}, "no column"),
        ({"train": "my.csv", "text": "review", "label": "review", "limit_train": 1}, None),
        ({"train": "twice.json"}, "id '0-0' is also that of .*article 1, paragraph 1, question 1"),
        ({"train": "flagged.json", "skip_ambiguous": True}, "every example is ambiguous"),
        ({"train": "one.csv"}, "cannot cut a dev part"),
        ({"train": "my.csv", "dev": "my.csv", "dev_fraction": 0.1}, "give one of them"),
    ],
)
def test_own_file_errors(settings: dict[str, Any], message: str | None) -> None:
    write_csv("my.csv", [("a", 1), ("b", 2)], header="review,stars")
    write_csv("one.csv", [("a", 1), ("a", 2)])
    write_squad("flagged.json", answer_start_ambiguous=True)
    write_squad("twice.json", id="0-0")
    if message is None:
        assert len(data(**settings).split("train")) == 1
        return
    with pytest.raises(UserError, match=message):
        data(**settings).split("train")


def test_data_for_another_task() -> None:
    with pytest.raises(UserError, match="'squad-sample' is for span_qa, not for classification"):
        open_dataset(DataConfig(name="squad-sample"), task="classification")


# Cuts and samples


def test_dev_is_cut_off_train_where_there_is_none() -> None:
    rows = [(f"text {i % 50}", i % 2) for i in range(100)]
    write_csv("my.csv", rows)
    dataset = data(train="my.csv")
    train, dev = dataset.split("train"), dataset.split("dev")
    assert (len(train), len(dev)) == (90, 10)
    assert not {r.fields["text"] for r in train} & {r.fields["text"] for r in dev}
    assert [r.line for r in dev] == sorted(r.line for r in dev)
    assert str(dataset.sources["dev"]) == "my.csv (10% of it)"
    # The cut does not depend on the order of the file.
    write_csv("other.csv", rows[::-1])
    again = data(train="other.csv").split("dev")
    assert {r.fields["text"] for r in again} == {r.fields["text"] for r in dev}


def test_cut_by_title() -> None:
    write_squad("korquad/KorQuAD_v1.0_dev.json", titles=10)
    name = "KorQuAD_v1.0_dev.json"
    one = {"name": "korquad", "root": ".", "split_by": "title", "dev_fraction": 0.2}
    for dataset in (data(**one), data(**one, train=name)):
        train, dev = dataset.split("train"), dataset.split("dev")
        assert (len(train), len(dev)) == (40, 10)
        assert not {r.fields["title"] for r in train} & {r.fields["title"] for r in dev}


def test_questions_on_a_passage_stay_together() -> None:
    write_squad("my.json", titles=10)
    dataset = data(train="my.json", dev_fraction=0.3)
    train, dev = dataset.split("train"), dataset.split("dev")
    assert not {r.fields["context"] for r in train} & {r.fields["context"] for r in dev}
    assert len(dev) == 15


def test_limits_take_the_same_nested_sample() -> None:
    write_csv("my.csv", [(f"text {i}", i % 2) for i in range(200)])
    whole = data(train="my.csv", dev="my.csv", limit_dev=7)
    assert (len(whole.split("train")), len(whole.split("dev"))) == (200, 7)
    small, large = (
        [r.line for r in data(train="my.csv", dev="my.csv", limit_train=n).split("train")]
        for n in (20, 50)
    )
    assert set(small) < set(large)
    assert large == sorted(large) != list(range(2, 52))
    assert len(data(train="my.csv", dev="my.csv", limit_train=999).split("train")) == 200


def test_a_sample_keeps_all_classes() -> None:
    write_csv("my.csv", [(f"text {i}", i) for i in range(20)])
    assert len(data(train="my.csv", dev="my.csv", limit_train=2).labels or ()) == 20


def test_ambiguous_questions_can_be_left_out() -> None:
    write_squad("flagged.json", answer_start_ambiguous=True)
    flagged = json.loads(Path("flagged.json").read_text())["data"]
    plain = json.loads(Path(write_squad("plain.json", titles=6)).read_text())["data"][4:]
    Path("my.json").write_text(json.dumps({"data": flagged + plain}))
    assert len(data(dev="my.json").split("dev")) == 30
    assert len(data(dev="my.json", skip_ambiguous=True).split("dev")) == 10


REAL = [
    ("squad", "dev", 10_570),
    ("squad_v2", "dev", 11_873),
    ("korquad", "dev", 5_774),
    ("nsmc", "test", 50_000),
    ("glue-sst2", "train", 67_349),
    ("glue-sst2", "dev", 872),
    ("glue-sst2", "test", 1_821),
    ("glue-cola", "dev", 1_043),
    ("korean-hate-speech-bias", "dev", 471),
    ("multidomain-sentiment", "train", 6_800),
    ("klue-sts", "dev", 519),
    ("klue-ner", "dev", 5_000),
    ("klue-dp", "dev", 2_000),
    ("ud-korean-gsd", "dev", 950),
    ("ud-korean-gsd-dp", "dev", 950),
]


@pytest.mark.skipif(not SHARED.exists(), reason=f"no data at {SHARED}")
@pytest.mark.parametrize(("name", "split", "count"), REAL)
def test_real_data(name: str, split: Any, count: int) -> None:
    dataset = data(name=name, root=str(SHARED))
    records = dataset.split(split)
    assert len(records) == count
    if dataset.task == "classification":
        assert dataset.labels
        assert {label_index(r, dataset.labels) for r in records} == set(range(len(dataset.labels)))


def test_numbers_are_not_taken_for_a_cards_tags() -> None:
    """The hub numbers UD's tags from NOUN on, the card lists them by the alphabet."""
    rows = [{"tokens": ["a", f"b{n}"], "upos": [8, 0]} for n in range(20)]
    Path("my.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = data(name="ud-english-ewt", train="my.jsonl")
    with pytest.raises(UserError, match=r"my\.jsonl, line 1: tag 8 is a number.*does not say"):
        dataset.split("train")


@pytest.mark.parametrize("wanted", [True, "true"])
def test_only_rows_of_a_table_that_say_true(wanted: Any) -> None:
    """A setting true is Python's True, a table has it in small letters."""
    write_csv("mine.csv", [(f"t{n}", n % 2, str(n < 6).lower()) for n in range(9)], "text,label,ok")
    mine = data(train="mine.csv", dev="mine.csv", only={"ok": wanted})
    assert len(mine.split("train")) == 6


def test_a_column_called_group_is_a_column() -> None:
    """Texts to be written may be made of any column; only ``split_by`` says what is not to be cut."""
    rows = [{"source": f"s{n}", "target": "t", "group": n % 2, "by": n % 5} for n in range(100)]
    Path("my.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = data(train="my.jsonl", dev_fraction=0.2)
    assert len(dataset.split("dev")) == 20
    assert {record.fields["group"] for record in dataset.split("dev")} == {0, 1}
    dev = data(train="my.jsonl", dev_fraction=0.2, split_by="by").split("dev")
    assert len(dev) == 20
    assert {record.fields["group"] for record in dev} == {0, 1}
    assert len({record.fields["by"] for record in dev}) == 1


def test_examples_without_a_context_are_not_one_passage() -> None:
    """As in collections of instructions, where few have one: the cut would take all others, or none."""
    rows = [{"source": f"s{n}", "target": "t", "context": "c" * (n < 10)} for n in range(100)]
    Path("my.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = data(train="my.jsonl", dev_fraction=0.2)
    dev = dataset.split("dev")
    assert 15 <= sum(not record.fields["context"] for record in dev) <= 25
    assert sum(bool(record.fields["context"]) for record in dev) in (0, 10)
