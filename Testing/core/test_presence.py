"""Whether a point lies in a nodule: rules on its surroundings, the patch that is seen, and the shipped detector."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.applicability import Finding
from MAEMCLib.errors import InputError, ModelError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.presence.detector import WEIGHTS, Detector, scaled, shipped_detector
from MAEMCLib.presence.findings import presence_finding, present
from MAEMCLib.presence.patch import PIXELS, SIDE_MM, STEP_MM, Patch, cut_patch
from MAEMCLib.presence.rules import NO_LUNG, UNBOUNDED, surroundings


def chest(side_mm=140, spacing=2.0, hu=-860.0):
    """A cube of lung about (0, 0, 0), and (slices, rows, columns, 3) LPS mm of its voxels."""
    count = round(side_mm / spacing)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -spacing * (count - 1) / 2
    k, j, i = np.meshgrid(*[np.arange(count)] * 3, indexing="ij")
    where = np.stack([i, j, k], axis=-1) * spacing + affine[:3, 3]
    noise = np.random.default_rng(0).normal(0.0, 20.0, (count,) * 3)
    return CTVolume((hu + noise).astype(np.float32), affine), where


def codes(volume, point=(0.0, 0.0, 0.0)):
    return {finding.code for finding in surroundings(volume, point)}


@pytest.mark.parametrize("radius", [0, 1.5, 8, 30])  # 3 mm to the mass of 60 mm
def test_what_ends_in_lung_is_not_ruled_out(radius):
    volume, where = chest()
    volume.array[np.linalg.norm(where, axis=-1) < radius] = 40.0
    assert codes(volume) == set()


def test_an_organ_has_no_border_near_and_no_lung():
    volume, where = chest(hu=45.0)
    volume.array[where[..., 2] > 60.0] = -860.0  # lung far above
    assert codes(volume) == {NO_LUNG, UNBOUNDED}
    assert codes(volume, (0.0, 0.0, 30.0)) == {UNBOUNDED}  # lung within reach, but in few directions


def test_air_outside_of_the_patient_is_no_lung():
    volume, where = chest(hu=-1000.0)
    volume.array[np.linalg.norm(where, axis=-1) < 20.0] = 40.0
    volume.array[:] = np.where(volume.array < -500.0, -1000.0, volume.array)
    assert codes(volume) == {NO_LUNG}


def test_a_nodule_at_the_wall_is_not_ruled_out():
    volume, where = chest()
    volume.array[where[..., 0] > 4.0] = 40.0
    volume.array[np.linalg.norm(where, axis=-1) < 6.0] = 40.0
    assert codes(volume) == set()


@pytest.mark.parametrize("slices", [1, 3])
def test_few_slices_rule_nothing_out_that_they_do_not_show(slices):
    volume, where = chest()
    volume.array[np.linalg.norm(where, axis=-1) < 8.0] = 40.0
    affine = volume.affine.copy()
    low = len(volume.array) // 2
    affine[:3, 3] = volume.to_lps(np.array([0, 0, low]))
    assert codes(CTVolume(volume.array[low : low + slices], affine), affine[:3, 3] + [69.0, 69.0, 0.0]) == set()


def test_a_patch_is_what_lies_at_its_places():
    affine = np.diag([0.7, 0.7, 1.25, 1.0])
    k, j, i = np.meshgrid(np.arange(30), np.arange(90), np.arange(90), indexing="ij")
    ramp = (2.0 * i * 0.7 + 3.0 * j * 0.7 - 5.0 * k * 1.25).astype(np.float32)
    found = cut_patch(CTVolume(ramp, affine), (31.0, 29.0, 17.0))
    offsets = (np.arange(PIXELS) - (PIXELS - 1) / 2) * SIDE_MM / PIXELS
    z, y, x = np.meshgrid(17.0 + STEP_MM * np.array([-1, 0, 1]), 29.0 + offsets, 31.0 + offsets, indexing="ij")
    assert np.abs(found.hu - (2 * x + 3 * y - 5 * z)).max() <= 0.51 and found.observed.all()


def test_slices_that_a_slab_lacks_are_not_observed():
    affine = np.diag([0.7, 0.7, 1.25, 1.0])
    volume = CTVolume(np.full((1, 90, 90), -800.0, np.float32), affine)
    assert cut_patch(volume, (31.0, 31.0, 0.0)).observed.tolist() == [False, True, False]
    two = CTVolume(np.full((2, 90, 90), -800.0, np.float32), affine)
    assert cut_patch(two, (31.0, 31.0, 0.0)).observed.tolist() == [False, True, True]


def patches(volume, points):
    return [cut_patch(volume, point) for point in points]


def test_the_detector_tells_a_nodule_from_lung_organ_and_border():
    volume, where = chest(side_mm=110, spacing=1.0)
    volume.array[np.linalg.norm(where, axis=-1) < 6.0] = 40.0
    volume.array[where[..., 0] > 35.0] = 40.0
    nodule, beside, lung, organ = shipped_detector().presence(
        patches(volume, [(0, 0, 0), (2, 1, 0.5), (-30, -20, 10), (50, 0, 0)])
    )
    assert min(nodule, beside) > 0.5 > max(lung, organ)
    assert shipped_detector().presence(patches(volume, [(54.0, 54.0, 54.0)]))[0] < 0.5  # the volume's corner


def test_a_number_does_not_depend_on_what_else_is_asked():
    volume, where = chest(side_mm=60, spacing=1.0)
    volume.array[np.linalg.norm(where, axis=-1) < 5.0] = 40.0
    asked = patches(volume, [(0, 0, 0), (8, 0, 0), (3, 3, 3)])
    together = shipped_detector().presence(asked)
    assert [shipped_detector().presence([one])[0] for one in asked] == pytest.approx(together, abs=1e-6)
    assert shipped_detector().presence([]) == []


def test_turned_and_mirrored_it_is_the_same_nodule():
    volume, where = chest(side_mm=60, spacing=1.0)
    volume.array[np.linalg.norm(where - [3, -2, 0], axis=-1) < 5.0] = 40.0
    (patch,) = patches(volume, [(0, 0, 0)])
    ways = [np.rot90(patch.hu, quarter, (1, 2)) for quarter in range(4)]
    ways += [one[:, :, ::-1] for one in ways]
    hu = torch.from_numpy(np.stack(ways).astype(np.float32))
    member, observed = shipped_detector().members[0], torch.ones(8, 3, dtype=torch.bool)
    assert np.ptp(member.judged(hu, observed).numpy()) < 1e-4 < 0.1 < np.ptp(member(hu, observed).numpy())


def test_what_is_not_observed_does_not_count():
    volume, where = chest(side_mm=60, spacing=1.0)
    volume.array[np.linalg.norm(where, axis=-1) < 5.0] = 40.0
    (patch,) = patches(volume, [(0, 0, 0)])
    hidden = replace(patch, observed=np.array([False, True, False]))
    changed = hidden.hu.copy()
    changed[[0, 2]] = 3000
    assert shipped_detector().presence([hidden]) == shipped_detector().presence([replace(hidden, hu=changed)])


def test_half_is_the_threshold():
    logits = np.array([-3.0, -1.0, 0.0])
    assert scaled(logits, -1.0)[1] == 0.5 and (np.diff(scaled(logits, -1.0)) > 0).all()


@pytest.mark.parametrize("damage", ["empty", "cut", "other"])
def test_damaged_weights_are_refused(tmp_path, damage):
    from safetensors.torch import load_file, save_file

    path, data = tmp_path / "presence.safetensors", WEIGHTS.read_bytes()
    path.write_bytes({"empty": b"", "cut": data[: len(data) // 2]}.get(damage, data))
    if damage == "other":
        tensors = load_file(WEIGHTS)
        save_file({name: one for name, one in tensors.items() if not name.endswith("head.weight")}, path)
    with pytest.raises(ModelError, match="Install MAEMC again"):
        Detector(path)


def test_weights_are_small():
    assert WEIGHTS.stat().st_size < 600_000


def test_a_patch_goes_to_a_worker_and_back():
    patch = Patch(np.arange(3 * PIXELS * PIXELS, dtype=np.int16).reshape(3, PIXELS, PIXELS), np.array([1, 0, 1]) > 0)
    back = Patch.of(patch.arrays())
    assert np.array_equal(back.hu, patch.hu) and np.array_equal(back.observed, patch.observed)
    for wrong in ({}, {"hu": patch.hu}, {"hu": patch.hu[:2], "observed": np.ones(3)}):
        with pytest.raises(InputError, match="A patch has"):
            Patch.of(wrong)


def test_what_is_said_of_a_point():
    ruled = [Finding("red", UNBOUNDED, "...")]
    assert present(0.9, ruled) == 0.0 and present(0.9, []) == 0.9 and present(None, []) is None
    assert presence_finding(0.9, []) is None and presence_finding(None, []) is None
    assert presence_finding(0.0, ruled) is None  # said already
    assert presence_finding(0.2, []).color == "red" and "0.20" in presence_finding(0.2, []).message
