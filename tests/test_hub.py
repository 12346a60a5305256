"""Checkpoints in Hugging Face layout: there and back, saving, labels, heads, fresh weights."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import peers
import tokenizer_samples as samples
from jeoni.base.errors import UserError
from jeoni.models import hub
from jeoni.models.heads import build_head
from jeoni.nn.heads import ClassificationHead, SpanHead
from jeoni.text import recipes
from jeoni.text.tokenizer import Tokenizer
from peers import WEIGHTS, assert_same_outputs, edit_config, edit_weights, fresh, read_to_end

FAMILIES = peers.families()
RECIPES = {recipe.name: recipe for recipe in recipes.ALL if not recipe.own}
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"##{c}" for c in "abcdefgh")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint that ``transformers`` wrote: BERT with both pretraining heads."""
    return peers.write_checkpoint(tmp_path / "checkpoint")


# There and back


@pytest.mark.parametrize(("family", "architecture"), peers.architectures())
def test_what_transformers_wrote_comes_back_the_same(
    family: str, architecture: str, tmp_path: Path
) -> None:
    theirs = peers.make(FAMILIES[family], architecture, peers.fit(peers.SMALL, FAMILIES[family]))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = read_to_end(tmp_path / "theirs")
    assert not ours.fresh
    ours.save(tmp_path / "ours")

    config = json.loads((tmp_path / "ours/config.json").read_text())
    assert config["architectures"] == [architecture]
    before, after = (load_file(tmp_path / part / WEIGHTS) for part in ("theirs", "ours"))
    computed = peers.computed(theirs)
    assert before.keys() - computed == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in after)
    again, info = peers.reload(tmp_path / "ours", architecture)
    assert set(info["missing_keys"]) <= computed
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert_same_outputs(again, theirs, tolerance=1e-7)


@pytest.mark.parametrize(("family", "architecture"), peers.architectures())
def test_what_we_draw_loads_in_transformers(family: str, architecture: str, tmp_path: Path) -> None:
    """Also with three classes."""
    kinds = sorted(peers.kinds_of(FAMILIES[family], architecture))
    ours = fresh(family, *kinds, width=20)
    ours.save(tmp_path)
    theirs, info = peers.reload(tmp_path, architecture)
    assert {p.dtype for p in theirs.parameters()} == {torch.float32}
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    computed = tuple(FAMILIES[family].ignored)
    assert all("pooler" in key or key.endswith(computed) for key in info["missing_keys"])
    assert_same_outputs(ours, theirs)
    assert_same_outputs(read_to_end(tmp_path), ours, tolerance=1e-12)


def test_auto_classes_find_their_way(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    ours = fresh("electra", "classification")
    ours.save(tmp_path)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert_same_outputs(ours, theirs.eval())


def test_prefix_or_not(folder: Path, tmp_path: Path) -> None:
    """A body on its own has no prefix; the pooler is kept either way."""
    theirs = peers.make(FAMILIES["bert"], "BertModel", peers.SMALL)
    theirs.save_pretrained(tmp_path / "bare")
    names = load_file(tmp_path / "bare" / WEIGHTS)
    assert not any(name.startswith("bert.") for name in names)
    bare = read_to_end(tmp_path / "bare")

    shutil.copytree(tmp_path / "bare", tmp_path / "prefixed")
    edit_weights(tmp_path / "prefixed", lambda t: {f"bert.{k}": v for k, v in t.items()})
    assert_same_outputs(read_to_end(tmp_path / "prefixed"), bare, tolerance=1e-12)
    for model in (bare, read_to_end(tmp_path / "prefixed")):
        model.save(tmp_path / "again")
        again, info = peers.reload(tmp_path / "again", "BertModel")
        assert not info["missing_keys"]
        assert torch.equal(again.pooler.dense.weight, theirs.pooler.dense.weight)


def test_a_pooler_goes_on_to_the_new_head(tmp_path: Path) -> None:
    theirs = peers.make(FAMILIES["bert"], "BertModel", peers.SMALL)
    theirs.save_pretrained(tmp_path)
    model = hub.load(tmp_path)
    head = model.add_head("classification", build_head("classification", model, CLASSES_3))
    assert torch.equal(head.dense.weight, theirs.pooler.dense.weight)  # type: ignore[union-attr,arg-type]
    assert model.fresh == {"heads.classification.out.weight", "heads.classification.out.bias"}


CLASSES_3 = {"out.weight": torch.empty(3, 48)}


def test_legacy_names(folder: Path) -> None:
    """TensorFlow's gamma and beta, and the buffer of position ids."""
    right = hub.load(folder)

    def age(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        old = {
            k.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): v
            for k, v in tensors.items()
        }
        assert sum(k.endswith(("gamma", "beta")) for k in old) == 12
        return old | {"bert.embeddings.position_ids": torch.arange(20)[None]}

    edit_weights(folder, age)
    assert_same_outputs(read_to_end(folder), right, tolerance=1e-12)


def test_tied_weights_in_the_file_are_no_surprise(folder: Path) -> None:
    right = hub.load(folder)

    def untie(tensors: dict[str, Tensor]) -> None:
        words = tensors["bert.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.weight"] = words
        tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]

    edit_weights(folder, untie)
    assert_same_outputs(read_to_end(folder), right, tolerance=1e-12)


