"""Leaving out similar slices from the panel: the dialog's choices, and the real command, stopped and continued."""

import json

import numpy as np
import pytest
import qt
import slicer
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import write_manifest
from PIL import Image
from slicerhost import qt_modal

OK = qt.QDialogButtonBox.Ok
SSIM = {
    "methodSelector": "ssim",
    "limitSelector": "threshold",
    "thresholdSpinBox": 0.9,
    "selectionSelector": "pairwise",
}


@pytest.fixture(scope="session")
def long_stacks(tmp_path_factory):
    """Six volumes of 60 slices: half a second or more each by structural similarity, on any machine."""
    folder = tmp_path_factory.mktemp("long stacks")
    y, x = np.mgrid[:96, :96] / 96
    rows = []
    for volume in range(6):
        for index in range(60):
            gray = 128 + 60 * np.sin(9 * x + volume + 0.1 * index) + 60 * np.sin(7 * y + 0.2 * index)
            path = folder / f"{volume}-{index}.png"
            Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).save(path)
            extra = {"volume_id": f"v{volume}", "slice_index": str(index)}
            rows.append(Case(f"c{volume}-{index}", f"p{volume}", path, "slice", values=extra))
    return write_manifest(folder / "manifest.csv", rows)


def choose(ui, choices):
    for name, value in choices.items():
        widget = getattr(ui, name)
        if name.endswith("Selector"):
            widget.currentIndex = widget.findData(value)
        elif name.endswith("PathEdit"):
            widget.currentPath = str(value)
        else:
            widget.value = value


def trigger(panel, choices=None, look=lambda ui: None, accept=True):
    """Choose the menu's entry, and in its dialog as a user does; ``look`` sees the form as it opens."""

    def answer(dialog):
        ui = slicer.util.childWidgetVariables(dialog)
        look(ui)
        choose(ui, choices or {})
        ui.buttonBox.button(OK if accept else qt.QDialogButtonBox.Cancel).click()
        return dialog.result()

    with qt_modal.answers(exec_=answer) as asked:
        panel.ui.importButton.menu().actions()[-1].trigger()
    assert [name for name, _arguments in asked] == ["exec_"]


def dialog(unfinished=(), device="auto"):
    from MAEMCTrainingPanel.reductiondialog import ReductionDialog

    return ReductionDialog(list(unfinished), device)


def reduced(panel, source, choices=None, **more):
    """The summary of a reduction that ran to its end."""
    panel.choose(source)
    trigger(panel, choices, **more)
    panel.wait(lambda: panel.logic.status.kind != "busy", "the end")
    panel.wait(lambda: panel.logic.data is not None, "the reduced manifest")
    assert panel.logic.data.path.name == "reduced.csv", panel.logic.status
    path = panel.logic.data.path.with_name("reduced-summary.json")
    return json.loads(path.read_text("utf-8"))


# What it does as it opens


def test_similar_slices_are_left_out_and_masked_methods_are_warned_of(panel, stacks, home):
    def pick(method):
        panel.ui.methodSelector.currentIndex = panel.ui.methodSelector.findData(method)
        panel.run(0.02)

    panel.choose(stacks)
    action = panel.ui.importButton.menu().actions()[-1]
    assert action.enabled
    pick("mae")
    assert "slices were kept" not in panel.ui.methodTextLabel.text
    trigger(panel)
    assert "Comparing the slices" in panel.ui.statusLabel.text
    panel.wait(lambda: panel.logic.data is not None and panel.logic.data.reduction, "the reduced manifest")
    panel.run(0.1)
    assert panel.logic.data.path == home / "manifests" / "manifest-reduced" / "reduced.csv"
    assert panel.logic.data.reduction == (32, 48)
    assert panel.ui.statusLabel.text == "32 of 48 slices stay; each is a 2-D picture."
    assert panel.ui.stopReductionButton.isHidden()
    assert panel.ui.countsLabel.text.startswith("2-D pictures: 32 of 16 cases")
    assert panel.ui.methodSelector.currentData == "mae"
    assert "Only 32 of 48 slices were kept" in panel.ui.methodTextLabel.text
    assert not action.enabled, "once is enough"
    pick("moco-v2")
    assert "slices were kept" not in panel.ui.methodTextLabel.text
    summary = json.loads(panel.logic.data.path.with_name("reduced-summary.json").read_text("utf-8"))
    settings = {name: summary["settings"][name] for name in ("method", "threshold", "keep", "selection")}
    assert settings == {"method": "hash", "threshold": 6.0, "keep": None, "selection": "leader"}
    panel.choose(stacks)
    pick("mae")
    assert "slices were kept" not in panel.ui.methodTextLabel.text


