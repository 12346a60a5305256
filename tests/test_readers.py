"""Readers: every format, what must survive reading, and what must be an error that says where."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jeoni.base.errors import UserError
from jeoni.data.readers import FORMATS, read
from jeoni.data.record import Record, text_field
from jeoni.data.squad_json import standard_answers

SHARED = Path(__file__).parents[1].parent / "shared" / "data"

CONTEXT = "𝒜 서울은 대한민국의 수도이다."  # the first character is outside the 16-bit plane
QUESTION = {
    "id": "q1",
    "question": "수도는?",
    "answers": [{"text": "서울", "answer_start": 2}],
}


def squad(*questions: dict[str, Any], **paragraph: Any) -> dict[str, Any]:
    whole = {"context": CONTEXT, "qas": list(questions)} | paragraph
    return {"version": "1.1", "data": [{"title": "서울", "paragraphs": [whole]}]}


def write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    pack: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
    path.write_bytes(pack.get(path.suffix, bytes)(raw))
    return path


def fields(path: Path, format: str | None = None) -> list[dict[str, Any]]:
    return [record.fields for record in read(path, format=format)]


def parquet_bytes(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


ROWS = [{"text": "굳 ㅋ", "label": "1"}, {"text": "", "label": "0"}]
SAME: dict[str, str | bytes] = {
    "json": json.dumps(ROWS),
    "jsonl": "\n".join(map(json.dumps, ROWS)),
    "csv": "text,label\r\n굳 ㅋ,1\r\n,0\r\n",
    "tsv": "text\tlabel\n굳 ㅋ\t1\n\t0\n",
    "parquet": parquet_bytes(ROWS),
}


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize("ending", SAME)
def test_same_rows_from_every_format(tmp_path: Path, ending: str, packed: str) -> None:
    path = write(tmp_path / f"x.{ending}{packed}", SAME[ending])
    assert fields(path) == ROWS
    other = write(tmp_path / f"x.data{packed}", SAME[ending])
    assert fields(other, ending) == ROWS


def test_upper_case_ending_and_plain_text(tmp_path: Path) -> None:
    (tmp_path / "X.CSV.GZ").write_bytes(gzip.compress(b"text\na\n"))
    assert fields(tmp_path / "X.CSV.GZ") == [{"text": "a"}]
    path = write(tmp_path / "X.TXT", "a\r\n\n b\u2028c")
    assert fields(path) == [{"text": "a"}, {"text": ""}, {"text": " b\u2028c"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_byte_order_marks(tmp_path: Path, ending: str, encoding: str) -> None:
    content = SAME[ending]
    assert isinstance(content, str)
    assert fields(write(tmp_path / f"x.{ending}", content.encode(encoding))) == ROWS


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "txt"])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_cp949_is_an_error_with_line_and_hint(tmp_path: Path, ending: str, packed: str) -> None:
    path = write(tmp_path / f"x.{ending}{packed}", b"{}\n" + "한국어".encode("cp949") + b"\n")
    with pytest.raises(UserError, match=r"line 2.*\n.*cp949"):
        list(read(path))


def test_csv_quoting_and_line_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", 'text,label\n"a, ""b""\nsecond",1\n\nc,0\n')
    records = list(read(path))
    assert [r.fields["text"] for r in records] == ['a, "b"\nsecond', "c"]
    assert [r.where for r in records] == ["x.csv, line 2", "x.csv, line 5"]


TSV = {
    "all quoted": ('a\tb\n"x ""y"""\t"1"\n', [('x "y"', "1")]),
    "tab in quotes": ('a\tb\n"x\ty"\t1\nz\t2\n', [("x\ty", "1"), ("z", "2")]),
    "newline in quotes": ('a\tb\n1\t"x\ny"\n2\tz\n', [("1", "x\ny"), ("2", "z")]),
    "lone quote at the start": (
        'a\tb\n"x\t1\ny\t2\nz"\t3\n',
        [('"x', "1"), ("y", "2"), ('z"', "3")],
    ),
    "lone quote inside": ('a\tb\n5" x\t1\n"y"\t2\n', [('5" x', "1"), ('"y"', "2")]),
    "quoted words": ('a\tb\n"x" y "z"\t1\n', [('"x" y "z"', "1")]),
}


