"""One CT series out of a folder of DICOM files, in the right order and in its place, or the reason why not."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..ct import CTVolume, ReadingRemark
from .examination import examination_of
from .header import Header, read_header
from .image import REFORMATTED, Slice, is_image, is_localizer, is_screen, read_slices, refused
from .stacks import Stack, belongs, stacks_of
from .voxels import read_voxels, same_pixels

_LISTED = 20
_SUFFIXES = ".dcm", ".ima"
_UNEVEN_MM = 0.02
_OF_A_COPY = ("SOPInstanceUID", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID")
_HU = "HU", "HU_MOD", "US", "UNSPECIFIED", ""  # US: unspecified


@dataclass(frozen=True)
class Folder:
    """What a folder of DICOM files holds.

    stacks: every stack of every image series, usable or not, in the order of their names. spoiled: files that are DICOM
    or called so and cannot be read, with the reason. imageless: DICOM files without an image, with their modality.
    foreign: files that are no DICOM.
    """

    stacks: tuple[Stack, ...]
    spoiled: Mapping[Path, str]
    imageless: Mapping[Path, str]
    foreign: tuple[Path, ...]


def read_folder(folder: Path, more: Sequence[str] = ()) -> Folder:
    """Read the headers of all files of a folder and its subfolders; no voxel is read, but of copies of one image.

    more: further texts to read of each header, by keyword. The result names every file that is damaged.
    """
    series: dict[str, dict[Path, Header]] = {}
    spoiled, imageless, foreign, nameless = {}, {}, [], []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            header = read_header(path, more)
        except InputError as error:
            spoiled[path] = str(error)
            continue
        if header is None and _is_called_dicom(path):
            spoiled[path] = "named as DICOM, but it is none or damaged"
        elif header is None:
            foreign.append(path)
        elif not is_image(header):
            imageless[path] = header.text("Modality")
        elif header.pixel_bytes is None and "Rows" not in header:
            spoiled[path] = "it is damaged: it ends within its header"
        elif "SeriesInstanceUID" in header:
            series.setdefault(header["SeriesInstanceUID"], {})[path] = header
        else:
            nameless.append(path)
            spoiled[path] = "SeriesInstanceUID is missing"
    stacks = [stack for uid, headers in sorted(series.items()) for stack in series_stacks(uid, headers)]
    lone = [stack.slices[0] for stack in stacks if len(stack.slices) == 1]
    strange = [s.files[0] for s in stacks if s.problem and s.problem.code == "dicom-header" and len(s.files) == 1]
    stacks = [_beside(stack, [*spoiled, *strange], nameless, lone) for stack in stacks]
    return Folder(tuple(stacks), spoiled, imageless, tuple(foreign))


def _is_called_dicom(path: Path) -> bool:
    """Whether a file that is none goes by the name of DICOM, or is empty without a suffix, as slices often are."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    return not path.suffix and path.stat().st_size < 132 and not path.read_bytes().strip(b"\0")


def series_stacks(uid: str, headers: Mapping[Path, Header]) -> list[Stack]:
    """The stacks of one SeriesInstanceUID; a single one with its problem, where an image is at fault."""
    left_out: Counter[str] = Counter()
    try:
        modalities = {header.text("Modality") for header in headers.values()}
        if "CT" not in modalities:
            named = sorted(m if re.fullmatch("[A-Z]{2,12}", m) else "not stated" for m in modalities)
            raise InputError(f"modality {', '.join(named)}, not CT", "dicom-modality")
        images, copies = _without_copies(headers, left_out)
        images = _without(images, is_screen, "images without a place in the patient (such as screen saves)", left_out)
        if not images:
            raise InputError("images without position, orientation or pixel spacing", "dicom-header")
        images = _without(images, is_localizer, "localizers", left_out)
        if not images:
            raise InputError("localizer (scout) only", "dicom-localizer")
        stacks, lone = stacks_of(uid, [item for path, header in images.items() for item in read_slices(path, header)])
    except InputError as problem:
        return [Stack(uid, problem=problem, files=tuple(headers))]
    left_out["lone images that fit no stack (such as localizers)"] += len(lone)
    texts = [f"{count} {what} left out of the series." for what, count in left_out.items() if count]
    notes = [ReadingRemark("dicom-left-out", text, amber=False) for text in texts]
    described = []
    for stack in stacks:
        own = list(dict.fromkeys(item.path for item in stack.slices))
        files = (*own, *(copy for copy, first in copies.items() if first in set(own)))
        described.append(replace(stack, remarks=(*notes, *_remarks(stack)), files=files))
    return described


