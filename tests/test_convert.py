"""``jeoni convert``: from whatever jeoni reads to today's layout, and nothing half-written."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import jeoni
import peers
import tiny
from jeoni.base.errors import UserError
from jeoni.models import convert as module
from jeoni.models import hub
from jeoni.models.convert import Conversion, convert
from jeoni.tasks import _find as tasks
from peers import WEIGHTS, assert_same_outputs, edit_weights, read_to_end

FAMILIES = peers.families()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A checkpoint as they were once: a pickle, gamma and beta, a buffer, the tied table twice."""
    folder = peers.write_checkpoint(tmp_path / "old")
    tensors = load_file(folder / WEIGHTS)
    aged = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for name, t in tensors.items()
    }  # fmt: skip
    aged["bert.embeddings.position_ids"] = torch.arange(20)[None]
    aged["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    aged["somebody.elses"] = torch.zeros(3)
    torch.save(aged, folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_old_names_and_pickles(old: Path, tmp_path: Path) -> None:
    before = content(old)
    done = jeoni.convert(old, tmp_path / "new")
    assert content(old) == before
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["config.json", WEIGHTS]
    assert dict(done.left_out) == {
        "bert.embeddings.position_ids": "computed, not learned",
        "cls.predictions.decoder.weight": "repeats the word table",
        "somebody.elses": "no part of this model reads it",
    }
    assert len(done.renamed) == 12
    name = "bert.encoder.layer.0.output.LayerNorm"
    assert (f"{name}.gamma", f"{name}.weight") in done.renamed
    written = load_file(tmp_path / "new" / WEIGHTS)
    assert written.keys() == {*done.kept, *(new for _, new in done.renamed)}
    assert done.parameters == sum(t.numel() for t in written.values())
    assert (done.family, done.architecture) == ("bert", "BertForPreTraining")
    assert any("somebody.elses" in note for note in done.notes)
    theirs, info = peers.reload(tmp_path / "new", "BertForPreTraining")
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same_outputs(read_to_end(tmp_path / "new"), theirs)


@pytest.mark.parametrize(("family", "architecture"), peers.architectures())
def test_of_every_family_nothing_is_lost(family: str, architecture: str, tmp_path: Path) -> None:
    """What ``transformers`` wrote is kept to the bit, and is what ``save`` writes."""
    data = FAMILIES[family]
    theirs = peers.make(data, architecture, peers.fit(peers.SMALL, data))
    theirs.save_pretrained(tmp_path / "theirs")
    done = convert(tmp_path / "theirs", tmp_path / "new")
    assert (done.architecture, done.renamed, done.notes) == (architecture, (), ())
    before, after = (load_file(tmp_path / part / WEIGHTS) for part in ("theirs", "new"))
    assert set(after) == set(done.kept) == before.keys() - {name for name, _ in done.left_out}
    assert all(torch.equal(before[name], after[name]) for name in after)
    hub.save(hub.load(tmp_path / "theirs"), tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / WEIGHTS)
    assert saved.keys() == after.keys()
    _, info = peers.reload(tmp_path / "new", architecture)
    assert set(info["missing_keys"]) <= peers.computed(theirs)
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]


@pytest.mark.parametrize(("windows", "architecture"), [((), "GPT2Model"), ((0, 4), "")], ids=str)
def test_what_jeoni_alone_reads_is_not_promised(
    windows: tuple[int, ...], architecture: str, tmp_path: Path
) -> None:
    """GPT-3 with bands: ``transformers`` would load it as GPT-2, and leave them out."""
    spec = replace(peers.fit(peers.SMALL, FAMILIES["gpt3"]), windows=windows)
    hub.create("gpt3", spec, tokenizer=None).save(tmp_path / "old")
    assert convert(tmp_path / "old", tmp_path / "new").architecture == architecture


def test_a_missing_prefix_is_put_right(tmp_path: Path) -> None:
    folder = peers.write_checkpoint(tmp_path / "old")
    edit_weights(folder, lambda t: {name.removeprefix("bert."): v for name, v in t.items()})
    done = convert(folder, tmp_path / "new")
    assert ("pooler.dense.weight", "bert.pooler.dense.weight") in done.renamed
    assert not done.left_out
    assert all(name.startswith(("bert.", "cls.")) for name in load_file(tmp_path / "new" / WEIGHTS))


# Types and shards


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_types(dtype: Any, tmp_path: Path) -> None:
    folder = peers.write_checkpoint(tmp_path / "old")
    done = convert(folder, tmp_path / "new", dtype=dtype)
    kind = getattr(torch, dtype)
    before, after = (load_file(tmp_path / part / WEIGHTS) for part in ("old", "new"))
    assert all(torch.equal(after[name], before[name].to(kind)) for name in before)
    assert dict(done.dtypes) == {dtype: len(before)}
    assert json.loads((tmp_path / "new/config.json").read_text())["torch_dtype"] == dtype
    theirs, _ = peers.reload(tmp_path / "new", "BertForPreTraining")
    assert {p.dtype for p in theirs.parameters()} == {kind}


def test_types_stay_as_they_are_stored(tmp_path: Path) -> None:
    folder = peers.write_checkpoint(tmp_path / "old")
    edit_weights(
        folder, lambda t: {n: v.bfloat16() if "LayerNorm" not in n else v for n, v in t.items()}
    )
    convert(folder, tmp_path / "new")
    before, after = (load_file(tmp_path / part / WEIGHTS) for part in ("old", "new"))
    assert {n: t.dtype for n, t in before.items()} == {n: t.dtype for n, t in after.items()}
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads((tmp_path / "new/config.json").read_text())["torch_dtype"] == "bfloat16"


def test_a_number_too_large_for_the_type_is_named(tmp_path: Path) -> None:
    folder = peers.write_checkpoint(tmp_path / "old")
    name = "bert.pooler.dense.bias"
    edit_weights(folder, lambda t: t[name].__setitem__(0, 1e5))
    with pytest.raises(UserError, match=f"{name} has values up to 1e.05, too large for float16"):
        convert(folder, tmp_path / "new", dtype="float16")
    assert not (tmp_path / "new").exists()
    convert(folder, tmp_path / "new", dtype="bfloat16")


def test_shards(tmp_path: Path) -> None:
    folder = peers.write_checkpoint(tmp_path / "old")
    done = convert(folder, tmp_path / "new", max_shard="20KB")
    names = sorted(done.files)
    assert len(names) > 3
    assert names[0] == f"model-00001-of-{len(names):05}.safetensors"
    assert all(
        len(load_file(tmp_path / "new" / n)) == 1 or size < 22_000 for n, size in done.files.items()
    )
    index = json.loads((tmp_path / "new/model.safetensors.index.json").read_text())
    before = load_file(folder / WEIGHTS)
    assert index["weight_map"].keys() == before.keys()
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in before.values())
    theirs, info = peers.reload(tmp_path / "new", "BertForPreTraining")
    assert not info["missing_keys"]
    assert_same_outputs(read_to_end(tmp_path / "new"), theirs)
    back = convert(tmp_path / "new", tmp_path / "one")  # and together again
    assert list(back.files) == [WEIGHTS]
    assert all(torch.equal(t, before[n]) for n, t in load_file(tmp_path / "one" / WEIGHTS).items())


