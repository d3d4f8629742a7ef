"""All DICOM files below a folder, by series: one pass over the headers, no voxel is read."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from MAEMCLib.errors import InputError
from MAEMCLib.images.dicom.grid import Grid
from MAEMCLib.images.dicom.header import Header
from MAEMCLib.images.dicom.series import read_folder
from MAEMCLib.images.dicom.stacks import Stack

from .imported import Skipped, below, existing_folder

_MORE = ("BodyPartExamined", "ContrastBolusAgent")


@dataclass(frozen=True)
class TreeSeries:
    """One stack of slices of a tree: usually a whole series."""

    stack: Stack

    @property
    def uid(self) -> str:
        """Series Instance UID, with ``#2`` for the second stack of a series."""
        return self.stack.name

    @property
    def header(self) -> Header:
        """The header of the first slice; an empty one where the series cannot be used."""
        return self.stack.slices[0].header if self.stack.slices else Header()

    @property
    def patient(self) -> str:
        """The patient's ID, or where none is stated the study's."""
        return self.header.text("PatientID") or f"study {self.header.text('StudyInstanceUID') or self.stack.uid}"

    @property
    def grid(self) -> Grid:
        """Where its slices lie. Raises InputError with the reason why it cannot be used."""
        if self.stack.problem is not None:
            raise self.stack.problem
        return self.stack.grid

    @property
    def shape(self) -> tuple[int, int, int]:
        """(columns, rows, slices): the size along i, j, k."""
        rows, columns = self.stack.slices[0].shape
        return columns, rows, self.grid.depth

    @cached_property
    def folders(self) -> frozenset[Path]:
        """The folders that its files lie in."""
        return frozenset(path.parent for path in self.stack.files)

    @cached_property
    def folder(self) -> Path:
        """The folder that holds all files of the series."""
        return Path(os.path.commonpath(self.folders))

    def lies_in(self, folder: Path) -> bool:
        """Whether one of its files lies in a folder or below."""
        return any(own.is_relative_to(folder) for own in self.folders)


@dataclass(frozen=True)
class Tree:
    """All series below a folder in the order of their paths, the DICOM files that belong to none with the reason, and
    the files that are no DICOM."""

    folder: Path
    series: tuple[TreeSeries, ...]
    skipped: tuple[Skipped, ...]
    foreign: tuple[Path, ...]

    def name(self, series: TreeSeries) -> str:
        """What a series is called: its folder, or its first file where other series lie beside it."""
        alone = not any(other is not series and other.lies_in(series.folder) for other in self.series)
        return below(series.folder if alone else min(series.stack.files), self.folder)

    def image(self, series: TreeSeries) -> Path:
        """The path that a manifest gives for this series, so that it never holds a UID: its folder, unless another
        series could be taken for it; otherwise its first slice, which stands for its stack.

        Raises InputError where neither is clear: slices in several folders among other series, or several stacks in one
        file.
        """
        usable = [other for other in self.series if other is not series and other.stack.problem is None]
        if not any(other.lies_in(series.folder) for other in usable):
            return series.folder
        first = series.grid.slices[0].path
        if any(not folder.is_relative_to(first.parent) for folder in series.folders):
            raise InputError(
                "its slices lie in several folders among other series; put them into a folder of their own", "dicom"
            )
        if any(first in other.stack.files for other in self.series if other is not series):
            raise InputError("its file holds several stacks of slices; write them to files of their own", "dicom")
        return first


def scan(folder: Path) -> Tree:
    """Read the headers of all files below a folder. Raises InputError where there is no such folder or no DICOM."""
    folder = existing_folder(folder)
    found = read_folder(folder, _MORE)
    reasons = dict(found.spoiled)
    for path, modality in found.imageless.items():
        reasons[path] = f"DICOM without an image (modality {modality or 'not stated'})"
    if not found.stacks and not reasons:
        raise InputError(f"{folder} holds no DICOM files.", "no-dicom")
    series = sorted((TreeSeries(stack) for stack in found.stacks), key=lambda series: min(series.stack.files))
    skipped = [Skipped(below(path, folder), reason) for path, reason in sorted(reasons.items())]
    return Tree(folder, tuple(series), tuple(skipped), found.foreign)


def plain(text: str) -> str:
    """A header's text in one line."""
    return " ".join(text.split())
