"""The sample chest CT as files: what ``make demo`` scores and what a first look at the module can use."""

from pathlib import Path

import numpy as np
from MAEMCLib.files.atomic import write_json
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume

from .anatomy import draw_anatomy
from .case import CasePlan, chest_grid, draw_place, render_volume, rng_of
from .nodule import Nodule, draw_nodule
from .scanner import Scan

SEED = 0


def make_sample_chest() -> tuple[CTVolume, list[tuple[str, tuple[float, float, float], int]]]:
    """A whole chest with three nodules, 0.94 x 0.94 x 2 mm, for demonstrations.

    Returns the volume and, a nodule each, (id, point in LPS mm, label 0 benign-like or 1 malignant-like); both classes
    occur.
    """
    anatomy = draw_anatomy(rng_of(SEED, 0, 11))
    rng = rng_of(SEED, 0, 12)
    nodules: list[Nodule] = []
    for number, (label, diameter) in enumerate(((1, 23.0), (0, 17.0), (1, 13.0))):
        center = draw_place(rng, anatomy, 0.5 * diameter)
        while any(np.linalg.norm(np.subtract(center, other.center)) < 60.0 for other in nodules):
            center = draw_place(rng, anatomy, 0.5 * diameter)
        density = rng.uniform(10.0, 60.0)
        nodules.append(draw_nodule(rng_of(SEED, number, 13), center, label, "matched", diameter, density))
    grid = chest_grid(anatomy, 0.94, 2.0)
    plan = CasePlan("Sample chest", anatomy, tuple(nodules), grid, Scan(0.45, 7.0, 0.7), SEED)
    points = [(f"N{number + 1}", nodule.center, nodule.label) for number, nodule in enumerate(nodules)]
    return render_volume(plan), points


def write_sample_chest(folder: str | Path) -> tuple[Path, Path]:
    """Write ``chest.nrrd``, a whole synthetic chest with three nodules, and ``chest.mrk.json``, points on them (LPS).

    Returns both paths. Raises InputError where the folder cannot be written.
    """
    folder = Path(folder)
    volume, nodules = make_sample_chest()
    image, points = folder / "chest.nrrd", folder / "chest.mrk.json"
    write_volume(volume, image)
    # A Slicer point list. Labels are the nodules' names; what they are is for the reader to find out.
    controls = [
        {"id": str(number), "label": name, "position": [round(float(value), 3) for value in point]}
        for number, (name, point, _label) in enumerate(nodules, start=1)
    ]
    markups = [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": controls}]
    write_json(points, {"markups": markups})
    return image, points
