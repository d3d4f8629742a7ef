"""A 2-D picture becomes a row: read, checked for its fitness, scored as a whole. The counterpart of ``scoring``.

Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .applicability import Assessment
from .cases.case import Case
from .errors import UNREADABLE, InputError, MAEMCError, UsageError, input_error
from .images.axial import SliceReader, is_volume
from .images.gray import read_gray
from .inputs.settings import PicturePreprocessing
from .models.card import ModelCard
from .results import InputWarning, NoduleResult
from .scoring import Scorer, failed, scored

SMALLEST_SIDE = 8
"""Pixels; below this a picture shows nothing that could be scored."""
_VOLUMES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
_GATES = ("green", "grey", "amber", "red")
_ENLARGED = 4.0
_FRAME_AMBER, _FRAME_RED = 0.5, 0.75


@dataclass(frozen=True)
class View:
    """The square of a picture that the network sees. top, left, width: in the picture's pixels; 0 is the first pixel's
    border, and what lies outside the picture is black."""

    top: float
    left: float
    width: float

    @classmethod
    def of(cls, gray: np.ndarray, preprocessing: PicturePreprocessing) -> View:
        """The square that ``picture.prepare`` shows; like there, the black frame is a whole number of pixels wide."""
        side = max(gray.shape)
        width = side * preprocessing.view_share
        top, left = ((side - width) / 2 - (side - size) // 2 for size in gray.shape)
        return cls(top, left, width)

    def outside(self, gray: np.ndarray) -> float:
        """Share of the square that lies outside the picture."""
        covered = [
            max(0.0, min(start + self.width, size) - max(start, 0.0))
            for start, size in zip((self.top, self.left), gray.shape, strict=True)
        ]
        return 1.0 - covered[0] * covered[1] / self.width**2


@dataclass(frozen=True)
class PictureSource:
    """A picture to score: a file; or, where slice_index is given, one axial slice of a CT volume, counted from 0, the
    lowest. name: of its row."""

    path: Path
    name: str
    slice_index: str | None = None
    series_uid: str | None = None

    @classmethod
    def of(cls, row: Case) -> PictureSource:
        """What a row of the kind ``image`` or ``slice`` names."""
        index = row.values.get("slice_index") if row.kind == "slice" and is_volume(row.image) else None
        return cls(row.image, row.nodule_id or row.case_id, index, row.series)

    def read(self, slices: SliceReader) -> np.ndarray:
        """(rows, columns) float32 in [0, 1]. Raises InputError."""
        if self.slice_index is not None:
            return slices.read(self.path, self.series_uid, self.slice_index).astype(np.float32) / 255.0
        return read_gray(self.path)


@dataclass(frozen=True)
class PreparedPicture:
    """A picture ready for the network: its gray values (rows, columns) in [0, 1] and what is known about its fitness.

    padded_fraction: share of what the network sees that is the black frame about the picture.
    """

    nodule_id: str
    gray: np.ndarray
    assessment: Assessment
    padded_fraction: float

    @property
    def point_lps(self) -> None:
        """A picture has no place in the patient."""


def prepare_picture(
    path: Path | PictureSource, name: str, card: ModelCard, slices: SliceReader | None = None
) -> PreparedPicture:
    """Read a picture and judge its fitness for the model. slices: keeps a volume from one slice of it to the next.

    Raises InputError for one that cannot be scored, UsageError for a model that scores something else."""
    source = path if isinstance(path, PictureSource) else PictureSource(path, name)
    path = source.path
    if card.input != "picture":
        raise UsageError(f"The model {card.id} scores nodules in a CT, not 2-D pictures. Choose another.", "input-kind")
    if source.slice_index is None and (path.is_dir() or path.name.lower().endswith(_VOLUMES)):
        what = "a folder" if path.is_dir() else "a volume"
        raise InputError(
            f"{path} is {what}, but the model {card.id} scores single 2-D pictures: PNG, JPEG or one DICOM frame. "
            "A slice of a CT is named in a manifest, by a row of the kind slice.",
            "input-kind",
            [path],
        )
    gray = source.read(slices or SliceReader())
    if min(gray.shape) < SMALLEST_SIDE:
        raise InputError(
            f"The picture {path} has only {gray.shape[1]} x {gray.shape[0]} pixels; {SMALLEST_SIDE} a side are the "
            "least.",
            "size",
            [path],
        )
    if gray.min() == gray.max():
        raise InputError(f"The picture {path} has one gray value only. There is nothing to score.", "constant", [path])
    view = View.of(gray, card.preprocessing)
    return PreparedPicture(name, gray, _assess(gray, view, card), view.outside(gray))


def score_pictures(
    pictures: list[PictureSource] | list[tuple[Path, str]], predictor: Scorer
) -> list[tuple[NoduleResult, PreparedPicture | None]]:
    """Score pictures, each a source or a path and a name, at once; one that cannot be scored gets a failed row."""
    sources = [picture if isinstance(picture, PictureSource) else PictureSource(*picture) for picture in pictures]
    prepared: list[PreparedPicture | MAEMCError] = []
    slices = SliceReader()
    for source in sources:
        try:
            prepared.append(prepare_picture(source, source.name, predictor.card, slices))
        except UNREADABLE as error:
            prepared.append(input_error(error, "The picture cannot be read"))
    ready = [picture for picture in prepared if isinstance(picture, PreparedPicture)]
    predictions = iter(predictor.predict(ready) if ready else ())
    rows = []
    for source, picture in zip(sources, prepared, strict=True):
        if isinstance(picture, PreparedPicture):
            rows.append((scored(picture, vars(next(predictions)), predictor.card), picture))
        else:
            rows.append((failed(source.name, None, picture, predictor.card), None))
    return rows


def _assess(gray: np.ndarray, view: View, card: ModelCard) -> Assessment:
    findings = []
    enlarged, outside = card.preprocessing.image_size / view.width, view.outside(gray)
    if enlarged > _ENLARGED:
        text = f"It has few pixels: it is enlarged {enlarged:.1f} times for the model."
        findings.append(("amber", InputWarning("enlarged", text)))
    if outside > _FRAME_AMBER:
        text = f"It is so long that {outside:.0%} of what the model sees is the black frame about it."
        findings.append(("red" if outside > _FRAME_RED else "amber", InputWarning("long", text)))
    if not card.training_distances:
        text = "The model cannot tell whether the picture is like those that it was trained on."
        findings.append(("grey", InputWarning("likeness-unknown", text)))
    gate = max((color for color, _ in findings), key=_GATES.index, default="green")
    reasons = tuple(warning.code for color, warning in findings if color == gate)
    return Assessment(gate, reasons, tuple(warning for _, warning in findings))
