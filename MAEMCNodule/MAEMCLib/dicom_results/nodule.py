"""What of a nodule is written as DICOM: its result, the model behind it, and its outline where there is one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .. import __version__
from ..measures.mask import NoduleMask
from ..measures.measures import Measures
from ..models.card import ModelCard
from ..results import NoduleResult

SOFTWARE = f"maemc {__version__}"


@dataclass(frozen=True)
class Outline:
    """A nodule's mask, its measures, and what made the mask.

    algorithm, version: their names for the reader of the DICOM objects. network: whether a network outlined it.
    parameters: what else decides the mask, a text each, such as the weights' hash.
    """

    mask: NoduleMask
    measures: Measures
    algorithm: str
    version: str
    network: bool = False
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportedNodule:
    """result: a scored one. number: of the nodule among those of its CT, from 1. outline: None where nobody has
    outlined it. tracking_uid: that of the same nodule in a prior study; without it the nodule gets one of its own.
    """

    result: NoduleResult
    card: ModelCard
    number: int = 1
    outline: Outline | None = None
    tracking_uid: str = ""

    def tracked_in(self, study_uid: str) -> str:
        """The tracking UID: the same whenever the nodule of this name and place in this study is written."""
        place = [f"{value:.2f}" for value in self.result.point_lps]
        return self.tracking_uid or derived_uid("tracking", study_uid, self.result.nodule_id, *place)

    def series_in(self, ct_series_uid: str, kind: str) -> str:
        """The UID of the series for one kind of object: all nodules that a model scored in one CT share it."""
        return derived_uid("series", kind, ct_series_uid, self.card.sha256, SOFTWARE)


def derived_uid(*parts: str) -> str:
    """A UID under the arc for UUIDs (2.25, ITU-T X.667), the same for the same parts."""
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16])}"


def plain(text: str, longest: int = 64) -> str:
    """A text as DICOM's short strings take it: no control characters, no backslash, which separates values there."""
    printable = "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in text)
    return " ".join(printable.split())[:longest].rstrip() or "nodule"
