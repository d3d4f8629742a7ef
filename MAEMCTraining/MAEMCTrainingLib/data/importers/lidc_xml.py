"""The readings of LIDC-IDRI as its XML files hold them."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from MAEMCLib.errors import InputError

from .imported import Skipped
from .safe_xml import local_name, read_xml

CHEST_FILM = "IdriReadMessage"
READING = "LidcReadMessage"
RATINGS = range(1, 6)


@dataclass(frozen=True)
class Contour:
    """One outline in one slice: (points, 2) columns and rows of the pixels just outside what it surrounds. inclusion:
    whether that is nodule, or a hole in it."""

    sop_uid: str
    inclusion: bool
    points: np.ndarray


@dataclass(frozen=True)
class Mark:
    """A nodule as one reader outlined and rated it; malignancy from 1, highly unlikely, to 5, highly suspicious."""

    reader: int
    nodule_id: str
    malignancy: int
    contours: tuple[Contour, ...]


@dataclass(frozen=True)
class Reading:
    """One file: the series that was read, the marks of all readers, and the marks that are no rated nodule."""

    series_uid: str
    marks: tuple[Mark, ...]
    skipped: tuple[Skipped, ...]


def read_lidc_xml(path: Path, name: str) -> Reading:
    """Read one file. name: how the file is called where items in it are skipped.

    The namespace is not looked at (LIDC's is http://www.nih.gov), the structure is: a nodule that lacks a part is
    skipped with its reason. imageZposition is not used, since the slice that imageSOP_UID names has it too. Raises
    InputError: no XML, a file of another kind, no SeriesInstanceUid.
    """
    root = read_xml(path)
    kind = local_name(root)
    if kind == CHEST_FILM:
        raise InputError("a reading of a chest radiograph (IdriReadMessage), not of a CT", "lidc-radiograph")
    if kind != READING:
        raise InputError(f"no LIDC reading: its root is {kind}, not {READING}", "lidc-xml")
    uid = _text(root, "ResponseHeader", "SeriesInstanceUid")
    if not uid:
        raise InputError("its ResponseHeader has no SeriesInstanceUid, so it belongs to no series", "lidc-xml")
    marks, skipped = [], []
    for reader, session in enumerate(root.findall("{*}readingSession"), 1):
        for element in session.findall("{*}unblindedReadNodule"):
            nodule = _text(element, "noduleID") or "without noduleID"
            try:
                marks.append(_mark(element, reader, nodule))
            except InputError as error:
                skipped.append(Skipped(f"{name}, reader {reader}, nodule {nodule}", str(error)))
        others = [_text(element, "nonNoduleID") or "unnamed" for element in session.findall("{*}nonNodule")]
        if others:
            skipped.append(Skipped(f"{name}, reader {reader}, {', '.join(others)}", "marked as no nodule"))
    return Reading(uid, tuple(marks), tuple(skipped))


def _mark(element: Element, reader: int, nodule: str) -> Mark:
    contours = tuple(_contour(roi) for roi in element.findall("{*}roi"))
    if not contours:
        raise InputError("it has no outline (roi)", "lidc-xml")
    rating = _text(element, "characteristics", "malignancy")
    single = sum(len(contour.points) for contour in contours) == 1
    if single and rating in ("", "0"):
        raise InputError("under 3 mm: one point, not rated", "lidc-small")
    if single:
        raise InputError("rated, but marked by one point instead of an outline", "lidc-small")
    if not rating.isdecimal() or int(rating) not in RATINGS:
        raise InputError(f"outlined, but its malignancy is rated '{rating}', not 1 to 5", "lidc-rating")
    return Mark(reader, nodule, int(rating), contours)


def _contour(roi: Element) -> Contour:
    uid, inclusion = _text(roi, "imageSOP_UID"), _text(roi, "inclusion").upper()
    if not uid:
        raise InputError("an outline names no slice (imageSOP_UID)", "lidc-xml")
    if inclusion not in ("TRUE", "FALSE"):
        raise InputError(f"an outline's inclusion is '{inclusion}', not TRUE or FALSE", "lidc-xml")
    try:
        points = [(int(_text(edge, "xCoord")), int(_text(edge, "yCoord"))) for edge in roi.findall("{*}edgeMap")]
    except ValueError as error:
        raise InputError("an outline has a point whose xCoord or yCoord is no whole number", "lidc-xml") from error
    if not points:
        raise InputError("an outline has no points (edgeMap)", "lidc-xml")
    return Contour(uid, inclusion == "TRUE", np.array(points))


def _text(element: Element, *names: str) -> str:
    """The text of the first child that is called so, or of its first child; empty where there is none."""
    return (element.findtext("/".join(f"{{*}}{name}" for name in names)) or "").strip()
