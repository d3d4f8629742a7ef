"""Strangers' eyes on written DICOM: dciodvfy of dicom3tools and dsrdump of dcmtk, where this machine has them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest


def errors_of(path: Path) -> list[str]:
    """What breaks the standard's rules for an object's modules. Skips the test without dciodvfy."""
    return re.findall(r"(?m)^Error.*", _output("dciodvfy", "dicom3tools", path)[1])


def text_of(path: Path) -> str:
    """A structured report as dsrdump prints it, which reads all of it first; fails where it cannot. Skips the test
    without dsrdump."""
    code, errors, text = _output("dsrdump", "dcmtk", path)
    assert code == 0 and not re.search(r"(?m)^E:|^F:", errors), errors
    return text


def _output(tool: str, package: str, path: Path) -> tuple[int, str, str]:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not on this machine (Debian's package {package}; .ci/run installs it)")
    done = subprocess.run([tool, str(path)], capture_output=True, text=True, errors="replace")
    return done.returncode, done.stderr, done.stdout
