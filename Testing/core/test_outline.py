"""A nodule is outlined from a click: what the network is shown, the mask on the CT's own grid, and what goes wrong."""

import numpy as np
import pytest
import torch
from MAEMCLib.errors import InputError, ModelError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.measures.errors import outline_error_mm
from MAEMCLib.measures.field import LOGIT_STEPS, PIXEL_MM, SIDE, field_about, traced
from MAEMCLib.measures.measured import measured
from MAEMCLib.measures.outline import WEIGHTS, Outliner, shipped_outliner
from MAEMCLib.measures.outline_network import OutlineNetwork
from MAEMCLib.results import MEASURES

LUNG_HU, TISSUE_HU = -860, 30


def turned(degrees: float) -> np.ndarray:
    """Axes turned about two of the patient's."""
    a, b = np.radians(degrees), np.radians(degrees / 2)
    first = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])
    second = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return first @ second


def chest(radii, spacing=(0.7, 0.7, 1.0), side=64.0, turn=None, center=(0.0, 0.0, 0.0), wall=None, seed=0):
    """A CT of an ellipsoid in lung with a little noise, edges as soft as a scanner's; and its mask.

    wall: tissue from this distance of the middle on, along P.
    """
    axes = np.eye(3) if turn is None else turn
    size = np.ceil(side / np.asarray(spacing)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((size - 1) / 2)
    k, j, i = np.indices(size[::-1])
    places = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3] - center
    reach = np.linalg.norm(places / np.asarray(radii), axis=-1)
    tissue = 1 / (1 + np.exp((reach - 1) * min(radii) / 0.35))
    if wall is not None:
        tissue = np.maximum(tissue, 1 / (1 + np.exp((wall - places[..., 1]) / 0.35)))
    noise = np.random.default_rng(seed).normal(0, 15, reach.shape)
    hu = LUNG_HU + (TISSUE_HU - LUNG_HU) * tissue + noise
    return CTVolume(hu.astype(np.int16), affine), reach <= 1


def outlined(volume, point=(0.0, 0.0, 0.0)):
    field = field_about(volume, point)
    return measured(field, shipped_outliner().logits(field.planes, field.first_mm, field.step_mm))


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_planes_are_the_slices_of_the_ct():
    volume, _ = chest((6, 6, 6), spacing=(PIXEL_MM, PIXEL_MM, 2.5))
    field = field_about(volume, volume.to_lps((31.5, 31.5, 12)))
    assert (field.step_mm, field.first_mm) == (2.5, -25.0) and field.planes.shape == (21, SIDE, SIDE)
    np.testing.assert_array_equal(field.planes, volume.array[2:23, :64, :64])


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_only_slices_that_are_there_are_shown(slices):
    volume, _ = chest((6, 6, 6), spacing=(0.7, 0.7, 2.0))
    slab = CTVolume(volume.array[15 : 15 + slices], volume.affine)
    field = field_about(slab, slab.to_lps((45, 45, 0)))
    assert field.planes.shape[0] == slices and field.first_mm == pytest.approx(0.0, abs=1e-9)


def test_thin_slices_are_sampled_every_pixel():
    volume, _ = chest((6, 6, 6), spacing=(0.7, 0.7, 0.4))
    field = field_about(volume, (0.0, 0.0, 0.0))
    assert field.step_mm == pytest.approx(PIXEL_MM) and field.planes.shape[0] == SIDE


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 0.7), (0.6, 0.8, 2.5), (0.9, 0.9, 5.0)])
@pytest.mark.parametrize("turn", [None, turned(20)])
def test_an_answer_becomes_the_mask_on_the_ct_s_grid(spacing, turn):
    """The answer is a ball's distance: wherever its planes lie, the voxels within the ball are the mask."""
    volume, _ = chest((9, 9, 9), spacing, turn=turn)
    point = np.array([1.3, -0.4, 0.9])
    field = field_about(volume, point)
    k, j, i = np.indices(field.planes.shape)
    places = np.stack([i, j, k], axis=-1) @ field.affine[:3, :3].T + field.affine[:3, 3]
    answer = (9.0 - np.linalg.norm(places - point, axis=-1)) * LOGIT_STEPS
    mask = traced(field, np.rint(answer.clip(-30000, 30000)).astype(np.int16))
    k, j, i = np.indices(volume.array.shape)
    expected = np.linalg.norm(volume.to_lps(np.stack([i, j, k], axis=-1)) - point, axis=-1) < 9.0
    nodule = measured(field, np.rint(answer.clip(-30000, 30000)).astype(np.int16))
    found = nodule.on(volume) > 0
    assert mask.array.sum() == found.sum() and dice(found, expected) > 0.985


