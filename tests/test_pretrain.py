"""``jeoni pretrain``: from text to a model that others load, by way of a store."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import objective_parts as parts
from jeoni.base.errors import UserError
from jeoni.base.files import read_json, write_json
from jeoni.data.batching import BatchConfig
from jeoni.data.store_part import write_part
from jeoni.data.token_store import StoreWriter, TokenStore
from jeoni.models import hub
from jeoni.objectives._batches import StoreBatches
from jeoni.objectives._sentinels import sentinels
from jeoni.recipes import named, pretrain_pages, texts
from jeoni.recipes.pretrain import pretrain
from jeoni.recipes.pretrain_settings import CorpusConfig, PretrainRecipe
from jeoni.text.tokenizer import Tokenizer
from jeoni.training import log

SPEC = {"layers": 2, "hidden": 32, "heads": 2, "feed_forward": 64, "positions": 64}
SMALL: dict[str, Any] = {
    "model": "electra-small",
    "spec": {**SPEC, "width": 16},
    "tokenizer": {"vocab_size": 150},
    "length": 32,
    "batch": {"size": 8},
    "train": {"steps": 6, "eval_every": 3, "log_every": 2, "threads": 1, "precision": "fp32"},
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join("\n".join(d) for d in parts.documents()) + "\n", encoding="utf-8")
    return path


def settings(text: Path, out: Path, **others: Any) -> dict[str, Any]:
    """A recipe of a few steps; the text is prepared beside ``out``."""
    return {**SMALL, "data": {"text": str(text), "held_out": 0.2}, "out": str(out), **others}


@pytest.mark.parametrize(
    ("objectives", "architecture"),
    [
        ("replaced_token", "ElectraForPreTraining"),
        ({"masked_lm": {"whole_words": True, "rate": 0.3}}, "ElectraForMaskedLM"),
    ],
)
def test_from_text_to_a_model_that_transformers_loads(
    text: Path, tmp_path: Path, objectives: Any, architecture: str
) -> None:
    transformers = pytest.importorskip("transformers")
    result = pretrain(settings(text, tmp_path / "run", objectives=objectives))
    folder = result.folder / "model"
    assert read_json(folder / "config.json")["architectures"] == [architecture]
    theirs = getattr(transformers, architecture).from_pretrained(folder).eval()
    ours = hub.load(folder)
    ids = ours.tokenizer.encode("river bridge water").ids
    with torch.no_grad():
        output = theirs(torch.tensor([list(ids)]), output_hidden_states=True)
    states = ours.hidden_states([list(ids)])[0]
    np.testing.assert_allclose(states[-1], output.hidden_states[-1][0].numpy(), atol=1e-5)
    assert not any("generator" in name for name, _ in ours.named_parameters())


def test_what_a_run_leaves(text: Path, tmp_path: Path) -> None:
    result = pretrain(settings(text, tmp_path / "run", objectives="masked_lm"))
    rows = log.read(result.folder)
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [3, 6]
    assert all("masked_lm_loss" in row for row in rows)
    assert {"masked_lm_accuracy", "masked_lm_perplexity"} <= result.metrics.keys()
    assert np.isclose(
        np.log(result.metrics["masked_lm_perplexity"]), result.metrics["masked_lm_loss"]
    )
    results = read_json(result.folder / "results.json")
    assert results["rate"]["tokens_per_s"] > 0
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "the encoder" not in page
    card = (result.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert "perplexity" in page
    assert "6 steps" in card
    assert "--data NAME" in card  # which of the samples fits, nothing says
    again = pretrain(settings(text, tmp_path / "run", objectives="masked_lm"))
    assert again.earlier
    assert again.metrics == result.metrics


def test_figures_are_those_of_the_weights_that_are_kept(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([1.0, 2.0])
    monkeypatch.setattr("jeoni.recipes.pretrain.evaluate", lambda *_: {"loss": next(losses)})
    train = {**SMALL["train"], "keep_best": True}
    result = pretrain(settings(text, tmp_path / "run", objectives="masked_lm", train=train))
    assert result.results["training"]["best_step"] == 3
    assert result.metrics == {"loss": 1.0}


def test_runs_with_the_same_text_share_what_was_prepared(text: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        pretrain(settings(text, tmp_path / name, objectives="masked_lm", seed=len(name)))
    stores = [p for p in (tmp_path / "texts").iterdir() if (p / "train").is_dir()]
    assert len(stores) == 1


def test_an_interrupted_run_ends_with_the_same_weights(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Corruption, order, the generator's draws and dropout are functions of the step."""
    recipe = settings(text, tmp_path / "whole", objectives="replaced_token")
    whole = pretrain(recipe)

    from jeoni.objectives._mixture import Mixture

    calls, original = [0], Mixture.__call__

    def once(self: Mixture, batch: Any) -> Any:
        calls[0] += self.model.training
        if calls[0] == 5:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(Mixture, "__call__", once)
    train = {**SMALL["train"], "save_every": 2}
    other = {**recipe, "out": str(tmp_path / "cut"), "train": train}
    with pytest.raises(KeyboardInterrupt):
        pretrain(other)
    assert list((tmp_path / "cut" / "checkpoints").glob("step-00000004*"))
    monkeypatch.undo()
    cut = pretrain(other)
    first, second = (r.folder / "model" / "model.safetensors" for r in (whole, cut))
    assert first.read_bytes() == second.read_bytes()
    assert whole.metrics == cut.metrics


