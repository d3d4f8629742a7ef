"""What can go wrong for a user, by who can mend it.

Each error's text is a message for a person: what happened, why, what to do. ``exit_code`` is that of the command line;
``code`` names the reason in one word for programs (the worker's clients, JSON). What in the text may identify a patient
or a place (names of files and folders, UIDs) is also given as ``private``: the terminal may show it, what is written
down takes ``anonymous``.
"""

from __future__ import annotations

from collections.abc import Iterable

LEFT_OUT = "[...]"


class MAEMCError(Exception):
    """Base of every error that is a message to the user rather than a defect."""

    exit_code = 1

    def __init__(self, message: str, code: str = "error", private: Iterable[object] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.private = tuple(sorted({str(part) for part in private} - {""}, key=len, reverse=True))

    @property
    def anonymous(self) -> str:
        """The message without its private parts, for what is written down."""
        text = str(self)
        for part in self.private:
            text = text.replace(part, LEFT_OUT)
        return text


class UsageError(MAEMCError):
    """The request itself is wrong: unknown option value, missing argument, nothing to do."""

    exit_code = 2

    def __init__(self, message: str, code: str = "usage", private: Iterable[object] = ()) -> None:
        super().__init__(message, code, private)


class InputError(MAEMCError):
    """An input (volume, point, manifest, folder) cannot be used."""

    exit_code = 3

    def __init__(self, message: str, code: str = "input", private: Iterable[object] = ()) -> None:
        super().__init__(message, code, private)


class ModelError(MAEMCError):
    """A model bundle cannot be trusted or loaded."""

    exit_code = 4

    def __init__(self, message: str, code: str = "model", private: Iterable[object] = ()) -> None:
        super().__init__(message, code, private)


class MachineError(MAEMCError):
    """The machine lacks what the work needs: a package that is absent or broken, memory."""

    exit_code = 1

    def __init__(self, message: str, code: str = "machine", private: Iterable[object] = ()) -> None:
        super().__init__(message, code, private)
