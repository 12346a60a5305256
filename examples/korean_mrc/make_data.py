"""The Korean questions that come with jeoni (``wiki-ko-qa``), in the tab-separated form of the exercise.

    python make_data.py             train.tsv, dev.tsv and test.tsv in this folder

One example a line: ``tokens<TAB>start<TAB>end``. Tokens are separated by blanks; each is one character,
``_`` stands for a blank: ``[CLS] question [SEP] passage [SEP]``. The answer is tokens ``start`` to ``end``,
both included, counted from ``[CLS]`` = 0. ``dev.tsv`` is to choose an epoch by, ``test.tsv`` to look at
once.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from jeoni.data.catalog import DataConfig, open_dataset
from jeoni.data.record import Record

MOST = 20_000
"""Examples of a file, of the 63,464 there are to learn from: an epoch should not take long."""


def write(folder: str | Path, limit: int = MOST) -> None:
    """The three files, with at most ``limit`` examples in each."""
    data = open_dataset(DataConfig(name="wiki-ko-qa"))
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in ("train", "dev", "test"):
        text = "".join(map(line, data.split(name)[:limit]))
        (Path(folder) / f"{name}.tsv").write_text(text, encoding="utf-8", newline="\n")


def line(record: Record) -> str:
    """A question about a passage as one line."""
    question, passage = record.fields["question"], record.fields["context"]
    answer = record.fields["answers"][0]
    tokens = ["[CLS]", *tokens_of(question), "[SEP]", *tokens_of(passage), "[SEP]"]
    start = len(question) + 2 + answer["start"]
    return f"{' '.join(tokens)}\t{start}\t{start + len(answer['text']) - 1}\n"


def tokens_of(text: str) -> Iterable[str]:
    """Each character a token. (An underscore in the text cannot be told from a blank.)"""
    return ("_" if character.isspace() else character for character in text)


if __name__ == "__main__":
    write(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
