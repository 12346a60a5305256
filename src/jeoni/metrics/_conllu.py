"""CoNLL-U files, read as the scorer of the CoNLL 2018 shared task reads them (Zeman et al. 2018)."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

_CONTENT = """nsubj obj iobj csubj ccomp xcomp obl vocative expl dislocated advcl advmod discourse
    nmod appos nummod acl amod conj fixed flat compound list parataxis orphan goeswith reparandum root
    dep"""
_FEATURES = """PronType NumType Poss Reflex Foreign Abbr Gender Animacy Number Case Definite Degree
    VerbForm Mood Tense Aspect Voice Evident Polarity Person Polite"""
CONTENT, FEATURES = frozenset(_CONTENT.split()), frozenset(_FEATURES.split())
FUNCTION = frozenset(("aux", "cop", "mark", "det", "clf", "case", "cc"))

Span = tuple[int, int]
"""From this character of the text to before that one; blanks are no characters."""


@dataclass(eq=False, slots=True)
class Word:
    """A syntactic word.

    Attributes:
        span: the characters of its token.
        form: the word itself.
        lemma: its dictionary form; ``_`` if not given.
        upos: universal part of speech.
        xpos: the treebank's own.
        features: the universal ones, sorted.
        relation: to its head, without subtype.
        head_number: as written.
        multiword: whether it shares its token with other words.
        line: where it is written.
        head: None for the root.
        function_words: those that depend on it.
        partner: of a system's word: the gold word that it is aligned with.
    """

    span: Span
    form: str
    lemma: str
    upos: str
    xpos: str
    features: tuple[str, ...]
    relation: str
    head_number: int
    multiword: bool
    line: int
    head: "Word | None" = None
    function_words: list["Word"] = field(default_factory=list)
    partner: "Word | None" = None


@dataclass(slots=True)
class Text:
    """A file.

    Attributes:
        characters: all forms of tokens, without blanks.
        tokens: their characters.
        sentences: their characters.
        words: all of them.
    """

    characters: str
    tokens: list[Span]
    sentences: list[Span]
    words: list[Word]


def read(content: str, name: str) -> Text:
    """Read a file's text.

    Args:
        content: lines; the last sentence ends with an empty one, too.
        name: what to call it in messages.

    Raises:
        ValueError: a malformed line, or a tree that is none; with the number of the line.
    """
    text, forms = Text("", [], [], []), [""]
    for last, block in _sentences(content, name):
        first, start = len(text.words), _end(text)
        _read_sentence(text, forms, block, name)
        _build(text.words[first:], f"{name}, line {last}")
        text.sentences.append((start, _end(text)))
    text.characters = "".join(forms)
    return text


def _sentences(content: str, name: str) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Numbered lines of each sentence, and the number of the empty line that ends it."""
    lines = [line.rstrip("\r") for line in content.split("\n")]
    block: list[tuple[int, str]] = []
    for number, line in enumerate(lines[:-1], 1):
        if line.startswith("#") and not block:
            continue
        if line:
            block.append((number, line))
        else:
            yield number, block
            block = []
    if block or lines[-1]:
        raise ValueError(f"{name}: the last sentence does not end with an empty line")


def _read_sentence(
    text: Text, forms: list[str], block: Sequence[tuple[int, str]], name: str
) -> None:
    """Add a sentence's tokens and words to the text, and the tokens' forms to those before."""
    numbered, first = iter(block), len(text.words)
    for number, line in numbered:
        where = f"{name}, line {number}"
        columns = _columns(line, where)
        if "." in columns[0]:
            continue
        form = "".join(c for c in columns[1] if unicodedata.category(c) != "Zs")
        if not form:
            raise ValueError(f"{where}: the form is empty")
        span = (_end(text), _end(text) + len(form))
        forms.append(form)
        text.tokens.append(span)
        size = _size(columns[0], len(text.words) - first + 1, where)
        if size == 0:
            columns[1] = form
            text.words.append(_word(span, columns, where, number, False))
        for inner, row in islice(numbered, size):
            place = f"{name}, line {inner}"
            text.words.append(_word(span, _columns(row, place), place, inner, True))


def _end(text: Text) -> int:
    return text.tokens[-1][1] if text.tokens else 0


def _columns(line: str, where: str) -> list[str]:
    columns = line.split("\t")
    if len(columns) != 10:
        raise ValueError(f"{where}: {len(columns)} columns, not 10 between tabs")
    return columns


def _size(number: str, expected: int, where: str) -> int:
    """How many words a token of several has, whose lines follow; 0 for a word."""
    try:
        if "-" in number:
            start, end = map(int, number.split("-"))
            return end - start + 1
        if int(number) == expected:
            return 0
    except ValueError:
        pass
    raise ValueError(f"{where}: the number is {number!r}, not {expected}")


def _word(span: Span, columns: list[str], where: str, line: int, multiword: bool) -> Word:
    try:
        head = int(columns[6])
    except ValueError:
        raise ValueError(f"{where}: the head is {columns[6]!r}, no number") from None
    features = (f for f in columns[5].split("|") if f.split("=", 1)[0] in FEATURES)
    return Word(
        span=span,
        form=columns[1],
        lemma=columns[2],
        upos=columns[3],
        xpos=columns[4],
        features=tuple(sorted(features)),
        relation=columns[7].split(":")[0],
        head_number=head,
        multiword=multiword,
        line=line,
    )


def _build(words: list[Word], where: str) -> None:
    """Tie the words of a sentence to their heads."""
    for word in words:
        if not 0 <= word.head_number <= len(words):
            raise ValueError(
                f"{where}: head {word.head_number} (line {word.line}) is outside the sentence"
            )
        if word.head_number:
            word.head = words[word.head_number - 1]
            if word.relation in FUNCTION:
                word.head.function_words.append(word)
    safe: set[int] = set()
    for word in words:
        path, step = set[int](), word
        while id(step) not in safe and step.head is not None:
            if id(step) in path:
                raise ValueError(f"{where}: there is a cycle in the sentence that ends here")
            path.add(id(step))
            step = step.head
        safe |= path
    roots = sum(word.head is None for word in words)
    if roots != 1:
        raise ValueError(f"{where}: the sentence that ends here has {roots} roots")
