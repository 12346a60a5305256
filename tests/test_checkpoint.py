"""Checkpoints: whole or not there, whatever happens to their files."""

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from jeoni.base.errors import UserError
from jeoni.training import checkpoint, optimizer
from jeoni.training.config import TrainConfig
from jeoni.training.optimizer import default_groups
from training_toy import Toy, ToyBatches, ToyStep, train

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


def save(folder: Path, step: int, keep: int = 2) -> Path:
    tensors = {
        "model": {"w": torch.full((4, 3), float(step)), "n": torch.tensor(step)},
        "optimizer": {"exp_avg/w": torch.ones(4, 3)},
    }
    return checkpoint.save(
        folder, f"step-{step:08d}", tensors, {"step": step, "é": [0.1]}, keep=keep
    )


def step_of(folder: Path) -> int | None:
    found = checkpoint.latest(folder)
    return None if found is None else int(found.state["step"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "nothing") is None
    path = save(tmp_path / "a" / "b", 12)
    found = checkpoint.latest(tmp_path / "a" / "b")
    assert found is not None
    assert found.path == path
    assert found.state == {"step": 12, "é": [0.1]}
    assert torch.equal(found.tensors("model")["w"], torch.full((4, 3), 12.0))
    assert found.tensors("model")["n"].item() == 12
    assert found.has("optimizer")
    assert not found.has("best")
    assert names(path) == sorted(FILES)


def test_old_ones_are_deleted(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10):
        save(tmp_path, step, keep=2)
    assert names(tmp_path) == ["step-00000003", "step-00000010"]


def flip(path: Path, where: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(where * (len(data) - 1))] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "first bit": lambda p: flip(p, 0),
    "middle bit": flip,
    "last bit": lambda p: flip(p, 1),
    "cut": truncate,
    "empty": lambda p: os.truncate(p, 0),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"x") and None,
    "gone": lambda p: p.unlink(),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_passed_over_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, kind: str
) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    DAMAGES[kind](newest / file)
    assert step_of(tmp_path) == 1
    assert "step-00000002 is damaged" in caplog.text
    assert file in caplog.text
    assert names(tmp_path) == ["damaged-step-00000002", "step-00000001"]
    caplog.clear()
    assert step_of(tmp_path) == 1
    assert not caplog.text


@pytest.mark.parametrize("bit", range(8))
def test_any_bit_of_any_byte_counts(tmp_path: Path, bit: int) -> None:
    """Every 97th byte of every file, at one of its bits."""
    path = save(tmp_path, 1)
    for file in FILES:
        data = (path / file).read_bytes()
        for i in range(bit, len(data), 97):
            broken = bytearray(data)
            broken[i] ^= 1 << bit
            (path / file).write_bytes(broken)
            assert checkpoint.damage(path), f"{file}, byte {i}, bit {bit}"
        (path / file).write_bytes(data)
    assert checkpoint.damage(path) is None


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"files": []}', '{"files": {}}', '{"files": {"state.json": 3}}', "nul", "null"],
)
def test_manifest_that_is_none(tmp_path: Path, text: str) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 2) / "manifest.json").write_text(text)
    assert step_of(tmp_path) == 1


def test_the_last_good_one_stays_when_newer_ones_are_damaged(tmp_path: Path) -> None:
    save(tmp_path, 1)
    flip(save(tmp_path, 2) / "model.safetensors")
    save(tmp_path, 3, keep=2)
    assert names(tmp_path) == ["step-00000001", "step-00000002", "step-00000003"]
    flip(tmp_path / "step-00000003" / "model.safetensors")
    assert step_of(tmp_path) == 1


def test_a_damaged_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    flip(save(tmp_path, 1) / "model.safetensors")
    save(tmp_path, 1)
    assert names(tmp_path) == ["step-00000001"]
    assert step_of(tmp_path) == 1


