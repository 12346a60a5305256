"""Reading and writing tokenizer folders: ``tokenizer.json``, or a bare ``vocab.txt``.

Whatever a folder holds, it is brought into one form, the content of a ``tokenizer.json``, which the
Rust library reads; so there is one way in, and every check is made here, on plain data.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.base.files import open_binary, read_json, write_json, write_text

# What each special token is called in configuration files, and its usual names in vocabularies.
ROLES = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
REQUIRED = ("unk_token", "cls_token", "sep_token")

# Settings of the normalizer: name in tokenizer_config.json, name in tokenizer.json, allowed values.
SETTINGS: tuple[tuple[str, str, tuple[bool | None, ...]], ...] = (
    ("do_lower_case", "lowercase", (True, False)),
    ("strip_accents", "strip_accents", (True, False, None)),
    ("tokenize_chinese_chars", "handle_chinese_chars", (True, False)),
)

# Where the folder came from, and the padding and truncation last used with it: not worth keeping.
_STALE = """
    name_or_path special_tokens_map_file tokenizer_file vocab_file is_local backend max_length stride
    truncation_side truncation_strategy padding_side pad_to_multiple_of pad_token_type_id
"""


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer as plain data.

    Attributes:
        spec: content of a ``tokenizer.json``, without truncation and padding.
        config: content of ``tokenizer_config.json``.
        roles: special token by role (``pad_token``, ...); roles without a token are left out.
        source: the file that it was read from, for messages.
    """

    spec: dict[str, Any]
    config: dict[str, Any]
    roles: dict[str, str]
    source: Path


def read_folder(folder: Path) -> TokenizerFiles:
    """Read ``tokenizer.json`` if it is there, else ``vocab.txt``; see ``Tokenizer.from_folder``."""
    config = _read_config(folder)
    if (folder / "tokenizer.json").exists():
        return _read_spec(folder / "tokenizer.json", config)
    if (folder / "vocab.txt").exists():
        return read_vocab(folder / "vocab.txt", config)
    raise UserError(
        f"no tokenizer in {folder}", hint="looked for tokenizer.json and vocab.txt there"
    )


def read_vocab(path: Path, config: Mapping[str, Any]) -> TokenizerFiles:
    """WordPiece from a file with one token a line (its number, from 0, is its id)."""
    vocab = {token: number for number, token in enumerate(_read_lines(path))}
    roles = _find_roles(vocab, config, path)
    _require(roles, path)
    special = {name: vocab[name] for name in roles.values()}
    spec: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(*entry) for entry in sorted(special.items(), key=_id)],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _template(roles, vocab),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": roles["unk_token"],
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }
    return TokenizerFiles(_set_normalizer(spec, config), dict(config), roles, path)


def write_folder(files: TokenizerFiles, folder: Path, *, spec_text: str) -> None:
    """Write what ``read_folder`` and ``transformers.AutoTokenizer`` read."""
    model = files.spec["model"]
    config = {key: value for key, value in files.config.items() if key not in _STALE.split()}
    if model.get("type") == "WordPiece":
        config.setdefault("tokenizer_class", "BertTokenizer")
        normalizer = files.spec.get("normalizer") or {}
        config |= {key: normalizer[inner] for key, inner, _ in SETTINGS if inner in normalizer}
    config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    write_text(folder / "tokenizer.json", spec_text + "\n")
    write_json(folder / "tokenizer_config.json", dict(sorted((config | files.roles).items())))
    write_json(folder / "special_tokens_map.json", files.roles)
    if model.get("type") == "WordPiece":
        lines = (token for token, _ in sorted(model["vocab"].items(), key=_id))
        write_text(folder / "vocab.txt", "".join(f"{line}\n" for line in lines))


