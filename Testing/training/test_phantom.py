"""The phantom's drawing and writing: determinism, geometry, tissues, resuming. What tells the classes:
test_phantom_classes."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import UsageError
from MAEMCLib.images.ct import check_ct
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.inputs.region import cut_roi
from MAEMCTrainingLib.phantom.anatomy import Anatomy, draw_anatomy, lung_distance, tissue_hu
from MAEMCTrainingLib.phantom.case import (
    HIGHEST_HU,
    LARGEST_MM,
    LOWEST_HU,
    SMALLEST_MM,
    PhantomConfiguration,
    label_of,
    plan_case,
    render_volume,
)
from MAEMCTrainingLib.phantom.nodule import draw_nodule
from MAEMCTrainingLib.phantom.writing import write_phantom

QUICK = PhantomConfiguration(cases=8, seed=5, field="region")


def tissue_at(point, anatomy):
    """HU at a point of the template, whatever the patient's build."""
    return float(tissue_hu(*(np.array([c]) for c in anatomy.patient(np.array(point, dtype=float))), anatomy)[0])


def test_a_case_is_the_same_whatever_the_number_of_cases():
    few, many = (plan_case(3, PhantomConfiguration(cases, seed=5, field="region")) for cases in (4, 400))
    assert render_volume(few).array.tobytes() == render_volume(many).array.tobytes()
    assert np.array_equal(few.grid.affine, many.grid.affine)
    for name in ("center", "label", "diameter_mm"):
        assert getattr(few.nodule, name) == getattr(many.nodule, name)


def test_cases_and_seeds_differ():
    first = plan_case(0, QUICK)
    for other in (plan_case(1, QUICK), plan_case(0, replace(QUICK, seed=6))):
        assert other.nodules[0].center != first.nodules[0].center
        assert other.anatomy != first.anatomy


def test_each_pair_holds_one_of_each_class_in_either_order():
    labels = np.array([label_of(index, 9) for index in range(200)])
    assert (labels[0::2] + labels[1::2] == 1).all()
    assert 25 < labels[0::2].sum() < 75


def test_draws_cover_the_promised_ranges():
    plans = [plan_case(index, PhantomConfiguration(120, 3)) for index in range(120)]
    diameters = np.array([plan.nodules[0].diameter_mm for plan in plans])
    densities = np.array([plan.nodules[0].hu for plan in plans])
    thickness = np.array([plan.grid.thickness_mm for plan in plans])
    pixels = np.array([plan.grid.spacing[0] for plan in plans])
    assert SMALLEST_MM <= diameters.min() < 9.0
    assert 27.0 < diameters.max() <= LARGEST_MM
    assert LOWEST_HU <= densities.min() < -35.0
    assert 65.0 < densities.max() <= HIGHEST_HU
    assert 1.0 <= thickness.min() < 1.2
    assert 2.2 < thickness.max() <= 2.5
    assert 0.6 <= pixels.min() < 0.65
    assert 0.85 < pixels.max() <= 0.9
    sides = np.array([plan.nodules[0].center[0] > 0 for plan in plans])
    assert 30 < sides.sum() < 90  # both lungs


def test_nodules_lie_in_the_lung():
    for index in range(40):
        plan = plan_case(index, QUICK)
        nodule = plan.nodules[0]
        assert lung_distance(np.array([nodule.center]), plan.anatomy)[0] < -0.5 * nodule.diameter_mm


@pytest.mark.parametrize("label", [0, 1])
def test_diameter_is_that_of_the_sphere_of_the_bodys_volume(label):
    """Against counting points: a grid of 0.25 mm, inside where nearer to the center than the surface in that
    direction."""
    nodule = draw_nodule(np.random.default_rng(4), (0.0, 0.0, 0.0), label, "matched", 12.0, 20.0)
    axis = np.arange(-10.0, 10.0, 0.25)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(x * x + y * y + z * z)
    row = np.clip((np.arccos(z / np.maximum(radius, 1e-9)) / np.pi * 48).astype(int), 0, 47)
    column = np.rint(np.arctan2(y, x) / (2 * np.pi) * 96).astype(int) % 96
    inside = radius < nodule.surface[row, column]
    volume = inside.sum() * 0.25**3
    assert (6.0 * volume / np.pi) ** (1 / 3) == pytest.approx(12.0, rel=0.015)
    center = np.array([x[inside].mean(), y[inside].mean(), z[inside].mean()]) + nodule.offset
    assert np.linalg.norm(center) < 0.15


