"""The cache of 2-D pictures: every picture of a manifest as the square that its views are taken of, in one mapped file.

A cache is a folder: ``index.json`` and ``pixels.bin``, one square after another, each of its own side, exactly what
``images.gray.framed`` gives scoring of the same picture: in 8 bits where that loses nothing, otherwise in float32.
Where the manifest's column ``mask`` names pictures of lesions, ``masks.bin`` holds these likewise, a byte a pixel. Rows
of the kind ``slice`` that name the same volume of a patient are one case with several pictures, and may name a CT
volume in the place of a picture: its axial slice is then shown in the lung window. Patients and cases are pseudonyms,
and no path or text of the manifest is kept. The cache is taken as it is where no row and, by hash, no file changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.errors import InputError
from MAEMCLib.files.atomic import file_sha256, read_json, replacing, sealed, unsealed, write_json
from MAEMCLib.images.axial import SliceReader
from MAEMCLib.images.gray import STORED_SIDE, framed, look, read_gray, square
from MAEMCLib.picture_scoring import PictureSource

from .cache import PIXELS, UNREADABLE, why_left_out
from .parts import FIRST_ROW, as_kept, groups_of, parts_of
from .pseudonyms import case_pseudonym, key_name, patient_pseudonym, pseudonym_key
from .source_files import content_signature

SCHEMA = 2
_WORD = 4  # bytes: squares of float32 begin at a multiple of it


@dataclass(frozen=True)
class CachedPictures:
    """One case: its pictures' numbers in the cache, in the order of their slices; sha256 of their gray values.

    case_id, patient: pseudonyms. row: of the manifest, of the case's first picture. part, groups: of ``parts_of`` and
    ``as_kept``.
    """

    case_id: str
    patient: str
    row: int
    part: str | None
    groups: dict[str, str]
    label: int | None
    diameter_mm: float | None
    pictures: tuple[int, ...]
    sha256: str

    @property
    def where(self) -> str:
        """How a message names the case."""
        return f"{self.case_id} (row {self.row} of its manifest)"


@dataclass(frozen=True)
class StoredPicture:
    """Where a square lies: the offset of its first byte in pixels.bin, its side, whether it is in 8 bits; the offset of
    its lesion in masks.bin, None where none is marked."""

    offset: int
    side: int
    eight_bits: bool
    mask: int | None = None


@dataclass(frozen=True)
class PictureCache:
    """An opened cache. left_out: case_id, row, code and reason of each row without a picture."""

    folder: Path
    cases: tuple[CachedPictures, ...]
    pictures: tuple[StoredPicture, ...]
    left_out: tuple[dict[str, Any], ...]
    key: str  # name of the pseudonyms' key

    def gray(self, number: int) -> np.ndarray:
        """(side, side) float32 in [0, 1] of one picture: what ``framed`` gives scoring."""
        place = self.pictures[number]
        count = place.side**2 * (1 if place.eight_bits else _WORD)
        stored = self._pixels[place.offset : place.offset + count]
        if place.eight_bits:
            return stored.reshape(place.side, place.side).astype(np.float32) / np.float32(255)
        return np.array(stored.view(np.float32).reshape(place.side, place.side))

    def lesion(self, number: int) -> np.ndarray | None:
        """(side, side) bool, where a lesion is; None where none is marked."""
        place = self.pictures[number]
        if place.mask is None:
            return None
        return np.array(self._masks[place.mask : place.mask + place.side**2]).reshape(place.side, place.side) > 0

    @cached_property
    def _pixels(self) -> np.ndarray:
        return _mapped(self.folder, "pixels.bin")

    @cached_property
    def _masks(self) -> np.ndarray:
        return _mapped(self.folder, "masks.bin")


def _mapped(folder: Path, name: str) -> np.ndarray:
    try:
        return np.memmap(folder / name, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"The cache {folder} is damaged. Remove it; it is built again.", "cache", [folder]) from error


def build_picture_cache(
    rows: Sequence[Case],
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
    parts, groups = parts_of(rows), [as_kept(groups, key) for groups in groups_of(rows)]
    signature = _signature(rows, key_name(key), folder_of_manifest)
    known = _known_index(folder)
    if known.get("schema") == SCHEMA and known.get("signature") == signature:
        return open_picture_cache(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The cache folder {folder} cannot be made ({error.strerror}).", "not-written", [folder]
        ) from error
    read: list[int] = []
    places: list[StoredPicture] = []
    left_out: list[dict[str, Any]] = []
    hashes: list[str] = []
    slices = SliceReader()
    with (
        replacing(folder / "pixels.bin") as pixels_path,
        replacing(folder / "masks.bin") as masks_path,
        open(pixels_path, "wb") as pixels,
        open(masks_path, "wb") as masks,
    ):
        for number, row in enumerate(rows):
            try:
                gray = PictureSource.of(row).read(slices)
                mask = _mask(row, folder_of_manifest, gray.shape)
            except UNREADABLE as error:
                left_out.append({"case_id": row.case_id, "row": number + FIRST_ROW, **why_left_out(error, "picture")})
            else:
                place, digest = _store(gray, mask, pixels, masks)
                read.append(number)
                places.append(place)
                hashes.append(digest)
            progress(number + 1, len(rows))
        if not read:
            first = left_out[0] if left_out else {"reason": "the manifest names none", "private": ()}
            raise InputError(
                f"None of the {len(rows)} pictures can be read. The first: {first['reason']}",
                "no-cases",
                first["private"],
            )
        cases = _cases(rows, read, hashes, key, parts, groups)
    index = {
        "schema": SCHEMA,
        "kind": "pictures",
        "signature": signature,
        "files": {name: file_sha256(folder / name) for name in ("pixels.bin", "masks.bin")},
        "pseudonym_key": key_name(key),
        "cases": [asdict(case) for case in cases],
        "pictures": [asdict(place) for place in places],
        "left_out": [{"row": item["row"], "code": item["code"]} for item in left_out],
    }
    write_json(folder / "index.json", sealed(index))
    return PictureCache(folder, cases, tuple(places), tuple(left_out), key_name(key))


def _store(gray: np.ndarray, mask: np.ndarray | None, pixels: BinaryIO, masks: BinaryIO) -> tuple[StoredPicture, str]:
    """Append a picture's square and its lesion to the files; where they lie, and the square's sha256."""
    whole = framed(gray, STORED_SIDE)
    levels = np.rint(whole * 255).astype(np.uint8)
    eight_bits = np.array_equal(levels.astype(np.float32) / np.float32(255), whole)
    content = (levels if eight_bits else whole.astype(np.float32)).tobytes()
    offset = pixels.tell()
    pixels.write(content + bytes(-len(content) % _WORD))
    lesion = None
    if mask is not None:
        lesion, side = masks.tell(), len(whole)
        # Anything of a lesion that falls on a pixel makes it lesion: a small one must not vanish.
        marked = square(mask.astype(np.float32))
        if len(marked) != side:
            marked = look(marked, (len(marked) / 2, len(marked) / 2), len(marked), side)
        masks.write((marked > 0).astype(np.uint8).tobytes())
    return StoredPicture(offset, len(whole), eight_bits, lesion), hashlib.sha256(content).hexdigest()


def _known_index(folder: Path) -> dict[str, Any]:
    """What an earlier run left; an index that cannot be read knows nothing, and everything is read again."""
    try:
        return unsealed(read_json(folder / "index.json", "The cache's index"))
    except (InputError, ValueError):
        return {}


def open_picture_cache(folder: Path) -> PictureCache:
    """Open a cache and compare its files with their SHA-256. Raises InputError: damaged, or of another schema."""
    index = read_json(folder / "index.json", "The cache's index")
    try:
        if index["schema"] != SCHEMA:
            raise InputError(
                f"{folder} is a picture cache of another version (schema {index['schema']}, not {SCHEMA}). Remove it "
                "and give the manifest: it is built again.",
                "cache-schema",
                [folder],
            )
        index = unsealed(index)
        if any(file_sha256(folder / name) != sha256 for name, sha256 in index["files"].items()):
            raise ValueError("other pixels")
        cases = tuple(CachedPictures(**values | {"pictures": tuple(values["pictures"])}) for values in index["cases"])
        places = tuple(StoredPicture(**values) for values in index["pictures"])
        left_out = tuple(
            {**item, "case_id": f"row {item['row']}", "reason": item["code"]} for item in index["left_out"]
        )
        return PictureCache(folder, cases, places, left_out, index["pseudonym_key"])
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise InputError(
            f"The picture cache {folder} is damaged or of another version. Remove it; it is built again from the "
            "manifest.",
            "cache-damaged",
            [folder],
        ) from error


def is_picture_cache(folder: Path) -> bool:
    """Whether a folder is a cache of pictures."""
    return (folder / "index.json").is_file() and any((folder / name).is_file() for name in PIXELS)


def _mask(row: Case, manifest: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """(rows, columns) bool, the lesions of a picture of this shape; any gray is lesion. Several masks, separated by
    semicolons, are put together. Raises InputError: another size than the picture's."""
    if not row.values.get("mask"):
        return None
    lesions = np.zeros(shape, dtype=bool)
    for name in row.values["mask"].split(";"):
        mask = read_gray(manifest / name)
        if mask.shape != shape:
            raise InputError(
                f"The mask of the case {row.case_id} has {mask.shape[1]} x {mask.shape[0]} pixels, its picture "
                f"{shape[1]} x {shape[0]}. Both have to be of one size.",
                "lesion-mask",
                [row.case_id],
            )
        lesions |= mask > 0
    return lesions


