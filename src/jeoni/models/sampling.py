"""Settings of generation, and the choice of the next token."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from jeoni.base import rng
from jeoni.base.errors import UserError
from jeoni.base.lookup import suggest

FEW = 1024
"""Likeliest tokens that are looked at first: nearly always they hold the whole nucleus."""
LEAST = 1e-30
"""Logits that are divided by less may leave float32."""
MOST = 10
"""A length to a higher power may leave float64."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a text is written. Without a temperature, ``top_k`` or ``top_p``: always the likeliest token.

    Attributes:
        max_new: tokens that are written at most.
        temperature: logits are divided by it; below 1 is closer to the likeliest, 1 the model's own
            distribution.
        top_k: draw from so many of the likeliest tokens (Fan et al., 2018).
        top_p: draw from the likeliest tokens that have this probability together (Holtzman et al., "The
            curious case of neural text degeneration", 2020).
        repetition_penalty: logits of tokens that are in the text already are divided by it, negative ones
            multiplied (Keskar et al., "CTRL", 2019, section 4.1).
        beams: texts that are followed at once; the best is given.
        length_penalty: a beam's log probability is divided by its length to this power (Wu et al., 2016,
            section 7, has a similar one); above 0 favors longer texts.
        early_stopping: with beams: stop as soon as there are as many whole texts as beams (True); when a
            better one is unlikely, by the length so far (False); when there can be none (``never``).
        stop: texts before which it ends.
        seed: of what is drawn: that of the first prompt, each next one has the next number; or one for
            each. What is drawn for a prompt depends on its seed alone.
    """

    max_new: int = 50
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    stop: tuple[str, ...] = ()
    seed: int | tuple[int, ...] = 0

    @classmethod
    def of(cls, **values: Any) -> "Settings":
        """From names and values; lists, a single stop text and numpy's numbers are taken, too.

        Raises:
            UserError: a name that there is none of, or a value that makes no sense.
        """
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(f"generation has no setting {name!r}", hint=suggest(name, names))
        values = {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
        stop = () if values.get("stop") is None else values["stop"]
        values["stop"] = tuple(stop) if isinstance(stop, list | tuple | set) else (stop,)
        if isinstance(values.get("seed"), list | range):
            values["seed"] = tuple(values["seed"])
        settings = cls(**values)
        settings.check()
        return settings

    @property
    def draws(self) -> bool:
        """Whether there is any chance in it."""
        return (self.temperature, self.top_k, self.top_p) != (None, None, None)

    def check(self) -> None:
        """Raise UserError for a value that makes no sense, or two that contradict each other."""
        for name in ("max_new", "beams", "top_k"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not whole and (name != "top_k" or value is not None):
                raise UserError(f"{name} is {value!r}, but takes a whole number from 1")
        self._check_ranges()
        if not (_number(self.length_penalty) and abs(self.length_penalty) <= MOST):
            raise UserError(
                f"length_penalty is {self.length_penalty!r}, but takes a number from -{MOST} to {MOST}"
            )
        if not isinstance(self.early_stopping, bool) and self.early_stopping != "never":
            raise UserError(f"early_stopping is {self.early_stopping!r}, not true, false or never")
        if any(not isinstance(text, str) or not text for text in self.stop):
            raise UserError("stop takes texts that are not empty")
        seeds = (self.seed,) if not isinstance(self.seed, tuple) else self.seed
        if any(not isinstance(seed, int) for seed in seeds):
            raise UserError(f"seed is {self.seed!r}, but takes a whole number, or one a prompt")
        if self.beams > 1 and self.draws:
            raise UserError(
                "beams look for the likeliest text; temperature, top_k and top_p draw one",
                hint="leave out beams, or the other settings",
            )

    def _check_ranges(self) -> None:
        for name, most in (
            ("temperature", math.inf),
            ("top_p", 1.0),
            ("repetition_penalty", math.inf),
        ):
            value = getattr(self, name)
            if value is not None and not (_number(value) and LEAST <= value <= most):
                upto = "" if most == math.inf else f", and at most {most:g}"
                tiny = _number(value) and 0 < value < LEAST
                low = f"at least {LEAST:g}" if tiny else "above 0"
                hint = "for the likeliest token always, leave it out" if not value else None
                raise UserError(f"{name} is {value!r}, but must be {low}{upto}", hint=hint)

    def seeds(self, prompts: int) -> list[int]:
        """One for each prompt.

        Raises:
            UserError: not as many as there are prompts.
        """
        if isinstance(self.seed, int):
            return [self.seed + number for number in range(prompts)]
        if len(self.seed) != prompts:
            raise UserError(f"{len(self.seed)} seeds for {prompts} prompts")
        return list(self.seed)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Chooser:
    """Chooses the next token of each text.

    Args:
        settings: how.
        seeds: one a text.
    """

    def __init__(self, settings: Settings, seeds: Sequence[int]) -> None:
        self.settings = settings
        self._chance = [rng.generator("generation", seed) for seed in seeds]

    def __call__(self, logits: Tensor, texts: Sequence[int]) -> list[int]:
        """A token for each row of ``[R, V]``, which belongs to the text of that number."""
        if not self.settings.draws:
            chosen: list[int] = likeliest(logits).tolist()
            return chosen
        rows = zip(logits.float(), texts, strict=True)
        return [draw(row, self.settings, self._chance[text]) for row, text in rows]


def likeliest(logits: Tensor) -> Any:
    """The place of the largest of each row."""
    if logits.device.type == "cpu":  # torch's own takes ten times as long, in bfloat16 twenty
        return logits.float().numpy().argmax(-1)
    return logits.argmax(-1)


def draw(logits: Tensor, settings: Settings, chance: np.random.Generator) -> int:
    """A token by its probability among those that ``top_k`` and ``top_p`` leave.

    A row at a time, by one number from ``chance``: so it does not matter what else is in the batch.

    Args:
        logits: ``[V]``, float32.
        settings: temperature, ``top_k``, ``top_p``; in this order.
        chance: the text's own.
    """
    if settings.temperature is not None:
        logits = logits / settings.temperature
    probabilities, tokens = _likeliest(logits, settings)
    sums = probabilities.double().cumsum(0)
    place = int(torch.searchsorted(sums, chance.random() * float(sums[-1]), right=True))
    place = min(place, len(sums) - 1)
    return place if tokens is None else int(tokens[place])


def _likeliest(logits: Tensor, settings: Settings) -> tuple[Tensor, Tensor | None]:
    """Probabilities of the tokens that are left, and these; None: all in their order."""
    tokens = None
    if settings.top_k is not None and settings.top_k < len(logits):
        logits, tokens = logits.topk(settings.top_k)
    probabilities = logits.softmax(0)
    if settings.top_p is None or settings.top_p == 1.0:
        return probabilities, tokens
    found, places = probabilities.topk(min(FEW, len(probabilities)))
    if float(found.sum()) < settings.top_p:
        found, places = probabilities.sort(descending=True)
    # A token stays if those before it do not have the probability yet.
    count = int((found.double().cumsum(0) - found.double() < settings.top_p).sum())
    places = places[: max(count, 1)]
    return found[: max(count, 1)], places if tokens is None else tokens[places]


class Repetition:
    """Makes tokens that are there already less likely.

    Args:
        penalty: see ``Settings``.
        texts: ids that are there.
        like: whose device and last dimension count, ``[R, V]``.
    """

    def __init__(self, penalty: float, texts: Sequence[Sequence[int]], like: Tensor) -> None:
        self.penalty = penalty
        self._there = torch.zeros(len(texts), like.shape[-1], dtype=torch.bool, device=like.device)
        for row, ids in enumerate(texts):
            self._there[row, torch.tensor(ids, dtype=torch.long, device=like.device)] = True

    def apply(self, scores: Tensor) -> Tensor:
        """Of logits, or log probabilities, ``[R, V]``."""
        less = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
        return torch.where(self._there, less, scores)

    def add(self, rows: Sequence[int], tokens: Sequence[int]) -> None:
        """Row ``rows[r]`` becomes row ``r``, and has another token."""
        device = self._there.device
        self._there = self._there.index_select(0, torch.tensor(rows, device=device))
        self._there[torch.arange(len(rows), device=device), torch.tensor(tokens, device=device)] = (
            True
        )
