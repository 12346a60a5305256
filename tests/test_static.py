"""Static vectors: every file format byte for byte, unknown words, mistakes in files; as a model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import jeoni
import peers
import vector_files
from jeoni.base import files
from jeoni.base.batch import Batch
from jeoni.base.errors import UserError
from jeoni.data.record import Record
from jeoni.models import hub
from jeoni.models.config_file import read_spec, write_config
from jeoni.models.convert import convert
from jeoni.models.describe import describe
from jeoni.models.families import _vectors, static
from jeoni.models.families._subwords import Subwords, fnv
from jeoni.models.families.static import FAMILY, StaticSpec
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.tasks.classification import TASK
from shell import Run
from vector_files import FORMATS, WORDS, table

VALUES = table()
PARTS, SHORTEST, LONGEST = 11, 2, 4


def load(folder: Path, name: str = "glove.txt", **limits: Any) -> Model:
    FORMATS[name](folder / name, WORDS, VALUES)
    return static.load(folder / name, **limits) if limits else jeoni.load(folder / name)


def fasttext(folder: Path, **options: Any) -> tuple[Path, np.ndarray[Any, Any]]:
    values = table(len(WORDS) + options.get("parts", PARTS), seed=1)
    vector_files.fasttext_bin(folder / "x.bin", WORDS, values, **options)
    return folder / "x.bin", values


def signed_hash(text: str) -> int:
    """``Dictionary::hash`` of fastText: ``h = h ^ uint32_t(int8_t(str[i])); h = h * 16777619``."""
    h = np.uint32(2166136261)
    with np.errstate(over="ignore"):
        for byte in np.frombuffer(text.encode(), np.int8):
            h = np.uint32(h ^ np.uint32(np.int32(byte).astype(np.uint32))) * np.uint32(16777619)
    return int(h)


def vector(word: str, values: Any, shortest: int = SHORTEST, longest: int = LONGEST) -> Any:
    """``getWordVector`` of fastText, over the bytes of a word as its ``computeSubwords`` goes."""
    rows = [WORDS.index(word)] if word in WORDS else []
    full = f"<{word}>".encode()
    if word != "</s>":
        for i in range(len(full)):
            if full[i] & 0xC0 == 0x80:
                continue
            j, n = i, 1
            while j < len(full) and n <= longest:
                j += 1
                while j < len(full) and full[j] & 0xC0 == 0x80:
                    j += 1
                if n >= shortest and not (n == 1 and (i == 0 or j == len(full))):
                    part = full[i:j].decode()
                    rows.append(len(WORDS) + signed_hash(part) % (len(values) - len(WORDS)))
                n += 1
    return values[rows].mean(0) if rows else np.zeros(values.shape[1])


@pytest.mark.parametrize("name", FORMATS)
def test_states(name: str, tmp_path: Path) -> None:
    """Every format gives what was written, whatever the words."""
    model = load(tmp_path, name)
    (states,) = model.hidden_states([WORDS])
    assert states.shape == (1, len(WORDS), 5)
    assert states.dtype == np.float32
    assert np.allclose(states[0], VALUES, atol=0, rtol=1e-6)


def test_texts_are_cut_into_words(tmp_path: Path) -> None:
    text = "The 전이 학습, 1 unheard"
    (states,) = load(tmp_path).hidden_states([text])
    right = [0, 2, 3, 8, 7]
    assert np.array_equal(states[0][:5], VALUES[right])
    assert not states[0][5].any()
    encoding = load(tmp_path).tokenizer.encode(text)
    assert [text[a:b] for a, b in encoding.offsets] == ["The", "전이", "학습", ",", "1", "unheard"]


def test_text_is_in_lower_case_only_where_all_words_are(tmp_path: Path) -> None:
    FORMATS["glove.txt"](tmp_path / "a.txt", ["the", "The"], VALUES[:2])
    (states,) = jeoni.load(tmp_path / "a.txt").hidden_states(["The THE the"])
    assert np.array_equal(states[0], [VALUES[1], np.zeros(5), VALUES[0]])


@pytest.mark.parametrize(("shortest", "longest"), [(2, 4), (3, 6), (1, 1), (1, 3)])
def test_fasttext_words_are_means_of_their_parts(
    shortest: int, longest: int, tmp_path: Path
) -> None:
    path, values = fasttext(tmp_path, shortest=shortest, longest=longest)
    model = jeoni.load(path)
    words = [*WORDS, "전이학습", "transfers", "é́x", "q", "🙂🙂", "가"]
    (states,) = model.hidden_states([words])
    right = np.stack([vector(word, values, shortest, longest) for word in words])
    assert np.allclose(states[0], right, atol=1e-6)
    assert np.abs(states[0][len(WORDS) :]).sum(1).min() > 0


def test_fasttext_without_parts(tmp_path: Path) -> None:
    path, values = fasttext(tmp_path, parts=0, longest=0, shortest=0, labels=["__label__good"])
    (states,) = jeoni.load(path).hidden_states([[*WORDS, "unheard"]])
    assert np.allclose(states[0], np.vstack([values, np.zeros(5)]), atol=1e-6)


def test_old_supervised_files_have_no_parts(tmp_path: Path) -> None:
    path, values = fasttext(tmp_path, version=11, model=3)
    (states,) = jeoni.load(path).hidden_states([["the", "unheard"]])
    assert np.allclose(states[0], [values[0], np.zeros(5)], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "number"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)]
)
def test_hash_of_letters_is_fnv(text: str, number: int) -> None:
    """The published values of FNV-1a; beyond ASCII fastText's differs."""
    assert fnv(text.encode()) == number == signed_hash(text)
    assert fnv("한".encode()) == signed_hash("한")


