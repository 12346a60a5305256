"""Tensors on disk: safetensors, sharded or not, and old pickles read without running code."""

import contextlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from jeoni.base.errors import UserError
from jeoni.base.files import read_json, replacing

SAFE, SAFE_INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


def read(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint folder, as float32 on the CPU where they are floats.

    Raises: as ``stored``.
    """
    return {k: v.float() if v.is_floating_point() else v for k, v in stored(folder).items()}


def stored(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint folder as they are, on the CPU.

    safetensors come first; a ``pytorch_model.bin`` is read by torch's ``weights_only`` loader, which
    builds tensors and runs nothing.

    Raises:
        UserError: no weights, damaged weights, or a pickle that is more than tensors.
    """
    if (folder / SAFE).exists():
        return _safe(folder / SAFE)
    if (folder / SAFE_INDEX).exists():
        return _sharded(folder, folder / SAFE_INDEX)
    if (folder / PICKLE).exists():
        return _pickled(folder / PICKLE)
    if (folder / PICKLE_INDEX).exists():
        return _sharded(folder, folder / PICKLE_INDEX)
    raise UserError(f"no weights in {folder}", hint=f"looked for {SAFE} and {PICKLE}")


def outlines(folder: Path) -> dict[str, Tensor]:
    """Tensors of a folder's safetensors as zeros of their shape, which take no memory; of pickles none."""
    whole = [folder / SAFE] if (folder / SAFE).exists() else folder.glob("model-*-of-*.safetensors")
    found, zero = dict[str, Tensor](), torch.zeros((), device="cpu")
    # What is damaged is said where it is loaded.
    with contextlib.suppress(SafetensorError, OSError):
        for path in whole:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 (it is no dictionary)
                    found[name] = zero.expand(file.get_slice(name).get_shape())
    return found


def write(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write safetensors whole or not at all."""
    with replacing(path) as temporary:
        own, seen = {}, set()
        for name, tensor in tensors.items():
            # What several layers share is written for each: safetensors wants memory of its own.
            shared = tensor.data_ptr() in seen
            own[name] = tensor.clone() if shared else tensor.contiguous()
            seen.add(own[name].data_ptr())
        save_file(own, temporary, {"format": "pt"})


def shards(tensors: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    """The tensors in files of at most ``limit`` bytes, in their order; one that is larger is alone."""
    files: list[dict[str, Tensor]] = []
    size = 0
    for name, tensor in tensors.items():
        if not files or size + tensor.nbytes > limit:
            files.append({})
            size = 0
        files[-1][name] = tensor
        size += tensor.nbytes
    return files


def _safe(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: damaged or not safetensors: {error}",
            hint="fetch or copy the file again (by git: git lfs pull)",
        ) from None


def _pickled(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: refused: the file is no plain dictionary of tensors, loading it would run code",
            hint="convert it to safetensors where you trust it (a few bytes from git: git lfs pull)",
        ) from None
    except Exception as error:  # torch's reader has many
        raise UserError(f"{path}: damaged: {str(error) or 'it is cut off'}") from None
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise UserError(f"{path}: not a dictionary of tensors")
    return loaded


def _sharded(folder: Path, index: Path) -> dict[str, Tensor]:
    content = read_json(index)
    try:
        names = sorted({str(name) for name in content["weight_map"].values()})
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{index}: no 'weight_map'") from None
    tensors: dict[str, Tensor] = {}
    for name in names:
        if Path(name).name != name:
            raise UserError(f"{index}: shard {name!r} is outside the folder")
        path = folder / name
        if not path.exists():
            raise UserError(f"{index} names {name}, which is not there")
        tensors |= _safe(path) if path.suffix == ".safetensors" else _pickled(path)
    return tensors
