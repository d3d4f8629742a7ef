"""What ITK says, turned into something for a user."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


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
