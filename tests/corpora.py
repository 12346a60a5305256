"""Small corpora for tests of ``jeoni data prepare``."""

import functools
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from jeoni.data.prepare.pipeline import Prepared, prepare
from jeoni.data.prepare.settings import PrepareConfig
from tokenizer_samples import small

WORDS = [
    "한국어를", "배우는", "사람은", "한국에", "갔다", "학교에서", "음식을", "먹었다", "도서관",
    "the", "cafeteria", "who", "other", "end", "harbor", "seven", "winter", "letters", "quiet",
]  # fmt: skip


def documents(count: int, seed: int = 0) -> list[list[str]]:
    """Documents of one to five sentences; all differ."""
    drawn = random.Random(seed)
    return [
        [
            f"{' '.join(drawn.choices(WORDS, k=drawn.randint(3, 12)))} {spelled(seed, number, line)}."
            for line in range(drawn.randint(1, 5))
        ]
        for number in range(count)
    ]


def spelled(*numbers: int) -> str:
    """Numbers in words that the tokenizers know."""
    return " ".join(WORDS[int(digit)] for digit in "".join(f"{n:04}" for n in numbers))


def plain(texts: Sequence[Sequence[str]]) -> str:
    """As in a text file."""
    return "\n\n".join("\n".join(lines) for lines in texts) + "\n"


@functools.cache
def _tokenizer(kind: str, like: str, folder: Path) -> Path:
    small(kind, like).save(folder / like)
    return folder / like


def tokenizer(folder: Path, kind: str = "wordpiece", like: str = "bert") -> Path:
    """A folder with a small tokenizer."""
    return _tokenizer(kind, like, folder)


def run(
    out: Path, *files: Path | str, like: tuple[str, str] = ("wordpiece", "bert"), **settings: Any
) -> Prepared:
    """Prepare some files, in this process."""
    workers, show = settings.pop("workers", 1), settings.pop("show", False)
    folder = tokenizer(out.parent / "tokenizers", *like)
    config = PrepareConfig(inputs=[str(f) for f in files], tokenizer=str(folder), **settings)
    return prepare(config, out, workers=workers, show=show)


def contents(folder: Path) -> dict[str, bytes]:
    """All files in a folder, by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def texts_of(done: Prepared, name: str = "train") -> list[str]:
    """The documents of a store, decoded."""
    from jeoni.text.tokenizer import Tokenizer

    found = Tokenizer.from_folder(done.folder / "tokenizer")
    store = done.train if name == "train" else done.heldout
    bounds = store.documents.tolist()
    return [found.decode(store.ids[a:b].tolist()) for a, b in pairwise(bounds)]
