"""Cut the SQuAD 1.1 sample that jeoni carries out of the whole data set.

    python scripts/make_squad_sample.py FOLDER

``FOLDER`` holds ``train-v1.1.json.zst`` and ``dev-v1.1.json.zst`` in SQuAD's JSON layout. Questions
whose answer offset is a guess (``answer_start_ambiguous``) are left out. What is chosen depends on
the seed and the question ids alone; ``samples/README.md`` says how, for whom reads the files.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import zstandard

from jeoni.base.files import read_json, replacing
from jeoni.base.rng import derive

SAMPLES = Path(__file__).parents[1] / "src" / "jeoni" / "data" / "samples"
Json = dict[str, Any]


def sure_ids(paragraph: Json, seed: int) -> list[str]:
    """Ids of the questions whose answer offsets are certain, in an order drawn by ``seed``."""
    ids = [q["id"] for q in paragraph["qas"] if not q.get("answer_start_ambiguous")]
    return sorted(ids, key=lambda id: derive(seed, id))


def choose_train(
    articles: list[Json], *, count: int, per_paragraph: int, max_words: int, seed: int
) -> set[str]:
    """Ids of ``count`` questions from short paragraphs: one paragraph of every article by turns.

    The turns give many articles; the limits, many short passages: both are worth more to a model
    that trains for minutes than more questions about the same text.
    """

    def candidates(article: Json) -> Iterator[list[str]]:
        ids = [
            sure_ids(paragraph, seed)[:per_paragraph]
            for paragraph in article["paragraphs"]
            if len(paragraph["context"].split()) <= max_words
        ]
        yield from sorted(filter(None, ids), key=lambda ids: derive(seed, "paragraph", ids[0]))

    turns = chain.from_iterable(zip_longest(*map(candidates, articles), fillvalue=[]))
    return exactly(count, list(chain.from_iterable(turns)))


def choose_dev(articles: list[Json], *, count: int, seed: int) -> set[str]:
    """Ids of ``count`` questions: of every article its share, each question equally likely."""
    by_article = [
        sorted(
            chain.from_iterable(sure_ids(p, seed) for p in article["paragraphs"]),
            key=lambda id: derive(seed, id),
        )
        for article in articles
    ]
    # The k-th of an article's n questions stands at (k + 0.5) / n: cutting the line of all
    # questions at one place takes the same share of every article.
    places = [((k + 0.5) / len(ids), id) for ids in by_article for k, id in enumerate(ids)]
    return exactly(count, [id for _, id in sorted(places)])


def exactly(count: int, ids: list[str]) -> set[str]:
    """The first ``count`` of ``ids``."""
    if len(ids) < count:
        raise SystemExit(f"asked for {count} questions, only {len(ids)} can be chosen")
    return set(ids[:count])


def cut(document: Json, chosen: set[str]) -> Json:
    """The document with the chosen questions only, in its own order."""
    articles = []
    for article in document["data"]:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            if qas := [q for q in paragraph["qas"] if q["id"] in chosen]:
                paragraphs.append({**paragraph, "qas": qas})
        if paragraphs:
            articles.append({**article, "paragraphs": paragraphs})
    return {**document, "data": articles}


def write(path: Path, document: Json) -> None:
    """Write a sample and say what is in it."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    with replacing(path) as temporary:
        temporary.write_bytes(zstandard.ZstdCompressor(level=19).compress(text.encode()))
    paragraphs = [p for article in document["data"] for p in article["paragraphs"]]
    questions = sum(len(p["qas"]) for p in paragraphs)
    print(
        f"{path.name}: {questions} questions, {len(paragraphs)} paragraphs, "
        f"{len(document['data'])} articles, {path.stat().st_size / 1000:.0f} kB"
    )


def main() -> None:
    """Read the two files, choose, write the two samples."""
    parser = argparse.ArgumentParser(description="Cut jeoni's SQuAD 1.1 sample.")
    parser.add_argument("source", type=Path, help="folder of {train,dev}-v1.1.json.zst")
    parser.add_argument("--output", type=Path, default=SAMPLES)
    parser.add_argument("--train", type=int, default=4000, metavar="N", help="training questions")
    parser.add_argument("--dev", type=int, default=500, metavar="N", help="held-out questions")
    parser.add_argument("--per-paragraph", type=int, default=3, help="training questions, at most")
    parser.add_argument("--max-words", type=int, default=80, help="of a training paragraph")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train = read_json(args.source / "train-v1.1.json.zst")
    dev = read_json(args.source / "dev-v1.1.json.zst")
    train_ids = choose_train(
        train["data"],
        count=args.train,
        per_paragraph=args.per_paragraph,
        max_words=args.max_words,
        seed=args.seed,
    )
    write(args.output / "squad-sample-train.json.zst", cut(train, train_ids))
    dev_ids = choose_dev(dev["data"], count=args.dev, seed=args.seed)
    write(args.output / "squad-sample-dev.json.zst", cut(dev, dev_ids))


if __name__ == "__main__":
    main()