def read_series(path: str | Path, series_uid: str | None = None) -> CTVolume:
    """Read a CT series from a folder, or the stack that a single file belongs to. The volume has no name: a folder's
    may hold the patient's.

    series_uid: a SeriesInstanceUID, with ``#2`` for the second of its stacks where it holds several.
    Raises InputError: what ``find_stack`` raises, damaged files.
    """
    stack = find_stack(path, series_uid)
    try:
        voxels = read_voxels(stack.grid)
        # Values without a scale are HU where lung or air is what it should be; a padding value alone proves nothing.
        if stack.slices[0].slope is None and not ((voxels > -1100) & (voxels < -500)).mean() > 0.01:
            raise InputError("RescaleSlope and RescaleIntercept are missing, and its values are not HU", "not-ct")
    except InputError as problem:
        raise _unusable(problem) from problem
    return CTVolume(
        voxels,
        stack.grid.affine,
        remarks=stack.remarks,
        absent=stack.grid.absent,
        examination=examination_of(stack.slices[0]),
    )


def find_stack(path: str | Path, series_uid: str | None = None) -> Stack:
    """The usable stack that a path and a name mean, as ``read_series`` reads it; no voxel is read.

    Raises InputError: no images, several usable stacks (all are listed), unknown UID, not CT, localizers or projections
    only, headers that do not say what is used of them, slices of one position or unevenly spaced.
    """
    path = Path(path)
    folder = read_folder(path if path.is_dir() else path.parent)
    stack = _of_file(folder, path) if path.is_file() and series_uid is None else _choose(folder, series_uid)
    if stack.problem is not None:
        raise _unusable(stack.problem) from stack.problem
    return stack


def _unusable(problem: InputError) -> InputError:
    return InputError(
        f"The series cannot be used: {problem}. Transfer or export it again, or choose another.",
        problem.code,
        problem.private,
    )


def _beside(stack: Stack, spoiled: Sequence[Path], nameless: Sequence[Path], lone: Sequence[Slice]) -> Stack:
    """A usable stack with what lies in its folders and may have been a part of it: a problem, or a remark."""
    if stack.grid is None:
        return stack
    folders = {path.parent for path in stack.files}
    strays = [(path, "states no") for path in nameless]
    strays += [(item.path, "states another") for item in lone if belongs(item, stack.grid)]
    for path, what in strays:
        if path.parent in folders:
            return replace(stack, problem=refused(f"an image beside its slices {what} SeriesInstanceUID", path))
    near = [path for path in spoiled if path.parent in folders]
    if not near:
        return stack
    files, they = ("1 file", "it") if len(near) == 1 else (f"{len(near)} files", "they")
    text = f"{files} beside the slices cannot be read and {they} may belong to the series."
    return replace(stack, remarks=(*stack.remarks, ReadingRemark("dicom-unreadable", text, where=near[0].name)))


def _without(images: Mapping[Path, Header], belongs, what: str, left_out: Counter[str]) -> dict[Path, Header]:
    rest = {path: header for path, header in images.items() if not belongs(header)}
    left_out[what] += len(images) - len(rest)
    return rest


def _without_copies(
    headers: Mapping[Path, Header], left_out: Counter[str]
) -> tuple[dict[Path, Header], dict[Path, Path]]:
    """One file for each image, and of the others which file each is a copy of: a CD and the archive may give the same
    image twice. Raises InputError where the pixels or the headers of such a pair differ."""
    originals: dict[tuple, Path] = {}
    copies: dict[Path, Path] = {}
    for path, header in headers.items():
        key = tuple(header.text(name) for name in _OF_A_COPY) if "SOPInstanceUID" in header else (path,)
        first = originals.setdefault(key, path)
        if first == path:
            continue
        if headers[first] != header or not same_pixels(first, path):
            raise refused("two images have one SOPInstanceUID and differ", path, "dicom-copies")
        copies[path] = first
    left_out["copies of an image"] += len(copies)
    return {path: header for path, header in headers.items() if path not in copies}, copies


