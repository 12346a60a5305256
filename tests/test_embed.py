"""``jeoni embed``: layers, pooling, words of every kind of model, files that are streamed, mistakes."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jeoni as package
import objective_parts as parts
import tiny
import vector_files as static
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.families.elmo import ORIGINAL
from jeoni.models.model import Model
from jeoni.recipes import embed as recipe
from jeoni.serving.vectors import embed, embed_words, read
from shell import Run

TEXTS = ["세종대왕은 1443년에 훈민정음을 만들었다.", "a wonderful film", "Seoul"]


@pytest.fixture(scope="module")
def four() -> Model:
    """A BERT of four layers."""
    model = tiny.model()
    return hub.create("bert", replace(model.spec, layers=4), tokenizer=model.tokenizer)


def elmo() -> Model:
    spec = replace(
        ORIGINAL, hidden=8, feed_forward=12, width=4, highways=1, filters=((1, 4), (2, 4))
    )
    return hub.create("elmo", spec, tokenizer=hub.own_family("elmo").open_tokenizer(Path(), spec))


def vectors_file(folder: Path) -> Path:
    static.word2vec_text(folder / "v.txt", static.WORDS, static.table())
    return folder / "v.txt"


MIXES: dict[str, Callable[[Any], Any]] = {
    "last": lambda s: s[-1],
    "second_to_last": lambda s: s[-2],
    "sum_last_four": lambda s: s[-4:].sum(0),
    "concat_last_four": lambda s: np.concatenate(s[-4:], -1),
    "scalar_mix": lambda s: s.mean(0),
    "all": lambda s: s.transpose(1, 0, 2),
}


@pytest.mark.parametrize("layers", list(MIXES))
def test_layers_are_those_of_hidden_states(four: Model, layers: Any) -> None:
    states = [MIXES[layers](array) for array in four.hidden_states(TEXTS)]  # [T, D]
    found = embed(four, TEXTS, layers=layers, tokens=12)
    assert np.allclose(found, np.stack([state.mean(0) for state in states]), atol=1e-5)
    for pooling, token in (("first", 0), ("last", -1)):
        found = embed(four, TEXTS, layers=layers, pooling=pooling)  # type: ignore[arg-type]
        assert np.allclose(found, np.stack([state[token] for state in states]), atol=1e-5)


@pytest.mark.parametrize("layers", ["last", "all"])
@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_words_are_pooled_from_their_pieces(four: Model, layers: Any, pooling: Any) -> None:
    found = embed_words(four, TEXTS, layers=layers, pooling=pooling)
    for text, own, states in zip(TEXTS, found, four.hidden_states(TEXTS), strict=True):
        state = MIXES[layers](states)
        offsets = four.tokenizer.encode(text).offsets
        wanted, place = [], 0
        for word in text.split():
            place = text.index(word, place)
            pieces = [
                i for i, (a, b) in enumerate(offsets) if b > a and place <= a < place + len(word)
            ]
            assert pieces
            place += len(word)
            rows = state[pieces]
            wanted.append({"mean": rows.mean(0), "first": rows[0], "last": rows[-1]}[pooling])
        assert np.allclose(own, np.stack(wanted), atol=1e-5)
    assert max(len(own) for own in found) == 4
    cut = [text.split() for text in TEXTS]
    for one, other in zip(
        found, embed_words(four, cut, layers=layers, pooling=pooling), strict=True
    ):
        assert np.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("family", ["electra", "gpt2", "albert", "t5", "bart", "xlnet"])
def test_every_family_has_vectors_of_words(family: str) -> None:
    model = parts.model(family)
    found = embed_words(model, TEXTS, pooling="last")
    assert [own.shape for own in found] == [(len(t.split()), model.spec.hidden) for t in TEXTS]
    alone = embed_words(model, TEXTS[1:2], pooling="last")[0]
    assert np.allclose(found[1], alone, atol=1e-5)
    assert np.abs(alone).sum(-1).min() > 0


def test_static_vectors_come_through_the_same_door(tmp_path: Path) -> None:
    table = dict(zip(static.WORDS, static.table(), strict=True))
    model = package.load(vectors_file(tmp_path))
    whole = embed_words(model, ["전이 학습", ["don't", "never-seen", ","]])
    assert np.allclose(whole[0], [table["전이"], table["학습"]])
    assert np.allclose(whole[1], [table["don't"], np.zeros(5), table[","]])  # words as they are
    assert read(model, ["전이 unseen", "학습 never"], per="word").missing == 2
    assert np.allclose(embed(model, ["the transfer"])[0], (table["the"] + table["transfer"]) / 2)
    assert embed(model, ["the"], layers="all").shape == (1, 1, 5)
    with pytest.raises(UserError, match="layers=second_to_last, but the model has 0 above"):
        embed(model, ["the"], layers="second_to_last")


def test_elmo_comes_through_the_same_door() -> None:
    model = elmo()
    words = ["전이", "학습", "!"]
    found = embed_words(model, [words], layers="all")[0]
    assert np.allclose(found, model.hidden_states([words])[0].transpose(1, 0, 2), atol=1e-5)
    # Of a text, a word is what stands between blanks: two tokens of the second.
    own = embed_words(model, ["전이 학습!"])[0]
    assert np.allclose(own[1], found[1:, -1].mean(0), atol=1e-5)
    with pytest.raises(UserError, match="layers=sum_last_four, but the model has 2 above"):
        embed(model, ["전이"], layers="sum_last_four")


def test_what_is_cut_or_lost_is_counted(four: Model) -> None:
    found = read(four, ["a " * 200, "a film"], per="word")
    limit = four.spec.positions - 2
    assert found.cut == 1
    assert found.missing == 200 - limit
    assert np.abs(found.vectors[0]).sum(-1).astype(bool).tolist() == [i < limit for i in range(200)]
    assert read(four, ["a film"], per="word", max_length=3).missing == 1
    assert read(four, [["a", "\u200b", "film"]], per="word").missing == 1


def test_a_text_alone_is_one_text(four: Model) -> None:
    assert np.array_equal(embed(four, "a film"), embed(four, ["a film"]))
    assert embed_words(four, "a film")[0].shape == (2, 32)


@pytest.mark.parametrize("text", [None, math.nan, ["a", 3]], ids=str)
def test_what_is_no_text(four: Model, text: Any) -> None:
    with pytest.raises(UserError, match=r"text 1: .* is neither a text nor a list of words"):
        embed(four, ["a", text])


def test_a_folder_does_too(four: Model, tmp_path: Path) -> None:
    four.save(tmp_path)
    assert np.allclose(package.embed(tmp_path, TEXTS), embed(four, TEXTS), atol=1e-5)
    (found,) = embed_words(str(tmp_path), ["a film"])
    assert np.allclose(found, embed_words(four, ["a film"])[0], atol=1e-5)


def test_vectors_of_length_one(four: Model) -> None:
    assert np.allclose(np.linalg.norm(embed(four, TEXTS, normalized=True), axis=-1), 1)
    assert embed(four, [], layers="all").shape == (0, 5, 32)


def columns(path: Path, *names: str) -> list[Any]:
    table = pq.read_table(path)
    assert not set(table.column_names) - {"example", "word", *names}
    return [np.stack([np.array(row) for row in table[name].to_pylist()]) for name in names]


@pytest.mark.parametrize("layers", ["last", "concat_last_four", "all"])
def test_files_have_what_python_gives(
    four: Model, tmp_path: Path, layers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "WINDOW", 20)  # several parts
    file = tiny.write_csv(tmp_path / "reviews.csv")
    texts = [text for text, _ in tiny.REVIEWS]
    per_text, per_word = embed(four, texts, layers=layers), embed_words(four, texts, layers=layers)
    rows = np.concatenate(per_word)
    for per, wanted in (("text", per_text), ("word", rows)):
        for end in ("npy", "parquet"):
            told = recipe.embed_file(
                four, file, tmp_path / f"{per}.{end}", text="review", per=per, layers=layers  # type: ignore[arg-type]
            )  # fmt: skip
            assert told["rows"] == len(wanted)
            assert told["texts"] == len(texts)
            assert told["shape"] == list(wanted.shape[1:])
        array = np.load(tmp_path / f"{per}.npy")
        assert array.dtype == np.float32
        assert np.allclose(array, wanted, atol=1e-5)
        names = [f"layer_{i}" for i in range(5)] if layers == "all" else ["vector"]
        found = np.stack(columns(tmp_path / f"{per}.parquet", *names), 1)
        assert np.allclose(found.reshape(wanted.shape), wanted, atol=1e-5)
    assert np.load(tmp_path / "word.words.npy").tolist() == [len(own) for own in per_word]
    table = pq.read_table(tmp_path / "word.parquet")
    assert table["word"].to_pylist() == " ".join(texts).split()
    numbers = [i for i, text in enumerate(texts) for _ in text.split()]
    assert table["example"].to_pylist() == numbers


def test_of_the_command_line(jeoni: Run, tiny_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("세종 B-PS\n대왕 I-PS\n\na O\nfilm O\n! O\n", encoding="utf-8")
    out = tmp_path / "v.parquet"
    done = jeoni(
        "embed", str(file), "--model", str(tiny_folder), "--per", "word", "--out", str(out)
    )
    assert done.status == 0, done.err
    assert done.out == f"5 vectors (32) of 2 texts: {out}\n"
    assert pq.read_table(out)["word"].to_pylist() == ["세종", "대왕", "a", "film", "!"]


@pytest.mark.parametrize(
    ("content", "options", "what"),
    [
        ([{"text": "a"}, {"text": " "}], [], "a.jsonl, line 2: column 'text' is empty"),
        ([{"text": "a"}, {"text": 3}], [], "a.jsonl, line 2: column 'text' is 3, where a text"),
        ([{"review": "a"}], [], "no column 'text'"),
        ([{"text": "a"}], ["--text", "review"], "no column 'review'"),
        ([{"tokens": ["a", ""]}], [], "column 'tokens' has an empty text"),
        ([{"tokens": []}], [], "column 'tokens' is empty"),
        ([{"text": "a"}], ["--layers", "sum_last_four"], "the model has 2 above the embeddings"),
        ([{"text": "a"}], ["--out", "v.txt"], "vectors are written to .parquet or .npy"),
        ([{"text": "a"}], ["--out", "."], "is a folder"),
        ([{"text": "a"}], ["--max-length", "2"], "leaves no room"),
        ([{"text": "a"}], ["--per", "token"], "'token' is not one of"),
        ([{"text": "a"}], ["--out", "a.jsonl/v.npy"], "cannot write a.jsonl/v.npy"),
    ],
    ids=["empty", "number", "no text", "no column", "empty word", "no words", "layers", "ending",
         "folder", "no room", "per", "not writable"],
)  # fmt: skip
def test_mistakes_are_told(
    jeoni: Run, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    content: list[Any], options: list[str], what: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    lines = (json.dumps(row) + "\n" for row in content)
    Path("a.jsonl").write_text("".join(lines), encoding="utf-8")
    done = jeoni("embed", "a.jsonl", "--model", str(tiny_folder), "--out", "v.npy", *options)
    assert done.status == 2
    assert what in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"]}), path)
    with pytest.raises(UserError, match=r"a\.parquet is a file that is read"):
        recipe.embed_file(tiny.model(), path, path)
    assert pq.read_table(path).column_names == ["text"]


def test_a_first_token_that_sees_no_other_is_no_text() -> None:
    model = parts.model("gpt2")
    with pytest.raises(UserError, match="pooling=first: the model's first token sees no other"):
        embed(model, TEXTS, pooling="first")
    assert embed_words(model, TEXTS, pooling="first")  # of a word, its first piece


def test_no_such_way() -> None:
    with pytest.raises(UserError, match="layers='lsat' is none"):
        embed(tiny.model(), ["a"], layers="lsat")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="pooling='max' is none"):
        embed(tiny.model(), ["a"], pooling="max")  # type: ignore[arg-type]
