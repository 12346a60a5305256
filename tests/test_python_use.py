"""What is given from Python: arrays, generators, paths, and what is none of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import jeoni
import tiny
from jeoni.base.config import gather, parse
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig
from jeoni.models.model import Model
from jeoni.recipes.settings import FinetuneRecipe
from jeoni.serving.predictor import Predictor
from jeoni.serving.vectors import embed, embed_words
from jeoni.tasks import _find as tasks

WORDS = ["Han", "River"]


def trained(task: str, **settings: Any) -> Model:
    """A model as a run of the task leaves it; nothing was learned."""
    kind, model = tasks.find(task), tiny.model()
    model.settings = kind.task(model=model, config=kind.config(**settings)).settings()
    model.settings |= {"task": task}
    return model


@pytest.fixture(scope="module")
def classifier() -> Model:
    return trained("classification", labels=tiny.LABELS, max_length=32)


@pytest.fixture(scope="module")
def tagger() -> Model:
    return trained("tagging", labels=("O", "B-LOC", "I-LOC"), max_length=32)


@pytest.fixture(scope="module")
def reader() -> Model:
    return trained("span_qa", max_length=64, stride=16, max_question=16)


@pytest.fixture(scope="module")
def encoder() -> Model:
    return tiny.model()


@pytest.mark.parametrize("kind", [tuple, np.array, pa.array, iter], ids=lambda kind: kind.__name__)
def test_texts_come_as_they_are_kept(
    classifier: Model, tagger: Model, encoder: Model, kind: Callable[[Any], Any]
) -> None:
    assert jeoni.classify(classifier, kind(WORDS)) == jeoni.classify(classifier, WORDS)
    pairs = jeoni.classify(classifier, WORDS, kind(WORDS))
    assert pairs == jeoni.classify(classifier, WORDS, WORDS)
    assert jeoni.tag(tagger, kind(WORDS)) == jeoni.tag(tagger, WORDS)
    assert np.array_equal(embed(encoder, kind(WORDS)), embed(encoder, WORDS))
    assert len(embed_words(encoder, kind(WORDS))) == 2


def test_words_may_come_one_by_one(tagger: Model, encoder: Model) -> None:
    once: Callable[[], Any] = lambda: [iter(WORDS)]
    assert jeoni.tag(tagger, once()) == jeoni.tag(tagger, [WORDS])
    assert embed_words(encoder, once())[0].shape == (2, 32)


@pytest.mark.parametrize(
    "texts",
    [None, 3, {"text": ["a"]}, pa.table({"text": ["a"]}), np.float64(1)],
    ids=["none", "number", "mapping", "table", "numpy"],
)
def test_what_is_no_list_of_texts(
    classifier: Model, tagger: Model, encoder: Model, texts: Any
) -> None:
    message = "texts must be a text, or a list of texts, not"
    with pytest.raises(UserError, match=message):
        jeoni.classify(classifier, texts)
    with pytest.raises(UserError, match=message):
        jeoni.tag(tagger, texts)
    with pytest.raises(UserError, match=message):
        jeoni.embed(encoder, texts)
    with pytest.raises(UserError, match="prompts must be a text, or a list of texts, not"):
        jeoni.generate(encoder, texts)


def test_questions_and_their_passages(reader: Model) -> None:
    predictor = Predictor(reader, "span_qa")
    (found,) = predictor.answer(iter(["Where?"]), iter(["In Seoul."]))  # type: ignore[arg-type]
    assert found == jeoni.answer(reader, "Where?", "In Seoul.")
    with pytest.raises(UserError, match="2 questions, but 1 passages"):
        predictor.answer(["Where?", "When?"], ["In Seoul."])
    with pytest.raises(
        UserError, match="contexts must be a text, or a list of texts, not NoneType"
    ):
        predictor.answer(["Where?"], None)  # type: ignore[arg-type]


def test_hidden_states_of_a_text_alone_and_of_what_is_none(encoder: Model) -> None:
    (found,) = encoder.hidden_states("Seoul")
    assert np.array_equal(found, encoder.hidden_states(["Seoul"])[0])
    for item in (None, 3, [1.5], [["1"]], [None], b"Han"):
        with pytest.raises(UserError, match="input 0: neither a text, a pair of texts, nor a list"):
            encoder.hidden_states([item])  # type: ignore[list-item]
    assert len(encoder.hidden_states(np.array([[1, 2]])[:, :])) == 1


@pytest.mark.parametrize("use", [jeoni.load, jeoni.describe], ids=lambda use: use.__name__)
def test_what_is_no_model_by_name(use: Callable[..., Any], encoder: Model) -> None:
    for model, kind in ((None, "NoneType"), (encoder, "Model")):
        with pytest.raises(UserError, match=f"a model is named by .* this is a {kind}"):
            use(model)


def test_names_that_are_too_long_and_folders_that_are_files(encoder: Model, tmp_path: Path) -> None:
    for name in ("x" * 5000, f"/tmp/{'x' * 300}"):
        with pytest.raises(UserError, match=r"no folder '?[/x]"):
            jeoni.load(name)
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "model"):
        with pytest.raises(UserError, match=r"cannot write .*file"):
            encoder.save(folder)
    assert (tmp_path / "file").read_text() == "not a folder"


def test_wrong_values_of_arguments(encoder: Model, classifier: Model, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    with pytest.raises(UserError, match=r"init='randm' is none\n.*pretrained or random"):
        jeoni.load(tmp_path, init="randm")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="layers=-1 is none"):
        embed(encoder, "a", layers=-1)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no kind of device named None"):
        jeoni.classify(classifier, "a", device=None)  # type: ignore[arg-type]


def test_numbers_that_are_none(tmp_path: Path) -> None:
    plan: Any = jeoni.plan
    with pytest.raises(UserError, match="tokens must be a number, not '1e9'"):
        plan(tiny.model().save(tmp_path), tokens="1e9")
    assert plan(tmp_path, tokens=np.int64(10**9)).steps > 0
    mistakes: list[dict[str, Any]] = [{"resamples": "9"}, {"resamples": 9.5}, {"seed": -1}]
    mistakes += [{"resamples": 0}, {"resamples": 10**12}]
    for wrong in mistakes:
        (name,) = wrong
        with pytest.raises(UserError, match=f"{name}="):
            jeoni.compare("a", "b", **wrong)


def test_data_and_splits_that_are_none(classifier: Model, tmp_path: Path) -> None:
    path = tiny.write_csv(tmp_path / "reviews.csv")
    data = {"dev": path, "text": "review", "label": "stars"}
    assert jeoni.evaluate(classifier, data)["n"] == len(tiny.REVIEWS)
    uses: list[Any] = [jeoni.evaluate, jeoni.predict]
    for use in uses:
        with pytest.raises(UserError, match=r"no split 'tets'\n.*train, dev or test"):
            use(classifier, data, split="tets")
        for wrong in (path, None, ["a text"]):
            with pytest.raises(UserError, match="data: this must be a section of settings"):
                use(classifier, wrong)
        with pytest.raises(UserError, match="settings must be a mapping"):
            use(classifier, data, settings="max_length=3", split="dev")


def test_settings_may_be_paths_and_numbers_of_numpy() -> None:
    given: dict[str, Any] = {
        "model": Path("model"),
        "data": {"train": Path("a.csv"), "only": {"n": np.int64(3)}},
        "task": {"max_length": np.int64(8), "labels": np.array(["a", "b"])},
        "train": {"lr": np.float32(0.5)},
        "seeds": np.arange(2),
        "out": Path("run"),
    }
    recipe = parse(FinetuneRecipe, gather(None, ["train.epochs=2"], given, FinetuneRecipe)[0])
    plain = {
        "model": "model",
        "data": {"train": "a.csv", "only": {"n": 3}},
        "task": {"max_length": 8, "labels": ["a", "b"]},
        "train": {"lr": 0.5, "epochs": 2},
        "seeds": [0, 1],
        "out": "run",
    }
    same = parse(FinetuneRecipe, plain)
    assert recipe == same
    assert recipe.model_dump_json() == same.model_dump_json()
    assert isinstance(given["model"], Path)
    assert parse(DataConfig, {"test": Path("b.csv")}).test == "b.csv"


@pytest.mark.parametrize("recipe", [["model=x"], 3, b"x"], ids=["list", "number", "bytes"])
def test_what_is_no_recipe(recipe: Any) -> None:
    with pytest.raises(UserError, match="a recipe is a file or a mapping, this is a"):
        jeoni.finetune(recipe)
    with pytest.raises(UserError, match="is not an override"):
        jeoni.finetune({"model": "x"}, {"train": 1})  # type: ignore[arg-type]
