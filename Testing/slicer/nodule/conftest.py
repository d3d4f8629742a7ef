"""What the tests of MAEMC Nodule share: the loaded module with a model and a worker, and CTs to score."""

import importlib.util
import shutil
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

if any(importlib.util.find_spec(name) is None for name in ("PySide6", "slicer_core")):
    collect_ignore_glob = ["test_*.py"]

MODULE = Path(__file__).resolve().parents[3] / "MAEMCNodule" / "MAEMCNodule.py"
PATIENCE_SECONDS = 300


@pytest.fixture(scope="session")
def model_home(tmp_path_factory, random_bundle):
    """A MAEMC_HOME, with Unicode and a space in its path, that holds one model with random weights."""
    home = tmp_path_factory.mktemp("Müller models")
    (home / "models").mkdir()
    shutil.copy(random_bundle, home / "models" / "random.maemc")
    return home


@pytest.fixture(scope="session")
def make_fusion_bundle(tmp_path_factory):
    """``make_fusion_bundle(id, asked, branches)``: a fusion model of three classes with random weights."""
    import torch
    from MAEMCLib.cases.values import SERIES
    from MAEMCLib.models.bundle import Member, save_bundle
    from MAEMCLib.models.card import graph_of
    from MAEMCLib.networks.configuration import EncoderConfiguration
    from MAEMCLib.networks.heads.graph import GraphHead

    def make(name, asked, branches):
        encoder = {"patch_size": 50, "width": 16, "depth": 1, "heads": 2}
        classes = ["cyst", "myeloma", "metastasis"]
        card = {
            "id": name,
            "version": "1.0",
            "title": "Fusion with random weights",
            "architecture": {"encoder": encoder, "graph": {"branches": branches, "width": 8, "rounds": 2}},
            "preprocessing": {"mean": 0.25, "std": 0.3},
            "fusion": "graph",
            "clinical": [one.to_json() for one in asked],
            "classes": classes,
            "positive_class": "",
            "thresholds": {"rule_out": 0.5, "balanced": 0.5, "rule_in": 0.5},
            "calibration": {"calibrated": False, "reason": "random weights", "slope": 1.0, "intercept": 0.0},
            "intended_use": "Tests only.",
        }
        network = GraphHead(EncoderConfiguration(**encoder), len(classes), 1, graph_of(card, asked, name))
        with torch.no_grad():
            for head in network.heads:
                head.weight.mul_(20)
        values = [(60.0 if one.unit == "years" else 0.0, 10.0) for one in asked if one.kind != SERIES]
        network.set_standardization(*(torch.tensor(column) for column in zip(*values, strict=True)))
        path = tmp_path_factory.mktemp("fusion") / f"{name}.maemc"
        return save_bundle(path, card, [Member("classifier", "classifier-0", network.state_dict())]).path

    return make


@pytest.fixture
def clinical_texts():
    """``clinical_texts(form)``: {name: text} of what a user sees in the form, without what is empty."""
    contents = {"QLineEdit": "text", "QComboBox": "currentData", "qMRMLNodeComboBox": "currentNodeID"}

    def read(form):
        texts = {name: getattr(editor, contents[editor.className()]) for name, editor in form._editors.items()}
        return {name: text for name, text in texts.items() if text}

    return read


@pytest.fixture(scope="session")
def warm_client():
    """One real worker process for the whole session, so that not every test waits for torch to be imported."""
    from MAEMCLib.worker.client import WorkerClient

    class SharedClient(WorkerClient):
        def stop(self):
            self._pending.clear()  # its owner goes; the process stays for the next test

    client = SharedClient()
    yield client
    WorkerClient.stop(client)


