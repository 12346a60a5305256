"""Whatever is in a file: records, or our own errors. Nothing else comes out of the readers.

The slow test tries JEONI_FUZZ files (100,000 if it is not set). To draw one takes longer than to read it:
each is tried with changes of its own, and then with others that a number decides.
"""

import contextlib
import datetime
import decimal
import gzip
import io
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig, Dataset, open_dataset
from jeoni.data.kinds import KINDS
from jeoni.data.readers import FORMATS, read
from jeoni.data.record import Record
from jeoni.data.skipped import Skipped

ROWS: list[dict[str, Any]] = [
    {"text": "굳 ㅋ", "label": "1", "pair": "b"},
    {"text": "a", "label": 0.5},
    {"tokens": ["Ann", "말"], "tags": ["B-PER", "O"], "id": 3},
    {"tokens": ["a", "b"], "heads": [2, 0], "relations": ["x", "root"]},
    {"characters": "가 나", "tags": [1, 0, 1]},
    {"text": "Ann met Bob", "label": "knows", "subject": {"start": 0, "end": 3, "type": "PER"},
     "object": {"start_idx": 8, "end_idx": 10, "word": "Bob"}},
    {"text": "She", "choices": ["sat.", "ran."], "label": 1},
    {"id": "q", "question": "Who?", "context": "서울 Ann", "answers": [{"text": "Ann", "start": 3}]},
    {"question": "Who?", "context": "Ann", "answers": {"text": ["Ann"], "answer_start": [0]}},
    {"source": "a", "target": "b", "answers": ["b"], "good": "a b", "bad": "b a"},
    {"dialogue": [{"role": "user", "text": "a", "state": ["x-y-z"]}, {"role": "sys", "text": "b"}]},
]  # fmt: skip
SQUAD = {
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "𝒜 서울은",
                    "qas": [
                        {
                            "id": "a",
                            "question": "?",
                            "answers": [{"text": "서울", "answer_start": 2}],
                        },
                        {"guid": "b", "question": "?", "is_impossible": True, "answers": []},
                    ],
                }
            ],
        }
    ]
}
CONLL = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n## id\tx\n나\tB-PS\n \tO\n"
CONLLU = (
    "# sent_id = a\n# text = a b\n1-2\tab\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\ta\t_\tX\tx\t_\t2\tdet\t_\t_\n2\tb\t_\tX\tx\t_\t0\troot\t_\t_\n\n"
    "1\tSí\t_\tI\t_\t_\t_\t_\t_\t_\n"
)


def parquet(columns: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def good() -> dict[str, list[bytes]]:
    """Whole files of every format."""
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    times = pa.array([2**62, 0], pa.timestamp("us"))  # one is behind the year 9999
    day, euro = datetime.date(2020, 1, 1), decimal.Decimal("1.50")
    tables = [
        {"text": ["a", "굳"], "label": [0, None], "time": times, "day": [day, day]},
        {"text": [b"\xff", b"a"], "label": [euro, euro]},
        {"tokens": [["a"], []], "tags": [[0], None], "x": [{"y": 1.5}, None], "text": ["", "b"]},
    ]
    return {
        "json": [json.dumps(SQUAD, ensure_ascii=False).encode(), json.dumps(ROWS).encode()],
        "jsonl": [line.encode() for line in lines] + ["\n".join(lines[:2] * 2).encode()],
        "csv": ['text,label,pair\n"a, ""b""\nc",1,x\n나,0,y\n'.encode(), b",text\n0,a\n1,b\n"],
        "tsv": [
            'text\tlabel\n"a\tb"\t1\n나"\t0\n'.encode(),
            "text\tlabel\n가\t1\n".encode("utf-16"),
        ],
        "parquet": [parquet(columns) for columns in tables],
        "txt": ["a\r\n\n b\u2028c".encode()],
        "conll": [CONLL.encode()],
        "conllu": [CONLLU.encode()],
        "mrc_tsv": ["[CLS] 수 도 _ ? [SEP] 서 울 은 [SEP]\t6\t7\n".encode() * 2],
    }


GOOD = good()
ENDINGS = {"mrc_tsv": "tsv"}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".zst": zstandard.compress,
}  # fmt: skip
BITS = [
    b"", b"\0", b"\n", b"\n\n", b"\r", b"\t", b'"', b'""', b",", b" ", b"\\", b"{", b"}", b"[", b"]", b":",
    b"null", b"true", b"NaN", b"-1", b"1e999", b"9" * 5000, b"[" * 100_000, b'{"a":' * 50_000, b"#",
    b"\xef\xbb\xbf", b"\xff\xfe", b"\xb0\xa1", b"\xed\xa0\x80", b"\\ud800", "\u3000٣²".encode(), b"0",
    b"\x0c", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"1.1", b"3-4", b"-DOCSTART-", b"## ", b"[SEP]",
]  # fmt: skip
BIT = st.one_of(st.sampled_from(BITS), st.binary(max_size=8))
CHANGE = st.tuples(st.floats(0, 1), st.integers(0, 12), BIT)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted({key for row in ROWS for key in row})), inner, max_size=4
        )
    ),
    max_leaves=6,
)


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """A good row with other values in some of its columns."""
    row = dict(draw(st.sampled_from(ROWS)))
    for key in draw(st.lists(st.sampled_from(sorted(row)), min_size=1, max_size=2)):
        row[key] = draw(JSON)
    return row


