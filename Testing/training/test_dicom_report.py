"""``--dicom-sr`` on the phantom's DICOM series, one of them oblique, from the command to what another program reads;
and a report accepted."""

import csv
import json

import highdicom as hd
import numpy as np
import pydicom
import pytest
from MAEMCLib.__main__ import main
from MAEMCLib.cases.manifest import read_manifest
from MAEMCLib.dicom_results.accepting import accept
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCTrainingLib.phantom.writing import write_phantom

from Testing.dicom_conformance import errors_of, text_of

FLIP = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Two series, the first of them oblique, each with its nodule's voxels as a segment beside it."""
    folder = tmp_path_factory.mktemp("dicom")
    rows = read_manifest(write_phantom(folder / "set", 2, seed=5, field="region", dicom=True)).rows
    for row in rows:
        volume = read_volume(row.image)
        k, j, i = np.meshgrid(*map(np.arange, volume.array.shape), indexing="ij")
        distance = np.linalg.norm(volume.to_lps(np.stack([i, j, k], axis=-1)) - row.point_lps, axis=-1)
        inside = (distance < 0.6 * row.diameter_mm) & (volume.array > -400)
        write_volume(CTVolume(inside.astype(np.uint8), volume.affine), folder / f"{row.case_id}.nrrd")
    return rows, folder


@pytest.fixture
def maemc(random_bundle, capfd):
    def run(*arguments):
        code = main([*map(str, arguments), "--model", str(random_bundle), "--device", "cpu"])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def scored(series, tmp_path_factory, random_bundle):
    """The folders of both series' DICOM results, with their rows and result documents."""
    rows, folder = series
    found = []
    for row in rows:
        out = tmp_path_factory.mktemp("out")
        ras = tmp_path_factory.mktemp("points") / "points.mrk.json"
        points = [{"label": "RLL", "position": (np.array(row.point_lps) * FLIP).tolist()}]
        markups = {"type": "Fiducial", "coordinateSystem": "RAS", "controlPoints": points}
        ras.write_text(json.dumps({"markups": [markups]}))
        options = ["--dicom-sr", "--segment", folder / f"{row.case_id}.nrrd", "--output", out, "--quiet"]
        command = ["score", row.image, "--points", ras, *options, "--model", random_bundle, "--device", "cpu"]
        assert main([*map(str, command)]) == 0
        (place,) = (out / "dicom").iterdir()
        found.append((row, place, json.loads((out / "results.json").read_text())))
    return found


def groups(place):
    content = hd.sr.srread(place / "report.dcm").content
    (point,), (segment,) = content.get_planar_roi_measurement_groups(), content.get_volumetric_roi_measurement_groups()
    return point, segment


@pytest.mark.parametrize("which", [0, 1], ids=["oblique", "axial"])
def test_point_mask_axes_probability_and_hash_are_there_again(scored, series, which):
    row, place, document = scored[which]
    assert place.name.startswith("RLL-")
    point, segment = groups(place)
    ras = np.array(row.point_lps) * FLIP
    assert np.abs(point.roi.value[0] * FLIP - ras).max() < 0.01  # RAS, LPS, SR, RAS

    mask = read_volume(series[1] / f"{row.case_id}.nrrd")
    segments = hd.seg.segread(place / "segmentation.dcm")
    assert segments.pixel_array.sum() == pytest.approx((mask.array > 0).sum(), rel=0.05)
    assert (mask.array > 0).sum() >= segments.pixel_array.sum() > 50  # the part at the point
    measures = {one.name.value: one.value for one in segment.get_measurements()}
    voxel = np.prod(mask.spacing)
    assert measures["118565006"] == pytest.approx(segments.pixel_array.sum() * voxel, rel=1e-4)
    assert 0.7 * row.diameter_mm < measures["103340004"] <= measures["103339001"] < 1.5 * row.diameter_mm
    assert measures["81827009"] == pytest.approx((measures["103339001"] + measures["103340004"]) / 2, abs=1e-3)

    (nodule,) = document["nodules"]
    for group in (point, segment):
        number = group.get_measurements(name=hd.sr.CodedConcept("111012", "DCM", "Certainty of Finding"))[0]
        assert number.value == pytest.approx(100 * nodule["probability"], abs=1e-4) and number.unit.value == "%"
        said = [item.TextValue for item in number[0].ContentSequence if item.name.value == "111002"]
        assert f"model SHA-256: {document['model']['sha256']}" in said
        assert f"input SHA-256: {nodule['input_sha256']}" in said
    assert point.tracking_uid == segment.tracking_uid == segments.SegmentSequence[0].TrackingUID


