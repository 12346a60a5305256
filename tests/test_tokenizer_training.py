"""Learning tokenizers: the same every time, from many files, in bounded pieces, with clear mistakes."""

import gzip
import hashlib
import itertools
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import zstandard

import tokenizer_samples as samples
from jeoni.base.errors import UserError
from jeoni.data.prepare.document_lines import DocumentLines
from jeoni.text import unigram
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import train, train_wordpiece
from tokenizer_samples import ALL

LINES = [
    f"{a}{b} {c}고 the{b} {a}s. 학교에서" for a, b, c in itertools.product("가나다xyz", repeat=3)
]
IDS = [like for _, like in ALL]

SCRIPT = """
import hashlib, sys, tempfile
from pathlib import Path
sys.path.insert(0, {tests!r})
import tokenizer_samples as samples
from jeoni.text.training import train
kinds = [k for k in samples.ALL if k[0] != "morpheme"]
for kind, like in kinds:
    with tempfile.TemporaryDirectory() as folder:
        train(samples.SMALL, kind=kind, vocab_size=380, like=like, coverage=1.0).save(Path(folder))
        print(like, hashlib.sha256((Path(folder) / "tokenizer.json").read_bytes()).hexdigest())
"""


def test_other_processes_learn_the_same() -> None:
    """The library's hash tables have random seeds; Python's, too."""
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2", "3")
    ]  # fmt: skip
    assert runs[0] == runs[1] == runs[2]
    assert len({line.split()[1] for line in runs[0].splitlines()}) >= 11


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "bpe"])
def test_the_same_from_real_text(kind: str, tmp_path: Path) -> None:
    lines = [line for name in samples.CORPORA for line in samples.first_lines(name, 3_000)]
    digests = set()
    for number in range(3):
        folder = tmp_path / str(number)
        train(lines, kind=kind, vocab_size=6_000).save(folder)
        digests.add(hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize(("kind", "like"), ALL, ids=IDS)
def test_what_is_learned(kind: str, like: str, tmp_path: Path) -> None:
    tokenizer = samples.small(kind, like)
    assert tokenizer.vocab_size <= 600
    assert len(set(tokenizer.tokens)) == tokenizer.vocab_size, "ids without gaps"
    text = "한국 학교에 갔다 cafe the end"
    tokenizer.save(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    assert again.encode(text, text) == tokenizer.encode(text, text)
    assert again.tokens == tokenizer.tokens
    again.save(tmp_path / "again")
    for path in tmp_path.glob("*.*"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("kind", "like"), ALL, ids=IDS)
def test_decode(kind: str, like: str) -> None:
    text = "한국 학교에서 the cafe who"
    tokenizer = samples.small(kind, like)
    decoded = tokenizer.decode(tokenizer.encode(text).ids)
    assert unicodedata.normalize("NFC", decoded).strip() == text  # GPT-1 takes syllables apart


def test_frequent_pieces_are_learned() -> None:
    tokenizer = train_wordpiece(LINES, vocab_size=120)
    assert {"학교에서", "the", "##s", "##고"} <= set(tokenizer.tokens)
    assert tokenizer.tokens[:5] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert tokenizer.model_max_length == 512
    merged = train(LINES, kind="bpe", vocab_size=300, like="gpt1")
    assert merged.encode("s").tokens == ["s</w>"]
    assert len(merged.encode("학교에서").tokens) < len(unicodedata.normalize("NFD", "학교에서"))


def test_case_and_rare_characters() -> None:
    lines = ["Ab aB AB ab"] * 3_000 + ["漢"]
    assert {t.lower() for t in train_wordpiece(lines, vocab_size=30).tokens if len(t) == 1} == {
        "a",
        "b",
    }
    lower = train_wordpiece(lines, vocab_size=30, lowercase=True)
    assert lower.encode("AB").ids == lower.encode("ab").ids
    assert lower.unk_id in lower.encode("漢").ids
    everything = train(lines, kind="wordpiece", vocab_size=30, coverage=1.0)
    assert everything.unk_id not in everything.encode("漢").ids


def test_a_generator_will_do() -> None:
    once = train((line for line in LINES), kind="unigram", vocab_size=100)
    assert once.tokens == train(LINES, kind="unigram", vocab_size=100).tokens


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "wordpeice"}, "no kind 'wordpeice'"),
        ({"kind": "bpe", "like": "t5"}, r"like 't5' is not of kind 'bpe'\n.*roberta"),
        ({"kind": "bpe", "like": "gpt3"}, r"nothing|no tokenizer like 'gpt3'\n.*gpt2"),
        ({"kind": "bpe", "vocab_size": 200}, "take at least 262"),
        ({"kind": "unigram", "vocab_size": 5}, "leaves 0 tokens"),
        ({"kind": "syllable", "plain": True}, "jamo"),
        (
            {"kind": "bpe", "lowercase": True},
            r"like 'roberta' does not ignore case\n.*bert, .*xlnet",
        ),
        ({"kind": "unigram", "like": "t5", "lowercase": True}, "like 't5' does not ignore case"),
        ({"kind": "morpheme", "lowercase": True}, "'morpheme' does not ignore case"),
        ({"kind": "words", "texts": []}, "no text"),
        ({"kind": "jamo", "texts": ["\u200b", "\x01"]}, "no letter in the text"),
    ],
)
def test_mistakes(settings: dict[str, object], message: str) -> None:
    arguments = {"texts": LINES, "vocab_size": 300} | settings
    with pytest.raises(UserError, match=message):
        train(**arguments)  # type: ignore[arg-type]


