"""The text of a pretraining run: token stores for training and held out, and their tokenizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jeoni.base.errors import UserError
from jeoni.data.token_store import TokenStore
from jeoni.recipes.pretrain_settings import PretrainRecipe
from jeoni.text.tokenizer import Tokenizer

TRAIN, HELD_OUT, TOKENIZER, MARK = "train", "heldout", "tokenizer", "store.json"


@dataclass(frozen=True)
class Texts:
    """What a run reads.

    Attributes:
        train, held_out: the stores.
        tokenizer: that of the stores, where it is with them.
        facts: for the results.
        mark: a file that differs where the text does.
    """

    train: TokenStore
    held_out: TokenStore
    tokenizer: Tokenizer | None
    facts: Mapping[str, Any]
    mark: Path


def open_texts(recipe: PretrainRecipe, folder: Path) -> Texts:
    """The stores that a recipe names.

    Raises:
        UserError: there are none, or two ways to them are given.
    """
    store = recipe.data.store
    if store is None:
        raise UserError(
            "recipe: no text",
            hint="data.store=FOLDER, as jeoni data prepare FOLDER FILES... writes it",
        )
    place = Path(store).expanduser()
    train, held_out = TokenStore(place / TRAIN), TokenStore(place / HELD_OUT)
    own = place / TOKENIZER
    facts = {
        "store": str(place),
        "train_tokens": len(train),
        "train_documents": len(train.documents) - 1,
        "held_out_tokens": len(held_out),
    }
    tokenizer = Tokenizer.from_folder(own) if own.is_dir() else None
    return Texts(train, held_out, tokenizer, facts, place / TRAIN / MARK)