@pytest.mark.parametrize("which", [0, 1], ids=["oblique", "axial"])
def test_frames_lie_on_the_slices_of_the_series(scored, series, which):
    row, place, _ = scored[which]
    ct = {item.SOPInstanceUID: item for item in map(pydicom.dcmread, row.image.iterdir())}
    mask = read_volume(series[1] / f"{row.case_id}.nrrd")
    segments = hd.seg.segread(place / "segmentation.dcm")
    assert len(segments.pixel_array) == segments.NumberOfFrames > 3
    for pixels, frame in zip(segments.pixel_array, segments.PerFrameFunctionalGroupsSequence, strict=True):
        source = ct[frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == source.ImagePositionPatient
        k = round(mask.to_index(np.array(source.ImagePositionPatient, float))[2])
        assert not (pixels.astype(bool) & (mask.array[k] == 0)).any()


@pytest.mark.parametrize("which", [0, 1], ids=["oblique", "axial"])
@pytest.mark.parametrize("name", ["segmentation.dcm", "report.dcm", "capture.dcm"])
def test_dciodvfy_finds_no_error(scored, which, name):
    assert errors_of(scored[which][1] / name) == []


def test_dsrdump_prints_the_report(scored):
    for row, place, document in scored:
        text = text_of(place / "report.dcm")
        assert row.patient_id in text and "UNVERIFIED" in text and text.count('"Certainty of Finding"') == 2
        assert f'"{100 * document["nodules"][0]["probability"]:.2f}'[:4] in text


def test_the_series_belong_to_the_study_and_are_series_of_their_own(scored):
    for row, place, _ in scored:
        ct = pydicom.dcmread(next(row.image.iterdir()))
        found = [pydicom.dcmread(file) for file in place.iterdir()]
        assert len({item.SeriesInstanceUID for item in (ct, *found)}) == len({item.Modality for item in found}) + 1 == 4
        for item in found:
            assert (item.StudyInstanceUID, item.PatientID) == (ct.StudyInstanceUID, ct.PatientID)
            assert "AI" in item.SeriesDescription and "research only" in item.SeriesDescription


def test_a_batch_writes_them_too_with_the_manifests_segments(series, maemc, tmp_path):
    rows, folder = series
    manifest = tmp_path / "manifest.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case_id", "image", "l_mm", "p_mm", "s_mm", "segment"])
        for row, segment in zip(rows, (folder / f"{rows[0].case_id}.nrrd", ""), strict=True):
            writer.writerow([row.case_id, row.image, *row.point_lps, segment])
    code, _, err = maemc("batch", manifest, "--output", tmp_path / "results.csv", "--dicom-sr")
    assert code == 0 and f"{rows[1].case_id} N1: no segment was given" in err
    first, second = sorted((tmp_path / "results-dicom").iterdir())
    assert sorted(file.name for file in first.iterdir()) == ["capture.dcm", "report.dcm", "segmentation.dcm"]
    assert sorted(file.name for file in second.iterdir()) == ["capture.dcm", "report.dcm"]
    assert {pydicom.dcmread(place / "report.dcm").PatientID for place in (first, second)} == {
        r.patient_id for r in rows
    }


def test_a_volume_that_is_no_dicom_is_scored_and_refused_in_a_sentence(series, maemc, tmp_path):
    row = series[0][1]
    write_volume(read_volume(row.image), tmp_path / "ct.nrrd")
    point = ",".join(map(str, row.point_lps))
    code, out, err = maemc("score", tmp_path / "ct.nrrd", "--point", point, "--dicom-sr", "--output", tmp_path / "out")
    assert code == 3 and "N1: no DICOM results. The volume did not come from DICOM" in err
    assert "N1" in out and (tmp_path / "out" / "report.html").is_file() and not (tmp_path / "out" / "dicom").exists()


def test_a_segment_elsewhere_is_said_and_the_point_written(series, maemc, tmp_path):
    rows, folder = series
    point = ",".join(map(str, rows[1].point_lps))
    segment = folder / f"{rows[0].case_id}.nrrd"
    options = ("--segment", segment, "--dicom-sr", "--output", tmp_path)
    code, _, err = maemc("score", rows[1].image, "--point", point, *options)
    assert code == 0 and "the segment holds nothing within 5 mm" in err
    (place,) = (tmp_path / "dicom").iterdir()
    assert not (place / "segmentation.dcm").exists() and (place / "report.dcm").exists()


