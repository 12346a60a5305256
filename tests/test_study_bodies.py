"""The bodies of every objective learn classification and span questions, whatever they were made for."""

from typing import Any

import numpy as np
import pytest
import torch

import objective_parts as parts
from jeoni.base.config import parse
from jeoni.data.record import Record
from jeoni.tasks.classification import Classification, ClassificationConfig
from jeoni.tasks.span_qa import SpanQA, SpanQAConfig

WORDS = "river bridge water mountain valley forest"


def records(count: int = 16) -> list[Record]:
    """Where is the museum: in which word, and in which half?"""
    generator = np.random.default_rng(0)
    found = []
    for number in range(count):
        words, place = list(generator.choice(WORDS.split(), 6)), number % 6
        words[place] = "museum"
        text = " ".join(words)
        answer = {"text": "museum", "start": text.index("museum")}
        fields = {"id": str(number), "question": "where", "context": text, "answers": [answer]}
        fields |= {"text": text, "label": "front" if place < 3 else "back"}
        found.append(Record(fields, "here", number + 1))
    return found


def task_on(family: str, name: str) -> Any:
    model = parts.model(family)
    if name == "classification":
        config = parse(ClassificationConfig, {"labels": ("front", "back")})
        return Classification(model=model, config=config)
    return SpanQA(model=model, config=parse(SpanQAConfig, {"max_length": 64, "stride": 8}))


@pytest.mark.parametrize("name", ["classification", "span_qa"])
@pytest.mark.parametrize("family", ["gpt2", "xlnet", "t5"])
def test_a_body_learns(family: str, name: str) -> None:
    """A decoder alone by its last token, an encoder-decoder with both stacks."""
    task = task_on(family, name)
    encoded = task.encode(records())
    everything = list(range(len(encoded.features)))
    batch = encoded.features.batch(everything)
    optimizer = torch.optim.Adam(task.module.parameters(), lr=3e-3)
    losses = []
    for _ in range(50):
        loss = task(batch)
        (loss.total / loss.count).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.total.detach() / loss.count))
    assert losses[-1] < 0.6 * losses[0]
    with torch.no_grad():
        kept = task.decode(encoded, everything, task.logits(batch))
    predictions = task.combine(encoded, kept)
    values = task.score(encoded, predictions).values
    assert values["accuracy" if name == "classification" else "f1"] > {"span_qa": 70}.get(name, 0.7)
