"""The detector's points: tissues by rule, slabs laid over each other, clicks in nodules and in none, and a training."""

import csv
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import write_volume
from MAEMCLib.presence.detector import Detector
from MAEMCLib.presence.patch import SIDE_MM, cut_patch
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.presence import run
from MAEMCTrainingLib.presence.gathering import PointSet
from MAEMCTrainingLib.presence.overlay import lay_over
from MAEMCTrainingLib.presence.points import APART_MM, NODULE, OUTSIDE_MM, draw_points, stored
from MAEMCTrainingLib.presence.run import FOLDS, patient_parts
from MAEMCTrainingLib.presence.tissue import KINDS, tissue_masks
from MAEMCTrainingLib.presence.training import Patches, _weights, logits_of, train
from scipy.ndimage import distance_transform_edt, gaussian_filter

PIXEL_MM = 0.7
SIDE = 92


def slice_of_lung(seed=0):
    """Wall with a rib on the left, mediastinum on the right, vessels and a fissure in the lung between, by pixel."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(-860.0, 20.0, (SIDE, SIDE))
    hu[:, :20] = 40.0
    hu[30:40, 5:11] = 600.0
    hu[:, 78:] = 45.0
    for row, column in ((20, 40), (60, 35), (70, 60)):
        rows, columns = np.ogrid[:SIDE, :SIDE]
        hu[np.hypot(rows - row, columns - column) < 2.5] = 30.0
    hu[45:46, 30:70] = -640.0
    return gaussian_filter(hu, 0.6)


def test_tissues_are_told_by_attenuation_and_shape():
    masks = tissue_masks(slice_of_lung(), PIXEL_MM)
    places = {"wall": (50, 8), "mediastinum": (50, 85), "vessel": (20, 40), "fissure": (45, 50), "lung": (32, 55)}
    for kind, place in places.items():
        assert [name for name in KINDS if masks[name][place]] == [kind]
    assert sum(mask.astype(int) for mask in masks.values()).max() == 1  # none overlaps another


def test_air_outside_of_the_patient_is_no_tissue():
    hu = slice_of_lung()
    hu[:, :3] = 40.0
    hu[:25, 25:70] = -1000.0
    masks = tissue_masks(hu, PIXEL_MM)
    assert not any(mask[3:20, 35:60].any() for mask in masks.values())


def texture(seed, slices=6, side=150):
    """A CT's slices, each its own, with structures as lung has them."""
    noise = np.random.default_rng(seed).normal(0.0, 1.0, (slices, side, side))
    return np.clip(-850.0 + 6000.0 * np.clip(gaussian_filter(noise, (0, 1.5, 1.5)), 0, None), -1000, 300)


def slab(source, first, low, side=70, gain=1.0):
    """Slices from ``first`` on, pixels from ``low`` = (row, column) on, with another scale of attenuation."""
    rows, columns = (slice(start, start + side) for start in low)
    array = (source[first : first + 3, rows, columns] + 850.0) * gain - 850.0
    return CTVolume(array.astype(np.float32), np.diag([PIXEL_MM, PIXEL_MM, 1.25, 1.0]))


def marked(shape, place):
    mask = np.zeros(shape, np.uint8)
    mask[:, place[0] : place[0] + 6, place[1] : place[1] + 6] = 2
    return mask


def test_another_nodule_of_the_patient_is_found_where_slabs_overlap():
    source = texture(0)
    first, second = slab(source, 0, (0, 0)), slab(source, 2, (20, 35), gain=1.15)
    masks = [marked(first.array.shape, (5, 5)), marked(second.array.shape, (10, 10))]
    found = lay_over([first, second], masks)
    assert [one.overlapping for one in found] == [1, 1] and not any(one.unchecked for one in found)
    expected = masks[0] > 0
    expected[2, 30:36, 45:51] = True  # slice 2 of the first is slice 0 of the second, 20 rows and 35 columns aside
    assert np.array_equal(found[0].marked, expected)
    assert np.array_equal(found[1].marked, masks[1] > 0)  # the first one's nodule lies outside of the second


