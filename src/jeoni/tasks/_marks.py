"""Special tokens that tasks put into what a model reads; new in its vocabulary, where it lacks them."""

from jeoni.models.growth import grow
from jeoni.models.model import Model
from jeoni.text.extension import with_special


def marks(model: Model, *names: str) -> list[int]:
    """Ids of special tokens of these names.

    Args:
        model: its vocabulary grows by those that it has not; then it keeps no head.
        names: such as ``<|extract|>``.
    """
    known = model.tokenizer.tokens
    missing = [name for name in names if name not in known]
    if missing:
        grow(model, with_special(model.tokenizer, missing))
    return [model.tokenizer.tokens.index(name) for name in names]


def end_mark(model: Model) -> int:
    """The token that ends what the model writes; config.json then names it, and writing stops there.

    That of config.json, the tokenizer's end or separator, else a new one.
    """
    named = model.config.get("eos_token_id")
    if isinstance(named, list) and named:
        named = named[0]
    if not isinstance(named, int) or not 0 <= named < len(model.tokenizer.tokens):
        tokenizer = model.tokenizer
        found = tokenizer.sep_id if tokenizer.eos_id is None else tokenizer.eos_id
        named = marks(model, "<|end|>")[0] if found is None else found
        model.config["eos_token_id"] = named
    return named
