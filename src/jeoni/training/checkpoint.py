"""Checkpoints that are whole or are not there.

A checkpoint is a folder: tensors in safetensors, ``state.json``, and ``manifest.json`` with the size and
hash of each file. It is written under a temporary name, fsynced, and renamed. Nothing in it is a pickle.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jeoni.base.errors import UserError
from jeoni.base.files import read_json
from jeoni.training import distributed

_log = logging.getLogger(__name__)
_MANIFEST, _STATE, _FORMAT = "manifest.json", "state.json", 1
_NAME = re.compile(r"step-\d+[a-z-]*")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files were all found to be what was written.

    Attributes:
        path: its folder.
        state: what was given as ``state`` to ``save``.
    """

    path: Path
    state: dict[str, Any]

    def has(self, group: str) -> bool:
        """Whether there are tensors called ``group``."""
        return (self.path / f"{group}.safetensors").exists()

    def tensors(self, group: str) -> dict[str, Tensor]:
        """The tensors that were saved under ``group``, on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.path / f"{group}.safetensors")


def save(
    folder: Path,
    name: str,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    *,
    keep: int = 2,
) -> Path:
    """Write a checkpoint, whole or not at all, then delete all but the ``keep`` newest whole ones.

    Args:
        folder: where the checkpoints of a run are.
        name: ``step-`` and the step, zero-filled so that names sort by age.
        tensors: group → tensor name → tensor; one file a group. Tied tensors must be given once.
        state: anything JSON has.
        keep: checkpoints to keep, this one included.

    Raises:
        UserError: the folder cannot be written, or the disk is full; the checkpoints before stay.
    """
    from safetensors import SafetensorError

    assert _NAME.fullmatch(name), name
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _fill(temporary, tensors, state)
        target = _put_in_place(temporary, folder / name)
    except (OSError, SafetensorError) as problem:
        shutil.rmtree(temporary, ignore_errors=True)  # a full disk needs the room
        reason = getattr(problem, "strerror", None) or problem
        raise UserError(
            f"cannot write checkpoint {name} in {folder}: {reason}",
            hint="make room, or the folder writable; the same command then continues from the "
            "checkpoint before, if there is one",
        ) from problem
    clean(folder)
    _prune(folder, keep)
    return target


def _fill(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    """Write all files of a checkpoint, so that they survive a loss of power."""
    from safetensors.torch import save_file

    for group, named in tensors.items():
        content = {key: value.detach().cpu().contiguous() for key, value in named.items()}
        save_file(content, folder / f"{group}.safetensors")
    _write_json(folder / _STATE, dict(state))
    files = {}
    for path in sorted(folder.iterdir()):
        _sync(path)
        files[path.name] = {"bytes": path.stat().st_size, "xxh3_64": _hash(path)}
    _write_json(folder / _MANIFEST, {"format": _FORMAT, "files": files})
    _sync(folder / _MANIFEST)
    _sync(folder)


def _put_in_place(temporary: Path, target: Path) -> Path:
    if target.exists():  # e.g. a damaged one that this replaces
        os.rename(target, target.with_name(f".{target.name}.old.tmp"))
    os.rename(temporary, target)
    _sync(target.parent)
    return target


def latest(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint; damaged ones are set aside as ``damaged-…``, with a warning."""
    for path in _newest_first(folder):
        problem = damage(path)
        if problem is None:
            return Checkpoint(path, read_json(path / _STATE))
        aside = path.with_name(f"damaged-{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(path, aside)
        _log.warning("checkpoint %s is damaged (%s); set aside as %s", path, problem, aside.name)
    return None


def clean(folder: Path) -> None:
    """Delete what an interrupted ``save`` left behind."""
    for path in folder.glob(".step-*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None if every file is what was written."""
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        files = {
            name: (entry["bytes"], entry["xxh3_64"]) for name, entry in manifest["files"].items()
        }
    except FileNotFoundError:
        return f"no {_MANIFEST}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{_MANIFEST} is not readable"
    if manifest.get("format") != _FORMAT or _STATE not in files:
        return f"{_MANIFEST} is not of format {_FORMAT}, or does not list {_STATE}"
    for name, (size, digest) in files.items():
        file = path / name
        if not file.is_file():
            return f"no {name}"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes, not {size}"
        if _hash(file) != digest:
            return f"{name} has another hash than when it was written"
    return None


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; a tied one once, under its first name."""
    tensors: dict[str, Tensor] = {}
    seen = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor
    return tensors


@torch.no_grad()
def load_module(module: nn.Module, saved: Mapping[str, Tensor], where: object) -> None:
    """Copy ``saved`` into the module's parameters and buffers.

    Raises:
        UserError: missing, unexpected or mis-shaped tensors, all by name; the module is unchanged then.
    """
    own = module_tensors(module)
    problems = {
        "missing": sorted(own.keys() - saved.keys()),
        "unexpected": sorted(saved.keys() - own.keys()),
        "of another shape": [
            f"{name} {list(saved[name].shape)} for {list(tensor.shape)}"
            for name, tensor in own.items()
            if name in saved and saved[name].shape != tensor.shape
        ],
    }
    lines = [f"{problem}: {', '.join(names)}" for problem, names in problems.items() if names]
    if lines:
        raise UserError(
            f"{where} does not fit this model; " + "; ".join(lines),
            hint="was the model changed since? Use another folder, or delete the checkpoints",
        )
    for name, tensor in own.items():
        tensor.copy_(distributed.part(saved[name], tensor))


def _newest_first(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((p for p in found if _NAME.fullmatch(p.name)), key=lambda p: p.name, reverse=True)


def _prune(folder: Path, keep: int) -> None:
    """Count whole ones only, so that the last good one is never deleted for a damaged one's sake."""
    whole = 0
    for path in _newest_first(folder):
        if whole >= keep:
            shutil.rmtree(path, ignore_errors=True)
        elif damage(path) is None:
            whole += 1


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False), encoding="utf-8")


def _sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash(path: Path) -> str:
    import xxhash

    digest = xxhash.xxh3_64()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
