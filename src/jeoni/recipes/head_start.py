"""The head start of a pretraining run: what a model with random weights is given by counting."""

import logging
from pathlib import Path

from torch import nn

from jeoni.base.errors import UserError
from jeoni.data.cooccurrence import word_vectors
from jeoni.data.token_store import TokenStore
from jeoni.models import head_start
from jeoni.models.model import Model
from jeoni.recipes import build
from jeoni.recipes.pretrain_settings import PretrainRecipe
from jeoni.training import checkpoint, distributed

_logger = logging.getLogger(__name__)


def check(recipe: PretrainRecipe) -> None:
    """See that the model starts from random weights, if it is to have a head start.

    Raises:
        UserError: it does not.
    """
    wanted = recipe.head_start.words or recipe.head_start.neighbors
    if wanted and not build.is_preset(recipe) and recipe.init == "pretrained":
        raise UserError(
            f"recipe: head_start is for random weights, and {recipe.model!r} is a checkpoint",
            hint="leave head_start out; or init=random, to begin anew with the checkpoint's sizes",
        )


def give(recipe: PretrainRecipe, model: Model, store: TokenStore, folder: Path) -> None:
    """Give a model its head start; every process computes the same, and the first one's counts.

    Args:
        recipe: says which.
        model: with random weights, before objectives put their heads on.
        store: the text.
        folder: the run's; where a checkpoint in it is gone on from, nothing is counted.

    Raises:
        UserError: the model cannot have it.
    """
    if recipe.head_start.neighbors:
        head_start.neighbors(model)
    if not recipe.head_start.words:
        return
    table = getattr(model.backbone.embeddings, "words", None)
    if not isinstance(table, nn.Embedding):
        raise UserError(f"head_start.words needs a word table, and {model.family.name} has none")
    if any(checkpoint.damage(path) is None for path in (folder / "checkpoints").glob("step-*")):
        return
    vectors = word_vectors(store, table.embedding_dim, show=distributed.rank() == 0)
    if not head_start.words(model, vectors):
        _logger.warning("head_start.words: too little text, all words start at random")
