"""From folders of slabs and cubes to the network's weights, its table of errors and what it is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from MAEMCLib.files.atomic import make_folder, replacing, write_json
from MAEMCLib.measures.outline import WEIGHTS, Outliner
from MAEMCLib.report.formats import write_report
from MAEMCLib.report.sections import Report
from safetensors.torch import save

from .errors import error_table
from .judging import Judged, judge
from .page import outline_report
from .phantoms import judge_phantoms
from .planes import Lesion, Planes, lesions, read_planes
from .training import OutlineTraining, train_outline

CLICKS_SEED = 11


def make_outline(
    slabs: Path,
    cubes: Path,
    output: Path,
    settings: OutlineTraining,
    phantoms: int,
    say: Callable[[str], None],
    count: Callable[[str, int, int], None],
) -> Report:
    """Train on four patients of five and judge on the fifth: ``outline.safetensors``, ``outline_errors.json``,
    ``nodules.json`` and ``report.md`` in the output folder. Weights that are there already are judged again.

    Raises InputError for folders that do not hold slabs and cubes.
    """
    make_folder(output)
    found = lesions(slabs, cubes)
    weights = output / WEIGHTS.name
    if not weights.exists():
        planes = [
            read_planes(part, of_cubes, lambda done, total: count("reading", done, total))
            for part, of_cubes in zip(found, (False, True), strict=True)
        ]
        network = train_outline(planes, [_trained(*pair) for pair in zip(found, planes, strict=True)], settings, say)
        with replacing(weights) as temporary:
            temporary.write_bytes(save({name: one.contiguous() for name, one in network.state_dict().items()}))
    outliner, constant = Outliner(weights), _median_diameter(found[0])
    judged: list[list[Judged]] = []
    for part in found:
        held = [one for one in part if one.held_out]
        judged.append(judge(outliner, held, constant, CLICKS_SEED, lambda done, all_: count("judging", done, all_)))
    errors = error_table(judged[0])
    report = outline_report(*judged, judge_phantoms(outliner, phantoms), errors, constant)
    write_json(output / "outline_errors.json", {"schema": 1, "weights_sha256": outliner.sha256, "rows": errors})
    write_json(output / "nodules.json", [_written(one) for one in (*judged[0], *judged[1])])
    write_report(report, output / "report.md")
    return report


def _written(judged: Judged) -> dict[str, str | float | None]:
    """Of a record; null where something was not computed."""
    known = asdict(judged)
    return {name: None if isinstance(one, float) and not np.isfinite(one) else one for name, one in known.items()}


def _trained(found: list[Lesion], planes: Planes) -> np.ndarray:
    """Indices of the planes of patients who are not held out."""
    return np.flatnonzero([not found[number].held_out for number in planes.lesion])


def _median_diameter(slabs: list[Lesion]) -> float:
    """The training nodules' median long axis, as labels.csv has it."""
    return float(np.median([float(one.row["long_axial_mm"]) for one in slabs if not one.held_out]))
