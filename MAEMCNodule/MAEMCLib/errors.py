"""What can go wrong for a user, by who can mend it.

Each error's text is a message for a person: what happened, why, what to do. ``exit_code`` is that of the command line;
``code`` names the reason in one word for programs (the worker's clients, JSON).
"""


class MAEMCError(Exception):
    """Base of every error that is a message to the user rather than a defect."""

    exit_code = 1

    def __init__(self, message: str, code: str = "error") -> None:
        super().__init__(message)
        self.code = code


class UsageError(MAEMCError):
    """The request itself is wrong: unknown option value, missing argument, nothing to do."""

    exit_code = 2

    def __init__(self, message: str, code: str = "usage") -> None:
        super().__init__(message, code)


class InputError(MAEMCError):
    """An input (volume, point, manifest, folder) cannot be used."""

    exit_code = 3

    def __init__(self, message: str, code: str = "input") -> None:
        super().__init__(message, code)


class ModelError(MAEMCError):
    """A model bundle cannot be trusted or loaded."""

    exit_code = 4

    def __init__(self, message: str, code: str = "model") -> None:
        super().__init__(message, code)
