"""SentencePiece's own files, read and written without its runtime; and damaged ones."""

import io
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer_samples as samples
from jeoni.base.errors import UserError
from jeoni.text import sentencepiece as ours
from jeoni.text.tokenizer import Tokenizer

runtime = pytest.importorskip("sentencepiece", reason="to make real .model files with")
transformers = pytest.importorskip("transformers")

# How the published models were trained: which special tokens are pieces.
PUBLISHED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "xlm-roberta": ("XLMRobertaTokenizer", "sentencepiece.bpe.model", {}),
    "albert": (
        "AlbertTokenizer",
        "spiece.model",
        {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1,
         "control_symbols": ["[CLS]", "[SEP]", "[MASK]"]},
    ),
    "xlnet": (
        "XLNetTokenizer",
        "spiece.model",
        {"unk_id": 0, "bos_id": 1, "eos_id": 2,
         "control_symbols": ["<cls>", "<sep>", "<pad>", "<mask>", "<eod>"],
         "user_defined_symbols": ["<eop>", ".", "(", ")"]},
    ),
    "t5": ("T5Tokenizer", "spiece.model", {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}),
}  # fmt: skip


def trained(**settings: Any) -> bytes:
    """A model with SentencePiece's own normalization (NFKC and its treatment of blanks)."""
    out = io.BytesIO()
    defaults = {
        "vocab_size": 300,
        "hard_vocab_limit": False,
        "minloglevel": 2,
        "character_coverage": 1.0,
    }
    runtime.SentencePieceTrainer.train(
        sentence_iterator=iter(samples.SMALL), model_writer=out, **defaults | settings
    )
    return out.getvalue()


@pytest.mark.parametrize("like", PUBLISHED)
def test_model_files(tmp_path: Path, like: str) -> None:
    name, file, settings = PUBLISHED[like]
    (tmp_path / file).write_bytes(trained(**settings))
    theirs = getattr(transformers, name).from_pretrained(tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path, like)
    lines = [*samples.SMALL[:30], samples.TRICKY, "", "ｶﾞ ㋿ ﬁ ①", "``a'' <mask> [MASK] . (b) <eop>"]
    expected = theirs(lines)["input_ids"]
    assert [encoding.ids for encoding in tokenizer.encode_batch(lines)] == expected
    assert tokenizer.vocab_size == len(theirs)
    tokenizer.save(tmp_path / "saved")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert (type(again).__name__, again(lines)["input_ids"]) == (name, expected)
    # What is written is a model file again, for the runtime too.
    written = (tmp_path / "saved" / file).read_bytes()
    before = runtime.SentencePieceProcessor(model_proto=(tmp_path / file).read_bytes())
    after = runtime.SentencePieceProcessor(model_proto=written)
    assert after.encode(lines) == before.encode(lines)


def test_offsets_under_its_normalization(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(trained(pad_id=0, eos_id=1, unk_id=2, bos_id=-1))
    tokenizer = Tokenizer.from_folder(tmp_path, "t5")
    text = "ＡＢ１  \u1112\u1161\u11ab국 ｶﾞﾞ cafe\u0301 ﬁ"
    (piece,) = tokenizer.pieces([text])
    covered = {i for start, end in piece.offsets.tolist() for i in range(start, end)}
    assert covered >= {i for i, char in enumerate(text) if not char.isspace()}
    names = [tokenizer.tokens[number] for number in piece.ids]
    joined = [
        "".join(
            n
            for n, (a, b) in zip(names, piece.offsets.tolist(), strict=True)
            if lo <= a and b <= hi
        )
        for lo, hi in ((0, 3), (5, 9))
    ]
    assert [unicodedata.normalize("NFC", name).replace("▁", "") for name in joined] == [
        "AB1",
        "한국",
    ]


def test_roundtrip() -> None:
    pieces = [("<unk>", 0.0, ours.UNKNOWN), ("▁가", -1.5, ours.NORMAL), ("</s>", 0.0, ours.CONTROL)]
    model = ours.SentencePiece(pieces, b"\x01\x02" * 100)
    assert ours._parse(ours.write(model)) == (model, ours.UNIGRAM)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a SentencePiece model: no pieces"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a SentencePiece model"),
        (b"\x0a\xff\x01abc", "not a SentencePiece model: it ends in the middle"),
    ],
)
def test_what_is_no_model(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "spiece.model").write_bytes(content)
    with pytest.raises(UserError, match=f"spiece.model: {message}"):
        Tokenizer.from_folder(tmp_path, "t5")


def test_other_kinds_of_model(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(trained(model_type="bpe", vocab_size=400))
    with pytest.raises(UserError, match="SentencePiece model of the BPE kind"):
        Tokenizer.from_folder(tmp_path, "t5")


def test_nothing_says_of_which(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(trained())
    with pytest.raises(UserError, match=r"nothing says of which\n.*--like"):
        Tokenizer.from_folder(tmp_path)
    with pytest.raises(UserError, match=r"no \[CLS\] in the vocabulary\n.*is it albert"):
        Tokenizer.from_folder(tmp_path, "albert")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_model_is_read_or_named(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("▁a", -1.0, 1)]
    content = bytearray(ours.write(ours.SentencePiece(pieces, b"")))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "m.model").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    message = ""
    try:
        Tokenizer.from_folder(folder, "xlm-roberta").encode("a b")
    except UserError as error:
        message = str(error)
    assert not message or str(folder) in message