def test_a_segment_that_cannot_be_read_costs_the_dicom_results_alone(series, maemc, tmp_path):
    row = series[0][1]
    point = ",".join(map(str, row.point_lps))
    options = ("--segment", tmp_path / "none.nrrd", "--dicom-sr", "--output", tmp_path)
    code, out, err = maemc("score", row.image, "--point", point, *options)
    assert code == 3 and "N1: no DICOM results. There is no file" in err and "N1" in out


@pytest.mark.parametrize(
    ("options", "said"), [(["--dicom-sr"], "--output DIR"), (["--segment", "x.nrrd", "--output", "out"], "--dicom-sr")]
)
def test_options_that_do_not_go_together(series, maemc, options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = maemc("score", series[0][0].image, "--point", "0,0,0", *options)
    assert code == 2 and said in err and not (tmp_path / "out").exists()


@pytest.fixture
def report(scored, tmp_path):
    place = tmp_path / "report.dcm"
    place.write_bytes((scored[0][1] / "report.dcm").read_bytes())
    return place


def test_accepting_makes_a_verified_successor(report):
    content = report.read_bytes()
    accepted = accept(report, " Weber^Anna ", "Klinik Süd")
    assert accepted == report.with_name("report-accepted.dcm") and report.read_bytes() == content
    before, after = hd.sr.srread(report), hd.sr.srread(accepted)
    assert after.VerificationFlag == "VERIFIED" and before.VerificationFlag == "UNVERIFIED"
    assert after.SOPInstanceUID != before.SOPInstanceUID == pydicom.dcmread(report).SOPInstanceUID
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert after.SeriesInstanceUID == before.SeriesInstanceUID
    (verifier,) = after.VerifyingObserverSequence
    assert (verifier.VerifyingObserverName, verifier.VerifyingOrganization) == ("Weber^Anna", "Klinik Süd")
    series = after.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == before.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    observers = after.content.get_observer_contexts()
    assert [observer.observer_type.meaning for observer in observers] == ["Person", "Device"]
    assert observers[0].observer_identifying_attributes.organization_name == "Klinik Süd"
    for kind in ("get_planar_roi_measurement_groups", "get_volumetric_roi_measurement_groups"):
        (old,), (new,) = getattr(before.content, kind)(), getattr(after.content, kind)()
        assert [(one.name, one.value) for one in old.get_measurements()] == [
            (one.name, one.value) for one in new.get_measurements()
        ]


def test_strangers_read_the_accepted_report(report):
    accepted = accept(report, "Anna Weber", "Klinik Süd")
    assert errors_of(accepted) == []
    text = text_of(accepted)
    assert "Predecessor Docs    : 1" in text and "Anna Weber" in text and "VERIFIED" in text


def test_a_report_is_accepted_once(report):
    accepted = accept(report, "Weber^Anna", "Klinik Süd")
    content = accepted.read_bytes()
    for again in (report, accepted):
        with pytest.raises(InputError, match="accepted already"):
            accept(again, "Other^Reader", "Elsewhere")
    assert accepted.read_bytes() == content and len(list(report.parent.glob("*.dcm"))) == 2


@pytest.mark.parametrize(
    ("name", "organization"),
    [("", "Klinik"), ("  ", "Klinik"), ("Weber", ""), ("W" * 65, "Klinik"), ("Weber\n", "A\\B"), ("We=ber", "Klinik")],
)
def test_accepting_asks_who_it_is(report, name, organization):
    with pytest.raises(UsageError, match="Accepting asks for"):
        accept(report, name, organization)
    assert list(report.parent.iterdir()) == [report]


def test_what_is_no_report_is_not_accepted(scored, report):
    with pytest.raises(InputError, match="no report of MAEMC"):
        accept(scored[0][1] / "segmentation.dcm", "Weber", "Klinik")
    whole = report.read_bytes()
    for length in (0, 100, 700, len(whole) // 3, len(whole) // 2, len(whole) - 300, len(whole) - 1):
        report.write_bytes(whole[:length])
        with pytest.raises(InputError):
            accept(report, "Weber", "Klinik")
    with pytest.raises(InputError):
        accept(report.with_name("none.dcm"), "Weber", "Klinik")
