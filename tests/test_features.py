"""Features: a small model on a frozen one; layers, bodies, words; to a saved run and back."""

import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import jeoni as package
import launch
import objective_parts as parts
import span_tasks
import test_dependency
import test_dialogue_state
import test_multiple_choice
import test_regression
import test_relation
import tiny
import vector_files
from jeoni.base.batch import Batch, of_words
from jeoni.base.errors import UserError
from jeoni.evaluation import runner
from jeoni.models import hub
from jeoni.models.families.elmo import ORIGINAL
from jeoni.models.model import Model
from jeoni.recipes.evaluate import evaluate
from jeoni.recipes.finetune import finetune
from jeoni.serving.predictor import classify, task_of
from jeoni.serving.tagger import tag
from jeoni.tasks.classification import Classification, ClassificationConfig
from jeoni.transfer import features as strategy
from jeoni.transfer._features import Features, FeaturesConfig
from runs import WEIGHTS, same_weights
from shell import Run
from test_embed import MIXES
from test_tagging import SENTENCES, make, words
from test_word_models import BAD, GOOD, OTHER

TEXTS = ["a wonderful film", "Seoul", "the king of the sea is wise and old"]
BODIES = ["none", "bilstm", "bilstm_attention"]
OPINIONS = [(word, "+") for word in GOOD] + [(word, "-") for word in BAD]


def test_a_first_token_that_sees_no_other() -> None:
    loaded = parts.model("gpt2")
    loaded.fresh = set()
    with pytest.raises(UserError, match=r"first token sees no other(?s:.*)strategy\.pooling=last"):
        strategy.edit(loaded, FeaturesConfig(layers="last", pooling="first"), 0)
    strategy.edit(loaded, FeaturesConfig(pooling="first", body="bilstm"), 0)


def four(dropout: float = 0.0) -> Model:
    """A BERT of four layers, as if loaded."""
    model = tiny.model(dropout=dropout)
    spec = replace(model.spec, layers=4)
    made = hub.create("bert", spec, tokenizer=model.tokenizer)
    made.fresh = set()
    return made


def edited(model: Model, seed: int = 0, **settings: Any) -> Model:
    strategy.edit(model, FeaturesConfig(**{"body_size": 8, **settings}), seed)
    return model.eval()


def batch_of(model: Model, texts: Sequence[str]) -> Batch:
    return Batch.pack([model.tokenizer.encode(text).ids for text in texts])


# What heads read


@pytest.mark.parametrize("layers", [name for name in MIXES if name != "all"])
def test_layers_are_those_of_hidden_states(layers: str) -> None:
    model = edited(four(), layers=layers)
    wanted = np.concatenate([MIXES[layers](array) for array in model.hidden_states(TEXTS)])
    found = model(batch_of(model, TEXTS)).detach().numpy()
    assert np.allclose(found, wanted, atol=1e-5)
    assert model.state_size == wanted.shape[1]


