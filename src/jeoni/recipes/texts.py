"""The text of a pretraining run: token stores for training and held out, and their tokenizer."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jeoni.base import rng
from jeoni.base.errors import UserError
from jeoni.base.files import making
from jeoni.data.prepare import sources
from jeoni.data.prepare.document_lines import DocumentLines
from jeoni.data.prepare.folder import check_inputs
from jeoni.data.prepare.pipeline import prepare
from jeoni.data.prepare.settings import PrepareConfig
from jeoni.data.store_part import write_part
from jeoni.data.token_store import TokenStore
from jeoni.models import hub
from jeoni.recipes import build
from jeoni.recipes.pretrain_settings import PretrainRecipe
from jeoni.text import recipes as tokenizers
from jeoni.text.extension import extended
from jeoni.text.tokenizer import Tokenizer
from jeoni.text.training import KINDS, train
from jeoni.training import distributed

TRAIN, HELD_OUT, TOKENIZER, MARK = "train", "heldout", "tokenizer", "store.json"
REPORT = "report.json"
"""What ``prepare`` writes last."""
SAMPLE = 200_000
"""Lines that a vocabulary is learned from, at most."""


@dataclass(frozen=True)
class Texts:
    """What a run reads.

    Attributes:
        train, held_out: the stores.
        tokenizer: that of the stores, where it is with them.
        facts: for the results.
        marks: files that differ where the text does.
    """

    train: TokenStore
    held_out: TokenStore
    tokenizer: Tokenizer | None
    facts: Mapping[str, Any]
    marks: Mapping[str, Path]


def open_texts(recipe: PretrainRecipe) -> Texts:
    """The stores that a recipe names, made from its text where there are none yet.

    Raises:
        UserError: no text, two ways to it, or what ``prepare`` finds wrong with it.
    """
    data = recipe.data
    if (data.store is None) == (not data.text):
        raise UserError(
            "recipe: no text" if data.store is None else "recipe: both data.store and data.text",
            hint="data.text=FILE, or data.store=FOLDER as jeoni data prepare FOLDER FILES... writes it",
        )
    if recipe.tokenizer.add and data.store is not None:
        raise UserError(
            "recipe: tokenizer.add, but the tokens of data.store are made already",
            hint="data.text=FILE; or a store made with a tokenizer that has the model's tokens, and more",
        )
    place = Path(data.store).expanduser() if data.store is not None else _prepared(recipe)
    train_store, held_out = TokenStore(_part(recipe, place / TRAIN)), TokenStore(place / HELD_OUT)
    own = place / TOKENIZER
    facts = {
        "store": str(place),
        "train_tokens": len(train_store),
        "train_documents": len(train_store.documents) - 1,
        "held_out_tokens": len(held_out),
    }
    tokenizer = Tokenizer.from_folder(own) if own.is_dir() else None
    marks = {"text": train_store.folder / MARK, "held-out text": held_out.folder / MARK}
    return Texts(train_store, held_out, tokenizer, facts, marks)


def texts_left(recipe: PretrainRecipe, place: Path) -> dict[str, Path]:
    """The marks of a run that is over: results may outlive the text; if it is there, it must be the same.

    A part of a store has another mark than the store.

    Args:
        recipe: the run's.
        place: the folder with its stores.

    Raises:
        UserError: the stores are there, and the files that they were made of have changed since.
    """
    marks = {"text": place / TRAIN / MARK, "held-out text": place / HELD_OUT / MARK}
    if recipe.data.fraction < 1:
        del marks["text"]
    raw = [_located(name) for name in recipe.data.text]
    if raw and (place / REPORT).is_file():
        check_inputs(place, raw)
    return {name: path for name, path in marks.items() if path.is_file()}


def _prepared(recipe: PretrainRecipe) -> Path:
    """The folder with the prepared text, beside the runs: others with the same text use it, too."""
    inputs = [_located(name) for name in recipe.data.text]
    like = _like(recipe)
    facts = {
        "text": [str(Path(name).resolve()) for name in inputs],
        "held_out": recipe.data.held_out,
        "tokenizer": recipe.tokenizer.model_dump(mode="json", exclude={"spare", "add"}),
        "like": like if like is not None else str(_start(recipe)),
    }
    if recipe.data.text_column != "text":
        facts["text_column"] = recipe.data.text_column
    own: dict[str, Any] = {}
    if sources.has_columns(inputs):  # a column called score may be anything: the recipe names none
        own = facts["scores"] = {"score_column": None}
    if recipe.tokenizer.add:
        facts["add"] = recipe.tokenizer.add
    mark = f"{rng.derive(json.dumps(facts, sort_keys=True)):x}"[:8]
    name = Path(inputs[0]).name.split(".")[0]
    place = recipe.folder().parent / "texts" / f"{name}-{mark}"
    if distributed.rank() == 0:
        config = PrepareConfig(
            inputs=tuple(inputs),
            tokenizer=str(_tokenizer(recipe, inputs, like, place)),
            text_column=recipe.data.text_column,
            held_out=recipe.data.held_out,
            **own,
        )
        prepare(config, place, show=True)
    return _there(place, REPORT)


def _part(recipe: PretrainRecipe, whole: Path) -> Path:
    """The store that is trained on: all, or a part of it, beside the runs."""
    fraction = recipe.data.fraction
    if fraction == 1:
        return whole
    store = TokenStore(whole)
    mark = f"{rng.derive((whole / MARK).read_text(encoding='utf-8'), str(fraction)):x}"[:8]
    place = recipe.folder().parent / "texts" / f"{whole.parent.name}-part-{mark}"
    if distributed.rank() == 0 and not place.exists():
        with making(place) as aside:
            write_part(store, aside, fraction)
    return _there(place, MARK)


def _there(folder: Path, file: str) -> Path:
    """The folder, as soon as the first process has written its last file.

    Others may wait for longer than processes wait for each other when they connect.
    """
    while not (folder / file).is_file():
        time.sleep(0.2)
    return folder


def _located(name: str) -> str:
    """A file of the user's; else a sample that comes with jeoni."""
    sample = Path(str(files("jeoni.data") / "samples" / f"{name}.txt.zst"))
    return str(sample) if sample.is_file() and not Path(name).exists() else name


