"""What the tests of MAEMC Training share: the loaded modules, and synthetic cases to train on."""

import importlib.util
import time
from pathlib import Path

import pytest

if any(importlib.util.find_spec(name) is None for name in ("PySide6", "slicer_core")):
    collect_ignore_glob = ["test_*.py"]

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 90


@pytest.fixture(scope="session")
def phantom(tmp_path_factory) -> Path:
    """The manifest of six synthetic cases, three of each class, in a folder with a space and an umlaut."""
    from MAEMCTrainingLib.phantom.writing import write_phantom

    return write_phantom(tmp_path_factory.mktemp("Müller data"), 6, 0, "easy", field="region")


@pytest.fixture(scope="session")
def stacks(tmp_path_factory) -> Path:
    """The manifest of 16 stacks of three pictures, two of them alike; 16 patients, both classes, metadata."""
    import csv

    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("stacks Ü")
    draws = np.random.default_rng(0)
    columns = ["case_id", "patient_id", "image", "kind", "volume_id", "slice_index", "label", "modality", "anatomy"]
    with open(folder / "manifest.csv", "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for number in range(16):
            first, last = draws.integers(0, 255, (2, 9, 9), dtype=np.uint8)
            for index, pixels in enumerate((first, first, last)):
                image = Image.fromarray(pixels).resize((48, 48))
                image.save(folder / f"{number}-{index}.png")
                what = ("CT", "chest") if number % 4 else ("US", "breast")
                row = (f"c{number}-{index}", f"p{number}", f"{number}-{index}.png", "slice", f"v{number}", index)
                writer.writerow([*row, number % 2, *what])
    return folder / "manifest.csv"


class TrainingPanel:
    """The loaded module in a test's hands."""

    def __init__(self, application, module):
        self.application = application
        self.module = module

    @property
    def widget(self):
        return self.module.widgetRepresentation().self()

    @property
    def logic(self):
        return self.widget.logic

    @property
    def ui(self):
        return self.widget.ui

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.application.processEvents()
            time.sleep(0.005)

    def wait(self, condition, what, seconds=PATIENCE_SECONDS):
        """Let the application run until condition() holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s; {self.logic.status} {self.rows()}"
            self.application.processEvents()
            time.sleep(0.005)

    def choose(self, path):
        """Choose data as a user does."""
        self.ui.dataPathEdit.currentPath = str(path)
        self.wait(lambda: self.logic.data is not None and self.logic.data.path == Path(path), "the data")
        self.run(0.05)

    def rows(self):
        """The list's rows as they are shown."""
        table = self.ui.jobsTable
        return [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount)]

    def job(self, folder):
        return self.logic.snapshot.job(folder)

    def waitForStatus(self, folder, *statuses):
        """Until the panel knows a job to be in one of these statuses; returns the job."""
        self.wait(lambda: self.job(folder) is not None and self.job(folder).status in statuses, f"{folder} {statuses}")
        self.run(0.05)
        return self.job(folder)


@pytest.fixture
def panel(slicer_app, load_module, maemc_home, monkeypatch):
    """Both modules, MAEMC Training entered. Nobody asks for a GPU: that takes a process that imports torch."""
    import slicer
    from slicerhost import module_factory

    for setting in ("MAEMC/JobsFolder", "MAEMC/Device"):
        slicer.app.userSettings().remove(setting)
    load_module(REPOSITORY / "MAEMCNodule" / "MAEMCNodule.py")
    module = load_module(REPOSITORY / "MAEMCTraining" / "MAEMCTraining.py")
    from MAEMCTrainingPanel.device import DeviceProbe

    monkeypatch.setattr(DeviceProbe, "ask", lambda self, python: None)
    panel = TrainingPanel(slicer_app, module)
    module_factory.select("MAEMCTraining")
    yield panel
    from MAEMCTrainingLib.jobs.job import known_jobs
    from MAEMCTrainingLib.jobs.stopping import request_stop

    for job in known_jobs(maemc_home):  # of a test that failed: nothing else would ever end it
        if (job.folder / "lock").is_file():
            request_stop(job.folder)


@pytest.fixture
def home(maemc_home) -> Path:
    """This test's MAEMC_HOME."""
    return maemc_home


@pytest.fixture
def written_job(home):
    """``written_job(name, status="finished", kind="pretrain", events=(), **state)``: a job as a run leaves it, folder
    and its note in the list of jobs."""
    import json

    from MAEMCTrainingLib.jobs.files import remember
    from MAEMCTrainingLib.jobs.job import SCHEMA, now

    def write(name, status="finished", kind="pretrain", events=(), created="2026-01-01T00:00:00+00:00", **state):
        folder = home / "jobs-data" / name
        folder.mkdir(parents=True)
        command = {"arguments": [kind, "--output", str(folder)], "directory": str(home)}
        job = {"schema": SCHEMA, "kind": kind, "command": command, "created": created}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        state = {"status": status, "updated": now(), **state}
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
        lines = [json.dumps(event) for event in events]
        (folder / "events.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        remember(folder, home)
        return folder

    return write
