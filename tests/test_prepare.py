"""``jeoni.data.prepare``: what is in the text is in the stores, whatever the way to it."""

import gzip
import json
import tracemalloc
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import zstandard

import corpora
from jeoni.base.errors import UserError
from jeoni.data.prepare import sources
from jeoni.data.prepare.document_lines import DocumentLines
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.text.boundaries import word_starts
from tokenizer_samples import small


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text(corpora.plain(corpora.documents(40)))
    return path


def test_every_token_word_sentence_and_document_is_there(corpus: Path, tmp_path: Path) -> None:
    done = corpora.run(tmp_path / "out", corpus, held_out=0)
    texts, tokenizer, store = corpora.documents(40), small("wordpiece", "bert"), done.train
    pieces = [[tokenizer.pieces([line])[0] for line in lines] for lines in texts]
    assert store.ids.tolist() == [i for ps in pieces for p in ps for i in p.ids]
    sentences = np.cumsum([0, *(len(p.ids) for ps in pieces for p in ps)])
    assert store.sentences.tolist() == sentences.tolist()
    lengths = [sum(len(p.ids) for p in ps) for ps in pieces]
    assert store.documents.tolist() == np.cumsum([0, *lengths]).tolist()
    words = [
        flag
        for lines, ps in zip(texts, pieces, strict=True)
        for line, p in zip(lines, ps, strict=True)
        for flag in word_starts(line, p.offsets)
    ]
    assert store.words(0, len(store)).tolist() == words
    store.check()
    assert done.facts["kept"]["train"] == {
        "documents": 40, "sentences": len(sentences) - 1, "tokens": int(sentences[-1]),
    }  # fmt: skip
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "heldout", "prepare.json", "report.html", "report.json", "tokenizer", "train",
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["gz", "zst", "two files", "crlf", "bom", "blank lines", "pattern"])
def test_the_same_text_in_other_files(how: str, corpus: Path, tmp_path: Path) -> None:
    text = corpus.read_bytes()
    middle = text.index(b"\n\n", len(text) // 2) + 2
    files = {
        "gz": {"a.txt.gz": gzip.compress(text)},
        "zst": {"a.txt.zst": zstandard.compress(text)},
        "two files": {"a.txt": text[:middle], "b.txt": text[middle:]},
        "crlf": {"a.txt": text.replace(b"\n", b"\r\n")},
        "bom": {"a.txt": b"\xef\xbb\xbf" + text},
        "blank lines": {"a.txt": b"\n \n" + text.replace(b"\n\n", b"\n\t\n\n\n") + b"\n\n"},
        "pattern": {"p1.txt": text[:middle], "p2.txt": text[middle:]},
    }[how]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    names = ["p*.txt"] if how == "pattern" else list(files)
    other = corpora.run(tmp_path / "other", *(tmp_path / name for name in names))
    first = corpora.run(tmp_path / "first", corpus)
    for store in ("train", "heldout"):
        assert corpora.contents(first.folder / store) == corpora.contents(other.folder / store)


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.zst", "parquet", "csv", "json"])
def test_rows_are_documents(ending: str, corpus: Path, tmp_path: Path) -> None:
    rows = [{"body": "\n".join(lines), "n": 1} for lines in corpora.documents(40)]
    path = tmp_path / f"rows.{ending}"
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "csv":
        quoted = "\n".join('"' + r["body"].replace('"', '""') + '",1' for r in rows)
        path.write_text(f"body,n\n{quoted}\n")
    else:
        content = json.dumps(rows) if ending == "json" else lines
        data = content.encode()
        path.write_bytes(zstandard.compress(data) if ending.endswith("zst") else data)
    other = corpora.run(tmp_path / "other", path, text_column="body")
    first = corpora.run(tmp_path / "first", corpus)
    for store in ("train", "heldout"):
        assert corpora.contents(first.folder / store) == corpora.contents(other.folder / store)


def test_portions_make_no_difference(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.write_text(corpus.read_text() + corpora.plain(corpora.documents(12)))  # with copies
    settings: dict[str, Any] = {"duplicates": "near", "held_out": 0.2, "min_characters": 90}
    first = corpora.run(tmp_path / "first", corpus, **settings)
    assert first.facts["dropped"].keys() == {"short", "copy"}
    monkeypatch.setattr(sources, "PORTION", 300)
    other = corpora.run(tmp_path / "other", corpus, **settings)
    assert corpora.contents(first.folder) == corpora.contents(other.folder)


def test_workers_make_no_difference(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes write the same bytes, all files and reports included."""
    monkeypatch.setattr(sources, "PORTION", 300)
    corpus.write_text(corpus.read_text() + corpora.plain(corpora.documents(12)))
    settings: dict[str, Any] = {"held_out": 0.2, "min_characters": 90}
    first = corpora.run(tmp_path / "first", corpus, **settings)
    other = corpora.run(tmp_path / "other", corpus, workers=2, **settings)
    assert corpora.contents(first.folder) == corpora.contents(other.folder)


def test_held_out_is_by_content(tmp_path: Path) -> None:
    """The share is about what was asked for; order and company make no difference."""
    texts = corpora.documents(1000)
    for name, some in (("a", texts), ("b", texts[::-2])):
        (tmp_path / name).write_text(corpora.plain(some))
    whole = corpora.run(tmp_path / "whole", tmp_path / "a", held_out=0.3)
    part = corpora.run(tmp_path / "part", tmp_path / "b", held_out=0.3)
    held = set(corpora.texts_of(whole, "heldout"))
    assert 250 < len(held) < 350  # 4 standard deviations are 58
    assert set(corpora.texts_of(part, "heldout")) <= held
    assert not set(corpora.texts_of(part)) & held


def test_a_document_that_is_cut_is_on_one_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its parts are in different portions."""
    monkeypatch.setattr(sources, "LONGEST_DOCUMENT", 100)
    monkeypatch.setattr(sources, "PORTION", 150)
    texts = [list(chain(*corpora.documents(12, seed=seed))) for seed in range(8)]
    (tmp_path / "a").write_text(corpora.plain(texts))
    done = corpora.run(tmp_path / "out", tmp_path / "a", held_out=0.3, like=("bpe", "gpt2"))
    assert done.facts["read"]["cut"] > 50
    held, rest = ("\n".join(corpora.texts_of(done, name)) for name in ("heldout", "train"))
    for lines in texts:
        assert all(line in held for line in lines) or all(line in rest for line in lines)
    assert held
    assert rest


def test_of_one_document_some_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files have no blank line."""
    monkeypatch.setattr(sources, "LONGEST_DOCUMENT", 100)
    monkeypatch.setattr(sources, "PORTION", 150)
    (tmp_path / "a").write_text(corpora.plain(corpora.documents(40)).replace("\n\n", "\n"))
    done = corpora.run(tmp_path / "out", tmp_path / "a", held_out=0.3)
    assert done.facts["read"]["documents"] == 1
    assert 0 < len(done.heldout) < len(done.train)


@pytest.mark.parametrize("ending", ["txt", "txt.zst", "jsonl"])
def test_it_is_read_in_bounded_memory(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Portion after portion: forty times as much text takes no more."""
    monkeypatch.setattr(sources, "PORTION", 1 << 14)
    path, most = tmp_path / f"a.{ending}", []
    for times in (1, 40):
        texts = [corpora.plain(corpora.documents(50, seed=seed)) for seed in range(times)]
        if ending == "jsonl":
            texts = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts]
        content = "".join(texts)
        packed = content.encode()
        path.write_bytes(zstandard.compress(packed) if "zst" in ending else packed)
        found = sources.inputs([str(path)])
        config = PrepareConfig(inputs=[str(path)], tokenizer="")
        tracemalloc.start()
        read = sum(
            len(document.text)
            for portion in sources.portions(found, [0], config)
            for document in portion.documents
        )
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert read > 0.8 * len(content)
    assert most[1] < 2 * most[0] + (1 << 18)
    assert most[1] < len(packed)


def test_sentences_of_tokenizers_that_keep_blanks(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("the end.\nwho went?\n\nthe other.\n")
    done = corpora.run(tmp_path / "out", tmp_path / "a", like=("bpe", "gpt2"), held_out=0)
    assert corpora.texts_of(done) == ["the end. who went?", "the other."]
    assert len(done.train.sentences) == 4


def test_long_documents_and_lines_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded for a file without a blank line, or without any newline."""
    monkeypatch.setattr(sources, "LONGEST_DOCUMENT", 100)
    monkeypatch.setattr(sources, "_LONGEST_LINE", 32)
    lines = [line.rstrip(".") for texts in corpora.documents(8) for line in texts]
    contents = {
        "lines": "\n".join(lines) + "\n\nthe other.\n",
        "line": " ".join(lines),
        "row.jsonl": json.dumps({"text": " ".join(lines)}),
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        out = tmp_path / f"{name}.out"
        done = corpora.run(out, tmp_path / name, held_out=0, like=("bpe", "gpt2"))
        texts = corpora.texts_of(done)
        expected = "".join(lines) + "the other." * (name == "lines")
        assert "".join(texts).replace(" ", "") == expected.replace(" ", "")
        documents = 2 if name == "lines" else 1
        assert done.facts["read"]["documents"] == documents
        assert done.facts["read"]["cut"] == len(texts) - documents > 3


def test_letters_cut_in_the_middle_of_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_LONGEST_LINE", 16)
    (tmp_path / "a").write_text("한국" * 20)
    done = corpora.run(tmp_path / "out", tmp_path / "a", held_out=0, like=("bpe", "gpt2"))
    assert "".join(corpora.texts_of(done)).replace(" ", "") == "한국" * 20


def test_a_finished_folder_is_left_as_it_is(corpus: Path, tmp_path: Path) -> None:
    done = corpora.run(tmp_path / "out", corpus)
    before = {path: path.stat().st_mtime_ns for path in done.folder.rglob("*")}
    again = corpora.run(tmp_path / "out", corpus)
    assert again.facts == done.facts
    assert {path: path.stat().st_mtime_ns for path in done.folder.rglob("*")} == before


@pytest.mark.parametrize("change", ["settings", "tokenizer", "text"])
def test_a_folder_of_other_settings_is_refused(change: str, corpus: Path, tmp_path: Path) -> None:
    corpora.run(tmp_path / "out", corpus)
    settings: dict[str, Any] = {}
    if change == "settings":
        settings, expected = {"held_out": 0.5}, "held_out was 0.005, now it is 0.5"
    elif change == "tokenizer":
        settings, expected = {"like": ("bpe", "gpt2")}, "other tokenizer"
    else:
        corpus.write_text(corpus.read_text().replace("the", "tha"))
        expected = "contents of the input files"
    with pytest.raises(UserError, match=expected):
        corpora.run(tmp_path / "out", corpus, **settings)


def test_a_folder_of_something_else_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="not from here"):
        corpora.run(tmp_path / "out", corpus)


def test_settings_that_came_to_nothing_can_be_changed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"the end\n\xff\n")
    with pytest.raises(UserError, match="line 2: not UTF-8"):
        corpora.run(tmp_path / "out", tmp_path / "a")
    (tmp_path / "a").write_text("the end\n")
    assert corpora.run(tmp_path / "out", tmp_path / "a", held_out=0).facts["read"]["documents"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "no document is left over: there were none\n.*is it empty"),
        ("a.txt", "글".encode("utf-16"), "a.txt, line 1: not UTF-8\n.*iconv -f utf-16"),
        ("a.txt", b"fine\n\xff\xfe\n", "a.txt, line 2: not UTF-8"),
        ("a.txt", b"fine\n\xea\xb0", "a.txt, line 2: not UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n{"text" "b"}\n', "a.jsonl, line 2, column 9: not valid JSON"),
        ("a.jsonl", b'{"text": "a"}\n[1]\n', r"a.jsonl, line 2: \[1\] is no object"),
        ("a.jsonl", b'{"body": "a"}\n', "a.jsonl, line 1: no column 'text'\n.*body.*--text-column"),
        ("a.jsonl", b'{"text": 3}\n', "line 1: column 'text' holds 3, which is no text"),
        (
            "a.jsonl",
            b'{"text": "a", "score": "x"}',
            "'score' holds 'x', which is no number\n.*--sco",
        ),
        ("a.parquet", b"PAR1", "a.parquet: not whole parquet: .*\n.*download it again"),
        ("a.txt.gz", b"\x1f\x8b", "a.txt.gz: damaged or cut off"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value)[:24],
)
def test_what_is_wrong_is_said_with_its_place(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        corpora.run(tmp_path / "out", tmp_path / name)


def test_a_parquet_without_the_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"no column 'text'\n.*body; say which: --text-column"):
        corpora.run(tmp_path / "out", tmp_path / "a.parquet")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_several_columns_are_the_lines_of_a_document(ending: str, tmp_path: Path) -> None:
    columns = [["a cat\nsleeps", "it rains", "nothing follows", ""],
               ["an animal rests", "it is wet", "", "it"],
               ["a dog runs", "", "but this", "is"]]  # fmt: skip
    path = tmp_path / f"pairs.{ending}"
    write: Any = pq.write_table if ending == "parquet" else pyarrow.csv.write_csv

    def lines(names: list[str], column: str) -> list[str]:
        write(pa.table(columns, names=names), path)
        return list(DocumentLines([path], text_column=column))

    first = ["a cat sleeps", "an animal rests", "a dog runs", "it rains", "it is wet"]
    assert lines(["a", "b", "c"], "a,b,c") == [*first, "nothing follows"]
    assert lines(["a", "b", "c"], "b,a")[:2] == ["an animal rests", "a cat sleeps"]
    assert lines(["a,b", "b", "c"], "a,b")[0] == "a cat"  # one name with a comma in it
    with pytest.raises(UserError, match=r"no column 'd'\n.*columns: a, b, c; say which"):
        lines(["a", "b", "c"], "a,d")


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_json_that_is_read_at_once_has_a_limit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = json.dumps([{"text": document} for document in map(" ".join, corpora.documents(40))])
    content = text.encode() if name.endswith("json") else gzip.compress(text.encode())
    (tmp_path / name).write_bytes(content)
    most = len(content) if name.endswith("json") else 8 * len(content)
    monkeypatch.setattr(sources, "_LARGEST_JSON", most)
    done = corpora.run(tmp_path / "out", tmp_path / name, held_out=0)
    assert done.facts["read"]["documents"] == 40
    monkeypatch.setattr(sources, "_LARGEST_JSON", most - 1)
    with pytest.raises(UserError, match=r"one JSON value of .* bytes") as caught:
        corpora.run(tmp_path / "other", tmp_path / name, held_out=0)
    assert "jsonl" in str(caught.value.hint)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        corpora.run(tmp_path / "out", tmp_path / "none.txt")
    assert not (tmp_path / "out").exists()


def test_files_are_read_in_groups() -> None:
    def of(*sizes: int) -> list[list[int]]:
        return sources.groups([sources.Input("x", Path("x"), size, "") for size in sizes])

    mega = 1 << 20
    assert of() == []
    assert of(1, 1, 1) == [[0, 1, 2]]
    assert of(3 * mega, 3 * mega, mega) == [[0], [1, 2]]
    assert of(9 * mega, 1, 9 * mega) == [[0], [1], [2]]
