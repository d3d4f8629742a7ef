"""What a nodule's mask and its surroundings say against the score: composition, calcium, fat, air, wall, neighbors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..applicability import SIZE_CODES, Finding, Limits, size_finding
from ..images.ct import CTVolume
from ..images.sampling import sample_stack
from .mask import NoduleMask, parts_of
from .measured import MeasuredNodule
from .measures import SOLID_HU, Measures
from .slope import slope


@dataclass(frozen=True)
class Insert:
    """A tissue within a nodule that speaks for itself. low, high: HU. depth_mm: how far below the mask's surface, where
    voxels are half lung. smallest_mm3: of one connected part. benign_share: from this share on of all that is so deep
    it is a benign pattern; less of it is found in cancers too. flat: whether only where attenuation is flat."""

    low: float
    high: float
    depth_mm: float
    smallest_mm3: float
    benign_share: float
    text: str
    flat: bool = False


INSERTS = {
    "calcium": Insert(200.0, np.inf, 1.0, 8.0, 0.1, "It holds calcium ({volume:.0f} mm3 above {low:g} HU)"),
    "fat": Insert(-150.0, -40.0, 2.5, 30.0, 0, "It holds fat ({volume:.0f} mm3 of {low:g} to {high:g} HU)", flat=True),
    "air": Insert(
        -np.inf, -700.0, 2.0, 30.0, np.inf, "It holds air, a cavity or bronchi ({volume:.0f} mm3 below {high:g} HU)"
    ),
}
"""Above 200 HU and below -40 HU are Zhao et al. 2025's reasons to leave a nodule out, with any air in it; depths,
volumes and the share of calcium are this project's proposals: far above noise, no partial volume of the surface, and
more than the specks of a large cancer."""
OUTLINE_CODES = (*SIZE_CODES, "subsolid", *INSERTS, "wall", "cut-off", "islands", "several")
"""Codes of all that an outline says: they do not outlive another one."""
FLAT_HU_PER_MM = 80.0
"""Flat is what changes less from place to place; as dark as fat is, too, the slope between soft tissue and lung."""
NEIGHBOR_HU, NEIGHBOR_MM, SMALLEST_NEIGHBOR_MM, APART_MM, LONGEST = -400.0, 2.0, 5.0, 3.0, 2.0
"""Another nodule: brighter than this, opened by a ball of this radius, at least this large (equivalent diameter), so
far from the mask, and no longer than so many times its equivalent diameter, which vessels are."""
BENIGN = "a benign pattern on which the score says nothing: use the category of Lung-RADS."
NOT_BENIGN = "by itself no benign pattern, and the score was not made for such nodules: use the category of Lung-RADS."


def outline_findings(around: CTVolume, nodule: MeasuredNodule, limits: Limits) -> Iterator[Finding]:
    """A nodule's size, all that it holds and borders on, as far as it speaks against its score.

    around: the CT's voxels near it. limits: of the model.
    """
    if (wrong := size_finding(nodule.measures.axes.long_mm, limits)) is not None:
        yield wrong
    yield from nodule_findings(around, nodule.mask, nodule.measures, limits)


def nodule_findings(around: CTVolume, mask: NoduleMask, measures: Measures, limits: Limits) -> Iterator[Finding]:
    """Everything of a nodule that speaks against its score, worst colors by clinical practice.

    around: the CT's voxels near the nodule. mask, measures: of it. limits: of the model.
    """
    if measures.composition != "solid" and not limits.subsolid_known:
        share = f"{measures.solid_share:.0%} of it is above {SOLID_HU:g} HU"
        yield Finding("red", "subsolid", f"It is {measures.composition} ({share}); the model knows solid nodules.")
    yield from _inserts(around, mask, measures)
    if measures.status == "wall":
        share = measures.soft_border_share
        text = (
            f"It borders on wall, mediastinum or vessels by {share:.0%} of its surface: its outline there is a guess."
        )
        yield Finding("amber", "wall", text)
    elif measures.status == "border":
        yield Finding("amber", "cut-off", "It is cut off by the volume's border: its size is larger than measured.")
    elif measures.status == "islands":
        yield Finding("amber", "islands", "Its outline has several parts; the one at the point is measured.")
    if count := neighbors(around, mask):
        text = f"{count} further roundish {'densities lie' if count > 1 else 'density lies'} near it in the lung."
        yield Finding("amber", "several", text)


def _inserts(around: CTVolume, mask: NoduleMask, measures: Measures) -> Iterator[Finding]:
    """Calcium, and, in what is not ground glass as a whole, fat and air."""
    near = _filled(mask.padded(1.0))
    hu, _ = sample_stack(around, near.affine, near.array.shape[::-1])
    depth, _ = near.distances()
    flat = slope(hu, near.spacing) < FLAT_HU_PER_MM
    for name, insert in INSERTS.items():
        if name != "calcium" and measures.composition == "ground-glass":
            continue
        # The outermost voxel is partly lung however thick it is.
        below = max(insert.depth_mm, float(near.spacing.max()))
        deep = depth > below
        within = deep & (hu > insert.low) & (hu < insert.high)
        if insert.flat:
            within &= flat
        volume = _largest_part(within) * near.voxel_mm3
        if volume >= insert.smallest_mm3:
            text = insert.text.format(volume=volume, low=insert.low, high=insert.high)
            benign = volume >= insert.benign_share * deep.sum() * near.voxel_mm3
            yield Finding("red", name, f"{text}: {BENIGN if benign else NOT_BENIGN}")


def neighbors(around: CTVolume, mask: NoduleMask) -> int:
    """How many other roundish densities a CT shows that no border of it cuts off."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray((around.array > NEIGHBOR_HU).astype(np.uint8))
    spacing = around.spacing
    radius = [round(NEIGHBOR_MM / one) for one in spacing]
    if min(around.size) < 3 or not any(radius):
        return 0
    opened = sitk.BinaryMorphologicalOpening(image, radius, sitk.sitkBall, 0.0, 1.0)
    parts, shapes = sitk.ConnectedComponent(opened), sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(parts)
    own = set(np.unique(sitk.GetArrayViewFromImage(parts)[_near(around, mask)]).tolist())
    voxel_mm3, found = float(abs(np.linalg.det(around.affine[:3, :3]))), 0
    for number in set(shapes.GetLabels()) - own:
        box = np.array(shapes.GetBoundingBox(number))
        low, size = box[:3], box[3:]
        if (low == 0).any() or (low + size == around.size).any():
            continue
        diameter = (6.0 / np.pi * shapes.GetNumberOfPixels(number) * voxel_mm3) ** (1.0 / 3.0)
        found += bool(diameter >= SMALLEST_NEIGHBOR_MM and (size * spacing).max() <= LONGEST * diameter)
    return found


def _near(around: CTVolume, mask: NoduleMask) -> np.ndarray:
    """(slices, rows, columns) bool of a CT: within APART_MM of the mask."""
    near = mask.padded(APART_MM + 1.0)
    _, distance = near.distances()
    drawn = CTVolume((distance <= APART_MM).astype(np.float32), near.affine)
    return sample_stack(drawn, around.affine, around.array.shape[::-1], fill=0.0)[0] > 0.5


def _filled(padded: NoduleMask) -> NoduleMask:
    """A mask that is padded, with its holes, slice by slice: a cavity belongs to the nodule."""
    outside = np.zeros((2 * len(padded.array), *padded.array.shape[1:]), bool)
    outside[::2] = ~padded.array  # nothing between the slices joins them
    parts, _ = parts_of(outside)
    holes = outside[::2] & (parts[::2] != parts[::2, :1, :1])
    return NoduleMask(padded.array | holes, padded.affine, padded.islands)


def _largest_part(array: np.ndarray) -> int:
    """Voxels of the largest part, connected by faces."""
    parts, count = parts_of(array)
    return int(np.bincount(parts.ravel(), minlength=count + 1)[1:].max(initial=0))
