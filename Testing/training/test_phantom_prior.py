"""Phantom pairs: the prior CT is the same patient, moved, with the nodule smaller by exactly the growth; measured again
by ``maemc growth``."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from MAEMCLib.__main__ import main as maemc
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.errors import UsageError
from MAEMCLib.images.files import read_volume
from MAEMCLib.images.sampling import sample_stack
from MAEMCTrainingLib.__main__ import main as train
from MAEMCTrainingLib.phantom.case import PhantomConfiguration, plan_case, render_mask, render_volume
from MAEMCTrainingLib.phantom.prior import LARGEST_SHIFT_MM, PriorConfiguration, plan_prior
from MAEMCTrainingLib.phantom.writing import write_phantom

QUICK = PhantomConfiguration(4, 5, field="region")
DAYS, GROWTH = 120, 2.0


def pair(index, growth=GROWTH, oblique=False):
    plan = plan_case(index, QUICK, oblique)
    return plan, plan_prior(plan, index, 5, "region", PriorConfiguration(DAYS, growth))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "set"
    write_phantom(folder, 2, seed=5, field="region", dicom=True, prior=PriorConfiguration(DAYS, GROWTH))
    return folder


def test_cases_are_the_same_with_and_without_a_prior(tmp_path):
    alone = read_manifest(write_phantom(tmp_path / "alone", 1, seed=5, field="region")).rows
    both = read_manifest(
        write_phantom(tmp_path / "pair", 1, seed=5, field="region", prior=PriorConfiguration(DAYS, GROWTH))
    ).rows
    assert [row.case_id for row in both] == ["PHANTOM-5-0001", "PHANTOM-5-0001-prior"]
    assert alone[0].image.read_bytes() == both[0].image.read_bytes()
    assert not (tmp_path / "alone" / "masks").exists()
    header = (tmp_path / "alone" / "manifest.csv").read_text().splitlines()[0]
    assert "mask" not in header and "prior" not in header
    assert set(json.loads((tmp_path / "alone" / "phantom.json").read_text())) == {
        *("generator", "seed", "grade", "field", "dicom", "sha256")
    }


@pytest.mark.parametrize("growth", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("index", [0, 1])
def test_the_growth_is_that_of_the_volume(index, growth):
    """Of a body drawn much finer than a scanner does, so that counting voxels is counting volume."""
    volumes = []
    for plan in pair(index, growth):
        side = 2 * plan.nodule.reach_mm + 2
        grid = replace(
            plan.grid,
            size=(int(side / 0.25),) * 3,
            spacing=(0.25,) * 3,
            origin=tuple(np.asarray(plan.nodule.center) - side / 2),
            direction=np.eye(3),
            thickness_mm=0.25,
        )
        volumes.append(render_mask(replace(plan, grid=grid)).array.sum() * 0.25**3)
        assert volumes[-1] == pytest.approx(np.pi / 6 * plan.nodule.diameter_mm**3, rel=0.02)
    assert volumes[0] / volumes[1] == pytest.approx(growth, rel=0.015)


def test_the_prior_has_the_same_shape_and_density():
    plan, prior = pair(0)
    factor = GROWTH ** (-1 / 3)
    assert prior.nodule.diameter_mm == pytest.approx(plan.nodule.diameter_mm * factor)
    assert np.allclose(prior.nodule.surface, plan.nodule.surface * factor, rtol=1e-5)
    assert prior.nodule.hu == plan.nodule.hu and prior.nodule.label == plan.nodule.label
    for then, now in zip(prior.nodule.strands, plan.nodule.strands, strict=True):
        assert np.allclose(then.points, now.points * factor) and np.allclose(then.radii, now.radii * factor)


@pytest.mark.parametrize("oblique", [False, True])
def test_the_prior_is_the_same_chest_moved(oblique):
    """Without noise, the prior sampled where its pose moves the current CT's voxels is the current CT, away from the
    nodule; unmoved it is not."""
    plan, prior = (replace(one, scan=replace(one.scan, noise_hu=0.0)) for one in pair(1, oblique=oblique))
    now, then = render_volume(plan), render_volume(prior)
    pose = prior.earlier.pose
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3)) and np.linalg.det(pose) == pytest.approx(1.0)
    assert 0.5 < np.linalg.norm(pose[:3, 3]) <= np.sqrt(3) * LARGEST_SHIFT_MM
    assert np.allclose(then.direction, now.direction)  # the scanner's axes are the same
    moved, _ = sample_stack(then, pose @ now.affine, now.size)
    places = now.to_lps(np.stack(np.indices(now.array.shape)[::-1], axis=-1))
    away = np.linalg.norm(places - plan.nodule.center, axis=-1) > plan.nodule.reach_mm + 3
    seen = away & (moved > -1200)
    assert seen.mean() > 0.3
    difference = np.abs(moved - now.array)[seen]
    still = np.abs(sample_stack(then, now.affine, now.size)[0] - now.array)[seen]
    assert np.median(difference) < 15 and np.percentile(difference, 90) < 0.5 * np.percentile(still, 90)


def test_noise_is_drawn_anew():
    plan, prior = pair(2)
    still = replace(prior, grid=plan.grid, nodules=plan.nodules)  # the same chest from the same side
    difference = render_volume(still).array.astype(float) - render_volume(plan).array
    assert difference.std() > 0.5 * plan.scan.noise_hu


def test_the_manifest_links_pairs(folder):
    rows = {row.case_id: row for row in read_manifest(folder / "manifest.csv").rows}
    assert list(rows) == [f"PHANTOM-5-000{n}{end}" for n in (1, 2) for end in ("", "-prior")]
    for name in ("PHANTOM-5-0001", "PHANTOM-5-0002"):
        now, then = rows[name], rows[rows[name].values["prior_case_id"]]
        assert then.case_id == f"{name}-prior" and then.patient_id == now.patient_id == name
        assert float(now.values["growth"]) == GROWTH and int(now.values["days_since_prior"]) == DAYS
        assert not then.values.get("prior_case_id")
        for row in (now, then):
            mask = read_volume(folder / row.values["mask"])
            volume = read_volume(row.image)
            assert mask.array.shape == volume.array.shape and np.allclose(mask.affine, volume.affine, atol=1e-3)
            index = np.rint(mask.to_index(row.point_lps)).astype(int)
            assert mask.array[tuple(index[::-1])] == 1  # the point lies in the nodule
            assert volume.array[mask.array > 0].mean() > -150
        heads = [pydicom.dcmread(next(iter(sorted(row.image.iterdir())))) for row in (now, then)]
        assert heads[0].PatientID == heads[1].PatientID == name
        assert (heads[0].StudyDate, heads[1].StudyDate) == ("20260101", "20250903")  # 120 days
        for name_of in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            assert heads[0][name_of].value != heads[1][name_of].value


def test_growth_is_measured_again(folder, capfd):
    """From the series and the masks alone: the days by the dates, the growth and the doubling time."""
    rows = {row.case_id: row for row in read_manifest(folder / "manifest.csv").rows}
    for name in ("PHANTOM-5-0001", "PHANTOM-5-0002"):
        now, then = rows[name], rows[f"{name}-prior"]
        options = [f"--point={','.join(map(str, now.point_lps))}", "--segment", str(folder / now.values["mask"])]
        options += [f"--prior-point={','.join(map(str, then.point_lps))}"]
        options += ["--prior-segment", str(folder / then.values["mask"]), "--json"]
        assert maemc(["growth", str(then.image), str(now.image), *options]) == 0
        found = json.loads(capfd.readouterr().out)["growth"]
        assert found["days"] == DAYS
        assert found["volume_change_percent"] == pytest.approx(100 * (GROWTH - 1), abs=8.0)
        assert found["doubling_time_days"] == pytest.approx(DAYS * np.log(2) / np.log(GROWTH), rel=0.06)
        assert found["lung_rads_growth"] is True


def test_writing_again_mends_a_mask_and_refuses_other_settings(tmp_path, folder):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    mask = copy / "masks" / "PHANTOM-5-0002-prior.nrrd"
    content = mask.read_bytes()
    kept = {path: path.stat().st_mtime_ns for path in (copy / "images").rglob("*0001*/*.dcm")}
    mask.unlink()
    again = {"seed": 5, "field": "region", "dicom": True}
    told = []
    prior = PriorConfiguration(DAYS, GROWTH)
    write_phantom(copy, 2, **again, prior=prior, progress=lambda done, total: told.append((done, total)))
    assert hashlib.sha256(mask.read_bytes()).digest() == hashlib.sha256(content).digest()
    assert told == [(4, 4)]  # only what was missing is drawn
    assert kept and {path: path.stat().st_mtime_ns for path in kept} == kept
    for other, said in (
        (None, "growth"),
        (PriorConfiguration(DAYS, 3.0), "growth"),
        (PriorConfiguration(9, 2.0), "days"),
    ):
        with pytest.raises(UsageError, match=said):
            write_phantom(copy, 2, **again, prior=other)


def test_the_command(tmp_path, capfd):
    output = tmp_path / "set"
    given = ["phantom", "--output", str(output), "--cases", "1", "--seed", "2", "--processes", "1"]
    assert train([*given, "--prior", "30", "--growth", "1.3"]) == 0
    assert [row.case_id for row in read_manifest(output / "manifest.csv").rows][1] == "PHANTOM-2-0001-prior"
    capfd.readouterr()
    for half in (["--prior", "30"], ["--growth", "2"]):
        assert train([*given, *half]) == 2
        assert "both --prior DAYS and --growth X" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("days", "growth", "said"),
    [(0, 2.0, "days"), (-5, 2.0, "days"), (40000, 2.0, "days"), (9, 0.4, "growth"), (9, 28.0, "growth"),
     (9, float("nan"), "growth")],
)  # fmt: skip
def test_priors_that_cannot_be_are_refused(days, growth, said):
    with pytest.raises(UsageError, match=said):
        PriorConfiguration(days, growth)