def test_both_classes_draw_the_same_strands_and_the_same_radii():
    """Number, length and taper of strands, and the distribution of the surface's radius over the sphere, are shared."""
    benign, malignant = (
        draw_nodule(np.random.default_rng(8), (0.0, 0.0, 0.0), label, "matched", 20.0, 20.0) for label in (0, 1)
    )
    assert len(benign.strands) == len(malignant.strands) > 20
    for along, outwards in zip(benign.strands, malignant.strands, strict=True):
        lengths = [np.linalg.norm(np.diff(s.points, axis=0), axis=1).sum() for s in (along, outwards)]
        assert lengths[0] == pytest.approx(lengths[1], rel=0.35)  # along a curved surface, and slightly bent
        assert along.radii[[0, -1]] == pytest.approx(outwards.radii[[0, -1]])
    weights = np.sin((np.arange(48) + 0.5) / 48 * np.pi)[:, None] * np.ones(96)
    for quantile in (0.1, 0.3, 0.5, 0.7, 0.9):
        radii = [_weighted_quantile(n.surface.ravel(), weights.ravel(), quantile) for n in (benign, malignant)]
        assert radii[0] == pytest.approx(radii[1], abs=0.12)


def _weighted_quantile(values, weights, quantile):
    order = np.argsort(values)
    return np.interp(quantile, np.cumsum(weights[order]) / weights.sum(), values[order])


