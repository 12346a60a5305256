"""Checkpoints that are damaged, dangerous, somewhere else, or not what config.json says."""

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import peers
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.heads import build_head
from jeoni.models.tensors import stored
from jeoni.models.where import resolve
from peers import WEIGHTS, assert_same_outputs, edit_config, edit_weights, read_to_end


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint that ``transformers`` wrote: BERT with both pretraining heads."""
    return peers.write_checkpoint(tmp_path / "checkpoint")


# Pickles


def to_pickle(folder: Path, value: Any, **options: Any) -> Path:
    (folder / WEIGHTS).unlink(missing_ok=True)
    torch.save(value, folder / "pytorch_model.bin", **options)
    return folder / "pytorch_model.bin"


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=str)
def test_plain_pickle_is_read(folder: Path, options: dict[str, Any]) -> None:
    right = hub.load(folder)
    to_pickle(folder, load_file(folder / WEIGHTS), **options)
    assert_same_outputs(read_to_end(folder), right, tolerance=1e-12)


def test_sharded_pickle_is_read(folder: Path) -> None:
    right, tensors = hub.load(folder), load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    parts = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
    for file, part in parts.items():
        torch.save({name: tensors[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert_same_outputs(read_to_end(folder), right, tolerance=1e-12)


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return (exec, (f"open({self.path!r}, 'w').write('caught')",))


@pytest.mark.parametrize("wrapped", ["torch zip", "torch legacy", "raw pickle"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(folder: Path, wrapped: str) -> None:
    victim = folder / "caught.txt"
    state = {**load_file(folder / WEIGHTS), "x": Trap(victim)}
    file = folder / "pytorch_model.bin"
    if wrapped == "raw pickle":
        (folder / WEIGHTS).unlink()
        file.write_bytes(pickle.dumps({"x": Trap(victim)}, protocol=2))
    else:
        to_pickle(folder, state, _use_new_zipfile_serialization=wrapped == "torch zip")
    with pytest.raises(UserError, match=r"pytorch_model\.bin: refused"):
        hub.load(folder)
    assert not victim.exists()
    if wrapped == "raw pickle":  # the trap does work on whoever unpickles it
        pickle.loads(file.read_bytes())
        assert victim.read_text() == "caught"


@pytest.mark.parametrize("value", [[torch.ones(2)], {"epoch": 3}, torch.ones(2)], ids=repr)
def test_a_pickle_of_something_else_is_refused(folder: Path, value: Any) -> None:
    to_pickle(folder, value)
    with pytest.raises(UserError, match="not a dictionary of tensors"):
        hub.load(folder)


# Damage


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
@pytest.mark.parametrize("file", [WEIGHTS, "pytorch_model.bin"])
def test_cut_off_weights(folder: Path, file: str, share: float) -> None:
    if file != WEIGHTS:
        to_pickle(folder, load_file(folder / WEIGHTS))
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=file):
        hub.load(folder)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=str)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pickles_with_wrong_bytes(folder: Path, options: dict[str, Any]) -> None:
    """Whatever is wrong: an error of the user's, or other numbers."""
    path = to_pickle(folder, {"weight": torch.ones(3, 4), "bias": torch.zeros(2)}, **options)
    whole, chance = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            stored(folder)
        except UserError:
            refused += 1
    assert refused > 50


def test_no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match="no weights in"):
        hub.load(folder)


def test_missing_and_misshaped_tensors_are_listed_together(folder: Path) -> None:
    def damage(tensors: dict[str, Tensor]) -> None:
        del tensors["bert.encoder.layer.1.output.dense.bias"]
        del tensors["bert.encoder.layer.0.attention.self.key.weight"]
        tensors["bert.embeddings.LayerNorm.weight"] = torch.ones(47)

    edit_weights(folder, damage)
    with pytest.raises(UserError) as caught:
        hub.load(folder)
    for part in (
        "missing: encoder.layer.1.output.dense.bias",
        "encoder.layer.0.attention.self.key.weight",
        "embeddings.LayerNorm.weight is [47], should be [48]",
        str(folder),
    ):
        assert part in str(caught.value)


def test_many_problems_are_cut_short(folder: Path) -> None:
    edit_weights(folder, lambda tensors: {"bert.x": torch.ones(1)})
    with pytest.raises(UserError, match="and 9 more"):
        hub.load(folder)


def test_config_and_weights_of_different_models(folder: Path) -> None:
    edit_config(folder, vocab_size=102)
    with pytest.raises(UserError, match=r"word_embeddings.weight is \[101, 48\].*\[102, 48\]"):
        hub.load(folder)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("cls.predictions.bias", [100]), ("cls.seq_relationship.weight", [3, 48])],
)
def test_misshaped_head(folder: Path, name: str, shape: list[int]) -> None:
    edit_weights(folder, lambda tensors: tensors.__setitem__(name, torch.ones(shape)))
    with pytest.raises(UserError, match="wrong shape: " + name):
        hub.load(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None], ids=str)
