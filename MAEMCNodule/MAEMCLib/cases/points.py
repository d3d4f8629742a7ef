"""Nodule positions from the command line and from files: Slicer markups, CSV."""

import csv
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, UsageError
from ..files.regular_file import open_regular
from ..files.spreadsheet import read_table
from ..files.strict_json import parse, require

POINT = ("l_mm", "p_mm", "s_mm")
FARTHEST_MM = 1e6
"""No scanner's frame reaches further; a larger number is no position."""
_LARGEST_FILE = 64 << 20
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf(inity)?)", re.ASCII | re.IGNORECASE)
_FRAMES = {"LPS": False, "1": False, "RAS": True, "0": True}
_POINT_LIST = "Fiducial"
_PLACED = "2"
"""The position status of a point in a .fcsv that has a position; it stands behind the columns that the file names."""
_OTHER_MARKUPS = ("Line", "Angle", "Curve", "ClosedCurve", "Plane", "ROI")
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Controls of the letters' direction, with which one name looks like another."""


@dataclass(frozen=True)
class NodulePoint:
    """A named position, LPS mm.

    description, placed_on: what a Slicer file says besides, free text and the ID of the volume that was clicked on.
    """

    nodule_id: str
    lps: tuple[float, float, float]
    description: str = ""
    placed_on: str = ""


def parse_point(text: str, ras: bool = False) -> tuple[float, float, float]:
    """``"L,P,S"`` (or ``"R,A,S"`` with ras) in mm -> (l, p, s). Raises UsageError."""
    try:
        point = _position(text.split(","), ras)
    except ValueError:
        point = (math.nan,) * 3
    if not all(math.isfinite(value) for value in point):
        raise UsageError(f"'{text[:100]}' is not a point. Give three numbers in mm, for example --point -42.5,10,120.")
    return point


def read_points(
    path: str | Path, ras: bool = False, notice: Callable[[str], None] = lambda text: None
) -> list[NodulePoint]:
    """Points of a Slicer ``.mrk.json`` or ``.fcsv`` (in the frame that the file states) or a CSV ``id,l_mm,p_mm,s_mm``.

    Only point lists are nodules: the ends of a measured line are none. A markup of another kind beside them is left
    alone, and ``notice`` is called. ras: the CSV's numbers are RAS. Where a table says NaN or infinity, as for a value
    that could not be computed, the point has it: scoring fails that point alone.
    Raises InputError: missing, closed, damaged or empty file, points that are not numbers, no point list.
    """
    path = Path(path)
    text, name = _text(path), path.name.lower()
    try:
        if name.endswith(".json"):
            points = _markups(text, notice)
        else:
            points = _fcsv(text) if name.endswith(".fcsv") else _table(text, ras)
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        # Our own sentences as they are; of Python's nothing, which may quote the file's contents.
        reason = str(error) if type(error) is ValueError else "the file is damaged, or made for something else"
        raise InputError(
            f"{path.name} is not a list of points that can be used ({reason}). Give a Slicer .mrk.json, or a CSV with "
            "the columns id,l_mm,p_mm,s_mm.",
            "points",
            (path, path.name),
        ) from error
    if not points:
        raise InputError(
            f"{path.name} holds no points. Place at least one on a nodule.", "no-points", (path, path.name)
        )
    return points


def check_names(points: list[NodulePoint]) -> None:
    """Raise InputError where two points have one name: a result would not say which of them it is of."""
    name, times = max(Counter(point.nodule_id for point in points).items(), key=lambda item: item[1])
    if times > 1:
        raise InputError(f"{times} points are called {name}. Give each its own name.", "points", (name,))


def _text(path: Path) -> str:
    private = (path, path.name)
    try:
        with open_regular(path) as stream:
            content = stream.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise InputError(f"{path.name} is too large for a list of points. Check the path.", "points", private)
        if b"\0" in content:
            raise ValueError("a NUL is no text")
        return content.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"The point file {path} cannot be read ({reason}). Check the path and its rights.", "points", private
        ) from error
    except ValueError as error:
        raise InputError(
            f"The point file {path.name} cannot be read: it is no text in UTF-8. Save it as CSV in UTF-8.",
            "points",
            private,
        ) from error