def _read_config(folder: Path) -> dict[str, Any]:
    """``tokenizer_config.json`` over ``special_tokens_map.json``; either may be absent."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        if not path.exists():
            continue
        values = _mapping(path)
        for key, _, allowed in SETTINGS:
            if key in values and not any(values[key] is one for one in allowed):
                raise UserError(f"{path}: {key} is {values[key]!r}", hint="write true or false")
        length = values.get("model_max_length")
        if not isinstance(length, int | float | None):
            raise UserError(f"{path}: model_max_length is {length!r}", hint="write a number")
        # A null special token is one that is not named; a null strip_accents has a meaning.
        config |= {k: v for k, v in values.items() if v is not None or k not in ROLES}
    return config


def _read_spec(path: Path, config: dict[str, Any]) -> TokenizerFiles:
    spec = _mapping(path)
    model = spec.get("model")
    if not isinstance(model, dict) or not model.get("vocab"):
        raise UserError(f"{path}: no vocabulary (key model.vocab)", hint="is the file whole?")
    spec |= {"truncation": None, "padding": None}
    vocab = _vocabulary(spec, path)
    roles = _find_roles(vocab, {"unk_token": model.get("unk_token")} | config, path)
    # Old files do not name the kind of model; only WordPiece has a prefix for word continuations.
    if (
        model.get("type", "WordPiece" if "continuing_subword_prefix" in model else "")
        == "WordPiece"
    ):
        model["type"] = "WordPiece"
        _check_ids(model["vocab"], path)
        _require(roles, path)
        model["unk_token"] = roles["unk_token"]
        # A freshly trained file has no template yet; without one [CLS] and [SEP] would be missing.
        spec["post_processor"] = spec.get("post_processor") or _template(roles, vocab)
    _check_template(spec.get("post_processor"), path)
    return TokenizerFiles(_set_normalizer(spec, config), config, roles, path)


def _mapping(path: Path) -> dict[str, Any]:
    values = read_json(path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: a mapping was expected, this is a {type(values).__name__}")
    return values


def _read_lines(path: Path) -> list[str]:
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
    return lines


def _vocabulary(spec: Mapping[str, Any], path: Path) -> dict[str, int]:
    """Ids by token of the model and the added tokens; for models that list tokens, by place."""
    vocab = spec["model"]["vocab"]
    try:
        if not isinstance(vocab, dict):
            vocab = {(e[0] if isinstance(e, list) else e): i for i, e in enumerate(vocab)}
        return vocab | {t["content"]: t["id"] for t in spec.get("added_tokens") or ()}
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(f"{path}: broken vocabulary or added_tokens: {error!r}") from None


def _check_ids(vocab: Any, path: Path) -> None:
    if not isinstance(vocab, dict):
        raise UserError(f"{path}: model.vocab is a {type(vocab).__name__}, not a mapping")
    token_of: dict[int, str] = {}
    for token, number in vocab.items():
        if not isinstance(number, int) or not 0 <= number < len(vocab):
            problem = f"the id of {token!r} is {number!r}, of a vocabulary of {len(vocab)} tokens"
            raise UserError(f"{path}: {problem}", hint="ids count from 0, without gaps")
        if token_of.setdefault(number, token) != token:
            raise UserError(f"{path}: {token_of[number]!r} and {token!r} have the same id {number}")


def _check_template(processor: Any, path: Path) -> None:
    """The Rust library would panic, past any ``except Exception``, on a template with a stranger."""
    if not isinstance(processor, dict) or processor.get("type") != "TemplateProcessing":
        return
    try:
        known = set(processor["special_tokens"])
        parts = [*processor["single"], *processor["pair"]]
        named = {part["SpecialToken"]["id"] for part in parts if "SpecialToken" in part}
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: broken post_processor: {error!r}") from None
    if strangers := named - known:
        raise UserError(f"{path}: post_processor has no special token {min(strangers)!r}")


def _id(entry: tuple[str, int]) -> int:
    return entry[1]


def _find_roles(vocab: Mapping[str, int], config: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The special token of each role: as configured, else the usual name, if in the vocabulary."""
    roles = {}
    for role, usual in ROLES.items():
        configured = config.get(role)
        if isinstance(configured, dict):
            configured = configured.get("content")
        if not isinstance(configured, str | None):
            raise UserError(f"{path}: the configured {role} is {configured!r}, not a token")
        if configured is not None and configured not in vocab and role in REQUIRED:
            raise UserError(
                f"{path}: the configured {role} {configured!r} is not in the vocabulary"
            )
        candidates = usual if configured is None else (configured,)
        found = next((name for name in candidates if name in vocab), None)
        if found is not None:
            roles[role] = found
    return roles


def _require(roles: Mapping[str, str], path: Path) -> None:
    for role in REQUIRED:
        if role not in roles:
            raise UserError(
                f"{path}: no {ROLES[role][0]} in the vocabulary",
                hint=f"add it, or name the token in tokenizer_config.json ({role})",
            )


def _set_normalizer(spec: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Let what is written in ``tokenizer_config.json`` win, as it does in ``transformers``."""
    normalizer = spec.get("normalizer")
    if isinstance(normalizer, dict) and "lowercase" in normalizer:
        changes = {inner: config[key] for key, inner, _ in SETTINGS if key in config}
        spec["normalizer"] = normalizer | changes
    return spec


def _added(name: str, number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": name, **flags, "special": True}


def _template(roles: Mapping[str, str], vocab: Mapping[str, int]) -> dict[str, Any]:
    """``[CLS] A [SEP]`` and ``[CLS] A [SEP] B [SEP]`` (BERT, Devlin et al. 2019, section 3)."""
    cls, sep = roles["cls_token"], roles["sep_token"]

    def items(*parts: tuple[str, int]) -> Sequence[dict[str, Any]]:
        kinds = {"A": "Sequence", "B": "Sequence"}
        return [{kinds.get(p, "SpecialToken"): {"id": p, "type_id": s}} for p, s in parts]

    return {
        "type": "TemplateProcessing",
        "single": items((cls, 0), ("A", 0), (sep, 0)),
        "pair": items((cls, 0), ("A", 0), (sep, 0), ("B", 1), (sep, 1)),
        "special_tokens": {t: {"id": t, "ids": [vocab[t]], "tokens": [t]} for t in (cls, sep)},
    }