def test_storing_a_ct_in_another_way_changes_nothing():
    volume, _ = chest((7, 6, 5), turn=turned(10))
    flipped = np.diag([-1.0, 1.0, -1.0, 1.0])
    flipped[:3, 3] = (volume.size - 1) * (1, 0, 1)
    other = CTVolume(volume.array[::-1, :, ::-1], volume.affine @ flipped)
    first, second = outlined(volume), outlined(other)
    np.testing.assert_array_equal(first.on(volume), second.on(other)[::-1, :, ::-1])
    one, two = first.columns(), second.columns()
    for name in MEASURES:
        assert two[name] == (pytest.approx(one[name]) if isinstance(one[name], float) else one[name])


@pytest.mark.parametrize("slice_mm", [0.7, 1.25, 2.5, 5.0])
@pytest.mark.parametrize("radii", [(5, 5, 5), (9, 7, 8), (12, 10, 11)])
def test_ellipsoids_in_lung_get_their_size(radii, slice_mm):
    volume, truth = chest(radii, (0.7, 0.7, slice_mm))
    nodule = outlined(volume)
    assert nodule.measures.status == "whole"
    assert dice(nodule.on(volume) > 0, truth) > (0.8 if slice_mm > min(radii) / 2 else 0.85)
    assert nodule.measures.mean_diameter_mm == pytest.approx(radii[0] + radii[1], abs=max(1.4, slice_mm / 2))


def test_a_click_beside_the_middle_finds_the_same_nodule():
    volume, truth = chest((8, 7, 7))
    for point in ((2.0, 0.0, 0.0), (0.0, -1.5, 1.0), (-1.0, 1.0, -2.0)):
        assert dice(outlined(volume, point).on(volume) > 0, truth) > 0.85


def test_nothing_is_outlined_in_lung():
    volume, _ = chest((6, 6, 6), side=90.0, center=(30.0, 0.0, 0.0))
    assert outlined(volume, (-12.0, 0.0, 0.0)) is None


def test_a_nodule_that_the_volume_cuts_is_marked():
    volume, _ = chest((8, 8, 8))
    half = CTVolume(volume.array[len(volume.array) // 2 :], volume.affine.copy())
    half.affine[:3, 3] = volume.to_lps((0, 0, len(volume.array) // 2))
    nodule = outlined(half, half.to_lps((45, 45, 2)))
    assert nodule.measures.status == "border"


def test_a_slab_of_one_slice_is_measured():
    volume, truth = chest((6, 5, 6), (0.7, 0.7, 2.5))
    middle = int(np.argmax(truth.sum(axis=(1, 2))))
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_lps((0, 0, middle))
    slab = CTVolume(volume.array[middle : middle + 1], affine)
    nodule = outlined(slab)
    assert nodule.measures.mean_diameter_mm == pytest.approx(11, abs=1.6) and nodule.measures.status == "border"


def test_a_volume_with_gaps_or_nan_has_no_field():
    volume, _ = chest((6, 6, 6))
    with pytest.raises(InputError):
        field_about(CTVolume(volume.array, volume.affine, absent=(30,)), (0.0, 0.0, 0.0))
    broken = volume.array.astype(np.float32)
    broken[30, 40, 40] = np.nan
    with pytest.raises(InputError):
        field_about(CTVolume(broken, volume.affine), (0.0, 0.0, 0.0))


def test_metal_and_contrast_are_no_error():
    volume, _ = chest((6, 6, 6))
    array = volume.array.astype(np.int32)
    array[20:40, 10:20, 10:20] = 30_000
    found = outlined(CTVolume(array, volume.affine))
    assert found.measures.mean_diameter_mm == pytest.approx(12, abs=1.5)


@pytest.mark.parametrize("damage", ["cut", "other", "large", "empty"])
def test_weights_that_are_none_are_refused(tmp_path, damage):
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    if damage == "other":
        save_file({"last.bias": torch.zeros(3)}, path)
    else:
        data = WEIGHTS.read_bytes()
        path.write_bytes({"cut": data[:-100], "large": data + bytes(8 << 20), "empty": b""}[damage])
    with pytest.raises(ModelError, match="damaged"):
        Outliner(path)


def test_the_shipped_weights_are_small_and_finite():
    assert WEIGHTS.stat().st_size < 1 << 20
    network = OutlineNetwork()
    planes = torch.full((2, 48, 48), -800.0)
    assert network.eval()(planes, torch.zeros(2)).shape == (2, 48, 48)
    logits = shipped_outliner().logits(np.full((3, SIDE, SIDE), -800, np.int16), -1.0, 1.0)
    assert logits.dtype == np.int16 and logits.shape == (3, SIDE, SIDE)


def test_the_error_is_that_of_the_band():
    errors = [outline_error_mm(size, spacing) for size in (3, 7, 10, 30) for spacing in (0.5, 1.0, 3.0)]
    assert all(0.3 < error < 8 for error in errors)
    assert outline_error_mm(3.0, 1.0) <= outline_error_mm(30.0, 1.0)
