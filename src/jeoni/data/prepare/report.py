"""What became of the text: ``report.json``, and ``report.html`` to read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jeoni.base.errors import UserError
from jeoni.base.files import write_json
from jeoni.data.prepare.duplicates import EXACT, NEAR, Duplicates
from jeoni.data.prepare.part import EXAMPLES, Part
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.prepare.sources import Input
from jeoni.data.token_store import TokenStore, fingerprint
from jeoni.report.page import Report
from jeoni.report.sections import Headline, KeyValues, Section, Table
from jeoni.text.tokenizer import Tokenizer

_SHOWN = 60  # tokens of a copy that are shown
_COPIES = {EXACT: "copy", NEAR: "near copy"}
MEANINGS = {
    "score": "its score is lower than --min-score, or empty",
    "empty": "there is no text",
    "short": "fewer characters than --min-characters",
    "long": "more characters than --max-characters",
    "no letters": "neither a letter nor a digit in it",
    "copy": "an earlier document has the same letters and digits",
    "near copy": "an earlier document is nearly the same",
}


def facts(
    config: PrepareConfig,
    found: Sequence[Input],
    parts: Sequence[Part],
    copies: Duplicates,
    out: Path,
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    """Content of report.json: a function of inputs and settings, without times.

    Raises:
        UserError: no document is left over.
    """
    read, dropped = _counts(parts, found)
    for kind, name in _COPIES.items():
        if entry := _copies(parts, copies, kind, found, tokenizer):
            dropped[name] = entry
    stores = {name: TokenStore(out / name) for name in ("train", "heldout")}
    if not any(map(len, stores.values())):
        raise UserError(
            f"no document is left over: {_in_words(dropped) or 'there were none'}",
            hint="other options keep more: jeoni data prepare --help"
            if dropped
            else "is it empty?",
        )
    return {
        "read": read,
        "kept": {
            name: {
                "documents": len(store.documents) - 1,
                "sentences": len(store.sentences) - 1,
                "tokens": len(store),
            }
            for name, store in stores.items()
        },
        "dropped": dropped,
        "inputs": [{"name": source.name, "bytes": source.size} for source in found],
        "settings": config.model_dump(mode="json", exclude={"tokenizer", "root"}),
        "tokenizer": fingerprint(tokenizer),
    }


def _in_words(dropped: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{reason}: {entry['documents']:,}" for reason, entry in dropped.items())


def _counts(parts: Sequence[Part], found: Sequence[Input]) -> tuple[dict[str, int], dict[str, Any]]:
    """What was read, and what was dropped for each reason but copies."""
    read = {"documents": 0, "bytes": 0, "cut": 0}
    dropped: dict[str, dict[str, Any]] = {}
    for part in parts:
        stats = part.stats
        for name in read:
            read[name] += stats["read"][name]
        for reason, entry in stats["dropped"].items():
            whole = dropped.setdefault(reason, {"documents": 0, "bytes": 0, "examples": []})
            whole["documents"] += entry["documents"]
            whole["bytes"] += entry["bytes"]
            for example in entry["examples"][: EXAMPLES - len(whole["examples"])]:
                whole["examples"].append(example | {"file": found[example["file"]].name})
    return read, dict(sorted(dropped.items()))


def _copies(
    parts: Sequence[Part],
    copies: Duplicates,
    kind: int,
    found: Sequence[Input],
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    """What was dropped as copies; nothing if none were."""
    count = int(np.count_nonzero(copies.kinds == kind))
    if not count:
        return {}
    size = first = 0
    for part in parts:
        sizes = part["bytes"]
        size += int(sizes[copies.kinds[first : first + len(sizes)] == kind].sum())
        first += len(sizes)
    examples = [
        _shown(parts, later, found, tokenizer) | {"of": _shown(parts, earlier, found, tokenizer)}
        for later, earlier in copies.examples[kind]
    ]
    return {"documents": count, "bytes": size, "examples": examples}


def _shown(
    parts: Sequence[Part], document: int, found: Sequence[Input], tokenizer: Tokenizer
) -> dict[str, Any]:
    """Where a document is, and how its text begins, as far as its tokens tell."""
    for part in parts:
        lengths = part["lengths"]
        if document < len(lengths):
            break
        document -= len(lengths)
    start = int(lengths[:document].sum())
    ids = part["ids"][start : start + min(int(lengths[document]), _SHOWN)]
    source, line = found[int(part["files"][document])], int(part["lines"][document])
    return {"file": source.name, "line": line, "text": tokenizer.decode(ids.tolist())}


def write(content: dict[str, Any], out: Path) -> None:
    """Write both reports; report.json last: it says that all is done."""
    page(content).write(out / "report.html")
    write_json(out / "report.json", content)


def page(content: Mapping[str, Any]) -> Report:
    """The report to read."""
    train, heldout, read = content["kept"]["train"], content["kept"]["heldout"], content["read"]
    dropped = content["dropped"]
    sections: list[Section] = [
        Headline(
            {
                "tokens": f"{train['tokens']:,}",
                "documents": f"{train['documents']:,}",
                "held out": f"{heldout['documents']:,}",
                "dropped": f"{sum(entry['documents'] for entry in dropped.values()):,}",
            },
            note=f"{read['documents']:,} documents, {read['bytes']:,} bytes of text were read.",
        ),
        _kept(content),
        Table(
            "What was dropped",
            ("why", "documents", "of all", "bytes", ""),
            [
                (
                    reason,
                    entry["documents"],
                    f"{entry['documents'] / max(1, read['documents']):.2%}",
                    entry["bytes"],
                    MEANINGS.get(reason, ""),
                )
                for reason, entry in dropped.items()
            ],
            note=_cut(read["cut"]),
        ),
        *(_examples(reason, entry) for reason, entry in dropped.items()),
        Table("Inputs", ("name", "bytes"), [(i["name"], i["bytes"]) for i in content["inputs"]]),
        KeyValues("Settings", content["settings"]),
    ]
    return Report("Text prepared", f"tokenizer {content['tokenizer']}", sections)


def _kept(content: Mapping[str, Any]) -> Table:
    rows = [
        (name, store["documents"], store["sentences"], store["tokens"])
        for name, store in content["kept"].items()
    ]
    return Table("What is kept", ("store", "documents", "sentences", "tokens"), rows)


def _cut(count: int) -> str:
    return f"Documents that are too long were cut: {count:,} more of them." if count else ""


def _examples(reason: str, entry: Mapping[str, Any]) -> Table:
    rows = [
        (f"{example['file']}, line {example['line']}", example["text"], _why(example))
        for example in entry["examples"]
    ]
    return Table(f"Dropped: {reason}", ("where", "text", ""), rows)


def _why(example: Mapping[str, Any]) -> str:
    if "score" in example:
        return f"score {example['score']:g}"
    if "of" in example:
        other = example["of"]
        return f"{other['file']}, line {other['line']}: {other['text']}"
    return ""