def test_training_goes_on_from_a_checkpoint(text: Path, tmp_path: Path) -> None:
    """Domain adaptation: the checkpoint's weights and tokenizer, its head too."""
    first = pretrain(settings(text, tmp_path / "first", objectives="masked_lm"))
    longer = {**SMALL["train"], "steps": 1, "lr": 1e-9}
    recipe = settings(text, tmp_path / "on", objectives="masked_lm", train=longer)
    recipe |= {"model": str(first.folder), "data": {"text": "not-read-yet"}}
    with pytest.raises(UserError, match="a checkpoint has its sizes"):
        pretrain(recipe)
    del recipe["spec"]
    with pytest.raises(UserError, match=r"tokenizer\.vocab_size is for a preset"):
        pretrain(recipe)
    del recipe["tokenizer"]
    on = pretrain({**recipe, "data": settings(text, tmp_path)["data"]})
    assert on.metrics["loss"] == pytest.approx(first.metrics["loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": {}}, "no text"),
        ({"data": {"store": "nowhere"}}, "no token store"),
        ({"data": {"store": "a", "text": "b"}}, "both data.store and data.text"),
        ({"objectives": "masked"}, "masked_lm"),
        ({"objectives": {"masked_lm": 0}}, "no number above 0"),
        ({"objectives": {"masked_lm": float("inf")}}, "no number above 0"),
        ({"train": {"hours": 1, "steps": 2}}, "take one"),
        ({"flops": 1e9}, "take one"),
        ({"short": {"length": 65, "steps": 1}}, "64 positions"),
        ({"objectives": {"masked_lm": 1, "replaced_token": 1}}, "cannot be combined"),
        ({"objectives": {"masked_lm": {"rate": 2}}}, "objectives.masked_lm"),
        ({"length": 65}, "64 positions"),
        ({"length": 4, "objectives": {"masked_lm": {"ratte": 1}}}, "rate"),
        ({"model": "electra-smal"}, "electra-small"),
    ],
)
def test_mistakes(text: Path, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        pretrain({**settings(text, tmp_path / "run", objectives="masked_lm"), **change})
    assert not (tmp_path / "run").exists()
    if "objectives" in change or "model" in change:  # before the text is read, which may take hours
        assert not (tmp_path / "texts").exists()


def test_a_store_of_another_tokenizer_is_refused(text: Path, tmp_path: Path) -> None:
    first = pretrain(settings(text, tmp_path / "first", objectives="masked_lm"))
    (store,) = (p for p in (tmp_path / "texts").iterdir() if (p / "train").is_dir())
    other = {
        **SMALL,
        "tokenizer": {"vocab_size": 160},
        "data": {"text": str(text), "held_out": 0.2},
    }
    second = pretrain({**other, "out": str(tmp_path / "second"), "objectives": "masked_lm"})
    recipe = {**SMALL, "model": str(second.folder), "data": str(store), "objectives": "masked_lm"}
    del recipe["spec"], recipe["tokenizer"]
    with pytest.raises(UserError, match="another tokenizer"):
        pretrain({**recipe, "out": str(tmp_path / "third")})
    shutil.rmtree(first.folder)


def test_recipes_that_come_with_jeoni_are_valid() -> None:
    from jeoni.recipes.pretrain import resolve

    assert "electra-demo" in named.names(named.PRESETS)
    for name in named.names(named.PRESETS):
        assert resolve(name, [], {}).train.hours is not None
    with pytest.raises(UserError, match="electra-demo"):
        resolve("electra-dmo", [], {})


def test_recomputing_changes_nothing_but_memory(text: Path, tmp_path: Path) -> None:
    folders = [
        pretrain(
            settings(text, tmp_path / name, objectives="replaced_token", recompute=recompute)
        ).folder
        for name, recompute in (("kept", False), ("again", True))
    ]
    first, second = (f / "model" / "model.safetensors" for f in folders)
    assert first.read_bytes() == second.read_bytes()


def test_short_sequences_come_first(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jeoni.objectives._mixture import Mixture

    longest: list[int] = []
    original = Mixture.__call__

    def watched(self: Mixture, batch: Any) -> Any:
        if self.model.training:
            longest.append(max(batch.lengths))
        return original(self, batch)

    monkeypatch.setattr(Mixture, "__call__", watched)
    recipe = settings(text, tmp_path / "run", objectives="masked_lm")
    pretrain({**recipe, "short": {"length": 12, "steps": 4}})
    assert len(longest) == 6
    assert max(longest[:4]) == 12
    assert longest[4:] == [32, 32]


def test_a_budget_of_operations_is_kept(text: Path, tmp_path: Path) -> None:
    recipe = settings(text, tmp_path / "run", objectives="masked_lm")
    train = {k: v for k, v in recipe["train"].items() if k not in ("steps", "eval_every")}
    result = pretrain({**recipe, "train": train, "flops": 2e9})
    done = result.results["training"]
    assert [row["step"] for row in log.read(result.folder) if row["kind"] == "eval"] == [
        done["steps"]
    ]
    spent = done["tokens"] * result.results["rate"]["training_flops_per_token"]
    assert done["steps"] > 5
    assert spent == pytest.approx(2e9, rel=0.2)


@pytest.mark.parametrize("steps", [4, 200])
def test_steps_with_short_sequences_are_in_the_budget(
    steps: int, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cost what they cost; a budget that is spent before they are over ends among them."""
    from jeoni.recipes import pretrain as recipes

    recipe = settings(text, tmp_path / "run", objectives="masked_lm")
    train = {k: v for k, v in recipe["train"].items() if k != "steps"}
    wanted: list[int] = []

    def planned(*_: Any, config: Any, **__: Any) -> Any:
        wanted.append(config.steps)
        raise UserError("planned")

    monkeypatch.setattr(recipes, "fit", planned)
    short = {"length": 12, "steps": steps}
    few = {"size": 1}
    for name, more in (("all", {}), ("short", {"short": short})):
        own = {"train": train, "batch": few, "flops": 5e8, "out": str(tmp_path / name), **more}
        with pytest.raises(UserError, match="planned"):
            pretrain({**recipe, **own})
    assert wanted[1] > wanted[0] + (2 if steps == 4 else 20)


def test_the_texts_of_a_table(text: Path, tmp_path: Path) -> None:
    """As in plain text: the same vocabulary, the same store."""
    documents = ["\n".join(document) for document in parts.documents()]
    rows = "\n".join(json.dumps({"number": n, "body": d}) for n, d in enumerate(documents))
    (tmp_path / "text.jsonl").write_text(rows, encoding="utf-8")
    found = []
    for path, more in ((text, {}), (tmp_path / "text.jsonl", {"text_column": "body"})):
        out = tmp_path / path.suffix / "run"
        data = {"text": str(path), "held_out": 0.2, **more}
        opened = texts.open_texts(PretrainRecipe(**{**settings(text, out), "data": data}))
        assert opened.tokenizer is not None
        found.append((opened.tokenizer.tokens, opened.train.ids.tolist()))
    assert found[0] == found[1]
    data = {"text": str(tmp_path / "text.jsonl")}
    with pytest.raises(UserError, match="no column 'text'") as caught:
        pretrain({**settings(text, tmp_path / "else"), "data": data})
    assert "data.text_column=NAME" in str(caught.value.hint)


def test_a_column_called_score_drops_no_text(text: Path, tmp_path: Path) -> None:
    """A recipe names no such column; and plain text is prepared where it always was."""
    rows = [{"text": " ".join(d), "score": n % 5 + 1} for n, d in enumerate(parts.documents())]
    (tmp_path / "text.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    for path, scores in ((str(tmp_path / "*.jsonl"), None), (str(text), "score")):
        data = {"text": path, "held_out": 0.2}
        recipe = PretrainRecipe(**{**settings(text, tmp_path / "run"), "data": data})
        opened = texts.open_texts(recipe)
        documents = len(opened.train.documents) + len(opened.held_out.documents) - 2
        assert documents == len(rows)
        made = read_json(Path(opened.facts["store"]) / "prepare.json")
        assert made["settings"]["score_column"] == scores


def test_no_text_is_held_out(text: Path, tmp_path: Path) -> None:
    recipe = settings(text, tmp_path / "run", objectives="masked_lm")
    pretrain(recipe)
    (store,) = (p for p in (tmp_path / "texts").iterdir() if (p / "train").is_dir())
    shutil.rmtree(store / "heldout")
    with StoreWriter(store / "heldout", 150, {}):
        pass
    data = {"store": str(store)}
    with pytest.raises(UserError, match="long enough") as caught:
        pretrain({**recipe, "data": data, "out": str(tmp_path / "other"), "tokenizer": {}})
    assert "jeoni data prepare" in str(caught.value.hint)


def test_the_help_names_every_objective() -> None:
    from jeoni.base import lookup
    from jeoni.cli import pretrain as verb

    said = verb.pretrain.__doc__ or ""
    assert all(name in said for name in lookup.names("jeoni.objectives"))


def test_a_run_does_not_go_on_with_other_text(text: Path, tmp_path: Path) -> None:
    recipe = settings(text, tmp_path / "run", objectives="masked_lm")
    found = dict(pretrain(recipe).results)
    (store,) = (p for p in (tmp_path / "texts").iterdir() if (p / "train").is_dir())
    mark = store / "train" / "store.json"
    mark.write_text(mark.read_text(encoding="utf-8").replace("{", "{ ", 1), encoding="utf-8")
    with pytest.raises(UserError, match="data have changed"):  # nor is it what was asked for
        pretrain(recipe)
    (tmp_path / "run" / "results.json").unlink()  # as if it had been interrupted
    with pytest.raises(UserError, match="data have changed"):
        pretrain(recipe)
    write_json(tmp_path / "run" / "results.json", found)
    shutil.rmtree(store)
    assert pretrain(recipe).earlier


def test_a_finished_run_says_that_its_raw_text_has_changed(text: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    shutil.copy(text, own)
    recipe = settings(own, tmp_path / "run", objectives="masked_lm")
    pretrain(recipe)
    assert pretrain(recipe).earlier
    own.write_text(own.read_text(encoding="utf-8").upper(), encoding="utf-8")
    with pytest.raises(UserError, match=r"text has changed since .*own\.txt"):
        pretrain(recipe)
    own.unlink()  # results may outlive the text
    assert pretrain(recipe).earlier


def test_more_short_steps_than_the_text_gives(text: Path, tmp_path: Path) -> None:
    recipe = settings(text, tmp_path / "run", objectives="masked_lm")
    with pytest.raises(UserError, match=r"short\.steps is 10000"):
        pretrain({**recipe, "short": {"length": 12, "steps": 10000}})


@pytest.mark.parametrize(
    ("family", "objective"),
    [
        ("bert", "masked_lm"),
        ("electra", "replaced_token"),
        ("gpt2", "causal_lm"),
        ("xlnet", "permuted_lm"),
        ("t5", "span_corruption"),
    ],
)
def test_operations_of_an_objective(family: str, objective: str, tmp_path: Path) -> None:
    """As many as torch counts, forward: a decoder's, a second stream's and a generator's, too."""
    from torch.utils.flop_counter import FlopCounterMode

    model = parts.model(family)
    mixture = parts.mixture(objective, model)
    store = parts.store(tmp_path / "store", model.tokenizer)
    batches = StoreBatches(store, mixture, length=32, config=BatchConfig(size=8), seed=0)
    read = [batch for step in batches.sample() for batch in step]
    mixture.module.train().requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for batch in read:
            mixture(batch)
    # Training is three times forward. (Torch counts masked pairs, too; and the second stream has no keys
    # and values of its own, which we count.)
    counted = pretrain_pages.operations(mixture, 32, read) / 3
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.2)


def test_a_part_of_the_text(text: Path, tmp_path: Path) -> None:
    """Whole documents, in their order; less is part of more, and what is held out stays."""
    found = {}
    for fraction in (0.25, 0.5, 1.0):
        data = {"text": str(text), "held_out": 0.2, "fraction": fraction}
        out = tmp_path / str(fraction)
        result = pretrain({**settings(text, out, objectives="masked_lm"), "data": data})
        found[fraction] = result.results["data"]
    assert len({facts["held_out_tokens"] for facts in found.values()}) == 1
    whole, *parts_ = sorted(
        (tmp_path / "texts").rglob("tokens.bin"), key=lambda p: -len(p.read_bytes())
    )
    stores = [TokenStore(p.parent) for p in (whole, *parts_) if p.parent.name != "heldout"]
    documents = [
        [store.ids[a:b].tolist() for a, b in itertools.pairwise(store.documents.tolist())]
        for store in stores
    ]
    assert [len(d) for d in documents] == [found[f]["train_documents"] for f in (1.0, 0.5, 0.25)]
    assert [d for d in documents[0] if d in documents[1]] == documents[1]
    assert [d for d in documents[1] if d in documents[2]] == documents[2]
    assert 0 < len(documents[2]) < len(documents[1]) < len(documents[0])
    for store in stores:
        assert set(store.documents.tolist()) <= set(store.sentences.tolist())
    sentences = [set(np.diff(store.sentences).tolist()) for store in stores]
    assert sentences[1] <= sentences[0]


def test_two_runs_that_make_the_same_part_at_once(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = PretrainRecipe(**settings(text, tmp_path / "run"))
    whole = texts.open_texts(recipe).train
    data = {**recipe.data.model_dump(), "fraction": 0.5}
    half = recipe.model_copy(update={"data": CorpusConfig(**data)})
    inodes = []

    def slowly(store: TokenStore, folder: Path, fraction: float) -> None:
        write_part(store, folder, fraction)
        if not inodes:  # another process, which is faster
            inodes.append(0)
            inodes[0] = (texts._part(half, whole.folder) / "store.json").stat().st_ino

    monkeypatch.setattr(texts, "write_part", slowly)
    monkeypatch.setattr("os.getpid", iter(range(100)).__next__)
    part = texts._part(half, whole.folder)
    TokenStore(part).check()
    assert (part / "store.json").stat().st_ino == inodes[0]
    assert [p.name for p in part.parent.iterdir() if p.name.startswith(".")] == []


def test_a_tokenizer_that_was_half_written_is_made_again(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = PretrainRecipe(**settings(text, tmp_path / "run"))
    save = Tokenizer.save

    def killed(self: Tokenizer, folder: Path) -> None:
        save(self, folder)
        (folder / "tokenizer.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(Tokenizer, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        texts.open_texts(recipe)
    monkeypatch.setattr(Tokenizer, "save", save)
    assert texts.open_texts(recipe).tokenizer is not None


def test_too_small_a_part(text: Path, tmp_path: Path) -> None:
    recipe = settings(text, tmp_path / "run", objectives="masked_lm")
    data = {**recipe["data"], "fraction": 1e-9}
    with pytest.raises(UserError, match="is none"):
        pretrain({**recipe, "data": data})


def test_spare_rows_are_sentinels(text: Path, tmp_path: Path) -> None:
    """Span corruption with a vocabulary that has none; the model knows them when it is read again."""
    common = {
        **settings(text, tmp_path / "bert"),
        "objectives": "masked_lm",
        "model": "bert-L2-H128",
    }
    common["spec"] = SPEC
    pretrain(common)
    (store,) = (p for p in (tmp_path / "texts").iterdir() if (p / "train").is_dir())
    spec = {"layers": 1, "decoder_layers": 1, "hidden": 32, "heads": 2, "head_size": 16}
    recipe = {
        **SMALL,
        "model": "t5-small",
        "spec": spec,
        "data": str(store),
        "objectives": "span_corruption",
    }
    with pytest.raises(UserError, match=r"tokenizer\.spare"):
        pretrain({**recipe, "tokenizer": {}, "out": str(tmp_path / "none")})
    result = pretrain({**recipe, "tokenizer": {"spare": 8}, "out": str(tmp_path / "some")})
    model = hub.load(result.folder)
    assert model.spec.vocab == model.tokenizer.vocab_size + 8
    assert len(sentinels(model)) == 8
