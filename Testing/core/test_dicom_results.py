"""DICOM results of a nodule, read back with highdicom, on series of every kind."""

from dataclasses import replace
from functools import partial

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_files import enhanced, rotation, write_series
from MAEMCLib.dicom_results.nodule import derived_uid
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.results import InputWarning
from reported_nodules import box_nodule, card_of, diagnosis_card, groups, numbers, written

from Testing.dicom_conformance import errors_of, text_of

TILTED = np.array([0.0, 0.4, 1.2])


@pytest.fixture
def card(random_card):
    return diagnosis_card(random_card)


@pytest.fixture
def nodule(card):
    return partial(box_nodule, card)


@pytest.mark.parametrize(
    "options",
    [{}, {"axes": rotation()}, {"step": TILTED}, {"step": (0.0, 0.0, -1.25)}, {"spacing": (0.9, 0.5)}],
    ids=["axial", "oblique", "tilted", "downwards", "oblong"],
)
def test_the_segmentation_lies_on_the_slices_of_its_ct(tmp_path, nodule, options):
    write_series(tmp_path / "ct", **options)
    source, found, done = written(tmp_path / "out", tmp_path / "ct", nodule)
    files = {item.SOPInstanceUID: item for item in map(pydicom.dcmread, (tmp_path / "ct").iterdir())}
    segments = hd.seg.segread(done.folder / "segmentation.dcm")
    assert segments.SegmentationType == "BINARY" and segments.StudyInstanceUID == source.first.StudyInstanceUID
    assert segments.FrameOfReferenceUID == source.first.FrameOfReferenceUID
    assert segments.SeriesInstanceUID != source.first.SeriesInstanceUID
    whole = set()
    for pixels, frame in zip(segments.pixel_array, segments.PerFrameFunctionalGroupsSequence, strict=True):
        ct = files[frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(np.array(position, float), np.array(ct.ImagePositionPatient, float), atol=1e-6)
        for j, i in np.argwhere(pixels):
            row, column = np.array(ct.ImageOrientationPatient, float).reshape(2, 3)
            step = np.array(ct.PixelSpacing, float)
            whole.add(tuple((np.array(position, float) + row * step[1] * i + column * step[0] * j).round(2)))
    shared = segments.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    normal = np.cross(*np.array(ct.ImageOrientationPatient, float).reshape(2, 3))
    assert float(shared.SpacingBetweenSlices) == pytest.approx(abs(normal @ source.affine[:3, 2]), abs=1e-6)
    mask = found.outline.mask
    expected = np.argwhere(mask.array)[:, ::-1] @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    assert len(whole) == mask.array.sum()
    assert np.allclose(sorted(whole), sorted(map(tuple, expected.round(2))), atol=0.011)
    assert segments.NumberOfFrames == mask.array.any(axis=(1, 2)).sum()


def test_a_finer_mask_is_taken_over_by_its_nearest_voxels(tmp_path, nodule):
    write_series(tmp_path / "ct")
    volume = read_volume(tmp_path / "ct")
    fine = volume.affine.copy()
    fine[:3, :3] /= 3.0
    array = np.zeros((27, 45, 42), bool)
    array[9:20, 12:30, 10:31] = np.random.default_rng(1).random((11, 18, 21)) < 0.7
    outline = nodule(volume).outline
    made = lambda _: replace(nodule(volume), outline=replace(outline, mask=NoduleMask(array, fine)))  # noqa: E731
    _, _, done = written(tmp_path / "out", tmp_path / "ct", made)
    segments = hd.seg.segread(done.folder / "segmentation.dcm")
    frames = segments.PerFrameFunctionalGroupsSequence
    heights = [float(frame.PlanePositionSequence[0].ImagePositionPatient[2]) for frame in frames]
    pixels = segments.pixel_array[np.argsort(heights)]
    inner = array[:25:3, :40:3, :40:3]  # a third of a voxel's step: each center of the CT is one of the mask
    assert pixels.sum() == inner.sum() > 50
    assert np.array_equal(pixels[:, :14, :14], inner[inner.any(axis=(1, 2))])


@pytest.mark.parametrize("order", [range(9), [4, 1, 8, 0, 2, 6, 3, 7, 5]])
def test_frames_of_an_enhanced_ct_are_referred_to(tmp_path, nodule, order):
    _, hu, affine = write_series(tmp_path / "plain")
    (tmp_path / "ct").mkdir()
    enhanced(tmp_path / "ct" / "one.dcm", hu, affine, list(order))
    _, found, done = written(tmp_path / "out", tmp_path / "ct", nodule)
    segments = hd.seg.segread(done.folder / "segmentation.dcm")
    assert segments.pixel_array.sum() == found.outline.mask.array.sum()
    for frame in segments.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        k = order[int(source.ReferencedFrameNumber) - 1]
        z = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        assert z == pytest.approx(affine[2, 3] + k * affine[2, 2], abs=1e-4)
    _, (group,) = groups(done.report)
    assert {
        image.referenced_frame_numbers[0] for image in group.referenced_segment.source_images_for_segmentation
    } <= set(range(1, 10))


def test_the_report_says_point_measures_number_and_what_it_rests_on(tmp_path, nodule, card):
    write_series(tmp_path / "ct", axes=rotation())
    source, found, done = written(tmp_path / "out", tmp_path / "ct", nodule)
    report = hd.sr.srread(done.report)
    assert report.VerificationFlag == "UNVERIFIED" and report.CompletionFlag == "COMPLETE"
    assert report.StudyInstanceUID == source.first.StudyInstanceUID and report.PatientID == "0"
    point, (segment,) = groups(done.report)
    region = point.roi
    assert region.graphic_type == hd.sr.GraphicTypeValues3D.POINT
    assert region.frame_of_reference_uid == source.first.FrameOfReferenceUID
    assert np.abs(region.value - found.result.point_lps).max() < 0.01
    measures = found.outline.measures
    assert numbers(point) == {"111047": (12.3456, "%")}
    expected = {
        "111047": (12.3456, "%"),
        "103339001": (measures.axes.long_mm, "mm"),
        "103340004": (measures.axes.short_mm, "mm"),
        "81827009": (measures.mean_diameter_mm, "mm"),
        "118565006": (measures.volume_mm3, "mm3"),
        "112181": (measures.mean_hu, "[hnsf'U]"),
    }
    read = numbers(segment)
    assert read.keys() == expected.keys()
    for code, (value, unit) in expected.items():
        assert read[code] == (pytest.approx(value, abs=1e-4), unit)
    uid = found.tracked_in(source.first.StudyInstanceUID)
    segments = hd.seg.segread(done.folder / "segmentation.dcm")
    assert {point.tracking_uid, segment.tracking_uid, segments.SegmentSequence[0].TrackingUID} == {uid}
    assert {point.tracking_identifier, segment.tracking_identifier, segments.SegmentSequence[0].TrackingID} == {"N1"}
    assert segment.referenced_segment.referenced_sop_instance_uid == segments.SOPInstanceUID
    assert point.finding_type == segment.finding_type == hd.sr.CodedConcept("786838002", "SCT", "Nodule of lung")
    for group in (point, segment):
        items = group.get_measurements()[0][0].ContentSequence
        said = [item.TextValue for item in items if item.name.value == "111002"]
        assert {
            *("use: Research only, not for clinical use.", "weights SHA-256, one.safetensors: " + "ab" * 32),
            *("model SHA-256: " + "cd" * 32, "threshold: 0.41", "training prevalence: 0.685", "gate: amber (large)"),
        } <= set(said)
        assert [item.TextValue for item in items if item.name.value == "111001"] == [card.id]
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert {series.SeriesInstanceUID for series in evidence} >= {segments.SeriesInstanceUID}


def test_what_readers_rate_is_never_called_a_probability_of_cancer(tmp_path, nodule, card):
    write_series(tmp_path / "ct")
    rating = card_of({**card.values, "label_type": "rating", "training": {}})
    _, _, done = written(tmp_path / "out", tmp_path / "ct", lambda volume: replace(nodule(volume), card=rating))
    point, (segment,) = groups(done.report)
    for group in (point, segment):
        assert numbers(group)["111012"] == (12.3456, "%") and "111047" not in numbers(group)
        items = group.get_measurements()[0][0].ContentSequence
        said = [item.TextValue for item in items if item.name.value == "111002"]
        assert "number: malignancy probability as readers rate it" in said
        assert not [text for text in said if "prevalence" in text]


def test_without_an_outline_there_is_the_point_alone(tmp_path, nodule):
    write_series(tmp_path / "ct")
    _, _, done = written(tmp_path / "out", tmp_path / "ct", lambda volume: replace(nodule(volume), outline=None))
    assert sorted(file.name for file in done.folder.iterdir()) == ["capture.dcm", "report.dcm"]
    point, segments = groups(done.report)
    assert not segments and numbers(point) == {"111047": (12.3456, "%")}


def test_a_network_plugs_in_as_what_made_the_mask(tmp_path, nodule):
    write_series(tmp_path / "ct")

    def made(volume):
        found = nodule(volume)
        return replace(found, outline=replace(found.outline, algorithm="outliner", version="2", network=True))

    _, _, done = written(tmp_path / "out", tmp_path / "ct", made)
    segment = hd.seg.segread(done.folder / "segmentation.dcm").SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC" and segment.SegmentAlgorithmName == "outliner"
    made_by = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert made_by.AlgorithmVersion == "2" and made_by.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"


@pytest.mark.parametrize("axes", [np.eye(3), rotation()], ids=["axial", "oblique"])
def test_strangers_read_it_without_errors(tmp_path, nodule, axes):
    def change(item, k):
        item.PatientBirthDate, item.StudyDate, item.StudyTime, item.StudyID = "19500101", "20260101", "101112", "1"
        item.PatientName, item.AccessionNumber, item.ReferringPhysicianName = "Doe^Jo", "A1", "Who^Ever"

    write_series(tmp_path / "ct", axes=axes, change=change)
    _, _, done = written(tmp_path / "out", tmp_path / "ct", nodule)
    for name in ("segmentation.dcm", "report.dcm", "capture.dcm"):
        assert errors_of(done.folder / name) == [], name
    text = text_of(done.report)
    assert "Probability of cancer" in text and "UNVERIFIED" in text


def test_a_nodule_keeps_its_tracking_uid(nodule):
    volume = CTVolume(np.zeros((9, 16, 14), np.int16), np.diag([0.6, 0.7, 1.25, 1.0]))
    found = nodule(volume)
    other_model = replace(found, card=card_of(found.card.values, "99" * 32), result=replace(found.result, gate="red"))
    assert found.tracked_in("1.2") == other_model.tracked_in("1.2")
    assert found.series_in("1.3", "report") != other_model.series_in("1.3", "report")
    named = replace(found, result=replace(found.result, nodule_id="N2"))
    assert len({found.tracked_in("1.2"), found.tracked_in("1.3"), named.tracked_in("1.2")}) == 3
    assert replace(found, tracking_uid="1.2.3.4").tracked_in("1.2") == "1.2.3.4"
    assert pydicom.uid.UID(derived_uid("a", "b")).is_valid and derived_uid("a", "b") != derived_uid("ab", "")


def test_the_capture_shows_outline_and_notice_and_no_patient(tmp_path, nodule, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "matplotlib.figure.Figure.text", lambda self, x, y, text, **style: drawn.append(text), raising=True
    )

    def change(item, k):
        item.PatientName, item.PatientID = "Doe^Jo", "MRN-77"

    write_series(tmp_path / "ct", change=change)
    warned = (InputWarning("large", "32 mm is larger than the model's nodules."),) * 12
    with_outline = written(tmp_path / "out", tmp_path / "ct", lambda v: nodule(v, warnings=warned))[2]
    texts = " ".join(drawn)
    assert texts.count("RESEARCH ONLY - not for clinical use") == 2 and "0.12" in texts and "Gate: amber" in texts
    assert "long axis" in texts and "Doe" not in texts and "MRN" not in texts
    without = written(tmp_path / "out", tmp_path / "ct", lambda v: replace(nodule(v), outline=None))[2]
    assert "No outline was given" in drawn[-2]
    blue = []
    for done in (with_outline, without):
        data = pydicom.dcmread(done.folder / "capture.dcm")
        assert data.PatientID == "MRN-77" and data.Modality == "OT" and data.BurnedInAnnotation == "YES"
        pixels = data.pixel_array.astype(int)
        assert pixels.shape == (780, 1200, 3)
        assert (pixels[:40, :, 0] > 200).mean() > 0.9  # the notice's bar
        blue.append(int(((pixels[..., 2] - pixels[..., 0]) > 100).sum()))
    assert blue[0] > 2 * blue[1] > 40  # an outline; a cross
