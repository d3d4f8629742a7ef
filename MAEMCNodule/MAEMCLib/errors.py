"""What can go wrong for a user, by who can mend it.

Each error's text is a message for a person: what happened, why, what to do. ``exit_code`` is that of the command line;
``code`` names the reason in one word for programs (the worker's clients, JSON). What in the text may identify a patient
or a place (names of files and folders, UIDs) is also given as ``private``: the terminal may show it, what is written
down takes ``anonymous``.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Self

LEFT_OUT = "[...]"
DICOM_SERIES = "The DICOM series"
"""What a series is called to its user, since a folder's name may hold the patient's. It is private to nobody."""


class MAEMCError(Exception):
    """Base of every error that is a message to the user rather than a defect."""

    exit_code = 1
    code = "error"

    def __init__(self, message: str, code: str | None = None, private: Iterable[object] = ()) -> None:
        """code: by default the class's own."""
        super().__init__(message)
        self.code = code or self.code
        self.private = _longest_first(private)

    def hide(self, name: object) -> Self:
        """Make the name of a file or folder private, with its path, and without its ending; not one of three letters,
        such as CT, which is nobody's."""
        path = Path(str(name))
        names = {str(path), path.name, path.name.split(".")[0]}
        self.private = _longest_first([*self.private, *(part for part in names if len(part) > 3)])
        return self

    @property
    def anonymous(self) -> str:
        """The message without its private parts, for what is written down; a sentence about a file begins with these
        words, and not with the mark of what was left out."""
        text = str(self)
        for part in self.private:  # whole words: a folder may be called "a"
            text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", LEFT_OUT, text)
        text = re.sub(rf"(^|[.!?] ){re.escape(LEFT_OUT)}(?= \w)", r"\1The file", text)
        return re.sub(rf": {re.escape(LEFT_OUT)}(?= [a-z])", ": the file", text)


def _longest_first(parts: Iterable[object]) -> tuple[str, ...]:
    return tuple(sorted({str(part) for part in parts} - {"", DICOM_SERIES}, key=lambda part: (-len(part), part)))


class UsageError(MAEMCError):
    """The request itself is wrong: unknown option value, missing argument, nothing to do."""

    exit_code = 2
    code = "usage"


class InputError(MAEMCError):
    """An input (volume, point, manifest, folder) cannot be used."""

    exit_code = 3
    code = "input"


class ModelError(MAEMCError):
    """A model bundle cannot be trusted or loaded."""

    exit_code = 4
    code = "model"


class ArchitectureError(ModelError):
    """No network can be built as it is described."""

    code = "architecture"


class MachineError(MAEMCError):
    """The machine lacks what the work needs: a package that is absent or broken, memory."""

    code = "machine"


UNREADABLE = Exception
"""What a damaged file can end in, in the libraries that read it: it costs its own case and not those after it."""


def input_error(error: Exception, what: str) -> MAEMCError:
    """Whatever a damaged input ended in as a message. what: ``The image cannot be read``.

    A library's own words may hold paths and texts of the file, and are private.
    """
    if isinstance(error, MAEMCError):
        return error
    if isinstance(error, MemoryError):
        return InputError(f"{what}: it needs more memory than there is. Close other programs.", "memory")
    if isinstance(error, OSError) and error.strerror:
        return InputError(f"{what} ({error.strerror}). Check the path and the rights.", "unreadable")
    text = f"{type(error).__name__}: {error}"
    return InputError(f"{what} ({text}). Copy the image again or convert it from DICOM.", "unreadable", [str(error)])
