"""SentencePiece ``.model`` files, read and written without its runtime.

Such a file is a protobuf message of a few fields (``sentencepiece_model.proto`` in its repository):
pieces with scores and types, the settings of the trainer, and a compiled table of character
replacements. What is not listed here is skipped.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jeoni.base.errors import UserError
from jeoni.base.files import open_binary

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
UNIGRAM = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class SentencePiece:
    """What a ``.model`` file holds.

    Attributes:
        pieces: token, log probability, type (``CONTROL``, ...), by id.
        charsmap: compiled table of character replacements; empty where text is left as it is.
        byte_fallback: whether characters without a piece are spelled in bytes.
    """

    pieces: list[tuple[str, float, int]]
    charsmap: bytes
    byte_fallback: bool = False


def read(path: Path) -> SentencePiece:
    """Read a Unigram model.

    Raises:
        UserError: no such file, not a SentencePiece model, or not of the Unigram kind.
    """
    with open_binary(path) as stream:
        data = stream.read()
    try:
        model, kind = _parse(data)
    except (ValueError, IndexError, struct.error, TypeError) as error:
        raise UserError(f"{path}: not a SentencePiece model: {error}") from None
    if not model.pieces:
        raise UserError(f"{path}: not a SentencePiece model: no pieces")
    if kind != UNIGRAM:
        names = {2: "BPE", 3: "word", 4: "char"}
        raise UserError(
            f"{path}: a SentencePiece model of the {names.get(kind, 'unknown')} kind",
            hint="only Unigram is read from .model files; give a folder with tokenizer.json",
        )
    return model


def write(model: SentencePiece) -> bytes:
    """The content of a ``.model`` file, as the SentencePiece runtime reads it."""
    unknown = next((i for i, (_, _, kind) in enumerate(model.pieces) if kind == UNKNOWN), 0)
    trainer = _varint_field(3, UNIGRAM) + _varint_field(4, len(model.pieces))
    trainer += _varint_field(35, int(model.byte_fallback)) + _varint_field(40, unknown)
    for field, usual in ((41, "<s>"), (42, "</s>"), (43, "<pad>")):
        place = next((i for i, piece in enumerate(model.pieces) if piece[0] == usual), -1)
        trainer += _varint_field(field, place)
    trainer += _bytes_field(45, model.pieces[unknown][0].encode())
    normalizer = _bytes_field(1, b"identity" if not model.charsmap else b"user_defined")
    normalizer += _bytes_field(2, model.charsmap)
    pieces = b"".join(_bytes_field(1, _piece(*piece)) for piece in model.pieces)
    return pieces + _bytes_field(2, trainer) + _bytes_field(3, normalizer)


def _parse(data: bytes) -> tuple[SentencePiece, int]:
    pieces: list[tuple[str, float, int]] = []
    charsmap, kind, fallback = b"", UNIGRAM, False
    for number, value in _fields(data):
        if number == 1:
            fields = dict(_fields(_message(value)))
            score = struct.unpack("<f", _message(fields.get(2, b"\0\0\0\0")))[0]
            pieces.append(
                (_message(fields.get(1, b"")).decode(), score, int(fields.get(3, NORMAL)))
            )
        elif number == 2:
            trainer = dict(_fields(_message(value)))
            kind, fallback = int(trainer.get(3, UNIGRAM)), bool(trainer.get(35, 0))
        elif number == 3:
            charsmap = _message(dict(_fields(_message(value))).get(2, b""))
    return SentencePiece(pieces, charsmap, fallback), kind


def _message(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message should be")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a message; numbers for varints, bytes for the rest."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == _BYTES:
            size, place = _varint(data, place)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {place}")
        if place + size > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError(f"a number without end at byte {place}")


def _encoded(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written in two's complement
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _varint_field(number: int, value: int) -> bytes:
    return _encoded(number << 3 | _VARINT) + _encoded(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _encoded(number << 3 | _BYTES) + _encoded(len(value)) + value


def _piece(token: str, score: float, kind: int) -> bytes:
    fixed = _encoded(2 << 3 | _FIXED32) + struct.pack("<f", score)
    return _bytes_field(1, token.encode()) + fixed + _varint_field(3, kind)


def scored(model: SentencePiece) -> Sequence[tuple[str, float]]:
    """Pieces with their scores, by id."""
    return [(token, score) for token, score, _ in model.pieces]
