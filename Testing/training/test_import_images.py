"""The importer of 2-D pictures: tables, class folders, plain folders, DICOM, and the shared LIDC slices as they lie."""

import csv
import io
import shutil
import struct
import tarfile
import zlib

import numpy as np
import pydicom
import pytest
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.errors import InputError
from MAEMCLib.images.gray import read_gray
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.data.cohort import join
from MAEMCTrainingLib.data.importers.formats.images import import_images
from MAEMCTrainingLib.data.kinds.stored_pictures import lesion_of
from MAEMCTrainingLib.data.sources import Source
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
    assert not found.skipped and len(found.rows) == 4600
    with open(lidc_slices / "labels.csv", newline="") as stream:
        table = {record["file"]: record for record in csv.DictReader(stream)}
    names = {"benign": 0, "malignant": 1, "ambiguous": None}
    for row in found.rows:
        record = table[row.case_id]
        assert (row.kind, row.patient_id, row.label) == ("slice", record["patient"], names[record["label"]])
        assert row.values["volume_id"] == f"{record['patient']} {record['nodule']}"
        assert row.values["slice_index"] == record["slice"]
        assert (row.values["width"], row.values["height"]) == ("128", "128")
    assert len({row.values["volume_id"] for row in found.rows}) == 1739
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
    assert {(row.values["width"], row.values["height"]) for row in found.rows} == {("24", "16")}


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
    picture(tmp_path / "benign" / "cut_mask.png")
    (tmp_path / "benign" / "cut.png").write_bytes(content[:100])
    found = import_images(tmp_path, tmp_path)
    assert set(facts(found, tmp_path)) == {"benign/benign (1).png", "benign/my_masks.png", "whole.jpg"}
    said = reasons(found)
    assert said["benign/cut_mask.png"] == "a mask of a picture that is not used"
    for name in ("cut.png", "bit.png", "cut.jpg", "text.png", "gif.png"):
        assert "damaged" in said[name] or "cut short" in said[name]
    assert said["empty.png"] == "it is empty" and "no PNG, JPEG or DICOM" in said["Thumbs.db"]


def test_masks_become_the_column_that_visible_lesions_need(tmp_path):
    """BUSI's layout: one picture has two lesions, one none."""
    source = tmp_path / "busi"
    for name in ("benign/benign (1)", "malignant/malignant (1)", "normal/normal (1)"):
        picture(source / f"{name}.png", size=(24, 24))
    for number, name in enumerate(
        ("benign/benign (1)_mask", "benign/benign (1)_mask_1", "malignant/malignant (1)_mask")
    ):
        mask = np.zeros((24, 24), np.uint8)
        mask[4 * number : 4 * number + 3, 5:9] = 255
        Image.fromarray(mask).save(source / f"{name}.png")
    manifest = source / "manifest.csv"
    assert main(["import", "images", str(source), "--output", str(manifest), "--keep-ids"]) == 0
    rows = {row.case_id: row for row in read_manifest(manifest).rows}
    assert rows["benign/benign (1).png"].values["mask"] == "benign/benign (1)_mask.png;benign/benign (1)_mask_1.png"
    assert rows["normal/normal (1).png"].values["mask"] == ""
    assert [rows[f"{c}/{c} (1).png"].values["class"] for c in ("benign", "malignant", "normal")] == [
        "benign",
        "malignant",
        "normal",
    ]
    cohort = join([Source(manifest).build(tmp_path / "cache", tmp_path / "home")])
    lesions = [lesion_of(cohort, case, 0) for case in range(3)]
    assert lesions[0].sum() > lesions[1].sum() > 0 and lesions[2] is None


def test_folders_of_the_only_level_are_classes(tmp_path):
    """COVID-CT's layout: they are no patients, or a split by patient would be a split by class."""
    for number in range(6):
        picture(tmp_path / "Images-processed" / "CT_COVID" / f"{number}.png")
        picture(tmp_path / "Images-processed" / "CT_NonCOVID" / f"{number}.png")
    (tmp_path / "README.md").write_text("what this is")
    found = import_images(tmp_path, tmp_path / "files")
    assert len({row.patient_id for row in found.rows}) == 12
    assert {(row.values["class"], row.label) for row in found.rows} == {("CT_COVID", 1), ("CT_NonCOVID", 0)}
    assert "taken for classes" in found.remarks[0]
    turned = import_images(tmp_path, tmp_path / "files", ["CT_COVID", "CT_NonCOVID"])
    assert {(row.values["class"], row.label) for row in turned.rows} == {("CT_COVID", 0), ("CT_NonCOVID", 1)}
    with pytest.raises(InputError, match="no folder Nobody"):
        import_images(tmp_path, tmp_path / "files", ["CT_COVID", "Nobody"])


