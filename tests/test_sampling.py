"""What is drawn: from the right tokens, as often as it should be, and by its own seed alone."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

import peers
from jeoni.base.errors import UserError
from jeoni.models import sampling
from jeoni.models.heads import build_head
from jeoni.models.model import Model
from jeoni.models.sampling import Chooser, Repetition, Settings, draw

LOGITS = torch.tensor([2.0, -1.0, 0.5, 1.5, 1.4, -3.0, 0.0, 0.6])
DRAWS = 4000


def right(logits: torch.Tensor, settings: Settings) -> torch.Tensor:
    """The distribution by transformers' own warpers."""
    row = logits[None]
    ids = torch.zeros(1, 1, dtype=torch.long)
    if settings.temperature is not None:
        row = TemperatureLogitsWarper(settings.temperature)(ids, row)
    if settings.top_k is not None:
        row = TopKLogitsWarper(settings.top_k)(ids, row)
    if settings.top_p is not None:
        row = TopPLogitsWarper(settings.top_p)(ids, row)
    return row.softmax(-1)[0]


SETTINGS: list[dict[str, Any]] = [
    {"temperature": 1.0},
    {"temperature": 0.5},
    {"temperature": 3.0},
    {"top_k": 3},
    {"top_k": 100},
    {"top_p": 0.7},
    {"top_p": 1.0},
    {"top_p": 0.01},
    {"temperature": 1.6, "top_k": 5, "top_p": 0.8},
]