def test_a_vocabulary_head_of_its_own(tmp_path: Path) -> None:
    """``tie_word_embeddings`` false: kept, also where it equals the word table; else it is that table."""
    spec = replace(peers.SMALL, tied=False)
    theirs = peers.make(FAMILIES["bert"], "BertForMaskedLM", spec)
    theirs.save_pretrained(tmp_path / "own")
    ours = hub.load(tmp_path / "own")
    assert_same_outputs(ours, theirs)
    ours.save(tmp_path / "again")
    assert_same_outputs(peers.reload(tmp_path / "again", "BertForMaskedLM")[0], theirs, 1e-7)

    def repeat(tensors: dict[str, Tensor]) -> None:
        words = tensors["bert.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.weight"] = words

    edit_weights(tmp_path / "again", repeat)
    equal = hub.load(tmp_path / "again")
    assert "out.weight" in dict(equal.heads["masked_lm"].named_parameters())
    edit_config(tmp_path / "own", tie_word_embeddings=True)
    with pytest.warns(UserWarning, match="config.json ties"):
        tied = hub.load(tmp_path / "own")
    edit_weights(tmp_path / "own", lambda t: {k: v for k, v in t.items() if "decoder" not in k})
    assert_same_outputs(tied, peers.reload(tmp_path / "own", "BertForMaskedLM")[0])


def test_sharded_safetensors(tmp_path: Path) -> None:
    theirs = peers.make(FAMILIES["bert"], "BertForPreTraining", peers.SMALL)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 3
    assert not (tmp_path / WEIGHTS).exists()
    assert_same_outputs(read_to_end(tmp_path), theirs)
    gone = min(tmp_path.glob("model-*.safetensors"))
    gone.unlink()
    with pytest.raises(UserError, match=f"{gone.name}, which is not there"):
        hub.load(tmp_path)


def test_a_shard_outside_the_folder_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / WEIGHTS)
    index = {"weight_map": {"bert.x": f"../{WEIGHTS}"}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="outside the folder"):
        hub.load(folder)
    (folder / f"{WEIGHTS}.index.json").write_text("[]")
    with pytest.raises(UserError, match="no 'weight_map'"):
        hub.load(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_read_as_float32(folder: Path, dtype: torch.dtype) -> None:
    edit_weights(folder, lambda tensors: {k: v.to(dtype) for k, v in tensors.items()})
    model = hub.load(folder)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert_same_outputs(peers.reload(folder, "BertForPreTraining")[0].float(), model)


# Saving


@pytest.mark.parametrize("again", [False, True], ids=["new folder", "over a model"])
@pytest.mark.parametrize("step", ["their_tensors", "write", "config"])
def test_a_save_that_fails_leaves_a_whole_model_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool, step: str
) -> None:
    old = fresh("bert", "span", seed=1)
    if again:
        old.save(tmp_path)

    def fail(*_: Any) -> Any:
        raise OSError("No space left on device")

    target = {
        "their_tensors": (hub, "_their_tensors"),
        "write": (hub.tensor_files, "save_file"),
        "config": (hub.files, "write_json"),
    }[step]
    monkeypatch.setattr(*target, fail)
    with pytest.raises(UserError, match=r"cannot write .*No space"):
        fresh("bert", "classification", seed=2).save(tmp_path)
    monkeypatch.undo()
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]
    if again and step != "config":
        assert_same_outputs(read_to_end(tmp_path), old, tolerance=1e-12)
    else:  # new weights never go with an old config.json
        with pytest.raises(UserError, match="no model in"):
            hub.load(tmp_path)


