"""A text that is being written: what comes before it, and when it is whole."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from operator import index
from typing import Any, Literal

from jeoni.base.errors import UserError
from jeoni.models.model import Model
from jeoni.models.sampling import Settings
from jeoni.models.streaming import TextStream

Prompt = str | Sequence[int]
Reason = Literal["end", "stop", "length"]
HEAD = "language_model"


@dataclass(frozen=True)
class Written:
    """What was written after a prompt.

    Attributes:
        text: without the prompt, special tokens and a stop text; None if the model has no tokenizer.
        ids: all tokens, the one that ends it and those of a stop text, too.
        reason: ``end``: the model ended it; ``stop``: a stop text came; ``length``: as many tokens as
            allowed, or as the model has positions for.
        score: of a beam search: log probability by the length penalty.
    """

    text: str | None
    ids: tuple[int, ...]
    reason: Reason
    score: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Line:
    """A text that is being written.

    Args:
        prompt: ids that the model reads before.
        start: what the decoder reads first; empty where there is one stack.
        text: decodes; None without a tokenizer.
        ends: ids that end it.
        limit: tokens at most.
    """

    def __init__(
        self,
        *,
        prompt: list[int],
        start: list[int],
        text: TextStream | None,
        ends: frozenset[int],
        limit: int,
    ) -> None:
        self.prompt, self.start, self.text = prompt, start, text
        self.ends, self.limit = ends, limit
        self.ids: list[int] = []
        self.reason: Reason | None = None
        self.score: float | None = None

    @property
    def before(self) -> list[int]:
        """What was there before the first token, on the side that writes."""
        return self.start or self.prompt

    def whole(self, ids: Sequence[int]) -> bool:
        """Whether the text ends here, by itself or by a stop text."""
        return ids[-1] in self.ends or (self.text is not None and self.text.stops(ids))

    def add(self, token: int) -> None:
        """One more; ``reason`` is set if it is the last."""
        self.take([*self.ids, token])

    def take(self, ids: Sequence[int]) -> None:
        """These are the tokens."""
        self.ids = list(ids)
        if ids[-1] in self.ends:
            self.reason = "end"
        elif self.text is not None and self.text.stops(ids):
            self.reason = "stop"
        elif len(ids) >= self.limit:
            self.reason = "length"

    def written(self) -> Written:
        """The result."""
        assert self.reason is not None
        text = None if self.text is None else self.text.text(self.ids)
        return Written(text, tuple(self.ids), self.reason, self.score)


def line_of(model: Model, prompt: Prompt, number: int, settings: Settings) -> Line:
    """The line of a prompt; all mistakes are found here."""
    _check_writes(model)
    ids = _prompt_ids(model, prompt, number)
    model.check_ids(ids, f"prompt {number}")
    start = [model.spec.decoder_start] if model.spec.decoder_layers else []
    if settings.stop and model._tokenizer is None:
        _ = model.tokenizer  # says what to do
    text = None
    if model._tokenizer is not None:
        text = TextStream(model.tokenizer, [] if start else ids, settings.stop)
    limit = settings.max_new
    if model.spec.limit is not None:
        # The last token has no position: nothing reads it.
        limit = min(limit, model.spec.limit - len(start or ids) + 1)
    if 2 * settings.beams > model.spec.vocab:
        raise UserError(f"{settings.beams} beams are too many for {model.spec.vocab} tokens")
    return Line(prompt=ids, start=start, text=text, ends=end_ids(model), limit=limit)


def _check_writes(model: Model) -> None:
    hint = "take a model that was trained to write, such as GPT-2, T5 or BART"
    if HEAD not in model.heads:
        heads = ", ".join(model.heads) or "none"
        raise UserError(
            f"this {model.family.name} model does not write: it has no language model head "
            f"(its heads: {heads})",
            hint=hint,
        )
    if not hasattr(model.backbone, "extend"):
        raise UserError(
            f"this {model.family.name} model does not write: its language model head predicts words "
            "from both sides, and cannot go on from a text step by step here",
            hint=hint,
        )
    if not model.spec.causal and not model.spec.decoder_layers:
        raise UserError(
            f"this {model.family.name} model does not write: every token sees those after it"
        )


def _prompt_ids(model: Model, prompt: Prompt, number: int) -> list[int]:
    if not isinstance(prompt, str):
        try:
            return [index(token) for token in prompt]
        except TypeError:
            raise UserError(f"prompt {number}: neither a text nor a list of token ids") from None
    tokenizer = model.tokenizer
    ids = list(tokenizer.encode(prompt).ids)
    if model.spec.decoder_layers:
        return ids
    # Special tokens at the end would say that the text is over.
    ids = ids[: len(ids) - (tokenizer.special_count() - tokenizer.text_start())]
    if not ids and tokenizer.bos_id is not None:
        return [tokenizer.bos_id]
    if not ids:
        raise UserError(f"prompt {number} is empty, and the tokenizer has no token to begin with")
    return ids


def end_ids(model: Model) -> frozenset[int]:
    """Ids after which a text is whole: of config.json, else the tokenizer's, else the family's."""
    found: Any = model.config.get("eos_token_id")
    if found is None and model._tokenizer is not None:
        found = model.tokenizer.eos_id
    if found is None:
        found = model.family.constants(model.spec).get("eos_token_id")
    return frozenset(found if isinstance(found, list | tuple) else [] if found is None else [found])
