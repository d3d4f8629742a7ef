"""A nodule in a CT: two stacks of slices about a point, read, assessed, and laid out as the 5 x 5 montages that the
network takes (Zhao et al. 2025, section 2.2). Free of torch."""

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..applicability import Finding, size_finding
from ..cases.case import Case
from ..cases.points import NodulePoint, check_names, parse_point, read_points
from ..cases.values import GIVEN, SERIES, ClinicalField, ClinicalValues, parse_assignments
from ..errors import InputError, ModelError, UsageError
from ..files.atomic import write_json
from ..images.ct import WINDOW_HU, CTVolume, check_ct
from ..images.files import read_volume, write_volume
from ..images.gray import crop_resized
from ..images.itk import native_path
from ..images.reading_process import ReadingProcess
from ..measures.field import Field, field_about
from ..networks.configuration import TILES
from ..presence.patch import cut_patch
from ..presence.rules import surroundings
from ..results import DISCLAIMER, NoduleResult
from .input import Input, Model, Prepared, check_numbers, check_standardization
from .jitter import cut_margin
from .region import PLANES, SIDE, SLICES, NoduleROI, cut_roi

LOWEST_HU, HIGHEST_HU = -2000, 4000
NARROWEST_HU, WIDEST_HU = 100, 5000
SLICE_STEPS_MM = (0.3, 5.0)


@dataclass(frozen=True)
class Preprocessing:
    """How HU become network input; stored with each model.

    window_lower, window_upper: HU.
    mean, std: of the training montages after scaling the window to [0, 1]. skip_unobserved: what lies outside the
    volume is left out (NaN, of which the encoder makes no token); otherwise it is shown as air.
    """

    window_lower: float = WINDOW_HU[0]
    window_upper: float = WINDOW_HU[1]
    mean: float = 0.0
    std: float = 1.0
    slice_step_mm: float = 1.0
    skip_unobserved: bool = False

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.window_upper <= self.window_lower or self.std <= 0 or self.slice_step_mm <= 0:
            raise ModelError(f"The preprocessing settings contradict themselves: {asdict(self)}.")
        inside = self.window_lower >= LOWEST_HU and self.window_upper <= HIGHEST_HU
        if not inside or not NARROWEST_HU <= self.window_upper - self.window_lower <= WIDEST_HU:
            raise ModelError(
                f"No CT is seen through a window of {self.window_lower:g} to {self.window_upper:g} HU: it has to be "
                f"{NARROWEST_HU} to {WIDEST_HU} HU wide and lie within {LOWEST_HU} to {HIGHEST_HU} HU.",
                "window",
            )
        if not SLICE_STEPS_MM[0] <= self.slice_step_mm <= SLICE_STEPS_MM[1]:
            raise ModelError(
                f"Slices {self.slice_step_mm:g} mm apart are none of a lung: {SLICE_STEPS_MM[0]} to "
                f"{SLICE_STEPS_MM[1]:g} mm are possible.",
                "slice-step",
            )
        check_standardization(self.mean, self.std)


