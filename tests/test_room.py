"""A model that is too large is refused before anything large is made."""

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from jeoni.base.errors import UserError
from jeoni.models import describe, hub
from jeoni.recipes import room
from jeoni.recipes.finetune import finetune
from shell import Run, user_error

CPU = torch.device("cpu")


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built outside the meta device, and no vocabulary is learned."""

    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("something large was begun")

    monkeypatch.setattr("jeoni.recipes.build.hub.create", refuse)
    monkeypatch.setattr("jeoni.recipes.build.hub.load", refuse)
    monkeypatch.setattr("jeoni.recipes.build.train_wordpiece", refuse)


def free(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(room, "available", lambda device: size)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("memory", "arguments", "parts"),
    [
        (16e9, [], ["gpt3-175b is too large", "2.79 TB", "174,1", "16 GB are free on cpu",
                    "a smaller preset: --model gpt3-350m"]),
        (1e9, [], ["1 GB are free", "spec.layers", "jeoni models show gpt3-175b"]),
        (16e9, ["--strategy", "frozen"], ["2.79 TB"]),  # fresh weights: all of it trains
        (16e9, ["spec.layers=48"], ["1.4 TB"]),
    ],
)  # fmt: skip
def test_a_preset_that_does_not_fit(
    jeoni: Run, memory: float, arguments: list[str], parts: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    free(monkeypatch, memory)
    out = tmp_path / "run"
    found = jeoni("finetune", "--model", "gpt3-175b", "--data", "squad-sample",
                  f"out={out}", *arguments)  # fmt: skip
    user_error(found, *parts)
    assert not out.exists()
    assert ("smaller preset" in found.err) == (memory > 2e9)


@pytest.mark.usefixtures("no_weights")
def test_a_checkpoint_that_does_not_fit(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = hub.parameter_count(describe.on_meta(tiny_folder).backbone)
    data = {"train": str(reviews_csv), "dev": str(reviews_csv), "text": "review", "label": "stars"}
    recipe = tiny.recipe(tiny_folder, data, tmp_path / "run")
    free(monkeypatch, 16 * size - 1)
    with pytest.raises(UserError, match=f"16 bytes for each of {size:,} .*\n.*--strategy frozen"):
        finetune(recipe)
    free(monkeypatch, 4 * size - 1)
    with pytest.raises(UserError, match=r"its weights need .*4 bytes"):
        finetune(recipe, "strategy=frozen")
    for enough, more in ((16 * size, "strategy=full"), (4 * size, "strategy=frozen")):
        free(monkeypatch, enough)
        with pytest.raises(AssertionError, match="something large"):
            finetune(recipe, more)


def test_processes_share_the_memory_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tiny.model().spec
    family = hub.own_family("bert")
    size = room._numbers(family, spec)
    free(monkeypatch, 16 * size)
    room.check("m", family, spec, device=CPU, trains=True, presets={})
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="in each of 2 processes"):
        room.check("m", family, spec, device=CPU, trains=True, presets={})


def test_free_memory_is_that_of_this_machine() -> None:
    found = room.available(CPU)
    assert found is None or 1e6 < found < 1e15


def test_free_memory_of_a_gpu_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7_000, 9_000))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    gpu = torch.device("cuda", 0)
    assert room.available(gpu) == 7_000
    assert room._processes(gpu) == 1  # each has one of its own


@pytest.mark.parametrize(
    ("limit", "used", "cached", "left"),
    [("1000", "600", "100", 500.0), ("max", "600", "100", None), (None, "600", "100", None)],
)
def test_the_limit_of_a_container(
    limit: str | None, used: str, cached: str, left: float | None, tmp_path: Path
) -> None:
    names = room.CGROUPS[0]
    for name, text in zip(names, (limit, used, f"anon 1\ninactive_file {cached}\n"), strict=True):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert room._of_group(names, tmp_path) == left
