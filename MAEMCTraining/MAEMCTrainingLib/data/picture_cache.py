"""The cache of 2-D pictures: every picture of a manifest as a square of 8-bit gray values in one mapped file.

A cache is a folder: ``index.json`` and ``pixels.npy``, (pictures, side, side) uint8; where the manifest's column
``mask`` names pictures of lesions, ``masks.npy`` of the same shape, bool, empty for pictures without. A picture is put
into a black square and brought to one side for all, the longer side of the largest, at most ``SIDE``. Rows of the kind
``slice`` that name the same volume are one case with several pictures, and may name a CT volume in the place of a
picture: its axial slice is then shown in the lung window. Patients are pseudonyms, and no path is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.atomic import file_sha256, read_json, replacing, write_json
from MAEMCLib.ct import check_ct, read_volume
from MAEMCLib.errors import InputError, MAEMCError
from MAEMCLib.manifest import ManifestRow
from MAEMCLib.montage import Preprocessing, normalise
from MAEMCLib.picture import look, read_gray, square

from ..patients import key_name, pseudonym_key
from .cache import UNREADABLE, patient_pseudonym

SCHEMA = 1
SIDE = 256
"""Largest side of a stored picture, in pixels: more than any preset looks at."""
FLAT_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")


@dataclass(frozen=True)
class CachedPictures:
    """One case: its pictures' places in the file, in the order of their slices; sha256 of their gray values."""

    case_id: str
    patient: str
    label: int | None
    diameter_mm: float | None
    pictures: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class PictureCache:
    """An opened cache. left_out: case_id, code and reason of each row without a picture."""

    folder: Path
    cases: tuple[CachedPictures, ...]
    left_out: tuple[dict[str, str], ...]
    key: str  # name of the pseudonyms' key

    @cached_property
    def pixels(self) -> np.ndarray:
        """(pictures, side, side) uint8, mapped and not read. Raises InputError where the file is unusable."""
        try:
            pixels = np.load(self.folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"The cache {self.folder} is damaged. Remove it; it is built again.", "cache") from error
        return pixels

    @cached_property
    def masks(self) -> np.ndarray | None:
        """(pictures, side, side) bool, where a lesion is; None for a cache without masks."""
        path = self.folder / "masks.npy"
        return np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None


