"""A reader reviews nodules in the panel: own estimate first, red gates, Accept, Correct, Reject, outcomes."""

import json
import shutil
from pathlib import Path

import pytest
import qt
import slicer
from MAEMCLib.errors import UsageError
from MAEMCLib.review.observer import Observer, read_observer, store_observer
from MAEMCLib.review.reviews import Reviews
from slicerhost import qt_modal

from Testing.slicer.nodule.seen import foregrounds, label


@pytest.fixture
def models(tmp_path, random_bundle, monkeypatch):
    """A home of the test's own: reviews are kept there."""
    from MAEMCLib.models import store as model_store

    (tmp_path / "models").mkdir()
    shutil.copy(random_bundle, tmp_path / "models" / "random.maemc")
    monkeypatch.setenv("MAEMC_HOME", str(tmp_path))
    monkeypatch.setattr(model_store, "shipped_folder", lambda: None)
    return tmp_path


@pytest.fixture
def panel(instant_panel, views):
    instant_panel.widget.parent.show()
    return instant_panel


@pytest.fixture
def observer(models):
    store_observer(models, Observer("Doe^Jane", "General Hospital"))


def log(home):
    path = home / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def events(home):
    return [entry["event"] for entry in log(home)]


def place(panel, add_ct, ras=(0, 0, 0)):
    volume = add_ct()
    panel.settle()
    points = panel.place(ras)
    panel.settle()
    return volume, points


def part(panel, name):
    """A widget of the panel, by name."""
    return next(one for one in panel.widget.parent.findChildren("QWidget") if one.objectName == name)


def everything_seen(panel, points):
    """All texts in which a number could stand: labels, panel, table."""
    analysis = panel.logic.analyses()[0]
    table = analysis.tableNode
    cells = [
        table.GetCellText(row, column)
        for row in range(table.GetNumberOfRows())
        for column in range(table.GetNumberOfColumns())
        if not table.GetColumnName(column).endswith("_mm")
    ]
    labels = [widget.text for widget in panel.widget.parent.findChildren("QLabel") if widget.visible]
    rows = panel.ui.resultTable
    rows = [rows.item(row, column).text() for row in range(rows.rowCount) for column in range(rows.columnCount)]
    return [*cells, *labels, *rows, label(points)]


def number_in(record):
    return f"{record.result['probability']:.2f}"


def test_a_number_that_is_shown_is_in_the_log_once(panel, models, add_ct):
    volume, points = place(panel, add_ct)
    assert events(models) == ["revealed"]
    (entry,) = log(models)
    (record,) = panel.records()
    assert entry["probability"] == record.result["probability"] and entry["override"] is False
    assert entry["model"]["id"] == "random" and len(entry["model"]["weights"][0]) == 64
    text = (models / "audit.jsonl").read_text()
    assert volume.GetName() not in text and "N1" not in text.replace(entry["nodule"], "")
    panel.widget.onScore()
    panel.settle()
    assert events(models) == ["revealed"], "the same number"
    points.SetNthControlPointPosition(0, 4, 0, 0)
    panel.settle()
    assert events(models) == ["revealed"] * 2
    assert len({entry["nodule"] for entry in log(models)}) == 1, "a nodule that is moved is the same nodule"


def test_reader_first_hides_the_number_everywhere_until_the_estimate_is_stored(panel, models, add_ct, tmp_path):
    part(panel, "readerFirstCheckBox").click()
    volume, points = place(panel, add_ct)
    (record,) = panel.records()
    number = number_in(record)
    assert not [text for text in everything_seen(panel, points) if number in text or "-like" in text]
    assert label(points) == "N1" and not foregrounds()
    assert not panel.ui.barLabel.visible and not panel.ui.picturesLabel.visible
    assert part(panel, "hiddenLabel").text.startswith("Reader first: store your own estimate")
    table = panel.logic.score(volume, points, timeout=60)
    column = table.GetTable().GetColumnByName("probability")
    assert column.GetValue(0) != column.GetValue(0), "the console sees no number either"
    csv, document = panel.logic.exportResults(panel.logic.analyses()[0], tmp_path)
    assert str(record.result["probability"])[:6] not in csv.read_text() + document.read_text()
    assert "Reader first" in csv.read_text()
    assert not part(panel, "acceptButton").enabled and "hidden" in part(panel, "acceptButton").toolTip
    assert "revealed" not in events(models)

    assert not part(panel, "storeEstimateButton").enabled, "nothing is suggested"
    part(panel, "estimateSpinBox").value = 35
    part(panel, "storeEstimateButton").click()
    panel.settle()
    assert [(entry["event"], entry.get("percent")) for entry in log(models)] == [("estimated", 35), ("revealed", None)]
    assert label(points) == f"N1: {number}" and number in panel.ui.headlineLabel.text
    assert foregrounds() and not part(panel, "hiddenLabel").visible
    assert table.GetTable().GetColumnByName("probability").GetValue(0) == record.result["probability"]
    # Of another nodule the number is hidden again, and nothing that was typed for the first one is left.
    panel.place((20, 0, 0), points)
    panel.settle()
    assert label(points, 1) == "N2" and label(points) == f"N1: {number}"
    assert part(panel, "estimateSpinBox").value == -1


