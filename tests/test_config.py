"""Recipes: overrides as people write them, and errors that name the key."""

import itertools
import warnings
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field

from jeoni.base.config import Config, as_yaml, override, parse, read_yaml
from jeoni.base.errors import UserError
from jeoni.data.catalog import DataConfig
from jeoni.recipes.finetune import resolve
from jeoni.recipes.pretrain import resolve as of_pretraining
from jeoni.recipes.run import claim
from jeoni.recipes.settings import FinetuneRecipe
from jeoni.training.config import TrainConfig


class Inner(Config):
    rate: float = Field(0.1, gt=0)
    names: tuple[str, ...] = ()
    kind: Literal["long", "short"] = "long"


class Outer(Config):
    title: str = ""
    inner: Inner = Inner()
    maybe: Inner | None = None
    count: int = 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"titel": "x"}, r"unknown key 'titel'; did you mean 'title'\?"),
        ({"inner": {"rat": 1}}, r"unknown key 'inner\.rat'; did you mean 'inner\.rate'\?"),
        ({"maybe": {"nams": []}}, r"unknown key 'maybe\.nams'; did you mean 'maybe\.names'\?"),
        ({"zzzz": 1}, r"unknown key 'zzzz'; known: count, inner, maybe, title"),
        ({"inner": {"rate": 0}}, r"inner\.rate must be above 0, not 0"),
        ({"inner": {"rate": "fast"}}, r"inner\.rate must be a number, not 'fast'"),
        ({"inner": {"kind": "wide"}}, r"inner\.kind must be 'long' or 'short', not 'wide'"),
        ({"inner": {"names": [["x"]]}}, r"inner\.names must be a text, not \['x'\]"),
        ({"count": 1.5}, r"count must be a whole number, not 1\.5"),
        ({"inner": 3}, r"inner must be a section of settings, such as \{KEY: VALUE\}, not 3"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^my.yaml: {message}"):
        parse(Outer, values, where="my.yaml")


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        parse(Outer, {"titel": 1, "inner": {"rat": 1, "kind": "no"}})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("recipe: ") for line in lines)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UserError, match="key 'data' is missing"):
        parse(FinetuneRecipe, {"model": "m"})


def test_a_missing_key_says_what_to_give() -> None:
    with pytest.raises(UserError, match=r"'model' is missing\n.*\n.*--model .*; --data NAME"):
        resolve(None, [], {})
    with pytest.raises(UserError, match="'data' is missing") as caught:
        resolve(None, [], {"model": "m"})
    assert "--model" not in str(caught.value)


def test_no_message_is_the_library_s_own() -> None:
    """Whatever is given for whichever key, the sentence names the key and speaks no pydantic."""
    wrong = (None, True, -1, 1e400, "x", [], [[]], {"x": 1}, {})
    messages = []
    for key, value in itertools.product(FinetuneRecipe.model_fields, wrong):
        try:
            parse(FinetuneRecipe, {**BASE, key: value})
        except UserError as error:
            messages.append((key, str(error)))
    assert len(messages) > 40
    for key, message in messages:
        assert "Input should" not in message
        assert all(f" {key}" in s or f"'{key}." in s for s in message.splitlines())