def test_parts_of_a_word() -> None:
    """Bojanowski et al., 2017, section 3.2: those of three letters of "where"."""
    assert Subwords(0, 1, 3, 3).of("where") == ["<wh", "whe", "her", "ere", "re>"]
    assert Subwords(0, 1, 1, 2).of("가") == ["<가", "가", "가>"]
    assert Subwords(0, 1, 3, 6).of("</s>") == []


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("top", [1, 3, 99])
def test_only_the_first_words(name: str, top: int, tmp_path: Path) -> None:
    model = load(tmp_path, name, top=top)
    kept = min(top, len(WORDS))
    assert model.spec.vocab == kept + 1
    (states,) = model.hidden_states([WORDS])
    assert np.allclose(states[0][:kept], VALUES[:kept])
    assert not states[0][kept:].any()


def test_only_some_words(tmp_path: Path) -> None:
    model = load(tmp_path, words=["학습", "é", "nowhere"])
    assert model.spec.words == 2
    (states,) = model.hidden_states([["é", "학습", "the"]])
    assert np.array_equal(states[0], [VALUES[5], VALUES[3], np.zeros(5)])


def test_fasttext_with_limits(tmp_path: Path) -> None:
    path, values = fasttext(tmp_path)
    model = static.load(path, top=3)
    (states,) = model.hidden_states([["the", "전이"]])
    assert np.allclose(states[0], [vector("the", values), vector("전이", values)], atol=1e-6)
    assert model.spec.vocab == 3 + PARTS + 1
    closed = static.load(path, words=["전이", "unheard"])
    assert (closed.spec.vocab, closed.spec.parts) == (3, 0)
    (states,) = closed.hidden_states([["unheard", "전이", "the"]])
    right = [vector("unheard", values), vector("전이", values), np.zeros(5)]
    assert np.allclose(states[0], right, atol=1e-6)


