"""Files: opened with their compression, written whole or not at all."""

import contextlib
import gzip
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from jeoni.base.errors import UserError


def open_binary(path: Path) -> IO[bytes]:
    """Open for reading; ``.gz`` and ``.zst`` are decompressed as they are read.

    Raises:
        UserError: no such file, a folder, or not readable.
    """
    try:
        if path.suffix == ".zst":
            import zstandard

            stream = zstandard.ZstdDecompressor().stream_reader(
                path.open("rb"), read_across_frames=True, closefd=True
            )
            return io.BufferedReader(stream)
        if path.suffix == ".gz":
            return gzip.open(path, "rb")
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"no file {path}", hint=f"looked in {path.resolve().parent}") from None
    except OSError as error:
        raise UserError(f"cannot open {path}: {error.strerror or error}") from None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, fsynced, when the block ends well.

    If the block fails, or the process dies in it, ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON (UTF-8, indented; NaN refused) whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: missing, not UTF-8, or not JSON (with line and column).
    """
    with open_binary(path) as stream:
        try:
            return json.loads(stream.read().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 (byte {error.start})") from None
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}, line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}"
            ) from None