def _cases(
    rows: Sequence[Case],
    read: Sequence[int],
    hashes: Sequence[str],
    key: bytes,
    parts: Sequence[str | None],
    groups: Sequence[dict[str, str]],
) -> tuple[CachedPictures, ...]:
    """read: of each picture its place among the rows; hashes: of its gray values."""
    members: dict[tuple[str, ...], list[int]] = {}
    for number, place in enumerate(read):
        row = rows[place]
        members.setdefault(case_of(row), []).append(number)
    cases = []
    for numbers in members.values():
        places = [read[number] for number in numbers]
        row = rows[places[0]]
        if row.kind == "slice":
            numbers = sorted(numbers, key=lambda number: _slice_index(rows[read[number]]))
        if len({rows[place].label for place in places}) > 1:
            raise InputError(
                f"The slices of one volume have different labels (cases {row.case_id} ...). Correct the manifest.",
                "manifest-volume",
                [row.case_id],
            )
        made_with = row.values.get("pseudonym_key") or None
        cases.append(
            CachedPictures(
                case_id=case_pseudonym(row.case_id, made_with, key),
                patient=patient_pseudonym(row.patient_id, made_with, key),
                row=places[0] + FIRST_ROW,
                part=parts[places[0]],
                groups=groups[places[0]],
                label=row.label,
                diameter_mm=row.diameter_mm,
                pictures=tuple(numbers),
                sha256=hashlib.sha256("".join(hashes[number] for number in numbers).encode()).hexdigest(),
            )
        )
    return tuple(cases)