def _like(recipe: PretrainRecipe) -> str | None:
    """Whose tokenizer a preset's is to be like; None: the model brings its own."""
    if not build.is_preset(recipe):
        return None
    return hub.own_family(hub.presets(recipe.family)[recipe.model][0]).tokenizer


def _start(recipe: PretrainRecipe) -> Path:
    """The folder of the checkpoint that a run starts from."""
    return build.located(recipe.model, list(hub.presets(recipe.family)))


def _tokenizer(recipe: PretrainRecipe, inputs: list[str], like: str | None, place: Path) -> Path:
    """The folder of the tokenizer: the one named, the model's (with new pieces), or one learned."""
    folder, add = place.with_name(f"{place.name}-{TOKENIZER}"), recipe.tokenizer.add
    lines = DocumentLines(inputs, text_column=recipe.data.text_column, sample=SAMPLE)
    if like is None:
        if add and not folder.is_dir():
            own = Tokenizer.from_folder(_start(recipe))
            _save(extended(own, lines, add), folder)
        return folder if add else _start(recipe)
    if add:
        raise UserError(
            f"recipe: tokenizer.add is for a checkpoint, and {recipe.model!r} is a preset",
            hint="tokenizer.vocab_size=N is how many tokens are learned for it",
        )
    if recipe.tokenizer.path is not None:
        return Path(recipe.tokenizer.path).expanduser()
    if not folder.is_dir():
        kinds = {kind: name for name, kind in KINDS.items()}
        published = tokenizers.find(like)
        learned = train(
            lines,
            kind=kinds.get(published.kind, "bpe"),
            vocab_size=recipe.tokenizer.vocab_size,
            like=published.like,
            lowercase=recipe.tokenizer.lowercase,
            show=True,
        )
        _save(learned, folder)
    return folder


def _save(tokenizer: Tokenizer, folder: Path) -> None:
    with making(folder) as aside:
        tokenizer.save(aside)
