"""Scores of whole CoNLL-U files, as the CoNLL 2018 shared task gives them (Zeman et al. 2018).

Figures equal those of its script, version 1.2. The system may have cut the text otherwise: words
are aligned by their characters first. Blanks inside forms, empty nodes, comments and subtypes of
relations do not matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jeoni.metrics._conllu import CONTENT, Span, Word, read
from jeoni.metrics.counts import Counts

Pairs = list[tuple[Word, Word]]
"""Gold words and the system's that are aligned with them."""


@dataclass(frozen=True)
class Agreement:
    """One figure.

    Attributes:
        counts: with ``precision``, ``recall``, ``f1`` (fractions).
        aligned: how many aligned words were compared; None where that is no question.
    """

    counts: Counts
    aligned: int | None = None

    @property
    def aligned_accuracy(self) -> float | None:
        """Share of the aligned words that are right; None where that is no question, and 0 without any."""
        if self.aligned is None:
            return None
        return self.counts.right / self.aligned if self.aligned else 0.0


def conll18(gold: str, system: str) -> dict[str, Agreement]:
    """Tokens, sentences, words, tags, lemmas and attachment of a treebank.

    The names are the official ones. ``CLAS`` is LAS of content words, ``MLAS`` CLAS with tags,
    features and function words, ``BLEX`` CLAS with lemmas. Punctuation counts in UAS and LAS.

    Args:
        gold: text of the right CoNLL-U file.
        system: the system's.

    Raises:
        ValueError: malformed lines (with their number), a tree that is none, or another text.
    """
    right, found = read(gold, "gold"), read(system, "system")
    _check_text(right.characters, found.characters)
    pairs = _align(right.words, found.words)
    for a, b in pairs:
        b.partner = a
    inner = [pair for pair in pairs if pair[0].relation in CONTENT]
    content = [sum(w.relation in CONTENT for w in side.words) for side in (found, right)]
    result = {
        "Tokens": _spans(right.tokens, found.tokens),
        "Sentences": _spans(right.sentences, found.sentences),
        "Words": Agreement(Counts(len(pairs), len(found.words), len(right.words))),
    }
    for name, same in _SAME.items():
        counts = Counts(sum(same(*pair) for pair in pairs), len(found.words), len(right.words))
        result[name] = Agreement(counts, len(pairs))
    for name, same in _SAME_CONTENT.items():
        counts = Counts(sum(same(*pair) for pair in inner), *content)
        result[name] = Agreement(counts, len(inner))
    return result


def _tags(a: Word, b: Word) -> bool:
    return (a.upos, a.features) == (b.upos, b.features)


def _lemma(a: Word, b: Word) -> bool:
    return a.lemma in ("_", b.lemma)


def _head(a: Word, b: Word) -> bool:
    if a.head is None or b.head is None:
        return a.head is b.head
    return b.head.partner is a.head


def _attached(a: Word, b: Word) -> bool:
    return _head(a, b) and a.relation == b.relation


def _with_function_words(a: Word, b: Word) -> bool:
    return (
        _attached(a, b)
        and _tags(a, b)
        and len(a.function_words) == len(b.function_words)
        and all(
            theirs.partner is ours and theirs.relation == ours.relation and _tags(ours, theirs)
            for ours, theirs in zip(a.function_words, b.function_words, strict=True)
        )
    )


Same = Callable[[Word, Word], bool]
_SAME: dict[str, Same] = {
    "UPOS": lambda a, b: a.upos == b.upos,
    "XPOS": lambda a, b: a.xpos == b.xpos,
    "UFeats": lambda a, b: a.features == b.features,
    "AllTags": lambda a, b: a.xpos == b.xpos and _tags(a, b),
    "Lemmas": _lemma,
    "UAS": _head,
    "LAS": _attached,
}
_SAME_CONTENT: dict[str, Same] = {
    "CLAS": _attached,
    "MLAS": _with_function_words,
    "BLEX": lambda a, b: _attached(a, b) and _lemma(a, b),
}


def _check_text(gold: str, system: str) -> None:
    if gold == system:
        return
    pairs = enumerate(zip(gold, system, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(gold), len(system)))
    raise ValueError(
        f"the texts differ from character {at} on (without blanks):"
        f" {gold[at : at + 20]!r} in gold, {system[at : at + 20]!r} in system"
    )


def _spans(gold: Sequence[Span], system: Sequence[Span]) -> Agreement:
    return Agreement(Counts(len({*gold} & {*system}), len(system), len(gold)))


def _align(gold: Sequence[Word], system: Sequence[Word]) -> Pairs:
    """Words with the same characters; around tokens of several words the same forms in order."""
    pairs: Pairs = []
    g = s = 0
    while g < len(gold) and s < len(system):
        if gold[g].multiword or system[s].multiword:
            g, s, g_end, s_end = _overlap(gold, system, g, s)
            pairs += _common(gold[g:g_end], system[s:s_end])
            g, s = g_end, s_end
        elif gold[g].span == system[s].span:
            pairs.append((gold[g], system[s]))
            g, s = g + 1, s + 1
        elif gold[g].span[0] <= system[s].span[0]:
            g += 1
        else:
            s += 1
    return pairs


def _overlap(
    gold: Sequence[Word], system: Sequence[Word], g: int, s: int
) -> tuple[int, int, int, int]:
    """The smallest stretch around a token of several words: starts and ends on both sides."""
    if gold[g].multiword:
        end = gold[g].span[1]
        s += not system[s].multiword and system[s].span[0] < gold[g].span[0]
    else:
        end = system[s].span[1]
        g += not gold[g].multiword and gold[g].span[0] < system[s].span[0]
    first_g, first_s = g, s
    while not (_beyond(gold, g, end) and _beyond(system, s, end)):
        if g < len(gold) and (s >= len(system) or gold[g].span[0] <= system[s].span[0]):
            word, g = gold[g], g + 1
        else:
            word, s = system[s], s + 1
        if word.multiword:
            end = max(end, word.span[1])
    return first_g, first_s, g, s


def _beyond(words: Sequence[Word], index: int, end: int) -> bool:
    if index >= len(words):
        return True
    word = words[index]
    return word.span[0] >= end if word.multiword else word.span[1] > end


def _common(gold: Sequence[Word], system: Sequence[Word]) -> Pairs:
    """Longest common subsequence of forms, whatever their case."""
    ours, theirs = ([word.form.lower() for word in side] for side in (gold, system))
    longest = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for g in reversed(range(len(ours))):
        for s in reversed(range(len(theirs))):
            same = longest[g + 1][s + 1] + 1 if ours[g] == theirs[s] else 0
            longest[g][s] = max(same, longest[g + 1][s], longest[g][s + 1])
    pairs: Pairs = []
    g = s = 0
    while g < len(ours) and s < len(theirs):
        if ours[g] == theirs[s]:
            pairs.append((gold[g], system[s]))
            g, s = g + 1, s + 1
        elif longest[g][s] == longest[g + 1][s]:
            g += 1
        else:
            s += 1
    return pairs