def case_of(row: Case) -> tuple[str, ...]:
    """What the pictures of one case share: slices of a patient's volume are one case, every other row is its own."""
    if row.kind == "slice":
        return ("slice", row.patient_id, row.values["volume_id"])
    return ("image", row.case_id)


def _slice_index(row: Case) -> int:
    try:
        return int(row.values["slice_index"])
    except ValueError:
        raise InputError(
            f"The slice_index of the case {row.case_id} is '{row.values['slice_index']}', not a whole number.",
            "manifest-number",
            [row.case_id, row.values["slice_index"]],
        ) from None


def _signature(rows: Sequence[Case], key: str, manifest: Path) -> str:
    """Of what the manifest says, and of the contents of all files that it names."""
    contents: dict[tuple[Path, str | None], str] = {}
    said = []
    for row in rows:
        files: list[tuple[Path, str | None]] = [(row.image, row.values.get("series_uid") or None)]
        files += [(manifest / name, None) for name in row.values.get("mask", "").split(";") if name]
        for file in files:
            if file not in contents:
                contents[file] = _content(*file)
        hashes = [contents[file] for file in files]
        said.append(
            [row.case_id, row.patient_id, row.label, row.diameter_mm, row.split, row.kind, dict(row.values), hashes]
        )
    return hashlib.sha256(json.dumps([SCHEMA, STORED_SIDE, key, said], sort_keys=True).encode()).hexdigest()


def _content(file: Path, series_uid: str | None) -> str:
    try:
        return content_signature(file, series_uid)
    except UNREADABLE:
        return "unreadable"