class Died(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("call", range(1, 9))
def test_death_at_any_fsync_or_rename_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    save(tmp_path, 1)
    calls = 0

    def dying(do: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: object) -> None:
            nonlocal calls
            calls += 1
            if calls == call:
                raise Died
            do(*arguments)

        return wrapped

    with monkeypatch.context() as patch, contextlib.suppress(Died):
        patch.setattr(os, "fsync", dying(os.fsync))
        patch.setattr(os, "rename", dying(os.rename))
        save(tmp_path, 2)
    # 4 files and the folder are synced, then renamed, then the parent is synced: 7 in all.
    assert calls == min(call, 7)
    assert step_of(tmp_path) == (1 if call <= 6 else 2)
    checkpoint.clean(tmp_path)
    assert not [name for name in names(tmp_path) if name.startswith(".")]
    save(tmp_path, 2)
    assert step_of(tmp_path) == 2


@pytest.mark.parametrize("call", range(1, 7))
def test_a_full_disk_is_named_and_keeps_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    save(tmp_path, 1)
    calls, fsync = 0, os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError) as error:
            save(tmp_path, 2)
    assert f"step-00000002 in {tmp_path}: No space left on device" in str(error.value)
    assert "step-00000001" in names(tmp_path)
    assert not [name for name in names(tmp_path) if name.startswith(".")]
    assert step_of(tmp_path) == (1 if call <= 5 else 2)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write checkpoint .*file: "):
        save(tmp_path / "file", 1)


def test_nothing_is_a_pickle(tmp_path: Path) -> None:
    train(tmp_path, steps=2, save_every=1)
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size]  # not the lock
    assert {p.suffix for p in files} == {".json", ".jsonl", ".safetensors"}


# The module and the optimizer.


def test_tied_tensors_are_stored_once_and_come_back_tied() -> None:
    source, target = Toy(), Toy(seed=1)
    stored = checkpoint.module_tensors(source)
    assert set(stored) == {*dict(source.named_parameters()), "scale"}
    checkpoint.load_module(target, stored, "here")
    assert target.output.weight is target.embedding.weight
    assert torch.equal(target.output.weight, source.embedding.weight)


def changed(**edits: Tensor | None) -> dict[str, Tensor]:
    tensors = checkpoint.module_tensors(Toy(seed=1))
    for name, tensor in edits.items():
        key = name.replace("__", ".")
        if tensor is None:
            del tensors[key]
        else:
            tensors[key] = tensor
    return tensors


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (changed(norm__bias=None, norm__weight=None), "missing: norm.bias, norm.weight"),
        (changed(head__bias=torch.zeros(2)), "unexpected: head.bias"),
        (changed(norm__bias=torch.zeros(3)), r"of another shape: norm.bias \[3\] for \[16\]"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tensors: dict[str, Tensor], message: str) -> None:
    module = Toy()
    before = [p.detach().clone() for p in module.parameters()]
    with pytest.raises(UserError, match=f"here does not fit.*{message}"):
        checkpoint.load_module(module, tensors, "here")
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def trained_optimizer(module: Toy) -> torch.optim.AdamW:
    built = optimizer.build(module, default_groups(module), TrainConfig())
    ToyStep(module)(ToyBatches().get(0, 0, 0, 1)[0]).total.backward()  # type: ignore[no-untyped-call]
    built.step()
    return built


def test_optimizer_state_goes_by_name(tmp_path: Path) -> None:
    module = Toy()
    tensors = optimizer.state_tensors(trained_optimizer(module), module)
    named = dict(module.named_parameters())
    assert set(tensors) == {f"{k}/{n}" for k in ("exp_avg", "exp_avg_sq", "step") for n in named}
    other = optimizer.build(module, default_groups(module), TrainConfig())
    optimizer.load_state(other, module, tensors)
    again = optimizer.state_tensors(other, module)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[key], tensors[key]) for key in tensors)


def test_optimizer_state_that_does_not_fit_is_named() -> None:
    module = Toy()
    built = trained_optimizer(module)
    tensors = optimizer.state_tensors(built, module)
    tensors |= {"exp_avg/norm.bias": torch.zeros(3), "exp_avg/gone": torch.zeros(3)}
    tensors |= {"other/norm.bias": torch.zeros(16)}
    with pytest.raises(UserError, match=r"exp_avg/norm\.bias, exp_avg/gone, other/norm\.bias$"):
        optimizer.load_state(built, module, tensors)


def test_a_run_goes_on_from_the_older_checkpoint_if_the_newer_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def stop(call: int, total: Tensor) -> Tensor:
        if call == 9:
            raise RuntimeError("power is out")
        return total

    whole, parts = Toy(dropout=0.2), Toy(dropout=0.2)
    train(tmp_path / "whole", module=whole, save_every=3)
    with pytest.raises(RuntimeError, match="power"):
        train(tmp_path / "parts", module=parts, save_every=3, spoil=stop)
    flip(tmp_path / "parts" / "checkpoints" / "step-00000009" / "optimizer.safetensors")
    parts = Toy(dropout=0.2)
    train(tmp_path / "parts", module=parts, save_every=3)
    assert "damaged" in caplog.text
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").open()]
    assert steps == list(range(1, 13))
