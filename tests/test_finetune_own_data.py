"""Your own data, a preset's sizes and vocabulary: what a run makes of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import tiny
from jeoni.base.errors import UserError
from jeoni.data.catalog import open_dataset
from jeoni.models import hub
from jeoni.recipes import build
from jeoni.recipes.finetune import FinetuneResult, finetune, resolve
from jeoni.serving.predictor import classify
from runs import WEIGHTS, reviews


def test_a_csv_with_other_column_names(label_run: FinetuneResult) -> None:
    data = label_run.results["data"]
    assert (data["name"], data["train_examples"], data["dev_examples"]) == ("reviews", 16, 16)
    assert hub.load(label_run.folder).labels == ["긍정", "부정"]


def test_dev_is_cut_off_where_there_is_none(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    data = {"train": str(reviews_csv), "text": "review", "label": "stars", "dev_fraction": 0.25}
    result = finetune(tiny.recipe(tiny_folder, data, tmp_path / "run"))
    assert result.results["data"]["train_examples"] == 12
    assert result.results["data"]["dev_examples"] == 4


def test_numbers_as_labels_and_pairs(tiny_folder: Path, tmp_path: Path) -> None:
    rows = [(text, "a film", i % 3 + 1) for i, (text, _) in enumerate(tiny.REVIEWS)]
    csv = tiny.write_csv(tmp_path / "pairs.csv", rows, ("a", "b", "score"))
    data = {"train": str(csv), "dev": str(csv), "text": "a", "pair": "b", "label": "score"}
    result = finetune(tiny.recipe(tiny_folder, data, tmp_path / "run"))
    (label,) = classify(result.folder, "좋다", "영화")
    assert set(label.probabilities) == {"1", "2", "3"}
    with pytest.raises(UserError, match=r'was trained on pairs of texts\n.*--pair "..."'):
        classify(result.folder, "좋다")
    with pytest.raises(UserError, match="input 1: the pair is empty"):
        classify(result.folder, "좋다", " ")
    model = hub.load(result.folder)
    del model.settings["columns"]["pair"]
    with pytest.raises(UserError, match=r"was trained on texts, not pairs\n.*without"):
        classify(model, "좋다", "영화")
    del model.settings["columns"]  # as others saved it
    assert classify(model, "좋다")[0] != label


def test_a_preset_with_a_vocabulary_learned_from_the_data(
    reviews_csv: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe(
        "bert-L2-H128", reviews(reviews_csv), tmp_path / "run",
        spec={"hidden": 32, "heads": 2}, tokenizer={"vocab_size": 300},
    )  # fmt: skip
    result = finetune(recipe)
    model = hub.load(result.folder)
    assert (model.spec.hidden, model.spec.heads, model.spec.feed_forward) == (32, 2, 128)
    assert model.spec.vocab == model.tokenizer.vocab_size <= 300
    assert model.tokenizer.encode("영화").tokens[1] != "[UNK]"
    assert len(result.results["metrics"]) > 1
    card = (result.folder / "model/README.md").read_text(encoding="utf-8")
    assert "from random weights in the shape of `bert-L2-H128`" in card


def test_a_vocabulary_of_rows_with_numbers_and_with_nothing(tmp_path: Path) -> None:
    targets: list[Any] = [27, None, True, {"a": "zzz"}, [38, None], "영화"]
    rows = [json.dumps({"source": "둘 셋 둘 셋", "target": target}) for target in targets]
    (tmp_path / "x.jsonl").write_text("\n".join(rows), encoding="utf-8")
    data = dict.fromkeys(("train", "dev"), str(tmp_path / "x.jsonl"))
    sizes = {"spec": {"hidden": 32, "heads": 2}, "tokenizer": {"vocab_size": 300}}
    recipe = resolve(tiny.recipe("bert-L2-H128", data, tmp_path / "run", **sizes), (), {})
    tokenizer = build.model(recipe, open_dataset(recipe.data), seed=1).tokenizer
    assert "[UNK]" not in tokenizer.encode("둘 2 7 3 8 영").tokens
    assert "[UNK]" in tokenizer.encode("z").tokens


def test_a_preset_with_a_given_vocabulary(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    for number, path in enumerate((tiny_folder, tiny_folder / "vocab.txt")):
        recipe = tiny.recipe(
            "electra-small-generator", reviews(reviews_csv), tmp_path / f"run{number}",
            spec={"hidden": 32, "heads": 2, "layers": 1}, tokenizer={"path": str(path)},
        )  # fmt: skip
        model = hub.load(finetune(recipe, "train.steps=1").folder)
        assert model.tokenizer.tokens == hub.load(tiny_folder).tokenizer.tokens


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["spec.hidn=32"], r"spec\.hidn is no size.*\n.*did you mean 'hidden'"),
        (["spec.hidden=33"], r"spec\.hidden=33 is not a multiple of 2 heads"),
        (["spec.hidden=wide"], r"spec\.hidden is 'wide', not a size"),
        (["spec.layers=0"], r"spec\.layers is 0, not a size"),
        (["spec.hidden=32.0"], r"spec\.hidden is 32\.0, not a size"),
        (["spec.dropout=1"], r"spec\.dropout is 1, not a probability"),
        (["spec.activation=rolu"], r"spec\.activation is 'rolu'.*did you mean 'relu'"),
        (["tokenizer.path=none.txt"], r"none\.txt"),
    ],
)
def test_sizes_that_cannot_be(
    change: list[str], message: str, reviews_csv: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe("bert-L2-H128", reviews(reviews_csv), tmp_path / "run")
    with pytest.raises(UserError, match=message):
        finetune(recipe, *change)


def test_sizes_are_for_presets(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="spec changes the sizes of a preset"):
        finetune(tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "a"), "spec.layers=1")
    shipped = tiny.recipe("jeoni-ko-small", reviews(reviews_csv), tmp_path / "c")
    with pytest.raises(UserError, match="a checkpoint has its sizes") as caught:
        finetune(shipped, "spec.layers=1")
    assert "did you mean" not in str(caught.value)
    with pytest.raises(UserError, match="did you mean the preset 'electra-small-generator'"):
        finetune(
            tiny.recipe("electra-small-genarator", reviews(reviews_csv), tmp_path / "b"),
            "spec.layers=1",
        )


@pytest.mark.parametrize("setting", ["path=tok", "vocab_size=300", "lowercase=true"])
def test_tokenizers_are_for_presets(
    setting: str, tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run")
    with pytest.raises(UserError, match=rf"tokenizer\.{setting[:4]}.* is for a preset"):
        finetune(recipe, f"tokenizer.{setting}")


def test_random_weights_of_a_given_model(
    tiny_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    """The same architecture and words; the start is another."""
    rows: list[Any] = []
    recipe = tiny.recipe(tiny_folder, reviews(reviews_csv), tmp_path / "run", init="random")
    finetune(
        recipe, "train.steps=1", "train.lr=1e-9", "strategy=discriminative", on_groups=rows.extend
    )
    assert {row.name for row in rows} == {"new", "new, no decay"}
    ours, start = (load_file(p)["bert.encoder.layer.0.output.dense.weight"] for p in (
        tmp_path / "run" / WEIGHTS, _with_prefix(tiny_folder, tmp_path)))  # fmt: skip
    assert ours.shape == start.shape
    assert float((ours - start).abs().mean()) > 0.01


def _with_prefix(folder: Path, tmp_path: Path) -> Path:
    """The weights with the names that they have below a head."""
    from safetensors.torch import save_file

    tensors = {f"bert.{name}": t for name, t in load_file(folder / "model.safetensors").items()}
    save_file(tensors, tmp_path / "renamed.safetensors")
    return tmp_path / "renamed.safetensors"