def test_saving_over_a_model_leaves_nothing_of_it(tmp_path: Path) -> None:
    old = fresh("bert", "span")
    old.settings = {"task": "span_qa"}
    old.save(tmp_path)
    assert hub.load(tmp_path).settings == {"task": "span_qa"}
    fresh("electra", "replaced_token").save(tmp_path)
    model = read_to_end(tmp_path)
    assert (model.family.name, set(model.heads)) == ("electra", {"replaced_token"})
    assert model.settings == {}


def test_save_makes_folders_and_says_where(tmp_path: Path) -> None:
    where = fresh().save(str(tmp_path / "a" / "b"))
    assert where == tmp_path / "a" / "b"
    assert sorted(p.name for p in where.iterdir()) == ["config.json", WEIGHTS]


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    fresh("bert", "span").save(tmp_path / "a")
    hub.load(tmp_path / "a").save(tmp_path / "b")
    for name in ("config.json", WEIGHTS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("family", "architecture", "under"),
    [
        ("openai_gpt", "OpenAIGPTLMHeadModel", "lm_head.weight"),
        ("t5", "T5ForConditionalGeneration", "decoder.embed_tokens.weight"),
        ("bert", "BertForMaskedLM", "cls.predictions.decoder.weight"),
    ],
)
def test_a_word_table_that_was_saved_under_its_other_name(
    family: str, architecture: str, under: str, tmp_path: Path
) -> None:
    """Of tensors that share memory, safetensors keep one, and not always the same."""
    spec = peers.fit(peers.SMALL, FAMILIES[family])
    theirs = peers.make(FAMILIES[family], architecture, spec)
    theirs.save_pretrained(tmp_path / "theirs")
    table = {"openai_gpt": "transformer.tokens_embed", "t5": "shared"}.get(family)
    name = f"{table or 'bert.embeddings.word_embeddings'}.weight"
    edit_weights(
        tmp_path / "theirs",
        lambda tensors: {(under if n == name else n): tensors[n] for n in tensors if n != under},
    )
    hub.load(tmp_path / "theirs").save(tmp_path / "ours")
    again, _ = peers.reload(tmp_path / "ours", architecture)
    assert_same_outputs(again, theirs, tolerance=1e-7)