@pytest.mark.parametrize(
    ("size", "expected"), [("5GB", 5 * 10**9), ("1.5 mb", 1_500_000), ("12", 12), (7, 7), ("3B", 3)]
)
def test_sizes(size: int | str, expected: int) -> None:
    assert module._bytes(size) == expected


# What else belongs to a model


def test_tokenizer_and_task_go_along(tmp_path: Path) -> None:
    model = tiny.model()
    model.settings = {"task": "span_qa"}
    model.save(tmp_path / "old")
    (tmp_path / "old/README.md").write_text("카드")
    (tmp_path / "old/training_args.bin").write_bytes(b"x")
    done = convert(tmp_path / "old", tmp_path / "new")
    assert {"tokenizer.json", "jeoni.json", "README.md"} <= set(done.copied)
    assert "training_args.bin" not in done.copied
    again = jeoni.load(tmp_path / "new")
    assert again.settings == {"task": "span_qa"}
    text = tiny.texts()[1]
    assert again.tokenizer.encode(text).ids == model.tokenizer.encode(text).ids
    assert (tmp_path / "new/README.md").read_text() == "카드"


def test_a_task_s_own_heads_go_along(tmp_path: Path) -> None:
    """Those, too, that only the task puts on: it would not answer without them."""
    kind, model = tasks.find("span_qa"), tiny.model()
    config = kind.config(max_length=64, stride=16, max_question=16, trim=3, answerability=True)
    model.settings = kind.task(model=model, config=config, seed=5).settings()
    model.save(tmp_path / "old")
    assert not convert(tmp_path / "old", tmp_path / "new").left_out
    old, new = (load_file(tmp_path / name / WEIGHTS) for name in ("old", "new"))
    assert {"heads.trim.weight", "heads.answerability.bias"} <= old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)
    both = [jeoni.answer(tmp_path / n, "Where?", "In Seoul.") for n in ("old", "new")]
    assert both[0] == both[1]


def test_one_s_own_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "examples")
    from test_modern_bert import make

    make().save_pretrained(tmp_path / "old")
    done = convert(tmp_path / "old", tmp_path / "new", family="modern_bert:FAMILY")
    assert done.architecture == "ModernBertModel"
    assert not done.left_out


# Where it is written


