"""DICOM results of a nodule: read back with highdicom, on series of every kind, and what is refused."""

import errno
import os
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_files import enhanced, rotation, write_series
from MAEMCLib.dicom_results.cases import mask_at
from MAEMCLib.dicom_results.nodule import Outline, ReportedNodule, derived_uid
from MAEMCLib.dicom_results.source import read_source
from MAEMCLib.dicom_results.writing import check_writable, write_nodule
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.measures.mask import NoduleMask
from MAEMCLib.measures.measures import measure
from MAEMCLib.models.card import ModelCard
from MAEMCLib.results import InputWarning, NoduleResult

from Testing.dicom_conformance import errors_of, text_of

TILTED = np.array([0.0, 0.4, 1.2])


@pytest.fixture
def card(random_card):
    files = {"one.safetensors": {"sha256": "ab" * 32, "bytes": 9}}
    training = {"prevalence": 0.685, "prior_in_probability": 0.5}
    members = [{"file": "one.safetensors", "role": "classifier"}]
    values = {"files": files, "members": members, "training": training, "label_type": "diagnosis"}
    return ModelCard({**random_card, **values}, "cd" * 32)


@pytest.fixture
def nodule(card):
    """Of a volume, with the voxels of a box for its mask."""

    def made(volume, box=(slice(2, 6), slice(4, 9), slice(3, 11)), **changes):
        array = np.zeros(volume.array.shape, bool)
        array[box] = True
        array[box][0, 0, 0] = False
        point = volume.to_lps(np.argwhere(array).mean(axis=0)[::-1])
        mask = NoduleMask.at(array, volume.affine, point)
        result = NoduleResult("N1", tuple(point.tolist()), "scored", probability=0.123456, threshold=0.41)
        result = replace(
            result, gate="amber", gate_reasons=("large",), input_sha256="ef" * 32, class_name="benign-like"
        )
        outline = Outline(mask, measure(volume, mask), "Segment given as a file", "0.1", parameters=("hash: 1",))
        return ReportedNodule(replace(result, **changes), card, 1, outline)

    return made


def written(folder, path, made):
    """The series at a path with its nodule's results: the source, and the folder they were written to."""
    volume = read_volume(path)
    source, found = read_source(path), made(volume)
    return source, found, write_nodule(folder, "N1", source, found, volume)


def groups(report):
    content = hd.sr.srread(report).content
    point, *segments = content.get_planar_roi_measurement_groups(), *content.get_volumetric_roi_measurement_groups()
    return point[0], segments


def numbers(group):
    return {one.name.value: (one.value, one.unit.value) for one in group.get_measurements()}


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
    rating = ModelCard({**card.values, "label_type": "rating", "training": {}}, card.sha256)
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
        del item.PatientName
        item.PatientSex, item.PatientBirthDate, item.StudyTime = "UNKNOWN", "1.2.1950", "noon"

    write_series(tmp_path / "ct", change=change)
    _, _, done = written(tmp_path / "out", tmp_path / "ct", nodule)
    for file in done.folder.iterdir():
        found = pydicom.dcmread(file)
        for tag in ("PatientName", "PatientSex", "PatientBirthDate", "StudyTime", "StudyDate", "AccessionNumber"):
            assert tag in found and not found[tag].value, tag


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


def test_a_nodule_keeps_its_tracking_uid(nodule):
    volume = CTVolume(np.zeros((9, 16, 14), np.int16), np.diag([0.6, 0.7, 1.25, 1.0]))
    found = nodule(volume)
    other_model = replace(found, card=ModelCard(found.card.values, "99" * 32), result=replace(found.result, gate="red"))
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


def test_masks_of_labels_are_told_apart_by_the_point():
    array = np.zeros((20, 20, 20), np.uint8)
    array[4:8, 4:8, 4:8], array[4:8, 4:8, 8:12] = 1, 2
    segment = CTVolume(array, np.eye(4))
    assert mask_at(segment, (9.0, 5.0, 5.0)).center_lps.tolist() == [9.5, 5.5, 5.5]
    assert mask_at(segment, (7.2, 5.0, 5.0)).center_lps.tolist() == [5.5, 5.5, 5.5]
    assert mask_at(segment, (15.5, 5.0, 5.0)).center_lps.tolist() == [9.5, 5.5, 5.5]
    assert mask_at(segment, (18.0, 5.0, 5.0)) is None
    with pytest.raises(InputError, match="empty"):
        mask_at(CTVolume(np.zeros((3, 3, 3), np.uint8), np.eye(4)), (0.0, 0.0, 0.0))


def test_models_whose_result_has_no_place_are_refused_before(card, monkeypatch):
    check_writable(card)
    several = ModelCard({**card.values, "classes": ["a", "b", "c"]}, card.sha256)
    with pytest.raises(UsageError, match="3 classes"):
        check_writable(several)
    with pytest.raises(UsageError, match="scores whole 2-D pictures"):
        check_writable(ModelCard({**card.values, "input": "picture"}, card.sha256))
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(UsageError, match=r"maemc\[dicom\]"):
        check_writable(card)
