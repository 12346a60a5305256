"""Span question answering with short windows, for tests."""

from typing import Any

from jeoni.base.config import parse
from jeoni.models.model import Model
from jeoni.tasks._span_types import EncodedSpans
from jeoni.tasks.span_qa import SpanQA, SpanQAConfig

LONG = (
    " ".join(f"word {i} and some more." for i in range(40))
    + " The answer is Incheon. "
    + "Bye. " * 30
)


def make(model: Model, **settings: Any) -> SpanQA:
    return SpanQA(
        model=model, config=parse(SpanQAConfig, {"max_length": 64, "stride": 16} | settings)
    )


def covered(task: SpanQA, encoded: EncodedSpans, sequence: int) -> str:
    """The text between the targets of a sequence."""
    window = encoded.windows[sequence]
    start, end = (int(encoded.features.targets[k][sequence]) for k in ("start", "end"))
    span = window.offsets[start - window.first][0], window.offsets[end - window.first][1]
    context: str = encoded.records[int(encoded.features.examples[sequence])].fields["context"]
    return context[span[0] : span[1]]