def test_reduction_that_fails_says_why(panel, stacks, tmp_path):
    broken = tmp_path / "broken.csv"
    text = stacks.read_text("utf-8")
    (tmp_path / "0-0.png").write_bytes(b"no picture")
    broken.write_text("\n".join(text.splitlines()[:2]) + "\n", encoding="utf-8")
    panel.choose(broken)
    trigger(panel)
    panel.wait(lambda: panel.logic.status.kind == "error", "the refusal")
    assert "No volume" in panel.ui.statusLabel.text
    assert panel.logic.reduction is None


def test_slices_that_cannot_be_read_are_counted(panel, stacks, tmp_path):
    import shutil

    copy = shutil.copytree(stacks.parent, tmp_path / "copy")
    (copy / "0-2.png").write_bytes(b"no picture")
    assert reduced(panel, copy / "manifest.csv")["slices"] == 47
    assert len(panel.logic.skipped) == 1 and panel.logic.skipped[0].startswith("c0-2: ")


def test_dialog_that_is_closed_asks_for_nothing(panel, stacks, home):
    panel.choose(stacks)
    trigger(panel, accept=False)
    assert not panel.logic.isBusy()
    assert not (home / "manifests").exists()


# What can be chosen


SHOWN = {
    "hash": {"limit", "threshold", "selection"},
    "ssim": {"limit", "share"},
    "mi": {"limit", "share"},
    "deepnet": {"limit", "share", "weights"},
    "every-n": {"every"},
}


def test_only_what_applies_is_shown(panel):
    form = dialog()
    rows = {
        "limit": ("limitLabel", "limitSelector"),
        "threshold": ("thresholdLabel", "thresholdSpinBox", "thresholdTextLabel"),
        "share": ("shareLabel", "shareSpinBox", "shareTextLabel"),
        "selection": ("selectionLabel", "selectionSelector"),
        "every": ("everyLabel", "everySpinBox"),
        "weights": ("weightsLabel", "weightsPathEdit", "weightsTextLabel"),
    }

    def shown():
        found = {name for name, widgets in rows.items() if not any(getattr(form.ui, w).isHidden() for w in widgets)}
        hidden = {name for name, widgets in rows.items() if all(getattr(form.ui, w).isHidden() for w in widgets)}
        assert found | hidden == set(rows), "a row is shown whole or not at all"
        return found

    texts = {"hash", "ssim", "mi", "deepnet", "every", "leader", "pairwise"}
    methods = [form.ui.methodSelector.itemData(index) for index in range(form.ui.methodSelector.count)]
    assert methods == list(SHOWN), "the recommended one first"
    assert "recommended" in form.ui.methodSelector.itemText(0)
    for method, rows_shown in SHOWN.items():
        choose(form.ui, {"methodSelector": method})
        assert shown() == rows_shown, method
        meaning = {name for name in texts if not getattr(form.ui, f"{name}TextLabel").isHidden()}
        assert meaning - {"leader", "pairwise"} == {method.removesuffix("-n")}
        assert len(meaning & {"leader", "pairwise"}) == ("selection" in rows_shown)
        if "limit" in rows_shown:
            choose(form.ui, {"limitSelector": "threshold"})
            assert shown() == rows_shown - {"share"} | {"threshold", "selection"}


def test_threshold_has_the_methods_own_range_and_meaning(panel):
    from MAEMCTrainingLib.reduction import METHODS

    form = dialog()
    said = {}
    for method in ("hash", "ssim", "mi", "deepnet"):
        choose(form.ui, {"methodSelector": method, "limitSelector": "threshold"})
        spinBox, similarity = form.ui.thresholdSpinBox, METHODS[method]
        assert (spinBox.minimum, spinBox.maximum) == similarity.range
        usual = similarity.default_threshold
        assert spinBox.value == (similarity.range[1] if usual is None else usual)
        assert (spinBox.decimals == 0) == similarity.whole_numbers
        said[method] = form.ui.thresholdTextLabel.text
    assert said["hash"] == "Removed where at most 6 of 64 bits differ. The paper's best value: 6."
    assert said["mi"].startswith("Removed from similarity 2 on (1 to 2; equal slices have 2).")
    choose(form.ui, {"thresholdSpinBox": 0.955})
    assert form.ui.thresholdTextLabel.text.startswith("Removed from similarity 0.955 on (-1 to 1;")
    choose(form.ui, {"methodSelector": "hash"})
    assert form.ui.thresholdSpinBox.value == 6


