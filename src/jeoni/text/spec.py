"""Parts of a ``tokenizer.json``: the one form that every tokenizer is brought into."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import tokenizers

JSON = dict[str, Any]


def pipeline(
    normalizers: Sequence[JSON], pre_tokenizers: Sequence[JSON], decoders: Sequence[JSON]
) -> JSON:
    """What happens to a text before and after the model; one part stands alone, none is null."""
    return {
        "normalizer": _chain(normalizers, "normalizers"),
        "pre_tokenizer": _chain(pre_tokenizers, "pretokenizers"),
        "decoder": _chain(decoders, "decoders"),
    }


def _chain(parts: Sequence[JSON], key: str) -> JSON | None:
    if len(parts) < 2:
        return parts[0] if parts else None
    return {"type": "Sequence", key: list(parts)}


def replace(old: str, new: str, *, regex: bool = False) -> JSON:
    """Normalizer (or decoder) that writes ``new`` for ``old``."""
    return {"type": "Replace", "pattern": {"Regex" if regex else "String": old}, "content": new}


def clean(*, lowercase: bool = False) -> JSON:
    """Normalizer that drops control characters and writes a space for each kind of blank."""
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": False,
        "strip_accents": False,
        "lowercase": lowercase,
    }


def metaspace() -> JSON:
    """SentencePiece's mark ``▁`` at the beginning of each word."""
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def added(name: str, number: int, **flags: bool) -> JSON:
    """A special token."""
    off = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": name, **off, "special": True, **flags}


def template(single: str, pair: str, vocab: Mapping[str, int]) -> JSON:
    """Where special tokens go: ``"[CLS] $A [SEP]"``; a segment other than 0 as in ``$B:1``."""
    parts = {"single": _places(single), "pair": _places(pair)}
    special = {part["SpecialToken"]["id"] for part in parts["pair"] if "SpecialToken" in part}
    return {
        "type": "TemplateProcessing",
        **parts,
        "special_tokens": {t: {"id": t, "ids": [vocab[t]], "tokens": [t]} for t in sorted(special)},
    }


def template_tokens(pair: str) -> set[str]:
    """Special tokens that a template needs."""
    return {name for name, _ in map(_split, pair.split()) if not name.startswith("$")}


def renamed(place: str, names: Mapping[str, str]) -> str:
    """One place of a template, its token under another name."""
    name, segment = _split(place)
    return f"{names.get(name, name)}:{segment}"


def _places(template: str) -> list[JSON]:
    places = []
    for name, segment in map(_split, template.split()):
        kind = "Sequence" if name.startswith("$") else "SpecialToken"
        places.append({kind: {"id": name.removeprefix("$"), "type_id": segment}})
    return places


def _split(place: str) -> tuple[str, int]:
    name, colon, segment = place.rpartition(":")
    return (name, int(segment)) if colon and segment.isdigit() else (place, 0)


def whole(model: JSON, parts: JSON, post_processor: JSON | None, special: Sequence[JSON]) -> JSON:
    """A ``tokenizer.json``."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(special),
        "post_processor": post_processor,
        **parts,
        "model": model,
    }


def tokens(model: JSON) -> list[str]:
    """Tokens of a model, in the order of its file."""
    vocab = model["vocab"]
    return list(vocab) if isinstance(vocab, dict) else [entry[0] for entry in vocab]


def rust(parts: JSON) -> tokenizers.Tokenizer:
    """A tokenizer of one token with this normalizer, pre-tokenizer, decoder and post-processor."""
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    return tokenizers.Tokenizer.from_str(json.dumps(whole(model, {}, None, ()) | parts))


def same_pipeline(one: JSON, other: JSON) -> bool:
    """Whether two tokenizers do the same before the model, however their files spell it."""
    keys = ("normalizer", "pre_tokenizer")
    return _canonical(*(json.dumps(one.get(k)) for k in keys)) == _canonical(
        *(json.dumps(other.get(k)) for k in keys)
    )


@lru_cache(maxsize=64)
def _canonical(normalizer: str, pre_tokenizer: str) -> tuple[str, str]:
    parts = {"normalizer": json.loads(normalizer), "pre_tokenizer": json.loads(pre_tokenizer)}
    written = json.loads(rust(parts).to_str())
    return json.dumps(written["normalizer"]), json.dumps(written["pre_tokenizer"])
