"""One CT series out of a folder of DICOM files, in the right order and without gaps, or the reason why not."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .ct import CTVolume, itk_reason
from .errors import InputError

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
_LISTED = 20
_TAGS = [
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "NumberOfFrames",
]


@dataclass(frozen=True)
class _Slice:
    path: Path
    position: np.ndarray  # (3,) LPS mm, center of the first voxel
    orientation: np.ndarray  # (6,) row and column cosines
    pixel_spacing: np.ndarray  # (2,) mm between rows, between columns
    shape: tuple[int, int]


@dataclass(frozen=True)
class Series:
    """What a folder says of one series. problem is why it cannot be used, empty where it can."""

    uid: str
    description: str
    slices: tuple[_Slice, ...]
    problem: str = ""

    def __str__(self) -> str:
        state = f"not usable: {self.problem}" if self.problem else f"{len(self.slices)} slices"
        return f"{self.uid} ({self.description or 'no description'}; {state})"


def list_series(folder: str | Path) -> list[Series]:
    """Every image series in the folder and its subfolders, usable or not, in the order of their UIDs."""
    found: dict[str, list] = defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom remarks on every sloppy header; what matters is checked below
        for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
            header = _header(path)
            if header is not None and "Rows" in header and "SeriesInstanceUID" in header:
                found[str(header.SeriesInstanceUID)].append((path, header))
    return [summarize(uid, headers) for uid, headers in sorted(found.items())]


def read_series(path: str | Path, series_uid: str | None = None) -> CTVolume:
    """Read a CT series from a folder, or the series that a single file belongs to.

    Raises InputError: no images, several usable series (all are listed), unknown UID, not CT, localizer only, missing
    or duplicate slices, slices of different size or direction, damaged files.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if path.is_file() and series_uid is None:
        import pydicom

        series_uid = str(getattr(pydicom.dcmread(path, stop_before_pixels=True), "SeriesInstanceUID", ""))
    series = _choose(list_series(folder), series_uid, folder)
    ordered = in_order(series)
    affine = series_affine(ordered)
    return CTVolume(_voxels(ordered, folder), affine, folder.name)


def _header(path: Path):
    """The tags that matter here, or None: a folder from a CD holds viewers, text and index files beside the images."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except (InvalidDicomError, OSError, EOFError, ValueError):
        return None


def summarize(uid: str, headers: list) -> Series:
    """One series of (path, header) pairs, with the problem that keeps it from being read as a CT volume, if any."""
    description = str(headers[0][1].get("SeriesDescription", ""))
    modality = str(headers[0][1].get("Modality", "?"))
    if modality != "CT":
        return Series(uid, description, (), f"modality {modality}, not CT")
    if any(
        header.get("SOPClassUID") == ENHANCED_CT or int(header.get("NumberOfFrames") or 1) > 1 for _, header in headers
    ):
        return Series(uid, description, (), "multi-frame CT; export it as single-frame CT or convert it to NRRD")
    # Some scanners file the localizer under the same series as the slices planned on it.
    images = [(p, h) for p, h in headers if "LOCALIZER" not in [str(part).upper() for part in h.get("ImageType", [])]]
    if not images:
        return Series(uid, description, (), "localizer (scout) only")
    slices = []
    for file, header in images:
        try:
            slices.append(
                _Slice(
                    file,
                    np.array(header.ImagePositionPatient, float),
                    np.array(header.ImageOrientationPatient, float),
                    np.array(header.PixelSpacing, float),
                    (int(header.Rows), int(header.Columns)),
                )
            )
        except (AttributeError, TypeError, ValueError):
            return Series(uid, description, (), "images without position, orientation or pixel spacing")
    if len(slices) < 2:
        return Series(uid, description, tuple(slices), "a single slice")
    return Series(uid, description, tuple(slices))


def _choose(found: list[Series], uid: str | None, folder: Path) -> Series:
    if not found:
        raise InputError(f"{folder} holds no DICOM images. Choose the folder of one CT series.", "no-dicom")
    if uid is not None:
        for series in found:
            if series.uid == uid:
                if series.problem:
                    raise InputError(f"Series {uid} cannot be used: {series.problem}.", "dicom-series")
                return series
        raise InputError(f"There is no series {uid} in {folder}. It holds:{_listing(found)}", "dicom-series")
    usable = [series for series in found if not series.problem]
    if not usable:
        raise InputError(f"{folder} holds no usable CT series:{_listing(found)}", "dicom-series")
    if len(usable) > 1:
        raise InputError(
            f"{folder} holds several CT series; choose one with --series UID:{_listing(usable)}", "several-series"
        )
    return usable[0]


def _listing(found: list[Series]) -> str:
    """The series a line each, the usable ones first, not more than fit on a screen."""
    ordered = sorted(found, key=lambda series: bool(series.problem))
    more = len(ordered) - _LISTED
    return "".join(f"\n  {series}" for series in ordered[:_LISTED]) + (f"\n  and {more} more" if more > 0 else "")


def in_order(series: Series) -> list[_Slice]:
    """Slices sorted along their common normal. Raises InputError for gaps, duplicates and mixtures."""
    first = series.slices[0]
    for item in series.slices[1:]:
        if (
            item.shape != first.shape
            or np.abs(item.orientation - first.orientation).max() > 1e-3
            or np.abs(item.pixel_spacing - first.pixel_spacing).max() > 1e-4
        ):
            raise InputError(
                f"Series {series.uid} mixes slices of different size, direction or pixel spacing "
                f"({first.path.name} and {item.path.name}). Export the axial series alone.",
                "dicom-mixed",
            )
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    ordered = sorted(series.slices, key=lambda item: float(item.position @ normal))
    height = np.array([item.position @ normal for item in ordered])
    gaps = np.diff(height)
    usual = float(np.median(gaps))
    if gaps.min() < 0.01:
        at = ordered[int(np.argmin(gaps))]
        raise InputError(
            f"Series {series.uid} has two slices at one position ({at.path.name}); it may hold two reconstructions or "
            "phases. Export one of them alone.",
            "dicom-duplicate",
        )
    wrong = np.abs(gaps - usual) > max(0.1 * usual, 0.05)
    if wrong.any():
        where = int(np.argmax(wrong))
        missing = sum(max(0, round(float(gap) / usual) - 1) for gap in gaps)
        what = f"slices are missing ({missing}, " if missing else "the slices are unevenly spaced ("
        raise InputError(
            f"Series {series.uid}: {what}first after {ordered[where].path.name}: a step of {gaps[where]:.2f} mm "
            f"where {usual:.2f} mm is usual). Transfer the series again, completely.",
            "dicom-missing-slices",
        )
    return ordered


def series_affine(ordered: list[_Slice]) -> np.ndarray:
    """(4, 4) index to LPS mm. The slice axis runs between the first and last position, so gantry tilt is kept."""
    first, last = ordered[0], ordered[-1]
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * first.pixel_spacing[1]
    affine[:3, 1] = first.orientation[3:] * first.pixel_spacing[0]
    affine[:3, 2] = (last.position - first.position) / (len(ordered) - 1)
    affine[:3, 3] = first.position
    return affine


def _voxels(ordered: list[_Slice], folder: Path) -> np.ndarray:
    """(slices, rows, columns) in HU; GDCM decompresses and applies each file's rescale slope and intercept."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(item.path) for item in ordered])
    try:
        return sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise InputError(
            f"The images in {folder} cannot be read: {itk_reason(error)}. A file may be damaged; transfer the "
            "series again.",
            "unreadable",
        ) from error