def _markups(text: str, notice: Callable[[str], None]) -> list[NodulePoint]:
    points: list[NodulePoint] = []
    others: list[str] = []
    lists = 0
    for markup in parse(text)["markups"]:
        kind = markup.get("type", _POINT_LIST)
        if kind != _POINT_LIST:
            others.append(kind if kind in _OTHER_MARKUPS else "markup of another kind")
            continue
        lists += 1
        ras = _frame(markup.get("coordinateSystem", "LPS"))
        units = markup.get("coordinateUnits", "mm")
        first = units[0] if isinstance(units, list) and units else units
        require(first == "mm", "its coordinates are not in mm")
        for point in markup.get("controlPoints", []):
            if point.get("positionStatus", "defined") != "defined":
                continue
            position = point["position"]
            numbers = isinstance(position, list) and all(type(value) in (int, float) for value in position)
            require(numbers, f"the position of point {len(points) + 1} is no list of numbers")
            name = _name(point.get("label"), points)
            about = (str(point.get(key) or "") for key in ("description", "associatedNodeID"))
            points.append(NodulePoint(name, _position(position, ras, len(points) + 1), *about))
    require(lists or not others, f"it holds no point list but a {_listed(others)}, whose points are no nodules")
    if others:
        notice(f"Only point lists are nodules; left alone: a {_listed(others)}.")
    return points


def _fcsv(text: str) -> list[NodulePoint]:
    ras, columns, points = None, None, []
    for line in text.splitlines():
        if line.startswith("#"):
            key, _, value = line.lstrip("# ").partition("=")
            if key.strip() == "CoordinateSystem":
                ras = _frame(value)
            elif key.strip() == "columns":
                columns = [part.strip() for part in value.split(",")]
            continue
        if not line.strip():
            continue
        require(ras is not None, "it lacks the line '# CoordinateSystem ='")
        require(columns is not None, "it lacks the line '# columns ='")
        values = next(csv.reader([line]))
        if values[len(columns) : len(columns) + 1] not in ([], [_PLACED]):
            continue
        row = dict(zip(columns, values, strict=False))
        place = _position([row.get(axis) for axis in "xyz"], ras, len(points) + 1)
        about = (row.get("desc") or "", row.get("associatedNodeID") or "")
        points.append(NodulePoint(_name(row.get("label"), points), place, *about))
    return points


def _table(text: str, ras: bool) -> list[NodulePoint]:
    columns, rows = read_table(io.StringIO(text, newline=""), POINT)
    for needed in POINT:
        require(needed in columns, f"its first line lacks the column {needed}")
        require(columns.count(needed) == 1, f"its first line repeats {needed}")
    points: list[NodulePoint] = []
    for number, values in rows:
        if isinstance(values, csv.Error):
            raise values
        fits = len(values) == len(columns)
        require(fits, f"line {number} has {len(values)} values for {len(columns)} columns")
        row = dict(zip(columns, values, strict=True))
        place = _position([row[axis] for axis in POINT], ras, number, "line")
        points.append(NodulePoint(_name(row.get("id"), points), place))
    return points


def _frame(stated: object) -> bool:
    """Whether the coordinates are RAS. Raises ValueError for a frame that is neither this nor LPS."""
    name = str(stated).strip().upper()
    known = name in _FRAMES and not isinstance(stated, bool)
    require(known, "its coordinate system is neither LPS nor RAS")
    return _FRAMES[name]


def _name(given: object, before: list) -> str:
    require(given is None or isinstance(given, str), f"the name of point {len(before) + 1} is no text")
    name = (given or "").strip()
    control = any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name)
    require(not control and not _TURNING.search(name), f"the name of point {len(before) + 1} has control characters")
    return name or f"N{len(before) + 1}"


def _position(values: list, ras: bool, number: int | None = None, what: str = "point") -> tuple[float, float, float]:
    """Three numbers, or texts of numbers (NaN too), as LPS. Raises ValueError naming the point or line."""
    where = f"{what} {number}" if number else "it"
    require(len(values) == 3, f"{where} has {len(values)} coordinates instead of 3")
    texts = [value for value in values if isinstance(value, str)]
    numbers = None not in values and all(_NUMBER.fullmatch(text.strip()) for text in texts)
    require(numbers, f"the coordinates of {where} are not three numbers such as -42.5")
    x, y, z = (float(value) for value in values)
    near = not any(math.isfinite(value) and abs(value) > FARTHEST_MM for value in (x, y, z))
    require(near, f"the coordinates of {where} are no position in mm")
    return (-x, -y, z) if ras else (x, y, z)


def _listed(kinds: list[str]) -> str:
    return ", a ".join(f"{kind} ({times} times)" if times > 1 else kind for kind, times in Counter(kinds).items())
