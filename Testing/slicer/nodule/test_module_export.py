"""Results leave the panel: tables, DICOM; with pseudonyms, whole or not at all, and why something cannot."""

import csv
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import highdicom as hd
import numpy as np
import pytest
import slicer
from MAEMCLib.errors import InputError
from MAEMCLib.review.observer import Observer, store_observer
from MAEMCLib.worker.client import WorkerClient

from Testing.core.dicom_files import write_series


@pytest.fixture
def models(tmp_path, random_bundle, monkeypatch):
    """A home of the test's own."""
    from MAEMCLib.models import store as model_store

    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    shutil.copy(random_bundle, home / "models" / "random.maemc")
    monkeypatch.setenv("MAEMC_HOME", str(home))
    monkeypatch.setattr(model_store, "shipped_folder", lambda: None)
    return home


@pytest.fixture
def panel(instant_panel, views):
    instant_panel.widget.parent.show()
    return instant_panel


@pytest.fixture
def worker(panel):
    """From when it is called, a real scoring process."""
    client = WorkerClient()
    yield lambda: setattr(panel.logic.queue, "worker", client)
    client.stop()


def widget(dialog, name):
    return next(one for one in dialog.findChildren("QWidget") if one.objectName == name)


def opened(panel, folder):
    """The dialog, with a folder chosen."""
    panel.ui.exportButton.click()
    dialog = panel.widget.exportDialog.dialog
    assert dialog.visible
    widget(dialog, "folderButton").directory = str(folder)
    return dialog


def place(panel, volume, ras):
    panel.parameters.inputVolume = volume
    panel.run(0.1)
    points = panel.place(ras)
    panel.settle()
    return points


def test_tables_have_pseudonyms_unless_names_are_wanted(panel, add_ct, tmp_path):
    volume = add_ct("SMITH JOHN")
    points = place(panel, volume, (0, 0, 0))
    points.SetNthControlPointLabel(0, "Mr Smith's nodule")
    panel.settle()
    dialog = opened(panel, tmp_path)
    widget(dialog, "reportCheckBox").checked = False
    reason = widget(dialog, "dicomReasonLabel")
    assert "did not come from DICOM" in reason.text and not widget(dialog, "dicomCheckBox").enabled
    widget(dialog, "writeButton").click()
    assert "results.csv, results.json" in widget(dialog, "exportStatusLabel").text
    written = (tmp_path / "results.csv").read_text() + (tmp_path / "results.json").read_text()
    assert "smith" not in written.lower()
    (row,) = csv.DictReader((tmp_path / "results.csv").open())
    assert row["nodule_id"] == "N1" and row["image"].startswith("V") and len(row["image"]) == 17
    assert float(row["probability"]) == pytest.approx(panel.records()[0].result["probability"], abs=1e-6)
    assert "Research only" in json.loads((tmp_path / "results.json").read_text())["disclaimer"]
    widget(dialog, "namesCheckBox").checked = True
    widget(dialog, "writeButton").click()
    (row,) = csv.DictReader((tmp_path / "results.csv").open())
    assert row["nodule_id"] == "Mr Smith's nodule" and row["image"] == "SMITH JOHN"


