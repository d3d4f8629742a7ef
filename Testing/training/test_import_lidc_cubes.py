"""The importer of LIDC cubes: the shared data as it lies, and every refusal with its reason."""

import numpy as np
import pytest
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.cases.pseudonyms import pseudonym_key
from MAEMCLib.errors import InputError
from MAEMCLib.images.files import read_volume
from MAEMCLib.inputs.region import cut_roi
from MAEMCTrainingLib.data.importers.formats.images import import_images
from MAEMCTrainingLib.data.importers.formats.lidc_cubes import import_lidc_cubes
from MAEMCTrainingLib.data.importers.imported import pseudonymized
from MAEMCTrainingLib.data.sources import Source


def rows_of(folder):
    found = import_lidc_cubes(folder, folder / "unused")
    assert not found.skipped
    return found.rows


def test_lidc_cubes_become_rows(lidc_cubes, tmp_path):
    rows = rows_of(lidc_cubes)
    counts = read_manifest(write_manifest(tmp_path / "cubes.csv", rows)).counts()
    assert counts == {"cases": 90, "patients": 90, "benign": 8, "malignant": 47, "unlabeled": 35}
    by_name = {row.case_id: row for row in rows}
    assert by_name["LIDC-IDRI-0001_nod1"].label == 1
    assert by_name["LIDC-IDRI-0001_nod1"].diameter_mm == 25.3


def test_lidc_points_fit_their_cubes(lidc_cubes):
    """The point is the cube's center: the region around it needs no padding, and the nodule is in its middle."""
    for row in rows_of(lidc_cubes)[:12]:
        roi = cut_roi(read_volume(row.image), row.point_lps)
        assert roi.padded_fraction == 0.0
        middle = roi.axial[10:15, 19:31, 19:31]
        assert np.mean(middle) > np.mean(roi.axial) - 300.0


def test_lidc_folders_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"it has no labels\.csv"):
        rows_of(tmp_path)
    columns = "file,patient,eq_diam_mask_mm,malignancy_median_high\n"
    (tmp_path / "labels.csv").write_text("file,patient\n")
    with pytest.raises(InputError, match="lacks the columns eq_diam_mask_mm, malignancy_median_high"):
        rows_of(tmp_path)
    (tmp_path / "labels.csv").write_text(columns + "x.nrrd,p,9.0,4\n")
    with pytest.raises(InputError, match=r"the first x\.nrrd"):
        rows_of(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "x.nrrd").write_bytes(b"")
    assert rows_of(tmp_path)[0].label == 1
    (tmp_path / "labels.csv").write_text(columns + "x.nrrd,p,9.0,7\n")
    with pytest.raises(InputError, match="'7'"):
        rows_of(tmp_path)


def test_a_patient_has_one_pseudonym_in_every_data_set_and_cache(lidc_cubes, lidc_slices, tmp_path):
    """The slices and the cubes share patients; so do manifests with pseudonyms and with the patients' own names."""
    home = tmp_path / "home"
    key = pseudonym_key(home)
    few = tmp_path / "some of the slices"
    few.mkdir()
    (few / "slices.tar").symlink_to(lidc_slices / "slices.tar")
    (few / "labels.csv").write_text("".join((lidc_slices / "labels.csv").read_text().splitlines(True)[:30]))
    named, slices = rows_of(lidc_cubes)[:3], import_images(few, tmp_path / "files").rows
    hidden = pseudonymized(named, key)
    caches = [
        Source(write_manifest(tmp_path / name, rows)).build(tmp_path / f"{name}-cache", home)
        for name, rows in (("named.csv", named), ("hidden.csv", hidden))
    ]
    assert [c.patient for c in caches[0].cases] == [c.patient for c in caches[1].cases]
    assert [c.patient for c in caches[1].cases] == [row.patient_id for row in hidden]
    both = {row.patient_id for row in pseudonymized(slices, key)} & {row.patient_id for row in hidden}
    assert len(both) == len({row.patient_id for row in slices} & {row.patient_id for row in named}) > 0
    assert not {row.case_id for row in hidden} & {row.patient_id for row in hidden}