def test_slabs_that_share_nothing_stay_as_they_are():
    first, second, other = slab(texture(1), 0, (0, 0)), slab(texture(2), 0, (0, 0)), slab(texture(1), 3, (0, 0))
    masks = [marked(one.array.shape, (30, 30)) for one in (first, second, other)]
    found = lay_over([first, second, other], masks)
    assert all(
        np.array_equal(one.marked, mask > 0) and one.overlapping == 0 for one, mask in zip(found, masks, strict=True)
    )


def test_slabs_of_other_pixels_are_not_checked_and_said_to_be():
    first = slab(texture(1), 0, (0, 0))
    other = CTVolume(first.array, np.diag([0.8, 0.8, 1.25, 1.0]))
    masks = [marked(first.array.shape, (30, 30))] * 2
    assert [one.unchecked for one in lay_over([first, other], masks)] == [True, True]


def nodule_slab(seed=0, slices=5):
    array = np.stack([slice_of_lung(seed * 10 + n) for n in range(slices)]).astype(np.float32)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    inside = np.hypot(rows - 46, columns - 46) < 6
    array[:, inside] = 20.0
    affine = np.diag([PIXEL_MM, PIXEL_MM, 1.25, 1.0])
    affine[:3, 3] = [-46 * PIXEL_MM, -46 * PIXEL_MM, -1.25 * (slices - 1) / 2]
    mask = np.zeros(array.shape, np.uint8)
    mask[:, inside] = 3
    return CTVolume(array, affine), mask


ROW = {"file": "P-1_nod0.nrrd", "patient": "P-1", "long_axial_mm": "8.4", "n_readers": "4"}


def test_points_lie_where_they_say():
    volume, mask = nodule_slab()
    other = mask > 0
    other[:, 60:66, 35:41] = True  # a second nodule, known from another slab
    (overlaid,) = lay_over([volume], [other])
    points = draw_points(volume, mask, overlaid, 0, ROW, 0)
    apart = distance_transform_edt(~other, sampling=volume.spacing[::-1])
    beside = distance_transform_edt(mask == 0, sampling=volume.spacing[::-1])
    assert {point.kind for point in points} <= {NODULE, *KINDS}
    assert sum(point.kind == NODULE for point in points) * 2 == sum(point.kind != NODULE for point in points) == 6
    for point in points:
        index = np.rint(volume.to_index(np.array(point.lps))).astype(int)[::-1]
        assert stored(volume, np.array([point.lps]))[0]
        half = SIDE_MM / 2
        assert all(abs(value) + half <= 46.5 * PIXEL_MM + 1e-6 for value in point.lps[:2])
        if point.kind == NODULE:
            assert beside[tuple(index)] <= OUTSIDE_MM + 1e-6
            assert np.allclose(np.add(point.lps, point.middle), (0, 0, 0), atol=0.4)
        else:
            assert apart[tuple(index)] >= APART_MM - 1e-6
    heights = {kind: sorted({p.lps[2] for p in points if (p.kind == NODULE) == kind}) for kind in (True, False)}
    assert heights[True] == heights[False]  # both classes from the same slices


def test_draws_are_repeated_by_the_seed_alone():
    volume, mask = nodule_slab()
    (overlaid,) = lay_over([volume], [mask])
    first, again, other = (draw_points(volume, mask, overlaid, 0, ROW, seed) for seed in (0, 0, 1))
    assert [p.lps for p in first] == [p.lps for p in again] != [p.lps for p in other]


def test_patients_are_in_one_fold():
    parts, inner = patient_parts([f"P{n}" for n in range(40)] * 2, 0)
    assert sorted(set(parts.values())) == list(range(FOLDS)) and 0 < sum(inner.values()) < 20


