"""Vocabulary files as tokenizers were published with: ``vocab.txt``, ``vocab.json``, ``merges.txt``."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from jeoni.base.errors import UserError
from jeoni.base.files import decode, open_binary, read_json


def read_lines(path: Path) -> dict[str, int]:
    """Ids by token of a file with one token a line, numbered from 0.

    Raises:
        UserError: not UTF-8, no lines, an empty or a repeated line.
    """
    with open_binary(path) as stream:
        data = stream.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: not UTF-8 (byte {error.start})", hint="convert the file to UTF-8"
        ) from None
    # Not splitlines(): vocabularies hold tokens such as U+2028 and U+0085.
    lines = [line.removesuffix("\n") for line in io.StringIO(text, newline=None)]
    first: dict[str, int] = {}
    for number, token in enumerate(lines, 1):
        if not token:
            raise UserError(f"{path}, line {number}: empty line in a vocabulary")
        if first.setdefault(token, number) != number:
            raise UserError(f"{path}, line {number}: {token!r} is on line {first[token]} already")
    if not lines:
        raise UserError(f"{path}: the vocabulary is empty")
    return {token: number for number, token in enumerate(lines)}


def write_lines(vocab: Mapping[str, int]) -> bytes:
    """Inverse of ``read_lines``."""
    return "".join(f"{token}\n" for token in by_id(vocab)).encode()


def read_mapping(path: Path) -> dict[str, int]:
    """Ids by token of a ``vocab.json``.

    Raises:
        UserError: not a mapping of tokens to their numbers, without gaps from 0.
    """
    vocab = read_json(path)
    if not isinstance(vocab, dict) or not vocab:
        raise UserError(f"{path}: a mapping of tokens to numbers was expected")
    check_ids(vocab, path)
    return vocab


def read_merges(path: Path, vocab: Mapping[str, int]) -> list[list[str]]:
    """Pairs of a ``merges.txt``, in order.

    Raises:
        UserError: a line that is not two tokens of the vocabulary that make a third.
    """
    with open_binary(path) as stream:
        text = decode(stream.read(), str(path))
    merges = []
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        line = line.removesuffix("\n")
        if line.startswith("#version") or not line:
            continue
        pair = line.split(" ")
        if len(pair) != 2:
            raise UserError(f"{path}, line {number}: {line!r} is not two tokens")
        unknown = next((token for token in (*pair, "".join(pair)) if token not in vocab), None)
        if unknown is not None:
            raise UserError(
                f"{path}, line {number}: {unknown!r} is not in the vocabulary",
                hint="do vocab.json and merges.txt belong together?",
            )
        merges.append(pair)
    return merges


def write_bpe(vocab: Mapping[str, int], merges: Sequence[Sequence[str] | str]) -> dict[str, bytes]:
    """``vocab.json`` and ``merges.txt``."""
    lines = [pair if isinstance(pair, str) else " ".join(pair) for pair in merges]
    ordered = {token: vocab[token] for token in by_id(vocab)}
    return {
        "vocab.json": (json.dumps(ordered, ensure_ascii=False) + "\n").encode(),
        "merges.txt": "\n".join(["#version: 0.2", *lines, ""]).encode(),
    }


def by_id(vocab: Mapping[str, int]) -> list[str]:
    """Tokens in the order of their ids."""
    return sorted(vocab, key=vocab.__getitem__)


def check_ids(vocab: object, path: Path) -> None:
    """Raise UserError unless ids count from 0 without gaps or repetition."""
    if not isinstance(vocab, dict):
        raise UserError(f"{path}: model.vocab is a {type(vocab).__name__}, not a mapping")
    token_of: dict[int, str] = {}
    for token, number in vocab.items():
        if not isinstance(number, int) or not 0 <= number < len(vocab):
            problem = f"the id of {token!r} is {number!r}, of a vocabulary of {len(vocab)} tokens"
            raise UserError(f"{path}: {problem}", hint="ids count from 0, without gaps")
        if token_of.setdefault(number, token) != token:
            raise UserError(f"{path}: {token_of[number]!r} and {token!r} have the same id {number}")
