"""Fixtures that several test files share."""

import io
import sys
from pathlib import Path

import pytest

from shell import Output, Run


@pytest.fixture
def jeoni(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the entry point of the command line in this process."""
    from jeoni.cli import main

    def run(*arguments: str, stdin: bytes | str = b"") -> Output:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "argv", ["jeoni", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        monkeypatch.setenv("COLUMNS", "120")
        try:
            main.run()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsys.readouterr()
        return Output(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as a folder; read it, do not write there."""
    import tiny

    return tiny.model(dropout=0.1).save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def reviews_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen reviews, in columns ``review`` and ``stars``."""
    import tiny

    return tiny.write_csv(tmp_path_factory.mktemp("reviews") / "reviews.csv")


@pytest.fixture(scope="session")
def squad_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight questions in SQuAD's layout."""
    import tiny

    return tiny.write_squad(tmp_path_factory.mktemp("questions") / "questions.json")