def test_settings_of_a_section_say_their_path() -> None:
    with pytest.raises(UserError, match=r"unknown key 'inner\.rat'; did you mean 'inner\.rate'\?"):
        parse(Inner, {"rat": 1}, within="inner")
    with pytest.raises(UserError, match=r"^recipe: inner\.rate must be above 0, not 0$"):
        parse(Inner, {"rate": 0}, within="inner")


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"steps": 5, "epochs": 3}, "train.steps=5"),
        ({"hours": 2, "epochs": 3}, r"train.hours=2.0"),
        ({"steps": 5}, None),
        ({"epochs": 3}, None),
    ],
)
@pytest.mark.parametrize("resolved", [resolve, of_pretraining], ids=["finetune", "pretrain"])
def test_epochs_that_do_nothing(
    resolved: Any, train: dict[str, Any], told: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    resolved(BASE, [], {"train": train})
    messages = [str(w.message) for w in recwarn]
    begins = f"recipe: {told} decides how long it trains, and train.epochs=3 does nothing; "
    assert [m.startswith(begins) for m in messages] == [True] * (told is not None)


def test_epochs_of_a_recipe_that_ends_by_the_clock(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"train\.hours=0\.03 decides .*; train\.hours=null lets"):
        of_pretraining("bert-demo", ["train.epochs=3"], {})
    with pytest.warns(UserWarning, match="flops=1000000.0 decides"):
        full = of_pretraining(BASE, ["train.epochs=3", "flops=1e6"], {})
    claim(tmp_path, full, {})
    with warnings.catch_warnings():  # what is written of it does not name them
        warnings.simplefilter("error")
        of_pretraining(tmp_path / "recipe.yaml", [], {})


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer().count = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("3E5", 3e5),
        ("2.5e-5", 2.5e-5),
        (".5", 0.5),
        ("3", 3),
        ("-1", -1),
        ("true", True),
        ("false", False),
        ("null", None),
        ("", None),
        ("squad", "squad"),
        ("bert-L2-H128", "bert-L2-H128"),
        ("'1e-4'", "1e-4"),
        ('"3"', "3"),
        ("'true'", "true"),
        ("[1,2, 3]", [1, 2, 3]),
        ("[negative,positive]", ["negative", "positive"]),
        ("[0.5, 1e-4]", [0.5, 1e-4]),
        ("{layers: 2, hidden: 32}", {"layers": 2, "hidden": 32}),
        ("긍정", "긍정"),
        ("a=b", "a=b"),
        ("my file.csv", "my file.csv"),
        ("data/run #2.csv", "data/run #2.csv"),
        ("# {title}", "# {title}"),
        ("say {text}\nin short", "say {text}\nin short"),
        ("'say {text} # now'", "say {text} # now"),
        ("/data/a: b.csv", "/data/a: b.csv"),
        ("review: {text}", "review: {text}"),
        ("{label}", "{label}"),
        ("{a} and {b}", "{a} and {b}"),
        ("- ", "- "),
        ("{}", {}),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("C:\\data\\my.csv", "C:\\data\\my.csv"),
        ("2024-01-31", "2024-01-31"),
        ("[unclosed", "[unclosed"),
        ("@handle", "@handle"),
        ("nan", "nan"),
        ("infinity", "infinity"),
    ],
)
def test_the_right_side_of_an_override(text: str, value: Any) -> None:
    assert override({}, [f"key={text}"]) == {"key": value}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_comes_through(value: float) -> None:
    assert override({}, [f"x={value!r}"])["x"] == value


@pytest.mark.parametrize(
    ("start", "assignments", "result"),
    [
        ({}, ["a.b.c=1", "a.b.d=2", "a.e=3"], {"a": {"b": {"c": 1, "d": 2}, "e": 3}}),
        ({"a": {"b": 1, "c": 2}}, ["a.b=5"], {"a": {"b": 5, "c": 2}}),
        ({"a": 1}, ["a=2", "a=3"], {"a": 3}),
        ({"a": None}, ["a.b=1"], {"a": {"b": 1}}),
        ({"task": "span_qa"}, ["task.stride=64"], {"task": {"name": "span_qa", "stride": 64}}),
        ({}, ["task=span_qa", "task.stride=64"], {"task": {"name": "span_qa", "stride": 64}}),
        ({}, ["task.stride=64", "task=span_qa"], {"task": {"stride": 64, "name": "span_qa"}}),
        ({}, ["data=squad", "data.limit_train=5"], {"data": {"name": "squad", "limit_train": 5}}),
        ({"a": {"b": 1}}, ["a={c: 2}"], {"a": {"c": 2}}),
    ],
)  # fmt: skip
def test_overrides_reach_inside(
    start: dict[str, Any], assignments: list[str], result: dict[str, Any]
) -> None:
    assert override(start, assignments) == result


def test_overrides_leave_what_they_were_given_alone() -> None:
    start: dict[str, Any] = {"a": {"b": {"c": 1}}}
    override(start, ["a.b.c=2", "a.b.d=3"])
    assert start == {"a": {"b": {"c": 1}}}


@pytest.mark.parametrize("text", ["train.lr", "=3", ""])
def test_no_override_at_all(text: str) -> None:
    with pytest.raises(UserError, match="is not an override"):
        override({}, [text])


