"""The cache against scoring's own region, its resuming and its refusals."""

import dataclasses
import json
import time

import numpy as np
import pytest
from MAEMCLib.ct import CTVolume, read_volume, write_volume
from MAEMCLib.errors import InputError
from MAEMCLib.manifest import read_manifest
from MAEMCLib.roi import cut_roi
from MAEMCTrainingLib.data import cache as cache_module
from MAEMCTrainingLib.data.augmentation import View, crop
from MAEMCTrainingLib.data.cache import SourceCase, build_cache, open_cache
from MAEMCTrainingLib.data.cohort import join
from MAEMCTrainingLib.data.sources import open_data, source_cases


def oblique_volume() -> CTVolume:
    """An anisotropic, rotated volume with structure everywhere."""
    draws = np.random.default_rng(0)
    array = draws.normal(-700, 250, size=(60, 100, 110)).astype(np.int16)
    angle = 0.2
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([0.8, 0.9, 1.7])
    affine[:3, 3] = [-30, -60, -40]
    return CTVolume(array, affine, "oblique")


def two_cases(tmp_path, near_edge=False):
    image = tmp_path / "CT mit Ö.nrrd"
    volume = oblique_volume()
    write_volume(volume, image)
    center = volume.to_lps(np.array([[55.0, 50.0, 30.0]]))[0]
    edge = volume.to_lps(np.array([[14.0, 50.0, 12.0]]))[0] if near_edge else center + np.array([3.3, -2.1, 1.7])
    return [
        SourceCase("a", "p", image, tuple(center.tolist()), 1, 12.0),
        SourceCase("b", "p", image, tuple(edge.tolist()), 0, None),
    ]


def test_central_crop_is_the_region_that_scoring_cuts(tmp_path):
    cases = two_cases(tmp_path, near_edge=True)
    cache = build_cache(cases, tmp_path / "cache", tmp_path / "home", processes=1)
    assert [case.case_id for case in cache.cases] == ["a", "b"]
    for case, entry in zip(cases, cache.cases, strict=True):
        roi = cut_roi(read_volume(case.image), case.point_lps)
        for plane, stack in enumerate((roi.axial, roi.coronal)):
            hu, _ = crop(cache.stacks(entry), plane, View())
            assert np.abs(hu - stack).max() <= 0.5 + 1e-3
        assert entry.padded_fraction == roi.padded_fraction
    assert cache.cases[1].padded_fraction > 0.05  # the case near the edge does test padding


@pytest.mark.parametrize("shift", [(5, -5, 5), (-3, 4, 0), (0, 0, -5)])
def test_shifted_crop_is_the_region_about_the_shifted_point(tmp_path, shift):
    case = two_cases(tmp_path, near_edge=True)[1]
    cache = build_cache([case], tmp_path / "cache", tmp_path / "home", processes=1)
    moved = tuple((np.array(case.point_lps) + shift).tolist())
    roi = cut_roi(read_volume(case.image), moved)
    shares = []
    for plane, stack in enumerate((roi.axial, roi.coronal)):
        hu, outside = crop(cache.stacks(cache.cases[0]), plane, View(shift))
        shares.append(outside)
        assert np.abs(hu - stack).max() <= 0.5 + 1e-3
    assert np.mean(shares) == pytest.approx(roi.padded_fraction, abs=2e-3)


def test_slice_step_of_two_keeps_shifts_exact(tmp_path):
    case = two_cases(tmp_path)[0]
    cache = build_cache([case], tmp_path / "cache", tmp_path / "home", slice_step_mm=2, processes=1)
    shift = (3, -4, 2)
    roi = cut_roi(read_volume(case.image), tuple((np.array(case.point_lps) + shift).tolist()), 2.0)
    for plane, stack in enumerate((roi.axial, roi.coronal)):
        hu, _ = crop(cache.stacks(cache.cases[0]), plane, View(shift), 2)
        assert np.abs(hu - stack).max() <= 0.5 + 1e-3


def test_cubes_agree_with_scoring(lidc_cubes, tmp_path):
    images = sorted((lidc_cubes / "images").glob("*.nrrd"))[:3]
    cases = [SourceCase(image.stem, image.stem, image, (0.0, 0.0, 0.0)) for image in images]
    cache = build_cache(cases, tmp_path / "cache", tmp_path / "home", processes=1)
    for case, entry in zip(cases, cache.cases, strict=True):
        roi = cut_roi(read_volume(case.image), case.point_lps)
        assert np.abs(crop(cache.stacks(entry), 0, View())[0] - roi.axial).max() <= 0.5 + 1e-3
        assert entry.margin_padded > entry.padded_fraction == 0


def count_reads(monkeypatch) -> list:
    reads = []
    original = cache_module.read_volume
    monkeypatch.setattr(cache_module, "read_volume", lambda *a, **k: reads.append(a[0]) or original(*a, **k))
    return reads


def test_a_volume_is_read_once_and_nothing_is_cut_again(tmp_path, monkeypatch):
    reads = count_reads(monkeypatch)
    cases = two_cases(tmp_path)
    folder, home = tmp_path / "cache", tmp_path / "home"
    first = build_cache(cases, folder, home, processes=1)
    assert len(reads) == 1
    assert build_cache(cases, folder, home, processes=1) == first
    # A changed label is news for the index, not for the voxels; new times with the same content neither.
    relabeled = [dataclasses.replace(case, label=1) for case in cases]
    assert [c.label for c in build_cache(relabeled, folder, home, processes=1).cases] == [1, 1]
    cases[0].image.touch()
    build_cache(cases, folder, home, processes=1)
    assert len(reads) == 1


