"""``make introduction``: the pictures of docs/introduction.md, three points in LIDC-IDRI where the shipped model errs.

    python Testing/introduction.py [CUBES]

CUBES: the folder of the LIDC cubes with labels.csv (default ../shared/data/lidc-cubes). Whichever model is shipped
scores every cube at the middle of its mask, and soft tissue beside the nodules of a few; the worst of each kind are
drawn. The model may have learned from these very nodules: where it errs all the same, it errs elsewhere too.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from MAEMCLib.cases.case import Case
from MAEMCLib.figures.planes import show_view
from MAEMCLib.images.files import read_volume
from MAEMCLib.measures.measures import measure
from MAEMCLib.measures.segment import mask_near
from MAEMCLib.measures.view import place_of, plane_views
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.reference_case import open_predictor
from MAEMCLib.models.store import find_model
from MAEMCLib.results import DISCLAIMER, NoduleResult
from MAEMCLib.scoring import CaseScorer

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "docs" / "introduction"
UNUSED = "LIDC-unknown"
"""Cubes of unknown patients are quoted nowhere."""
PLACES, REACH_MM, APART_MM, FROM_MASK_MM = 12, 10.0, 5.0, 8.0
"""Cubes in which soft tissue beside the nodule is scored, the grid of points, and their distance from the
mask."""
CREDIT = "CT: LIDC-IDRI, Armato SG III et al., doi 10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0"


@dataclass(frozen=True)
class Scored:
    """A point of a cube with its row. rating: median of the readers, 1 to 5; None where there is no nodule."""

    image: Path
    mask: Path
    result: NoduleResult
    rating: float | None


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data" / "lidc-cubes"
    if not (folder / "labels.csv").is_file():
        print(f"{folder} holds no labels.csv: name the folder of the LIDC cubes.", file=sys.stderr)
        return 2
    OUTPUT.mkdir(exist_ok=True)
    bundle = ModelBundle.open(find_model(None))
    with CaseScorer(bundle.card, lambda: open_predictor(bundle, "cpu")) as scorer:
        nodules = of_nodules(scorer, folder)
        beside = beside_nodules(scorer, nodules[:: max(len(nodules) // PLACES, 1)])
    benign = [one for one in nodules if one.rating <= 2]
    malignant = [one for one in nodules if one.rating >= 4]
    chosen = {
        "too-high": max(benign, key=lambda one: one.result.probability),
        "too-low": min(malignant, key=lambda one: one.result.probability),
        "no-nodule": max(beside, key=lambda one: (one.result.gate != "red", one.result.probability)),
    }
    for name, one in chosen.items():
        figure_of(one, bundle.card).savefig(OUTPUT / f"{name}.png", dpi=110)
        print(f"{name}: {one.image.name} {one.result.point_lps} {one.result.probability:.3f} {one.result.gate}")
    return 0


def of_nodules(scorer: CaseScorer, folder: Path) -> list[Scored]:
    """Every cube of a known patient at the middle of its mask."""
    found = []
    with open(folder / "labels.csv", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["file"].startswith(UNUSED) or row["malignancy_median_high"] in ("", "3"):  # 3 errs either way
                continue
            image, mask = (folder / kind / row["file"] for kind in ("images", "masks"))
            r, a, s = map(float, row["mask_centroid_RAS_mm"].split())
            found += _scored(scorer, image, mask, [(-r, -a, s)], float(row["malignancy_median_high"]))
    return found


def beside_nodules(scorer: CaseScorer, nodules: list[Scored]) -> list[Scored]:
    """Soft tissue of the same cubes, where no nodule was marked."""
    found = []
    for one in nodules:
        volume, mask = read_volume(one.image), read_volume(one.mask)
        voxels = mask.to_lps(np.argwhere(mask.array)[:, ::-1])
        steps = np.arange(-REACH_MM, REACH_MM + 1, APART_MM)
        points = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
        far = np.array([np.linalg.norm(voxels - point, axis=1).min() >= FROM_MASK_MM for point in points])
        index = np.rint(volume.to_index(points)).astype(int)
        soft = volume.array[index[:, 2], index[:, 1], index[:, 0]] > -50
        found += _scored(scorer, one.image, one.mask, points[far & soft].tolist(), None)
    return found


def _scored(scorer: CaseScorer, image: Path, mask: Path, points: list, rating: float | None) -> list[Scored]:
    cases = [Case("", "", image, point_lps=tuple(point), nodule_id="N1") for point in points]
    rows = [row.result for row in scorer.score(cases)] if cases else []
    return [Scored(image, mask, row, rating) for row in rows if row.status == "scored"]


def figure_of(one: Scored, card):
    """Three planes, with the outline of a reader, and the number on its scale beside that of the readers."""
    from matplotlib.figure import Figure

    volume, segment = read_volume(one.image), read_volume(one.mask)
    mask = mask_near(segment, one.result.point_lps) if one.rating is not None else None
    axes = None if mask is None else measure(volume, mask).axes
    place = one.result.point_lps if mask is None else place_of(mask, axes)
    figure = Figure(figsize=(9.3, 4.1), facecolor="white")
    for number, (plane, view) in enumerate(plane_views(volume, place, mask, axes).items()):
        axis = figure.add_axes((number / 3, 0.26, 0.329, 0.329 * 9.3 / 4.1))
        show_view(axis, view, plane)
        axis.set_axis_off()
    readers = "no nodule was marked here" if one.rating is None else f"readers: {one.rating:.0f} of 5"
    spread = f" ({one.result.spread_text})" if one.result.spread_text else ""
    words = f"{readers}      model: {one.result.probability:.2f}{spread}, gate {one.result.gate}"
    figure.text(0.005, 0.17, words, fontsize=13, weight="bold")
    figure.text(0.005, 0.10, f"{card.probability_name}, {card.id} {card.version}. {DISCLAIMER}", fontsize=9)
    figure.text(0.005, 0.03, CREDIT, fontsize=8, color="0.4")
    return figure


if __name__ == "__main__":
    sys.exit(main())
