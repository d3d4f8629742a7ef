"""The source files of a checkout, or of a revision that is unpacked into a temporary folder."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = ("Testing", "scripted_tests")
"""The folders of all tests and measurements; every other folder is the product."""
_MADE = ("build", "__pycache__", "node_modules")


@contextmanager
def checkout(revision: str | None) -> Iterator[Path]:
    """The root of the working tree (None), or of a revision as ``git archive`` writes it. Raises CalledProcessError for
    a revision that git does not know."""
    if revision is None:
        yield REPOSITORY
        return
    command = ["git", "-C", str(REPOSITORY), "archive", "--format=tar", revision]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory(prefix="revision-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        yield Path(folder)


def source_files(root: Path, *suffixes: str) -> list[Path]:
    """All files with one of the suffixes, sorted; without hidden folders and those that builds and runs leave."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not _is_made(name)]
        found += [Path(folder) / name for name in names if Path(name).suffix in suffixes]
    return sorted(found)


def is_test(root: Path, file: Path) -> bool:
    """Whether a file of the tree belongs to the tests."""
    return file.relative_to(root).parts[0] in TESTS


def _is_made(folder: str) -> bool:
    return folder.startswith(".") or folder in _MADE or folder.endswith(("-output", ".egg-info"))