def test_nothing_is_written_over(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    peers.fresh("electra", "span").save(new)
    before = content(new)
    with pytest.raises(UserError, match=r"is not empty\n.*--force"):
        convert(old, new)
    assert content(new) == before
    (new / "notes.txt").write_text("mine")
    convert(old, new, force=True)
    assert hub.load(new).family.name == "bert"
    assert (new / "notes.txt").read_text() == "mine"
    convert(old, new, force=True, max_shard="20KB")
    assert not (new / WEIGHTS).exists()
    convert(old, new, force=True)
    assert not list(new.glob("model-*"))


def test_targets_that_are_refused(old: Path, tmp_path: Path) -> None:
    for target, message in (
        (old, "is where the checkpoint is"),
        (tmp_path, "is where the checkpoint is"),
        (old / "config.json", "is a file"),
    ):
        with pytest.raises(UserError, match=message):
            convert(old, target, force=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="no model"):
        convert(old, tmp_path / "photos", force=True)
    assert (tmp_path / "photos/1.jpg").exists()


def test_an_empty_folder_will_do(old: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    convert(old, tmp_path / "new")
    hub.load(tmp_path / "new")


@pytest.mark.parametrize("step", ["save_file", "write_json", "copyfile"])
@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        KeyboardInterrupt(),
    ],
    ids=["OSError", "SafetensorError", "KeyboardInterrupt"],
)
@pytest.mark.parametrize("again", [False, True])
def test_what_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException, again: bool
) -> None:
    tiny.model().save(tmp_path / "old")
    new = tmp_path / "new"
    if again:
        peers.fresh("electra", "span").save(new)
        before = content(new)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    target: dict[str, Any] = {
        "save_file": module.tensor_files, "write_json": module.files, "copyfile": shutil,
    }  # fmt: skip
    monkeypatch.setattr(target[step], step, fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else UserError
    with pytest.raises(expected):
        convert(tmp_path / "old", new, force=again)
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path)) == (["new", "old"] if again else ["old"])
    if again:
        assert content(new) == before


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"to": "onnx"}, "no layout named 'onnx'"),
    ({"dtype": "int8"}, "no type named 'int8'"),
    ({"max_shard": "much"}, "'much' is no size"),
    ({"max_shard": 0}, "'?0'? is no size"),
    ({"family": "nobody:FAMILY"}, "cannot import 'nobody'"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_mistakes(old: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        convert(old, tmp_path / "new", **changes)
    assert not (tmp_path / "new").exists()


def test_a_damaged_checkpoint_is_not_passed_on(tmp_path: Path) -> None:
    folder = peers.write_checkpoint(tmp_path / "old")

    def lose(tensors: dict[str, Tensor]) -> None:
        del tensors["bert.encoder.layer.1.output.dense.bias"]

    edit_weights(folder, lose)
    with pytest.raises(UserError, match=r"missing: encoder\.layer\.1\.output\.dense\.bias"):
        convert(folder, tmp_path / "new")
    save_file({}, folder / WEIGHTS)
    with pytest.raises(UserError, match="missing"):
        convert(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_on_the_command_line(old: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from jeoni.cli.main import app

    plain = CliRunner().invoke(app, ["convert", str(old), str(tmp_path / "a")])
    assert plain.exit_code == 0, plain.output
    for part in (
        "renamed: 12", "LayerNorm.gamma -> ", "somebody.elses: no part", "repeats the word table",
        "loads in transformers as BertForPreTraining",
    ):  # fmt: skip
        assert part in plain.output, part
    count = len(load_file(tmp_path / "a" / WEIGHTS))
    assert f"names: {count - 12} as they were, 12 new, 3 left out" in plain.output
    assert f"weights: {count} tensors, float32 as before; " in plain.output
    command = ["convert", str(old), str(tmp_path / "b"), "--dtype", "bfloat16", "--json"]
    found = json.loads(CliRunner().invoke(app, command).stdout)
    assert found["folder"] == str(tmp_path / "b")
    assert found["dtypes"] == {"bfloat16": len(found["kept"]) + 12}
    assert isinstance(jeoni.convert(old, tmp_path / "c"), Conversion)
    again = CliRunner().invoke(app, ["convert", str(tmp_path / "b"), str(tmp_path / "d")]).output
    assert f"weights: {count} tensors, bfloat16 as before; " in again
    command = ["convert", str(tmp_path / "b"), str(tmp_path / "e"), "--dtype", "float32"]
    assert (
        f"{count} tensors, now float32 (before: bfloat16)"
        in CliRunner().invoke(app, command).output
    )


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [("", "{tmp}", "model's name is empty"), (" ", "{tmp}", "model's name is empty"),
     ("{old}", "", "new folder's name is empty")],
)  # fmt: skip
def test_names_that_are_empty(
    source: str, target: str, message: str, old: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Not taken for the folder that one is in, even where that is a model."""
    monkeypatch.chdir(old)
    before = content(old)
    places = {"old": old, "tmp": tmp_path / "new"}
    with pytest.raises(UserError, match=message):
        convert(source.format(**places), target.format(**places))
    assert content(old) == before
    assert not (tmp_path / "new").exists()
