"""Scores for named entities: CoNLL-2003, WNUT-17, KLUE NER. All are fractions.

An entity counts if its type and both borders are right. Figures equal those of ``conlleval`` (Tjong
Kim Sang and De Meulder 2003) and ``seqeval``; KLUE's those of its baseline (Park et al. 2021,
section 3.4). ``nervaluate`` reads BIO as we do, but has no strict reading, which KLUE needs, and
refuses S- and E-.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jeoni.metrics.counts import Counts, check_lengths, check_pairs, of_sets, total

Entity = tuple[str, int, int]
"""Type, first and last index (inclusive)."""
Tags = Sequence[str]

_WHOLE = {None: r"[BIES]+", "BIO": r"BI*", "BIOES": r"S|BI*E"}
"""What prefixes an entity may have, by scheme."""


@dataclass(frozen=True)
class EntityScores:
    """What ``entity_scores`` returns.

    Attributes:
        by_type: counts of each type that occurs on either side, in alphabetical order.
        per_sentence: counts of each sentence, for intervals (``counts.f1_of_sums``).
        accuracy: share of the tags that are right.
    """

    by_type: Mapping[str, Counts]
    per_sentence: Sequence[Counts]
    accuracy: float

    def as_dict(self) -> dict[str, float]:
        """Precision, recall and F1 over all entities, and their means over types.

        Without any entity the former are 0, and the means are NaN, as officially.
        """
        parts = ("precision", "recall", "f1")
        types = list(self.by_type.values())
        micro = total(types)
        scores = {name: float(getattr(micro, name)) for name in parts}
        for name in parts:
            scores[f"macro_{name}"] = _mean([getattr(counts, name) for counts in types])
        return scores | {"accuracy": self.accuracy}


def entities(tags: Tags, scheme: str | None = None) -> list[Entity]:
    """The entities that tags say there are.

    Without a scheme as ``conlleval`` reads them: an entity starts at B and S, at any tag after O, E and
    S, and where the type changes. So ``O I-PER`` has one. That reads BIO, BIOES and the old IOB1 alike.

    Args:
        tags: ``O``, or one of B, I, E, S with a type: ``B-PER``. Types may have hyphens.
        scheme: ``BIO`` (IOB2) or ``BIOES``: only entities that are tagged fully by it count.

    Raises:
        ValueError: something else than such tags, or an unknown scheme.
    """
    if scheme not in _WHOLE:
        raise ValueError(f"scheme {scheme!r}: there are BIO and BIOES, and None that reads all")
    found: list[Entity] = []
    start, kind, prefixes = 0, "", ""  # of the entity that is open, if any prefixes are
    for index, tag in enumerate((*tags, "O")):
        prefix, name = _parts(tag, index)
        if prefixes and (prefix in "OBS" or name != kind or prefixes[-1] in "ES"):
            if re.fullmatch(_WHOLE[scheme], prefixes):
                found.append((kind, start, index - 1))
            prefixes = ""
        if prefix != "O":
            if not prefixes:
                start, kind = index, name
            prefixes += prefix
    return found


def entity_scores(
    references: Sequence[Tags], predictions: Sequence[Tags], scheme: str | None = None
) -> EntityScores:
    """Entity scores of tagged sentences.

    Args:
        references: tags of each sentence, which may be empty.
        predictions: the same.
        scheme: as in ``entities``; officially None for CoNLL-2003, and ``BIO`` for KLUE.

    Raises:
        ValueError: no sentence, unequal numbers of sentences or tags, or what is no tag.
    """
    check_pairs(references, predictions, "sentence")
    by_type: Counter[tuple[str, int]] = Counter()
    per_sentence, right, tags = [], 0, 0
    for index, (reference, prediction) in enumerate(zip(references, predictions, strict=True)):
        check_lengths(index, reference, prediction, "tags")
        try:
            gold, found = set(entities(reference, scheme)), set(entities(prediction, scheme))
        except ValueError as error:
            raise ValueError(f"sentence {index}: {error}") from None
        per_sentence.append(of_sets(gold, found))
        for column, chosen in enumerate((gold & found, found, gold)):
            by_type.update((kind, column) for kind, _, _ in chosen)
        right += sum(map(str.__eq__, reference, prediction))
        tags += len(reference)
    kinds = sorted({kind for kind, _ in by_type})
    counts = {kind: Counts(*(by_type[kind, column] for column in range(3))) for kind in kinds}
    return EntityScores(counts, per_sentence, right / tags if tags else 0.0)


def surface_forms(
    tokens: Sequence[Sequence[str]], references: Sequence[Tags], predictions: Sequence[Tags]
) -> Counts:
    """Counts over the set of distinct (type, text) of entities in the whole test set.

    WNUT-17's second measure by its definition (Derczynski et al. 2017): a name that is found a
    hundred times counts once.

    Args:
        tokens: words of each sentence.
        references: tags of each sentence.
        predictions: the same.

    Raises:
        ValueError: as ``entity_scores``.
    """
    check_pairs(references, predictions, "sentence")
    check_pairs(tokens, references, "sentence")
    forms: tuple[set[tuple[str, str]], set[tuple[str, str]]] = (set(), set())
    for index, (words, *sides) in enumerate(zip(tokens, references, predictions, strict=True)):
        for tags, seen in zip(sides, forms, strict=True):
            check_lengths(index, tags, words, "words")
            seen |= {(kind, " ".join(words[a : b + 1])) for kind, a, b in entities(tags)}
    return of_sets(*forms)


def klue_ner(
    references: Sequence[Tags],
    predictions: Sequence[Tags],
    types: Iterable[str] = ("PS", "LC", "OG", "DT", "TI", "QT"),
    ends: Sequence[tuple[str, str]] | None = None,
) -> dict[str, float]:
    """KLUE NER: entity and character macro F1, as published and as defined.

    ``entity_macro_f1`` is the mean over types that occur, NaN without any. ``char_macro_f1`` is the
    official figure, which counts ``O`` as a class although the paper leaves it out (that raises
    it), and gives labels that occur nowhere F1 1. ``char_macro_f1_without_O`` is what the paper
    defines; in ``char_macro_f1_without_O_absent_0`` labels that occur nowhere have F1 0.

    Args:
        references: per sentence one tag (B, I, O) per character, blanks left out.
        predictions: the same.
        types: of entities.
        ends: tags predicted at the first and last position of each sequence. The official script counts
            them in the first two figures; without, they are O.

    Raises:
        ValueError: as ``entity_scores``; or a tag of another type.
    """
    labels = [f"{prefix}-{kind}" for kind in types for prefix in "BI"] + ["O"]
    ends = [("O", "O")] * len(references) if ends is None else ends
    check_pairs(references, ends, "sentence")
    entity = entity_scores(
        [("O", *tags, "O") for tags in references],
        [(a, *tags, b) for tags, (a, b) in zip(predictions, ends, strict=False)],
        "BIO",
    )
    counts = _by_label(references, predictions, labels)
    extra = _by_label([("O", "O")] * len(references), ends, labels)
    official = {label: counts[label] + extra[label] for label in labels}
    inner = [counts[label] for label in labels[:-1]]
    return {
        "entity_macro_f1": entity.as_dict()["macro_f1"],
        "char_macro_f1": _mean([_f1(c, 1.0) for c in official.values()]),
        "char_macro_f1_without_O": _mean([_f1(c, 1.0) for c in inner]),
        "char_macro_f1_without_O_absent_0": _mean([_f1(c, 0.0) for c in inner]),
    }


def character_tags(
    tags: Sequence[str], spans: Sequence[tuple[int, int] | None], length: int
) -> list[str]:
    """Tags of characters from tags of the pieces that cover them.

    The first character has the piece's tag, the others continue it; what no piece covers is ``O``.

    Args:
        tags: one a piece (B, I, O).
        spans: the piece's characters, from start to before the end; None for special tokens.
        length: number of characters.

    Raises:
        ValueError: unequal lengths, or a span outside the text.
    """
    if len(tags) != len(spans):
        raise ValueError(f"{len(tags)} tags but {len(spans)} spans")
    result = ["O"] * length
    for index, (tag, span) in enumerate(zip(tags, spans, strict=True)):
        if span is None:
            continue
        start, end = span
        if not 0 <= start < end <= length:
            raise ValueError(f"piece {index} has characters {start} to {end} of {length}")
        inner = tag if tag == "O" else "I" + tag[1:]
        result[start:end] = [tag, *[inner] * (end - start - 1)]
    return result


def _parts(tag: str, index: int) -> tuple[str, str]:
    prefix, _, name = tag.partition("-")
    if tag != "O" and (prefix not in ("B", "I", "E", "S") or not name):
        raise ValueError(f"tag {index} is {tag!r}, not O or B-, I-, E-, S- and a type")
    return prefix, name


def _by_label(
    references: Sequence[Tags], predictions: Sequence[Tags], labels: Sequence[str]
) -> dict[str, Counts]:
    pairs: Counter[tuple[str, str]] = Counter()
    for reference, prediction in zip(references, predictions, strict=True):
        pairs.update(zip(reference, prediction, strict=True))
    if unknown := {tag for pair in pairs for tag in pair} - set(labels):
        raise ValueError(f"there is a tag {min(unknown)!r}, not one of {', '.join(labels)}")
    gold: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for (reference, prediction), number in pairs.items():
        gold[reference] += number
        found[prediction] += number
    return {label: Counts(pairs[label, label], found[label], gold[label]) for label in labels}


def _f1(counts: Counts, absent: float) -> float:
    return counts.f1 if counts.predicted + counts.gold else absent


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
