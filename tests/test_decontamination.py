"""No document with text of a named evaluation set gets into the stores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpora
from jeoni.base.errors import UserError
from jeoni.data.prepare import pipeline
from jeoni.data.prepare.decontamination import Evaluation, evaluation
from jeoni.data.prepare.normal import normal
from jeoni.training.signals import Interrupted

PASSAGE = (
    "대한민국은 동아시아의 한반도 남부에 있는 공화국이다. 서쪽으로는 서해를 사이에 두고 중화인민공화국이, "
    "동쪽으로는 동해를 사이에 두고 일본이 있으며 북쪽으로는 조선민주주의인민공화국과 맞닿아 있다."
)
ENGLISH = (
    "The harbor was quiet in winter, and seven letters lay on the table of the old keeper, who had "
    "gone down to the boats before the first light to see what the storm had left of them."
)
REVIEW, SHORT = "배우들의 연기가 정말 훌륭했던 영화", "좋아요"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two evaluation sets: reviews, and questions about passages."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "nsmc").mkdir()
    texts = [REVIEW, SHORT, "", "ㅋㅎ" * 50, "하하 호호 " + "ㅋ" * 90]
    reviews = pa.table({"document": texts, "label": [1, 1, 0, 0, 1]})
    pq.write_table(reviews, folder / "nsmc" / "test.parquet")
    train = pa.table(
        {
            "document": ["학습에 쓰는 것이라 말뭉치에 있어도 되는 문장입니다"] * 20,
            "label": [1, 0] * 10,
        }
    )
    pq.write_table(train, folder / "nsmc" / "train.parquet")
    questions = [
        {"id": "q", "question": "어디에 있나?", "answers": [{"text": "남부", "answer_start": 19}]}
    ]
    paragraphs = [{"context": text, "qas": [q | {"id": f"q{n}"} for q in questions]}
                  for n, text in enumerate((PASSAGE, ENGLISH))]  # fmt: skip
    paragraphs[0]["qas"][0]["answers"][0]["answer_start"] = PASSAGE.index("남부")
    paragraphs[1]["qas"][0]["answers"] = [
        {"text": "winter", "answer_start": ENGLISH.index("winter")}
    ]
    (folder / "korquad").mkdir()
    data = {"data": [{"title": "대한민국", "paragraphs": paragraphs}]}
    (folder / "korquad" / "KorQuAD_v1.0_dev.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="module")
def known(root: Path) -> Evaluation:
    return evaluation(["nsmc", "korquad"], str(root))


def found(known: Evaluation, *documents: str) -> list[str | None]:
    """Of each document (its lines are its sentences), the set that it has text of."""
    sentences = [document.split("\n") for document in documents]
    lines = normal([line for each in sentences for line in each])
    counts = [len(each) for each in sentences]
    return known.found_in(lines.joined(counts), lines, counts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PASSAGE, "korquad"),
        (PASSAGE.replace(" ", ""), "korquad"),
        (PASSAGE.replace(".", "!").replace(" 두고", "  두 고"), "korquad"),
        ("앞에 있는 글. " + PASSAGE[10:60] + " 뒤에 있는 글.", "korquad"),
        (PASSAGE[:12] + " 다른 나라의 이야기입니다", None),
        (ENGLISH.upper(), "korquad"),
        ("In a book: " + ENGLISH[30:125], "korquad"),
        ("They said the harbor was quiet in winter, and seven letters came.", None),
        (REVIEW, "nsmc"),
        (f"어제 본 것\n{REVIEW}!!\n다시 보고 싶다", "nsmc"),
        (SHORT + "!", "nsmc"),
        (f"어제 본 영화\n{SHORT}\n다시 보고 싶다", None),
        ("학습에 쓰는 것이라 말뭉치에 있어도 되는 문장입니다", None),
        ("아무 상관이 없는 글", None),
        ("재미있다 " + "ㅋㅎ" * 40, None),
        ("재미있다 " + "ㅋ" * 80, None),
        ("하하호호" + "ㅋ" * 90, "nsmc"),
    ],
    ids=[
        "the passage", "without blanks", "other marks", "a stretch", "too short a stretch", "in capitals",
        "english", "a phrase", "a review", "a review as a sentence", "a short review", "in a page",
        "training text", "another text", "two letters", "one letter", "laughter and all",
    ],
)  # fmt: skip
def test_what_counts(text: str, expected: str | None, known: Evaluation) -> None:
    assert found(known, text) == [expected]


def test_documents_do_not_depend_on_their_neighbors(known: Evaluation) -> None:
    texts = [
        "가",
        PASSAGE,
        "끝",
        ENGLISH[:40],
        ENGLISH[40:],
        "x" * 63,
        REVIEW + "\n" + SHORT,
        SHORT,
    ]
    assert found(known, *texts) == [found(known, text)[0] for text in texts]
    assert found(known) == []


@given(before=st.integers(0, 60), start=st.integers(0, 40), after=st.text("abc ", max_size=30))
@settings(deadline=None, max_examples=60)
def test_a_run_of_71_bytes_is_always_found(
    before: int, start: int, after: str, known: Evaluation
) -> None:
    letters = normal([ENGLISH]).data.decode()
    text = "z" * before + letters[start : start + 71] + after
    assert found(known, text) == ["korquad"]


def test_it_is_saved_and_loaded(known: Evaluation, tmp_path: Path) -> None:
    known.save(tmp_path / "known.npz")
    again = Evaluation.load(tmp_path / "known.npz")
    assert again.names == known.names
    assert np.array_equal(again.runs, known.runs)
    assert found(again, PASSAGE, REVIEW, "다른 글") == ["korquad", "nsmc", None]


def test_in_a_preparation(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text(f"the end\n\n{PASSAGE}\n\n{REVIEW}\n\nthe other\n")
    settings: dict[str, Any] = {
        "held_out": 0,
        "decontaminate": ["korquad", "nsmc"],
        "root": str(root),
    }
    done = corpora.run(tmp_path / "out", path, **settings)
    assert corpora.texts_of(done) == ["the end", "the other"]
    dropped = done.facts["dropped"]
    assert {why: entry["documents"] for why, entry in dropped.items()} == {
        "text of korquad": 1, "text of nsmc": 1,
    }  # fmt: skip
    assert dropped["text of nsmc"]["examples"][0]["text"] == REVIEW


def test_going_on_with_other_evaluation_data(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts lack the texts of the first ones, and have those of the others."""
    path, other = tmp_path / "a", tmp_path / "data"
    path.write_text(f"the end\n\n{REVIEW}\n")
    (other / "nsmc").mkdir(parents=True)
    table = pa.table({"document": ["다른 영화에 대한 다른 글"], "label": [1]})
    pq.write_table(table, other / "nsmc" / "test.parquet")
    given: dict[str, Any] = {"held_out": 0, "decontaminate": ["nsmc"]}

    def stopped(*_: Any) -> None:
        raise Interrupted("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_join", stopped)
        with pytest.raises(Interrupted):
            corpora.run(tmp_path / "out", path, root=str(root), **given)
    with pytest.raises(UserError, match="begun with other files of nsmc") as caught:
        corpora.run(tmp_path / "out", path, root=str(other), **given)
    assert "rm -r" in str(caught.value.hint)
    done = corpora.run(tmp_path / "out", path, root=str(root), **given)
    assert corpora.texts_of(done) == ["the end"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("nsmcc", "no dataset named 'nsmcc'\n.*nsmc"), ("squad", "'squad': no .* file; looked for"),
     ("glue-sst2", "glue-sst2")],
)  # fmt: skip
def test_sets_that_are_not_there(name: str, message: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("the end\n")
    with pytest.raises(UserError, match=message) as caught:
        corpora.run(tmp_path / "out", tmp_path / "a", decontaminate=[name], root=str(root))
    assert "data.train" not in str(caught.value)


def test_only_training_text_is_there(tmp_path: Path) -> None:
    (tmp_path / "nsmc").mkdir()
    table = pa.table({"document": ["a", "b", "c"], "label": [1, 0, 1]})
    pq.write_table(table, tmp_path / "nsmc" / "train.parquet")
    with pytest.raises(UserError, match="'nsmc': neither a dev nor a test file"):
        evaluation(["nsmc"], str(tmp_path))


def test_choices_are_text_too(tmp_path: Path) -> None:
    """In SWAG, what the scene leads to is nowhere but in the endings."""
    (tmp_path / "swag").mkdir()
    row = "A scene.,The keeper,goes down to the long boats before the light,sleeps,sings,swims,0"
    header = "sent1,sent2,ending0,ending1,ending2,ending3,label"
    (tmp_path / "swag/val.csv").write_text(f"{header}\n{row}\n")
    known = evaluation(["swag"], str(tmp_path))
    text = "The keeper goes down to the long boats before the light."
    lines = normal(["It was early.", text])
    assert known.found_in(lines.joined([2]), lines, [2]) == ["swag"]