def test_frequent_words_are_counted_though_the_table_was_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unigram, "_MOST_WORDS", 8)
    early = [f"early{n}" for n in range(8) for _ in range(2 + n // 4)]
    counts = unigram.count_words([*early, *["late"] * 50, *(f"once{n}" for n in range(7))])
    assert counts["late"] >= 48
    assert len(counts) <= 8
    tied = unigram.count_words(f"word{n}" for n in range(9) for _ in range(2))
    assert len(tied) >= 4, "half of the table stays, even where all words are as frequent"


# --- files ---


def test_corpus_of_many_files(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("둘\n\n  셋  \r\n", encoding="utf-8-sig")
    (tmp_path / "a.txt").write_text("하나", encoding="utf-8")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress("넷\n".encode()))
    (tmp_path / "d.txt.zst").write_bytes(zstandard.compress("다섯\n".encode()))
    corpus = DocumentLines([tmp_path / "*.txt", tmp_path / "c.txt.gz", f"{tmp_path}/d*"])
    assert list(corpus) == ["하나", "둘", "셋", "넷", "다섯"]
    assert list(corpus) == list(corpus), "it can be gone through again"


def test_long_lines_come_in_parts(tmp_path: Path) -> None:
    text = "가나다 " * 100_000
    (tmp_path / "long.txt").write_text(text, encoding="utf-8")
    parts = list(DocumentLines([tmp_path / "long.txt"]))
    assert max(map(len, parts)) <= 1 << 16
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_sample_is_even_and_repeatable(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("".join(f"{n}\n" for n in range(10_000)))
    corpus = DocumentLines([tmp_path / "n.txt"], sample=500)
    drawn = [int(line) for line in corpus]
    assert len(set(drawn)) == 500
    assert 4_500 < sum(drawn) / 500 < 5_500
    assert drawn == [int(line) for line in corpus]
    assert len(list(DocumentLines([tmp_path / "n.txt"], sample=20_000))) == 10_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.txt", None, r"no file .*no\.txt"),
        ("*.none", None, r"no file .*\*\.none"),
        ("cp949.txt", "한국\n".encode() + "한국".encode("cp949"), r"cp949\.txt, line 2: not UTF-8"),
        (
            "cut.txt.gz",
            gzip.compress(b"abc" * 1000, mtime=0)[:-20],
            r"cut\.txt\.gz: damaged or cut off",
        ),
        ("half.txt", "한국\n한".encode()[:-1], r"half\.txt, line 2: not UTF-8"),
        (".", None, "is a folder"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(DocumentLines([tmp_path / name]))


def test_wordpiece_knows_every_character_wherever_it_is() -> None:
    """Also one that is only inside of words and never merged: no text learned from is unknown."""
    texts = ["이야기가 엉성하다", "my July of 1900", "thirty", "명작과 졸작"]
    learned = train_wordpiece(texts, vocab_size=200)
    for text in texts:
        assert "[UNK]" not in learned.encode(text).tokens
