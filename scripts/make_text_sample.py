"""Cut the text samples that jeoni carries out of larger corpora.

    python scripts/make_text_sample.py CORPUS.txt.zst NAME [--bytes 1500000]

``CORPUS`` has one sentence a line and a blank line between documents. Documents are taken in the order of
a hash of their text until there are enough; longer ones than ``--longest`` characters are left out, so that
the sample has many subjects. ``NAME`` (``wiki-en``) goes to the package's samples.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import zstandard

from jeoni.base.files import open_binary, replacing
from jeoni.base.rng import derive

SAMPLES = Path(__file__).parents[1] / "src" / "jeoni" / "data" / "samples"


def documents(path: Path) -> Iterator[str]:
    """Lines between blank lines."""
    lines: list[str] = []
    with open_binary(path) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            if line.strip():
                lines.append(line.strip())
            elif lines:
                yield "\n".join(lines)
                lines = []
    if lines:
        yield "\n".join(lines)


def main() -> None:
    """Choose, compress, say how much there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("name")
    parser.add_argument("--bytes", type=int, default=1_500_000, help="of text, in UTF-8")
    parser.add_argument("--longest", type=int, default=12_000, help="characters of a document")
    options = parser.parse_args()
    fitting = (d for d in documents(options.corpus) if len(d) <= options.longest)
    chosen, size = [], 0
    for text in sorted(fitting, key=lambda text: derive("sample", text)):
        chosen.append(text)
        size += len(text.encode()) + 2
        if size >= options.bytes:
            break
    data = zstandard.ZstdCompressor(level=19).compress(("\n\n".join(chosen) + "\n").encode())
    with replacing(SAMPLES / f"{options.name}.txt.zst") as path:
        path.write_bytes(data)
    print(f"{options.name}: {len(chosen)} documents, {size:,} bytes, {len(data):,} compressed")


if __name__ == "__main__":
    main()