def test_every_choice_is_understood_by_the_command(panel, tmp_path):
    """Its parser, and the rules of the library."""
    from MAEMCTrainingLib.__main__ import _parser
    from MAEMCTrainingLib.commands.reduction import _similarity
    from MAEMCTrainingLib.reduction import METHODS, check_rule
    from MAEMCTrainingLib.reduction.selection import Rule

    (tmp_path / "w.safetensors").touch()
    form = dialog(device="cpu")
    taken = []
    for method in SHOWN:
        for limit in ("threshold", "share"):
            for selection in ("leader", "pairwise"):
                choose(form.ui, {"methodSelector": method, "limitSelector": limit, "selectionSelector": selection})
                choose(form.ui, {"weightsPathEdit": tmp_path / "w.safetensors", "everySpinBox": 7, "shareSpinBox": 25})
                words = form.request().arguments()
                options = _parser().parse_args(["reduce", "m.csv", *words, "--output", "r.csv", "--progress-json"])
                similarity = METHODS[method] if method == "deepnet" else _similarity(options)
                rule = Rule(
                    options.selection or ("pairwise" if options.keep else "leader"), options.threshold, options.keep
                )
                check_rule(method, similarity, rule)
                if method != "every-n":
                    assert (options.keep, options.selection) == (
                        (0.25, None) if limit == "share" else (None, selection)
                    )
                taken.append(words)
    assert ["--method", "every-n", "--every", "7"] in taken
    weights = ["--weights", str(tmp_path / "w.safetensors"), "--device", "cpu"]
    assert ["--method", "deepnet", "--keep", "0.25", *weights] in taken


def test_deepnet_says_which_file_to_bring_and_waits_for_it(panel, tmp_path):
    form = dialog()
    button = form.ui.buttonBox.button(OK)
    assert button.enabled
    choose(form.ui, {"methodSelector": "deepnet"})
    assert 'href="https://huggingface.co/timm/resnet50.a1_in1k"' in form.ui.weightsTextLabel.text
    assert not button.enabled and button.toolTip == "Name the file of weights first."
    choose(form.ui, {"weightsPathEdit": tmp_path / "gone.safetensors"})
    assert not button.enabled and "There is no file" in button.toolTip
    (tmp_path / "w.safetensors").touch()
    choose(form.ui, {"weightsPathEdit": tmp_path / "w.safetensors"})
    assert button.enabled
    choose(form.ui, {"weightsPathEdit": "", "methodSelector": "hash"})
    assert button.enabled, "only one method needs it"


@pytest.mark.parametrize(
    ("choices", "settings"),
    [
        (SSIM, {"method": "ssim", "threshold": 0.9, "selection": "pairwise", "keep": None}),
        ({"methodSelector": "mi", "shareSpinBox": 34}, {"method": "mi", "keep": 0.34, "selection": "pairwise"}),
        ({"methodSelector": "every-n", "everySpinBox": 3}, {"method": "every-n", "every": 3}),
        ({"thresholdSpinBox": 0}, {"method": "hash", "threshold": 0, "selection": "leader"}),
    ],
)
def test_methods_with_the_real_command(panel, stacks, choices, settings):
    summary = reduced(panel, stacks, choices)
    assert {name: summary["settings"][name] for name in settings} == settings
    assert summary["slices"] == 48 and 16 <= summary["kept"] <= 32