def build_picture_cache(
    rows: Sequence[ManifestRow],
    folder: Path,
    home: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    folder_of_manifest: Path = Path(),
) -> PictureCache:
    """Read every picture, or take the cache as it is where no row and no file changed since.

    A row whose picture or mask cannot be read is left out with its reason. folder_of_manifest: where masks that are
    named by a relative path are looked for. Raises InputError: none can be read, slices of one
    volume with different labels or patients, the folder cannot be written.
    """
    key = pseudonym_key(home)
    signature = _signature(rows, key_name(key))
    if (folder / "index.json").is_file():
        index = read_json(folder / "index.json", "The cache's index")
        if index.get("schema") == SCHEMA and index.get("signature") == signature:
            return open_picture_cache(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The cache folder {folder} cannot be made ({error.strerror}).", "not-written") from error
    grays, masks, read, left_out = [], [], [], []
    volumes = _Volumes()
    for number, row in enumerate(rows):
        try:
            gray = square(volumes.slice(row) if _is_volume(row) else read_gray(row.image))
            mask = _mask(row, folder_of_manifest, gray.shape)
            grays.append(np.rint(_sized(gray, min(SIDE, len(gray))) * 255).astype(np.uint8))
            masks.append(mask)
            read.append(row)
        except UNREADABLE as error:
            known = isinstance(error, MAEMCError)
            reason = str(error) if known else f"The picture cannot be used ({type(error).__name__})."
            left_out.append({"case_id": row.case_id, "code": error.code if known else "unreadable", "reason": reason})
        progress(number + 1, len(rows))
    if not read:
        first = left_out[0]["reason"] if left_out else "the manifest names none"
        raise InputError(f"None of the {len(rows)} pictures can be read. The first: {first}", "no-cases")
    side = max(len(gray) for gray in grays)
    pixels = np.stack([np.rint(_sized(gray.astype(np.float32), side)).astype(np.uint8) for gray in grays])
    cases = _cases(read, pixels, key)
    with replacing(folder / "pixels.npy") as temporary, open(temporary, "wb") as stream:
        np.save(stream, pixels, allow_pickle=False)
    _write_masks(folder, masks, side)
    index = {
        "schema": SCHEMA,
        "kind": "pictures",
        "signature": signature,
        "side": side,
        "sha256": file_sha256(folder / "pixels.npy"),
        "pseudonym_key": key_name(key),
        "cases": [asdict(case) for case in cases],
        "left_out": [{"case_id": item["case_id"], "code": item["code"]} for item in left_out],
    }
    write_json(folder / "index.json", index)
    return PictureCache(folder, cases, tuple(left_out), key_name(key))


def open_picture_cache(folder: Path) -> PictureCache:
    """Open a cache and compare its file with its SHA-256. Raises InputError: damaged, or of another schema."""
    index = read_json(folder / "index.json", "The cache's index")
    try:
        if index["schema"] != SCHEMA or file_sha256(folder / "pixels.npy") != index["sha256"]:
            raise ValueError("another schema or other pixels")
        cases = tuple(CachedPictures(**values | {"pictures": tuple(values["pictures"])}) for values in index["cases"])
        left_out = tuple({**item, "reason": item["code"]} for item in index["left_out"])
        return PictureCache(folder, cases, left_out, index["pseudonym_key"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(
            f"The picture cache {folder} is damaged or of another version. Remove it; it is built again from the "
            "manifest.",
            "cache-damaged",
        ) from error


def is_picture_cache(folder: Path) -> bool:
    """Whether a folder is a cache of pictures."""
    return (folder / "pixels.npy").is_file() and (folder / "index.json").is_file()


class _Volumes:
    """The last CT volume that slices were taken of: a manifest lists a volume's slices one after another."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.slices: np.ndarray | None = None

    def slice(self, row: ManifestRow) -> np.ndarray:
        """(rows, columns) float32 in [0, 1]: one axial slice, counted along +S, in the lung window."""
        if row.image != self.path:
            volume = read_volume(row.image, row.extra.get("series_uid") or None)
            check_ct(volume)
            upwards = volume.affine[2, 2] >= 0
            self.path, self.slices = row.image, volume.array if upwards else volume.array[::-1]
        number = int(row.extra["slice_index"])
        if not 0 <= number < len(self.slices):
            raise InputError(
                f"The slice {number} is not in a volume of {len(self.slices)} slices. Correct slice_index.", "slice"
            )
        return normalise(self.slices[number], Preprocessing())


def _is_volume(row: ManifestRow) -> bool:
    return row.kind == "slice" and (row.image.is_dir() or row.image.suffix.lower() not in FLAT_SUFFIXES)


def _sized(gray: np.ndarray, side: int) -> np.ndarray:
    """A square picture at another side."""
    return gray if len(gray) == side else look(gray, (len(gray) / 2, len(gray) / 2), len(gray), side)


def _mask(row: ManifestRow, manifest: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The lesions of a picture, in its black square; any gray is lesion. Several masks, separated by semicolons, are
    put together. Raises InputError: another size than the picture's."""
    if not row.extra.get("mask"):
        return None
    lesions = np.zeros(shape, dtype=bool)
    for name in row.extra["mask"].split(";"):
        mask = square(read_gray(manifest / name))
        if mask.shape != shape:
            raise InputError(
                f"The mask of the case {row.case_id} is {len(mask)} pixels wide, its picture {shape[0]}. Both have to "
                "be of one size.",
                "lesion-mask",
            )
        lesions |= mask > 0
    return lesions


def _write_masks(folder: Path, masks: Sequence[np.ndarray | None], side: int) -> None:
    path = folder / "masks.npy"
    path.unlink(missing_ok=True)
    if all(mask is None for mask in masks):
        return
    empty = np.zeros((side, side), dtype=bool)
    # Anything of a lesion that falls on a pixel makes it lesion: a small one must not vanish.
    sized = [empty if mask is None else _sized(mask.astype(np.float32), side) > 0 for mask in masks]
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, np.stack(sized), allow_pickle=False)


def _cases(rows: Sequence[ManifestRow], pixels: np.ndarray, key: bytes) -> tuple[CachedPictures, ...]:
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        volume = row.extra["volume_id"] if row.kind == "slice" else ""
        groups.setdefault(f"slice {volume}" if volume else f"image {row.case_id}", []).append(number)
    cases = []
    for numbers in groups.values():
        members = [rows[number] for number in numbers]
        if members[0].kind == "slice":
            numbers = sorted(numbers, key=lambda number: _slice_index(rows[number]))
        if len({(row.patient_id, row.label) for row in members}) > 1:
            raise InputError(
                f"The slices of one volume have different labels or patients (cases {members[0].case_id} ...). "
                "Correct the manifest.",
                "manifest-volume",
            )
        row = members[0]
        cases.append(
            CachedPictures(
                case_id=row.case_id,
                patient=patient_pseudonym(row.patient_id, row.extra.get("pseudonym_key") or None, key),
                label=row.label,
                diameter_mm=row.diameter_mm,
                pictures=tuple(numbers),
                sha256=hashlib.sha256(np.ascontiguousarray(pixels[list(numbers)])).hexdigest(),
            )
        )
    return tuple(cases)


def _slice_index(row: ManifestRow) -> int:
    try:
        return int(row.extra["slice_index"])
    except ValueError:
        raise InputError(
            f"The slice_index of the case {row.case_id} is '{row.extra['slice_index']}', not a whole number.",
            "manifest-number",
        ) from None


def _signature(rows: Sequence[ManifestRow], key: str) -> str:
    """Of what the manifest says, and of the files' sizes and times."""
    times: dict[Path, list[Any]] = {}
    for row in rows:
        if row.image not in times:
            stat = row.image.stat()
            times[row.image] = [str(row.image), stat.st_size, stat.st_mtime_ns]
    said = [
        [row.case_id, row.patient_id, row.label, row.diameter_mm, row.kind, dict(row.extra), times[row.image]]
        for row in rows
    ]
    return hashlib.sha256(json.dumps([SCHEMA, SIDE, key, said], sort_keys=True).encode()).hexdigest()
