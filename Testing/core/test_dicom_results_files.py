"""Which series DICOM results are made of, and what becomes of their folder when something goes wrong."""

import errno
import os
from dataclasses import replace
from functools import partial

import numpy as np
import pydicom
import pytest
from dicom_files import write_series
from MAEMCLib.dicom_results.source import read_source
from MAEMCLib.dicom_results.writing import check_writable, write_nodule
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.measures.segment import mask_near
from reported_nodules import box_nodule, card_of, diagnosis_card, groups, written


@pytest.fixture
def card(random_card):
    return diagnosis_card(random_card)


@pytest.fixture
def nodule(card):
    return partial(box_nodule, card)


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^Jörg"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"), ("GB18030", "Zhang^X=张^三")],
)
def test_names_of_all_scripts_come_through(tmp_path, nodule, charset, name):
    def change(item, k):
        item.SpecificCharacterSet = charset
        item.PatientName = name

    write_series(tmp_path / "ct", change=change)
    _, _, done = written(tmp_path / "out", tmp_path / "ct", lambda volume: nodule(volume, nodule_id="Rundherd ö 山"))
    for file in done.folder.iterdir():
        assert str(pydicom.dcmread(file).PatientName) == name
    assert groups(done.report)[0].tracking_identifier == "Rundherd ö 山"


@pytest.mark.filterwarnings("ignore:Invalid value for VR")  # of what the test writes
def test_what_other_scanners_left_out_or_misspelled_is_empty(tmp_path, nodule):
    def change(item, k):
        del item.PatientName, item.SliceThickness
        item.PatientSex, item.PatientBirthDate, item.StudyTime = "UNKNOWN", "1.2.1950", "noon"

    write_series(tmp_path / "ct", change=change)
    _, _, done = written(tmp_path / "out", tmp_path / "ct", nodule)
    for file in done.folder.iterdir():
        found = pydicom.dcmread(file)
        for tag in ("PatientName", "PatientSex", "PatientBirthDate", "StudyTime", "StudyDate", "AccessionNumber"):
            assert tag in found and not found[tag].value, tag
    segments = pydicom.dcmread(done.folder / "segmentation.dcm")
    measures = segments.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SliceThickness == measures.SpacingBetweenSlices == 1.25


def test_no_warning_or_log_names_the_patient(tmp_path, nodule, recwarn, caplog):
    """highdicom finds fault with a name of one component, and prints it."""
    write_series(tmp_path / "ct", change=lambda item, k: setattr(item, "PatientName", "Sillywalks"))
    recwarn.clear()
    written(tmp_path / "out", tmp_path / "ct", nodule)
    said = [str(warning.message) for warning in recwarn] + [record.getMessage() for record in caplog.records]
    assert not [text for text in said if "Sillywalks" in text]


