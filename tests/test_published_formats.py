"""Files of data sets as their authors publish them, made for the test: columns, quotes, names."""

import json
from pathlib import Path
from typing import Any

import pytest

from jeoni.data.cards import Split
from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import Record


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


NLI = "sentence1\tsentence2\tgold_label\n"
STS = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\n"
PAWS = "id\tsentence1\tsentence2\tlabel\n"
KLUE = {"guid": "klue-nli-v1_train_00000", "source": "wikitree", "premise": "가", "hypothesis": "나",
        "gold_label": "contradiction", "author": "contradiction", "label2": "neutral"}  # fmt: skip
SQUAD = {"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": "It was Ann.", "qas": [
    {"question": "Who?", "id": "a", "answers": [{"text": "Ann", "answer_start": 7}],
     "is_impossible": False},
    {"plausible_answers": [{"text": "Ann", "answer_start": 7}], "question": "Where?", "id": "b",
     "answers": [], "is_impossible": True},
]}]}]}  # fmt: skip
PAIR = {"text": "가", "pair": "나"}
FILES: dict[str, tuple[str, Split, dict[str, str], list[dict[str, Any]]]] = {
    "kornli": (
        "kornli", "train",
        {"multinli.train.ko.tsv": NLI + '그는 "아니\t나\tneutral\n',
         "snli_1.0_train.ko.tsv": NLI + "가\t나\tentailment\n"},
        [{"text": '그는 "아니', "pair": "나", "label": "neutral"}, {**PAIR, "label": "entailment"}],
    ),
    "korsts": (
        "korsts", "train", {"sts-train.tsv": STS + "main-captions\tMSRvid\t2012test\t0001\t5.000\t가\t나\n"
         "main-forums\tdeft\t2014\t0002\t0.250\t\"다\t라\n"},
        [{**PAIR, "label": "5.000"}, {"text": '"다', "pair": "라", "label": "0.250"}],
    ),
    "paws-x-ko": (
        "paws-x-ko", "train", {"translated_train.tsv": PAWS + "1\t가\t나\t0\n2\t`` 가 ''\t나\t1\n"},
        [{**PAIR, "label": "different"}, {"text": "`` 가 ''", "pair": "나", "label": "paraphrase"}],
    ),
    "question pairs": (
        "question-pair-ko", "train",
        {"kor_pair_train.csv": 'id,qid1,qid2,question1,question2,is_duplicate\n'
         '1,1,2,"가, 다",나,0\n2,3,4,가,나,1\n'},
        [{"text": "가, 다", "pair": "나", "label": "same"}, {**PAIR, "label": "different"}],
    ),
    "question pairs, test": (
        "question-pair-ko", "test",
        {"kor_Pair_test.csv": "test_id,question1,question2,is_duplicate,\n0,가,나,1,\n"},
        [{**PAIR, "label": "different"}],
    ),
    "hate speech": (
        "korean-hate-speech", "dev",
        {"dev.tsv": "comments\tcontain_gender_bias\tbias\thate\n가 \"나\tFalse\tnone\toffensive\n"},
        [{"text": '가 "나', "label": "offensive"}],
    ),
    "klue-nli": (
        "klue-nli", "dev", {"klue-nli-v1.1_dev.json": json.dumps([KLUE])},
        [{**PAIR, "label": "contradiction"}],
    ),
    "squad_v2": (
        "squad_v2", "dev", {"dev-v2.0.json": json.dumps(SQUAD)},
        [{"question": "Who?", "answers": [{"text": "Ann", "start": 7}]},
         {"question": "Where?", "answers": []}],
    ),
    "nq-open": (
        "nq-open", "train",
        {"NQ-open.train.jsonl": lines({"question": "who", "answer": ["a", "b"]},
                                      {"question": "when", "answer": ["c"]})},
        [{"question": "who", "answers": ["a", "b"]}, {"question": "when", "answers": ["c"]}],
    ),
    "wnut17": (  # a tab between sentences of the training file, nothing in the others
        "wnut17", "train",
        {"wnut17train.conll": "@paul\tO\nESB\tB-location\n.\tO\n\t\nFrom\tO\n\"\tO\n\t\n"},
        [{"tokens": ["@paul", "ESB", "."], "tags": ["O", "B-location", "O"]},
         {"tokens": ["From", '"'], "tags": ["O", "O"]}],
    ),
    "wnut17, test": (
        "wnut17", "test", {"emerging.test.annotated": "&\tO\ngt\tO\n\nAmy\tB-person\n\n"},
        [{"tokens": ["&", "gt"], "tags": ["O", "O"]}, {"tokens": ["Amy"], "tags": ["B-person"]}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_files_as_they_are_published(case: str, tmp_path: Path) -> None:
    name, split, files, expected = FILES[case]
    for file, content in files.items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    dataset = open_dataset(DataConfig(name=name, root=str(tmp_path)))
    # Where there is no dev part, one is cut off.
    parts: list[Split] = ["train", "dev"] if split == "train" else [split]
    rows = sorted((row for part in parts for row in dataset.split(part)), key=_place)
    found = [{key: row.fields[key] for key in own} for row, own in zip(rows, expected, strict=True)]
    assert found == expected


def _place(row: Record) -> tuple[str, int]:
    return row.source, row.line
