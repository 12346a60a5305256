"""Data sets of the hub as input, with a stand-in for the package that fetches them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import corpora
from jeoni.base.errors import UserError

CALLS: list[tuple[Any, ...]] = []


class Examples:
    """What ``datasets.load_dataset(..., streaming=True)`` gives, as far as it is used."""

    info = SimpleNamespace(download_size=1000)

    def __init__(self, fails: bool) -> None:
        self.fails = fails

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield {"text": "the end\nwho", "score": 4}
        if self.fails:
            raise ConnectionError("the line is dead")
        yield {"text": "the cafeteria", "score": 1}


@pytest.fixture(params=[False])
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, config: str | None, **options: Any) -> Examples:
        CALLS.append((name, config, options))
        if name == "no/such":
            raise FileNotFoundError("no such data set\nmore lines")
        return Examples(request.param)

    CALLS.clear()
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))


@pytest.mark.usefixtures("hub")
def test_examples_are_documents(tmp_path: Path) -> None:
    done = corpora.run(tmp_path / "out", "hf:org/name:ko:test", held_out=0)
    assert corpora.texts_of(done) == ["the end who"]
    example = done.facts["dropped"]["score"]["examples"][0]
    assert (example["file"], example["line"]) == ("hf:org/name:ko:test", 2)
    assert CALLS[0] == ("org/name", "ko", {"split": "test", "streaming": True})


@pytest.mark.usefixtures("hub")
def test_the_split_is_train_by_default(tmp_path: Path) -> None:
    corpora.run(tmp_path / "out", "hf:org/name", held_out=0)
    assert CALLS[0] == ("org/name", None, {"split": "train", "streaming": True})


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:no/such", "hf:no/such: cannot be read from the hub: no such data set\n"),
        ("hf:a:b:c:d", "not of the form hf:NAME"),
        ("hf:", "not of the form hf:NAME"),
    ],
)
def test_names_that_are_wrong(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        corpora.run(tmp_path / "out", name)


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("hub", [True], indirect=True)
def test_a_line_that_breaks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read from the hub: the line is dead"):
        corpora.run(tmp_path / "out", "hf:org/name")


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the package datasets.*\n.*pip install datasets"):
        corpora.run(tmp_path / "out", "hf:org/name")