@pytest.mark.parametrize("tag", ["StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_series_without_its_identifiers_is_refused(tmp_path, tag):
    write_series(tmp_path / "ct", change=lambda item, k: delattr(item, tag))
    with pytest.raises(InputError, match=tag):
        read_source(tmp_path / "ct")


def test_other_sources_are_refused_in_a_sentence(tmp_path, nodule):
    write_series(tmp_path / "ct")
    write_series(tmp_path / "other", seed=1)  # the very same grid
    write_series(tmp_path / "moved", start=(-40.0, 21.5, -290.0))
    volume = read_volume(tmp_path / "ct")
    write_volume(volume, tmp_path / "ct.nrrd")
    with pytest.raises(InputError, match="did not come from DICOM"):
        read_source(tmp_path / "ct.nrrd")
    with pytest.raises(InputError, match="gone") as gone:
        read_source(tmp_path / "patient-name")
    assert "patient-name" not in gone.value.anonymous
    for name in ("other", "moved"):
        with pytest.raises(InputError, match="another series or study"):
            write_nodule(tmp_path / "out", "N1", read_source(tmp_path / name), nodule(volume), volume)
    assert not (tmp_path / "out").exists()


def test_a_mask_outside_of_the_series_is_refused(tmp_path, nodule):
    write_series(tmp_path / "ct")
    volume = read_volume(tmp_path / "ct")
    found = nodule(volume)
    far = found.outline.mask.affine.copy()
    far[:3, 3] += 500.0
    moved = replace(found, outline=replace(found.outline, mask=NoduleMask(found.outline.mask.array, far)))
    with pytest.raises(InputError, match="no voxel on the slices"):
        write_nodule(tmp_path / "out", "N1", read_source(tmp_path / "ct"), moved, volume)


def test_the_same_result_is_written_once_and_another_beside_it(tmp_path, nodule):
    write_series(tmp_path / "ct")
    out = tmp_path / "out"
    _, _, first = written(out, tmp_path / "ct", nodule)
    before = {file: file.read_bytes() for file in first.folder.iterdir()}
    _, _, again = written(out, tmp_path / "ct", nodule)
    assert first.new and not again.new and again.folder == first.folder
    assert {file: file.read_bytes() for file in first.folder.iterdir()} == before
    _, _, other = written(out, tmp_path / "ct", lambda volume: nodule(volume, box=(slice(2, 6),) * 3))
    _, _, gate = written(out, tmp_path / "ct", lambda volume: nodule(volume, gate="red"))
    assert len({first.folder, other.folder, gate.folder}) == 3 and other.new and gate.new
    series = {pydicom.dcmread(done.report).SeriesInstanceUID for done in (first, other, gate)}
    instances = {pydicom.dcmread(done.report).SOPInstanceUID for done in (first, other, gate)}
    assert len(series) == 1 and len(instances) == 3


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_is_interrupted_leaves_nothing_half(tmp_path, nodule, monkeypatch, error):
    write_series(tmp_path / "ct")
    calls = []

    def fails(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise error

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fails)
        with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt) as raised:
            written(tmp_path / "out", tmp_path / "ct", nodule)
    if isinstance(error, OSError):
        assert "No space left" in str(raised.value)
    assert list((tmp_path / "out").iterdir()) == []
    assert written(tmp_path / "out", tmp_path / "ct", nodule)[2].new


@pytest.mark.parametrize("place", ["/proc/self/out", "file/out", "closed/out"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, nodule, place):
    if place.startswith("closed") and os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    write_series(tmp_path / "ct")
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InputError, match="could not be written"):
        written(tmp_path / place, tmp_path / "ct", nodule)


def test_masks_of_labels_are_told_apart_by_the_point():
    array = np.zeros((20, 20, 20), np.uint8)
    array[4:8, 4:8, 4:8], array[4:8, 4:8, 8:12] = 1, 2
    segment = CTVolume(array, np.eye(4))
    assert mask_near(segment, (9.0, 5.0, 5.0)).center_lps.tolist() == [9.5, 5.5, 5.5]
    assert mask_near(segment, (7.2, 5.0, 5.0)).center_lps.tolist() == [5.5, 5.5, 5.5]
    assert mask_near(segment, (15.5, 5.0, 5.0)).center_lps.tolist() == [9.5, 5.5, 5.5]
    assert mask_near(segment, (18.0, 5.0, 5.0)) is None
    with pytest.raises(InputError, match="empty"):
        mask_near(CTVolume(np.zeros((3, 3, 3), np.uint8), np.eye(4)), (0.0, 0.0, 0.0))


def test_models_whose_result_has_no_place_are_refused_before(card, monkeypatch):
    check_writable(card)
    several = card_of({**card.values, "classes": ["a", "b", "c"]})
    with pytest.raises(UsageError, match="3 classes"):
        check_writable(several)
    with pytest.raises(UsageError, match="scores whole 2-D pictures"):
        check_writable(card_of({**card.values, "input": "picture"}))
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(UsageError, match=r"maemc\[dicom\]"):
        check_writable(card)
