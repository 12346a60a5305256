"""``jeoni data``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jeoni.data.cards import Entry
    from jeoni.data.prepare.pipeline import Prepared

app = typer.Typer(help="Data sets, and text for pretraining.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Data sets: what there is, and where it was looked for. Text for pretraining: to tokens."""


@app.command("list")
def list_(
    name: Annotated[
        str | None, typer.Argument(help="All about this one, and where it was looked for.")
    ] = None,
    root: Annotated[str | None, typer.Option(help="A folder to look in first.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the data sets of the catalog: at hand or not, rows, licence, where it was looked for.

    The environment variable JEONI_DATA names folders with data sets in them.
    """
    from jeoni.cli import show
    from jeoni.data.cards import available, roots

    entries = available(root, only=name, count=True)
    if json:
        show.as_json(
            [
                {
                    "name": e.name,
                    "at_hand": e.at_hand,
                    "description": e.card.description,
                    "task": e.card.task,
                    "language": e.card.language,
                    "metric": e.card.metric,
                    "licence": e.card.licence,
                    "files": {
                        s: " + ".join(map(str, paths)) or None for s, paths in e.files.items()
                    },
                    "rows": dict(e.rows),
                    "searched": [str(path) for path in e.searched],
                }
                for e in entries
            ]
        )
        return
    if name is not None:
        _one(entries[0])
        return
    rows = [
        (
            e.name,
            e.card.language,
            e.card.task,
            ", ".join(
                f"{split} {count:,}" if (count := e.rows.get(split)) else split
                for split, paths in e.files.items()
                if paths
            )
            or "not here",
            e.card.licence,
            e.card.description,
        )
        for e in entries
    ]
    show.table("", ("name", "", "task", "at hand", "licence", "what it is"), rows)
    bases = ", ".join(map(str, roots(root)))
    where = f"{bases}, and folders in them with the names of the data sets" if bases else "none"
    typer.echo(f"Looked in: {where}. Set JEONI_DATA to look elsewhere, too.")


def _one(entry: "Entry") -> None:
    """What there is to know about a data set."""
    from jeoni.cli import show

    card = entry.card
    rows = [(key, getattr(card, key)) for key in ("description", "task", "language", "metric")]
    rows += [("licence", card.licence), ("on the hub", card.hf or "–")]
    for split, paths in entry.files.items():
        count = entry.rows.get(split)
        here = f"{' + '.join(map(str, paths))}{'' if count is None else f': {count:,} rows'}"
        looked = f"not here; looked for {' or '.join(card.splits[split])} (or .zst, .gz)"
        rows.append((split, here if paths else looked))
    show.table(entry.name, ("", ""), rows)
    published = [
        (model, metric, score, f"{p.source}, {p.split}")
        for p in card.published
        for model, scores in p.scores.items()
        for metric, score in scores.items()
    ]
    if published:
        show.table("Published", ("model", "metric", "score", "source"), published)
    where = ", ".join(map(str, entry.searched))
    typer.echo(f"Looked in: {where or 'no folder: JEONI_DATA is not set'}")


@app.command(no_args_is_help=True)
def prepare(
    out: Annotated[Path, typer.Argument(help="Folder to write to, or to go on with.")],
    inputs: Annotated[
        list[str],
        typer.Argument(help="Files, patterns ('texts/*.zst'), or hf:NAME[:CONFIG[:SPLIT]]."),
    ],
    tokenizer: Annotated[
        str, typer.Option(help="Folder of a tokenizer or model, package:NAME, or a hub id.")
    ],
    split_sentences: Annotated[
        str | None, typer.Option(help="Cut lines into sentences: ko or en. Else a line is one.")
    ] = None,
    duplicates: Annotated[
        str, typer.Option(help="Copies to drop: keep (none), exact, or near (those, too).")
    ] = "exact",
    similarity: Annotated[
        float, typer.Option(help="Jaccard similarity from which documents are near copies.")
    ] = 0.8,
    min_characters: Annotated[int, typer.Option(help="Drop shorter documents.")] = 1,
    max_characters: Annotated[int | None, typer.Option(help="Drop longer documents.")] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="Keep documents in this language (repeatable).")
    ] = None,
    text_column: Annotated[
        str, typer.Option(help="Where the text is; a,b: a line of each column.")
    ] = "text",
    score_column: Annotated[
        str, typer.Option(help="Where the score is, if there is one; '': look at none.")
    ] = "score",
    min_score: Annotated[float, typer.Option(help="Drop documents with a lower score.")] = 3,
    held_out: Annotated[
        float, typer.Option(help="Share of the documents for the held-out store.")
    ] = 0.005,
    decontaminate: Annotated[
        list[str] | None,
        typer.Option(help="Drop documents with text of this evaluation set (repeatable)."),
    ] = None,
    root: Annotated[str | None, typer.Option(help="Folder of evaluation sets.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; by default one for each core.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make token stores of raw text, to pretrain on.

    Plain text has one sentence a line and a blank line between documents;
    .jsonl, .csv, .tsv, .json and .parquet have a document in each row. All may
    be .gz or .zst. OUT gets train and heldout stores, the tokenizer, and a
    report of what was dropped and why. Interrupted, the same command goes on.

    [bold]Examples[/bold]

        jeoni data prepare stores/ko 'texts/*.txt.zst' --tokenizer tok

        jeoni data prepare stores/web pages.jsonl.gz --tokenizer tok \\
            --split-sentences en --duplicates near --language en \\
            --min-characters 200 --decontaminate squad
    """
    from jeoni.cli import show
    from jeoni.recipes.prepare import prepare as run

    done = run(
        out,
        inputs,
        tokenizer=tokenizer,
        workers=workers,
        show=True,
        text_column=text_column,
        score_column=score_column or None,
        min_score=min_score,
        min_characters=min_characters,
        max_characters=max_characters,
        languages=language or [],
        split_sentences=split_sentences,
        duplicates=duplicates,
        similarity=similarity,
        held_out=held_out,
        decontaminate=decontaminate or [],
        root=root,
    )
    if json:
        show.as_json(done.facts)
    else:
        _print(done)


def _print(done: "Prepared") -> None:
    from jeoni.cli import show
    from jeoni.data.prepare.report import MEANINGS

    facts = done.facts
    kept = [
        (name, s["documents"], s["sentences"], s["tokens"]) for name, s in facts["kept"].items()
    ]
    show.table("", ("store", "documents", "sentences", "tokens"), kept)
    if facts["dropped"]:
        rows = [
            (reason, entry["documents"], MEANINGS.get(reason, ""))
            for reason, entry in facts["dropped"].items()
        ]
        show.table("Dropped", ("why", "documents", ""), rows)
    typer.echo(f"What was dropped, with examples: {done.folder / 'report.html'}")
