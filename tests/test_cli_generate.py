"""``jeoni generate`` and ``jeoni.generate``."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import jeoni
import peers
import tiny
from jeoni.base.errors import UserError
from jeoni.cli import main
from jeoni.models import hub
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.text.training import train

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jeoni", "generate", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        monkeypatch.setenv("COLUMNS", "120")
        try:
            main.run()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def writer() -> Model:
    tokenizer = train(tiny.texts(), kind="bpe", vocab_size=300, like="gpt2")
    spec = peers.fit(replace(peers.SMALL, positions=64), peers.families()["gpt2"])
    spec = replace(spec, vocab=tokenizer.vocab_size)
    model = hub.create("gpt2", spec, tokenizer=tokenizer)
    model.add_head("language_model", build_head("language_model", model, {}))
    peers.scramble(model, 4)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(writer().save(tmp_path_factory.mktemp("writer")))


def test_text_json_and_python_agree(run: Run, saved: str) -> None:
    settings = {"max_new": 7, "top_p": 0.8, "seed": 3}
    options = ("--max-new", "7", "--top-p", "0.8", "--seed", "3")
    (right,) = jeoni.generate(saved, "The bridge", **settings)
    status, printed, said = run("--model", saved, "The bridge", *options)
    assert (status, said) == (0, "")
    assert printed == f"{right.text}\n"
    status, printed, _ = run("--model", saved, "The bridge", *options, "--json")
    assert json.loads(printed) == [
        {
            "prompt": "The bridge",
            "text": right.text,
            "ids": list(right.ids),
            "reason": right.reason,
            "score": None,
        }
    ]
    status, printed, _ = run("--model", saved, "The bridge", *options, "--stream")
    assert (status, printed) == (0, f"{right.text}\n")


def test_a_loaded_model_and_lists_of_ids(saved: str) -> None:
    model = jeoni.load(saved)
    ids = model.tokenizer.encode("Seoul").ids
    by_text, by_ids = (jeoni.generate(model, p, max_new=4)[0] for p in ("Seoul", [ids]))
    assert by_text == by_ids
    assert jeoni.generate(saved, ["Seoul"], max_new=4) == [by_text]


def test_prompts_of_standard_input(run: Run, saved: str) -> None:
    lines = "The bridge\n세종대왕은\r\nSeoul\n".encode()
    status, printed, _ = run("--model", saved, "-", "--max-new", "5", "--json", stdin=lines)
    assert status == 0
    rows = json.loads(printed)
    assert [row["prompt"] for row in rows] == ["The bridge", "세종대왕은", "Seoul"]
    right = jeoni.generate(saved, [row["prompt"] for row in rows], max_new=5)
    assert [row["text"] for row in rows] == [text.text for text in right]
    status, printed, _ = run("--model", saved, "-", "--max-new", "2", stdin=lines)
    assert "세종대왕은" in printed


def test_beams(run: Run, saved: str) -> None:
    options = ("--beams", "3", "--length-penalty", "0", "--early-stopping", "--max-new", "5")
    status, printed, _ = run("--model", saved, "The bridge", *options, "--json")
    (right,) = jeoni.generate(
        saved, "The bridge", beams=3, length_penalty=0.0, early_stopping=True, max_new=5
    )
    assert status == 0
    assert json.loads(printed)[0]["score"] == pytest.approx(right.score)
    assert json.loads(printed)[0]["ids"] == list(right.ids)


def test_bfloat16(saved: str) -> None:
    (text,) = jeoni.generate(saved, "The bridge", precision="bf16", max_new=4)
    assert 1 <= len(text.ids) <= 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top-p", "2"], "top_p is 2.0, but must be above 0, and at most 1"),
        (["--beams", "2", "--top-k", "3"], "beams look for the likeliest text"),
        (["--beams", "2", "--stream"], "beams cannot be streamed"),
        (["--stream", "--json"], "--stream prints the text of one prompt"),
        (["more", "--stream"], "--stream prints the text of one prompt"),
        (["--stop", ""], "stop takes texts that are not empty"),
        (["x" * 200], "tokens, but the model has 64 positions"),
        (["--device", "abacus"], "no kind of device named 'abacus'"),
    ],
)
def test_mistakes_are_one_message(run: Run, saved: str, arguments: list[str], message: str) -> None:
    status, printed, said = run("--model", saved, "The bridge", *arguments)
    assert (status, printed) == (2, "")
    assert message in said
    assert "Traceback" not in said


def test_a_model_that_does_not_write(run: Run, tmp_path: Path) -> None:
    tiny.model().save(tmp_path)
    status, _, said = run("--model", str(tmp_path), "The bridge")
    assert status == 2
    assert "this bert model does not write" in said


def test_a_bad_setting_is_found_before_the_model_is_loaded() -> None:
    with pytest.raises(UserError, match="temperature is -1"):
        jeoni.generate("no/such/folder", "a", temperature=-1)


def test_help_teaches_by_example(run: Run) -> None:
    status, printed, _ = run("--help")
    assert status == 0
    for words in ('jeoni generate --model gpt2 "The bridge', "--top-p", "Beam search", "--stream"):
        assert words in printed
