"""All DICOM files below a folder, by series: one pass over the headers, no voxel is read."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.dicom_series import Series, in_order, series_affine, summarize
from MAEMCLib.errors import InputError

from .imported import Skipped, below

_TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "SeriesDescription"),
    *("Modality", "ImageType", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"),
    *("SliceThickness", "NumberOfFrames", "BodyPartExamined", "ConvolutionKernel", "ContrastBolusAgent"),
)


class Header(dict):
    """The tags that matter here as plain values, by keyword: an eighth of the memory of pydicom's data sets, which
    counts for the 240,000 slices of LIDC-IDRI. Tags that are missing, empty or damaged are not in it."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


@dataclass(frozen=True)
class TreeSeries:
    """One series of a tree: what it says of itself, and the headers of all its files by path."""

    series: Series
    headers: dict[Path, Header]

    @property
    def uid(self) -> str:
        """Series Instance UID."""
        return self.series.uid

    @property
    def header(self) -> Header:
        """The header of the first slice (of the first file, where the series cannot be used)."""
        return self.headers[self.series.slices[0].path] if self.series.slices else next(iter(self.headers.values()))

    @property
    def patient(self) -> str:
        """The patient's ID, or where none is stated the study's."""
        header = self.header
        return header.get("PatientID") or f"study {header.get('StudyInstanceUID') or self.uid}"

    @cached_property
    def ordered(self) -> list:
        """The slices in order along their normal. Raises InputError: gaps, duplicates, mixtures."""
        if self.series.problem:
            raise InputError(self.series.problem, "dicom-series")
        return in_order(self.series)

    @cached_property
    def affine(self) -> np.ndarray:
        """(4, 4) index (i, j, k) to LPS mm. Raises InputError as ``ordered``."""
        return series_affine(self.ordered)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(columns, rows, slices): the size along i, j, k."""
        rows, columns = self.ordered[0].shape
        return columns, rows, len(self.ordered)

    @cached_property
    def folders(self) -> frozenset[Path]:
        """The folders that its files lie in."""
        return frozenset(path.parent for path in self.headers)

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
        """How a series is named to the user: by its folder, or its first file where others lie beside it."""
        alone = not any(other is not series and other.lies_in(series.folder) for other in self.series)
        return below(series.folder if alone else min(series.headers), self.folder)

    def image(self, series: TreeSeries) -> Path:
        """What a manifest names to mean this series: its folder, where no other series could be taken for it; else its
        first slice, which stands for the series it belongs to. So no manifest has to hold a series' UID.

        Raises InputError where neither is clear: slices in several folders among other series.
        """
        usable = [other for other in self.series if other is not series and not other.series.problem]
        if not any(other.lies_in(series.folder) for other in usable):
            return series.folder
        first = series.ordered[0].path
        if any(not folder.is_relative_to(first.parent) for folder in series.folders):
            raise InputError(
                "its slices lie in several folders among other series; put them into a folder of their own", "dicom"
            )
        return first


def scan(folder: Path) -> Tree:
    """Read the headers of all files below a folder. Raises InputError where there is no such folder or no DICOM."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Check the path.", "missing-file")
    folder = folder.absolute()
    found: dict[str, dict[Path, Header]] = {}
    skipped, foreign = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom remarks on every sloppy header; what matters is checked
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            reason = _take(path, found)
            if reason:
                skipped.append(Skipped(below(path, folder), reason))
            elif reason is None:
                foreign.append(path)
    if not found and not skipped:
        raise InputError(f"{folder} holds no DICOM files.", "no-dicom")
    series = tuple(TreeSeries(_described(uid, headers), headers) for uid, headers in found.items())
    return Tree(folder, series, tuple(skipped), tuple(foreign))


def plain(value: Any) -> str:
    """A header's value as text in one line; values of several parts joined by a backslash, as DICOM writes them."""
    parts = value if isinstance(value, list) else [value]
    return " ".join("\\".join(str(part) for part in parts).split())


def _take(path: Path, found: dict[str, dict[Path, Header]]) -> str | None:
    """Sort one file in: "" done, a reason why it was left out, None for a file that is not DICOM at all."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
    except InvalidDicomError:
        return "named as DICOM, but it is none or damaged" if path.suffix.lower() in (".dcm", ".ima") else None
    except PermissionError:
        return "it may not be read (permission denied)"
    except Exception as error:  # a damaged file breaks pydicom in many places
        return f"damaged ({type(error).__name__})"
    header = _header(data)
    if "SeriesInstanceUID" not in header:
        return "DICOM without a series"
    if "Rows" not in header:
        return f"DICOM without an image (modality {header.get('Modality', 'not stated')})"
    found.setdefault(header.SeriesInstanceUID, {})[path] = header
    return ""


def _header(data: Any) -> Header:
    header = Header()
    for name in _TAGS:
        try:
            value = data.get(name)
        except Exception:  # a value that cannot be decoded counts as missing
            continue
        if value is None or value == "":
            continue
        if isinstance(value, str):
            header[name] = sys.intern(str(value).strip())
        elif isinstance(value, Sequence):
            header[name] = [sys.intern(str(v).strip()) if isinstance(v, str) else float(v) for v in value]
        else:
            header[name] = int(value) if isinstance(value, int) else float(value)
    return header


def _described(uid: str, headers: dict[Path, Header]) -> Series:
    try:
        return summarize(uid, list(headers.items()))
    except (TypeError, ValueError, AttributeError, KeyError):
        return Series(uid, "", (), "headers with values that cannot be understood")
