"""How often each gate fires in the results of a batch, and what was measured beside what readers say."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from MAEMCLib.applicability import GATES
from MAEMCLib.cases.manifest import read_scoring_manifest
from MAEMCLib.errors import InputError
from MAEMCLib.report.sections import Note, Report, Section, Table

_CODE = re.compile(r"(?:^|; )([a-z][a-z-]*): ")
NEEDED = ("case_id", "status", "gate", "warnings", "composition")
TEXTURES = {"ground glass (1-2)": (1, 2.5), "part-solid (3)": (2.5, 3.5), "solid (4-5)": (3.5, 5.1)}
"""LIDC-IDRI's ratings of texture, by the readers' median."""
NO_CALCIUM = 6
"""LIDC-IDRI's rating of calcification that says there is none."""


def gates_report(results: Path, manifest: Path) -> Report:
    """Of a ``results.csv`` and the manifest that it was made of, whose columns texture and calcification hold readers'
    ratings. Raises InputError: no such file, no results of this version, other cases than the manifest's."""
    rows = _rows(results)
    ratings = {row.case_id: row.values for row in read_scoring_manifest(manifest).rows}
    if not set(ratings) & {row["case_id"] for row in rows}:
        raise InputError(f"No case of {results} is one of {manifest}. Give the manifest that was scored.", "manifest")
    scored = [row for row in rows if row["status"] == "scored"]
    colors = Counter(row["gate"] for row in scored)
    fired = Counter(code for row in scored for code in codes(row))
    total = max(len(scored), 1)
    first = [(color, colors[color], f"{colors[color] / total:.0%}") for color in GATES]
    each = [(code, count, f"{count / total:.1%}") for code, count in fired.most_common()]
    counts = Note(f"{len(scored)} nodules were scored, {len(rows) - len(scored)} were not.")
    return Report(
        "How often gates fire",
        [
            Section("Colors", [Table(first, ("gate", "nodules", "share")), counts]),
            Section("Reasons", [Table(each, ("reason", "nodules", "share"))]),
            Section("Texture: readers beside measured", [_textures(scored, ratings)]),
            Section("Calcification: readers beside measured", [_calcium(scored, ratings), Note(_ESTIMATED)]),
        ],
    )


_ESTIMATED = (
    "Measured means estimated HU wherever the nodules are slabs of LIDC-IDRI: their attenuation was put together from "
    "8-bit pictures (error at soft tissue 97 HU). A slab ends with its nodule, so that each is cut off."
)


def codes(row: Mapping[str, str]) -> set[str]:
    """The codes of all that a row warns of."""
    return set(_CODE.findall(row["warnings"]))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream)
            rows, columns = list(table), table.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}). Give the results of 'maemc batch'.", "results") from error
    if missing := [name for name in NEEDED if name not in columns]:
        raise InputError(f"{path} has no column {missing[0]}. Give the results of 'maemc batch'.", "results")
    return [{name: row.get(name) or "" for name in NEEDED} for row in rows]


def _median(text: str) -> float | None:
    numbers = [int(word) for word in text.split() if word.isdecimal()]
    return float(np.median(numbers)) if numbers else None


def _textures(rows: Sequence[Mapping[str, str]], ratings: Mapping[str, Mapping[str, str]]) -> Table:
    kinds = ("ground-glass", "part-solid", "solid", "")
    counts = {name: Counter() for name in TEXTURES}
    for row in rows:
        rated = _median(ratings.get(row["case_id"], {}).get("texture", ""))
        for name, (low, high) in TEXTURES.items():
            if rated is not None and low <= rated < high:
                counts[name][row["composition"]] += 1
    table = [(name, *(found[kind] for kind in kinds)) for name, found in counts.items()]
    return Table(table, ("readers", "ground-glass", "part-solid", "solid", "not measured"))


def _calcium(rows: Sequence[Mapping[str, str]], ratings: Mapping[str, Mapping[str, str]]) -> Table:
    counts: Counter = Counter()
    for row in rows:
        rated = _median(ratings.get(row["case_id"], {}).get("calcification", ""))
        if rated is not None:
            counts[rated < NO_CALCIUM, "calcium" in codes(row)] += 1
    table = [(name, counts[seen, True], counts[seen, False]) for name, seen in (("calcified", True), ("none", False))]
    return Table(table, ("readers", "gate fires", "does not"))
