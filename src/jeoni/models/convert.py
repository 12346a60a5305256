"""From any checkpoint that jeoni reads to safetensors in Hugging Face layout."""

import os
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from jeoni.base import files
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models import tensors as tensor_files
from jeoni.models.config_file import write_config
from jeoni.models.family import Family
from jeoni.models.weights import OWN, rename
from jeoni.models.where import CONFIG

DType = Literal["float32", "bfloat16", "float16"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
TAKEN_ALONG = (  # what else belongs to a model, copied as it is
    "tokenizer*.json", "vocab.txt", "vocab.json", "merges.txt", "*.model", "special_tokens_map.json",
    "added_tokens.json", "generation_config.json", "jeoni.json", "README.md", "words.txt",
)  # fmt: skip
WEIGHTS = (
    tensor_files.SAFE, tensor_files.SAFE_INDEX, tensor_files.PICKLE, tensor_files.PICKLE_INDEX,
    "model-*-of-*.safetensors", "pytorch_model-*-of-*.bin",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What a conversion did.

    Attributes:
        folder: the new checkpoint.
        family: of the model.
        architecture: the class of ``transformers`` that loads it; empty: jeoni alone does.
        kept: names that stayed as they were.
        renamed: old and new name.
        left_out: name, and why.
        dtypes: how many tensors there are of each type.
        before: the same in the source, of those that are still there.
        parameters: numbers in all tensors.
        files: files with weights, and their bytes.
        copied: other files that were taken along.
        notes: what was noticed on reading.
    """

    folder: Path
    family: str
    architecture: str
    kept: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    dtypes: Mapping[str, int]
    before: Mapping[str, int]
    parameters: int
    files: Mapping[str, int]
    copied: tuple[str, ...]
    notes: tuple[str, ...]


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: Literal["hf"] = "hf",
    dtype: DType | None = None,
    max_shard: int | str = "5GB",
    force: bool = False,
    family: str | None = None,
) -> Conversion:
    """Write a checkpoint anew: names brought up to date, safetensors, in shards where it is large.

    The whole model is read into memory, in float32. The new folder is there when it is whole, and not
    before.

    Args:
        source: anything that ``jeoni.load`` takes: old names, pickles (without running code), shards,
            ELMo's hdf5, files of word vectors.
        target: the new folder.
        to: the layout; there is one, Hugging Face's.
        dtype: of the weights; None: as they are stored.
        max_shard: largest file, in bytes or as ``"5GB"``; one tensor is never cut.
        force: write over a model that is there.
        family: the model's, where it is your own: ``package.module:NAME``.

    Raises:
        UserError: nothing to read, no room to write, or a folder with something in it.
    """
    if to != "hf":
        raise UserError(f"no layout named {to!r}", hint="there is hf, Hugging Face's")
    if dtype is not None and dtype not in DTYPES:
        raise UserError(f"no type named {dtype!r}", hint=f"there are {', '.join(DTYPES)}")
    if not str(target):
        raise UserError("the new folder's name is empty", hint="jeoni convert SRC DST")
    limit = _bytes(max_shard)
    published = hub.foreign(source)
    folder = published[1].source if published else hub.described(source, family=family)[0]
    destination = Path(target).expanduser()
    _check_target(destination, folder, force=force)
    stored = published[1].tensors() if published else tensor_files.stored(folder)
    kinds = {name: tensor.dtype for name, tensor in stored.items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = hub.from_published(*published) if published else hub.load(folder, family=family)
    own = {name: tensor for name, tensor in model.spare.items() if name.startswith(OWN)}
    tensors = own | hub._their_tensors(model)  # a task's heads, which are put on with the task
    names = {old: _new_name(old, model.family, tensors) for old in kinds}
    before = {new: kinds[old] for old, new in names.items() if new is not None}
    tensors = {
        name: _cast(name, tensor, DTYPES[dtype] if dtype else before.get(name, tensor.dtype))
        for name, tensor in tensors.items()
    }
    types = _types(tensor.dtype for tensor in tensors.values())
    config = write_config(model)
    config["torch_dtype"] = max(types, key=types.__getitem__)
    alone = model.family.alone and config["model_type"] == model.family.name
    with _whole_folder(destination) as temporary:
        sizes = _write_weights(temporary, tensors, limit)
        if published and model._tokenizer is not None:
            model.tokenizer.save(temporary)
        copied = () if published else tuple(_copy_along(folder, temporary))
        files.write_json(temporary / CONFIG, config)
    return Conversion(
        folder=destination,
        family=model.family.name,
        architecture="" if alone else config["architectures"][0],
        kept=tuple(old for old, new in names.items() if old == new),
        renamed=tuple((old, new) for old, new in names.items() if new not in (None, old)),
        left_out=tuple((old, _why(old, model.family)) for old, new in names.items() if new is None),
        dtypes=types,
        before=_types(before.values()),
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        files=sizes,
        copied=copied,
        notes=tuple(str(w.message).replace(f"{folder}: ", "") for w in caught),
    )


def _types(kinds: Iterable[torch.dtype]) -> dict[str, int]:
    """How often each type occurs."""
    return dict(Counter(str(kind).removeprefix("torch.") for kind in kinds))


def _bytes(size: int | str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)?\s*", str(size), re.IGNORECASE)
    result = int(float(found[1]) * UNITS[(found[2] or "").upper()]) if found else 0
    if result < 1:
        raise UserError(f"{size!r} is no size of a file", hint="for example 5GB or 500MB")
    return result


def _check_target(target: Path, source: Path, *, force: bool) -> None:
    """Raise UserError if writing there would lose something."""
    if target.is_file():
        raise UserError(f"{target} is a file", hint="give a folder")
    if not target.is_dir():
        return
    if target.resolve() == source.resolve() or target.resolve() in source.resolve().parents:
        raise UserError(f"{target} is where the checkpoint is", hint="give another folder")
    if any(target.iterdir()) and not force:
        raise UserError(f"{target} is not empty", hint="--force writes over a model that is there")
    if any(target.iterdir()) and not (target / CONFIG).exists():
        raise UserError(
            f"{target} has something in it that is no model", hint="give another folder"
        )


def _new_name(old: str, family: Family, written: Mapping[str, Tensor]) -> str | None:
    """What a tensor of the source is called now; None if it is not there any more."""
    new = rename(old, family.legacy)
    bare = new.removeprefix(family.prefix)
    return next((name for name in (new, family.prefix + bare, bare) if name in written), None)


def _why(old: str, family: Family) -> str:
    """Why a tensor is not in the new checkpoint."""
    new = rename(old, family.legacy)
    if new in family.tied or new.removeprefix(family.prefix) in family.tied:
        return "repeats the word table"
    if new.endswith(tuple(family.ignored)) and family.ignored:
        return "computed, not learned"
    return "no part of this model reads it"


def _cast(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    cast = tensor.to(dtype)
    if not torch.isfinite(cast).all() and torch.isfinite(tensor).all():
        kind = str(dtype).removeprefix("torch.")
        raise UserError(
            f"{name} has values up to {float(tensor.abs().max()):.3g}, too large for {kind}",
            hint="bfloat16 has the range of float32",
        )
    return cast


def _write_weights(folder: Path, tensors: dict[str, Tensor], limit: int) -> dict[str, int]:
    """One file, or several and their index; bytes of each."""
    parts = tensor_files.shards(tensors, limit)
    if len(parts) == 1:
        names = [tensor_files.SAFE]
    else:
        names = [f"model-{i:05}-of-{len(parts):05}.safetensors" for i in range(1, len(parts) + 1)]
    for name, part in zip(names, parts, strict=True):
        tensor_files.write(folder / name, part)
    if len(parts) > 1:
        index = {
            "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
            "weight_map": {
                tensor: name for name, part in zip(names, parts, strict=True) for tensor in part
            },
        }
        files.write_json(folder / tensor_files.SAFE_INDEX, index)
    return {name: (folder / name).stat().st_size for name in names}


def _copy_along(source: Path, folder: Path) -> Iterator[str]:
    for pattern in TAKEN_ALONG:
        for path in sorted(source.glob(pattern)):
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
                yield path.name


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """A folder to write in that becomes ``target`` when all went well, and else leaves no trace."""
    target = target.resolve()  # "." has no name
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with files.named_problems(target, "make room, or give another folder"):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            _publish(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, target: Path) -> None:
    """Put the new files in place; in a folder with a model, config.json goes first and comes last."""
    if not target.exists() or not any(target.iterdir()):
        os.replace(temporary, target)
        return
    for pattern in (CONFIG, *WEIGHTS, *TAKEN_ALONG):
        for old in list(target.glob(pattern)):
            old.unlink()
    for path in sorted(temporary.iterdir(), key=lambda p: p.name == CONFIG):
        os.replace(path, target / path.name)
