"""The importer of 2-D pictures: tables, class folders, plain folders, DICOM, and the shared LIDC slices as they lie."""

import csv
import io
import shutil
import tarfile

import numpy as np
import pydicom
import pytest
from MAEMCLib.errors import InputError
from MAEMCLib.manifest import read_manifest, write_manifest
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.data.importers.images import import_images
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage


def picture(path, size=(24, 16), seed=0, **values):
    """A gray picture of noise in the format of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, size=size[::-1], dtype=np.uint8)
    Image.fromarray(pixels).save(path, **values)
    return path


def ultrasound(path, **tags):
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = UltrasoundImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    item.SOPClassUID, item.SOPInstanceUID, item.Modality, item.PatientID = (
        UltrasoundImageStorage,
        "1.2.3",
        "US",
        "MRN 7",
    )
    item.BodyPartExamined, item.Rows, item.Columns = "BREAST", 16, 24
    item.BitsAllocated, item.SamplesPerPixel, item.PixelData = 8, 1, bytes(16 * 24)
    for tag, value in tags.items():
        setattr(item, tag, value)
    item.save_as(path, enforce_file_format=True)


def facts(found, folder):
    return {row.image.relative_to(folder).as_posix(): (row.label, row.patient_id) for row in found.rows}


def reasons(found):
    return {item.name: item.reason for item in found.skipped}


def test_lidc_slices_as_they_lie(lidc_slices, tmp_path):
    found = import_images(lidc_slices, tmp_path / "files")
    assert found.skipped == () and len(found.rows) == 4600
    with open(lidc_slices / "labels.csv", newline="") as stream:
        table = {record["file"]: record for record in csv.DictReader(stream)}
    names = {"benign": 0, "malignant": 1, "ambiguous": None}
    for row in found.rows:
        record = table[row.case_id]
        assert (row.kind, row.patient_id, row.label) == ("slice", record["patient"], names[record["label"]])
        assert row.extra["volume_id"] == f"{record['patient']} {record['nodule']}"
        assert row.extra["slice_index"] == record["slice"]
        assert (row.extra["width"], row.extra["height"]) == ("128", "128")
    assert len({row.extra["volume_id"] for row in found.rows}) == 1739
    manifest = read_manifest(write_manifest(tmp_path / "m.csv", found.rows))
    assert manifest.counts() == {"cases": 4600, "patients": 646, "benign": 1887, "malignant": 1887, "unlabeled": 826}
    with tarfile.open(lidc_slices / "slices.tar") as tar:
        for member in list(tar)[:20]:
            assert (tmp_path / "files" / member.name).read_bytes() == tar.extractfile(member).read()


def test_folders_of_classes_and_patients(tmp_path):
    picture(tmp_path / "Benign" / "1.png")
    picture(tmp_path / "Benign" / "anna" / "a.jpg")
    picture(tmp_path / "Benign" / "anna" / "b.jpeg")
    picture(tmp_path / "malignant" / "1.png")
    picture(tmp_path / "malignant" / "anna" / "c.PNG")
    picture(tmp_path / "normal" / "2.png")
    picture(tmp_path / "3.png")
    found = import_images(tmp_path, tmp_path / "files")
    assert facts(found, tmp_path) == {
        "Benign/1.png": (0, "Benign/1.png"),
        "Benign/anna/a.jpg": (0, "anna"),
        "Benign/anna/b.jpeg": (0, "anna"),
        "malignant/1.png": (1, "malignant/1.png"),  # not the patient of Benign/1.png
        "malignant/anna/c.PNG": (1, "anna"),  # one patient on both sides of no split
        "normal/2.png": (None, "normal/2.png"),
        "3.png": (None, "3.png"),
    }
    assert {(row.extra["width"], row.extra["height"]) for row in found.rows} == {("24", "16")}


def test_plain_folders_and_classes_in_numbers(tmp_path):
    picture(tmp_path / "a" / "p1" / "x.png")
    picture(tmp_path / "a" / "p1" / "y.png")
    picture(tmp_path / "z.png")
    plain = facts(import_images(tmp_path, tmp_path), tmp_path)
    assert plain == {"a/p1/x.png": (None, "p1"), "a/p1/y.png": (None, "p1"), "z.png": (None, "z.png")}
    picture(tmp_path / "n" / "train" / "1" / "x.png")
    picture(tmp_path / "n" / "train" / "0" / "p" / "x.png")
    numbered = facts(import_images(tmp_path / "n", tmp_path), tmp_path / "n")
    assert numbered == {"train/1/x.png": (1, "train/1/x.png"), "train/0/p/x.png": (0, "p")}


def test_masks_and_broken_pictures_are_named(tmp_path):
    whole = picture(tmp_path / "benign" / "benign (1).png", size=(200, 150))
    picture(tmp_path / "benign" / "benign (1)_mask.png")
    picture(tmp_path / "benign" / "benign (1)_mask_1.png")
    picture(tmp_path / "benign" / "my_masks.png")
    content = whole.read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "bit.png").write_bytes(content[:3000] + bytes([content[3000] ^ 1]) + content[3001:])
    jpeg = picture(tmp_path / "whole.jpg", size=(200, 150)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture, for sure")
    (tmp_path / "Thumbs.db").write_bytes(b"x" * 200)
    Image.new("L", (24, 16)).save(tmp_path / "gif.png", format="GIF")
    found = import_images(tmp_path, tmp_path)
    assert set(facts(found, tmp_path)) == {"benign/benign (1).png", "benign/my_masks.png", "whole.jpg"}
    said = reasons(found)
    assert "a mask of benign (1)" in said["benign/benign (1)_mask.png"]
    assert "a mask of benign (1)" in said["benign/benign (1)_mask_1.png"]
    for name in ("cut.png", "bit.png", "cut.jpg", "text.png", "gif.png"):
        assert "damaged" in said[name] or "cut short" in said[name]
    assert said["empty.png"] == "it is empty" and "no PNG, JPEG or DICOM" in said["Thumbs.db"]


def test_dicom_says_who_and_what(tmp_path):
    ultrasound(tmp_path / "benign" / "x" / "IM1")
    ultrasound(tmp_path / "malignant" / "IM2", PatientID="", Modality="MG")
    ultrasound(tmp_path / "ct", Modality="CT")
    ultrasound(tmp_path / "loop", NumberOfFrames=30)
    ultrasound(tmp_path / "flat", Rows=0)
    (tmp_path / "broken").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    found = import_images(tmp_path, tmp_path)
    assert facts(found, tmp_path) == {"benign/x/IM1": (0, "MRN 7"), "malignant/IM2": (1, "malignant/IM2")}
    assert {(row.extra["modality"], row.extra["anatomy"]) for row in found.rows} == {("US", "BREAST"), ("MG", "BREAST")}
    said = reasons(found)
    assert "import dicom takes CT" in said["ct"] and "30 frames" in said["loop"]
    assert "without an image" in said["flat"] and "broken" in said


def table(folder, text, name="labels.csv"):
    (folder / name).write_text(text, encoding="utf-8")


def test_a_table_names_pictures_and_what_is_known_of_them(tmp_path):
    picture(tmp_path / "sub" / "a.png")
    picture(tmp_path / "b.png")
    picture(tmp_path / "c.png")
    picture(tmp_path / "d.png")
    table(
        tmp_path,
        "image,patient_id,label,age\nsub/a.png,p1,Benign,61\nb.png,,1,\n"
        "gone.png,p3,0,\n../x.png,p4,0,\nc.png,p5,perhaps,\n,p6,0,\nb.png,p1,0,\n",
    )
    found = import_images(tmp_path, tmp_path)
    assert facts(found, tmp_path) == {"sub/a.png": (0, "p1"), "b.png": (1, "b.png")}
    assert found.rows[0].extra["age"] == "61" and found.rows[0].kind == "image"
    said = " | ".join(map(str, found.skipped))
    assert len(found.skipped) == 6
    for words in ("row 4 of labels.csv (gone.png): there is no such file", "(../x.png)", "'perhaps'", "no file named",
                  "b.png: a case of this name", "d.png: not listed", "c.png"):  # fmt: skip
        assert words in said


def test_ratings_and_slices_of_a_table(tmp_path):
    for name in "abcd":
        picture(tmp_path / f"{name}.png")
    table(
        tmp_path,
        "file,patient,nodule,slice,malignancy_median_high\na.png,p,n0,-3,2\nb.png,p,n0,10,3\nc.png,q,n0,x,4\n"
        "d.png,q,n0,2,9\n",
    )
    found = import_images(tmp_path, tmp_path)
    assert [(row.label, row.kind, row.extra["slice_index"]) for row in found.rows] == [
        (0, "slice", "-3"),
        (None, "slice", "10"),
    ]
    assert [row.extra["modality"] for row in found.rows] == ["CT", "CT"]
    assert "slice is 'x'" in found.skipped[0].reason and "'9', not a rating" in found.skipped[1].reason


def test_an_archive_does_not_decide_where_its_files_go(tmp_path):
    source, unpacked = tmp_path / "source", tmp_path / "files"
    source.mkdir()
    content = picture(tmp_path / "a.png").read_bytes()
    with tarfile.open(source / "x.tar", "w") as tar:
        for name in ("../../evil.png", "good.png", "deep/er/nested.png"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    table(source, "file\ngood.png\nnested.png\nlink.png\n../../evil.png\n")
    found = import_images(source, unpacked)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["a.png", "good.png", "nested.png"]
    assert len(found.rows) == 2 and len(found.skipped) == 2
    assert import_images(source, unpacked).rows == found.rows  # what is there already is taken as it is
    data = (source / "x.tar").read_bytes()
    (source / "x.tar").write_bytes(data[:700])
    shutil.rmtree(unpacked)
    with pytest.raises(InputError, match="damaged or cannot be unpacked"):
        import_images(source, unpacked)


def test_the_command_hides_names_and_takes_its_own_manifest_for_none(tmp_path, capsys):
    source = tmp_path / "source"
    picture(source / "benign" / "Smith" / "a.png")
    picture(source / "malignant" / "Jones" / "b.png")
    arguments = ["import", "images", str(source), "--output", str(source / "manifest.csv")]
    for _ in range(2):  # the second time the manifest lies in the folder
        assert main(arguments) == 0
        assert "2 cases, 2 patients, 1 benign, 1 malignant" in capsys.readouterr().err
    for row in read_manifest(source / "manifest.csv").rows:
        assert not {"Smith", "Jones"} & {row.patient_id, row.case_id}
        assert row.image.is_file()


def test_refusals(tmp_path, capsys):
    with pytest.raises(InputError, match="no folder"):
        import_images(tmp_path / "none", tmp_path)
    with pytest.raises(InputError, match="holds no files"):
        import_images(tmp_path, tmp_path)
    table(tmp_path, "name,label\na,b\n")
    with pytest.raises(InputError, match="no column with the pictures' names"):
        import_images(tmp_path, tmp_path)
    table(tmp_path, "file\n", "more.csv")
    with pytest.raises(InputError, match="several tables"):
        import_images(tmp_path, tmp_path)
    (tmp_path / "labels.csv").unlink()
    output = tmp_path / "out" / "m.csv"
    table(tmp_path, "file\ngone.png\n", "more.csv")
    assert main(["import", "images", str(tmp_path), "--output", str(output)]) == 3
    assert "(1 skipped)" in capsys.readouterr().err and not output.exists()


def test_pictures_of_the_table_are_still_dicom(tmp_path):
    ultrasound(tmp_path / "a.dcm")
    table(tmp_path, "file,label\na.dcm,1\n")
    (row,) = import_images(tmp_path, tmp_path).rows
    assert (row.patient_id, row.extra["modality"], row.label) == ("MRN 7", "US", 1)
    assert pydicom.dcmread(row.image).Modality == "US"