@pytest.mark.parametrize("name", TSV)
def test_tsv_quotes(tmp_path: Path, name: str) -> None:
    content, expected = TSV[name]
    assert [tuple(row.values()) for row in fields(write(tmp_path / "x.tsv", content))] == expected


def test_ragged_tsv_with_stray_quotes_names_the_ragged_line(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", 'a\tb\n"x\t1\ny\nz\t3\n')
    with pytest.raises(UserError, match="line 3: 1 fields, but there are 2 columns"):
        list(read(path))


CELLS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=6
)
TABLE = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(TABLE)
def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("a", "b"), *rows])
    assert [tuple(row.values()) for row in fields(path)] == rows


@settings(max_examples=60, deadline=None)
@given(TABLE)
def test_unquoted_tsv_never_loses_a_line(
    tmp_path_factory: pytest.TempPathFactory, rows: Any
) -> None:
    path = tmp_path_factory.mktemp("tsv") / "x.tsv"
    lines = ["\t".join(c.replace("\t", " ").replace("\n", " ") for c in row) for row in rows]
    path.write_text("\n".join(["a\tb", *lines]), encoding="utf-8", newline="")
    assert len(fields(path)) == len(rows)


def test_squad_layout(tmp_path: Path) -> None:
    flagged = QUESTION | {"id": "q2", "answer_start_ambiguous": True}
    impossible = QUESTION | {"id": "q3", "is_impossible": True, "plausible_answers": []}
    path = write(tmp_path / "dev.json.zst", json.dumps(squad(QUESTION, flagged, impossible)))
    first, second, third = read(path)
    assert first.fields == {
        "id": "q1",
        "title": "서울",
        "question": "수도는?",
        "context": CONTEXT,
        "answers": [{"text": "서울", "start": 2}],
        "ambiguous": False,
    }
    assert first.where == "dev.json.zst, article 1, paragraph 1, question 1"
    assert second.fields["ambiguous"]
    assert third.fields["answers"] == []


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in QUESTION.items() if name != key}


BAD_SQUAD: list[tuple[Any, str]] = [
    (squad(without("id")), "question 1: key 'id' is missing"),
    (squad(without("question")), "question 1: key 'question' is missing"),
    (squad(without("answers")), "question 1: key 'answers' is missing"),
    (squad(QUESTION | {"id": 7}), "'id' is 7, not text"),
    (squad(QUESTION, context=None), "paragraph 1: 'context' is None"),
    (squad(qas={}), "paragraph 1: 'qas' is no list"),
    (squad(QUESTION | {"answers": [{"text": "서울", "answer_start": "2"}]}), "id q1.*not a whole"),
    (squad(QUESTION | {"answers": [{"text": "서울", "answer_start": 3}]}), "id q1.*'울은' at 3"),
    (squad(QUESTION | {"answers": [{"text": "서울", "answer_start": -1}]}), "id q1.*at -1"),
    (squad(QUESTION | {"answers": ["서울"]}), r"id q1.*expected \{"),
    ({"data": [7]}, "article 1: expected"),
    ({"data": 7}, "'data' is no list"),
    ({"rows": []}, "neither the layout"),
    ([7], "item 1: 7 is no object"),
]


@pytest.mark.parametrize(("data", "message"), BAD_SQUAD, ids=[m for _, m in BAD_SQUAD])
def test_bad_squad(tmp_path: Path, data: Any, message: str) -> None:
    path = write(tmp_path / "dev.json", json.dumps(data))
    with pytest.raises(UserError, match=f"(?s)dev.json.*{message}"):
        list(read(path))


