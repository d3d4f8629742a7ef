"""What ITK is told and says: paths that it can take, its messages turned into something for a user."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError


@contextlib.contextmanager
def itk_warnings_off() -> Iterator[None]:
    """ITK's own warnings name source lines and nothing that a user can mend; our messages tell what they mean."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def itk_reason(error: Exception) -> str:
    """The telling part of an ITK message, which hides behind source lines, object dumps and full paths."""
    text = str(error)
    if "Unable to determine ImageIO" in text:
        return "no reader knows this format (NRRD, NIfTI, MetaImage and DICOM are read)"
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    telling = next((line for line in reversed(lines) if "ERROR" in line or "Error" in line), lines[-1])
    return telling.split("): ")[-1].split(" /")[0].rstrip(" .:")


def native_path(path: Path) -> str:
    """The path as text for a C++ library, which would end the whole process at a name that is not text.

    Raises InputError where the name has bytes that Python cannot read in this locale.
    """
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"The path {text} is no text in this locale ({sys.getfilesystemencoding()}). Set LC_ALL=C.UTF-8, or rename "
            "the file or folder.",
            "path",
            (text,),
        ) from error
    return text