def test_the_mix_is_weighted_and_scaled() -> None:
    model = edited(four(), layers="scalar_mix")
    assert model.features.mix.weights.shape == (5,)
    with torch.no_grad():
        model.features.mix.weights.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]))
        model.features.mix.scale.fill_(2.0)
    shares = np.exp(np.arange(5)) / np.exp(np.arange(5)).sum()
    states = model.hidden_states(TEXTS[:1])[0]
    wanted = 2 * (shares[:, None, None] * states).sum(0)
    assert np.allclose(model(batch_of(model, TEXTS[:1])).detach().numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("body", BODIES)
def test_a_sequence_does_not_see_its_neighbors(body: str) -> None:
    model = edited(four(), body=body, body_layers=2)
    together = model(batch_of(model, TEXTS))
    alone = torch.cat([model(batch_of(model, [text])) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert together.shape[1] == model.state_size == (32 if body == "none" else 16)


def test_the_body_reads_from_both_ends() -> None:
    model = edited(four(), layers="last", body="bilstm")
    batch = batch_of(model, TEXTS[:1])
    lstm = model.features.lstm.lstm
    states = model.backbone(batch)
    torch.testing.assert_close(model(batch), lstm(states[:, None])[0][:, 0])
    own = Features(FeaturesConfig(body="bilstm_attention", body_size=8), layers=4, hidden=32)
    assert {name.split(".")[0] for name, _ in own.named_parameters()} == {
        "mix", "lstm", "attention",
    }  # fmt: skip


def test_of_an_encoder_decoder_the_encoder_is_read() -> None:
    model = parts.model("bart")
    model.fresh = set()
    edited(model, layers="last")
    states = model.hidden_states(TEXTS[:1])[0][-1]
    ids = [model.tokenizer.encode(TEXTS[0]).ids]
    assert np.allclose(model(Batch.pack(ids)).detach().numpy(), states, atol=1e-5)


# Words


def test_means_of_words() -> None:
    numbers = torch.tensor([-1, 0, 0, 1, -1, -1, 1, 1, 2, 2, -1])
    batch = Batch.pack([[0] * 6, [0] * 5], targets={"words": numbers})
    x = torch.arange(22.0).view(11, 2)
    means, owners, lengths = of_words(x, batch)
    assert owners.tolist() == [0, 1, 1, 2, 3, 4, 5, 5, 6, 6, 7]
    assert lengths == (5, 3)
    assert means[1].tolist() == x[1:3].mean(0).tolist()
    assert means[5].tolist() == x[6:8].mean(0).tolist()


@pytest.mark.parametrize("body", ["none", "bilstm"])
def test_bodies_read_words_where_the_task_pools_them(body: str) -> None:
    rows = [(["unbelievable", "films"], ["O", "O"])]
    model = edited(four(), layers="last", body=body)
    task = make(model, piece="mean")
    task.model.eval()
    encoded = task.encode(words(rows), labeled=False)
    batch = encoded.features.batch([0])
    owners = batch.targets["words"].tolist()
    assert owners[0] == owners[-1] == -1
    assert sorted(set(owners)) == [-1, 0, 1]
    assert len(owners) > 4  # there are pieces
    logits = task.logits(batch)
    states = model.backbone(batch)
    groups = [
        [0],
        *([i for i, o in enumerate(owners) if o == w] for w in (0, 1)),
        [len(owners) - 1],
    ]
    x = torch.stack([states[group].mean(0) for group in groups])
    if body == "bilstm":
        x = model.features.lstm.lstm(x[:, None])[0][:, 0]
    wanted = model.heads["tagging"](x)
    for number, group in enumerate(groups):
        torch.testing.assert_close(logits[group], wanted[number].expand(len(group), -1))


def test_words_are_pooled_without_features_too() -> None:
    task = make(piece="mean", max_length=6, stride=2)
    task.model.eval()
    encoded = task.encode(words())
    batch = encoded.features.batch(range(len(encoded.features)))
    logits, owners = task.logits(batch), batch.targets["words"].tolist()
    for i in range(1, len(owners)):
        if owners[i] == owners[i - 1] >= 0:
            assert torch.equal(logits[i], logits[i - 1])
    assert task.settings()["piece"] == "mean"


# Training


def copy(model: Model) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_the_frozen_part_has_no_dropout_and_no_gradients() -> None:
    model = edited(four(dropout=0.5), layers="last")
    batch = batch_of(model, TEXTS)
    calm = model(batch)
    model.train()
    assert model.features.training
    assert not model.backbone.training
    assert torch.equal(model(batch), calm)
    assert not model(batch).requires_grad
    mixed = edited(four(dropout=0.5), layers="scalar_mix").train()(batch)
    mixed.sum().backward()
    assert all(p.grad is None for p in model.backbone.parameters())


def test_the_seed_draws_the_body() -> None:
    one, same, other = (copy(edited(four(), seed, body="bilstm_attention")) for seed in (1, 1, 2))
    names = [name for name in one if name.startswith("features.")]
    assert all(torch.equal(one[name], same[name]) for name in names)
    drawn = [n for n in names if "mix" not in n and not n.endswith("attention.qkv.bias")]
    assert any(not torch.equal(one[name], other[name]) for name in drawn)


def recipe(model: Path, csv: Path, out: Path, **more: Any) -> dict[str, Any]:
    train = {"lr": 1e-2, **more.pop("train", {})}
    data = {"train": str(csv), "dev": str(csv), "text": "review", "label": "stars"}
    given = {"name": "features", "body": "bilstm", "body_size": 8, **more.pop("strategy", {})}
    return tiny.recipe(model, data, out, train=train, strategy=given, **more)


@pytest.fixture(scope="module")
def run(tiny_folder: Path, reviews_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with every part that there is."""
    out = tmp_path_factory.mktemp("features") / "run"
    settings = {"body": "bilstm_attention", "body_layers": 2}
    finetune(
        recipe(tiny_folder, reviews_csv, out, strategy=settings, train={"epochs": 12, "lr": 0.02})
    )
    return out


def test_a_run_is_used_as_any_other(run: Path, reviews_csv: Path, tmp_path: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert results["metrics"]["accuracy"] > 0.8
    told = json.loads((run / "model" / "jeoni.json").read_text())
    assert told["features"]["body"] == "bilstm_attention"
    data = {"dev": str(reviews_csv), "text": "review", "label": "stars"}
    assert evaluate(run, data)["metrics"]["accuracy"] == results["metrics"]["accuracy"]
    before = classify(run, tiny.REVIEWS[0][0])[0]
    # As a part of another folder: loaded and saved; converted.
    package.load(run).save(tmp_path / "again")
    package.convert(run, tmp_path / "converted")
    for folder in (tmp_path / "again", tmp_path / "converted"):
        assert classify(folder, tiny.REVIEWS[0][0])[0] == before
    assert json.loads((tmp_path / "again" / "config.json").read_text())["architectures"] == [
        "BertModel"
    ]


def test_the_backbone_is_what_it_was(run: Path, tiny_folder: Path) -> None:
    before, after = package.load(tiny_folder), package.load(run)
    for (name, one), (_, other) in zip(
        before.backbone.named_parameters(), after.backbone.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name


def test_interrupted_and_continued_is_the_same_to_the_bit(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(out: str) -> None:
        given = {"train": {"epochs": 2, "save_every": 2}, "strategy": {"body_layers": 2}}
        finetune(recipe(tiny_folder, reviews_csv, tmp_path / out, **given))

    start("whole")
    calls, loss = [0], Classification.loss

    def broken(self: Classification, *given: Any) -> Any:
        calls[0] += 1
        if calls[0] == 4:
            raise RuntimeError("power cut")
        return loss(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Classification, "loss", broken)
        with pytest.raises(RuntimeError, match="power cut"):
            start("parts")
    start("parts")
    assert same_weights(tmp_path / "whole" / WEIGHTS, tmp_path / "parts" / WEIGHTS)


@pytest.mark.slow
def test_processes_that_divide_it_learn_the_same(reviews_csv: Path, tmp_path: Path) -> None:
    """What is frozen has no gradients to add up; the body is an LSTM of torch's."""
    start, outs = tiny.model().save(tmp_path / "start"), []
    for count in (1, 2):
        given = {"body": "bilstm_attention", "dropout": 0.0}
        train = {"shard": count > 1, "epochs": 2}
        values = recipe(start, reviews_csv, tmp_path / str(count), strategy=given, train=train)
        (tmp_path / "recipe.json").write_text(json.dumps(values))
        launch.run(["-m", "jeoni", "finetune", str(tmp_path / "recipe.json")], count)
        outs.append(load_file(tmp_path / str(count) / WEIGHTS))
    for name, weight in outs[0].items():
        torch.testing.assert_close(outs[1][name], weight, atol=1e-4, rtol=1e-4)


def labeled(model: Model) -> Classification:
    return Classification(model=model, config=ClassificationConfig(labels=("neg", "pos")))


def test_a_run_goes_on_learning(run: Path) -> None:
    """With the same features, with others, and with all of it (Kumar et al., 2022)."""
    given = json.loads((run / "model" / "jeoni.json").read_text())["features"]
    names = package.load(run).labels
    config = ClassificationConfig(labels=tuple(names or ()))
    same = edited(package.load(run), **given)
    Classification(model=same, config=config)
    assert same.fresh == set()
    other = edited(package.load(run), body="bilstm")
    Classification(model=other, config=config)
    own = {n for n, _ in other.named_parameters() if not n.startswith("backbone.")}
    assert other.fresh == own
    whole = package.load(run)
    strategy.restore(whole)
    task = Classification(model=whole, config=config)
    assert whole.fresh == set()
    task(task.encode(tiny.labeled()).features.batch([0, 1])).total.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for n, p in whole.named_parameters() if "pooler" not in n)


def test_a_head_for_the_last_layer_is_left_out(tmp_path: Path) -> None:
    """A published head has another form, and read something else."""
    labeled(four()).model.save(tmp_path)
    loaded = package.load(tmp_path)
    assert "classification" in loaded.heads
    model = edited(loaded, layers="last")
    labeled(model)
    assert {n for n in model.fresh if n.startswith("heads.")} == {
        "heads.classification.out.weight", "heads.classification.out.bias",
    }  # fmt: skip


# Words as tokens: ELMo and static vectors come through the same door


def elmo(folder: Path) -> Path:
    """With weights large enough that words differ."""
    spec = replace(
        ORIGINAL, hidden=32, feed_forward=12, width=8, highways=0, filters=((1, 16), (3, 16))
    )
    tokenizer = hub.own_family("elmo").open_tokenizer(Path(), spec)  # type: ignore[misc]
    model = hub.create("elmo", spec, tokenizer=tokenizer, seed=1)
    for weight in model.backbone.parameters():
        weight.data *= 4
    model.save(folder)
    return folder


def static(folder: Path) -> Path:
    names = sorted({*GOOD, *BAD, *OTHER, *(word for tokens, _ in SENTENCES for word in tokens)})
    folder.mkdir()
    vector_files.fasttext_vec(folder / "x.vec", names, vector_files.table(len(names), 16))
    return folder / "x.vec"


@pytest.fixture
def opinions(tmp_path: Path) -> Path:
    rows = [(f"{o} {w} {o}", stars) for o in OTHER for w, stars in OPINIONS]
    return tiny.write_csv(tmp_path / "opinions.csv", rows)


@pytest.mark.parametrize("start", [elmo, static], ids=["elmo", "static"])
@pytest.mark.parametrize("body", ["none", "bilstm"])
def test_models_of_words_classify(start: Any, body: str, opinions: Path, tmp_path: Path) -> None:
    given = {"body": body, "body_size": 16}
    train = {"epochs": 20, "lr": 0.05}
    folder = start(tmp_path / "model")
    made = finetune(recipe(folder, opinions, tmp_path / "run", strategy=given, train=train))
    assert made.metrics["accuracy"] > 0.9
    assert [found.label for found in classify(made.folder, ["the 나쁘다 영화", "좋다"])] == [
        "-",
        "+",
    ]


@pytest.mark.parametrize("start", [elmo, static], ids=["elmo", "static"])
def test_models_of_words_tag(start: Any, tmp_path: Path) -> None:
    conll = tmp_path / "train.conll"
    rows = ("\n".join(map("\t".join, zip(t, tags, strict=True))) for t, tags in SENTENCES)
    conll.write_text("\n\n".join(rows) + "\n", encoding="utf-8")
    data = {"train": str(conll), "dev": str(conll)}
    given = {"name": "features", "body": "bilstm", "body_size": 16}
    made = finetune(
        tiny.recipe(
            start(tmp_path / "model"), data, tmp_path / "run", strategy=given,
            train={"epochs": 25, "lr": 0.05}, task={"crf": True, "max_length": 64},
        )
    )  # fmt: skip
    assert made.metrics["entity_f1"] > 0.9
    (tagged,) = tag(made.folder, "The Han River flows")
    assert [s.text for s in tagged.spans] == ["Han River"]


# Mistakes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": "concat_last_four"}, r"strategy.layers=concat_last_four, but the model has 2"),
        ({"layers": "concat-last-four"}, r"strategy.layers must be 'last', 'second_to_last'"),
        ({"bodi": "bilstm"}, r"unknown key 'strategy.bodi'; did you mean 'strategy.body'\?"),
        ({"body_size": 7}, r"strategy.body_size"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_settings_that_do_not_fit(
    settings: dict[str, Any], message: str, tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        finetune(recipe(tiny_folder, reviews_csv, tmp_path / "run", strategy=settings))
    assert not (tmp_path / "run").exists()


def test_random_weights_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="its weights are random"):
        edited(tiny.model())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edited(four())


def test_what_writes_needs_the_whole_model() -> None:
    from jeoni.models.heads import language_model_head

    model = edited(four())
    model.add_head("language_model", language_model_head(model))
    with pytest.raises(UserError, match=r"not for those that write\n.*--strategy full"):
        strategy.groups(model, FeaturesConfig())


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("bilstm", "features is 'bilstm', not a section"),
        ({"body": "lstm"}, "jeoni.json: features.body must be"),
        ({"body": "bilstm", "body_size": 10}, "missing, or of another shape: features.lstm"),
    ],
    ids=["text", "name", "size"],
)
def test_a_jeoni_json_that_does_not_fit(
    told: Any, message: str, run: Path, tmp_path: Path, jeoni: Run
) -> None:
    shutil.copytree(run / "model", tmp_path / "model")
    path = tmp_path / "model" / "jeoni.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"features": told}))
    result = jeoni("classify", "--model", str(tmp_path / "model"), "a film")
    assert result.status == 2
    assert message in result.err


# Every task that judges what was read


def tasks(name: str, model: Model, tmp_path: Path) -> tuple[Any, Any]:
    """A task on a model, and examples for it."""
    if name == "dependency":
        return test_dependency.make(model), test_dependency.sentences()
    if name == "relation":
        return test_relation.make(model, max_length=60), test_relation.records()
    if name == "regression":
        return test_regression.make(model), tiny.labeled([("a film", 1.0), ("b", 2.0)])
    if name == "multiple_choice":
        return test_multiple_choice.make(model), test_multiple_choice.records()
    if name == "dialogue_state":
        return test_dialogue_state.make(model), test_dialogue_state.records(tmp_path)
    head = {"span_qa": "independent", "span_qa joint": "joint"}[name]
    return span_tasks.make(model, head=head), tiny.questions()


NAMES = ["dependency", "relation", "regression", "multiple_choice", "dialogue_state"]


@pytest.mark.parametrize("name", [*NAMES, "span_qa", "span_qa joint"])
def test_any_task_that_judges_stands_on_features(name: str, tmp_path: Path) -> None:
    task, records = tasks(name, edited(four(), body="bilstm"), tmp_path)
    groups = strategy.groups(task.model, FeaturesConfig())
    assert {g.frozen for g in groups} == {True, False}
    encoded = task.encode(records)
    batch = encoded.features.batch([0, 1])
    task.model.train()
    task(batch).total.backward()
    assert task.model.features.lstm.lstm.weight_ih_l0.grad is not None
    task.model.eval()
    task.model.settings = task.settings()
    task.model.save(tmp_path / "saved")
    again = task_of(package.load(tmp_path / "saved"), name.split()[0], {})
    again.model.eval()
    assert evaluated(again, records) == evaluated(task, records)


def evaluated(task: Any, records: Any) -> Any:
    return runner.evaluate(task, task.encode(records), precision="fp32", show=False).values()
