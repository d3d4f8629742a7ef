"""Gates of a nodule's mask, on shapes with inserts of known tissue: each fires for its reason and for no other."""

import numpy as np
import pytest
import SimpleITK as sitk
from MAEMCLib.applicability import Limits
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.measures.gates import _filled, nodule_findings
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.measures.measures import measure

SPACING = (0.7, 0.7, 1.25)
SHAPE = (40, 72, 72)
MIDDLE = (0.0, 0.0, 0.0)


def lung(seed: int = 0) -> tuple[CTVolume, np.ndarray]:
    """Lung with noise of 25 HU, and (slices, rows, columns, 3) LPS mm of its voxels."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -np.array(SPACING) * (np.array(SHAPE[::-1]) - 1) / 2
    k, j, i = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    noise = np.random.default_rng(seed).normal(0.0, 25.0, SHAPE)
    where = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    return CTVolume((-860.0 + noise).astype(np.float32), affine), where


def paint(volume, where, radius, hu, center=MIDDLE):
    """A ball whose surface is blurred as a scanner does: half lung within half a millimeter."""
    distance = np.linalg.norm(where - center, axis=-1)
    share = np.clip(0.5 - (distance - radius), 0.0, 1.0)
    volume.array[:] += (share * (hu + 860.0)).astype(np.float32)


def insert(volume, where, radius, hu, center=MIDDLE):
    within = np.linalg.norm(where - center, axis=-1) <= radius
    volume.array[within] = hu


def found(volume, where, radius, limits=None):
    """Codes and colors of the findings of a ball about the middle."""
    inside = np.linalg.norm(where, axis=-1) <= radius
    mask = NoduleMask.at(inside, volume.affine, MIDDLE)
    findings = nodule_findings(volume, mask, measure(volume, mask), limits or Limits())
    return {finding.code: finding.color for finding in findings}


@pytest.mark.parametrize("radius", [3.0, 5.0, 9.0, 14.0])
def test_a_usual_solid_nodule_has_nothing_against_it(radius):
    volume, where = lung()
    paint(volume, where, radius, 40.0)
    assert found(volume, where, radius) == {}


@pytest.mark.parametrize("softness", [0.5, 1.0])
def test_partial_volume_is_neither_ground_glass_nor_fat(softness):
    """A soft kernel, and an outline as generous as readers' are."""
    volume, where = lung()
    distance = np.linalg.norm(where, axis=-1)
    volume.array[:] += (900.0 / (1.0 + np.exp((distance - 7.0) / softness))).astype(np.float32)
    assert found(volume, where, 8.0) == {}


@pytest.mark.parametrize(
    ("code", "hu", "seen", "unseen"),
    [("calcium", 600.0, 2.0, 0.5), ("fat", -95.0, 3.0, 1.2), ("air", -950.0, 3.0, 1.2)],
)
def test_an_insert_is_seen_from_its_size_on(code, hu, seen, unseen):
    for size, expected in ((seen, {code: "red"}), (unseen, {})):
        volume, where = lung()
        paint(volume, where, 9.0, 40.0)
        insert(volume, where, size, hu)
        assert found(volume, where, 9.0) == expected, size


@pytest.mark.parametrize(
    ("code", "hu", "radius", "benign"),
    [
        ("calcium", 600.0, 2.0, False),
        ("calcium", 600.0, 5.0, True),
        ("fat", -95.0, 3.0, True),
        ("air", -950.0, 6.0, False),
    ],
)
def test_specks_of_calcium_and_cavities_are_not_called_benign(code, hu, radius, benign):
    """A cancer may hold both."""
    volume, where = lung()
    paint(volume, where, 9.0, 40.0)
    insert(volume, where, radius, hu)
    distance = np.linalg.norm(where, axis=-1)
    mask = NoduleMask.at(distance <= 9.0, volume.affine, (7.0, 0.0, 0.0))
    (told,) = [
        one.message for one in nodule_findings(volume, mask, measure(volume, mask), Limits()) if one.code == code
    ]
    assert ("a benign pattern on which" in told, "no benign pattern" in told) == (benign, not benign)


def test_a_cavity_that_the_mask_leaves_out_is_seen():
    volume, where = lung()
    paint(volume, where, 9.0, 40.0)
    insert(volume, where, 4.0, -950.0)
    distance = np.linalg.norm(where, axis=-1)
    ring = NoduleMask.at((distance <= 9.0) & (distance > 4.0), volume.affine, (7.0, 0.0, 0.0))
    assert "air" in {one.code for one in nodule_findings(volume, ring, measure(volume, ring), Limits())}


def test_contrast_is_no_calcium_and_lung_beside_a_nodule_is_no_fat():
    volume, where = lung()
    paint(volume, where, 8.0, 140.0)
    assert found(volume, where, 9.0) == {}  # an outline a millimeter too wide


def test_subsolid_speaks_unless_the_model_knows_such_nodules():
    volume, where = lung()
    paint(volume, where, 8.0, -600.0)
    assert found(volume, where, 8.0) == {"subsolid": "red"}
    assert found(volume, where, 8.0, Limits(subsolid_known=True)) == {}


def test_wall_and_border_are_said():
    volume, where = lung()
    paint(volume, where, 6.0, 40.0)
    volume.array[where[..., 0] > -2.0] = 40.0
    assert found(volume, where, 6.0) == {"wall": "amber"}
    volume, where = lung()
    paint(volume, where, 30.0, 40.0)
    assert found(volume, where, 30.0)["cut-off"] == "amber"


def test_a_second_nodule_is_several_and_a_vessel_is_none():
    volume, where = lung()
    paint(volume, where, 6.0, 40.0)
    paint(volume, where, 4.0, 40.0, (15.0, 4.0, 0.0))
    assert found(volume, where, 6.0) == {"several": "amber"}
    volume, where = lung()
    paint(volume, where, 6.0, 40.0)
    beside = np.hypot(where[..., 0] - 14.0, where[..., 1])  # runs through all slices
    volume.array[beside <= 2.5] = 40.0
    assert found(volume, where, 6.0) == {}


def test_one_slice_says_what_it_can():
    """A slab of a single slice: nothing fails."""
    volume, where = lung()
    paint(volume, where, 6.0, 40.0)
    middle = SHAPE[0] // 2
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_lps(np.array([0, 0, middle]))
    slab = CTVolume(volume.array[middle : middle + 1], affine)
    mask = NoduleMask.at(np.linalg.norm(where[middle : middle + 1], axis=-1) <= 6.0, affine, MIDDLE)
    assert {one.code for one in nodule_findings(slab, mask, measure(slab, mask), Limits())} == {"cut-off"}


def test_holes_are_filled_slice_by_slice_as_itk_fills_them():
    draws = np.random.default_rng(1)
    for share in (0.3, 0.5, 0.6, 0.7) * 5:
        mask = np.pad(draws.random(draws.integers((1, 5, 5), (9, 20, 20))) < share, 1)
        slices = (sitk.BinaryFillhole(sitk.GetImageFromArray(one.astype(np.uint8))) for one in mask)
        expected = np.stack([sitk.GetArrayFromImage(one) > 0 for one in slices])
        assert np.array_equal(_filled(NoduleMask(mask, np.eye(4), 0)).array, expected)
