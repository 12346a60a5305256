"""Korean morphemes, then the most probable pieces inside each (Park et al. 2020, AACL, "An empirical
study of tokenization strategies for various Korean NLP tasks"); ``▁`` stands before words.

Needs kiwipiepy (pip install 'jeoni[korean]'). Text is cut, not rewritten: pieces are stretches of
the original, so offsets are exact.
"""

from collections.abc import Mapping
from typing import Any

from jeoni.text import learners
from jeoni.text.kind import Kind, Lesson
from jeoni.text.morphemes import MARK, cut
from jeoni.text.spec import JSON, metaspace, pipeline


def _pipeline(options: Mapping[str, Any]) -> JSON:
    marks = {"type": "Split", "pattern": {"String": MARK}, "behavior": "Removed", "invert": False}
    words = [{"type": "WhitespaceSplit"}, metaspace(), marks]
    return pipeline([{"type": "NFC"}], words, [metaspace()])


def _learn(lesson: Lesson) -> JSON:
    return learners.unigram(lesson, MARK)


KIND = Kind(
    about="Korean morphemes, then the most probable pieces inside each",
    like=("morpheme",),
    pipeline=_pipeline,
    learn=_learn,
    segment=cut,
)
