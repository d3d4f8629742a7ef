"""The sample chest CT as files: what ``make demo`` scores and what a first look at the module can use."""

from __future__ import annotations

from pathlib import Path

from MAEMCLib.files.atomic import write_json
from MAEMCLib.images.files import write_volume

from .writing import make_sample_chest


def write_sample_chest(folder: str | Path, seed: int = 0) -> tuple[Path, Path]:
    """Write ``chest.nrrd``, a whole synthetic chest with three nodules, and ``chest.mrk.json``, points on them (LPS).

    Returns both paths. Raises InputError where the folder cannot be written.
    """
    folder = Path(folder)
    volume, nodules = make_sample_chest(seed)
    image, points = folder / "chest.nrrd", folder / "chest.mrk.json"
    write_volume(volume, image)
    write_json(points, _markups(nodules))
    return image, points


def _markups(nodules: list[tuple[str, tuple[float, float, float], int]]) -> dict:
    """A Slicer point list. Labels are the nodules' names; what they are is for the reader to find out."""
    controls = [
        {"id": str(number), "label": name, "position": [round(float(value), 3) for value in point]}
        for number, (name, point, _label) in enumerate(nodules, start=1)
    ]
    return {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": controls}]}