def test_classes_of_unknown_polarity_give_no_labels(tmp_path):
    for name in ("adenoma", "cyst", "lipoma"):
        picture(tmp_path / "three" / name / "a.png")
    three = import_images(tmp_path / "three", tmp_path / "files")
    assert [(row.values["class"], row.label) for row in three.rows] == [
        ("adenoma", None),
        ("cyst", None),
        ("lipoma", None),
    ]
    for name in ("adenoma", "cyst"):
        picture(tmp_path / "two" / name / "a.png")
    two = import_images(tmp_path / "two", tmp_path / "files")
    assert [row.label for row in two.rows] == [None, None] and "--classes" in two.remarks[0]


def test_folders_of_patients_stay_patients_and_crowded_ones_are_said(tmp_path):
    for number in range(101):
        picture(tmp_path / "p1" / f"{number}.png", size=(2, 2))
    picture(tmp_path / "p2" / "0.png")
    found = import_images(tmp_path, tmp_path / "files")
    assert {row.patient_id for row in found.rows} == {"p1", "p2"}
    assert "101 pictures" in found.remarks[0]


def test_a_picture_of_absurd_size_is_refused_at_once(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 32, 983_072, 8, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (tmp_path / "tall.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert "no medical picture" in reasons(import_images(tmp_path, tmp_path / "files"))["tall.png"]
    with pytest.raises(InputError, match="no medical picture"):
        read_gray(tmp_path / "tall.png")


def test_an_import_never_loses_what_was_written_by_hand(tmp_path, capsys):
    source, manifest = tmp_path / "in", tmp_path / "m.csv"
    picture(source / "benign" / "1.png")
    command = ["import", "images", str(source), "--output", str(manifest)]
    assert main(command) == 0
    picture(source / "benign" / "2.png")  # a new picture has come: nothing is lost
    assert main(command) == 0
    assert len(read_manifest(manifest).rows) == 2
    text = manifest.read_text()
    lines = text.splitlines()
    edits = {
        "a column": "\n".join([lines[0] + ",note", lines[1] + ",mine", lines[2] + ","]) + "\n",
        "a row": text + lines[1].replace("C", "hand", 1) + "\n",
        "a value": text.replace(",0,", ",1,", 1),
    }
    for edited in edits.values():
        assert edited != text
        manifest.write_text(edited)
        capsys.readouterr()
        assert main(command) == 3
        assert "--overwrite" in capsys.readouterr().err
        assert manifest.read_text() == edited
    assert main([*command, "--overwrite"]) == 0
    assert manifest.read_text() == text


def test_dicom_says_who_and_what(tmp_path):
    ultrasound(tmp_path / "benign" / "x" / "IM1")
    ultrasound(tmp_path / "malignant" / "IM2", PatientID="", Modality="MG")
    ultrasound(tmp_path / "ct", Modality="CT")
    ultrasound(tmp_path / "loop", NumberOfFrames=30)
    ultrasound(tmp_path / "flat", Rows=0)
    (tmp_path / "broken").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    found = import_images(tmp_path, tmp_path)
    assert facts(found, tmp_path) == {"benign/x/IM1": (0, "MRN 7"), "malignant/IM2": (1, "malignant/IM2")}
    assert {(row.values["modality"], row.values["anatomy"]) for row in found.rows} == {
        ("US", "BREAST"),
        ("MG", "BREAST"),
    }
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
    assert found.rows[0].values["age"] == "61" and found.rows[0].kind == "image"
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
    assert [(row.label, row.kind, row.values["slice_index"]) for row in found.rows] == [
        (0, "slice", "-3"),
        (None, "slice", "10"),
    ]
    assert [row.values["modality"] for row in found.rows] == ["CT", "CT"]
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
    assert (row.patient_id, row.values["modality"], row.label) == ("MRN 7", "US", 1)
    assert pydicom.dcmread(row.image).Modality == "US"
