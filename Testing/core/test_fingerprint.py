"""The hash of what a result was computed from: it changes with everything that counts and with nothing else."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.values import ClinicalField
from MAEMCLib.errors import InputError
from MAEMCLib.images.files import content_sha256
from MAEMCLib.inputs import INPUTS
from MAEMCLib.scoring import fingerprint

CLINICAL = (ClinicalField("age", "number"), ClinicalField("second", "series", optional=True))
CARD = SimpleNamespace(
    sha256="ab" * 32, values={"preprocessing": {"mean": 0.2}}, kind=INPUTS["nodule"], clinical=CLINICAL
)


@pytest.fixture
def image(tmp_path):
    (tmp_path / "ct.nrrd").write_bytes(b"NRRD0005\nencoding: raw\n\nvoxels")
    (tmp_path / "second.nrrd").write_bytes(b"NRRD0005\nencoding: raw\n\nothers")
    return tmp_path / "ct.nrrd"


def hash_of(image, card=CARD, nifti_form=None, **of_the_case):
    return fingerprint(Case("c", "p", image, **of_the_case), card, nifti_form).whole


def test_everything_that_counts_changes_it(image):
    second = str(image.parent / "second.nrrd")
    plain = {"point_lps": (1.0, 2.0, 3.0), "diameter_mm": 8.0, "values": {"age": "63", "second": second}}
    changes = [
        {"point_lps": (1.0, 2.0, 3.0001)},
        {"diameter_mm": None},
        {"diameter_mm": 8.5},
        {"values": {"age": "64", "second": second}},
        {"values": {"age": "63"}},
        {"values": {"age": "63", "second": second, "series": "1.2.3"}},
        {"values": {"age": "63", "second": second, "series": "1.2.3#2"}},
        {"nifti_form": "qform"},
        {"card": SimpleNamespace(**{**vars(CARD), "sha256": "cd" * 32})},
        {"card": SimpleNamespace(**{**vars(CARD), "values": {"preprocessing": {"mean": 0.3}}})},
    ]
    found = [hash_of(image, **plain), *(hash_of(image, **{**plain, **change}) for change in changes)]
    image.write_bytes(image.read_bytes() + b"!")
    found.append(hash_of(image, **plain))
    (image.parent / "second.nrrd").write_bytes(b"NRRD0005\nencoding: raw\n\nchanged")
    found.append(hash_of(image, **plain))
    assert len(set(found)) == len(found) == 13
    image.rename(image.parent / "renamed.nrrd")
    unasked = {**plain, "values": {**plain["values"], "hospital": "a column that the model does not ask for"}}
    assert hash_of(image.parent / "renamed.nrrd", **unasked) == found[-1]


def test_a_further_series_that_is_not_there_is_named(image):
    with pytest.raises(InputError, match="The series second cannot be used: There is no file") as caught:
        hash_of(image, values={"second": str(image.parent / "gone of Zzyzx.nrrd")})
    assert "Zzyzx" not in caught.value.anonymous


def test_a_folder_counts_by_its_contents_alone(tmp_path):
    (tmp_path / "one" / "deep").mkdir(parents=True)
    for name in "abc":
        (tmp_path / "one" / name).write_text(name * 9)
    (tmp_path / "one" / "deep" / "d").write_text("d")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "a").rename(tmp_path / "two" / "z")
    (tmp_path / "two" / "deep" / "d").rename(tmp_path / "two" / "0")
    assert content_sha256(tmp_path / "one") == content_sha256(tmp_path / "two")
    (tmp_path / "two" / "b").write_text("x" * 9)
    assert content_sha256(tmp_path / "one") != content_sha256(tmp_path / "two")


@pytest.mark.parametrize(
    "name, voxels", [("ct.mhd", "ct.raw"), ("ct.mhd", "ct.zraw"), ("ct.nhdr", "ct.raw"), ("ct.hdr", "ct.img")]
)
def test_detached_voxels_count(name, voxels, tmp_path):
    array = np.zeros((4, 4, 4), np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / name), useCompression=voxels.endswith(".zraw"))
    data = tmp_path / voxels
    before = content_sha256(tmp_path / name)
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    os.utime(data, (1, 1))
    assert content_sha256(tmp_path / name) != before


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.nrrd")
    with pytest.raises(InputError, match="pipe, socket or device"):
        content_sha256(tmp_path / "pipe.nrrd")
    (tmp_path / "ct.nhdr").write_bytes(b"NRRD0005\ndata file: /dev/zero\n\n")
    content_sha256(tmp_path / "ct.nhdr")  # its voxels are no file either


def test_results_written_into_a_dicom_folder_are_no_change_of_it(tmp_path):
    (tmp_path / "IM1").write_bytes(bytes(128) + b"DICM" + b"one")
    (tmp_path / "note.bin").write_bytes(bytes(128) + b"DICM" + b"two")
    before = content_sha256(tmp_path)
    (tmp_path / "results.csv").write_text("case_id\n")
    assert content_sha256(tmp_path) == before
    (tmp_path / "note.bin").write_bytes(bytes(128) + b"DICM" + b"other")
    changed = content_sha256(tmp_path)
    (tmp_path / "cut.dcm").write_bytes(b"")
    assert len({before, changed, content_sha256(tmp_path)}) == 3