def test_unread_keys_of_config_are_passed_on(folder: Path) -> None:
    edit_config(folder, _name_or_path="somewhere", finetuning_task="전이")
    hub.load(folder).save(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert (config["_name_or_path"], config["finetuning_task"]) == ("somewhere", "전이")


def test_tokenizer_goes_along(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    (tmp_path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    tokenizer = Tokenizer.from_vocab(tmp_path / "vocab.txt")
    model = hub.create("bert", peers.SMALL, tokenizer=tokenizer)
    model.save(tmp_path / "model")
    loaded, theirs = hub.load(tmp_path / "model"), AutoTokenizer.from_pretrained(tmp_path / "model")
    for text in ("abc had", "Bad, cab!"):
        assert list(loaded.tokenizer.encode(text).ids) == theirs(text)["input_ids"]


@pytest.mark.parametrize("family", [n for n in FAMILIES if FAMILIES[n].tokenizer in RECIPES])
def test_tokenizer_from_the_files_that_it_was_published_as(family: str, tmp_path: Path) -> None:
    """As in old checkpoints: nothing but config.json says of which kind it is."""
    recipe = RECIPES[FAMILIES[family].tokenizer]
    kind = next(kind for kind, like in samples.PUBLISHED if like == recipe.like)
    tokenizer = samples.small(kind, recipe.like)
    tokenizer.save(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).unlink()
    spec = replace(peers.fit(peers.SMALL, FAMILIES[family]), vocab=tokenizer.vocab_size)
    hub.create(family, spec, tokenizer=None).save(tmp_path)
    loaded, named = hub.load(tmp_path).tokenizer, Tokenizer.from_folder(tmp_path, recipe.like)
    assert loaded.vocab_size == tokenizer.vocab_size
    for text in ("the cafe.", "한국 사람"):
        assert loaded.encode(text, text).tokens == named.encode(text, text).tokens


def test_files_of_a_tokenizer_that_nothing_names(tmp_path: Path) -> None:
    """A BERT with a SentencePiece model: the weights are of use all the same."""
    samples.small("unigram", "t5").save(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    fresh().save(tmp_path)
    assert hub.load(tmp_path).hidden_states([[1, 2, 3]])[0].shape[1] == 3
    with pytest.raises(UserError, match="no tokenizer"):
        hub.load(tmp_path).hidden_states(["some text"])


def test_no_tokenizer_is_a_clear_mistake(tmp_path: Path) -> None:
    fresh().save(tmp_path)
    with pytest.raises(UserError, match=r"no tokenizer\n.*tokenizer\.json"):
        hub.load(tmp_path).hidden_states(["some text"])


# Labels and heads


def test_labels_there_and_back(tmp_path: Path) -> None:
    """More than ten, so that the order of numbers is not that of strings."""
    names = [f"범주 {i}" for i in range(12)]
    model = fresh()
    model.add_head("classification", build_head("classification", model, classes(12)))
    model.labels = names
    model.save(tmp_path)
    assert hub.load(tmp_path).labels == names
    theirs, info = peers.reload(tmp_path, "BertForSequenceClassification")
    assert theirs.config.id2label == dict(enumerate(names))
    assert theirs.config.label2id == {name: i for i, name in enumerate(names)}
    assert not info["mismatched_keys"]


def classes(n: int) -> dict[str, Tensor]:
    return {"out.weight": torch.empty(n, 48)}


@pytest.mark.parametrize("labels", [None, ["a", "b"]])
def test_labels_that_do_not_fit_the_head_are_replaced(
    tmp_path: Path, labels: list[str] | None
) -> None:
    """transformers sizes its head by the number of labels."""
    model = fresh("electra", "classification")  # three classes
    model.labels = labels
    model.save(tmp_path)
    theirs, info = peers.reload(tmp_path, "ElectraForSequenceClassification")
    assert theirs.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert not info["mismatched_keys"]


def test_span_head_after_a_classifier(tmp_path: Path) -> None:
    """Labels of the task before would make transformers' span head too wide."""
    model = fresh("bert", "span")
    model.labels = ["a", "b", "c"]
    model.save(tmp_path)
    theirs, info = peers.reload(tmp_path, "BertForQuestionAnswering")
    assert not info["mismatched_keys"]
    assert_same_outputs(model, theirs)


def test_a_head_of_another_size_starts_afresh(tmp_path: Path) -> None:
    fresh("bert", "classification").save(tmp_path)
    model = hub.load(tmp_path)
    assert not model.fresh
    old = model.heads["classification"].dense.weight.clone()  # type: ignore[union-attr,operator]
    head = model.add_head("classification", build_head("classification", model, classes(5)))
    assert torch.equal(head.dense.weight, old)  # type: ignore[arg-type]
    assert model.fresh == {"heads.classification.out.weight", "heads.classification.out.bias"}
    assert head.out.weight.shape == (5, 48)  # type: ignore[union-attr]


def test_a_head_of_a_foreign_kind_survives(tmp_path: Path) -> None:
    model = fresh()
    head = model.add_head("my_tagger", nn.Sequential(nn.Linear(48, 7), nn.Linear(7, 2)), seed=5)
    assert len(model.fresh & {f"heads.my_tagger.{i}.weight" for i in (0, 1)}) == 2
    model.save(tmp_path)
    loaded = read_to_end(tmp_path)
    again = loaded.add_head("my_tagger", nn.Sequential(nn.Linear(48, 7), nn.Linear(7, 2)), seed=9)
    assert not loaded.fresh
    for name, tensor in head.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    _, info = peers.reload(tmp_path, "BertModel")
    assert all(key.startswith("heads.") for key in info["unexpected_keys"])


def test_own_parts_may_be_called_as_a_published_one(tmp_path: Path) -> None:
    """Published T5 taggers have a ``classifier``, which is another's part of that name."""
    model = fresh("t5")
    head = model.add_head("mine", nn.ModuleDict({"classifier": nn.Linear(48, 2)}), seed=5)
    model.save(tmp_path)
    loaded = read_to_end(tmp_path)
    again = loaded.add_head("mine", nn.ModuleDict({"classifier": nn.Linear(48, 2)}), seed=9)
    assert not loaded.fresh
    assert torch.equal(
        again.state_dict()["classifier.weight"], head.state_dict()["classifier.weight"]
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_layer_of_every_parameter(family: str) -> None:
    model = fresh(family, *FAMILIES[family].heads, width=20, layers=3)
    depth = {name: model.layer_of(name) for name, _ in model.named_parameters()}
    spec = model.spec
    if spec.distinct == spec.layers:
        assert set(depth.values()) == set(range(spec.depth + 2))
    for name, layer in depth.items():
        parts = name.split(".")
        behind = spec.layers if "decoder" in parts else 0
        if "blocks" in parts:
            assert layer == behind + int(parts[parts.index("blocks") + 1]) + 1, name
        elif ".stack.bias." in name:  # of relative positions: all layers', first used by the first
            assert layer == behind + 1, name
        elif ".stack.final_norm." in name:
            assert layer == (spec.depth if behind else spec.layers), name
        else:
            assert layer == (spec.depth + 1 if parts[0] == "heads" else 0), name


def test_the_last_norm_of_pre_norm_models_is_of_the_last_layer() -> None:
    model = fresh(norm="pre", layers=3)
    assert model.layer_of("backbone.stack.final_norm.weight") == 3


# Fresh weights


def test_seed_decides_the_drawn_weights(folder: Path) -> None:
    def drawn(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(time.time_ns())  # torch's own generator must not matter
        model = hub.load(folder, init="random", seed=seed)
        model.add_head("span", SpanHead(48), seed=seed)
        return {name: p.detach() for name, p in model.named_parameters()}

    first, same, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(first[name], same[name]) for name in first)
    weights = [name for name, p in first.items() if p.dim() == 2]
    assert not any(torch.equal(first[name], other[name]) for name in weights)


def test_random_start_keeps_nothing_of_the_checkpoint(folder: Path) -> None:
    loaded, drawn = hub.load(folder), hub.load(folder, init="random", seed=3)
    pairs = zip(loaded.backbone.parameters(), drawn.backbone.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs)
    assert not drawn.spare
    assert drawn.fresh == {name for name, _ in drawn.named_parameters()}


def test_drawn_weights_are_as_published() -> None:
    """Normal(0, init_range), biases zero, norms one (Devlin et al., appendix A.2)."""
    model = hub.create("bert", replace(peers.SMALL, init_range=0.05, vocab=5000), tokenizer=None)
    head = ClassificationHead(48, 3, activation="tanh", dropout=0, dropout_first=False)
    model.add_head("classification", head)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            assert parameter.std().item() == pytest.approx(0.05, rel=0.25), name
        else:
            expected = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            assert (parameter == expected).all(), name
    words = model.backbone.embeddings.words.weight
    assert words.std().item() == pytest.approx(0.05, rel=0.01)
    assert abs(words.mean().item()) < 5e-4


def test_unknown_preset_and_family_suggest() -> None:
    with pytest.raises(UserError, match="did you mean 'bert-base-uncased'"):
        hub.create("bert", "bert-base-uncase", tokenizer=None)
    with pytest.raises(UserError, match="did you mean 'bert'"):
        hub.create("berd", "x", tokenizer=None)


def test_a_family_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller may name a family by its path; a checkpoint may not (see ``test_hub_mistakes``)."""
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "from jeoni.models.families.bert import FAMILY as BERT\n"
        "FAMILY = replace(BERT, name='mine')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = hub.create("bert", "bert-L2-H128", tokenizer=None)
    hub.save(model, tmp_path / "model")
    own = hub.load(tmp_path / "model", family="mine:FAMILY")
    assert own.family.name == "mine"
    with pytest.raises(UserError, match="no family named 'mine'"):
        hub.load(hub.save(own, tmp_path / "saved"))
    with pytest.raises(UserError, match="cannot import"):
        hub.load(tmp_path / "model", family="no_such_module:FAMILY")
