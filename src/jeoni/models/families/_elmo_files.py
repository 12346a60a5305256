"""ELMo as its authors published it: ``*options.json`` and ``*weights.hdf5`` (the extra ``elmo``).

The layout is that of the authors' TensorFlow code, in which a gate's columns go input, new, forget, output,
the forget gate's bias is short of one that is added later, and there is no row for character 0.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jeoni.base.errors import UserError
from jeoni.base.files import read_object, replacing, write_json
from jeoni.models.family import Published

GATES = (0, 2, 1, 3)
"""Ours (input, forget, new, output) among theirs, and theirs among ours."""


def knows(path: Path) -> bool:
    """Whether these are the files, or one of them."""
    if path.is_dir():
        return bool(_found(path, "*.hdf5") and _found(path, "*options.json"))
    return path.suffix == ".hdf5" or path.name.endswith("options.json")


def read(path: Path) -> Published:
    """Options and weights.

    Raises:
        UserError: one of the two files is missing or damaged, or h5py is.
    """
    folder = path if path.is_dir() else path.parent
    weights = path if path.suffix == ".hdf5" else _one(folder, "*.hdf5", path)
    options = path if path.suffix == ".json" else _one(folder, "*options.json", weights)
    config = read_object(options)
    return Published(
        options, {**config, "model_type": "elmo"}, lambda: _tensors(weights, config), None
    )


def _found(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def _one(folder: Path, pattern: str, beside: Path) -> Path:
    found = _found(folder, pattern)
    if len(found) > 1:  # several sizes in one folder: those that are called alike
        stem = beside.name.split("_options")[0].split("_weights")[0]
        found = [path for path in found if path.name.startswith(stem)]
    if len(found) != 1:
        number = "no" if not found else "several files"
        raise UserError(f"{number} {pattern} in {folder}", hint="give the path of the .hdf5 file")
    return found[0]


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise UserError(
            "ELMo's hdf5 weights need the package h5py", hint="pip install 'jeoni[elmo]'"
        ) from None
    return h5py


def _tensors(path: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """All tensors by our names."""
    try:
        with _h5py().File(path, "r") as file:
            return dict(_translated(file, config))
    except KeyError as error:
        raise UserError(
            f"{path}: {error.args[0]}", hint="do the options belong to these weights?"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged or not hdf5: {error}") from None


def _translated(file: Any, config: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    def get(*names: str) -> Any:
        place = file
        for name in names:
            if name not in place:
                raise KeyError(f"no {'/'.join(names)}")
            place = place[name]
        return np.asarray(place[...], np.float32)

    table = get("char_embed")
    yield "embeddings.characters.weight", _tensor(np.vstack([np.zeros_like(table[:1]), table]))
    cnn, lstm = config["char_cnn"], config["lstm"]
    for n in range(len(cnn["filters"])):
        weight = get("CNN", f"W_cnn_{n}")
        if weight.ndim != 4:
            raise ValueError(f"CNN/W_cnn_{n} has {weight.ndim} dimensions")
        yield f"embeddings.filters.{n}.weight", _tensor(weight[0].transpose(2, 1, 0))
        yield f"embeddings.filters.{n}.bias", _tensor(get("CNN", f"b_cnn_{n}"))
    for n in range(cnn.get("n_highway", 0)):
        ours, theirs = f"embeddings.highways.{n}", f"CNN_high_{n}"
        yield f"{ours}.transform.weight", _tensor(get(theirs, "W_transform").T)
        yield f"{ours}.transform.bias", _tensor(get(theirs, "b_transform"))
        yield f"{ours}.gate.weight", _tensor(get(theirs, "W_carry").T)
        yield f"{ours}.gate_bias", _tensor(get(theirs, "b_carry"))
    yield "embeddings.project.weight", _tensor(get("CNN_proj", "W_proj").T)
    yield "embeddings.project.bias", _tensor(get("CNN_proj", "b_proj"))
    for side, direction in enumerate(("ahead", "behind")):
        for n in range(lstm["n_layers"]):
            cell = (*_cell(side, n),)
            both = _gates(get(*cell, "W_0").T)
            width = both.shape[1] - get(*cell, "W_P_0").shape[1]
            ours = f"stack.blocks.{n}.{direction}"
            yield f"{ours}.input.weight", _tensor(both[:, :width])
            yield f"{ours}.recurrent.weight", _tensor(both[:, width:])
            bias = _gates(get(*cell, "B"))
            quarter = len(bias) // 4
            bias[quarter : 2 * quarter] += 1
            yield f"{ours}.bias", _tensor(bias)
            yield f"{ours}.project.weight", _tensor(get(*cell, "W_P_0").T)


def _cell(side: int, layer: int) -> tuple[str, ...]:
    return f"RNN_{side}", "RNN", "MultiRNNCell", f"Cell{layer}", "LSTMCell"


def _gates(values: Any) -> Any:
    """The four gates in the other order."""
    parts = np.split(values, 4)
    return np.concatenate([parts[n] for n in GATES])


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def export(tensors: Mapping[str, Tensor], config: Mapping[str, Any], folder: Path) -> None:
    """Write ``options.json`` and ``weights.hdf5`` as the authors' code reads them.

    Args:
        tensors: by our names (``model.backbone.state_dict()``).
        config: with the parts ``lstm`` and ``char_cnn`` (``write`` of the family).
        folder: where to.

    Raises:
        UserError: h5py is not there.
    """
    h5py = _h5py()
    mine = {name: tensor.detach().cpu().float().numpy() for name, tensor in tensors.items()}
    write_json(folder / "options.json", {key: config[key] for key in ("lstm", "char_cnn")})
    with replacing(folder / "weights.hdf5") as temporary, h5py.File(temporary, "w") as file:
        for name, values in _published(mine, config):
            file[name] = values


def _published(mine: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "char_embed", mine["embeddings.characters.weight"][1:]
    for n in range(len(config["char_cnn"]["filters"])):
        weight = mine[f"embeddings.filters.{n}.weight"]
        yield f"CNN/W_cnn_{n}", weight.transpose(2, 1, 0)[None]
        yield f"CNN/b_cnn_{n}", mine[f"embeddings.filters.{n}.bias"]
    for n in range(config["char_cnn"]["n_highway"]):
        ours, theirs = f"embeddings.highways.{n}", f"CNN_high_{n}"
        yield f"{theirs}/W_transform", mine[f"{ours}.transform.weight"].T
        yield f"{theirs}/b_transform", mine[f"{ours}.transform.bias"]
        yield f"{theirs}/W_carry", mine[f"{ours}.gate.weight"].T
        yield f"{theirs}/b_carry", mine[f"{ours}.gate_bias"]
    yield "CNN_proj/W_proj", mine["embeddings.project.weight"].T
    yield "CNN_proj/b_proj", mine["embeddings.project.bias"]
    for side, direction in enumerate(("ahead", "behind")):
        for n in range(config["lstm"]["n_layers"]):
            ours, theirs = f"stack.blocks.{n}.{direction}", "/".join(_cell(side, n))
            both = np.hstack([mine[f"{ours}.input.weight"], mine[f"{ours}.recurrent.weight"]])
            yield f"{theirs}/W_0", _gates(both).T
            bias = mine[f"{ours}.bias"].copy()
            quarter = len(bias) // 4
            bias[quarter : 2 * quarter] -= 1
            yield f"{theirs}/B", _gates(bias)
            yield f"{theirs}/W_P_0", mine[f"{ours}.project.weight"].T
