"""The cache against scoring's own region, its resuming and its refusals."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import SimpleITK as sitk
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.inputs.region import cut_roi
from MAEMCTrainingLib.data.cohort import join
from MAEMCTrainingLib.data.kinds.montage_views import View, crop, draw_view, paper_view
from MAEMCTrainingLib.data.kinds.nodule import NoduleSettings
from MAEMCTrainingLib.data.sources import Source
from MAEMCTrainingLib.data.store import open_store
from MAEMCTrainingLib.engine.configuration import PAPER_VIEWS, Augmentation

from Testing.training.stores import build_rows, count_reads, names, nodule_row, oblique_volume, several_cases, two_cases


def test_central_crop_is_the_region_that_scoring_cuts(tmp_path):
    cases = two_cases(tmp_path, near_edge=True)
    cache = build_rows(cases, tmp_path / "cache", tmp_path / "home")
    assert [case.case_id for case in cache.cases] == names(tmp_path / "home", "a", "b")
    for case, entry in zip(cases, cache.cases, strict=True):
        roi = cut_roi(read_volume(case.image), case.point_lps)
        for plane, stack in enumerate((roi.axial, roi.coronal)):
            hu, _ = crop(cache.array(entry), plane, View())
            assert np.abs(hu - stack).max() <= 0.5 + 1e-3
        assert entry.facts.padded_fraction == roi.padded_fraction
    assert cache.cases[1].facts.padded_fraction > 0.05  # the case near the edge does test padding


@pytest.mark.parametrize("shift", [(5, -5, 5), (-3, 4, 0), (0, 0, -5)])
def test_shifted_crop_is_the_region_about_the_shifted_point(tmp_path, shift):
    case = two_cases(tmp_path, near_edge=True)[1]
    cache = build_rows([case], tmp_path / "cache", tmp_path / "home")
    moved = tuple((np.array(case.point_lps) + shift).tolist())
    roi = cut_roi(read_volume(case.image), moved)
    shares = []
    for plane, stack in enumerate((roi.axial, roi.coronal)):
        hu, outside = crop(cache.array(cache.cases[0]), plane, View(shift))
        shares.append(outside)
        assert np.abs(hu - stack).max() <= 0.5 + 1e-3
    assert np.mean(shares) == pytest.approx(roi.padded_fraction, abs=2e-3)


def test_slice_step_of_two_keeps_shifts_exact(tmp_path):
    case = two_cases(tmp_path)[0]
    cache = build_rows([case], tmp_path / "cache", tmp_path / "home", settings=NoduleSettings(slice_step_mm=2))
    shift = (3, -4, 2)
    roi = cut_roi(read_volume(case.image), tuple((np.array(case.point_lps) + shift).tolist()), 2.0)
    for plane, stack in enumerate((roi.axial, roi.coronal)):
        hu, _ = crop(cache.array(cache.cases[0]), plane, View(shift), 2)
        assert np.abs(hu - stack).max() <= 0.5 + 1e-3


def test_cubes_agree_with_scoring(lidc_cubes, tmp_path):
    images = sorted((lidc_cubes / "images").glob("*.nrrd"))[:3]
    cases = [nodule_row(image.stem, image.stem, image, (0.0, 0.0, 0.0)) for image in images]
    cache = build_rows(cases, tmp_path / "cache", tmp_path / "home")
    for case, entry in zip(cases, cache.cases, strict=True):
        roi = cut_roi(read_volume(case.image), case.point_lps)
        assert np.abs(crop(cache.array(entry), 0, View())[0] - roi.axial).max() <= 0.5 + 1e-3
        assert entry.facts.margin_padded > entry.facts.padded_fraction == 0


def test_a_volume_is_read_once_and_nothing_is_cut_again(tmp_path, monkeypatch):
    reads = count_reads(monkeypatch)
    cases = two_cases(tmp_path)
    folder, home = tmp_path / "cache", tmp_path / "home"
    first = build_rows(cases, folder, home)
    assert len(reads) == 1
    assert build_rows(cases, folder, home) == first
    # A changed label is news for the index, not for the voxels; new times with the same content neither.
    relabeled = [dataclasses.replace(case, label=1) for case in cases]
    assert [c.label for c in build_rows(relabeled, folder, home).cases] == [1, 1]
    cases[0].image.touch()
    build_rows(cases, folder, home)
    assert len(reads) == 1


def test_a_source_of_the_same_size_and_time_is_found_out_by_its_content(tmp_path):
    """Also the file of voxels beside a header, which the manifest does not name."""
    volume = oblique_volume()
    for name, voxels in (("one.nrrd", "one.nrrd"), ("two.mhd", "two.raw")):
        image = sitk.GetImageFromArray(volume.array)
        sitk.WriteImage(image, str(tmp_path / name))
        case = nodule_row("a", "p", tmp_path / name, (55.0, 50.0, 30.0))
        before = build_rows([case], tmp_path / "cache", tmp_path / "home")
        stat = (tmp_path / voxels).stat()
        content = bytearray((tmp_path / voxels).read_bytes())
        content[-60 * 100 * 110 :] = bytes(60 * 100 * 110)
        (tmp_path / voxels).write_bytes(content)
        os.utime(tmp_path / voxels, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        after = build_rows([case], tmp_path / "cache", tmp_path / "home")
        assert after.cases[0].sha256 != before.cases[0].sha256


def test_what_changed_is_cut_again(tmp_path, monkeypatch):
    reads = count_reads(monkeypatch)
    cases = two_cases(tmp_path)
    folder, home = tmp_path / "cache", tmp_path / "home"
    before = build_rows(cases, folder, home)
    time.sleep(0.01)
    volume = read_volume(cases[0].image)
    write_volume(CTVolume(volume.array + 7, volume.affine, "changed"), cases[0].image)
    after = build_rows(cases, folder, home)
    assert after.cases[0].sha256 != before.cases[0].sha256
    (folder / after.cases[1].file).write_bytes(b"damaged")
    repaired = build_rows(cases, folder, home)
    assert repaired.cases == after.cases
    moved = [cases[0], dataclasses.replace(cases[1], point_lps=cases[0].point_lps)]
    assert build_rows(moved, folder, home).cases[1].sha256 == after.cases[0].sha256
    assert build_rows(cases, folder, home, settings=NoduleSettings(slice_step_mm=2)).settings.slice_step_mm == 2
    assert len(reads) == 5  # first, content, damage, point, settings
    build_rows(cases[:1], folder, home, settings=NoduleSettings(slice_step_mm=2))
    assert len(list(folder.glob("*.npy"))) == 1  # what the manifest no longer names is removed


def test_processes_build_the_same_cache(balls, ball_cache, tmp_path):
    cases = read_manifest(balls).rows[:5]
    cache = build_rows(cases, tmp_path / "cache", tmp_path / "home", processes=2)
    assert [c.sha256 for c in cache.cases] == [c.sha256 for c in ball_cache.cases[:5]]


def test_a_bad_case_is_left_out_with_its_reason(tmp_path):
    good, other = two_cases(tmp_path)
    broken = tmp_path / "broken.nrrd"
    broken.write_bytes(b"NRRD0004\nnothing")
    cases = [
        good,
        dataclasses.replace(other, case_id="far", point_lps=(900.0, 0.0, 0.0)),
        nodule_row("broken", "q", broken, (0.0, 0.0, 0.0)),
        nodule_row("gone", "r", tmp_path / "gone.nrrd", (0.0, 0.0, 0.0)),
    ]
    cache = build_rows(cases, tmp_path / "cache", tmp_path / "home")
    assert [case.case_id for case in cache.cases] == names(tmp_path / "home", "a")
    assert [case["case_id"] for case in cache.left_out] == ["far", "broken", "gone"]
    assert "outside the volume" in cache.left_out[0]["reason"]
    with pytest.raises(InputError, match="None of the 1 cases"):
        build_rows(cases[1:2], tmp_path / "other", tmp_path / "home")


@pytest.mark.parametrize("kind", ["nodule", "slice"])
def test_what_makes_an_image_doubtful_is_said_once_by_the_rows(tmp_path, kind, caplog):
    """A file without a geometry may have left and right exchanged; the cache is built and the rows are named."""
    volume = tmp_path / "Smith.nrrd"
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 110 100 60\nencoding: raw\nendian: little\n\n"
    volume.write_bytes(header.encode() + oblique_volume().array.astype("<i2").tobytes())
    if kind == "nodule":
        rows = [nodule_row(str(k), "p", volume, (50.0, 50.0, float(k))) for k in (30, 31)]
    else:
        values = [{"volume_id": "v", "slice_index": str(k)} for k in (30, 31)]
        rows = [Case(str(k), "p", volume, "slice", values=one) for k, one in enumerate(values)]
    build_rows(rows, tmp_path / "cache", tmp_path / "home")
    (said,) = caplog.messages
    assert said.startswith("rows 2, 3: The file does not state") and "Smith" not in said
    caplog.clear()
    build_rows(rows, tmp_path / "cache", tmp_path / "home")  # all of it is there
    assert not caplog.messages


def test_a_case_named_twice_is_refused(tmp_path):
    path = write_manifest(tmp_path / "m.csv", two_cases(tmp_path)[:1])
    header, row = path.read_text().splitlines()
    path.write_text("\n".join([header, row, row]))
    with pytest.raises(InputError, match="case_id"):
        Source(path).build(tmp_path / "cache", tmp_path / "home")


def test_damage_is_found_on_opening(tmp_path):
    cases = two_cases(tmp_path)
    cache = build_rows(cases, tmp_path / "cache", tmp_path / "home")
    path = cache.folder / cache.cases[0].file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged.*case C[0-9a-f]{16} \(row 2 "):
        open_store(cache.folder)
    with pytest.raises(InputError, match="without a cache"):
        Source(tmp_path).open(tmp_path / "caches", tmp_path / "home")


def test_no_identifier_and_no_path_is_stored(tmp_path):
    case = dataclasses.replace(two_cases(tmp_path)[0], patient_id="MRN-4711-Smith")
    cache = build_rows([case], tmp_path / "cache", tmp_path / "home")
    text = (cache.folder / "index.json").read_text()
    assert "Smith" not in text and str(tmp_path) not in text
    other_site = build_rows([case], tmp_path / "cache 2", tmp_path / "home 2")
    assert other_site.cases[0].patient != cache.cases[0].patient
    assert open_store(cache.folder).cases[0].patient == cache.cases[0].patient
    with pytest.raises(InputError, match="different pseudonym keys"):
        join([cache, other_site])


def test_unlabeled_data_takes_whole_patients_only(tmp_path):
    case = two_cases(tmp_path)[0]
    cases = [
        dataclasses.replace(case, case_id="1", patient_id="p", label=0),
        dataclasses.replace(case, case_id="2", patient_id="p", label=None),
        dataclasses.replace(case, case_id="3", patient_id="q", label=None),
    ]
    cache = build_rows(cases, tmp_path / "cache", tmp_path / "home")
    assert [c.case_id for c in join([], [cache]).cases] == names(tmp_path / "home", "3")
    assert join([cache]).labels.tolist() == [0, -1, -1]
    assert join([cache]).patients.tolist() == [0, 0, 1]
    with pytest.raises(InputError, match="twice"):
        join([cache], [cache])


def test_an_index_that_was_changed_is_refused_and_built_again(tmp_path):
    cases = two_cases(tmp_path)
    cache = build_rows(cases, tmp_path / "cache", tmp_path / "home")
    index = cache.folder / "index.json"
    index.write_text(index.read_text().replace('"label": ', '"label": 1', 1))
    with pytest.raises(InputError, match="changed after it was written"):
        open_store(cache.folder)
    assert build_rows(cases, cache.folder, tmp_path / "home").cases == cache.cases


def test_an_older_index_is_replaced(tmp_path):
    cases = two_cases(tmp_path)
    cache = build_rows(cases, tmp_path / "cache", tmp_path / "home")
    index = json.loads((cache.folder / "index.json").read_text())
    (cache.folder / "index.json").write_text(json.dumps({**index, "schema": 1}))
    with pytest.raises(InputError, match=r"schema.*Build it again from its manifest"):
        open_store(cache.folder)
    assert build_rows(cases, cache.folder, tmp_path / "home").cases == cache.cases


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_volume_that_makes_the_reader_crash_costs_its_own_cases(tmp_path, monkeypatch, processes):
    cases = several_cases(tmp_path)
    whole = build_rows(cases, tmp_path / "whole", tmp_path / "home")
    cases[2].image.rename(tmp_path / "killer.nrrd")
    cases[2] = dataclasses.replace(cases[2], image=tmp_path / "killer.nrrd")
    # Of the reader's own program, which a pool's children start too, a decoder crashes.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'reading_process' in ' '.join(sys.orig_argv):\n"
        "    import MAEMCLib.images.reading_process as own\n"
        "    read = own.read_volume\n"
        "    def dying(path, *flags):\n"
        "        return os.kill(os.getpid(), signal.SIGSEGV) if 'killer' in str(path) else read(path, *flags)\n"
        "    own.read_volume = dying\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cache = build_rows(cases, tmp_path / "cache", tmp_path / "home", processes=processes)
    assert [entry.sha256 for entry in cache.cases] == [e.sha256 for e in whole.cases[:2] + whole.cases[3:]]
    assert [(reason["case_id"], reason["code"]) for reason in cache.left_out] == [("case 2", "reader-died")]
    assert "made the reader crash (SIGSEGV)" in cache.left_out[0]["reason"]


def interrupted_after(number: int):
    def progress(done, total):
        if done == number:
            raise KeyboardInterrupt

    return progress


def test_what_is_known_survives_an_interruption(tmp_path, monkeypatch):
    cases = several_cases(tmp_path)
    folder, home = tmp_path / "cache", tmp_path / "home"
    whole = build_rows(cases, folder, home)
    reads = count_reads(monkeypatch)
    write_volume(CTVolume(oblique_volume().array + 99, oblique_volume().affine, ""), cases[0].image)
    with pytest.raises(KeyboardInterrupt):
        build_rows(cases, folder, home, processes=1, progress=interrupted_after(2))
    with pytest.raises(InputError, match="interrupted before all its cases"):
        open_store(folder)
    again = build_rows(cases, folder, home)
    assert len(reads) == 1  # the changed one; the interruption cost the others nothing
    assert again.cases[1:] == whole.cases[1:] and again.cases[0].sha256 != whole.cases[0].sha256
    assert open_store(folder).cases == tuple(dataclasses.replace(case, values={}) for case in again.cases)


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_a_killed_run_goes_on_and_ends_with_the_same_cache(balls, ball_cache, tmp_path):
    folder, home = tmp_path / "cache", tmp_path / "home"
    code = (
        "import sys, pathlib\n"
        "from MAEMCTrainingLib.data.sources import Source\n"
        "manifest, folder, home = map(pathlib.Path, sys.argv[1:])\n"
        "Source(manifest).build(folder, home, processes=1)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(balls), str(folder), str(home)]) as process:
        while len(list(folder.glob("*.npy"))) < 3 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    (folder / ".x.npy.123.part").write_bytes(b"half of a file that a killed run was writing")
    cache = build_rows(read_manifest(balls).rows, folder, home)
    assert [c.sha256 for c in cache.cases] == [c.sha256 for c in ball_cache.cases]
    assert len(list(folder.iterdir())) == 16 + 1


def test_a_full_disk_ends_the_run_and_blames_no_case(tmp_path):
    cases = several_cases(tmp_path, 2)
    folder, home = tmp_path / "cache", tmp_path / "home"
    build_rows(cases[:1], folder, home)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # files end here, as on a disk that is full
    try:
        with pytest.raises(InputError, match="could not be written"):
            build_rows(cases, folder, home)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    done = build_rows(cases, folder, home)
    assert [c.case_id for c in done.cases] == names(home, "case 0", "case 1")


def test_training_needs_no_ct_once_the_cache_is_built(tmp_path):
    """The 40 views of the paper and the views drawn on the way, each equal to a region cut from the CT."""
    case = two_cases(tmp_path)[0]
    volume = read_volume(case.image)
    build_rows([case], tmp_path / "cache", tmp_path / "home")
    case.image.unlink()
    cache = open_store(tmp_path / "cache")
    views = [paper_view(n) for n in range(PAPER_VIEWS)]
    assert len(set(views)) == PAPER_VIEWS
    views += [draw_view(Augmentation(), 1, seed=1, epoch=epoch, sample=0) for epoch in range(10)]
    regions = {}
    for view in views:
        moved = tuple((np.array(case.point_lps) + view.shift_lps).tolist())
        roi = regions.setdefault(view.shift_lps, None) or cut_roi(volume, moved)
        regions[view.shift_lps] = roi
        for plane, (stack, (turns, flipped)) in enumerate(((roi.axial, view.axial), (roi.coronal, view.coronal))):
            expected = np.rot90(stack, turns, axes=(1, 2))
            expected = expected[:, :, ::-1] if flipped else expected
            hu, _ = crop(cache.array(cache.cases[0]), plane, view)
            assert np.abs(hu - expected).max() <= 0.5 + 1e-3


def test_stacks_are_mapped_and_not_read(ball_cache):
    stacks = ball_cache.array(ball_cache.cases[0])
    assert isinstance(stacks, np.memmap) and not stacks.flags.writeable