def test_what_changed_is_cut_again(tmp_path, monkeypatch):
    reads = count_reads(monkeypatch)
    cases = two_cases(tmp_path)
    folder, home = tmp_path / "cache", tmp_path / "home"
    before = build_cache(cases, folder, home, processes=1)
    time.sleep(0.01)
    volume = read_volume(cases[0].image)
    write_volume(CTVolume(volume.array + 7, volume.affine, "changed"), cases[0].image)
    after = build_cache(cases, folder, home, processes=1)
    assert after.cases[0].sha256 != before.cases[0].sha256
    (folder / after.cases[1].file).write_bytes(b"damaged")
    repaired = build_cache(cases, folder, home, processes=1)
    assert repaired.cases == after.cases
    moved = [cases[0], dataclasses.replace(cases[1], point_lps=cases[0].point_lps)]
    assert build_cache(moved, folder, home, processes=1).cases[1].sha256 == after.cases[0].sha256
    assert build_cache(cases, folder, home, slice_step_mm=2, processes=1).settings["slice_step_mm"] == 2
    assert len(reads) == 5  # first, content, damage, point, settings
    build_cache(cases[:1], folder, home, slice_step_mm=2, processes=1)
    assert len(list(folder.glob("*.npy"))) == 1  # what the manifest no longer names is removed


def test_processes_build_the_same_cache(balls, ball_cache, tmp_path):
    cases = source_cases(read_manifest(balls))[:5]
    cache = build_cache(cases, tmp_path / "cache", tmp_path / "home", processes=2)
    assert [c.sha256 for c in cache.cases] == [c.sha256 for c in ball_cache.cases[:5]]


def test_a_bad_case_is_left_out_with_its_reason(tmp_path):
    good, other = two_cases(tmp_path)
    broken = tmp_path / "broken.nrrd"
    broken.write_bytes(b"NRRD0004\nnothing")
    cases = [
        good,
        dataclasses.replace(other, case_id="far", point_lps=(900.0, 0.0, 0.0)),
        SourceCase("broken", "q", broken, (0.0, 0.0, 0.0)),
        SourceCase("gone", "r", tmp_path / "gone.nrrd", (0.0, 0.0, 0.0)),
    ]
    cache = build_cache(cases, tmp_path / "cache", tmp_path / "home", processes=1)
    assert [case.case_id for case in cache.cases] == ["a"]
    assert [case["case_id"] for case in cache.left_out] == ["far", "broken", "gone"]
    assert "outside the volume" in cache.left_out[0]["reason"]
    with pytest.raises(InputError, match="None of the 1 cases"):
        build_cache(cases[1:2], tmp_path / "other", tmp_path / "home", processes=1)


def test_a_case_named_twice_is_refused(tmp_path):
    case = two_cases(tmp_path)[0]
    with pytest.raises(InputError, match="more than once: a"):
        build_cache([case, case], tmp_path / "cache", tmp_path / "home")


def test_damage_is_found_on_opening(tmp_path):
    cache = build_cache(two_cases(tmp_path), tmp_path / "cache", tmp_path / "home", processes=1)
    path = cache.folder / cache.cases[0].file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged.*case a"):
        open_cache(cache.folder)
    with pytest.raises(InputError, match="without a cache"):
        open_data(tmp_path, tmp_path / "caches", tmp_path / "home")


def test_no_identifier_and_no_path_is_stored(tmp_path):
    case = dataclasses.replace(two_cases(tmp_path)[0], patient_id="MRN-4711-Smith")
    cache = build_cache([case], tmp_path / "cache", tmp_path / "home", processes=1)
    text = (cache.folder / "index.json").read_text()
    assert "Smith" not in text and str(tmp_path) not in text
    other_site = build_cache([case], tmp_path / "cache 2", tmp_path / "home 2", processes=1)
    assert other_site.cases[0].patient != cache.cases[0].patient
    assert open_cache(cache.folder).cases[0].patient == cache.cases[0].patient
    with pytest.raises(InputError, match="different pseudonym keys"):
        join([cache, other_site])


def test_unlabeled_data_takes_whole_patients_only(tmp_path):
    case = two_cases(tmp_path)[0]
    cases = [
        dataclasses.replace(case, case_id="1", patient_id="p", label=0),
        dataclasses.replace(case, case_id="2", patient_id="p", label=None),
        dataclasses.replace(case, case_id="3", patient_id="q", label=None),
    ]
    cache = build_cache(cases, tmp_path / "cache", tmp_path / "home", processes=1)
    assert [c.case_id for c in join([], [cache]).cases] == ["3"]
    assert join([cache]).labels.tolist() == [0, -1, -1]
    assert join([cache]).patients.tolist() == [0, 0, 1]
    with pytest.raises(InputError, match="twice"):
        join([cache], [cache])


def test_an_older_index_is_replaced(tmp_path):
    cases = two_cases(tmp_path)
    cache = build_cache(cases, tmp_path / "cache", tmp_path / "home", processes=1)
    index = json.loads((cache.folder / "index.json").read_text())
    (cache.folder / "index.json").write_text(json.dumps({**index, "schema": 0}))
    with pytest.raises(InputError, match="schema"):
        open_cache(cache.folder)
    assert build_cache(cases, cache.folder, tmp_path / "home", processes=1).cases == cache.cases
