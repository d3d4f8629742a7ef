"""What a result was computed from, as one hash: the column ``input_sha256`` of results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from .cases.case import Case
from .cases.values import SERIES, asked_of
from .errors import UNREADABLE, InputError, input_error
from .images.content import content_sha256
from .models.card import ModelCard

SCORING_RELEASE = 2
"""Raise it with every change by which the same input and model give other numbers, gates or warnings: in reading
(``images``), cutting and preparing (``inputs``), predicting (``models``) and judging (``applicability``). Results of
another release are then computed again by ``maemc batch``, and not kept. 2: an end slice of a DICOM series that is cut
short is no longer left out, whatever its modality says."""


@dataclass(frozen=True)
class Fingerprint:
    """What a result says of its image (the first letters of its content's hash), and of all that it was computed
    from."""

    image: str
    whole: str


def fingerprint(case: Case, card: ModelCard, nifti_form: str | None = None) -> Fingerprint:
    """The hash of everything that decides a case's result: contents of the image and of further series, point (LPS mm),
    diameter, the values that the model asks for, reader's flags, the model with its preprocessing, SCORING_RELEASE;
    of a slice of a volume also its number.

    Nothing can be read from it, and neither names nor places of files count.
    Raises what reading of the files raises (InputError, OSError; InputError naming the further series).
    """
    further = {one.name for one in card.clinical if one.kind == SERIES}
    values = {
        name: _series_sha256(name, value) if name in further else value
        for name, value in asked_of(case.values, card.clinical).items()
    }
    index = card.kind.slice_of(case)
    image = content_sha256(case.image, card.kind.located or index is not None)
    stated = {
        "image": image,
        "point_lps": case.point_lps,
        "diameter_mm": case.diameter_mm,
        "clinical": values,
        "series": case.series,
        "nifti_form": nifti_form,
        "model": card.sha256,
        "preprocessing": card.values["preprocessing"],
        "release": SCORING_RELEASE,
    }
    if index is not None:
        stated["slice_index"] = index
    whole = hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()
    return Fingerprint(image[:12], whole)


def _series_sha256(name: str, path: str) -> str:
    try:
        return content_sha256(Path(path))
    except UNREADABLE as error:
        found = input_error(error, "It cannot be read").hide(path)
        raise InputError(f"The series {name} cannot be used: {found}", found.code, found.private) from error
