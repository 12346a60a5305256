"""Documents that are left out for what they are: score, length, language."""

from collections.abc import Callable

from jeoni.base.errors import UserError
from jeoni.data.prepare.settings import PrepareConfig

_LOOKED_AT = 1_000  # characters from which the language is guessed
_TOO_FEW = 10  # different letters from which it cannot be ("ㅋㅋㅋㅋㅋㅋ" is no Japanese)

Reason = Callable[[str, float | None], str | None]


def reasons(config: PrepareConfig) -> Reason:
    """A function from a document's text and score to the reason why it is dropped, if there is one.

    A text with fewer than 10 different letters has no language: it is kept.

    Raises:
        UserError: a filter for languages without py3langid, or for one that it does not know.
    """
    language = _language(config.languages) if config.languages else None

    def reason(text: str, score: float | None) -> str | None:
        if config.score_column and score is not None and not score >= config.min_score:
            return "score"
        length = len(text)
        if not length:
            return "empty"
        if length < config.min_characters:
            return "short"
        if config.max_characters is not None and length > config.max_characters:
            return "long"
        if language is not None and (found := language(text)) not in config.languages:
            return f"language {found}"
        return None

    return reason


def _language(wanted: tuple[str, ...]) -> Callable[[str], str]:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise UserError(
            "the language filter needs py3langid, which is not installed",
            hint="pip install 'jeoni[corpus]', or leave out --language",
        ) from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    unknown = sorted(set(wanted) - set(identifier.labels))
    if unknown:
        raise UserError(
            f"no language with the code {unknown[0]!r} is known", hint="ko, en, ... (ISO 639-1)"
        )

    def guess(text: str) -> str:
        begin = text[:_LOOKED_AT]
        if len(set(filter(str.isalpha, begin))) < _TOO_FEW:
            return wanted[0]
        return str(identifier.classify(begin)[0])

    return guess
