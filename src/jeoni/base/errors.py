"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """Something the user gave is wrong: a file, a column, a setting, a name.

    The message says what was wrong, where, and what to do about it; the command line prints it
    without a traceback. Anything else that escapes is a bug in jeoni.

    Attributes:
        message: what was wrong and where; ``str`` of the error has the hint behind it.
        hint: what to do. There is one: who raises an error again with another takes ``message``.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if not hint else f"{message}\n  → {hint}")
        self.message = message
        self.hint = hint or None
