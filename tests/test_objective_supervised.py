"""Supervised examples among the text: their share, what is read and written; the text stays as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.data.batching import BatchConfig
from jeoni.data.token_store import TokenStore
from jeoni.objectives._batches import HELD_OUT, StoreBatches, held_out
from jeoni.objectives._draft import Noise
from jeoni.objectives._mixture import Mixture
from jeoni.objectives._supervised import Mixed
from jeoni.recipes.pretrain import pretrain

ROWS = 40
FIRST, SECOND = (topic.split() for topic in parts.TOPICS[:2])  # words that the tokenizer knows


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return parts.store(tmp_path_factory.mktemp("text") / "t5", parts.tokenizer("t5"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    rows = [f"{FIRST[n // 8]} {SECOND[n % 8]},{n % 2}" for n in range(ROWS)]
    path.write_text("\n".join(["review,stars", *rows]) + "\n", encoding="utf-8")
    return path


def settings(file: Path, **others: Any) -> dict[str, Any]:
    own = {"data": str(file), "source": "review", "target": "stars", "prefix": "painter "}
    return {**own, "names": {"0": "water", "1": "bread"}, **others}


def mixture(supervised: Any) -> Mixture:
    return parts.mixture({"span_corruption": {"supervised": supervised}}, parts.model("t5"))


def pairs(mix: Mixture, chunks: Any, indices: Any, epoch: int = 0) -> list[tuple[str, str]]:
    """What is read and written, as texts."""
    batch = mix.batch(chunks, np.asarray(indices), Noise(0, epoch))
    assert batch.decoder is not None
    reads = np.split(batch.ids.numpy(), np.cumsum(batch.lengths)[:-1])
    writes = np.split(batch.targets["written"].numpy(), np.cumsum(batch.decoder.lengths)[:-1])
    words = mix.model.tokenizer
    end = words.eos_id
    assert all(
        read[-1] == end and write[-1] == end for read, write in zip(reads, writes, strict=True)
    )
    return [
        (words.decode(r.tolist()), words.decode(w.tolist()))
        for r, w in zip(reads, writes, strict=True)
    ]


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_share_and_targets(share: float, text: TokenStore, file: Path) -> None:
    mix = mixture(settings(file, share=share, held_out=0))
    chunks = mix.cut(text, mix.room(48))
    assert isinstance(chunks, Mixed)
    count = len(chunks) - chunks.texts
    assert abs(count - share * len(chunks)) < 1
    found = pairs(mix, chunks, range(chunks.texts, len(chunks)))
    for read, wrote in found:
        prefix, first, second = read.split()
        assert prefix == "painter"
        number = 8 * FIRST.index(first) + SECOND.index(second)
        assert wrote == ("water", "bread")[number % 2]
    assert len(set(found[:ROWS])) == min(ROWS, count)  # each row before any again


def test_text_stays_as_it_was(text: TokenStore, file: Path) -> None:
    mixed, plain = mixture(settings(file)), parts.mixture("span_corruption", parts.model("t5"))
    assert mixed.room(48) == plain.room(48)
    chunks = [mix.cut(text, mix.room(48)) for mix in (mixed, plain)]
    count = len(chunks[1])
    assert pairs(mixed, chunks[0], range(count)) == pairs(plain, chunks[1], range(count))
    together = pairs(mixed, chunks[0], [0, count, 1, count + 1, 2])
    alone = [pairs(mixed, chunks[0], [n])[0] for n in (0, count, 1, count + 1, 2)]
    assert together == alone


def test_a_function_of_seed_and_epoch(text: TokenStore, file: Path) -> None:
    mix = mixture(settings(file))
    config = BatchConfig(size=8, micro_tokens=64)

    def written(seed: int, world: int, epoch: int) -> list[tuple[int, ...]]:
        batches = StoreBatches(text, mix, length=40, config=config, seed=seed)
        found = []
        for step in range(batches.steps(epoch)):
            for rank in range(world):
                for batch in batches.get(epoch, step, rank, world):
                    ends = np.cumsum(batch.decoder.lengths)[:-1]  # type: ignore[union-attr]
                    parts_ = np.split(batch.targets["written"].numpy(), ends)
                    found += [tuple(part.tolist()) for part in parts_]
        return sorted(found)

    assert written(1, 1, 0) == written(1, 2, 0)
    assert written(1, 1, 0) != written(1, 1, 1)
    assert written(1, 1, 0) != written(2, 1, 0)


def test_rows_held_out_are_not_trained_on(text: TokenStore, file: Path) -> None:
    mix = mixture(settings(file, share=0.5, held_out=0.3))
    read: dict[int, set[str]] = {}
    for epoch in (0, 1, HELD_OUT):
        chunks = mix.cut(text, mix.room(48), epoch=epoch)
        assert isinstance(chunks, Mixed)
        read[epoch] = {r for r, _ in pairs(mix, chunks, range(chunks.texts, len(chunks)), epoch)}
    assert read[0] | read[1]
    assert read[HELD_OUT]
    assert not read[HELD_OUT] & (read[0] | read[1])


def test_long_rows_are_cut(text: TokenStore, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text('{"source": "%s", "target": "%s"}\n' % (("river " * 80,) * 2), encoding="utf-8")
    mix = mixture({"data": str(path), "held_out": 0})
    batch = parts.batch(mix, text, length=32, indices=[0, len(mix.cut(text, mix.room(32))) - 1])
    assert batch.decoder is not None
    assert batch.lengths[1] == batch.decoder.lengths[1] <= 32
    assert batch.targets["written"][-1] == mix.model.tokenizer.eos_id


def test_batches_have_room_for_what_is_written(text: TokenStore, tmp_path: Path) -> None:
    path = tmp_path / "short-long.jsonl"
    row = '{"source": "river", "target": "%s"}\n' % ("water bread " * 12)
    path.write_text(row * 40, encoding="utf-8")
    mix = mixture({"data": str(path), "share": 0.5, "held_out": 0})
    chunks = mix.cut(text, mix.room(32))
    assert isinstance(chunks, Mixed)
    last = mix.batch(chunks, np.array([len(chunks) - 1]), Noise(0, 0))
    assert last.decoder is not None
    written = last.decoder.lengths[0]
    assert chunks.lengths[-1] == len(mix.model.tokenizer.pieces(["river"])[0]) + written
    config = BatchConfig(size=1000, micro_tokens=128)
    batches = StoreBatches(text, mix, length=32, config=config, seed=0).get(0, 0)
    sizes = [max(sum(b.lengths), sum(b.decoder.lengths)) for b in batches if b.decoder]
    assert max(sizes) <= 128 + 64


def test_numbers_are_written_as_digits_or_by_their_names(text: TokenStore, tmp_path: Path) -> None:
    path = tmp_path / "numbers.jsonl"
    path.write_text('{"source": "river", "target": 1}\n', encoding="utf-8")
    for names, wanted in (({"1": "bread"}, "bread"), ({}, "1")):
        mix = mixture({"data": str(path), "names": names, "held_out": 0})
        found = mix.parts[0].objective.examples.targets[0].tolist()
        end = mix.model.tokenizer.eos_id
        assert found == [*mix.model.tokenizer.pieces([wanted])[0].ids.tolist(), end]


def test_figures_apart(text: TokenStore, file: Path) -> None:
    mix = mixture([settings(file, share=0.2, held_out=0.5), settings(file, share=0.2, held_out=0)])
    unseen = held_out(text, mix, length=40, tokens=2000, config=BatchConfig())
    mix.model.eval()
    metrics = mix(unseen[0]).metrics
    both = [metrics[f"span_corruption_{name}_loss"] for name in ("text", "supervised")]
    whole = metrics["span_corruption_loss"]
    assert sum(total for total, _ in both) == pytest.approx(whole[0], rel=1e-4)
    assert sum(count for _, count in both) == whole[1]
    assert parts.learn(mix, text, steps=25)[-1] < 4.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "nowhere.csv"}, "nowhere.csv"),
        ({"source": "text"}, r"rows.csv, line 2: no column 'text'"),
        ({"target": "label"}, "no column 'label'"),
        ({"share": 1.5}, "share"),
        ({"sahre": 0.5}, "sahre"),
    ],
)
def test_mistakes(file: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        mixture(settings(file, **change))


def test_shares_leave_some_text(file: Path) -> None:
    with pytest.raises(UserError, match="no text"):
        mixture([settings(file, share=0.5), settings(file, share=0.5)])


def test_a_run(text: TokenStore, file: Path, tmp_path: Path) -> None:
    source = tmp_path / "text.txt"
    source.write_text("\n\n".join("\n".join(d) for d in parts.documents()) + "\n", encoding="utf-8")
    rows = tmp_path / "rows.csv"
    rows.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    spec = {"layers": 1, "decoder_layers": 1, "hidden": 32, "heads": 2, "head_size": 16}
    recipe = {
        "model": "t5-small", "spec": spec, "tokenizer": {"vocab_size": 200}, "length": 32,
        "data": {"text": str(source), "held_out": 0.2}, "out": str(tmp_path / "run"),
        "objectives": {"span_corruption": {"supervised": settings(rows, held_out=0.3)}},
        "train": {"steps": 2, "threads": 1, "precision": "fp32"},
    }  # fmt: skip
    result = pretrain(recipe)
    assert "span_corruption_supervised_accuracy" in result.metrics
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count("Tokens are those that the encoder reads.") == 2
    before = rows.read_text(encoding="utf-8")
    rows.write_text("review,stars\nother,1\n", encoding="utf-8")
    for _ in ("finished", "interrupted"):
        with pytest.raises(UserError, match="data have changed"):
            pretrain(recipe)
        (tmp_path / "run" / "results.json").unlink(missing_ok=True)
    rows.write_text(before, encoding="utf-8")
    assert not pretrain(recipe).earlier
    rows.unlink()  # results may outlive the data
    assert pretrain(recipe).earlier
