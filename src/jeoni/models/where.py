"""From what a user writes for a model to a folder on this machine."""

import contextlib
import importlib.util
import os
from pathlib import Path

from jeoni.base.errors import UserError
from jeoni.base.lookup import near_folders

CONFIG = "config.json"
MODEL = (CONFIG, f"model/{CONFIG}")
"""What there is of a model, or of a run with one."""
SHIPPED = Path(__file__).parent / "shipped"
"""Checkpoints that come with jeoni, a folder each."""


def shipped() -> list[str]:
    """Names of the checkpoints that come with jeoni."""
    return sorted(file.parent.name for file in SHIPPED.glob(f"*/{CONFIG}"))


def resolve(where: str | Path) -> Path:
    """The folder with config.json that ``where`` means.

    Args:
        where: a folder in Hugging Face layout; a run folder (its ``model/`` is meant); the name of a
            checkpoint that comes with jeoni; ``package:NAME`` or ``package:NAME/sub/folder`` for
            weights inside an installed Python package; or a hub id (``org/name``), fetched only when
            the network is there.

    Raises:
        UserError: nothing there; the message says what was looked for.
    """
    text = str(where)
    if not text.strip():
        raise UserError(
            "the model's name is empty", hint="a folder, a run, package:NAME, a hub id or a preset"
        )
    if text.startswith("package:"):
        return _in_package(text.removeprefix("package:"))
    folder = Path(where).expanduser()
    if os.path.isdir(folder):  # no error for names that are too long, as pathlib has
        for candidate in (folder, folder / "model"):
            if (candidate / CONFIG).exists():
                return candidate
        raise UserError(
            f"no model in {folder}: neither {CONFIG} nor model/{CONFIG}",
            hint="has the run that should have written it finished?",
        )
    if os.path.isfile(folder):
        raise UserError(f"{folder} is a file", hint="a model is a folder with config.json in it")
    if text in shipped():
        return SHIPPED / text
    if text.count("/") <= 1 and not text.startswith((".", "/", "~")):
        return _from_hub(text)
    hint = near_folders(folder, MODEL) or f"looked in {folder.resolve().parent}"
    raise UserError(f"no folder {folder}", hint=hint)


def _in_package(path: str) -> Path:
    name, _, inside = path.partition("/")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"no installed package {name!r} (from 'package:{path}')",
            hint=f"pip install {name.replace('_', '-')}",
        )
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    folder = (root / inside).resolve()
    if not folder.is_relative_to(root):
        raise UserError(f"'package:{path}' leads out of the package")
    for candidate in (folder, folder / "model"):
        if (candidate / CONFIG).exists():
            return candidate
    raise UserError(f"package {name!r} has no {CONFIG} in {inside or 'its folder or model/'}")


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "pytorch_model*.bin"]
    patterns += ["vocab.txt", "merges.txt", "*.model"]
    with contextlib.suppress(Exception):  # whatever it is, the model is not in the cache
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    hint = (
        near_folders(Path(name), MODEL)
        or "give a folder, 'package:NAME', or connect to the network"
    )
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        raise UserError(f"no folder {name!r}, and HF_HUB_OFFLINE keeps off the hub", hint=hint)
    if not hub_answers():
        raise UserError(f"no folder {name!r}, and the model hub cannot be reached", hint=hint)
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"no folder {name!r}, and the hub says: {line}", hint=hint) from None


def hub_answers() -> bool:
    """Whether the hub answers at all, within three seconds.

    The hub client retries for much longer, and looking up a name has no time limit of its own.
    """
    import threading

    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(Exception):
            get_session().head(constants.ENDPOINT, timeout=2)
            answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(3)
    return answered.is_set()