def test_a_number_that_was_seen_stays_seen(panel, models, add_ct):
    _volume, points = place(panel, add_ct)
    part(panel, "readerFirstCheckBox").click()
    panel.settle()
    assert label(points) == f"N1: {number_in(panel.records()[0])}"
    assert Reviews(models).reader_first, "kept for the next session"
    with pytest.raises(UsageError, match="shown already"):
        panel.logic.reviewing.estimate(panel.logic.analyses()[0], points.GetNthControlPointID(0), 30)


def test_hidden_numbers_stay_hidden_in_a_scene_that_is_opened_again(panel, models, add_ct, tmp_path):
    part(panel, "readerFirstCheckBox").click()
    _volume, points = place(panel, add_ct)
    number = number_in(panel.records()[0])
    assert slicer.util.saveScene(str(tmp_path / "hidden.mrb"))
    slicer.mrmlScene.Clear()
    slicer.util.loadScene(str(tmp_path / "hidden.mrb"))
    panel.settle()
    points = panel.parameters.points
    assert not [text for text in everything_seen(panel, points) if number in text]
    part(panel, "estimateSpinBox").value = 80
    part(panel, "storeEstimateButton").click()
    panel.settle()
    assert label(points) == f"N1: {number}"


def test_behind_a_red_gate_the_number_is_shown_only_anyway_which_is_logged(panel, models, add_ct):
    _volume, points = place(panel, add_ct, (48, 54, 44))  # at a corner of the volume
    (record,) = panel.records()
    number = number_in(record)
    assert record.result["gate"] == "red"
    assert label(points) == "N1" and not panel.ui.barLabel.visible and not foregrounds()
    assert "padded" in part(panel, "hiddenLabel").text and "outside" in panel.ui.findingsLabel.text
    assert not part(panel, "estimateSpinBox").visible
    button = part(panel, "showAnywayButton")
    assert button.visible and button.text == "Show anyway"
    button.click()
    panel.settle()
    assert label(points) == f"N1: {number}"
    assert log(models)[-1]["event"] == "revealed" and log(models)[-1]["override"] is True
    assert log(models)[-1]["gate_reasons"] == ["padded"]
    assert part(panel, "acceptButton").enabled


def test_accepting_asks_once_who_decides_and_locks_the_point(panel, models, add_ct):
    _volume, points = place(panel, add_ct)

    def closed(dialog):
        return 0

    def filled(dialog):
        name, organization = (
            next(one for one in dialog.findChildren("QLineEdit") if one.objectName == wanted)
            for wanted in ("nameEdit", "organizationEdit")
        )
        problem = next(one for one in dialog.findChildren("QLabel") if one.objectName == "observerProblemLabel")
        box = next(iter(dialog.findChildren("QDialogButtonBox")))
        name.text = "Doe^Jane"
        box.emit("accepted()")
        assert "organization" in problem.text, "asked until it can be stored"
        organization.text = "General Hospital"
        box.emit("accepted()")
        return 1

    accept = part(panel, "acceptButton")
    with qt_modal.answers(exec_=[closed, filled]) as asked:
        qt_modal._answers["exec_"] = lambda dialog: (closed if len(asked) == 1 else filled)(dialog)
        accept.click()
        assert not accept.checked and events(models) == ["revealed"]
        accept.click()
        assert len(asked) == 2
    assert read_observer(models) == Observer("Doe^Jane", "General Hospital")
    assert accept.checked and points.GetNthControlPointLocked(0)
    assert part(panel, "decisionLabel").text.startswith("Accepted 20")
    table = panel.logic.analyses()[0].tableNode
    assert table.GetTable().GetColumnByName("decision").GetValue(0) == "accepted"
    entry = log(models)[-1]
    assert entry["event"] == "decided" and entry["decision"] == "accepted"
    assert entry["result"]["probability"] == panel.records()[0].result["probability"]
    assert "Jane" not in (models / "audit.jsonl").read_text()

    part(panel, "rejectButton").click()
    assert not accept.checked and not points.GetNthControlPointLocked(0)
    assert [entry["event"] for entry in log(models)] == ["revealed", "decided", "decided"], "nothing is overwritten"
    assert part(panel, "decisionLabel").text.startswith("Rejected")


