"""Korean jamo: syllables are taken apart into letters, and pieces are learned over those.

Letters are Unicode's conjoining jamo (U+1100 to U+11FF), which tell an initial from a final consonant,
so that text can be put together again. Pieces may cross syllables: a verb's stem and the consonant that
an ending adds to it.
"""

from collections.abc import Mapping
from typing import Any

from jeoni.text import learners
from jeoni.text.kind import Kind, Lesson
from jeoni.text.spec import JSON, clean, metaspace, pipeline


def _pipeline(options: Mapping[str, Any]) -> JSON:
    normalizers = [{"type": "NFD"}, clean(lowercase=options["lower"])]
    return pipeline(normalizers, [{"type": "WhitespaceSplit"}, metaspace()], [metaspace()])


def _learn(lesson: Lesson) -> JSON:
    if lesson.options.get("plain"):
        return learners.characters_model(lesson, blanks=("▁",))
    return learners.unigram(lesson)


KIND = Kind(
    about="Hangul syllables taken apart into letters, then the most probable pieces",
    like=("jamo",),
    pipeline=_pipeline,
    learn=_learn,
)