def test_words_with_blanks_and_numbers_as_others_write_them(tmp_path: Path) -> None:
    """GloVe's largest files have the first; tabs, signs and exponents are in files of other tools."""
    lines = ["a 1 -2 3e-1", ". . . 4 5 6", "at me@home.kr +7 8. .9", "b\t1\t2\t3"]
    (tmp_path / "x.txt").write_text("\n".join(lines))
    (states,) = jeoni.load(tmp_path / "x.txt").hidden_states([["a", ". . .", "at me@home.kr", "b"]])
    assert np.allclose(states[0], [[1, -2, 0.3], [4, 5, 6], [7, 8, 0.9], [1, 2, 3]])


def test_large_files_are_read_in_blocks(tmp_path: Path) -> None:
    words = [f"w{n}" for n in range(20_001)]
    values = table(len(words), 2, seed=2)
    vector_files.word2vec_binary(tmp_path / "x.bin", words, values)
    (states,) = jeoni.load(tmp_path / "x.bin").hidden_states([words])
    assert np.array_equal(states[0], values)


@pytest.mark.parametrize("kind", ["plain", "parts"])
def test_gradients(kind: str, tmp_path: Path) -> None:
    """Of vectors that train: each row's is the sum over what it is in, divided by the parts there."""
    if kind == "plain":
        load(tmp_path)
        model = static.load(tmp_path / "glove.txt", trainable=True)
    else:
        model = static.load(fasttext(tmp_path)[0], trainable=True)
    rows = model.tokenizer.encode_words(["the", "전이", "the", "unheard"])  # type: ignore[attr-defined]
    factors = torch.randn(4, 5)
    (model.backbone.states(Batch.pack([rows]))[0] * factors).sum().backward()
    right = torch.zeros(model.spec.vocab, 5)
    for row, factor in zip(rows, factors, strict=True):
        parts = [row] if isinstance(row, int) else list(row)
        for part in parts:
            right[part] += factor / len(parts)
    gradient = model.backbone.embeddings.words.weight.grad
    assert torch.allclose(gradient, right, atol=1e-6)


def test_vectors_do_not_train_by_default(tmp_path: Path) -> None:
    assert not list(load(tmp_path).parameters())


@pytest.mark.parametrize("kind", ["plain", "parts"])
def test_packed_equals_one_by_one(kind: str, tmp_path: Path) -> None:
    model = load(tmp_path) if kind == "plain" else jeoni.load(fasttext(tmp_path)[0])
    sentences = [["the"], ["전이", "학습", "unheard-of"], ["a", "transfer"], ["</s>"]]
    together = model.hidden_states(sentences)
    for words, states in zip(sentences, together, strict=True):
        assert np.array_equal(states, model.hidden_states([words])[0])


def test_config_keeps_every_field_of_the_spec() -> None:
    odd = StaticSpec(
        vocab=19, hidden=5, width=5, words=7, parts=11, shortest=2, longest=4, lowercase=True,
        trainable=True, dropout=0.3, init_range=0.05, **{**static.FIXED, "layers": 0},
    )  # fmt: skip
    config = json.loads(json.dumps(write_config(hub.create("static", odd, tokenizer=None))))
    assert read_spec(FAMILY, config, "config.json") == odd