def normalize(hu: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """HU -> window clipped to [0, 1] -> standardized by the training mean and deviation. Any shape, float32."""
    width = preprocessing.window_upper - preprocessing.window_lower
    scaled = np.clip((np.asarray(hu, np.float32) - preprocessing.window_lower) / width, 0.0, 1.0)
    return ((scaled - preprocessing.mean) / preprocessing.std).astype(np.float32)


def denormalize(values: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Inverse of ``normalize`` within the window: network units -> HU, not clipped. Any shape, float32."""
    width = preprocessing.window_upper - preprocessing.window_lower
    scaled = np.asarray(values, np.float32) * preprocessing.std + preprocessing.mean
    return (scaled * width + preprocessing.window_lower).astype(np.float32)


def to_montage(stack: np.ndarray) -> np.ndarray:
    """(..., 25, 50, 50) slices -> (..., 250, 250) montage, slices in row-major order."""
    lead = stack.shape[:-3]
    tiles = stack.reshape(*lead, TILES, TILES, SIDE, SIDE)
    return np.moveaxis(tiles, -3, -2).reshape(*lead, TILES * SIDE, TILES * SIDE)


def from_montage(montage: np.ndarray) -> np.ndarray:
    """(..., 250, 250) montage -> (..., 25, 50, 50) slices; inverse of ``to_montage``."""
    lead = montage.shape[:-2]
    tiles = montage.reshape(*lead, TILES, SIDE, TILES, SIDE)
    return np.moveaxis(tiles, -2, -3).reshape(*lead, SLICES, SIDE, SIDE)


def resized(montage: np.ndarray, side: int) -> np.ndarray:
    """(250, 250) -> (side, side), interpolated linearly, for a backbone that does not take 250 pixels."""
    if side == len(montage):
        return montage
    return crop_resized(montage, (len(montage) / 2, len(montage) / 2), len(montage), side)


def montage(
    stack: np.ndarray, preprocessing: Preprocessing, side: int = TILES * SIDE, observed: np.ndarray | None = None
) -> np.ndarray:
    """(25, 50, 50) HU -> (side, side) network input. observed: (25,) bool; the other slices become NaN, where the model
    skips what was not observed. Raises InputError for another shape or values not finite."""
    if stack.shape != (SLICES, SIDE, SIDE):
        raise InputError(f"A region has the shape {stack.shape}; {(SLICES, SIDE, SIDE)} is needed.", "shape")
    if not np.isfinite(stack).all():
        raise InputError("A region holds values that are not numbers (NaN or infinity).", "not-finite")
    values = normalize(stack, preprocessing)
    if observed is not None and preprocessing.skip_unobserved:
        values[~observed] = np.nan
    return resized(to_montage(values), side)


def save_montage(stack: np.ndarray, preprocessing: Preprocessing, path: Path) -> None:
    """Write a stack (25, 50, 50) as its 250 x 250 montage in the model's window, 8-bit gray PNG. Raises InputError."""
    import SimpleITK as sitk

    window = Preprocessing(preprocessing.window_lower, preprocessing.window_upper)  # [0, 1], not standardized
    gray = np.rint(normalize(to_montage(stack), window) * 255).astype(np.uint8)
    try:
        sitk.WriteImage(sitk.GetImageFromArray(gray), native_path(path))
    except RuntimeError as error:
        raise InputError(f"{path} cannot be written. Choose a folder that can be written.") from error


class Nodule(Input):
    """See the module."""

    name, noun, described, title = "nodule", "nodule", "nodules in a CT", "Lung nodule report"
    located = tiled = True
    planes: ClassVar = {"mean": PLANES, "axial": PLANES[:1], "coronal": PLANES[1:], "graph": PLANES}
    settings = Preprocessing
    array_names, further_arrays = PLANES, ("observed",)

    def cases(self, arguments: Namespace, card: Model, notice: Callable[[str], None]) -> list[Case]:
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

    def check(self, case: Case) -> None:
        if case.point_lps is None:
            text = f"The row is of the kind {case.kind} and has no point; only nodules can be scored."
            raise InputError(text, "point")

    def groups(self, cases: list[Case]) -> list[list[Case]]:
        """Those of one volume."""
        volumes: dict[tuple[Path | CTVolume, str | None], list[Case]] = {}
        for case in cases:
            volumes.setdefault((case.image, case.series), []).append(case)
        return list(volumes.values())

    def prepare(
        self, case: Case, card: Model, values: ClinicalValues, reader: ReadingProcess | None = None, beside: bool = True
    ) -> Prepared:
        """Check the volume and cut the region that the model wants."""
        volume = case.image if isinstance(case.image, CTVolume) else reader.volume(case.image, case.series)
        check_ct(volume)
        step = card.preprocessing.slice_step_mm
        region = cut_roi(volume, case.point_lps, step)
        values = _with_regions(values, card.clinical, region.point_lps, step, reader.further if reader else read_volume)
        point = region.point_lps
        about = (*_findings(volume, region, card, case.diameter_mm), *surroundings(volume, point), *values.findings)
        if not beside:
            return Prepared(region, values, case, about)
        margin = cut_margin(volume, point, step) if card.quick else None
        return Prepared(region, values, case, about, _field(volume, point), cut_patch(volume, point), margin)

    def limits(self, card: Model) -> dict[str, str]:
        return {"Nodules": f"{card.limits.smallest_diameter_mm:g} to {card.limits.largest_diameter_mm:g} mm"}

    def images(self, region: NoduleROI, plane: str, settings: Preprocessing, side: int) -> np.ndarray:
        return montage(getattr(region, plane), settings, side, region.observed[plane])[None]

    def observes(self, region: NoduleROI, plane: str, card: Model) -> bool:
        """Whether there is a slice that the model is shown."""
        return not card.preprocessing.skip_unobserved or region.observed[plane][list(card.encoder.shown)].any()

    def synthetic(self, number: int) -> NoduleROI:
        """A ball of tissue with a vessel in structured lung, in both planes; another number draws another radius."""
        size = (SIDE, SIDE, SLICES)
        i, j, k = np.meshgrid(*(2 * np.arange(n) - (n - 1) for n in size), indexing="ij")  # half mm
        axial = _synthetic_hu(*(axis.transpose(2, 1, 0) for axis in (i, j, k)), number)
        coronal = _synthetic_hu(*(axis.transpose(2, 1, 0) for axis in (i, k, -j)), number)
        return self.region({"axial": axial, "coronal": coronal})

    def arrays(self, region: NoduleROI, settings: Preprocessing) -> dict[str, np.ndarray]:
        observed = np.stack([region.observed[plane] for plane in PLANES]).astype(np.int16)
        return {plane: getattr(region, plane) for plane in PLANES} | {"observed": observed}

    def region(self, arrays: Mapping[str, np.ndarray]) -> NoduleROI:
        everything = np.ones((len(PLANES), SLICES))
        observed = dict(zip(PLANES, arrays.get("observed", everything).astype(bool), strict=True))
        return NoduleROI(arrays["axial"], arrays["coronal"], (0.0, 0.0, 0.0), 1.0, 0.0, observed)

    def unfolded(self, image: np.ndarray) -> np.ndarray:
        return from_montage(resized(image, TILES * SIDE))

    def restored(self, image: np.ndarray, settings: Preprocessing) -> np.ndarray:
        hu = denormalize(image, settings)
        return np.clip(np.nan_to_num(hu, nan=settings.window_lower), settings.window_lower, settings.window_upper)

    def figures(self, result: NoduleResult, case: Prepared, explanation: Any) -> dict[str, Any]:
        """Slices of each branch with what explains the number, and all slices as the networks saw them."""
        from ..figures.explained_nodule import nodule_figure, seen_figure

        stacks = {plane: getattr(case.region, plane) for plane in PLANES}
        for branch, (series, plane) in explanation.sources.items():
            if series and series in case.values.regions:
                stacks[branch] = getattr(case.values.regions[series], plane)
        found = {"figure": nodule_figure(result, stacks, explanation)}
        return {**found, "seen": seen_figure(explanation)} if explanation.attention else found

    def draw(self, folder: Path, result: NoduleResult, case: Prepared, explanation: Any) -> list[Path]:
        """The stacks, their montages in the model's window, and the figures."""
        settings = explanation.card.preprocessing
        for plane in PLANES:
            save_montage(getattr(case.region, plane), settings, folder / f"montage_{plane}.png")
        self.write(folder, result, case, explanation)
        return [folder / f"{name}.png" for name in ("figure", "seen") if (folder / f"{name}.png").is_file()]

    def write(self, folder: Path, result: NoduleResult, case: Prepared, explanation: Any) -> list[str]:
        """NRRD files that lie on the CT, the figures, and in explanation.json what the maps are worth."""
        from ..figures.nodule import save_figure
        from ..figures.words import sentences

        for name, branch, stack in explanation.files():
            write_stack(folder / f"{name}.nrrd", stack, case.region, explanation.sources[branch][1])
        for name, figure in self.figures(result, case, explanation).items():
            save_figure(figure, folder / f"{name}.png")
        write_json(folder / "explanation.json", {**explanation.to_json(), "disclaimer": DISCLAIMER})
        return [*([explanation.notice] if explanation.notice else []), *sentences(explanation)]


def _field(volume: CTVolume, point_lps) -> Field | None:
    """What the nodule is outlined in; None where the CT has gaps there: its score is not to fail for that."""
    try:
        return field_about(volume, point_lps)
    except InputError:
        return None


def write_stack(path: Path, stack: np.ndarray, region: NoduleROI, plane: str) -> None:
    """(25, 50, 50) as NRRD in patient space. plane: "axial" or "coronal"."""
    write_volume(CTVolume(stack, region.affine(plane), path.stem), path)


def _synthetic_hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, number: int) -> np.ndarray:
    """HU at places in half mm, whole numbers all: -940 to -740 in lung, 0 to 60 in tissue."""
    texture = (x * x + 3 * y * y + 5 * z * z + 7 * x * y + 11 * y * z + 13 * z * x) % 41
    values = -940 + 5 * texture
    tissue = (x * x + y * y + z * z < (16 + 2 * number) ** 2) | ((x - 12) ** 2 + (z + 8) ** 2 < 16)
    return np.where(tissue, texture * 3 // 2, values).astype(np.float32)


def _with_regions(
    values: ClinicalValues,
    fields: Sequence[ClinicalField],
    point_lps,
    slice_step_mm: float,
    read: Callable[[str], CTVolume],
) -> ClinicalValues:
    """The values with the region of each further series that was given, and in its place the name of a volume (for the
    window that shows it; what is written down says GIVEN), or GIVEN of a path.

    point_lps: LPS mm, the same in all series. read: a volume of a path. No volume is kept.
    Raises InputError naming the series: it cannot be read, is no CT, or does not hold the point.
    """
    names, regions = {}, {}
    for field in fields:
        given = values.values[field.name] if field.kind == SERIES else None
        if given is None:
            continue
        try:
            volume = given if isinstance(given, CTVolume) else read(str(Path(given).resolve()))
            check_ct(volume)
            regions[field.name] = cut_roi(volume, point_lps, slice_step_mm)
        except InputError as error:
            message = f"The series {field.name} cannot be used: {error}"
            named = given.name if isinstance(given, CTVolume) else given
            raise InputError(message, error.code, error.private).hide(named) from error
        names[field.name] = volume.name if isinstance(given, CTVolume) else GIVEN
    return replace(values, values=values.values | names, regions=regions)


def _findings(volume: CTVolume, region: NoduleROI, card: Model, diameter_mm: float | None) -> Iterator[Finding]:
    """Geometry, surroundings and, where it is known, the nodule's diameter against what the model knows."""
    limits = card.limits
    if card.preprocessing.skip_unobserved:
        shown = list(card.encoder.shown)
        planes = INPUT.planes[card.fusion]
        missing = sum(int((~region.observed[plane][shown]).sum()) for plane in planes)
        if missing:
            text = f"{missing} of the {len(shown) * len(planes)} slices that the model is shown lie outside the volume."
            yield Finding("amber", "slices-missing", text)
    outside, spacing, known = region.padded_fraction, volume.slice_spacing, limits.slice_spacing_amber_mm
    if outside > limits.padded_amber and not card.preprocessing.skip_unobserved:
        text = f"{outside:.0%} of the 50 mm region lies outside the volume and was filled with air."
        yield Finding("red" if outside > limits.padded_red else "amber", "padded", text)
    if spacing > known:
        text = f"Slices are {spacing:.1f} mm apart; the model knows up to {known:g} mm."
        yield Finding("red" if spacing > limits.slice_spacing_red_mm else "amber", "thick-slices", text)
    middle = region.axial[10:15, 22:28, 22:28]  # 5 mm through, 6 mm wide, about the point
    if float(middle.mean()) <= -700:
        text = "The point lies in aerated lung or air. Place it in the middle of the nodule."
        yield Finding("amber", "point-in-air", text)
    if (wrong := size_finding(diameter_mm, limits)) is not None:
        yield wrong
    for remark in volume.remarks:
        yield Finding("amber" if remark.amber else "green", remark.code, remark.message)


INPUT = Nodule()
