"""2-D pictures as training data. A case is one picture, or the slices of one volume that a manifest names.

Rows of the kind ``slice`` that name the same volume of a patient are one case with several pictures, and may name a CT
volume in the place of a picture: its axial slice is then shown in the lung window. The column ``mask`` names pictures
of lesions.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.errors import UNREADABLE, InputError
from MAEMCLib.images.gray import STORED_SIDE
from MAEMCLib.images.reading_process import ReadingProcess
from MAEMCLib.inputs.picture import INPUT, GrayPicture
from MAEMCLib.inputs.view import PicturePreprocessing

from ...engine.configuration import PictureAugmentation
from ..cases import SourceCase, StoredCase, single_cases
from .kind import Cases, Content, Cut, Kind
from .picture_views import PicturePresentation
from .stored_pictures import PictureFacts, StoredPicture, gray_of, stored


@dataclass(frozen=True)
class PictureSettings:
    """How pictures are stored: wider ones are brought to this side in pixels."""

    stored_side: int = STORED_SIDE


class PictureKind(Kind):
    """2-D pictures."""

    name = "picture"
    title = "2-D pictures"
    rows = ("image", "slice")
    Settings = PictureSettings
    Facts = PictureFacts
    Augmentation = PictureAugmentation
    Preprocessing = PicturePreprocessing
    shown_as = PicturePresentation
    marks_lesions = True

    def source_cases(self, rows: Sequence[Case], folder: Path) -> list[SourceCase]:
        """Slices of one volume are one case, in the order of their numbers. Raises InputError for slices of one volume
        with different labels, a slice_index that is no number, and rows that are CT series without a point."""
        if any(row.kind == "image" and row.image.is_dir() for row in rows):  # as an import of DICOM lists them
            raise InputError(
                "The manifest lists CT series without a point. Add l_mm, p_mm, s_mm of each nodule and the kind "
                "nodule.",
                "no-cases",
            )
        members: dict[tuple[str, ...], list[SourceCase]] = {}
        for single in single_cases([_with_masks(row, folder) for row in rows]):
            members.setdefault(case_of(single.row), []).append(single)
        return [_joined(singles) for singles in members.values()]

    def signature(self, case: SourceCase, content: Content) -> str:
        """Of the contents of all files that its rows name, and of what of them is meant."""
        parts = []
        for row in case.rows:
            meant = [row.kind, row.series, row.values.get("slice_index") if row.kind == "slice" else None]
            files = [(row.image, row.series), *((mask, None) for mask in _masks(row))]
            parts.append([*meant, *(_content_or_nothing(content, *file) for file in files)])
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def facts(self, values: dict[str, Any]) -> PictureFacts:
        """``PictureFacts`` from what JSON holds of them."""
        return PictureFacts(tuple(StoredPicture(**picture) for picture in values["pictures"]))

    def read(self, case: SourceCase, reader: ReadingProcess) -> ReadingProcess:
        """The reader of all pictures; it keeps the last volume."""
        return reader

    def cut(self, shared: ReadingProcess, case: SourceCase, settings: PictureSettings) -> Cut:
        """All pictures of a case that can be read; the rows of the others are left out."""
        pictures, left_out, remarks = [], [], []
        for row, number in zip(case.rows, case.numbers, strict=True):
            try:
                gray = INPUT.gray(row, shared)
                pictures.append((gray, _lesions(row, gray.shape, shared)))
                if INPUT.slice_of(row) is not None:
                    remarks += [(number, remark) for remark in shared.volume(row.image, row.series).remarks]
            except UNREADABLE as error:
                left_out.append((row, number, error))
        cut = stored(pictures) if pictures else Cut(None, None)
        return replace(cut, left_out=tuple(left_out), remarks=tuple(remarks))

    def unstandardized(
        self, cohort: Cases, augmentation: PictureAugmentation, side: int, skip_unobserved: bool
    ) -> tuple[PicturePreprocessing, Callable[[int], np.ndarray]]:
        """The view that the augmentation names."""
        plain = PicturePreprocessing(image_size=side, view_share=augmentation.view_share, stored_side=STORED_SIDE)
        return plain, PicturePresentation(cohort, augmentation, plain, side).plain

    def scored(self, cohort: Cases, index: int) -> list[GrayPicture]:
        """All pictures of the case."""
        places = range(len(cohort.cases[index].facts.pictures))
        return [GrayPicture(gray_of(cohort, index, place)) for place in places]

    def cohort_facts(self, cohort: Cases) -> dict[str, Any]:
        """The number of pictures."""
        return {"pictures": sum(len(case.facts.pictures) for case in cohort.cases)}

    def cache_line(self, cases: Sequence[StoredCase]) -> str:
        """The number of pictures."""
        return f"{sum(len(case.facts.pictures) for case in cases)} pictures"


def case_of(row: Case) -> tuple[str, ...]:
    """What the pictures of one case share: slices of a patient's volume are one case, every other row is its own."""
    if row.kind == "slice":
        return ("slice", row.patient_id, row.values["volume_id"])
    return ("image", row.case_id)


def _joined(singles: Sequence[SourceCase]) -> SourceCase:
    first = singles[0]
    if len({single.row.label for single in singles}) > 1:
        raise InputError(
            f"The slices of one volume have different labels (cases {first.case_id} ...). Correct the manifest.",
            "manifest-volume",
            [first.case_id],
        )
    ordered = sorted(singles, key=lambda single: _slice_index(single.row)) if first.row.kind == "slice" else singles
    rows, numbers = tuple(single.row for single in ordered), tuple(single.numbers[0] for single in ordered)
    return SourceCase(rows, numbers, first.part)


def _slice_index(row: Case) -> int:
    try:
        return int(row.values["slice_index"])
    except ValueError:
        raise InputError(
            f"The slice_index of the case {row.case_id} is '{row.values['slice_index']}', not a whole number.",
            "manifest-number",
            [row.case_id, row.values["slice_index"]],
        ) from None


def _with_masks(row: Case, folder: Path) -> Case:
    """The row with whole paths of its masks, which a manifest names relative to its folder."""
    names = [str(folder / name) for name in row.values.get("mask", "").split(";") if name]
    return replace(row, values={**row.values, "mask": ";".join(names)}) if names else row


def _masks(row: Case) -> list[Path]:
    return [Path(name) for name in row.values.get("mask", "").split(";") if name]


def _lesions(row: Case, shape: tuple[int, ...], reader: ReadingProcess) -> np.ndarray | None:
    """(rows, columns) bool, the lesions of a picture of this shape; any gray is lesion. Several masks, separated by
    semicolons, are put together. Raises InputError: another size than the picture's."""
    masks = [reader.read_gray(path) > 0 for path in _masks(row)]
    if other := next((mask.shape for mask in masks if mask.shape != shape), None):
        raise InputError(
            f"The mask of the case {row.case_id} has {other[1]} x {other[0]} pixels, its picture "
            f"{shape[1]} x {shape[0]}. Both have to be of one size.",
            "lesion-mask",
            [row.case_id],
        )
    return np.logical_or.reduce(masks) if masks else None


def _content_or_nothing(content: Content, image: Path, series_uid: str | None) -> str:
    try:
        return content(image, series_uid)
    except UNREADABLE:
        return "unreadable"


KIND = PictureKind()
