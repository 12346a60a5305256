"""Tokenizer folders: read, written, and mistakes in them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer_samples as samples
from jeoni.base.errors import UserError
from jeoni.text.tokenizer import Tokenizer
from tokenizer_samples import SPECIAL


@pytest.fixture(scope="module")
def vocab_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_vocab(tmp_path_factory.mktemp("vocab") / "vocab.txt")


@pytest.fixture(scope="module")
def uncased(vocab_file: Path) -> Tokenizer:
    return Tokenizer.from_vocab(vocab_file)


def test_truncation_and_padding_in_the_file_are_off(vocab_file: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_vocab(vocab_file)
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    spec = json.loads(path.read_text("utf-8"))
    spec["truncation"] = {
        "max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right",
    }  # fmt: skip
    spec["padding"] = {
        "strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    path.write_text(json.dumps(spec), encoding="utf-8")
    again = Tokenizer.from_folder(tmp_path)
    for text in ("a", "a " * 20):
        assert again.encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip", [None, True, False])
def test_saved_folder_loads_everywhere(
    vocab_file: Path, tmp_path: Path, lowercase: bool, strip: bool | None
) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = Tokenizer.from_vocab(
        vocab_file, lowercase, strip_accents=strip, model_max_length=77
    )
    tokenizer.save(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    text = "Café 한국어 漢字 [MASK] \u4e00 ẞ"
    ids = tokenizer.encode(text).ids
    other = transformers.AutoTokenizer.from_pretrained(folder)
    assert (other(text)["input_ids"], other.model_max_length) == (ids, 77)
    assert other.mask_token_id == tokenizer.mask_id
    again = Tokenizer.from_folder(folder)
    assert (again.encode(text).ids, again.model_max_length) == (ids, 77)
    assert (folder / "vocab.txt").read_bytes() == vocab_file.read_bytes()
    (folder / "tokenizer.json").unlink()  # the vocabulary and the configuration are enough
    assert Tokenizer.from_folder(folder).encode(text).ids == ids
    saved = {path.name: path.read_bytes() for path in folder.iterdir()}
    again.save(folder)
    assert {name: (folder / name).read_bytes() for name in saved} == saved


def test_added_tokens_survive(vocab_file: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizer(vocab=str(vocab_file))
    theirs.add_special_tokens({"additional_special_tokens": ["[SLOT]"]})
    theirs.add_tokens(["신조어"])
    theirs.save_pretrained(tmp_path / "a")
    ours = Tokenizer.from_folder(tmp_path / "a")
    text = "who [SLOT] 신조어 cafe"
    ids = theirs(text)["input_ids"]
    assert ours.encode(text).ids == ids
    assert ours.vocab_size == len(theirs)
    ours.save(tmp_path / "b")
    assert Tokenizer.from_folder(tmp_path / "b").encode(text).ids == ids
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "b")(text)["input_ids"] == ids


def test_config_wins_over_tokenizer_json(vocab_file: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    Tokenizer.from_vocab(vocab_file).save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_lower_case": False}))
    ids = Tokenizer.from_folder(tmp_path).encode("İstanbul").ids
    assert ids == transformers.AutoTokenizer.from_pretrained(tmp_path)("İstanbul")["input_ids"]
    assert ids != Tokenizer.from_vocab(vocab_file).encode("İstanbul").ids


def test_freshly_trained_file_gets_a_template(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    trained = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    trainer = tokenizers.trainers.WordPieceTrainer(special_tokens=SPECIAL, show_progress=False)
    trained.train_from_iterator(["누구 누구야 who", "whoever"], trainer)
    trained.save(str(path))
    assert Tokenizer.from_folder(tmp_path).encode("who").tokens[::2] == ["[CLS]", "[SEP]"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_vocabulary_line_ends(tmp_path: Path, newline: str, encoding: str) -> None:
    """U+2028 and U+0085 are tokens of real vocabularies, not line ends."""
    tokens = [*SPECIAL, "\u2028", "\x85", "a"]
    data = newline.join(tokens).encode(encoding)  # no line end at the end
    (tmp_path / "vocab.txt").write_bytes(data)
    assert list(Tokenizer.from_folder(tmp_path).tokens) == tokens


GOOD = "\n".join([*SPECIAL, "a"])
MODEL = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
MODEL["max_input_chars_per_word"] = 100  # type: ignore[assignment]


def spec_with(vocab: Any) -> str:
    return json.dumps({"version": "1.0", "added_tokens": [], "model": MODEL | {"vocab": vocab}})


MISTAKES: list[tuple[str, dict[str, str | bytes], str]] = [
    ("nothing there", {}, r"no tokenizer in .*\n.*tokenizer.json, vocab.txt"),
    ("not json", {"tokenizer.json": "[PAD]\n"}, r"tokenizer.json, line 1, column 2: not valid"),
    ("cut short", {"tokenizer.json": '{"version": "1.0",\n "mod'}, r"tokenizer.json, line 2"),
    ("empty json", {"tokenizer.json": ""}, r"tokenizer.json, line 1"),
    ("a list", {"tokenizer.json": "[]"}, r"tokenizer.json: a mapping was expected"),
    ("no model", {"tokenizer.json": "{}"}, r"tokenizer.json: no vocabulary"),
    ("unknown model", {"tokenizer.json": '{"model": {"type": "X", "vocab": {"a": 0}}}'},
     r"tokenizer.json: not a usable tokenizer"),
    ("same id", {"tokenizer.json": spec_with({"[UNK]": 0, "[CLS]": 1, "[SEP]": 1})},
     r"'\[CLS\]' and '\[SEP\]' have the same id 1"),
    ("gap", {"tokenizer.json": spec_with({"[UNK]": 0, "[CLS]": 1, "[SEP]": 10**12})},
     r"id of '\[SEP\]' is 1000000000000"),
    ("no id", {"tokenizer.json": spec_with({"[UNK]": "x"})}, r"id of '\[UNK\]' is 'x'"),
    ("json without sep", {"tokenizer.json": spec_with({"[UNK]": 0, "[CLS]": 1})},
     r"tokenizer.json: no \[SEP\]"),
    ("empty vocab", {"vocab.txt": ""}, r"vocab.txt: the vocabulary is empty"),
    ("empty line", {"vocab.txt": "[UNK]\n\n[CLS]"}, r"vocab.txt, line 2: empty line"),
    ("line twice", {"vocab.txt": GOOD + "\nb\na\n"}, r"vocab.txt, line 8: 'a' is on line 6"),
    ("korean legacy encoding", {"vocab.txt": (GOOD + "\n한국").encode("cp949")},
     r"vocab.txt, line 7: not UTF-8"),
    ("utf-16", {"vocab.txt": GOOD.encode("utf-16")}, r"vocab.txt, line 1: not UTF-8"),
    ("binary", {"vocab.txt": bytes(range(256))}, r"vocab.txt, line 2: not UTF-8"),
    ("no unk", {"vocab.txt": "[CLS]\n[SEP]\na"}, r"vocab.txt: no \[UNK\]"),
    ("no cls", {"vocab.txt": "[UNK]\n[SEP]\na"}, r"vocab.txt: no \[CLS\]"),
    ("no sep", {"vocab.txt": "[UNK]\n[CLS]\na"}, r"vocab.txt: no \[SEP\]"),
    ("config not json", {"vocab.txt": GOOD, "tokenizer_config.json": "{"},
     r"tokenizer_config.json, line 1"),
    ("config a list", {"vocab.txt": GOOD, "tokenizer_config.json": "[1]"},
     r"tokenizer_config.json: a mapping was expected"),
    ("config wrong type", {"vocab.txt": GOOD, "tokenizer_config.json": '{"do_lower_case": "no"}'},
     r"tokenizer_config.json: do_lower_case is 'no'"),
    ("config token is no token", {"vocab.txt": GOOD, "tokenizer_config.json": '{"cls_token": [1]}'},
     r"cls_token is \[1\]"),
    ("config length is no number",
     {"vocab.txt": GOOD, "tokenizer_config.json": '{"model_max_length": "x"}'},
     r"tokenizer_config.json: model_max_length is 'x'"),
    ("config names a stranger", {"vocab.txt": GOOD, "tokenizer_config.json": '{"cls_token": "<s>"}'},
     r"cls_token '<s>' is not in the vocabulary"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "message"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_mistakes_are_named(tmp_path: Path, files: dict[str, str | bytes], message: str) -> None:
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        Tokenizer.from_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)


def paths_in(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Every place in nested mappings and lists."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield (*path, key)
        yield from paths_in(value[key], *path, key)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intact")
    (folder / "vocab.txt").write_text(GOOD)
    Tokenizer.from_folder(folder).save(folder)
    return folder


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_file_works_or_is_named(
    intact: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    contents = {
        name: json.loads((intact / name).read_text("utf-8"))
        for name in ("tokenizer.json", "tokenizer_config.json")
    }
    *path, key = data.draw(st.sampled_from([p for p in paths_in(contents) if len(p) > 1]))
    target = contents
    for step in path:
        target = target[step]
    if data.draw(st.booleans()):
        junk = [None, "x", 7, -1, 10**11, [], {}, [1], True, {"a": 1}, 1.5]
        target[key] = data.draw(st.sampled_from(junk))
    else:
        del target[key]
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    message = ""
    try:
        tokenizer = Tokenizer.from_folder(folder)
        tokenizer.encode("a b [SEP]", "")
        assert tokenizer.vocab_size < 100
    except UserError as error:
        message = str(error)
    assert not message or str(folder) in message


def test_missing_vocabulary_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*nowhere\.txt"):
        Tokenizer.from_vocab(tmp_path / "nowhere.txt")
