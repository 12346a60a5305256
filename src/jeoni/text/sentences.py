"""Cutting running text into sentences."""

from collections.abc import Callable
from functools import cache
from typing import Any

from jeoni.base.errors import UserError

LANGUAGES = ("ko", "en")
_LONGEST = 20_000  # characters that a library is given at once

Split = Callable[[str], list[str]]


def splitter(language: str) -> Split:
    """A function from a text to its sentences, without the white space around them.

    Nothing else is lost: the sentences put together are the text, but for white space.

    - ``ko``: kiwipiepy, by morphemes (endings such as ``다`` and ``요``); about 0.15 MB/s.
    - ``en``: sentencex, by rules that know abbreviations; about 13 MB/s.

    Raises:
        UserError: another language, or the library is not installed.
    """
    if language not in LANGUAGES:
        raise UserError(
            f"no sentences are cut in language {language!r}", hint=f"one of {', '.join(LANGUAGES)}"
        )
    cut = {"ko": _korean, "en": _english}[language]()

    def split(text: str) -> list[str]:
        found = (sentence.strip() for part in _parts(text) for sentence in cut(part))
        return [sentence for sentence in found if sentence]

    return split


@cache
def _korean() -> Split:
    try:
        import kiwipiepy
    except ImportError:
        raise _missing("Korean", "kiwipiepy") from None
    kiwi: Any = kiwipiepy.Kiwi(num_workers=1)

    def cut(text: str) -> list[str]:
        # Only where sentences begin is taken: what lies between is never lost.
        readable = "".join(" " if "\ud800" <= c <= "\udfff" else c for c in text)
        starts = [sentence.start for sentence in kiwi.split_into_sents(readable)][1:]
        return [text[a:b] for a, b in zip([0, *starts], [*starts, len(text)], strict=True)]

    return cut


@cache
def _english() -> Split:
    try:
        import sentencex
    except ImportError:
        raise _missing("English", "sentencex") from None

    def cut(text: str) -> list[str]:
        readable = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
        return list(sentencex.segment("en", readable))

    return cut


def _missing(language: str, library: str) -> UserError:
    return UserError(
        f"cutting {language} text into sentences needs {library}, which is not installed",
        hint="pip install 'jeoni[corpus]'; text with one sentence a line needs no cutting",
    )


def _parts(text: str) -> list[str]:
    """The text in parts of bounded length, cut at blanks where there are any."""
    parts, start = [], 0
    while len(text) - start > _LONGEST:
        end = text.rfind(" ", start + 1, start + _LONGEST) + 1 or start + _LONGEST
        parts.append(text[start:end])
        start = end
    return [*parts, text[start:]]