def test_strands_radiate_or_run_along_the_surface():
    """The angle between a strand and the radius: small for spicules, near a right angle for the others."""
    for label, (low, high) in ((1, (0.0, 25.0)), (0, (60.0, 90.0))):
        nodule = draw_nodule(np.random.default_rng(3), (0.0, 0.0, 0.0), label, "matched", 18.0, 20.0)
        angles = []
        for strand in nodule.strands:
            run = strand.points[-1] - strand.points[0]
            middle = strand.points[len(strand.points) // 2]
            cosine = abs(run @ middle) / np.linalg.norm(run) / np.linalg.norm(middle)
            angles.append(np.rad2deg(np.arccos(min(cosine, 1.0))))
        assert low <= np.median(angles) <= high


@pytest.mark.parametrize("index", [0, 1, 2, 3])
@pytest.mark.parametrize("oblique", [False, True])
def test_the_point_is_the_nodules_center_of_mass_in_the_file(tmp_path, index, oblique):
    """Read back, and taken from the same scan with a nodule 1000 HU denser: what is left is the nodule's share of
    voxels."""
    plan = plan_case(index, QUICK, oblique=oblique)
    write_volume(render_volume(plan), tmp_path / "case.nrrd")
    volume = read_volume(tmp_path / "case.nrrd")
    check_ct(volume)
    nodule = plan.nodules[0]
    denser = render_volume(replace(plan, nodules=(replace(nodule, hu=nodule.hu + 1000.0),)))
    mass = denser.array.astype(float) - volume.array
    k, j, i = np.indices(mass.shape)
    center = volume.to_lps(np.array([[(mass * axis).sum() / mass.sum() for axis in (i, j, k)]]))[0]
    assert np.linalg.norm(center - plan.nodules[0].center) < 1.0
    at_point = volume.array[tuple(np.rint(volume.to_index(np.array(plan.nodules[0].center)))[::-1].astype(int))]
    assert at_point == pytest.approx(plan.nodules[0].hu, abs=130.0)
    assert cut_roi(volume, plan.nodules[0].center).padded_fraction < (0.02 if not oblique else 0.15)


def test_the_small_field_is_the_whole_chest_looked_at_closely():
    """The same patient in the two fields: with noise and blur off, voxels of the crop are those of the chest."""
    plan = plan_case(2, QUICK)
    quiet = replace(plan, scan=replace(plan.scan, noise_hu=0.0, blur_mm=1e-3))
    large = render_volume(quiet).array
    shift, size = (11, 9, 5), (24, 26, 12)
    origin = np.asarray(quiet.grid.origin) + np.asarray(shift) * quiet.grid.spacing
    part = replace(quiet, grid=replace(quiet.grid, size=size, origin=tuple(origin)))
    i, j, k = shift
    inner = large[k : k + size[2], j : j + size[1], i : i + size[0]].astype(float)
    difference = np.abs(render_volume(part).array - inner)
    assert np.percentile(difference, 99.5) <= 1.0
    assert difference.max() < 40.0


def test_slices_average_over_their_thickness():
    """A small bright nodule under a thick slice fades as its share of the thickness."""
    plan = plan_case(4, QUICK)
    nodule = draw_nodule(np.random.default_rng(1), plan.nodules[0].center, 0, "easy", 7.0, 80.0)
    peaks = {}
    for thickness in (1.0, 14.0):
        grid = replace(plan.grid, thickness_mm=thickness, spacing=(0.7, 0.7, 1.0), size=(70, 70, 40))
        origin = np.asarray(nodule.center) - 0.5 * (np.asarray(grid.size) - 1) * grid.spacing
        scan = replace(plan.scan, noise_hu=0.0)
        part = replace(plan, nodules=(nodule,), grid=replace(grid, origin=tuple(origin)), scan=scan)
        volume = render_volume(part)
        k, j, i = np.rint(volume.to_index(np.array(nodule.center)))[::-1].astype(int)
        peaks[thickness] = float(volume.array[k, j - 1 : j + 2, i - 1 : i + 2].mean())
    assert peaks[1.0] == pytest.approx(80.0, abs=15.0)
    assert peaks[14.0] == pytest.approx(80.0 * 0.5 - 850.0 * 0.5, abs=90.0)


TISSUES = [
    # name, template point (LPS mm), lowest and highest HU
    ("air before the chest", (0.0, -124.0, 0.0), -1000.0, -1000.0),
    ("trachea", (0.0, 18.0, 60.0), -1001.0, -980.0),
    ("right lung", (-85.0, 10.0, 20.0), -900.0, -790.0),
    ("left lung", (90.0, 30.0, 30.0), -900.0, -790.0),
    ("descending aorta", (24.0, 41.5, -10.0), 38.0, 215.0),
    ("ascending aorta", (-17.0, -21.0, 10.0), 38.0, 215.0),
    ("left ventricle", (42.0, -34.0, -76.0), 38.0, 215.0),
    ("liver", (-80.0, 0.0, -120.0), 48.0, 120.0),
    ("marrow of a vertebra", (0.0, 59.0, 24.0), 110.0, 270.0),
    ("spinal cord", (0.0, 82.5, 0.0), 10.0, 45.0),
    ("disc", (0.0, 58.0, 12.0), 70.0, 100.0),
    ("muscles of the back", (24.0, 108.0, -10.0), 40.0, 66.0),
]


@pytest.mark.parametrize(("name", "point", "low", "high"), TISSUES, ids=[row[0] for row in TISSUES])
def test_tissues_have_their_density_in_every_patient(name, point, low, high):
    for seed in range(12):
        anatomy = draw_anatomy(np.random.default_rng(seed))
        assert low <= tissue_at(point, anatomy) <= high, f"{name}, patient {seed}"


def test_ribs_fat_and_skin_follow_each_other_outwards():
    """Along a ray to the left: lung, then bone of a rib somewhere near this level, then fat, then air."""
    anatomy = Anatomy()
    z = np.arange(-30.0, 30.0, 0.5)
    x = np.arange(100.0, 190.0, 0.5)
    hu = tissue_hu(x[None, :], np.full((1, 1), 6.0), z[:, None], anatomy)
    assert (hu[:, 0] < -700).all()
    assert (hu[:, -1] == -1000).all()
    bone = hu > 300
    assert 2 <= np.diff(bone.any(axis=1).astype(int)).clip(0).sum() + bone.any(axis=1)[0] <= 4  # ribs, 24 mm apart
    outer_fat = (hu > -115) & (hu < -85)
    assert (np.argmax(bone.any(axis=0)) < np.flatnonzero(outer_fat.any(axis=0)).max()).all()


def test_noise_is_as_strong_as_drawn_and_has_a_grain():
    plan = plan_case(6, QUICK)
    quiet = replace(plan, nodules=(), scan=replace(plan.scan, noise_hu=0.0))
    loud = replace(plan, nodules=(), scan=replace(plan.scan, noise_hu=20.0, grain_mm=0.7))
    tissue = render_volume(quiet).array
    noise = (render_volume(loud).array - tissue.astype(float))[:, 5:-5, 5:-5]
    inside = tissue[:, 5:-5, 5:-5] > -890
    assert noise[inside].std() == pytest.approx(20.0, rel=0.06)
    pairs = inside[:, :, 1:] & inside[:, :, :-1]
    in_plane = np.corrcoef(noise[:, :, 1:][pairs], noise[:, :, :-1][pairs])[0, 1]
    pairs = inside[1:] & inside[:-1]
    between = np.corrcoef(noise[1:][pairs], noise[:-1][pairs])[0, 1]
    assert in_plane > 0.4  # a kernel's grain in the plane, none between slices
    assert abs(between) < 0.05


@pytest.mark.parametrize(
    ("values", "said"),
    [({"cases": 0}, "0 cases"), ({"grade": "hard"}, "'hard'"), ({"field": "head"}, "'head'"), ({"seed": -1}, "-1")],
)
def test_settings_that_are_none_are_refused(values, said):
    with pytest.raises(UsageError, match=said):
        PhantomConfiguration(**values)


def test_writing_continues_where_it_stopped_and_mends(tmp_path):
    told = []
    path = write_phantom(
        tmp_path / "set", 3, seed=2, field="region", progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    rows = read_manifest(path).rows
    assert [row.case_id for row in rows] == ["PHANTOM-2-0001", "PHANTOM-2-0002", "PHANTOM-2-0003"]
    before = {row.case_id: (row.image.read_bytes(), row.image.stat().st_mtime_ns) for row in rows}
    rows[0].image.unlink()
    rows[1].image.write_bytes(before["PHANTOM-2-0002"][0][:5000])  # as after a full disk
    path = write_phantom(tmp_path / "set", 4, seed=2, field="region")
    after = read_manifest(path).rows
    assert len(after) == 4
    for row in after[:3]:
        assert row.image.read_bytes() == before[row.case_id][0]
    assert after[2].image.stat().st_mtime_ns == before["PHANTOM-2-0003"][1]  # not written again
    assert after[:3] == rows
    names = sorted(p.name for p in (tmp_path / "set" / "images").iterdir())
    assert names == [f"PHANTOM-2-000{n}.nrrd" for n in (1, 2, 3, 4)]  # and nothing left over


def test_the_files_hold_what_the_manifest_says(tmp_path):
    rows = read_manifest(write_phantom(tmp_path / "set", 2, seed=5, field="region")).rows
    for index, row in enumerate(rows):
        plan = plan_case(index, QUICK)
        volume, expected = read_volume(row.image), render_volume(plan)
        assert np.array_equal(volume.array, expected.array)
        assert np.allclose(volume.affine, expected.affine, atol=1e-6)
        assert row.point_lps == pytest.approx(plan.nodule.center, abs=1e-3)
        assert (row.label, row.patient_id) == (plan.nodule.label, plan.case_id)
        assert row.diameter_mm == pytest.approx(plan.nodule.diameter_mm, abs=0.01)


def test_several_processes_write_the_same(tmp_path):
    alone = read_manifest(write_phantom(tmp_path / "alone", 4, seed=5, field="region")).rows
    shared = read_manifest(write_phantom(tmp_path / "shared", 4, seed=5, field="region", processes=2)).rows
    for one, other in zip(alone, shared, strict=True):
        assert one.image.read_bytes() == other.image.read_bytes()


def test_another_phantom_in_the_folder_is_not_mixed_with(tmp_path):
    write_phantom(tmp_path / "set", 1, seed=2, field="region")
    with pytest.raises(UsageError, match="other settings"):
        write_phantom(tmp_path / "set", 1, seed=3, field="region")
    shutil.rmtree(tmp_path / "set")
    write_phantom(tmp_path / "set", 1, seed=3, field="region")


def test_default_cases_are_small_enough_for_hundreds(tmp_path):
    rows = read_manifest(write_phantom(tmp_path / "set", 6, seed=1)).rows
    sizes = [row.image.stat().st_size for row in rows]
    assert np.mean(sizes) < 1.3e6
    for row in rows:
        volume = read_volume(row.image)
        sides = volume.size * volume.spacing
        assert (sides >= (84.0, 84.0, 76.0)).all()
        assert (sides < (86.0, 86.0, 79.0)).all()