class InstantClient:
    """A worker that answers at once, in this process; a probability that any test can compute from the region."""

    def __init__(self):
        self.pid, self.log, self.silent_seconds = None, [], 0.0
        self._messages, self.sent = [], 0

    @staticmethod
    def probability(axial):
        """Of (25, 50, 50) HU; another one at almost every place of a CT."""
        return float(np.abs(np.sin(np.asarray(axial, float)[10:15, 20:30, 20:30].sum() / 997.0)))

    def send(self, request, tag=None, **fields):
        from MAEMCLib.worker.protocol import decode_array, encode_array

        self.sent += 1
        answer = {"id": self.sent, "kind": "result", "tag": tag}
        if request == "device":
            answer["device"] = {"name": "cpu", "torch": "2.0"}
        else:
            stacks = {plane: decode_array(fields["nodules"][0][plane]) for plane in ("axial", "coronal")}
            prediction = {"probability": self.probability(stacks["axial"]), "device": "cpu", "seconds": 0.01}
            prediction |= {
                "interval_low": None,
                "interval_high": None,
                "interval_kind": None,
                "notice": "",
                "members": [],
            }
            answer |= {"predictions": [prediction], "outlines": [None]}
            for part in ("reconstruction", "error", "attention"):
                answer[part] = {plane: encode_array(stack) for plane, stack in stacks.items()}
            if fields.get("measured"):
                answer |= {"maps": [], "seen": {plane: encode_array(stack) for plane, stack in stacks.items()}}
                answer |= {"shown": list(range(25))}
        self._messages.append(answer)
        return self.sent

    def poll(self):
        messages, self._messages = self._messages, []
        return messages

    def cancel(self):
        self._messages = []

    stop = cancel


class Panel:
    """The loaded module in a test's hands."""

    def __init__(self, application, module):
        self.application = application
        self.module = module
        self.widget = module.widgetRepresentation().self()

    @property
    def logic(self):
        return self.widget.logic

    @property
    def ui(self):
        return self.widget.ui

    @property
    def parameters(self):
        return self.logic.getParameterNode()

    def wait(self, condition, what, seconds=PATIENCE_SECONDS):
        """Let the application run until condition() holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s; {self.logic.status}"
            self.application.processEvents()
            time.sleep(0.005)

    def settle(self):
        """Until nothing is under way and the panel shows it."""
        self.run(0.1)
        self.wait(lambda: not self.logic.isBusy(), "settled")
        self.run(0.1)

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.application.processEvents()
            time.sleep(0.005)

    def records(self):
        analysis = self.logic.analysisOf(self.parameters.inputVolume, self.parameters.points)
        return [record for _pointID, record in analysis.records()] if analysis else []

    def place(self, ras, points=None):
        """Place a point as a user does, by way of the panel, without a mouse."""
        if points is None:
            self.run(0.1)  # the button wakes up with the next refresh
            if not self.ui.placeButton.checked:
                self.ui.placeButton.click()
            points = self.parameters.points
        points.AddControlPoint(list(ras))
        return points


@pytest.fixture(autouse=True)
def nothing_remembered():
    """What one test has chosen last is not what the next begins with."""
    import slicer

    settings = slicer.app.userSettings()
    for key in settings.allKeys():
        if key.startswith("MAEMC/Overlay"):
            settings.remove(key)


@pytest.fixture
def models(model_home, monkeypatch):
    """The only model is the one with random weights."""
    from MAEMCLib.models import store as model_store

    monkeypatch.setenv("MAEMC_HOME", str(model_home))
    monkeypatch.setattr(model_store, "shipped_folder", lambda: None)
    return model_home


@pytest.fixture
def cold_panel(slicer_app, load_module, models):
    """The module, entered, with a worker process of its own."""
    from slicerhost import module_factory

    module = load_module(MODULE)
    panel = Panel(slicer_app, module)
    module_factory.select("MAEMCNodule")
    return panel


@pytest.fixture
def panel(slicer_app, load_module, models, warm_client):
    """The module, entered, with the session's worker."""
    from slicerhost import module_factory

    module = load_module(MODULE)
    panel = Panel(slicer_app, module)
    panel.logic.queue.worker = warm_client
    module_factory.select("MAEMCNodule")
    panel.settle()
    return panel


@pytest.fixture
def instant_panel(slicer_app, load_module, models):
    """The module, entered, with a worker that answers at once."""
    from slicerhost import module_factory

    module = load_module(MODULE)
    panel = Panel(slicer_app, module)
    panel.logic.queue.worker = InstantClient()
    module_factory.select("MAEMCNodule")
    panel.settle()
    return panel


@pytest.fixture
def instant_probability():
    """``instant_probability(volume_node, ras)``: what the instant worker says of a place, by the library alone."""
    import slicer
    from MAEMCLib.images.ct import CTVolume
    from MAEMCLib.inputs.region import cut_roi

    def compute(volume, ras):
        import vtk

        matrix, flip = vtk.vtkMatrix4x4(), np.diag([-1.0, -1.0, 1.0, 1.0])
        volume.GetIJKToRASMatrix(matrix)
        ct = CTVolume(slicer.util.arrayFromVolume(volume), flip @ slicer.util.arrayFromVTKMatrix(matrix))
        return InstantClient.probability(cut_roi(ct, flip[:3, :3] @ np.asarray(ras, float)).axial)

    return compute