def test_weights_that_are_none_are_refused_by_the_command(panel, stacks, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    panel.choose(stacks)
    trigger(panel, {"methodSelector": "deepnet", "weightsPathEdit": tmp_path / "w.safetensors"})
    panel.wait(lambda: panel.logic.status.kind == "error", "the refusal")
    assert "w.safetensors is no safetensors file or is damaged" in panel.ui.statusLabel.text


# Stopped, and continued


def start_and_stop(panel, source, choices):
    """Begin and stop in the middle; the folder."""
    panel.choose(source)
    trigger(panel, choices)
    panel.wait(lambda: panel.logic.reduction.volume >= 2, "the second volume")
    panel.run(0.15)
    assert "Comparing the slices of manifest.csv ... volume " in panel.ui.statusLabel.text
    assert " of 6, " in panel.ui.statusLabel.text and panel.ui.statusLabel.text.endswith(" s left")
    assert not panel.ui.stopReductionButton.isHidden()
    assert not panel.ui.importButton.enabled and not panel.ui.startButton.enabled
    panel.ui.stopReductionButton.click()
    panel.wait(lambda: panel.logic.status.kind == "idle", "the stop")
    panel.run(0.05)
    assert panel.ui.statusLabel.text == "Stopped. With the same settings it goes on where it was."
    assert panel.ui.stopReductionButton.isHidden()
    assert panel.ui.importButton.enabled and panel.ui.startButton.enabled
    assert panel.logic.data.path == source, "what was chosen stays chosen"


def lines(folder):
    return (folder / "reduced-partial.jsonl").read_text("utf-8").splitlines()


def test_stopped_and_chosen_again_it_goes_on_to_the_same_files(panel, long_stacks, home, tmp_path):
    import shutil
    import subprocess
    import sys

    folder = home / "manifests" / "manifest-reduced"
    start_and_stop(panel, long_stacks, SSIM)
    assert not panel.logic._reducing._running, "no process is left"
    assert sorted(path.name for path in folder.iterdir()) == ["reduced-partial.jsonl", "request.json"]
    done = lines(folder)
    assert 2 <= len(done) < 7
    kept = []

    def look(ui):
        """It is offered as it was asked for, and says so as long as nothing else is chosen."""
        assert (ui.methodSelector.currentData, ui.thresholdSpinBox.value) == ("ssim", 0.9)
        assert (ui.limitSelector.currentData, ui.selectionSelector.currentData) == ("threshold", "pairwise")
        assert not ui.unfinishedLabel.isHidden()
        choose(ui, {"thresholdSpinBox": 0.8})
        assert ui.unfinishedLabel.isHidden()
        choose(ui, {"thresholdSpinBox": 0.9})
        assert not ui.unfinishedLabel.isHidden()
        kept.extend(lines(folder))

    reduced(panel, long_stacks, look=look)
    assert kept == done
    assert panel.logic.data.path == folder / "reduced.csv"
    assert not (folder / "reduced-partial.jsonl").exists()
    whole = tmp_path / "whole" / "reduced.csv"
    words = ["--method", "ssim", "--threshold", "0.9", "--selection", "pairwise", "--output", str(whole)]
    command = [sys.executable, "-m", "MAEMCTrainingLib", "reduce", str(long_stacks), *words]
    subprocess.run(command, check=True, capture_output=True)
    for name in ("reduced.csv", "reduced-removed.csv", "reduced-summary.json"):
        assert (folder / name).read_bytes() == (whole.parent / name).read_bytes()
    # finished: the same again is a new one
    shutil.rmtree(tmp_path / "whole")
    panel.choose(long_stacks)
    trigger(panel, SSIM, look=lambda ui: kept.append(ui.methodSelector.currentData))
    panel.wait(lambda: panel.logic.status.kind == "idle", "the end")
    assert kept[-1] == "hash"
    assert (home / "manifests" / "manifest-reduced-2" / "reduced.csv").is_file()


def test_other_settings_and_other_data_of_the_same_name_touch_nothing_that_was_begun(panel, long_stacks, stacks, home):
    first = home / "manifests" / "manifest-reduced"
    start_and_stop(panel, long_stacks, SSIM)
    done = lines(first)
    summary = reduced(panel, long_stacks, {"methodSelector": "every-n"})
    assert summary["settings"]["method"] == "every-n"
    assert panel.logic.data.path.parent.name == "manifest-reduced-2"
    seen = []
    reduced(panel, stacks, SSIM, look=lambda ui: seen.append(ui.methodSelector.currentData))
    assert seen == ["hash"], "nothing was begun of these data"
    assert panel.logic.data.path.parent.name == "manifest-reduced-3"
    assert lines(first) == done
    assert [request.method for request in panel.logic.unfinishedReductions(long_stacks)] == ["ssim"]


def test_notes_that_are_damaged_are_passed_over(panel, long_stacks, home):
    folder = home / "manifests" / "manifest-reduced"
    folder.mkdir(parents=True)
    for text in ("{", "[]", '{"source": 1}', '{"source": "x", "request": {"of": "tomorrow"}}'):
        (folder / "request.json").write_text(text, encoding="utf-8")
        (folder / "reduced-partial.jsonl").touch()
        assert panel.logic.unfinishedReductions(long_stacks) == []


def test_closing_slicer_ends_it_and_what_was_done_stays(panel, long_stacks, home):
    from MAEMCTrainingPanel.logic import MAEMCTrainingLogic
    from MAEMCTrainingPanel.reducing import ReductionRequest

    logic, request = MAEMCTrainingLogic(), ReductionRequest("ssim", 0.9, selection="pairwise")
    logic.requestReduction(long_stacks, request, lambda manifest: None)
    panel.wait(lambda: logic.reduction.volume >= 3, "the third volume")
    (process,) = logic._reducing._running
    logic.cleanup()
    assert process.wait(10) != 0
    assert len(lines(home / "manifests" / "manifest-reduced")) >= 3
    assert panel.logic.unfinishedReductions(long_stacks) == [request], "found again by the next Slicer"
