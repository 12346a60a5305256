"""``jeoni tokenizer``."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jeoni.cli import main
from jeoni.text.tokenizer import Tokenizer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def jeoni(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jeoni", "tokenizer", *arguments])
        monkeypatch.setenv("COLUMNS", "120")
        try:
            main.run()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("한국어를 배우는 사람\n학교에서 한국 음식을\nthe cat sat\n" * 20, "utf-8")
    return path


def test_train_and_show(jeoni: Run, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "tok"
    status, printed, said = jeoni(
        "train", "--kind", "unigram", "--vocab-size", "80", str(corpus), "--out", str(out)
    )
    assert status == 0, said
    assert "tokens a word" in printed
    assert "working out 80 tokens" in said
    text = "한국어 cat"
    encoding = Tokenizer.from_folder(out).encode(text, "학교")
    status, printed, _ = jeoni("show", "--tokenizer", str(out), text, "--pair", "학교", "--json")
    rows = json.loads(printed)
    assert [row["id"] for row in rows] == encoding.ids
    assert [(row["start"], row["end"]) for row in rows] == encoding.offsets
    assert "".join(row["text"] for row in rows).replace(" ", "") == "한국어cat학교"
    status, printed, _ = jeoni("show", "--tokenizer", str(out), text)
    assert status == 0
    assert "\x1b[" not in printed, "no colors but on a terminal"
    assert all(token in printed for token in Tokenizer.from_folder(out).encode(text).tokens)


def test_texts_in_tables(jeoni: Run, tmp_path: Path) -> None:
    """What is learned are the texts: no names of columns, no escapes, no other columns."""
    rows = [{"id": f"zebra{n}", "body": "한국어를 배우는 사람\n학교에서 음식을"} for n in range(20)]
    path = tmp_path / "pages.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    given = ("train", "--vocab-size", "60", str(path), "--out", str(tmp_path / "tok"))
    status, _, said = jeoni(*given)
    assert status == 2
    assert "columns: id, body; say which: --text-column" in said
    status, _, said = jeoni(*given, "--text-column", "body")
    assert status == 0, said
    tokens = "".join(Tokenizer.from_folder(tmp_path / "tok").tokens[5:])
    assert "한국" in tokens
    assert not set("zbdy\\{") & set(tokens)


def test_colors_on_a_terminal(
    jeoni: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jeoni("train", "--kind", "syllable", "--vocab-size", "60", str(corpus), "--out", str(tmp_path))
    monkeypatch.setenv("FORCE_COLOR", "1")
    _, printed, _ = jeoni("show", "--tokenizer", str(tmp_path), "한국")
    assert "\x1b[30;46m한" in printed
    assert "\x1b[30;43m국" in printed


def test_original_files_need_a_name(jeoni: Run, corpus: Path, tmp_path: Path) -> None:
    jeoni(
        "train", "--kind", "bpe", "--like", "gpt2", "--vocab-size", "300",
        str(corpus), "--out", str(tmp_path),
    )  # fmt: skip
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).unlink()
    status, _, said = jeoni("show", "--tokenizer", str(tmp_path), "a")
    assert (status, "--like gpt2" in said) == (2, True)
    status, printed, _ = jeoni(
        "show", "--tokenizer", str(tmp_path), "a", "--like", "gpt2", "--json"
    )
    assert [row["token"] for row in json.loads(printed)] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.txt", "--out", "x"], "no file nowhere.txt"),
        (["train", "CORPUS", "--out", "x", "--kind", "wordpeice"], "no kind 'wordpeice'"),
        (["train", "CORPUS", "--out", "x", "--like", "gpt2"], "like 'gpt2' is not of kind"),
        (["train", "CORPUS", "--out", "x", "--normalize", "nfx"], "--normalize 'nfx'"),
        (["train", "CORPUS", "--out", "x", "--coverage", "2"], "--coverage 2"),
        (["train", "CORPUS", "--out", "x", "--sample", "0"], "--sample 0"),
        (["train", "CORPUS", "--out", "CORPUS"], "is a file"),
        (["train", "CORPUS", "--out", "x", "--vocab-size", "3"], "take at least"),
        (["show", "--tokenizer", "./nowhere", "a"], "nowhere"),
        (["show", "--tokenizer", ".", "a"], "no tokenizer in ."),
        (["show", "--tokenizer", ".", "--like", "gpt22", "a"], "did you mean 'gpt2'?"),
    ],
)
def test_mistakes(
    jeoni: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    status, _, said = jeoni(*(str(corpus) if a == "CORPUS" else a for a in arguments))
    assert status == 2
    assert message in said
    assert "Traceback" not in said


def test_a_tokenizer_is_not_written_over(jeoni: Run, corpus: Path, tmp_path: Path) -> None:
    train = ("train", str(corpus), "--out", str(tmp_path), "--vocab-size")
    assert jeoni(*train, "60")[0] == 0
    before = (tmp_path / "tokenizer.json").read_bytes()
    status, _, said = jeoni(*train, "40")
    assert (status, "--force" in said) == (2, True)
    assert (tmp_path / "tokenizer.json").read_bytes() == before
    assert jeoni(*train, "40", "--force")[0] == 0
    assert Tokenizer.from_folder(tmp_path).vocab_size <= 40


def test_nothing_is_left_of_a_tokenizer_that_was_written_over(
    jeoni: Run, corpus: Path, tmp_path: Path
) -> None:
    train = ("train", str(corpus), "--out", str(tmp_path / "x"), "--vocab-size", "300")
    assert jeoni(*train)[0] == 0
    (tmp_path / "x/added_tokens.json").write_text('{"[NEW]": 300}')
    (tmp_path / "x/own.model").touch()
    assert jeoni(*train, "--kind", "bpe", "--force")[0] == 0
    names = {path.name for path in (tmp_path / "x").iterdir()}
    own = {"vocab.json", "merges.txt", "special_tokens_map.json", "own.model"}
    assert names == own | {"tokenizer.json", "tokenizer_config.json"}


def test_a_full_disk_is_a_message(
    jeoni: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jeoni.text.tokenizer_files.write_text", full)
    status, _, said = jeoni("train", str(corpus), "--out", str(tmp_path / "x"))
    assert (status, "No space left" in said, "Traceback" in said) == (2, True, False)


def test_where_nothing_can_be_written_is_found_before_learning(
    jeoni: Run, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    status, _, said = jeoni("train", str(corpus), "--out", str(tmp_path / "file" / "inside"))
    assert (status, "cannot write in" in said, "working out" in said) == (2, True, False)


def test_help_teaches(jeoni: Run) -> None:
    _, printed, _ = jeoni("train", "--help")
    for word in ("wordpiece", "unigram", "syllable", "morpheme", "jeoni tokenizer train", "--like"):
        assert word in printed