def test_flat_answers() -> None:
    flat = {"text": ["서울"], "answer_start": [2]}
    assert standard_answers(flat, CONTEXT, "x") == [{"text": "서울", "start": 2}]
    assert standard_answers({"text": [], "answer_start": []}, CONTEXT, "x") == []
    with pytest.raises(UserError, match="different lengths"):
        standard_answers(flat | {"answer_start": []}, CONTEXT, "x")
    with pytest.raises(UserError, match="no list"):
        standard_answers("서울", CONTEXT, "x")
    for blank in ("", " "):  # as some write a question without answer: it would be learned as wrong
        with pytest.raises(UserError, match=r"x: an answer is empty\n.*answers: \[\]"):
            standard_answers({"text": [blank], "answer_start": [5]}, CONTEXT, "x")


MRC = "[CLS] 수 도 _ 는 ? [SEP] 서 울 은 _ 수 도 [SEP]"


def test_mrc_tsv(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv.gz", f"{MRC}\t7\t8\n\n{MRC}\t9\t11\r\n")
    first, second = read(path, format="mrc_tsv")
    assert first.fields["question"] == "수도 는?"
    assert first.fields["context"] == "서울은 수도"
    assert first.fields["answers"] == [{"text": "서울", "start": 0}]
    assert first.fields["tokens"] == MRC.split()
    assert (first.fields["start_token"], first.fields["end_token"]) == (7, 8)
    assert second.fields["answers"] == [{"text": "은 수", "start": 2}]
    assert (second.where, second.fields["id"]) == ("x.tsv.gz, line 3", "x.tsv.gz:3")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mrc_answers_stand_where_they_say(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    syllables = st.lists(st.sampled_from(["가", "_", "NASA", "3", "."]), min_size=1, max_size=8)
    question, passage = data.draw(syllables), data.draw(syllables)
    start = data.draw(st.integers(0, len(passage) - 1))
    end = data.draw(st.integers(start, len(passage) - 1))
    shift = len(question) + 2
    line = " ".join(["[CLS]", *question, "[SEP]", *passage, "[SEP]"])
    path = tmp_path_factory.mktemp("mrc") / "x.txt"
    path.write_text(f"{line}\t{start + shift}\t{end + shift}", encoding="utf-8")
    (record,) = fields(path, "mrc_tsv")
    (answer,) = record["answers"]
    assert answer["text"] == "".join(passage[start : end + 1]).replace("_", " ")
    assert record["context"].startswith(answer["text"], answer["start"])
    assert len(answer["text"]) > 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{MRC}\t7", "2 columns, not 3"),
        (f"{MRC}\t7\t8\t9", "4 columns, not 3"),
        (f"{MRC}\tx\t8", "start is 'x'"),
        (f"{MRC}\t7\t8.0", "end is '8.0'"),
        (f"{MRC}\t8\t7", "answer tokens 8 to 7"),
        (f"{MRC}\t5\t7", "passage is tokens 7 to 12"),
        (f"{MRC}\t7\t13", "passage is tokens 7 to 12"),
        (f"{MRC[6:]}\t7\t8", r"must start with \[CLS\]"),
        (f"{MRC[:-6]}\t7\t8", r"1 \[SEP\]"),
        (f"{MRC} 가\t7\t8", r"2 \[SEP\], at \[6, 13\]"),
        (f"{MRC} [SEP]\t7\t8", r"3 \[SEP\]"),
        ("[CLS] 가 [SEP] [SEP]\t3\t3", "passage is empty"),
        (f"{MRC.replace(' 울', '  울')}\t7\t8", "two blanks between tokens 7 and 8"),
    ],
)
def test_bad_mrc_tsv(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "x.tsv", f"{MRC}\t7\t8\n{line}\n")
    with pytest.raises(UserError, match=f"x.tsv, line 2: .*{message}"):
        list(read(path, format="mrc_tsv"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "a,b\n1,2\n3\n", r"line 3: 1 fields, but there are 2 columns \(a, b\)"),
        ("x.csv", "a,b\n1,2,3\n", "line 2: 3 fields"),
        ("x.csv", 'a,b\n1,2\n"3,4\n5,6\n', "(?s)line 3: .*quote left open"),
        ("x.csv", 'a,b\n"1"x,2\n', "line 2: "),
        ("x.csv", "a,a\n1,2\n", "line 1: column name 'a' is given twice"),
        ("x.tsv", "a\t\tb\n1\t2\t3\n", "line 1: column name '' is empty"),
        ("x.csv", "a,b\n", "no examples in it\n.*empty, or nothing but names"),
        ("x.csv", "", "no examples"),
        ("x.txt.gz", "", "no examples"),
        ("x.json", '{"data": []}', "no examples"),
        ("x.json", '{"data": [\n{', "line 2, column"),
        ("x.jsonl", '{"a": 1}\n{"a": \n', "line 2, column"),
        ("x.jsonl", '{"a": 1}\n\n[1]\n', "line 3: .* is no object"),
        ("x.parquet", b"PAR1 this is not parquet PAR1", "not whole parquet.*\n.*download it again"),
        ("x.parquet", parquet_bytes(ROWS)[:-9], "not whole parquet"),
        ("x.pkl", b"\x80\x04.", "no reader for 'pkl'.*\n.*jsonl.*parquet"),
        ("x", "a", "a name without ending"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(UserError, match=message) as caught:
        list(read(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("packed", ["gz", "zst"])
@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "parquet", "txt"])
def test_cut_off_compressed_files(tmp_path: Path, ending: str, packed: str) -> None:
    content = SAME.get(ending, "a\n" * 5000)
    path = write(tmp_path / f"x.{ending}.{packed}", content)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="damaged or cut off"):
        list(read(path))


def test_several_zstd_frames_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt.zst"
    path.write_bytes(zstandard.compress(b"a\nb") + zstandard.compress(b"c\n"))
    assert fields(path) == [{"text": "a"}, {"text": "bc"}]


@pytest.mark.parametrize("packed", ["gz", "zst"])
def test_a_file_that_is_not_compressed(tmp_path: Path, packed: str) -> None:
    path = tmp_path / f"x.txt.{packed}"
    path.write_text("plain\n")
    with pytest.raises(UserError, match="damaged"):
        list(read(path))


def test_missing_file_and_folder_are_noticed_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        read(tmp_path / "x.csv")
    write(tmp_path / "a.csv", "a\n1\n")
    with pytest.raises(UserError, match=r"(?s)is a folder.*a\.csv"):
        read(tmp_path)
    with pytest.raises(UserError, match="no reader for 'excel'"):
        read(tmp_path / "a.csv", format="excel")


def test_text_field() -> None:
    record = Record({"text": "", "none": None, "number": 3}, "x.csv", 4)
    assert text_field(record, "text") == ""
    for name, message in [
        ("txt", "x.csv, line 4: no column 'txt'\n.*columns: text, none, number"),
        ("none", "column 'none' is missing"),
        ("number", "column 'number' holds 3"),
    ]:
        with pytest.raises(UserError, match=message):
            text_field(record, name)


def test_reading_streams(tmp_path: Path) -> None:
    """A bad line far down does not keep the first records from coming."""
    path = write(tmp_path / "x.jsonl", '{"a": 1}\n' * 3 + "broken\n")
    records = read(path)
    assert [next(records).line for _ in range(3)] == [1, 2, 3]
    with pytest.raises(UserError, match="line 4"):
        next(records)


def test_formats_are_all_tested_here() -> None:
    elsewhere = {"conll", "bio", "iob", "conllu"}  # tests/test_conll.py
    assert set(FORMATS) == {*SAME, "txt", "mrc_tsv", *elsewhere}


def test_parquet_with_values_that_python_has_no_word_for(tmp_path: Path) -> None:
    late = pa.array([2**62], pa.timestamp("us"))  # behind the year 9999
    pq.write_table(pa.table({"text": ["a"], "when": late}), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"x\.parquet: not whole parquet"):
        list(read(tmp_path / "x.parquet"))


CLASSES = {"names": ["O", "B-PER"], "_type": "ClassLabel"}


@pytest.mark.parametrize(
    ("about", "tags"),
    [
        ({"feature": CLASSES, "_type": "Sequence"}, ["B-PER", "O", -1]),
        ([CLASSES], ["B-PER", "O", -1]),
        ({"feature": {"dtype": "int64", "_type": "Value"}, "_type": "Sequence"}, [1, 0, -1]),
        ([], [1, 0, -1]),
        ("?", [1, 0, -1]),
    ],
)
def test_parquet_of_the_hub_has_names_for_tags(tmp_path: Path, about: Any, tags: list[Any]) -> None:
    known = {"info": {"features": {"ner_tags": about, "label": CLASSES}}}
    table = pa.table({"ner_tags": [[1, 0, -1], None], "label": [1, 0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(known)})
    pq.write_table(table, tmp_path / "x.parquet")
    wanted = [{"ner_tags": tags, "label": 1}, {"ner_tags": None, "label": 0}]
    assert fields(tmp_path / "x.parquet") == wanted


REAL: Sequence[tuple[str, int]] = [
    ("squad/dev-v1.1.json.zst", 10_570),
    ("squad/dev-v2.0.json.zst", 11_873),
    ("korquad/KorQuAD_v1.0_dev.json.zst", 5_774),
    ("glue-sst2/train.parquet", 67_349),
    ("nsmc/test.parquet", 50_000),
]


@pytest.mark.skipif(not SHARED.exists(), reason=f"no data at {SHARED}")
@pytest.mark.parametrize(("name", "count"), REAL)
def test_real_files(name: str, count: int) -> None:
    assert sum(1 for _ in read(SHARED / name)) == count


@pytest.mark.skipif(not SHARED.exists(), reason=f"no data at {SHARED}")
def test_nsmc_in_its_own_tsv_format(tmp_path: Path) -> None:
    """The official files are tab-separated; some documents carry csv quoting, which is undone."""
    rows = fields(SHARED / "nsmc/test.parquet")
    lines = [f"{row['id']}\t{row['document']}\t{row['label']}" for row in rows]
    path = write(tmp_path / "ratings.txt", "\n".join(["id\tdocument\tlabel", *lines]))
    again = fields(path, "tsv")
    assert [row["id"] for row in again] == [row["id"] for row in rows]
    changed = 0
    for old, new in zip(rows, again, strict=True):
        if new["document"] != old["document"]:
            changed += 1
            assert old["document"] == '"' + new["document"].replace('"', '""') + '"'
    assert changed == 233
    # One more review, with a stray quote: now nothing is quoting.
    path.write_text("\n".join(["id\tdocument\tlabel", *lines, '0\t"와\t1']), encoding="utf-8")
    assert [row["document"] for row in fields(path, "tsv")][:-1] == [r["document"] for r in rows]


@pytest.mark.parametrize("name", ["x.tsv", "x.csv"])
@pytest.mark.parametrize("header", ["", "text{0}label\n"])
def test_columns_that_the_file_does_not_name(tmp_path: Path, name: str, header: str) -> None:
    """Named by the format; a header that is there is none of the rows."""
    mark = "\t" if name == "x.tsv" else ","
    path = tmp_path / name
    path.write_text(header.format(mark) + f"good{mark}1\nbad{mark}0\n", encoding="utf-8")
    rows = list(read(path, format=f"{name[2:]}:text, label"))
    assert [r.fields for r in rows] == [
        {"text": "good", "label": "1"},
        {"text": "bad", "label": "0"},
    ]
    assert rows[0].line == (2 if header else 1)


def test_columns_are_named_for_tables_alone(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"no reader for 'jsonl:text'\n.*tsv:text,label"):
        read(tmp_path / "x.jsonl", format="jsonl:text")
    (tmp_path / "x.tsv").write_text("a\tb\nc\n")
    with pytest.raises(
        UserError, match=r"line 2: 1 fields, but there are 2 columns \(text, label\)"
    ):
        list(read(tmp_path / "x.tsv", format="tsv:text,label"))


@pytest.mark.parametrize(
    ("named", "wrong"), [("text,text", "'text' is given twice"), ("text,", "'' is empty")]
)
def test_columns_have_names_of_their_own(tmp_path: Path, named: str, wrong: str) -> None:
    (tmp_path / "x.tsv").write_text("good\t1\n")
    with pytest.raises(UserError, match=f"format 'tsv:{named}': column name {wrong}"):
        read(tmp_path / "x.tsv", format=f"tsv:{named}")
