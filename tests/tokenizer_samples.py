"""Texts and small tokenizers that several tokenizer tests share."""

import functools
import itertools
import unicodedata
from pathlib import Path

import pytest

from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import train

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["cafe", "##teria", "who", "한국", "##어", "café", "istanbul", "strasse", "漢"]
# Characters that normalizers treat in all their ways: dropped, composed, grown, split off.
TRICKY = (
    "abcéİIıßẞΣσςÅǅŉΐﬁ½①𝔘ＡＢ１.!-_ \t\r\n\u00a0\u3000\x00\x07\u200b\u200d\ufe0f\ufeff\ufffd"
    "\u0301\u0302\u0323\u0307\u0345\u20e3한국\u1112\u1161\u11abㅋㅏ漢字👨👩❤กนิが゛カ\u3099ｶﾞ`'"
)
# Learned from: enough for a few merges of everything above.
SMALL = [
    "한국어를 배우는 사람은 한국에 갔다. 학교에서 한국 음식을 먹었다!",
    "the cafeteria who istanbul strasse the other cafe - the end. ab abc aabbcc",
    "漢字と カタカナ, ＡＢ１ full-width ㅋㅋㅋ ㅏㅏ 👨👩 ❤ กนิ",
    *(TRICKY[i : i + 7] for i in range(len(TRICKY))),
] * 3

SHARED = Path(__file__).parents[1].parent / "shared" / "data"
CORPORA = ["corpus-ko/kowiki.txt.zst", "corpus-en/enwiki.txt.zst"]

# Every kind, as (kind, like).
ALL = [
    ("wordpiece", "bert"),
    ("wordpiece", "electra"),
    ("wordpiece", "distilbert"),
    ("bpe", "roberta"),
    ("bpe", "bart"),
    ("bpe", "gpt2"),
    ("bpe", "gpt1"),
    ("unigram", "xlm-roberta"),
    ("unigram", "albert"),
    ("unigram", "xlnet"),
    ("unigram", "t5"),
    ("syllable", "syllable"),
    ("jamo", "jamo"),
    ("morpheme", "morpheme"),
    ("words", "words"),
]
PUBLISHED = ALL[:11]


@functools.cache
def small(kind: str, like: str, normalize: str = "none", lowercase: bool = False) -> Tokenizer:
    """A tokenizer of a kind, learned from a few lines."""
    if kind == "morpheme":
        pytest.importorskip("kiwipiepy", reason="the extra 'korean' is not installed")
    return train(
        SMALL, kind=kind, vocab_size=600, like=like, coverage=1.0,
        normalize=normalize, lowercase=lowercase,
    )  # fmt: skip


def alphabet() -> list[str]:
    """Every character of ``TRICKY`` in every form that a normalizer can give it."""
    forms = {f for c in TRICKY for f in (c, c.lower(), unicodedata.normalize("NFD", c))}
    forms |= {form.lower() for form in forms} | set(map(chr, range(0x21, 0x7F)))
    return sorted({c for form in forms for c in form if not c.isspace() and c.isprintable()})


def write_vocab(path: Path) -> Path:
    """A WordPiece ``vocab.txt`` with the alphabet and a few words."""
    letters = alphabet()
    lines = [*SPECIAL, *letters, *(f"##{c}" for c in letters), *WORDS]
    path.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)), encoding="utf-8")
    return path


def first_lines(name: str, count: int, *, skip: int = 0) -> list[str]:
    """Lines of a corpus beside the repository."""
    import zstandard

    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no corpus {name} beside the repository")
    with zstandard.open(path, "rt", encoding="utf-8") as stream:
        return [line.rstrip("\n") for line in itertools.islice(stream, skip, skip + count)]


def cut(tokenizer: Tokenizer, text: str) -> list[tuple[str, str]]:
    """Tokens of a text and the characters that they came from."""
    (piece,) = tokenizer.pieces([text])
    names = [tokenizer.tokens[number] for number in piece.ids]
    return [(n, text[a:b]) for n, (a, b) in zip(names, piece.offsets.tolist(), strict=True)]
