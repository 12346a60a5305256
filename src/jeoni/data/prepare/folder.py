"""The folder that is prepared: whose it is, and that only one process works in it."""

import contextlib
import fcntl
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import jeoni
from jeoni.base.errors import UserError
from jeoni.base.files import named_problems, read_json, write_json
from jeoni.data.prepare.hub import PREFIX
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.prepare.sources import Input, inputs
from jeoni.data.token_store import fingerprint
from jeoni.text.tokenizer import Tokenizer

LOCK = "lock"
PATIENCE = 3600.0
"""Seconds without anything new until another process is believed to hang."""
SAY_EVERY = 60.0  # seconds
HINT = "is the disk full, and may you write there? the same command goes on"


def facts(config: PrepareConfig, found: list[Input], tokenizer: Tokenizer) -> dict[str, Any]:
    """All that decides the result: content of prepare.json."""
    return {
        "jeoni": jeoni.__version__,
        # Where tokenizer and data sets were found makes no difference.
        "settings": config.model_dump(mode="json", exclude={"tokenizer", "root"}),
        "tokenizer": fingerprint(tokenizer),
        "inputs": _listed(found),
    }


def _listed(found: list[Input]) -> list[dict[str, Any]]:
    return [{"name": i.name, "bytes": i.size, "ends": i.ends} for i in found]


def check_inputs(out: Path, names: Sequence[str]) -> None:
    """See that the inputs of a preparation are what they were, as far as they are still there.

    Args:
        out: its folder.
        names: of the inputs, as they were given to it.

    Raises:
        UserError: other contents.
    """
    if any(name.startswith(PREFIX) for name in names):
        return  # the hub need not answer
    try:
        now = _listed(inputs(names))
    except UserError:  # gone
        return
    before = read_json(out / "prepare.json").get("inputs", [])
    if [(i["bytes"], i["ends"]) for i in before] != [(i["bytes"], i["ends"]) for i in now]:
        raise UserError(
            f"the text has changed since {out} was made of it: {', '.join(names)}",
            hint=f"delete the folder and the run, or give another file: rm -r {out}",
        )


def check(out: Path, facts: dict[str, Any]) -> None:
    """See that the folder is free, or this preparation's already.

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
    elif out.exists() and not (out.is_dir() and _is_free(out)):
        raise UserError(f"{out} is there already and not from here", hint="name another folder")


def claim(out: Path, facts: dict[str, Any]) -> None:
    """Make the folder this preparation's; called by the one process that works in it.

    Raises:
        UserError: it is another's.
    """
    check(out, facts)
    path = out / "prepare.json"
    if path.is_file() and read_json(path) == facts:
        return
    with named_problems(out, HINT):  # of settings that came to nothing
        shutil.rmtree(out / "tokenizer", ignore_errors=True)
        for entry in (out / "work").iterdir():
            if entry.name != LOCK:
                entry.unlink()
        write_json(path, facts)


def _is_free(out: Path) -> bool:
    """Whether nothing is in a folder, or a preparation has begun there, if only just now."""
    work = out / "work"
    # In this order: another process may be making them, the lock last.
    return not any(path != work for path in out.rglob("*")) or (work / LOCK).is_file()


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
def locked(work: Path, *, show: bool = False) -> Iterator[None]:
    """Only one process works in a folder: the next waits for it. The lock goes with the process.

    Args:
        work: where the lock is.
        show: say on stderr what is waited for.

    Raises:
        UserError: the other process has written nothing for so long that it must be hanging.
    """
    with named_problems(work, HINT):
        work.mkdir(parents=True, exist_ok=True)
        stream = (work / LOCK).open("w")
    with stream:
        if not _taken(stream):
            _wait(stream, work, show)
        yield


def _taken(stream: IO[str]) -> bool:
    """Take the lock, if it is free."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait(stream: IO[str], work: Path, show: bool) -> None:
    out, seen, told = work.parent, -1.0, 0.0
    changed = time.monotonic()
    while not _taken(stream):
        now, latest = time.monotonic(), _latest(out)
        if latest != seen:
            seen, changed = latest, now
        if now - changed > PATIENCE:
            raise UserError(
                f"another process is preparing {out}, and has written nothing for "
                f"{PATIENCE / 60:.0f} minutes",
                hint="does it hang? stop it, and the same command goes on from there",
            )
        if show and now - told > SAY_EVERY:
            parts, told = len(list(work.glob("0*.npz"))), now
            print(
                f"waiting for another process that prepares {out} ({parts} parts so far)",
                file=sys.stderr,
            )
        time.sleep(0.2)
    if show and not (out / "report.json").is_file():
        print("the other process has ended without finishing: going on from there", file=sys.stderr)


def _latest(out: Path) -> float:
    """When anything was written in a folder; files may go meanwhile."""
    times = [0.0]
    for path in out.rglob("*"):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times)