@pytest.mark.parametrize("values", SETTINGS, ids=str)
@pytest.mark.parametrize("few", [2, sampling.FEW])
def test_as_often_as_the_model_says(
    values: dict[str, Any], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chi-square; what has no probability is never drawn."""
    monkeypatch.setattr(sampling, "FEW", few)
    settings = Settings.of(**values)
    chance = np.random.default_rng(0)
    counts = Counter(draw(LOGITS, settings, chance) for _ in range(DRAWS))
    expected = right(LOGITS, settings).double() * DRAWS
    assert all(expected[token] > 0 for token in counts)
    there = [token for token in range(len(LOGITS)) if expected[token] > 0]
    square = sum((counts[t] - float(expected[t])) ** 2 / float(expected[t]) for t in there)
    assert square < 27.9  # exceeded once in 4,000 at most, with up to 7 degrees of freedom


@given(
    st.lists(st.integers(-900, 900).map(lambda n: n / 100), min_size=1, max_size=40),
    st.floats(0.05, 1.0),
    st.one_of(st.none(), st.integers(1, 50)),
)
def test_the_nucleus_is_that_of_transformers(values: list[float], p: float, k: int | None) -> None:
    """By what could be drawn at all (but for ties, and for rounding at the border)."""
    logits = torch.tensor(values)
    settings = Settings.of(top_p=p, top_k=k)
    kept, tokens = sampling._likeliest(logits, settings)
    theirs = right(logits, settings)
    mine = torch.zeros(len(values))
    mine[torch.arange(len(values)) if tokens is None else tokens] = kept / kept.sum()
    distinct = len(set(values)) == len(values)
    sums = logits.softmax(0).sort(descending=True)[0].double().cumsum(0)
    if distinct and k is None and float((sums - p).abs().min()) > 1e-5:
        assert torch.allclose(mine, theirs, atol=1e-5)
    assert mine[logits == logits.max()].sum() > 0


@given(st.lists(st.integers(0, 7), max_size=9), st.floats(0.1, 5))
def test_repetition_penalty_is_that_of_transformers(ids: list[int], penalty: float) -> None:
    rows = torch.stack([LOGITS, LOGITS.flip(0)])
    texts = [[*ids, 1], [3]]
    mine = Repetition(penalty, texts, rows)
    warper = RepetitionPenaltyLogitsProcessor(penalty)

    def expected() -> torch.Tensor:
        parts = [warper(torch.tensor([t]), r[None]) for t, r in zip(texts, rows, strict=True)]
        return torch.cat(parts)

    assert torch.allclose(mine.apply(rows), expected())
    mine.add([1, 1], [6, 3])
    texts = [[3, 6], [3, 3]]
    assert torch.allclose(mine.apply(rows), expected())


def writer(**changes: Any) -> Model:
    model = peers.fresh("gpt2", vocab=61, positions=40, **changes)
    model.add_head("language_model", build_head("language_model", model, {}))
    for parameter in model.parameters():
        parameter.data.mul_(0.5)
    return model


PROMPTS = [[5, 9, 2], [7], [3, 4, 5, 6, 8, 9, 10, 11], [7]]


@pytest.mark.parametrize("values", [{"temperature": 1.0}, {"top_k": 9}, {"top_p": 0.9}], ids=str)
def test_a_text_depends_on_its_own_seed_only(values: dict[str, Any]) -> None:
    model = writer()
    together = model.generate(PROMPTS, max_new=12, seed=3, **values)
    assert together[1].ids != together[3].ids  # the same prompt, another seed
    for number, prompt in enumerate(PROMPTS):
        assert (
            model.generate([prompt], max_new=12, seed=3 + number, **values)[0] == together[number]
        )
    backwards = model.generate(PROMPTS[::-1], max_new=12, seed=[6, 5, 4, 3], **values)
    assert backwards[::-1] == together
    again = model.generate(PROMPTS, max_new=12, seed=3, **values)
    assert again == together
    other = model.generate(PROMPTS, max_new=12, seed=4, **values)
    assert all(a.ids != b.ids for a, b in zip(other, together, strict=True))


def test_many_prompts_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from jeoni.models import generation

    model = writer()
    right = model.generate(PROMPTS, max_new=6, temperature=1.0)
    monkeypatch.setattr(generation, "TOGETHER", 2)
    assert model.generate(PROMPTS, max_new=6, temperature=1.0) == right
    assert model.generate([], max_new=6) == []


def test_first_tokens_are_distributed_as_the_logits() -> None:
    """Through the whole path: many texts of one prompt."""
    model = writer()
    batch = peers.Batch.pack([[5, 9, 2]])
    with torch.no_grad():
        logits = peers.logits_of(model, model(batch), batch)["language_model"][-1]
    expected = logits.softmax(0) * 640
    found = model.generate([[5, 9, 2]] * 640, max_new=1, temperature=1.0)
    counts = torch.bincount(torch.tensor([text.ids[0] for text in found]), minlength=61)
    often = expected > 5
    square = ((counts - expected) ** 2 / expected)[often].sum()
    degrees = int(often.sum())
    assert degrees > 5
    assert square < degrees + 5 * (2 * degrees) ** 0.5


def test_greedy_takes_the_likeliest() -> None:
    choose = Chooser(Settings.of(), [0, 1])
    assert choose(torch.stack([LOGITS, LOGITS.flip(0)]), [0, 1]) == [0, 7]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_new": 0}, "max_new is 0, but takes a whole number from 1"),
        ({"beams": 2.0}, "beams is 2.0"),
        ({"top_k": True}, "top_k is True"),
        ({"temperature": 0}, "temperature is 0, but must be above 0\n.*leave it out"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 1.1}, "top_p is 1.1, but must be above 0, and at most 1"),
        ({"top_p": "0.9"}, "top_p is '0.9'"),
        ({"repetition_penalty": -1.0}, "repetition_penalty is -1.0"),
        ({"length_penalty": float("inf")}, "length_penalty is inf"),
        (
            {"length_penalty": -1e308},
            "length_penalty is -1e[+]308, but takes a number from -10 to 10",
        ),
        ({"temperature": 1e-37}, "temperature is 1e-37, but must be at least 1e-30"),
        ({"early_stopping": 1}, "early_stopping is 1, not true, false or never"),
        ({"early_stopping": "soon"}, "early_stopping is 'soon'"),
        ({"stop": ["a", ""]}, "stop takes texts that are not empty"),
        ({"stop": ""}, "stop takes texts that are not empty"),
        ({"stop": 5}, "stop takes texts that are not empty"),
        ({"beams": 2, "top_p": 0.9}, "beams look for the likeliest text"),
        ({"max_tokens": 3}, "generation has no setting 'max_tokens'\n.*max_new"),
        ({"seed": "x"}, "seed is 'x'"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings.of(**values)


def test_numbers_of_numpy() -> None:
    found = Settings.of(max_new=np.int64(3), temperature=np.float32(0.5), early_stopping=np.True_)
    assert found == Settings.of(max_new=3, temperature=0.5, early_stopping=True)
    with pytest.raises(UserError, match="max_new is 0"):
        Settings.of(max_new=np.int64(0))


def test_as_many_seeds_as_prompts() -> None:
    with pytest.raises(UserError, match="2 seeds for 4 prompts"):
        writer().generate(PROMPTS, seed=[1, 2], temperature=1.0)