@lru_cache(maxsize=8)
def lung(balls=((0, 0, 0),), shape=(90, 110, 100), seed=0):
    """(k, j, i) int16 HU: aerated lung with noise, and a ball of 14 mm at each (i, j, k) offset from the middle."""
    rng = np.random.default_rng(seed)
    k, j, i = np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij")
    voxels = -850 + rng.normal(0, 20, shape)
    for x, y, z in balls:
        voxels += 880 / (1 + np.exp(np.sqrt((i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2) - 7))
    voxels = np.round(voxels).astype(np.int16)
    voxels.setflags(write=False)
    return voxels


def ijk_to_ras(shape, spacing=(1.0, 1.0, 1.0)):
    """(4, 4) of a patient-aligned volume whose middle voxel lies at the origin, +i towards L, +j towards P."""
    matrix = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(shape[::-1]) // 2)
    return matrix


@pytest.fixture
def add_ct(scene):
    """``add_ct(name="Chest", balls=..., seed=0, matrix=None, shape=...)`` adds a synthetic CT to the scene."""
    import slicer

    def add(name="Chest", balls=((0, 0, 0),), seed=0, matrix=None, shape=(90, 110, 100)):
        voxels = lung(balls, shape, seed)
        return slicer.util.addVolumeFromArray(voxels, ijk_to_ras(voxels.shape) if matrix is None else matrix, name)

    return add


@pytest.fixture(scope="session")
def predictor(random_bundle):
    """The library's own predictor, in this process: what the module must agree with."""
    from MAEMCLib.models.bundle import ModelBundle
    from MAEMCLib.models.predictor import Predictor

    return Predictor(ModelBundle.open(random_bundle), "cpu")


@pytest.fixture
def expected(predictor):
    """``expected(voxels, ijk_to_world_ras, point_ras)``: the probability without Slicer, by the library alone."""
    from MAEMCLib.images.ct import CTVolume
    from MAEMCLib.inputs.input import Prepared
    from MAEMCLib.inputs.region import cut_roi

    flip = np.diag([-1.0, -1.0, 1.0, 1.0])

    def score(voxels, matrix, point):
        volume = CTVolume(np.asarray(voxels), flip @ matrix)
        roi = cut_roi(volume, flip[:3, :3] @ np.asarray(point, float))
        return predictor.predict([Prepared(roi)])[0].probability

    return score


@pytest.fixture(scope="session")
def lung_voxels():
    return lung


@pytest.fixture(scope="session")
def lung_matrix():
    return ijk_to_ras


@pytest.fixture
def linear():
    """``linear(matrix)`` adds a linear transform node, parent to world."""
    import slicer

    def add(matrix):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(matrix, float)))
        return node

    return add


@pytest.fixture
def bend():
    """Makes a transform node that bends space; in the scene that there is when it is called."""

    def make():
        import slicer
        import vtk

        bend = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Bend")
        spline = vtk.vtkThinPlateSplineTransform()
        source, target = vtk.vtkPoints(), vtk.vtkPoints()
        for corner in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (50, 50, 50)):
            source.InsertNextPoint(corner)
            target.InsertNextPoint([c * 1.1 + (3 if sum(corner) > 60 else 0) for c in corner])
        spline.SetSourceLandmarks(source)
        spline.SetTargetLandmarks(target)
        bend.SetAndObserveTransformToParent(spline)
        return bend

    return make


@pytest.fixture
def views(slice_view):
    return [slice_view(name) for name in ("Red", "Green", "Yellow")]


@pytest.fixture
def two(instant_panel, views, add_ct):
    """(panel, first CT, its points, second CT, its points): a nodule on each, the second is chosen."""
    panel = instant_panel
    first, second = add_ct("Prior", seed=1), add_ct("Current", seed=2)
    chosen = []
    for volume, point in ((first, (0, 0, 0)), (second, (-20, 5, 0))):
        panel.parameters.inputVolume = volume
        panel.run(0.1)
        chosen += [volume, panel.place(point)]
        panel.settle()
    return panel, *chosen