def test_weights_that_are_no_weights(folder: Path, value: float | None) -> None:
    """A run that diverged; or a quantized checkpoint, whose bytes would be taken for weights."""
    name = "encoder.layer.1.output.dense.weight"

    def spoil(tensors: dict[str, Any]) -> None:
        own = tensors[f"bert.{name}"]
        tensors[f"bert.{name}"] = own.fill_(value) if value is not None else own.to(torch.int8)

    edit_weights(folder, spoil)
    with pytest.raises(UserError, match=rf"{name} has NaN, infinite or whole numbers"):
        hub.load(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda own: own.to(torch.int8),
        lambda own: own[:, 1:],
        lambda own: own[1:],
        lambda own: own[0],
    ],
    ids=["type", "width", "height", "dimensions"],
)
def test_one_of_three_that_are_joined(folder: Path, damage: Any) -> None:
    """Queries, keys and values are one tensor here; numbers of another type would be taken for weights."""
    name = "bert.encoder.layer.0.attention.self.key.weight"
    edit_weights(folder, lambda old: {**old, name: damage(old[name]).contiguous()})
    with pytest.raises(UserError, match=rf"of one shape and type: .*{name.removeprefix('bert.')}"):
        hub.load(folder)


def test_a_transposed_tensor_of_three_dimensions(tmp_path: Path) -> None:
    data = peers.families()["gpt2"]
    hub.create("gpt2", peers.fit(peers.SMALL, data), tokenizer=None).save(tmp_path)
    name = "h.0.attn.c_attn.weight"
    edit_weights(tmp_path, lambda old: {**old, name: old[name][..., None]})
    with pytest.raises(UserError, match=f"wrong shape: {name}"):
        hub.load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), None], ids=str)
def test_a_head_beside_others_is_looked_at_too(value: float | None, tmp_path: Path) -> None:
    model = hub.create("bert", peers.fit(peers.SMALL, peers.families()["bert"]), tokenizer=None)
    model.add_head("question_span", build_head("question_span", model, {}))
    model.save(tmp_path)
    name = "heads.question_span.start.weight"

    def damage(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        own = tensors[name]
        bad = own.to(torch.int8) if value is None else torch.full_like(own, value)
        return {**tensors, name: bad}

    edit_weights(tmp_path, damage)
    with pytest.raises(UserError, match=f"{name} has NaN, infinite or whole numbers"):
        hub.load(tmp_path)


def test_unexpected_tensors_are_named(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.__setitem__("adapter.weight", torch.ones(1)))
    with pytest.warns(UserWarning, match=r"nothing reads: adapter\.weight"):
        hub.load(folder)


def test_a_promised_head_that_is_not_there_is_named(folder: Path) -> None:
    name = "cls.seq_relationship.bias"
    edit_weights(folder, lambda tensors: {k: v for k, v in tensors.items() if k != name})
    with pytest.warns(UserWarning, match=r"BertForPreTraining; missing: cls\.seq_relationship"):
        model = hub.load(folder)
    assert set(model.heads) == {"masked_lm"}


# config.json


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 50}, "hidden_size 50 is not a multiple of 3 heads"),
        ({"hidden_size": -48}, "hidden_size is -48, not a size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_attention_heads": True}, "num_attention_heads is True"),
        ({"vocab_size": 101.5}, "vocab_size is 101.5"),
        ({"intermediate_size": "40"}, "intermediate_size is '40'"),
        ({"max_position_embeddings": None}, "max_position_embeddings is None"),
        ({"layer_norm_eps": "1e-12"}, "layer_norm_eps is '1e-12'"),
        ({"layer_norm_eps": -1}, "layer_norm_eps is -1"),
        ({"classifier_dropout": "x"}, "classifier_dropout is 'x', not a probability"),
        ({"layer_norm_eps": float("inf")}, "layer_norm_eps is inf"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, not a size"),
        ({"vocab_size": 10**13}, "vocab_size is 10000000000000, not a size"),
        (
            {"vocab_size": 2**31, "hidden_size": 3 * 2**28},
            "config.json: a model that cannot be built",
        ),
        ({"hidden_dropout_prob": 1}, "hidden_dropout_prob is 1, not a probability"),
        ({"attention_probs_dropout_prob": -0.1}, "attention_probs_dropout_prob is -0.1"),
        ({"hidden_act": "gleu"}, "hidden_act is 'gleu', .*did you mean 'gelu'"),
        ({"hidden_act": ["gelu"]}, "hidden_act"),
        ({"is_decoder": "yes"}, "is_decoder is 'yes'"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        (
            {"model_type": "electr"},
            "config.json: there is no family named 'electr'\n.*mean 'electra'",
        ),
        ({"model_type": None}, "no 'model_type'"),
        ({"model_type": "json:dumps"}, "'json:dumps' is a path to code"),
        ({"id2label": {"a": "x"}}, "id2label has keys that are no numbers"),
    ],
    ids=lambda v: "-".join(f"{k}={x}" for k, x in v.items()) if isinstance(v, dict) else "",
)
def test_config_mistakes(folder: Path, values: dict[str, Any], message: str) -> None:
    edit_config(folder, **values)
    with pytest.raises(UserError, match=message):
        hub.load(folder)


