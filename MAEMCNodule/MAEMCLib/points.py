"""Nodule positions from the command line and from files: Slicer markups, CSV."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError, UsageError


@dataclass(frozen=True)
class NodulePoint:
    """A named position, LPS mm."""

    nodule_id: str
    lps: tuple[float, float, float]


def parse_point(text: str, ras: bool = False) -> tuple[float, float, float]:
    """``"L,P,S"`` (or ``"R,A,S"`` with ras) in mm -> (l, p, s). Raises UsageError."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(math.isfinite(value) for value in values):
        raise UsageError(f"'{text}' is not a point. Give three numbers in mm, for example --point -42.5,10,120.")
    return _to_lps(values, ras)


def read_points(path: str | Path, ras: bool = False) -> list[NodulePoint]:
    """Points of a Slicer ``.mrk.json`` or ``.fcsv`` (in the frame that the file states) or a CSV ``id,l_mm,p_mm,s_mm``.

    ras: the CSV's numbers are RAS. Raises InputError: missing, damaged or empty file, points that are not numbers.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The point file {path} cannot be read ({error}). Check the path.", "points") from error
    name = path.name.lower()
    try:
        if name.endswith(".json"):
            points = _markups(json.loads(text))
        elif name.endswith(".fcsv"):
            points = _fcsv(text)
        else:
            points = _table(text, ras)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"{path.name} is not a list of points that can be used ({error}). Give a Slicer .mrk.json, or a CSV with "
            "the columns id,l_mm,p_mm,s_mm.",
            "points",
        ) from error
    if not points:
        raise InputError(f"{path.name} holds no points. Place at least one on a nodule.", "no-points")
    return points


def _markups(document: dict) -> list[NodulePoint]:
    points = []
    for markup in document["markups"]:
        ras = str(markup.get("coordinateSystem", "LPS")).upper() in ("RAS", "0")
        for point in markup.get("controlPoints", []):
            if point.get("positionStatus", "defined") == "defined":
                points.append(NodulePoint(_name(point.get("label"), points), _to_lps(point["position"], ras)))
    return points


def _fcsv(text: str) -> list[NodulePoint]:
    ras, columns, points = False, [], []
    for line in text.splitlines():
        if line.startswith("#"):
            key, _, value = line.lstrip("# ").partition("=")
            if key.strip() == "CoordinateSystem":
                ras = value.strip().upper() in ("RAS", "0")
            elif key.strip() == "columns":
                columns = [part.strip() for part in value.split(",")]
        elif line.strip():
            row = dict(zip(columns, next(csv.reader([line])), strict=False))
            points.append(NodulePoint(_name(row.get("label"), points), _to_lps([row["x"], row["y"], row["z"]], ras)))
    return points


def _table(text: str, ras: bool) -> list[NodulePoint]:
    points: list[NodulePoint] = []
    for row in csv.DictReader(text.splitlines()):
        position = [row["l_mm"], row["p_mm"], row["s_mm"]]
        points.append(NodulePoint(_name(row.get("id"), points), _to_lps(position, ras)))
    return points


def _name(given: str | None, before: list) -> str:
    return given.strip() if given and given.strip() else f"N{len(before) + 1}"


def _to_lps(values, ras: bool) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return (-x, -y, z) if ras else (x, y, z)
