"""``jeoni data prepare`` in the shell, and ``jeoni.prepare``."""

import json
from pathlib import Path

import pytest

import corpora
import jeoni as package
from jeoni.base.errors import UserError
from shell import Run, user_error


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text(corpora.plain(corpora.documents(30)))
    return path


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    return str(corpora.tokenizer(tmp_path / "tokenizers"))


def test_it_prints_what_is_kept_and_dropped(
    jeoni: Run, corpus: Path, tokenizer: str, tmp_path: Path
) -> None:
    call = ("data", "prepare", str(tmp_path / "out"), str(tmp_path / "c*.txt"))
    options = ("--tokenizer", tokenizer, "--workers", "1", "--min-characters", "90")
    result = jeoni(*call, *options)
    assert result.status == 0, result.err
    for part in ("train", "heldout", "tokens", "short", "report.html"):
        assert part in result.out
    again = jeoni(*call, *options, "--json")
    facts = json.loads(again.out)
    assert facts["read"]["documents"] == 30
    assert facts["settings"]["min_characters"] == 90
    user_error(jeoni(*call, *options, "--held-out", "0.1"), "held_out was 0.005, now it is 0.1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--duplicates", "fuzzy"], "duplicates must be 'keep', 'exact' or 'near', not 'fuzzy'"),
        (["--split-sentences", "de"], "split_sentences"),
        (["--held-out", "1"], "held_out must be below 1"),
        (["--similarity", "0.1"], "similarity must be at least 0.3, not 0.1"),
        (["--min-characters", "0"], "min_characters"),
        (["--workers", "0"], "0 workers"),
        (["--decontaminate", "squat"], "there is no dataset named 'squat'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_wrong_settings(
    options: list[str], message: str, jeoni: Run, corpus: Path, tokenizer: str, tmp_path: Path
) -> None:
    call = ["data", "prepare", str(tmp_path / "out"), str(corpus), "--tokenizer", tokenizer]
    user_error(jeoni(*call, "--workers", "1", *options), message)


def test_no_tokenizer(jeoni: Run, corpus: Path, tmp_path: Path) -> None:
    call = ("data", "prepare", str(tmp_path / "out"), str(corpus))
    missing = str(tmp_path / "none")
    user_error(
        jeoni(*call, "--tokenizer", missing),
        "no tokenizer",
        f"jeoni tokenizer train FILES... --out {missing}",
    )


def test_the_hub_without_a_network(
    jeoni: Run, tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jeoni.recipes import prepare

    monkeypatch.setattr(prepare, "hub_answers", lambda: False)
    result = jeoni(
        "data", "prepare", str(tmp_path / "out"), "hf:org/name", "--tokenizer", tokenizer
    )
    user_error(result, "hf:org/name: the hub cannot be reached")


def test_the_function(corpus: Path, tokenizer: str, tmp_path: Path) -> None:
    done = package.prepare(tmp_path / "out", corpus, tokenizer=tokenizer, workers=1, held_out=0.5)
    assert len(done.train) + len(done.heldout) > 0
    assert done.facts["kept"]["train"]["tokens"] == len(done.train)
    with pytest.raises(UserError, match="prepare: unknown key 'heldout'; did you mean 'held_out'"):
        package.prepare(tmp_path / "other", corpus, tokenizer=tokenizer, heldout=0.5)