def changed(content: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """With bytes put in, taken out, or put in place of others."""
    for where, taken, put in changes:
        place = int(where * len(content))
        content = content[:place] + put + content[place + taken :]
    return content


@st.composite
def files(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """Name, format and bytes of a file that is more or less of its format."""
    format = draw(st.sampled_from(sorted(GOOD)))
    packed = draw(st.sampled_from(["", "", "", *PACKED]))
    if format in ("json", "jsonl") and draw(st.booleans()):
        some = draw(st.lists(rows(), min_size=1, max_size=3))
        whole = json.dumps(some) if format == "json" else "\n".join(map(json.dumps, some))
        content = whole.encode()
    else:
        content = draw(st.one_of(st.sampled_from(GOOD[format]), st.binary(max_size=60)))
    content = changed(content, draw(st.lists(CHANGE, max_size=4)))
    content = PACKED[packed](content)
    if packed:
        content = changed(content, draw(st.lists(CHANGE, max_size=1)))
    return f"x.{ENDINGS.get(format, format)}{packed}", format, content


def look(dataset: Dataset) -> None:
    """All that is asked of a data set before there is a model."""
    for name in dataset.sources:
        dataset.split(name)
    assert dataset.language in ("ko", "en")
    assert dataset.metric
    assert dataset.labels is None or all(isinstance(name, str) for name in dataset.labels)


def tried(folder: Path, file: tuple[str, str, bytes], task: Any, *, skip: bool) -> None:
    name, format, content = file
    (folder / name).write_bytes(content)
    strict = outcome(folder / name, format)
    skipped = Skipped()
    kept = outcome(folder / name, format, bad=skipped.add)
    if strict is not None:  # then there is nothing to pass over
        assert (repr(kept), skipped.count) == (repr(strict), 0)
    elif kept is not None:
        assert skipped.count
    config = DataConfig(train=str(folder / name), format=format, skip_bad=skip, dev_fraction=0.5)
    with contextlib.suppress(UserError):
        look(open_dataset(config, task=task))


def outcome(path: Path, format: str, **how: Any) -> list[Record] | None:
    """All records; None: an error of ours."""
    try:
        return list(read(path, format=format, **how))
    except UserError:
        return None


TASK = st.sampled_from([None, *sorted(KINDS)])
FURTHER = 9


def many(folder: Path, file: tuple[str, str, bytes], task: Any, *, skip: bool, number: int) -> None:
    """A file, and further ones made of it."""
    tried(folder, file, task, skip=skip)
    name, format, content = file
    draw = random.Random(number)
    for _ in range(FURTHER):
        changes = [
            (draw.random(), draw.randrange(9), draw.choice(BITS))
            for _ in range(draw.randrange(1, 4))
        ]
        tried(folder, (name, format, changed(content, changes)), task, skip=skip)


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(files(), TASK, st.booleans(), st.integers(0, 2**32))
def test_nothing_but_our_own_errors(
    tmp_path_factory: pytest.TempPathFactory,
    file: tuple[str, str, bytes],
    task: Any,
    skip: bool,
    number: int,
) -> None:
    many(folder(tmp_path_factory), file, task, skip=skip, number=number)


@pytest.mark.slow
@settings(
    max_examples=int(os.environ.get("JEONI_FUZZ", "100000")) // (1 + FURTHER),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(files(), TASK, st.booleans(), st.integers(0, 2**32))
def test_nothing_but_our_own_errors_in_many_files(
    tmp_path_factory: pytest.TempPathFactory,
    file: tuple[str, str, bytes],
    task: Any,
    skip: bool,
    number: int,
) -> None:
    many(folder(tmp_path_factory), file, task, skip=skip, number=number)


_FOLDERS: list[Path] = []


def folder(factory: pytest.TempPathFactory) -> Path:
    """One for all files: making folders takes longer than reading them."""
    if not _FOLDERS:
        _FOLDERS.append(factory.mktemp("fuzz"))
    return _FOLDERS[0]


def test_every_format_is_tried() -> None:
    alike = {"bio", "iob"}  # read as conll
    assert set(GOOD) == FORMATS.keys() - alike
