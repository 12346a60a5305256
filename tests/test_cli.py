"""The command line: what it teaches and lists."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shell import Run, user_error

VERBS = (
    "finetune",
    "evaluate",
    "answer",
    "classify",
    "generate",
    "demo",
    "data list",
    "models list",
    "models show",
    "plan",
    "convert",
)


# Help


@pytest.mark.parametrize("verb", ["", *VERBS, "data", "models"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_verb_explains_itself(jeoni: Run, verb: str, flag: str) -> None:
    result = jeoni(*verb.split(), flag)
    assert result.status == 0
    assert "Usage:" in result.out
    assert result.err == ""


@pytest.mark.parametrize("verb", ["finetune", "evaluate", "answer", "classify"])
def test_help_teaches_by_example(jeoni: Run, verb: str) -> None:
    result = jeoni(verb, "--help")
    assert "Example" in result.out
    assert f"jeoni {verb} --model" in result.out


@pytest.mark.parametrize(
    "verb", ["", "finetune", "evaluate", "answer", "classify", "data", "models"]
)
def test_a_verb_alone_shows_its_help(jeoni: Run, verb: str) -> None:
    result = jeoni(*verb.split())
    assert result.status in (0, 2)
    assert "Usage:" in result.out + result.err


def test_help_names_every_verb(jeoni: Run) -> None:
    out = jeoni("--help").out
    assert all(verb.split()[0] in out for verb in VERBS)


def test_version(jeoni: Run) -> None:
    import jeoni as package

    assert jeoni("--version").out.strip() == package.__version__


@pytest.mark.parametrize("arguments", [["--help"], ["finetune", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys; from jeoni.cli import main; sys.argv = ['jeoni', *sys.argv[1:]]\n"
        "try: main.run()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'sklearn', 'pandas', 'altair', 'tokenizers'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    assert result.stderr.strip() == "[]"


def test_as_a_program() -> None:
    """``python -m jeoni``: exit status and streams of a real process."""
    result = subprocess.run(
        [sys.executable, "-m", "jeoni", "finetune", "--model", "m", "data.nam=x"],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(
        "jeoni: recipe: unknown key 'data.nam'; did you mean 'data.name'?"
    )
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("redirected", "status", "told"),
    [
        (">/dev/full", 2, "jeoni: cannot write any more: No space left on device"),
        ("| true", 1, ""),
        (">&-", 0, ""),
    ],
)
def test_output_that_goes_nowhere(redirected: str, status: int, told: str) -> None:
    """A full disk, a reader that has gone, a closed stream; nothing is written before the end."""
    if "full" in redirected and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = f"set -o pipefail; {sys.executable} -m jeoni --version {redirected}"
    own = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=own
    )
    assert result.returncode == status
    assert result.stderr.startswith(told)
    assert len(result.stderr.splitlines()) == (2 if told else 0)


def test_what_the_encoding_lacks_is_written_by_its_number() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "jeoni", "data", "list", "squad-sample"],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert r"\u2013" in result.stdout  # of a table's empty cell


# Lists


def test_data_list(jeoni: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JEONI_DATA", raising=False)
    found = {entry["name"]: entry for entry in json.loads(jeoni("data", "list", "--json").out)}
    assert found.keys() >= {"squad", "squad_v2", "korquad", "nsmc", "glue-sst2", "squad-sample"}
    assert found["squad-sample"]["at_hand"]
    assert found["wiki-ko-qa"]["at_hand"]
    assert not found["nsmc"]["at_hand"]
    (tmp_path / "korquad").mkdir()
    (tmp_path / "korquad/KorQuAD_v1.0_dev.json").write_text("{}")
    again = json.loads(jeoni("data", "list", "--json", "--root", str(tmp_path)).out)
    here = ("squad-sample", "wiki-ko-qa", "wiki-ko-retrieval")
    assert all(str(tmp_path) in str(e["searched"]) for e in again if e["name"] not in here)
    plain = jeoni("data", "list").out
    assert all(name in plain for name in found)
    assert "JEONI_DATA" in plain


def test_data_list_counts_rows(jeoni: Run, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"ratings_{split}.txt").write_text("id\tdocument\tlabel\n1\ta\t1\n2\tb\t0\n")
    (tmp_path / "KorQuAD_v1.0_dev.json").write_text("{}")  # which a listing does not mind
    found = {
        entry["name"]: entry["rows"]
        for entry in json.loads(jeoni("data", "list", "--json", "--root", str(tmp_path)).out)
    }
    assert found["nsmc"] == {"train": 2, "test": 2}
    assert found["korquad"] == {"dev": None}
    one = jeoni("data", "list", "nsmc", "--root", str(tmp_path)).out
    assert "ratings_test.txt: 2 rows" in " ".join(one.split())
    assert "CC0 1.0" in one
    assert "KoELECTRA-Base-v2" in one
    other = " ".join(jeoni("data", "list", "klue-wos", "--root", str(tmp_path)).out.split())
    assert "not here; looked for wos-v1.1_train.json" in other
    assert str(tmp_path) in other.replace(" ", "")
    user_error(jeoni("data", "list", "nsmk"), "no dataset named 'nsmk'", "'nsmc'")


def test_models_list(jeoni: Run) -> None:
    found = {entry["name"]: entry for entry in json.loads(jeoni("models", "list", "--json").out)}
    assert found["bert-base-uncased"]["parameters"] == pytest.approx(110e6, rel=0.005)
    assert found["electra-small-discriminator"]["family"] == "electra"
    plain = jeoni("models", "list").out
    assert all(name in plain for name in found)


def test_a_table_shows_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of a user's text is taken for markup, in a cell, a heading or the title."""
    from jeoni.cli import show

    texts = [":heart:", "back\\", "[red]a[/red]", "[/x]"]
    show.table("of [/a]", ("[dev]",), [(text,) for text in texts])
    out = capsys.readouterr().out
    assert all(text in out for text in (*texts, "of [/a]", "[dev]"))
    assert "\\\\" not in out
