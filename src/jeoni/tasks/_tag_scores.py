"""Official scores of tagging, in fractions."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jeoni.metrics.counts import Counts, class_rows, f1_of_sums, macro_f1_of_sums, of_sets
from jeoni.metrics.entities import entities, entity_scores, klue_ner, surface_forms
from jeoni.metrics.labels import label_scores
from jeoni.tasks._scores import Figures, Metric, Scores, Sums

Tags = Sequence[Sequence[str]]
Floats = NDArray[np.float64]


def tag_scores(
    metric: str, parts: Sequence[Sequence[str]], gold: Tags, said: Tags, kinds: Sequence[str]
) -> Scores:
    """Scores of tagged sentences.

    Args:
        metric: ``tag_accuracy``; ``entity_f1`` (CoNLL-2003: entities as ``conlleval`` reads them); or
            ``klue_ner`` (entities as tagged strictly, characters without blanks).
        parts: words or characters of each sentence.
        gold: right tags, of entities as BIO.
        said: predicted tags.
        kinds: of entities.
    """
    if metric == "tag_accuracy":
        return _accuracy(gold, said)
    scores = entity_scores(gold, said)
    raw = {k: v if math.isfinite(v) else 0.0 for k, v in scores.as_dict().items()}
    values = {
        "entity_f1": raw["f1"],
        "entity_precision": raw["precision"],
        "entity_recall": raw["recall"],
        "entity_macro_f1": raw["macro_f1"],
        "tag_accuracy": raw["accuracy"],
    }
    rows = np.array([counts.as_tuple() for counts in scores.per_sentence], np.float64)
    each = [_score(counts) for counts in scores.per_sentence]
    beside = [Figures(rows, _ENTITIES), Figures(_right_tags(gold, said), {"tag_accuracy": _share})]
    if metric == "klue_ner":
        gold, said = (_without_blanks(side, parts) for side in (gold, said))
        klue = klue_ner(gold, said, kinds)
        values |= {k: v if math.isfinite(v) else 0.0 for k, v in klue.items()}
        characters = Figures(_by_character(gold, said, kinds), _CHARACTERS)
        macro = Sums(_by_kind(gold, said, kinds, "BIO"), _macro)
        return Scores(values, each, macro, [*beside, characters])
    values["surface_f1"] = surface_forms(parts, gold, said).f1
    macro_too = Figures(_by_kind(gold, said, list(scores.by_type)), {"entity_macro_f1": _macro})
    return Scores(values, each, Sums(rows, f1_of_sums), [*beside, macro_too])


def _score(counts: Counts) -> float:
    """F1 of a sentence; 1 where there is no entity and none was seen."""
    return counts.f1 if counts.predicted + counts.gold else 1.0


def _accuracy(gold: Tags, said: Tags) -> Scores:
    names = sorted({tag for side in (gold, said) for tags in side for tag in tags})
    index = {name: number for number, name in enumerate(names)}
    right, found = ([index[tag] for tags in side for tag in tags] for side in (gold, said))
    scores = label_scores(right, found, len(names))
    rows = _right_tags(gold, said)
    values = {"tag_accuracy": scores["accuracy"], "macro_f1": scores["macro_f1"]}
    each = (rows[:, 0] / np.maximum(rows[:, 1], 1)).tolist()
    by_tag = Figures(_by_tag(gold, said, names), {"macro_f1": macro_f1_of_sums})
    return Scores(values, each, Sums(rows, _share), [by_tag])


def _right_tags(gold: Tags, said: Tags) -> Floats:
    """Of each sentence, how many tags are right, and how many there are."""
    rows = [(sum(map(str.__eq__, a, b)), len(a)) for a, b in zip(gold, said, strict=True)]
    return np.array(rows, np.float64)


def _by_tag(gold: Tags, said: Tags, names: Sequence[str]) -> Any:
    """Of each sentence, how often each tag is right, predicted and there."""
    index = {name: number for number, name in enumerate(names)}
    owner = np.repeat(np.arange(len(gold)), [len(tags) for tags in gold])
    right, found = ([index[tag] for tags in side for tag in tags] for side in (gold, said))
    return class_rows(owner.tolist(), right, found, count=len(gold), classes=len(names))


def _by_character(gold: Tags, said: Tags, kinds: Sequence[str]) -> Any:
    """The same of KLUE's labels, ``O`` last; both ends of a sequence count as such, see ``klue_ner``."""
    labels = [*(f"{prefix}-{kind}" for kind in kinds for prefix in "BI"), "O"]
    there, found = ([("O", *tags, "O") for tags in side] for side in (gold, said))
    return _by_tag(there, found, labels)


def _without_blanks(tags: Tags, parts: Sequence[Sequence[str]]) -> Tags:
    return [
        [tag for tag, part in zip(own, words, strict=True) if not part.isspace()]
        for own, words in zip(tags, parts, strict=True)
    ]


def _by_kind(gold: Tags, said: Tags, kinds: Sequence[str], scheme: str | None = None) -> Floats:
    """Right, predicted and gold entities of each kind, for each sentence: ``[n, 3 K]``."""
    rows = []
    for sides in zip(gold, said, strict=True):
        there, found = (entities(tags, scheme) for tags in sides)
        counts = [
            of_sets(*([e for e in side if e[0] == kind] for side in (there, found)))
            for kind in kinds
        ]
        rows.append([number for count in counts for number in count.as_tuple()])
    return np.array(rows, np.float64).reshape(len(rows), -1)


def _macro(sums: Floats) -> Floats:
    """Mean F1 of the kinds that occur."""
    each = sums.reshape(*sums.shape[:-1], -1, 3)
    seen = (each[..., 1:].sum(-1) > 0).sum(-1)
    return np.asarray(f1_of_sums(each).sum(-1) / np.maximum(seen, 1))


def _share(sums: Floats) -> Floats:
    """Of two, the first as a share of the second; 0 of none."""
    right, count = sums[..., 0], sums[..., 1]
    return np.divide(right, count, out=np.zeros_like(right), where=count > 0)


SUMS = {"entity_f1": f1_of_sums, "entity_macro_f1": _macro, "tag_accuracy": _share}
"""What main metrics are of sums over sentences."""
_ENTITIES: Mapping[str, Metric] = {
    "entity_f1": f1_of_sums,
    "entity_precision": lambda sums: _share(sums[..., :2]),
    "entity_recall": lambda sums: _share(sums[..., ::2]),
}
_INNER = slice(None, -1)
_CHARACTERS: Mapping[str, Metric] = {
    "char_macro_f1": partial(macro_f1_of_sums, absent=1.0),
    "char_macro_f1_without_O": partial(macro_f1_of_sums, absent=1.0, classes=_INNER),
    "char_macro_f1_without_O_absent_0": partial(macro_f1_of_sums, absent=0.0, classes=_INNER),
}