def _remarks(stack: Stack) -> Iterator[ReadingRemark]:
    if stack.grid is None:
        return
    if stack.grid.absent:
        before = stack.slices[int(np.argmax(np.diff(stack.grid.numbers) > 1))].path.name
        yield ReadingRemark("dicom-missing-slices", f"{stack.grid.gaps()}.", where=f"after {before}")
    if stack.grid.off_mm > max(_UNEVEN_MM, 0.01 * stack.grid.step_mm):
        text = f"The slices lie up to {stack.grid.off_mm:.2f} mm off an even grid, within what is allowed."
        yield ReadingRemark("dicom-uneven", text, amber=False)
    kinds = {item.kind for item in stack.slices}
    if REFORMATTED in kinds:
        text = "The series is reformatted (ImageType), not as the scanner reconstructed it."
        yield ReadingRemark("dicom-reformatted", text)
    elif "" in kinds:
        text = "The images do not say whether they are original (ImageType); projections cannot be told from slices."
        yield ReadingRemark("dicom-image-type", text)
    if any(item.header.text("RescaleType").upper() not in _HU for item in stack.slices):
        text = "The images say that their values are in another unit than HU (RescaleType)."
        yield ReadingRemark("dicom-rescale-type", text)
    if stack.slices[0].slope is None:
        text = "The images state no RescaleSlope and RescaleIntercept; their values were taken for HU."
        yield ReadingRemark("dicom-no-rescale", text)


def _of_file(folder: Folder, path: Path) -> Stack:
    """The stack that a file belongs to. A series that cannot be used has one, and all of its files."""
    stacks = [stack for stack in folder.stacks if path in stack.files]
    if len(stacks) > 1:
        raise _several("The file holds several stacks; choose one with --series UID#NUMBER:", stacks, "several-series")
    if stacks:
        return stacks[0]
    if path in folder.spoiled:
        raise InputError(f"The file cannot be used: {folder.spoiled[path]}. Transfer it again.", "unreadable")
    if path in folder.foreign or path in folder.imageless:
        raise InputError("The file holds no DICOM image. Choose the folder of one CT series.", "no-dicom")
    raise InputError("The image belongs to no stack of slices: it is a localizer, a screen save or a lone image.",
                     "dicom-lone")  # fmt: skip


def _choose(folder: Folder, name: str | None) -> Stack:
    if not folder.stacks:
        text = "The folder holds no DICOM images. Choose the folder of one CT series."
        if folder.spoiled:
            text += f" {len(folder.spoiled)} files are named as DICOM or begin so, and cannot be read."
        raise InputError(text, "no-dicom")
    meant = [stack for stack in folder.stacks if name is None or stack.is_called(name)]
    usable = [stack for stack in meant if stack.problem is None]
    if not meant:
        raise _several(f"There is no series {name} in the folder. It holds:", folder.stacks, "dicom-series")
    if not usable and name is None and len(meant) > 1:
        raise _several("The folder holds no usable CT series:", meant, "dicom-series")
    if len(usable) > 1:
        several = "folder holds several CT series" if name is None else "series holds several stacks of slices"
        which = "UID" if name is None else "UID#NUMBER"
        text = f"The {several}; choose one with --series {which}, in a manifest in the column series:"
        raise _several(text, usable, "several-series")
    return (usable or meant)[0]


def _several(text: str, stacks: Sequence[Stack], code: str) -> InputError:
    """An error with the stacks a line each, the usable ones first, not more than fit on a screen."""
    ordered = sorted(stacks, key=lambda stack: stack.problem is not None)[:_LISTED]
    more = len(stacks) - len(ordered)
    text += "".join(f"\n  {stack}" for stack in ordered) + (f"\n  and {more} more" if more > 0 else "")
    private = [part for stack in ordered for part in (stack.uid, *(stack.problem.private if stack.problem else ()))]
    return InputError(text, code, private)
