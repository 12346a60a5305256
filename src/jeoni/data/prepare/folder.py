"""The folder that is prepared: whose it is, and that only one process works in it."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jeoni
from jeoni.base.errors import UserError
from jeoni.base.files import named_problems, read_json, write_json
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.prepare.sources import Input
from jeoni.data.token_store import fingerprint
from jeoni.text.tokenizer import Tokenizer

HINT = "is the disk full, and may you write there? the same command goes on"


def facts(config: PrepareConfig, found: list[Input], tokenizer: Tokenizer) -> dict[str, Any]:
    """All that decides the result: content of prepare.json."""
    return {
        "jeoni": jeoni.__version__,
        # Where tokenizer and data sets were found makes no difference.
        "settings": config.model_dump(mode="json", exclude={"tokenizer", "root"}),
        "tokenizer": fingerprint(tokenizer),
        "inputs": [{"name": i.name, "bytes": i.size, "ends": i.ends} for i in found],
    }


def claim(out: Path, facts: dict[str, Any]) -> None:
    """Make the folder this preparation's, or find that it is.

    Raises:
        UserError: it is another's.
    """
    path = out / "prepare.json"
    if path.is_file():
        before = read_json(path)
        if before != facts and _begun(out):
            raise UserError(
                f"{out} was begun with other {_difference(before, facts)}",
                hint=f"name another folder, or delete it: rm -r {out}",
            )
        if before == facts:
            return
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already and not from here", hint="name another folder")
    with named_problems(out, HINT):
        for name in ("work", "tokenizer"):  # of settings that came to nothing
            shutil.rmtree(out / name, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, facts)


def _begun(out: Path) -> bool:
    """Whether there is anything yet that settings have gone into."""
    return (out / "report.json").exists() or any((out / "work").glob("*.npz"))


def _difference(before: Any, now: dict[str, Any]) -> str:
    """Where two contents of prepare.json differ, in words."""
    if not isinstance(before, dict) or not isinstance(before.get("settings"), dict):
        return "settings"
    old, new = before["settings"], now["settings"]
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            return f"settings: {name} was {old.get(name)!r}, now it is {new.get(name)!r}"
    for name, what in (("inputs", "contents of the input files"), ("tokenizer", "tokenizer")):
        if before.get(name) != now[name]:
            return what
    return f"version of jeoni: {before.get('jeoni')}, now it is {now['jeoni']}"


@contextlib.contextmanager
def locked(work: Path) -> Iterator[None]:
    """Only one process works in a folder; the lock goes with the process."""
    with named_problems(work, HINT):
        work.mkdir(parents=True, exist_ok=True)
        stream = (work / "lock").open("w")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"another process is preparing {work.parent}", hint="wait for it, or stop it"
            ) from None
        yield
