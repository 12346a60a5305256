"""What is written: equal to ``transformers`` (greedy, beams), and no matter what else is in the batch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import peers
from jeoni.models import hub
from jeoni.models.model import Model

FAMILIES = peers.families()
PROMPTS = [[5, 9, 2], [7], [3, 4, 5, 6, 8, 9, 10, 11], [40, 41, 3, 3], [12, 13, 14]]
CLASSES = {
    "gpt2": "GPT2LMHeadModel",
    "openai_gpt": "OpenAIGPTLMHeadModel",
    "t5": "T5ForConditionalGeneration",
    "bart": "BartForConditionalGeneration",
}
NEW = 9


def pair(family: str, folder: Path, seed: int = 1) -> tuple[Any, Model]:
    """Tiny random models, with a texts' end that comes now and then."""
    data = FAMILIES[family]
    spec = peers.fit(replace(peers.SMALL, vocab=61, positions=40, layers=2), data)
    theirs = peers.make(data, CLASSES[family], spec, seed=seed)
    for name, parameter in theirs.named_parameters():
        if name.endswith("bias"):  # that of the last norm would write the same token always
            parameter.data.sub_(1.0)
    theirs.generation_config.pad_token_id = theirs.config.pad_token_id
    theirs.generation_config.eos_token_id = theirs.config.eos_token_id
    theirs.generation_config.forced_eos_token_id = None
    theirs.save_pretrained(folder)
    return theirs, hub.load(folder)


def their_ids(theirs: Any, prompt: Sequence[int], **settings: Any) -> list[int]:
    """New ids, up to the end of the text."""
    ids = torch.tensor([prompt])
    options = {"max_new_tokens": NEW, "do_sample": False} | settings
    with torch.no_grad():
        out = theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)[0].tolist()
    new = out[1:] if theirs.config.is_encoder_decoder else out[len(prompt) :]
    end = theirs.config.eos_token_id
    return new[: new.index(end) + 1] if end in new else new


def ends_somewhere(theirs: Any, ours: Model, **settings: Any) -> None:
    """Choose an end that the model itself writes, so that texts end at different times."""
    texts = [their_ids(theirs, prompt, **settings) for prompt in PROMPTS]

    def lengths(end: int) -> int:
        return len({text.index(end) if end in text else NEW for text in texts})

    end = max(range(ours.spec.vocab), key=lengths)
    theirs.generation_config.eos_token_id = theirs.config.eos_token_id = end
    ours.config["eos_token_id"] = end


@pytest.fixture(params=CLASSES)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Model]:
    return pair(request.param, tmp_path)


@pytest.mark.parametrize("penalty", [1.0, 1.7])
def test_greedy(both: tuple[Any, Model], penalty: float) -> None:
    """Every prompt alone in transformers; all together, and each alone, here."""
    theirs, ours = both
    settings = {"repetition_penalty": penalty}
    ends_somewhere(theirs, ours, **settings)
    right = [their_ids(theirs, prompt, **settings) for prompt in PROMPTS]
    assert len({len(ids) for ids in right}) > 1
    together = ours.generate(PROMPTS, max_new=NEW, **settings)
    assert [list(text.ids) for text in together] == right
    alone = [ours.generate([prompt], max_new=NEW, **settings)[0] for prompt in PROMPTS]
    assert alone == together
    end = ours.config["eos_token_id"]
    for text in together:
        assert text.reason == ("end" if text.ids[-1] == end else "length")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"early_stopping": True},
        {"early_stopping": "never", "length_penalty": 0.0},
        {"length_penalty": 2.0},
        {"length_penalty": -1.0, "early_stopping": "never"},
        {"length_penalty": 2.0, "early_stopping": "never"},
        {"repetition_penalty": 1.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("width", [2, 4])
def test_beams(both: tuple[Any, Model], width: int, settings: dict[str, Any]) -> None:
    theirs, ours = both
    ends_somewhere(theirs, ours, num_beams=width, **settings)
    right = [their_ids(theirs, prompt, num_beams=width, **settings) for prompt in PROMPTS]
    together = ours.generate(PROMPTS, max_new=NEW, beams=width, **settings)
    assert [list(text.ids) for text in together] == right
    for prompt, text in zip(PROMPTS, together, strict=True):
        (alone,) = ours.generate([prompt], max_new=NEW, beams=width, **settings)
        assert alone.ids == text.ids
        assert alone.score == pytest.approx(text.score, rel=1e-4)


def test_score_of_beams_is_the_log_probability(tmp_path: Path) -> None:
    _, ours = pair("gpt2", tmp_path)
    (text,) = ours.generate([PROMPTS[0]], max_new=5, beams=3, length_penalty=0.0)
    batch = peers.Batch.pack([[*PROMPTS[0], *text.ids]])
    with torch.no_grad():
        logits = peers.logits_of(ours, ours(batch), batch)["language_model"].log_softmax(-1)
    places = range(len(PROMPTS[0]) - 1, len(batch.ids) - 1)
    right = sum(float(logits[place, batch.ids[place + 1]]) for place in places)
    assert text.score == pytest.approx(right, rel=1e-4)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_long_prompt_beside_a_short_one(beams: int, tmp_path: Path) -> None:
    """It has few positions left; the other goes on behind its end."""
    _, ours = pair("gpt2", tmp_path)
    ours.config["eos_token_id"] = None
    prompts = [[5, 9, 2], [7] * 38]
    together = ours.generate(prompts, max_new=NEW, beams=beams)
    assert [len(text.ids) for text in together] == [NEW, 3]
    alone = [ours.generate([prompt], max_new=NEW, beams=beams)[0] for prompt in prompts]
    assert [text.ids for text in alone] == [text.ids for text in together]
