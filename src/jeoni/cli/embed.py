"""``jeoni embed``."""

from typing import Annotated, Literal

import typer

from jeoni.cli.arguments import OwnFamily


def embed(
    file: Annotated[
        str, typer.Argument(help="Texts: .txt (one a line), .csv, .jsonl, .parquet, .conll, ...")
    ],
    model: Annotated[
        str, typer.Option(help="A run, a folder, package:NAME, a hub id, a file of word vectors.")
    ],
    out: Annotated[str, typer.Option(help="The file to write: .parquet or .npy.")],
    text: Annotated[
        str | None,
        typer.Option(help="Column with texts or lists of words; by default text, else tokens."),
    ] = None,
    per: Annotated[Literal["text", "word"], typer.Option(help="What has a vector.")] = "text",
    layers: Annotated[
        Literal["last", "second_to_last", "sum_last_four", "concat_last_four", "scalar_mix", "all"],
        typer.Option(help="Which layers; the last four added up or side by side; or a mix of all."),
    ] = "last",
    pooling: Annotated[
        Literal["mean", "first", "last"], typer.Option(help="Of a text's tokens, or a word's.")
    ] = "mean",
    normalized: Annotated[
        bool, typer.Option("--normalized", help="Vectors of length 1, for cosines.")
    ] = False,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a text; by default what the model reads.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="How to read the file, if its name does not tell.")
    ] = None,
    family: OwnFamily = None,
) -> None:
    """Write texts, or their words, as vectors: contextual embeddings.

    Any model does, word vectors (word2vec, GloVe, fastText) and ELMo, too.
    Longer texts than the model reads are cut, and counted.

    [bold]Examples[/bold]

        jeoni embed reviews.csv --model runs/RUN --text review --out v.parquet

        jeoni embed train.conll --model glove.txt --per word --out v.npy
    """
    from jeoni.recipes.embed import embed_file

    found = embed_file(
        model, file, out, text=text, format=format, per=per, layers=layers, pooling=pooling,
        normalized=normalized, max_length=max_length, family=family,
    )  # fmt: skip
    shape = " x ".join(map(str, found["shape"]))
    typer.echo(f"{found['rows']:,} vectors ({shape}) of {found['texts']:,} texts: {found['out']}")
    for note, count in found["notes"].items():
        typer.echo(f"{note}: {count:,}")