@pytest.mark.parametrize("kind", ["plain", "parts", "trainable"])
def test_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    if kind == "parts":
        model = jeoni.load(fasttext(tmp_path)[0])
    else:
        model = load(tmp_path, trainable=kind == "trainable")
    model.add_head("span", build_head("span", model, {}))
    model.save(tmp_path / "a")
    again = peers.read_to_end(tmp_path / "a")
    assert again.spec == model.spec
    assert again.heads.keys() == {"span"}
    assert not again.fresh
    words = [*WORDS, "unheard", "전이학습"]
    for first, second in zip(
        model.hidden_states([words]), again.hidden_states([words]), strict=True
    ):
        assert np.array_equal(first, second)
    assert again.hidden_states(["전이 학습."])[0].shape == (1, 3, 5)
    again.save(tmp_path / "b")
    for name in ("config.json", "model.safetensors", "words.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_classifier_learns_on_them(tmp_path: Path) -> None:
    """Text to rows to a mean to classes, by the task's own encoding; the vectors stay as they are."""
    model = jeoni.load(fasttext(tmp_path)[0])
    task = TASK.task(model=model, config=TASK.config(labels=("plus", "minus")))
    texts = [("전이 학습", 0), ("transfer the", 1), ("학습!", 0), ("don't", 1)]
    records = [
        Record({"text": text, "label": ("plus", "minus")[label]}, "test", n)
        for n, (text, label) in enumerate(texts)
    ]
    encoded = task.encode(records)
    assert encoded.features.ids.ndim == 2
    batch = encoded.features.batch(range(len(records)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
    before = model.backbone.embeddings.words.weight.clone()
    for _ in range(80):
        optimizer.zero_grad()
        loss = task(batch)
        loss.total.backward()
        optimizer.step()
    assert loss.metrics["accuracy"] == (4.0, 4.0)
    assert torch.equal(before, model.backbone.embeddings.words.weight)
    rows = [model.tokenizer.encode(text).ids for text, _ in texts]
    assert torch.equal(Batch.pack(rows).ids, batch.ids)


def test_described_in_numbers(tmp_path: Path) -> None:
    found = describe(load(tmp_path).save(tmp_path / "a"))
    p, m = found.parameters, found.memory
    assert (p.total, p.fixed, p.body, p.embedding, found.operations.body) == (55, 55, 55, 55, 0)
    assert (m.weights_fp32, m.gradients, m.optimizer) == (220, 0, 0)
    assert sum(row.parameters for row in found.parts) == 55
    assert [row.what for row in found.parts] == ["table, 11 x 5, does not train"]
    trained = describe(static.load(tmp_path / "glove.txt", trainable=True).save(tmp_path / "b"))
    assert (trained.parameters.total, trained.parameters.fixed) == (55, 0)
    assert trained.memory.gradients == 220


def test_shown_what_trains_and_what_does_not(jeoni: Run, tmp_path: Path) -> None:
    shown = jeoni("models", "show", str(load(tmp_path).save(tmp_path / "a"))).out
    assert "55 parameters, none of them trained" in " ".join(shown.split())
    assert "training, for each parameter" in shown


def edited(change: Any) -> Any:
    def write(path: Path) -> None:
        FORMATS["word2vec.txt"](path, WORDS, VALUES)
        path.write_bytes(change(path.read_bytes()))

    return write


def lines(change: Any) -> Any:
    return edited(lambda content: b"\n".join(change(content.split(b"\n"))))


def cut_binary(path: Path) -> None:
    FORMATS["word2vec.bin"](path, WORDS, VALUES)
    path.write_bytes(path.read_bytes()[:-30])


def broken_fasttext(cut: int | None = None, **options: Any) -> Any:
    def write(path: Path) -> None:
        made, _ = fasttext(path.parent, **options)
        path.write_bytes(made.read_bytes()[:cut])

    return write


MISTAKES: dict[str, tuple[Any, str]] = {
    "cut off at a line": (lines(lambda x: [*x[:6], b""]), "ends after 5 words, line 1 says 10"),
    "cut off in a line": (lines(lambda x: [*x[:6], x[6][:20]]), "line 7: 2 numbers, should be 5"),
    "too short a row": (lines(lambda x: [*x[:3], b"a 1 2 3 4", *x[3:]]), "line 4: 4 numbers"),
    "too long a row": (
        lines(lambda x: [*x[:3], b"a 1 2 3 4 5 6", *x[4:]]),
        "line 4: 6 numbers, should be 5",
    ),
    "more rows": (
        lines(lambda x: [*x[:11], b"a 1 2 3 4 5"]),
        "line 12: line 1 says that there are 10",
    ),
    "twice": (lines(lambda x: [*x[:9], x[3], *x[10:]]), "line 10: '전이' again, after line 4"),
    "no number": (lines(lambda x: [*x[:4], b"a 1 2 x 4 5", *x[5:]]), "line 5: 'x' is not a number"),
    "not finite": (lines(lambda x: [*x[:4], b"a 1 2 nan 4 5", *x[5:]]), "line 5: .* not finite"),
    "another encoding": (
        lines(lambda x: [*x[:4], "학습 1 2 3 4 5".encode("cp949"), *x[5:]]),
        "line 5: the word is not UTF-8",
    ),
    "no word": (lines(lambda x: [*x[:4], b" 1 2 3 4 5", *x[5:]]), "line 5: no word"),
    "an empty line": (lines(lambda x: [*x[:4], b"", *x[4:]]), "line 5: 0 numbers"),
    "no vectors": (lambda p: p.write_text("just a text\n"), "line 1: neither"),
    "nothing": (lambda p: p.write_text(""), "line 1: neither"),
    "a header only": (lambda p: p.write_text("3 4\n"), "ends after 0 words|cut off"),
    "binary, cut off": (cut_binary, "cut off or damaged in word 10 of 10"),
    "fastText, cut off early": (broken_fasttext(cut=30), "cut off .* in its first lines"),
    "fastText, cut off in the words": (
        broken_fasttext(cut=160),
        r"in word \d of 10 of its dictionary",
    ),
    "fastText, cut off in the table": (broken_fasttext(cut=500), "in row 0 of 21 of its table"),
    "fastText, quantized": (broken_fasttext(quantized=True), "a quantized model"),
    "fastText, a new version": (broken_fasttext(version=13), "version 13 of the format"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told(name: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.vec"
    write, says = MISTAKES[name]
    write(path)
    with pytest.raises(UserError, match=says) as caught:
        jeoni.load(path)
    assert str(path) in str(caught.value)


def test_a_cut_off_archive_is_told(tmp_path: Path) -> None:
    load(tmp_path, "glove.txt.gz")
    path = tmp_path / "glove.txt.gz"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=r"damaged or cut off|numbers, should be"):
        static.load(path)


def test_other_files_are_not_taken_for_vectors(tmp_path: Path) -> None:
    for name, content in (("a.txt", b"Some words in a text.\n"), ("b.bin", b"PK\3\4" + bytes(99))):
        (tmp_path / name).write_bytes(content)
        assert not _vectors.knows(tmp_path / name)
        with pytest.raises(UserError, match="is a file"):
            jeoni.load(tmp_path / name)


def test_words_that_do_not_belong_to_a_model_are_told(tmp_path: Path) -> None:
    load(tmp_path).save(tmp_path / "a")
    files.write_text(tmp_path / "a" / "words.txt", "one\ntwo\n")
    with pytest.raises(UserError, match=r"words.txt has 2 words, config.json says 10"):
        jeoni.load(tmp_path / "a")


def test_tokens_that_are_no_rows_are_told(tmp_path: Path) -> None:
    model = jeoni.load(fasttext(tmp_path)[0])
    with pytest.raises(UserError, match="input 0: a token without numbers"):
        model.hidden_states([[[1], []]])
    with pytest.raises(UserError, match="id 99 is outside the vocabulary"):
        model.hidden_states([[[1, 99]]])
    with pytest.raises(ValueError, match="some tokens are rows"):
        Batch.pack([[1, [2]]])  # type: ignore[list-item]


@pytest.mark.parametrize("kind", ["plain", "parts"])
def test_converted_to_a_folder(kind: str, tmp_path: Path) -> None:
    if kind == "plain":
        load(tmp_path)
    path = tmp_path / "glove.txt" if kind == "plain" else fasttext(tmp_path)[0]
    assert convert(path, tmp_path / "new").family == "static"
    assert convert(tmp_path / "new", tmp_path / "newer").copied == ("words.txt",)
    words = [[*WORDS, "unheard"]]
    right = jeoni.load(path).hidden_states(words)[0]
    for folder in ("new", "newer"):
        assert np.array_equal(jeoni.load(tmp_path / folder).hidden_states(words)[0], right)
