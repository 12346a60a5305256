"""Files: opened with their compression, written whole or not at all."""

import codecs
import contextlib
import glob
import gzip
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from jeoni.base.errors import UserError

NOT_UTF8 = (
    "older Korean files are often cp949: iconv -f cp949 -t utf-8 OLD > NEW; "
    'Windows\' "Unicode" is utf-16: iconv -f utf-16 ...'
)
"""What to do about text that is not UTF-8."""
AGAIN = "copy or download it again"
"""What to do about a file that is not whole."""


def open_binary(path: Path) -> IO[bytes]:
    """Open for reading; ``.gz`` and ``.zst`` are decompressed as they are read.

    Raises:
        UserError: no such file, a folder, not readable, or (while it is read) damaged or cut off.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise UserError(f"no file {path}", hint=f"looked in {path.resolve().parent}") from None
    except OSError as error:
        raise UserError(f"cannot open {path}: {error.strerror or error}") from None
    chunks = {".gz": _gunzip, ".zst": _unzstd}.get(path.suffix.lower())
    if chunks is None:
        return stream
    return io.BufferedReader(_Decompressed(path, stream, chunks(stream)), _CHUNK)


_CHUNK = 1 << 16
_PACKED = 1 << 10  # bytes of a .zst that are unpacked at once: 4 may stand for 128 KiB


def consumed(stream: IO[bytes]) -> int:
    """Bytes of the file on disk that a stream of ``open_binary`` has read so far."""
    raw = getattr(stream, "raw", None)
    return raw.consumed() if isinstance(raw, _Decompressed) else stream.tell()


class _Decompressed(io.RawIOBase):
    """What ``chunks`` yield, as a stream whose errors name the file."""

    def __init__(self, path: Path, source: IO[bytes], chunks: Iterator[bytes]) -> None:
        self._path, self._source, self._chunks = path, source, chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._chunks))
        except StopIteration:
            return 0
        except (EOFError, OSError, ValueError) as error:
            raise UserError(f"{self._path}: damaged or cut off: {error}", hint=AGAIN) from None
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def consumed(self) -> int:
        """Bytes of the compressed file read so far."""
        return self._source.tell()

    def close(self) -> None:
        self._source.close()
        super().close()


def _gunzip(source: IO[bytes]) -> Iterator[bytes]:
    stream = gzip.GzipFile(fileobj=source)
    try:
        while chunk := stream.read(_CHUNK):
            yield chunk
    except zlib.error as error:
        raise ValueError(str(error)) from None


def _unzstd(source: IO[bytes]) -> Iterator[bytes]:
    # zstandard's own reader takes a file that ends inside a frame for a whole one.
    import zstandard

    frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
    while data := source.read(_PACKED):
        while data:
            try:
                yield frame.decompress(data)
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from None
            data, begun = frame.unused_data, not frame.eof
            if frame.eof:
                frame = zstandard.ZstdDecompressor().decompressobj()
    if begun:
        raise EOFError("it ends inside a zstd frame")


def _aside(path: Path) -> Path:
    """Where what is to take a path's place is made; what killed ones (of this machine) left there goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begin, end = f".{path.name}.{os.uname().nodename}-", ".tmp"
    for left in path.parent.glob(f"{glob.escape(begin)}*{end}"):
        try:
            os.kill(int(left.name[len(begin) : -len(end)]), 0)
        except ProcessLookupError:
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        except (PermissionError, ValueError, OverflowError):  # it lives; it is no number of one
            continue
    return path.with_name(f"{begin}{os.getpid()}{end}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, fsynced, when the block ends well.

    If the block fails, or the process dies in it, ``path`` stays as it was. A device or a pipe
    (``/dev/null``, ``/dev/stdout``) is no file that another can take the place of: it is written to.
    """
    if path.parent == Path("/dev") or (path.exists() and not (path.is_file() or path.is_dir())):
        yield path
        return
    temporary = _aside(path)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def making(folder: Path) -> Iterator[Path]:
    """The path for a new folder beside ``folder`` that takes its place when the block ends well.

    If the block fails, or the process dies in it, ``folder`` is not there; of several processes that make
    it at once, the first one's stays.
    """
    temporary = _aside(folder)
    shutil.rmtree(temporary, ignore_errors=True)  # of a process with this number that was killed
    try:
        yield temporary
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_no_folder(path: Path, example: str) -> None:
    """See that a file can be called so: before the work whose result is to be written.

    Raises:
        UserError: it is a folder.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder", hint=f"give a file, for example {example}")


def check_not_read(path: Path, read: Iterable[Path]) -> None:
    """See that what is written does not take the place of what it is made from.

    Raises:
        UserError: ``path`` is one of the files that are read.
    """
    if path.exists() and any(path.samefile(other) for other in read if other.exists()):
        raise UserError(f"{path} is a file that is read", hint="give another file with --out")


@contextlib.contextmanager
def named_problems(path: Path, hint: str) -> Iterator[None]:
    """A full disk or a missing permission while the block writes ``path`` becomes a ``UserError``."""
    try:
        yield
    except Exception as error:
        # A full disk while safetensors are written is an error of theirs: named, not imported.
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        why = getattr(error, "strerror", None) or error
        if isinstance(error, FileExistsError):  # where a folder should be
            why = f"{error.filename} is a file"
        raise UserError(f"cannot write {path}: {why}", hint=hint) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write JSON (UTF-8, indented; NaN refused) whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def decode(data: bytes, name: str) -> str:
    """UTF-8 bytes, with or without a byte order mark, as text; with one of UTF-16, these.

    Raises:
        UserError: they are neither; ``name`` says what they are.
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise UserError(f"{name}: not whole UTF-16 (byte {error.start})") from None
        raise UserError(f"{name}: not UTF-8 (byte {error.start})", hint=NOT_UTF8) from None


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: missing, not UTF-8, or not JSON (with line and column).
    """
    with open_binary(path) as stream:
        text = decode(stream.read(), str(path))
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise json_problem(error, f"{path}{line}") from None


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        UserError: as ``read_json``, or it holds something else.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path}: not a JSON object")
    return found


def json_problem(error: Exception, where: str) -> UserError:
    """What ``json.loads`` raised (also of a number or a nesting without end) as a user's mistake."""
    if isinstance(error, json.JSONDecodeError):
        return UserError(f"{where}, column {error.colno}: not valid JSON: {error.msg}")
    return UserError(f"{where}: not usable JSON: {error}")