def test_the_report_has_a_page_for_each_nodule_that_may_be_seen(panel, add_ct, tmp_path, worker):
    volume = add_ct("SMITH JOHN")
    points = place(panel, volume, (0, 0, 0))
    panel.logic.reviewing.readerFirst = True
    panel.place((20, 0, 0), points)
    panel.settle()
    seen, hidden = (record.result["probability"] for record in panel.records())
    worker()
    dialog = opened(panel, tmp_path / "out")
    widget(dialog, "tablesCheckBox").checked = False
    widget(dialog, "writeButton").click()
    status = widget(dialog, "exportStatusLabel")
    panel.wait(lambda: "Writing" not in status.text, "report")
    assert status.text == "Written: report.html, report.pdf."
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"{seen:.2f}" in page and f"N2: {hidden:.2f}" not in page and "SMITH" not in page
    assert "Research only" in page
    assert (tmp_path / "out" / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_folder_that_cannot_be_written_is_a_sentence_and_nothing_is_lost(panel, add_ct, tmp_path):
    place(panel, add_ct(), (0, 0, 0))
    dialog = opened(panel, tmp_path)
    widget(dialog, "reportCheckBox").checked = False
    widget(dialog, "writeButton").click()
    before = (tmp_path / "results.csv").read_bytes()
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    widget(dialog, "folderButton").directory = str(blocked)
    widget(dialog, "writeButton").click()
    assert "could not be written" in widget(dialog, "exportStatusLabel").text
    if os.geteuid():  # rights do not hold root back
        tmp_path.chmod(0o500)
        widget(dialog, "folderButton").directory = str(tmp_path)
        widget(dialog, "writeButton").click()
        tmp_path.chmod(0o700)
        assert "could not be written" in widget(dialog, "exportStatusLabel").text
    assert (tmp_path / "results.csv").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def in_order(item, path):
    """Slicer's own reader of a series takes files in the order of their names."""
    item.save_as(path.with_name(f"{int(item.InstanceNumber):03d}.dcm"), enforce_file_format=True)


@pytest.fixture
def dicom(panel, tmp_path, models, worker):
    """(panel, folder of a small DICOM series, volume node): scored and shown in spite of its red gate."""
    write_series(tmp_path / "ct", patient="4711", save=in_order)
    first = sorted((tmp_path / "ct").iterdir())[0]
    volume = slicer.util.loadVolume(str(first), properties={"name": "CT", "singleFile": False})
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    place(panel, volume, np.array(bounds).reshape(3, 2).mean(axis=1))
    worker()
    return panel, tmp_path / "ct", volume


def write_dicom(panel, folder):
    dialog = opened(panel, folder)
    widget(dialog, "tablesCheckBox").checked = widget(dialog, "reportCheckBox").checked = False
    box = widget(dialog, "dicomCheckBox")
    assert box.enabled, widget(dialog, "dicomReasonLabel").text
    box.checked = True
    widget(dialog, "writeButton").click()
    status = widget(dialog, "exportStatusLabel")
    panel.wait(lambda: "Writing" not in status.text, "DICOM")
    return status.text


def test_dicom_results_are_written_into_the_study_and_verified_when_accepted(dicom, tmp_path, models):
    panel, _ct, _volume = dicom
    dialog = opened(panel, tmp_path / "out")
    assert "red" in widget(dialog, "dicomReasonLabel").text, "the number has not been seen yet"
    analysis = panel.logic.analyses()[0]
    pointID = analysis.recordIDs()[0]
    panel.logic.reviewing.showAnyway(analysis, pointID)
    panel.run(0.2)
    text = write_dicom(panel, tmp_path / "out")
    assert "capture.dcm, report.dcm" in text, text
    (folder,) = (tmp_path / "out" / "dicom").iterdir()
    report = hd.sr.srread(folder / "report.dcm")
    assert report.PatientID == "4711" and report.VerificationFlag == "UNVERIFIED"
    (group,) = report.content.get_planar_roi_measurement_groups()
    assert np.allclose(group.roi.value, panel.records()[0].result["point_lps"], atol=0.01)
    values = {one.name.value: one.value for one in group.get_measurements()}
    assert 100 * panel.records()[0].result["probability"] == pytest.approx(float(values["111012"]), abs=0.01)
    assert "unchanged" in write_dicom(panel, tmp_path / "out")

    store_observer(models, Observer("Doe^Jane", "General Hospital"))
    panel.logic.reviewing.decide(analysis, pointID, "accepted")
    panel.run(0.2)
    assert "report-accepted.dcm" in write_dicom(panel, tmp_path / "out")
    accepted = hd.sr.srread(folder / "report-accepted.dcm")
    assert accepted.VerificationFlag == "VERIFIED"
    assert str(accepted.VerifyingObserverSequence[0].VerifyingObserverName) == "Doe^Jane"
    assert accepted.PredecessorDocumentsSequence

    panel.logic.reviewing.decide(analysis, pointID, "rejected")
    panel.run(0.2)
    assert "rejected" in widget(panel.widget.exportDialog.dialog, "dicomReasonLabel").text


def test_dicom_of_a_volume_that_was_changed_or_whose_files_are_gone_is_refused(dicom, tmp_path):
    panel, ct, volume = dicom
    analysis = panel.logic.analyses()[0]
    panel.logic.reviewing.showAnyway(analysis, analysis.recordIDs()[0])
    panel.run(0.2)
    voxels = slicer.util.arrayFromVolume(volume)
    voxels += 5  # without telling anybody
    assert "is not as its DICOM files have it" in write_dicom(panel, tmp_path / "out")
    assert not (tmp_path / "out" / "dicom").exists()
    voxels -= 5
    panel.widget.exportDialog.dialog.hide()
    shutil.move(ct, tmp_path / "elsewhere")
    dialog = opened(panel, tmp_path / "out")
    panel.widget.exportDialog._update()
    assert "files of CT are gone" in widget(dialog, "dicomReasonLabel").text
    assert widget(dialog, "tablesCheckBox").enabled, "everything else still works"


def test_stopped_in_the_midst_nothing_half_is_left(dicom, tmp_path):
    panel, _ct, _volume = dicom
    analysis = panel.logic.analyses()[0]
    panel.logic.reviewing.showAnyway(analysis, analysis.recordIDs()[0])
    panel.run(0.2)
    dialog = opened(panel, tmp_path / "out")
    widget(dialog, "tablesCheckBox").checked = False
    widget(dialog, "dicomCheckBox").checked = True
    widget(dialog, "writeButton").click()
    assert panel.logic.isBusy()
    panel.logic.stop()
    assert widget(dialog, "exportStatusLabel").text == "Stopped. Stopped."
    written = [path for path in Path(tmp_path / "out").rglob("*.dcm") if ".part" not in str(path)]
    assert not written and not panel.logic.isBusy()


def test_files_are_found_by_slicers_dicom_database(panel, tmp_path, monkeypatch):
    """Slicer names a volume by its images; its own file is another one once the scene was saved."""
    import pydicom
    from MAEMCNodulePanel.dicomfiles import headerOf, sourceFile

    write_series(tmp_path / "ct", patient="4711", save=in_order)
    files = {str(pydicom.dcmread(file).SOPInstanceUID): str(file) for file in (tmp_path / "ct").iterdir()}
    database = SimpleNamespace(isOpen=True, fileForInstance=lambda uid: files.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    with pytest.raises(InputError, match="did not come from DICOM"):
        sourceFile(volume)
    volume.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    assert sourceFile(volume) == Path(next(iter(files.values()))) and headerOf(volume).text("PatientID") == "4711"
    files.clear()
    with pytest.raises(InputError, match="files of CT are gone"):
        sourceFile(volume)
    assert headerOf(volume).text("PatientID") == ""


def test_a_script_exports_with_or_without_names(panel, add_ct, tmp_path):
    place(panel, add_ct("Jones"), (0, 0, 0))
    analysis = panel.logic.analyses()[0]
    path, _document = panel.logic.exportResults(analysis, tmp_path)
    assert "Jones" not in path.read_text()
    path, _document = panel.logic.exportResults(analysis, tmp_path, named=True)
    assert "Jones" in path.read_text()
    with pytest.raises(InputError, match="could not be written"):
        panel.logic.exportResults(analysis, tmp_path / "no" / "such" / "folder")


class SilentClient:
    """A worker that takes every request and answers none."""

    pid, log, silent_seconds, sent = None, (), 0.0, 0

    def send(self, request, tag=None, **fields):
        self.sent += 1
        return self.sent

    def poll(self):
        return []

    def cancel(self):
        pass

    stop = cancel


def test_an_interrupted_export_leaves_what_was_whole_and_can_be_done_again(panel, add_ct, tmp_path, worker):
    place(panel, add_ct(), (0, 0, 0))
    out, silent = tmp_path / "out", SilentClient()
    out.mkdir()
    (out / "report.html").write_text("an earlier one")
    panel.logic.queue.worker = silent
    dialog = opened(panel, out)
    widget(dialog, "writeButton").click()
    status = widget(dialog, "exportStatusLabel")
    assert "Writing" in status.text and silent.sent == 1 and panel.logic.isBusy()
    panel.run(0.2)
    panel.ui.stopButton.click()
    panel.run(0.3)
    assert status.text == "Stopped. Written: results.csv, results.json."
    assert {path.name for path in out.iterdir()} == {"report.html", "results.csv", "results.json"}
    assert (out / "report.html").read_text() == "an earlier one"
    assert panel.records()[0].state == "scored", "what was scored stays"
    worker()
    widget(dialog, "tablesCheckBox").checked = False
    widget(dialog, "writeButton").click()
    panel.wait(lambda: "Writing" not in status.text, "report")
    assert status.text == "Written: report.html, report.pdf."
    assert "an earlier one" not in (out / "report.html").read_text()


def test_tables_that_cannot_be_finished_leave_those_of_before(panel, add_ct, tmp_path, monkeypatch):
    place(panel, add_ct(), (0, 0, 0))
    dialog = opened(panel, tmp_path)
    widget(dialog, "reportCheckBox").checked = False
    widget(dialog, "writeButton").click()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("results.*")}
    panel.parameters.points.SetNthControlPointPosition(0, 3, 0, 0)
    panel.settle()

    def full(*places):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    widget(dialog, "writeButton").click()
    monkeypatch.undo()
    assert "results" in widget(dialog, "exportStatusLabel").text and "Written" not in widget(
        dialog, "exportStatusLabel"
    ).text  # fmt: skip
    assert {path.name: path.read_bytes() for path in tmp_path.glob("results.*")} == before
    assert not list(tmp_path.glob("*.tmp*")), "nor half of one"


@pytest.mark.soak
def test_two_hundred_points(panel, add_ct, tmp_path):
    """As many as a metastatic lung has: all scored, listed and written."""
    add_ct(shape=(60, 110, 100))
    panel.settle()
    points = panel.place((0, 0, 0))
    for number in range(1, 200):
        points.AddControlPoint([float(number % 20) * 3 - 30, float(number // 20) * 4 - 20, 0.0])
    panel.settle()
    assert panel.ui.resultTable.rowCount == 200
    assert {record.state for record in panel.records()} == {"scored"}
    dialog = opened(panel, tmp_path)
    widget(dialog, "reportCheckBox").checked = False
    widget(dialog, "writeButton").click()
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["nodule_id"] for row in rows] == [f"N{number}" for number in range(1, 201)]
    assert {row["status"] for row in rows} == {"scored"}