def test_large_nodules_count_more_and_what_is_none_does_not():
    nodule = np.array([True, True, True, True, False])
    assert _weights(nodule, np.array([5.0, 9.9, 10.0, 20.0, 30.0])).tolist() == [1.0, 1.0, 2.0, 3.0, 1.0]


def test_a_network_learns_balls_from_lung():
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:32, :32]
    ball = np.hypot(rows - 15.5, columns - 15.5) < 5
    nodule = rng.random(128) < 0.5
    hu = rng.normal(-850.0, 40.0, (128, 3, 32, 32))
    hu[nodule] = np.where(ball, 30.0, hu[nodule])
    patches = Patches(hu.astype(np.int16), np.ones((128, 3), bool), nodule)
    told = []
    logits = logits_of(train(patches, np.full(128, 8.0), 0, told.append), patches)
    assert logits[nodule].min() > logits[~nodule].max() and len(told) > 3


def test_the_command_makes_weights_and_figures_and_goes_on_where_it_was(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("MAEMCTrainingLib.presence.training.EPOCHS", 3)
    monkeypatch.setattr(run, "organ_points", cache(run.organ_points))  # a whole chest, the same each time
    slabs, cubes = tmp_path / "slabs", tmp_path / "cubes"
    for folder in (slabs, cubes):
        for name in ("images", "masks"):
            (folder / name).mkdir(parents=True)
    rows = []
    for n in range(24):
        volume, mask = nodule_slab(n)
        row = ROW | {"file": f"P-{n}_nod0.nrrd", "patient": f"P-{n}"}
        write_volume(volume, slabs / "images" / row["file"])
        write_volume(CTVolume(mask.astype(np.int16), volume.affine), slabs / "masks" / row["file"])
        rows.append(row)
    _table(slabs / "labels.csv", rows)
    for part in ("images", "masks"):
        (cubes / part / "P-0_nod0.nrrd").write_bytes((slabs / part / "P-0_nod0.nrrd").read_bytes())
    _table(cubes / "labels.csv", [{"file": "P-0_nod0.nrrd", "patient": "P-0", "eq_diam_mask_mm": "8.4"}])
    words = ["presence", str(slabs), "--cubes", str(cubes), "--output", str(tmp_path / "out")]
    assert main(words) == 0
    assert "no nodule: vessel" in capsys.readouterr().out
    figures = json.loads((tmp_path / "out" / "presence.json").read_text())
    assert figures["points"][NODULE] == 72 and figures["auc_of_place_and_pattern"] < 0.7
    drawn = PointSet.load(tmp_path / "out" / "slabs.npz")
    assert drawn.points[0].patient == "P-0" and len(drawn.features) == len(drawn.points) == 216
    patch = cut_patch(nodule_slab()[0], drawn.points[0].lps)
    assert np.array_equal(drawn.patches.hu[0], patch.hu)
    assert len(Detector(tmp_path / "out" / "presence.safetensors").presence([patch])) == 1
    before = [path.stat().st_mtime_ns for path in sorted((tmp_path / "out").glob("member-*"))]
    (tmp_path / "out" / "presence.json").unlink()
    assert main([*words, "--quiet"]) == 0
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "out").glob("member-*"))] == before
    assert json.loads((tmp_path / "out" / "presence.json").read_text()) == figures


@pytest.mark.parametrize("missing", ["labels.csv", "masks/P-1_nod0.nrrd"])
def test_a_folder_that_is_none_is_named(tmp_path, missing, capsys):
    for part, volume in zip(("images", "masks"), nodule_slab(), strict=True):
        (tmp_path / part).mkdir()
        made = volume if isinstance(volume, CTVolume) else CTVolume(volume.astype(np.int16), np.eye(4))
        write_volume(made, tmp_path / part / ROW["file"])
    _table(tmp_path / "labels.csv", [ROW])
    (tmp_path / missing).unlink()
    words = ["presence", str(tmp_path), "--cubes", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(words) == 3
    assert Path(missing).name in capsys.readouterr().err


def _table(path, rows):
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
