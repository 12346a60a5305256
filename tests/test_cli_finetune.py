"""``jeoni finetune``: what is a recipe, what is a setting; names with a slip in them."""

from pathlib import Path

import pytest
import yaml

import tiny
from shell import Run, user_error


@pytest.fixture
def recipe(tiny_folder: Path, reviews_csv: Path, tmp_path: Path) -> Path:
    """A recipe in a file that has a = in its name."""
    data = {"train": str(reviews_csv), "dev": str(reviews_csv), "text": "review", "label": "stars"}
    path = tmp_path / "lr=1e-3" / "mine.yaml"
    path.parent.mkdir()
    values = tiny.recipe(tiny_folder, data, tmp_path / "run")
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_a_recipe_with_an_equals_sign_in_its_path(jeoni: Run, recipe: Path, tmp_path: Path) -> None:
    result = jeoni("finetune", str(recipe), "train.steps=1")
    assert result.status == 0, result.err
    written = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text(encoding="utf-8"))
    assert written["train"]["steps"] == 1
    assert written["train"]["lr"] == 1e-3


def test_two_recipes(jeoni: Run, recipe: Path) -> None:
    result = jeoni("finetune", str(recipe), "other.yaml")
    assert result.status == 2
    assert "one recipe file at most, these are 2" in " ".join(result.err.split()).replace("│ ", "")


def test_what_is_no_file_is_a_setting(jeoni: Run, tmp_path: Path) -> None:
    result = jeoni("finetune", f"{tmp_path}/lr=1.yaml", "--model", "bert-base", "data.train=x.csv")
    assert result.status == 2
    assert "unknown key" in result.err


def test_a_slip_in_the_name_of_a_preset(
    jeoni: Run, reviews_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    data = (f"data.train={reviews_csv}", "data.text=review", "data.label=stars")
    result = jeoni("finetune", "--model", "bert-bsae", *data, f"out={tmp_path / 'run'}")
    assert result.status == 2
    assert result.err.startswith("jeoni: no folder 'bert-bsae'")
    assert "the preset 'bert-base', which starts from random weights" in result.err
    assert not (tmp_path / "run").exists()


def test_a_finished_run_read_again_says_so(jeoni: Run, recipe: Path, tmp_path: Path) -> None:
    arguments = ("finetune", str(recipe), "train.steps=1", "--json")
    first, again = jeoni(*arguments), jeoni(*arguments)
    assert (first.status, again.status) == (0, 0)
    told = f"already finished: results from {tmp_path / 'run'}; another folder with --out FOLDER"
    assert told not in first.err
    assert told in again.err.splitlines()
    assert first.out == again.out
    for damaged in ("[]", "{}"):
        (tmp_path / "run/results.json").write_text(damaged)
        user_error(jeoni(*arguments), "results.json is damaged", "delete it")


def test_epochs_beside_steps_do_nothing(jeoni: Run, recipe: Path, tmp_path: Path) -> None:
    """They are told, not kept in the run's recipe, and do not make it another run."""
    first = jeoni("finetune", str(recipe), "train.steps=1")
    assert "warning" in first.err
    assert "train.steps=1 decides how long it trains, and train.epochs=1 does nothing" in first.err
    written = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text(encoding="utf-8"))
    assert "epochs" not in written["train"]
    again = jeoni("finetune", str(recipe), "train.steps=1", "train.epochs=9")
    assert (again.status, "already finished" in again.err) == (0, True)


def test_a_model_of_pairs_is_asked_about_pairs(jeoni: Run, recipe: Path, tmp_path: Path) -> None:
    rows = [(text, text, label) for text, label in tiny.REVIEWS]
    table = tiny.write_csv(tmp_path / "pairs.csv", rows, ("review", "other", "stars"))
    files = (f"data.train={table}", f"data.dev={table}", "data.pair=other")
    result = jeoni("finetune", str(recipe), "train.steps=1", *files)
    command = f'jeoni classify --model {tmp_path / "run"} "a text" --pair "a text"\n'
    assert result.out.endswith(command), result.err
