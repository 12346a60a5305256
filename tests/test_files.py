"""Files: decompressed as they are read, written whole or not at all; numbers from names."""

import gzip
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from jeoni.base import files, rng
from jeoni.base.errors import UserError
from jeoni.base.files import (
    decode,
    making,
    named_problems,
    open_binary,
    read_json,
    replacing,
    write_json,
    write_text,
)

BIG = os.urandom(100_000) + b"tail of the file" * 20_000
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("content", [b"", b"x", BIG], ids=["empty", "one byte", "big"])
def test_reading(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(PACK[suffix](content))
    with open_binary(path) as stream:
        assert stream.read() == content
    with open_binary(path) as stream:
        assert b"".join(iter(stream.readline, b"")) == content


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_parts_packed_one_after_the_other(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(PACK[suffix](b"first ") + PACK[suffix](b"second"))
    with open_binary(path) as stream:
        assert stream.read() == b"first second"


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_much_text_in_a_small_file_is_not_unpacked_at_once(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PACKED", 16)
    path, count = tmp_path / f"file{suffix}", 0
    path.write_bytes(PACK[suffix](bytes(20_000_000)))
    tracemalloc.start()
    with open_binary(path) as stream:
        while block := stream.read(1 << 16):
            count += len(block)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000_000
    assert most < 4_000_000


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_file_that_is_cut_off(suffix: str, keep: float, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    packed = PACK[suffix](BIG)
    path.write_bytes(packed[: int(len(packed) * keep)])
    with (
        open_binary(path) as stream,
        pytest.raises(UserError, match=rf"file\{suffix}: damaged or cut off"),
    ):
        stream.read()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_that_is_something_else(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(b"plain text, not packed at all")
    with open_binary(path) as stream, pytest.raises(UserError, match="damaged or cut off"):
        stream.read()


def test_a_bit_that_flipped(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(BIG))
    packed[len(packed) // 2] ^= 4
    (tmp_path / "file.gz").write_bytes(packed)
    with open_binary(tmp_path / "file.gz") as stream, pytest.raises(UserError, match="damaged"):
        stream.read()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*none\.csv\n.*looked in"):
        open_binary(tmp_path / "none.csv")
    with pytest.raises(UserError, match="cannot open"):
        open_binary(tmp_path)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("한글 😀".encode(), "한글 😀"),
        (b"\xef\xbb\xbfx", "x"),
        (b"a\r\nb", "a\r\nb"),
        ("한글 😀".encode("utf-16"), "한글 😀"),
        (b"\xfe\xff\0x", "x"),
    ],
)
def test_decoding(data: bytes, text: str) -> None:
    assert decode(data, "file") == text


def test_decoding_what_is_not_utf8() -> None:
    with pytest.raises(UserError, match=r"my\.txt: not UTF-8 \(byte 0\)"):
        decode("기차".encode("cp949"), "my.txt")
    with pytest.raises(UserError, match=r"my\.txt: not whole UTF-16 \(byte 4\)"):
        decode("기차".encode("utf-16")[:-1], "my.txt")


# Writing


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("new, but not all of it")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_process_that_dies_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    script = (
        "import os, sys; from pathlib import Path; from jeoni.base.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    assert path.read_text() == "old"
    (left,) = set(tmp_path.iterdir()) - {path}
    living = left.with_name(left.name.rpartition("-")[0] + "-1.tmp")
    elsewhere = [tmp_path / f".file.{name}.tmp" for name in ("other-99999999", "x", "77")]
    for other in (living, *elsewhere):
        other.write_text("half")
    write_text(tmp_path / "another", "new")
    assert left.exists()
    write_text(path, "new")
    assert set(tmp_path.iterdir()) == {path, tmp_path / "another", living, *elsewhere}


def test_text_is_utf8_with_plain_newlines(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "가\nb\n")
    assert (tmp_path / "file").read_bytes() == "가\nb\n".encode()


@pytest.mark.parametrize("value", [{"가": [1, 2.5, None, True]}, [], "x", {"nested": {"a": {}}}])
def test_json_there_and_back(value: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value


def test_json_that_is_none_is_not_written(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", float("nan"))
    assert read_json(tmp_path / "x.json") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b": }', r"x\.json, line 2, column 7: not valid JSON"),
        (b'{"a": [1, 2', r"line 1, column 12: not valid JSON"),
        (b"", r"line 1, column 1: not valid JSON"),
        ("기".encode("cp949"), r"x\.json: not UTF-8 \(byte 0\)"),
    ],
)
def test_broken_json(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_json(tmp_path / "x.json")


def test_packed_json(tmp_path: Path) -> None:
    text = json.dumps({"a": "가"}, ensure_ascii=False).encode()
    (tmp_path / "x.json.zst").write_bytes(zstandard.ZstdCompressor().compress(text))
    assert read_json(tmp_path / "x.json.zst") == {"a": "가"}


def test_errors_carry_their_hint() -> None:
    error = UserError("wrong", hint="do this")
    assert str(error) == "wrong\n  → do this"
    assert error.hint == "do this"
    assert str(UserError("wrong")) == "wrong"


def test_streams_are_streams(tmp_path: Path) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(b"line 1\nline 2\n"))
    with io.TextIOWrapper(open_binary(tmp_path / "f.gz"), encoding="utf-8") as lines:
        assert list(lines) == ["line 1\n", "line 2\n"]


# Random numbers as a function of what they are for

PARTS = st.lists(st.integers() | st.text(max_size=5), max_size=4)


@given(PARTS)
def test_derived_numbers_are_63_bits_and_the_same_again(parts: list[int | str]) -> None:
    assert rng.derive(*parts) == rng.derive(*parts)
    assert 0 <= rng.derive(*parts) < 2**63


def test_derived_numbers_stay_the_same_over_versions() -> None:
    """Old runs must go on with the data order that they began with."""
    assert rng.derive("order", 1, 0) == 798576947484395671
    assert rng.generator("order", 1, 0).permutation(8).tolist() == [0, 4, 7, 5, 3, 6, 2, 1]


def test_different_parts_give_different_streams() -> None:
    keys = [("a", 1), ("a", 2), ("b", 1), (1, "a"), ("a1",), ("a", 1, 0), ("a", 11), ("a1", 1)]
    assert len({rng.derive(*key) for key in keys}) == len(keys)
    draws = [rng.generator(*key).random(1000) for key in keys]
    for i, first in enumerate(draws):
        for second in draws[:i]:
            assert abs(np.corrcoef(first, second)[0, 1]) < 0.15


def test_drawing_from_one_leaves_the_other_alone() -> None:
    first = rng.generator("x", 1)
    first.random(100)
    assert rng.generator("x", 1).random() == rng.generator("x", 1).random()


def test_a_folder_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "inside" / "folder"

    def broken_off(aside: Path) -> None:
        write_text(aside / "a", "half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), making(folder) as aside:
        broken_off(aside)
    assert list(folder.parent.iterdir()) == []
    (folder.parent / f"{aside.name.rpartition('-')[0]}-4194305.tmp").mkdir()  # of no process
    with making(folder) as aside:
        write_text(aside / "a", "whole")
        assert not folder.exists()
    assert [(p.name, p.read_text()) for p in folder.iterdir()] == [("a", "whole")]
    assert list(folder.parent.iterdir()) == [folder]


def test_of_two_that_make_a_folder_the_first_stays(tmp_path: Path) -> None:
    with making(tmp_path / "folder") as aside:
        write_text(aside / "a", "second")
        write_text(tmp_path / "folder/a", "first")  # as another process does meanwhile
    assert (tmp_path / "folder/a").read_text() == "first"
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(NotADirectoryError), making(tmp_path / "folder") as aside:
        write_text(aside / "a", "b")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"9" * 5000, b"{", b"\xff"])
def test_json_that_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.json.*: not"):
        read_json(tmp_path / "x.json")


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    """Were it replaced, who may write to its folder (root, in a container) would have none any more."""
    (tmp_path / "null").symlink_to("/dev/null")
    write_text(tmp_path / "null", "x")
    assert (tmp_path / "null").is_char_device()
    assert [path.name for path in tmp_path.iterdir()] == ["null"]


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    path = tmp_path / "a.txt" / "x.json"
    with (
        pytest.raises(UserError, match=r"x\.json: .*a\.txt is a file"),
        named_problems(path, "give another file"),
    ):
        write_json(path, {})
