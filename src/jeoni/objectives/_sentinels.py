"""Tokens that stand for what was taken out of a text, told apart by number."""

import re

import numpy as np

from jeoni.base.errors import UserError
from jeoni.models.model import Model
from jeoni.objectives._draft import Ints
from jeoni.text.tokenizer import Tokenizer

FORMS = (r"<extra_id_(\d+)>", r"[\[<]unused(\d+)[\]>]")
"""T5's sentinels; what BERT's and Korean vocabularies have to spare."""


def sentinels(model: Model) -> Ints:
    """Their ids in the order of their numbers: sentinels, else unused tokens, else rows without a token.

    Raises:
        UserError: there is none of all that.
    """
    found = spare_ids(model.tokenizer)
    if len(found):
        return found
    names = model.tokenizer.tokens
    rest = [id for id in range(model.spec.vocab) if id >= len(names) or not names[id]]
    if rest:
        return np.array(rest[::-1], np.int64)
    raise UserError(
        "span_corruption: the tokenizer has no sentinels (<extra_id_0>, <extra_id_1>, ...)",
        hint="train one that has: jeoni tokenizer train --kind unigram --like t5; or give a new model "
        "rows that no token has: tokenizer.spare=32",
    )


def spare_ids(tokenizer: Tokenizer) -> Ints:
    """Ids of sentinels, else of unused tokens, in the order of their numbers; there may be none."""
    for form in FORMS:
        matches = ((re.fullmatch(form, name), id) for id, name in enumerate(tokenizer.tokens))
        found = sorted((int(match[1]), id) for match, id in matches if match)
        if found:
            return np.array([id for _, id in found], np.int64)
    return np.empty(0, np.int64)