def test_a_point_that_the_user_has_locked_stays_locked(panel, models, add_ct, observer):
    _volume, points = place(panel, add_ct)
    points.SetNthControlPointLocked(0, True)
    part(panel, "acceptButton").click()
    part(panel, "rejectButton").click()
    assert points.GetNthControlPointLocked(0)


def test_a_new_number_is_not_decided_on_yet(panel, models, add_ct, observer):
    _volume, points = place(panel, add_ct)
    part(panel, "acceptButton").click()
    points.SetNthControlPointPosition(0, 5, 2, 1)  # by a script: for the mouse it is locked
    panel.settle()
    assert not part(panel, "acceptButton").checked and not part(panel, "decisionLabel").visible
    assert not points.GetNthControlPointLocked(0)


def test_a_correction_names_what_was_corrected(panel, models, add_ct, observer):
    place(panel, add_ct)

    def corrected(dialog):
        boxes = {box.objectName: box for box in dialog.findChildren("QCheckBox")}
        ok = next(iter(dialog.findChildren("QDialogButtonBox"))).button(qt.QDialogButtonBox.Ok)
        spin = next(iter(dialog.findChildren("QSpinBox")))
        assert not ok.enabled and not spin.enabled
        boxes["classCheckBox"].checked = boxes["probabilityCheckBox"].checked = True
        assert ok.enabled and spin.enabled
        spin.value = 15
        return 1

    with qt_modal.answers(exec_=corrected):
        part(panel, "correctButton").click()
    entry = log(models)[-1]
    assert entry["decision"] == "corrected" and entry["corrected"] == ["class", "probability"]
    assert entry["percent"] == 15
    assert "class, probability (mine: 15 %)" in part(panel, "decisionLabel").text
    with qt_modal.answers(exec_=0):
        part(panel, "correctButton").click()
    assert part(panel, "correctButton").checked and log(models)[-1] == entry, "closed: as it was"


def test_outcomes_come_later_and_after_twenty_the_calibration_is_drawn(panel, models, add_ct, warm_client):
    place(panel, add_ct)
    selector, store = part(panel, "outcomeSelector"), part(panel, "storeOutcomeButton")
    assert not store.enabled
    selector.currentIndex = selector.findData("malignant")
    selector.emit("activated(int)", selector.currentIndex)
    part(panel, "outcomeDateEdit").text = "2999-01-01"
    store.click()
    assert "no day up to today" in panel.logic.status.text and "outcome" not in events(models)
    part(panel, "outcomeDateEdit").text = "2026-01-15"
    store.click()
    assert log(models)[-1]["outcome"] == "malignant" and log(models)[-1]["date"] == "2026-01-15"
    button = part(panel, "calibrationButton")
    assert not button.enabled and button.toolTip == "After 20 outcomes; 1 are stored."

    card, reviews = panel.logic.chosenCard(), Reviews(models)
    from MAEMCNodulePanel.reviewstate import openedReviews, resultOf

    result = resultOf(panel.records()[0])
    for number in range(19):
        subject = reviews.subject("1.2.3", str(number))
        reviews.estimate(subject, 5 * number)
        reviews.reveal(subject, result, card)
        reviews.outcome(subject.nodule, "malignant" if number > 9 else "benign")
    openedReviews().refresh()
    panel.widget.reviewSection._refresh()
    assert button.enabled
    panel.logic.queue.worker = warm_client
    warm_client.stop()
    button.click()
    dialogs = [one for one in panel.application.topLevelWidgets() if one.windowTitle == "Local calibration"]
    (dialog,) = [one for one in dialogs if one.visible]
    picture = next(iter(dialog.findChildren("QLabel")))
    panel.wait(lambda: "Drawing" not in picture.text, "drawn")
    assert picture.text == "" and picture.pixmap.width() > 600
    dialog.close()


def test_a_log_that_cannot_be_written_decides_nothing_and_says_so(panel, models, add_ct, observer):
    place(panel, add_ct)
    content = (models / "audit.jsonl").read_bytes()
    (models / "audit.jsonl").unlink()
    (models / "audit.jsonl").mkdir()
    part(panel, "acceptButton").click()
    assert panel.logic.status.kind == "error" and "audit" in panel.logic.status.text.lower()
    assert not part(panel, "acceptButton").checked and not panel.parameters.points.GetNthControlPointLocked(0)
    (models / "audit.jsonl").rmdir()
    (models / "audit.jsonl").write_bytes(content)
    part(panel, "acceptButton").click()
    assert part(panel, "acceptButton").checked


def test_the_files_of_the_section_are_in_the_tree():
    folder = Path(__file__).resolve().parents[3] / "MAEMCNodule"
    listed = (folder / "CMakeLists.txt").read_text()
    for path in (folder / "Resources" / "UI").glob("*.ui"):
        assert f"Resources/UI/{path.name}" in listed
