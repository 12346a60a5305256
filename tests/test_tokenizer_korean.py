"""Korean kinds: syllables, jamo, morphemes; and words."""

import unicodedata
from pathlib import Path

import pytest

import tokenizer_samples as samples
from jeoni.base.errors import UserError
from jeoni.text import morphemes
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import train
from tokenizer_samples import SPECIAL, cut


def syllables(folder: Path, blank: str = " ") -> Tokenizer:
    lines = [*SPECIAL, blank, *"나는걸어가고있중입니다.A"]
    (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return Tokenizer.from_folder(folder, "syllable")


# --- syllables ---


@pytest.mark.parametrize("blank", [" ", "_", "▁"])
def test_syllables_as_in_kocharelectra(tmp_path: Path, blank: str) -> None:
    tokenizer = syllables(tmp_path, blank)
    text = "나는 걸어가고 있는 중입니다."
    assert tokenizer.encode(text).tokens == ["[CLS]", *text.replace(" ", blank), "[SEP]"]
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.encode(text, "나").segments[-2:] == [1, 1]


@pytest.mark.parametrize("text", ["", " 나는\t걸어  가고 \n", "나는\u3000中国 A!", "가\u00a0나"])
def test_syllables_are_what_the_published_code_gives(tmp_path: Path, text: str) -> None:
    """Blanks are joined, those at the ends dropped, characters looked up one by one."""
    tokenizer = syllables(tmp_path)
    vocab = {token: number for number, token in enumerate(tokenizer.tokens)}
    expected = [vocab.get(char, vocab["[UNK]"]) for char in " ".join(text.split())]
    assert tokenizer.pieces([text])[0].ids.tolist() == expected


def test_a_blank_in_the_vocabulary_tells(tmp_path: Path) -> None:
    tokenizer = syllables(tmp_path)
    text = "나는 걸어가고 있는 중"
    for folder in (tmp_path, tmp_path / "vocab.txt"):
        read = Tokenizer.from_folder if folder.is_dir() else Tokenizer.from_vocab
        assert read(folder).encode(text) == tokenizer.encode(text)  # type: ignore[operator]


def test_syllables_of_the_teaching_format(tmp_path: Path) -> None:
    """One syllable a token and ``_`` for a blank: the same count, so the indices hold."""
    tokenizer = syllables(tmp_path, "_")
    tokens = [*"나는_걸어가고_있는_중"]
    text = "".join(tokens).replace("_", " ")
    (piece,) = tokenizer.pieces([text])
    assert [tokenizer.tokens[i] for i in piece.ids] == tokens
    assert piece.offsets.tolist() == [[i, i + 1] for i in range(len(tokens))]


def test_decomposed_syllables(tmp_path: Path) -> None:
    text = unicodedata.normalize("NFD", "나는 중")
    assert cut(syllables(tmp_path), text) == [
        ("나", text[:2]), ("는", text[2:5]), (" ", " "), ("중", text[6:]),
    ]  # fmt: skip


def test_syllable_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = syllables(tmp_path, "_")
    tokenizer.save(tmp_path / "saved")
    again = Tokenizer.from_folder(tmp_path / "saved")
    text = "나는 걸어가고  漢 [MASK] 있다"
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert tokenizer.encode(text).ids == again.encode(text).ids == theirs(text)["input_ids"]
    (tmp_path / "saved" / "tokenizer.json").unlink()
    assert Tokenizer.from_folder(tmp_path / "saved").encode(text).ids == again.encode(text).ids


# --- jamo ---


def test_jamo_have_the_place_of_their_syllable() -> None:
    tokenizer = train(["각 나 달"], kind="jamo", vocab_size=40, plain=True, coverage=1.0)
    assert cut(tokenizer, "각 나") == [
        ("▁", ""), ("ᄀ", "각"), ("\u1161", "각"), ("\u11a8", "각"),
        ("▁", " "), ("ᄂ", "나"), ("\u1161", "나"),
    ]  # fmt: skip
    assert tokenizer.decode(tokenizer.encode("각 나").ids) == "각 나"


def test_jamo_pieces_cross_syllables() -> None:
    """The consonant that a tense adds stays with its verb: one piece in ``갔다`` and ``왔다``."""
    past, plain = "갔 났 샀 잤 찼 탔 팠 했 밨 맜 닸 랐", "가 나 사 자 차 타 파 하 바 마 다 라"
    lines = [f"{stem}다" for stem in past.split()] + [f"{stem}고" for stem in plain.split()]
    tokenizer = train(lines, kind="jamo", vocab_size=25, coverage=1.0)
    assert tokenizer.encode("갔다").tokens[-2] == "\u11bb\u1103\u1161"  # ㅆ다
    assert cut(tokenizer, "갔다")[-1][1] == "갔다", "its place is both syllables"


# --- morphemes ---


@pytest.fixture
def kiwi() -> None:
    pytest.importorskip("kiwipiepy", reason="the extra 'korean' is not installed")


@pytest.mark.usefixtures("kiwi")
def test_cut_at_morphemes() -> None:
    text = "학교에서 한국어를 배웠다."
    ((marked, marks),) = morphemes.cut([text])
    assert marked.split(morphemes.MARK) == ["학교", "에서 한국어", "를 배웠", "다", "."]
    assert [marked[place] for place in marks] == [morphemes.MARK] * 4
    plain = [(marked.index(c), marked.index(c) + 1) for c in "어를다"]
    assert [text[a:b] for a, b in morphemes.original(plain, marks)] == ["어", "를", "다"]


@pytest.mark.usefixtures("kiwi")
def test_no_piece_crosses_a_morpheme() -> None:
    tokenizer = samples.small("morpheme", "morpheme")
    text = "한국에 간 사람은 학교에서 음식을 먹었다!"
    ((_, marks),) = morphemes.cut([text])
    bounds = {0, len(text)} | {place - number for number, place in enumerate(marks)}
    assert len(bounds) > 8
    ends = {end for _, end in tokenizer.pieces([text])[0].offsets.tolist()}
    starts = {start for start, _ in tokenizer.pieces([text])[0].offsets.tolist()}
    assert bounds - {0} <= ends
    assert bounds - {len(text)} <= starts


@pytest.mark.usefixtures("kiwi")
def test_long_text_is_analyzed_in_parts() -> None:
    text = "학교에서 배웠다. " * 600 + "가나다라" * 1_500
    ((marked, marks),) = morphemes.cut([text])
    assert marked.replace(morphemes.MARK, "") == text
    assert len(marks) > 1_000


def test_without_the_analyzer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kiwipiepy", None)
    morphemes._analyzer.cache_clear()
    with pytest.raises(UserError, match=r"needs kiwipiepy\n.*jeoni\[korean\]"):
        train(["한국"], kind="morpheme", vocab_size=20)


# --- words ---


def test_words() -> None:
    tokenizer = train(
        ["The cat sat. 고양이, the dog!"], kind="words", vocab_size=30, lowercase=True
    )
    assert tokenizer.encode("the CAT, 고양이 cow").tokens == ["the", "cat", ",", "고양이", "[UNK]"]
    assert cut(tokenizer, "dog,cat") == [("dog", "dog"), (",", ","), ("cat", "cat")]
    assert tokenizer.tokens[:3] == ("[PAD]", "[UNK]", "the"), "the most frequent first"
