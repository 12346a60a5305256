"""Unigram pieces (Kudo 2018) in SentencePiece's manner: the most probable cut, ``▁`` before words."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.text import learners, sentencepiece
from jeoni.text.kind import Kind, Lesson
from jeoni.text.recipes import Recipe
from jeoni.text.sentencepiece import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, SentencePiece
from jeoni.text.spec import JSON, added, metaspace, pipeline, replace

CHARSMAP = "precompiled_charsmap"


def _pipeline(options: Mapping[str, Any]) -> JSON:
    normalizers: list[JSON] = []
    if options.get("quotes"):
        normalizers += [replace("``", '"'), replace("''", '"')]
    if not options.get("keep_accents", True):
        normalizers += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if options.get("do_lower_case"):
        normalizers.append({"type": "Lowercase"})
    if charsmap := options.get(CHARSMAP):
        normalizers.append({"type": "Precompiled", CHARSMAP: charsmap})
    return pipeline(normalizers, [{"type": "WhitespaceSplit"}, metaspace()], [metaspace()])


def _learn(lesson: Lesson) -> JSON:
    return learners.unigram(lesson)


def _read(path: Path, recipe: Recipe, unk: str) -> tuple[JSON, JSON]:
    source = sentencepiece.read(path)
    entries = list(sentencepiece.scored(source))
    if recipe.fairseq:
        entries = [(name, 0.0) for name in recipe.first] + entries[recipe.fairseq :]
    entries += [(name, 0.0) for name in recipe.last]
    ids = {token: i for i, (token, _) in enumerate(entries)}
    if len(ids) < len(entries):
        raise UserError(f"{path}: has tokens that a {recipe.name} adds: is it one?")
    if unk not in ids:
        raise UserError(f"{path}: no {unk} in the vocabulary")
    found: JSON = {
        CHARSMAP: base64.b64encode(source.charsmap).decode() or None,
        "added": [
            added(token, ids[token], special=kind == CONTROL)
            for token, _, kind in source.pieces
            if kind in (CONTROL, USER_DEFINED) and token in ids
        ],
    }
    return learners.unigram_model(entries, unk, byte_fallback=source.byte_fallback), found


def _write(whole: JSON, recipe: Recipe) -> dict[str, bytes]:
    model = whole["model"]
    entries = [(str(token), float(score)) for token, score in model["vocab"]]
    unk = entries[model["unk_id"]][0]
    special = {token["content"]: token["special"] for token in whole["added_tokens"]}
    if recipe.last and tuple(token for token, _ in entries[-len(recipe.last) :]) == recipe.last:
        entries = entries[: -len(recipe.last)]
    if recipe.fairseq:
        names = [unk, *(name for name in recipe.first if name not in (unk, "<pad>"))]
        entries = [(name, 0.0) for name in names] + entries[len(recipe.first) :]

    def kind(token: str) -> int:
        if token == unk:
            return UNKNOWN
        return {True: CONTROL, False: USER_DEFINED}.get(special.get(token, ""), NORMAL)

    pieces = [(token, score, kind(token)) for token, score in entries]
    table = base64.b64decode(charsmap(whole.get("normalizer")) or "")
    content = sentencepiece.write(SentencePiece(pieces, table, bool(model.get("byte_fallback"))))
    return {"sentencepiece.bpe.model" if recipe.fairseq else "spiece.model": content}


def charsmap(normalizer: Any) -> str | None:
    """The compiled table of replacements in a normalizer."""
    if not isinstance(normalizer, dict):
        return None
    inside = (charsmap(part) for part in normalizer.get("normalizers") or ())
    return normalizer.get(CHARSMAP) or next(filter(None, inside), None)


KIND = Kind(
    about="the most probable pieces, SentencePiece (XLM-R, ALBERT, XLNet, T5)",
    like=("xlm-roberta", "albert", "t5", "xlnet"),
    pipeline=_pipeline,
    learn=_learn,
    read=_read,
    write=_write,
    files=("*.model",),
)