# Files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", r"line 3: not valid YAML"),
        ("a: 1\n\tb: 2\n", r"line 2: not valid YAML"),
        ("a: b: c\n", r"line 1: not valid YAML"),
        ("- a\n- b\n", r"a recipe is a mapping .* this is a list"),
        ("just text\n", r"a recipe is a mapping .* this is a str"),
    ],
)
def test_broken_yaml(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    """The first would be passed over, and what is said of it with it; merged keys are meant to be."""
    path = tmp_path / "my.yaml"
    path.write_text("train: {lr: 1}\nmodel: m\ntrain: {epochs: 3}\n")
    with pytest.raises(UserError, match=r"my\.yaml, line 3: .*key 'train' is there twice"):
        read_yaml(path)
    path.write_text("a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}\nd: *b\n")
    assert read_yaml(path)["d"] == {"x": 2}


def test_a_file_and_the_command_line_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("spec: {norm_eps: 1e-6}\nout: 2024-05-01\nmodel: '1e5'\n")
    assert read_yaml(path) == {"spec": {"norm_eps": 1e-6}, "out": "2024-05-01", "model": "1e5"}
    assert read_yaml(path) == override(
        {}, ["spec={norm_eps: 1e-6}", "out=2024-05-01", "model='1e5'"]
    )


@given(st.one_of(st.floats(allow_nan=False), st.from_regex(r"[-+]?\.?[0-9]\.?[eE][-+]?[0-9]\Z")))
@example("1e-6")
@example("2024-05-01")
@example("12:30")
@example("\x850E0")
@example("a\u2028b")
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(as_yaml({"key": value}), encoding="utf-8")
    assert repr(read_yaml(path)["key"]) == repr(value)
    path.write_text(yaml.safe_dump({"key": value}), encoding="utf-8")  # as it was written before
    assert isinstance(value, str) or read_yaml(path)["key"] == value


@pytest.mark.parametrize("content", [b"name: \xb1\xe2", b"a: \x00"])
def test_a_recipe_that_is_no_text(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"my\.yaml"):
        read_yaml(path)


def test_a_recipe_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no recipe file .*none\.yaml"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"cannot read recipe .*\n.*is a file: .*/recipe\.yaml"):
        read_yaml(tmp_path)


def test_an_empty_recipe_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("# nothing\n")
    assert read_yaml(path) == {}


# The recipe of fine-tuning

BASE = {"model": "m", "data": "squad"}


@pytest.mark.parametrize(
    ("assignments", "section", "value"),
    [
        ([], "task", {"name": "auto"}),
        ([], "strategy", {"name": "full"}),
        (["task=span_qa"], "task", {"name": "span_qa"}),
        (["task.max_length=64"], "task", {"name": "auto", "max_length": 64}),
        (["task=span_qa", "task.max_length=64"], "task", {"name": "span_qa", "max_length": 64}),
        (["task.max_length=64", "task=span_qa"], "task", {"name": "span_qa", "max_length": 64}),
        (["strategy.decay=0.5", "strategy=discriminative"], "strategy",
         {"name": "discriminative", "decay": 0.5}),
        ([], "seeds", (1,)),
        (["seed=7"], "seeds", (7,)),
        (["seeds=7"], "seeds", (7,)),
        (["seeds=[1,2,3]"], "seeds", (1, 2, 3)),
        (["out=2024"], "out", "2024"),
        (["out=2024-05-01"], "out", "2024-05-01"),
    ],
)  # fmt: skip
def test_short_forms(assignments: list[str], section: str, value: Any) -> None:
    assert getattr(resolve(BASE, assignments, {}), section) == value


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["train.leraning_rate=1"], r"unknown key 'train\.leraning_rate'"),
        (["train.epoch=1"], r"did you mean 'train\.epochs'\?$"),
        (["epochs=1"], r"unknown key 'epochs'; did you mean 'train\.epochs'\?$"),
        (["data.epochs=1"], r"did you mean 'train\.epochs'"),
        (["batch_size=4"], r"did you mean 'batch\.size'"),
        (["train.learning_rate=1"], r"did you mean 'train\.lr'"),
        (["max_length=64"], r"did you mean 'task\.max_length'"),
        (["train.decay=0.5"], r"did you mean 'strategy\.decay'"),
        (["train.zzzz=1"], r"unknown key 'train\.zzzz'; known: .*epochs.*warmup"),
        (["train.lr=abc"], r"train\.lr must be a number, not 'abc'$"),
        (["train.lr=.inf"], r"train\.lr must be finite, not inf"),
        (["train.lr=-1"], r"train\.lr must be above 0, not -1"),
        (["train.lr=null"], r"train\.lr must be a number, not nothing"),
        (["train.keep_best=perhaps"], r"train\.keep_best must be true or false, not 'perhaps'"),
        (["train.betas=[0.9]"], r"train\.betas must have at least 2 values, not \[0\.9\]"),
        (["train.betas=[0.9,0.9,0.9]"], r"train\.betas must have at most 2 values"),
        (["train.betas=[0.9,1]"], r"train\.betas must be below 1, not 1"),
        (["seeds=[1,a]"], r"seeds must be a whole number, not 'a'$"),
        (["seeds=[abc]"], r"^recipe: seeds must be a whole number, not 'abc'$"),
        (["seeds=[a,b]"], r"^.*not 'a'\nrecipe: seeds must be a whole number, not 'b'$"),
        (["trian.lr=1e-4"], r"unknown key 'trian'; did you mean 'train'"),
        (["data.tran=my.csv"], r"unknown key 'data\.tran'; did you mean 'data\.train'"),
        (["batch.sise=4"], r"did you mean 'batch\.size'"),
        (["batch.size=0"], r"batch\.size must be at least 1, not 0"),
        (["init=rendom"], r"init must be 'pretrained' or 'random', not 'rendom'"),
        (["seeds=[]"], r"seeds"),
        (["seeds=[1,1]"], r"seeds.*1 .*twice"),
        (["seed=1", "seeds=[1,2]"], r"unknown key 'seed'"),
        (["task=[a]"], r"task"),
    ],
)
def test_mistakes_in_a_recipe(assignments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(BASE, assignments, {})


def test_later_sources_win(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("model: a\ndata: squad\ntrain: {epochs: 3, lr: 1.0e-4}\n")
    full = resolve(path, ["train.epochs=5"], {"model": "b"})
    assert (full.model, full.train.epochs, full.train.lr) == ("b", 5, 1e-4)


def test_settings_of_the_loop_leave_the_others_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("model: a\ndata: {train: my.csv, dev: d.csv}\ntrain: {epochs: 3, lr: 1e-3}\n")
    full = resolve(path, ["train.warmup=0"], {"train": {"epochs": 1}, "batch": {"size": 4}})
    assert (full.train.epochs, full.train.lr, full.train.warmup) == (1, 1e-3, 0)
    assert full.batch.size == 4
    assert resolve(path, [], {"train": None}).train == TrainConfig()
    # Which data: all of it.
    assert resolve(path, [], {"data": {"train": "b.csv"}}).data == DataConfig(train="b.csv")


def test_sections_may_be_settings_of_python(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("model: a\ndata: squad\ntrain: {epochs: 3, lr: 1e-3}\n")
    full = resolve(path, ["train.warmup=0"], {"train": TrainConfig(epochs=1)})
    assert (full.train.epochs, full.train.lr, full.train.warmup) == (1, 1e-3, 0)
    assert resolve(None, [], {"model": "a", "data": DataConfig(name="squad")}).data.name == "squad"


def test_an_error_names_the_recipe_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("model: a\ndata: squad\nepochs: 3\n")
    with pytest.raises(UserError, match=r"my\.yaml: unknown key 'epochs'"):
        resolve(path, [], {})


def test_numbers_are_names_where_a_name_is_wanted() -> None:
    """``data.label=1`` and ``task.labels=[1,2]`` name a column and classes."""
    assert resolve(BASE, ["data.label=1"], {}).data.label == "1"


def test_the_default_folder_tells_what_it_is() -> None:
    plain = resolve(BASE, [], {})
    assert plain.folder() == resolve(BASE, [], {}).folder()
    assert plain.folder().name.startswith("squad-m-full-")
    others = [["train.epochs=7"], ["seed=4"], ["init=random"], ["task.stride=1"]]
    folders = {resolve(BASE, change, {}).folder() for change in others} | {plain.folder()}
    assert len(folders) == len(others) + 1
    free = ["train.threads=1", "train.save_every=5", "device=cpu", "keep_epochs=true"]
    assert resolve(BASE, free, {}).folder() == plain.folder()  # it goes on with others
    own = resolve({"model": "package:some_model"}, ["data.train=dir/my.data.csv"], {})
    assert own.folder().name.startswith("my-some_model-full-")
