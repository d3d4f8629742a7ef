"""A nodule in a CT: two stacks of slices about a point, read, judged and laid out as montages."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..applicability import Assessment, Finding, Limits
from ..cases.case import Case
from ..cases.points import NodulePoint, check_names, parse_point, read_points
from ..cases.values import ClinicalValues, parse_assignments
from ..errors import InputError, UsageError
from ..images.ct import AIR_BELOW_HU, CTVolume, check_ct
from ..images.files import write_volume
from ..images.reading_process import ReadingProcess
from ..networks.configuration import TILES
from .input import Input, Prepared, file_name
from .montage import denormalize, from_montage, montage, resized, save_montage
from .region import SIDE, NoduleROI, cut_roi
from .series import with_regions
from .settings import Preprocessing
from .synthetic import nodule

if TYPE_CHECKING:
    from ..explain.explanation import Explanation
    from ..models.card import ModelCard
    from ..results import NoduleResult

BOTH = ("axial", "coronal")


class Nodule(Input):
    """See the module."""

    name, noun, described, title, initial = "nodule", "nodule", "nodules in a CT", "Lung nodule report", "N"
    located = tiled = True
    planes: ClassVar = {"mean": BOTH, "axial": BOTH[:1], "coronal": BOTH[1:], "graph": BOTH}
    settings = Preprocessing
    array_names = BOTH
    options = ("point", "points", "series", "clinical")

    def cases(self, arguments: Namespace, card: ModelCard, notice: Callable[[str], None]) -> list[Case]:
        """Each point that is named, with the values that were typed."""
        values = parse_assignments(getattr(arguments, "clinical", None) or (), card.clinical, card.id)
        values |= {"series": arguments.series} if arguments.series else {}
        typed = arguments.point if isinstance(arguments.point, list) else [arguments.point] if arguments.point else []
        points = [NodulePoint(f"N{n}", parse_point(text, arguments.ras)) for n, text in enumerate(typed, start=1)]
        if getattr(arguments, "points", None):
            points += read_points(arguments.points, arguments.ras, notice)
        if not points:
            raise UsageError(
                "No point was given. Add --point L,P,S or --points FILE, or choose a model of 2-D pictures."
            )
        check_names(points)
        image = Path(arguments.image)
        return [Case("", "", image, point_lps=p.lps, values=values, nodule_id=p.nodule_id) for p in points]

    def problem(self, case: Case) -> InputError | None:
        if case.point_lps is None:
            text = f"The row is of the kind {case.kind} and has no point; only nodules can be scored."
            return InputError(text, "point")
        return None

    def groups(self, cases: list[Case]) -> list[list[Case]]:
        """Those of one volume."""
        volumes: dict[tuple[Path | CTVolume, str | None], list[Case]] = {}
        for case in cases:
            volumes.setdefault((case.image, case.series), []).append(case)
        return list(volumes.values())

    def is_volume(self, case: Case) -> bool:
        return True

    def prepare(
        self, case: Case, card: ModelCard, values: ClinicalValues, reader: ReadingProcess | None = None
    ) -> Prepared:
        """Check the volume and cut the region that the model wants."""
        volume = case.image if isinstance(case.image, CTVolume) else reader.volume(case.image, case.series)
        check_ct(volume)
        step = card.preprocessing.slice_step_mm
        region = cut_roi(volume, case.point_lps, step)
        further = reader.further if reader is not None else None
        values = with_regions(values, card.clinical, region.point_lps, step, further)
        findings = (*_findings(volume, region, card.limits, case.diameter_mm), *values.findings)
        return Prepared(region, values, case, Assessment().with_findings(*findings))

    def images(self, region: NoduleROI, plane: str, settings: Preprocessing, side: int) -> np.ndarray:
        return montage(getattr(region, plane), settings, side)[None]

    def synthetic(self, number: int) -> NoduleROI:
        return nodule(number)

    def arrays(self, region: NoduleROI, settings: Preprocessing) -> dict[str, np.ndarray]:
        return {plane: getattr(region, plane) for plane in BOTH}

    def region(self, arrays: Mapping[str, np.ndarray]) -> NoduleROI:
        return NoduleROI(arrays["axial"], arrays["coronal"], (0.0, 0.0, 0.0), 1.0, 0.0)

    def unfolded(self, image: np.ndarray) -> np.ndarray:
        return from_montage(resized(image, TILES * SIDE))

    def restored(self, image: np.ndarray, settings: Preprocessing) -> np.ndarray:
        return np.clip(denormalize(image, settings), settings.window_lower, settings.window_upper)

    def draw(
        self, folder: Path, result: NoduleResult, case: Prepared, explanation: Explanation, card: ModelCard
    ) -> Path:
        """The stacks, the montages as the network sees them, and the figure."""
        for plane in BOTH:
            save_montage(getattr(case.region, plane), card.preprocessing, folder / f"montage_{plane}.png")
        self.write(folder, result, case, explanation, card)
        return folder / "figure.png"

    def write(
        self, folder: Path, result: NoduleResult, case: Prepared, explanation: Explanation, card: ModelCard
    ) -> list[str]:
        """NRRD files that lie on the CT, and the figure."""
        from ..figures.nodule import nodule_figure, save_figure

        for part, branches in explanation.parts().items():
            for branch, stack in branches.items():
                plane = explanation.sources[branch][1]
                write_stack(folder / f"{file_name(part, branch)}.nrrd", stack, case.region, plane)
        stacks = {plane: getattr(case.region, plane) for plane in BOTH}
        for branch, (series, plane) in explanation.sources.items():
            if series and series in case.values.regions:
                stacks[branch] = getattr(case.values.regions[series], plane)
        save_figure(nodule_figure(result, stacks, explanation, card.preprocessing), folder / "figure.png")
        notice = [explanation.notice] if explanation.notice else []
        return [*notice, f"{explanation.attention_kind}: where the classifier looks."]


def write_stack(path: Path, stack: np.ndarray, region: NoduleROI, plane: str) -> None:
    """(25, 50, 50) as NRRD in patient space. plane: "axial" or "coronal"."""
    write_volume(CTVolume(stack, getattr(region, f"{plane}_affine"), path.stem), path)


def _findings(
    volume: CTVolume, region: NoduleROI, limits: Limits, diameter_mm: float | None
) -> Iterator[Finding | None]:
    """Geometry, surroundings and, where it is known, the nodule's diameter against what the model knows."""
    yield _padding(region, limits)
    yield _slice_spacing(volume, limits)
    yield _place(region)
    yield _surroundings(region)
    yield _diameter(diameter_mm, limits)
    for remark in volume.remarks:
        yield Finding("amber" if remark.amber else "green", remark.code, remark.message)