@pytest.mark.parametrize("key", ["hidden_size", "vocab_size", "num_hidden_layers", "model_type"])
def test_config_without_a_key(folder: Path, key: str) -> None:
    edit_config(folder, remove=(key,))
    with pytest.raises(UserError, match=key):
        hub.load(folder)


def test_config_missing_keys_are_named_together(folder: Path) -> None:
    edit_config(folder, remove=("hidden_size", "vocab_size"))
    with pytest.raises(UserError, match=r"config\.json: missing vocab_size, hidden_size"):
        hub.load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'a': 1}", "line 1, column 2: not valid JSON"),
        ("", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ('"bert"', "not a JSON object"),
    ],
)
def test_config_that_is_no_object(folder: Path, text: str, message: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        hub.load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a JSON object"),
        ('"tagging"', "not a JSON object"),
        ('{"task": 5}', "'task' is 5, not a name"),
        ('{"task": null}', "'task' is None, not a name"),
    ],
)
def test_settings_that_are_none(folder: Path, text: str, message: str) -> None:
    (folder / "jeoni.json").write_text(text)
    with pytest.raises(UserError, match=rf"jeoni\.json: {message}"):
        hub.load(folder)
    hub.load(folder, init="random")


# Where a model is


def test_a_run_folder_means_its_model(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "run" / "model")
    assert resolve(tmp_path / "run") == tmp_path / "run" / "model"
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no model in"):
        resolve(tmp_path / "empty")
    with pytest.raises(UserError, match="is a file"):
        resolve(folder / WEIGHTS)
    with pytest.raises(UserError, match="no folder"):
        resolve(tmp_path / "a" / "b" / "c")


@pytest.fixture
def package(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An importable package with weights inside, and a secret beside it."""
    root = tmp_path / "site"
    shutil.copytree(folder, root / "weights_pkg" / "sub")
    (root / "weights_pkg" / "__init__.py").write_text("raise SystemExit('imported')")
    shutil.copytree(folder, root / "secret")
    monkeypatch.syspath_prepend(root)
    return "weights_pkg"


def test_package_without_importing_it(package: str) -> None:
    assert resolve(f"package:{package}/sub").name == "sub"
    with pytest.raises(UserError, match=r"no config\.json"):
        resolve(f"package:{package}")


@pytest.mark.parametrize("inside", ["../secret", "sub/../../secret", "/etc", "//etc"])
def test_package_paths_stay_inside(package: str, inside: str) -> None:
    with pytest.raises(UserError, match="leads out of the package"):
        resolve(f"package:{package}/{inside}")


@pytest.mark.parametrize(
    "name", ["no_such_package_at_all", "../x", "", "a.b", "json.decoder", "os"]
)
def test_package_that_is_none(name: str) -> None:
    with pytest.raises(UserError, match="no installed package"):
        resolve(f"package:{name}")


NO_HUB = """
import sys, time
from jeoni.base.errors import UserError
from jeoni.models.where import resolve
import huggingface_hub
for name in sys.argv[1:]:
    start = time.perf_counter()
    try:
        resolve(name)
    except UserError as error:
        print(f"{time.perf_counter() - start:.2f}", str(error).replace(chr(10), " | "))
"""


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:9", "http://jeoni-test.invalid", "https://10.255.255.1", "silent"],
)
def test_hub_id_without_network_is_one_clear_line_at_once(tmp_path: Path, endpoint: str) -> None:
    """Refused, unknown, swallowed, and a server that accepts and says nothing."""
    import socket

    with socket.socket() as server:
        if endpoint == "silent":
            server.bind(("127.0.0.1", 0))
            server.listen()
            endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "NO_PROXY": "*"}
        done = subprocess.run(
            [sys.executable, "-c", NO_HUB, "some-org/some-model"],
            env=environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    seconds, _, message = done.stdout.strip().partition(" ")
    assert message.startswith(
        "no folder 'some-org/some-model', and the model hub cannot be reached"
    )
    assert float(seconds) < 5
    assert not done.stderr


def test_hub_kept_off_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE keeps off the hub"):
        resolve("some-org/no-such-model")