def _padding(region: NoduleROI, limits: Limits) -> Finding | None:
    share = region.padded_fraction
    if share <= limits.padded_amber:
        return None
    color = "red" if share > limits.padded_red else "amber"
    return Finding(color, "padded", f"{share:.0%} of the 50 mm region lies outside the volume and was filled with air.")


def _slice_spacing(volume: CTVolume, limits: Limits) -> Finding | None:
    spacing, known = volume.slice_spacing, limits.slice_spacing_amber_mm
    if spacing <= known:
        return None
    color = "red" if spacing > limits.slice_spacing_red_mm else "amber"
    return Finding(color, "thick-slices", f"Slices are {spacing:.1f} mm apart; the model knows up to {known:g} mm.")


def _place(region: NoduleROI) -> Finding | None:
    middle = region.axial[10:15, 22:28, 22:28]  # 5 mm through, 6 mm wide, about the point
    if float(middle.mean()) > -700:
        return None
    text = "The point lies in aerated lung or air. Place it in the middle of the nodule."
    return Finding("amber", "point-in-air", text)


def _surroundings(region: NoduleROI) -> Finding | None:
    aerated = float(np.mean(region.axial < AIR_BELOW_HU))
    if aerated >= 0.05:
        return None
    text = f"Only {aerated:.0%} of the region is aerated; a lung nodule lies in or at lung."
    return Finding("amber", "no-lung", text)


def _diameter(diameter_mm: float | None, limits: Limits) -> Finding | None:
    known = f"{limits.smallest_diameter_mm:g}-{limits.largest_diameter_mm:g} mm"
    if diameter_mm is None:
        return Finding("grey", "size-unknown", f"The nodule's size is not known here; the model knows {known}.")
    if diameter_mm > limits.largest_diameter_mm:
        return Finding("red", "large", f"{diameter_mm:.0f} mm is larger than the model's nodules ({known}).")
    if diameter_mm < limits.smallest_diameter_mm:
        return Finding("amber", "small", f"{diameter_mm:.1f} mm is smaller than the model's nodules ({known}).")
    return None


INPUT = Nodule()
