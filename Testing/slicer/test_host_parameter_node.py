"""parameterNodeWrapper: values round trip through the node, and follow the GUI in both directions."""

import enum
import pathlib
from typing import Annotated, Optional, Union

import pytest


class Overlay(enum.Enum):
    NONE = "none"
    ERROR = "error"

    def label(self):
        return self.value.capitalize()


@pytest.fixture
def node(scene):
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "P")


@pytest.fixture
def kind(scene):
    from slicer import vtkMRMLMarkupsFiducialNode, vtkMRMLScalarVolumeNode
    from slicer.parameterNodeWrapper import Choice, Default, Minimum, WithinRange, parameterNodeWrapper

    class Parameters:
        volume: vtkMRMLScalarVolumeNode
        points: Optional[vtkMRMLMarkupsFiducialNode]  # noqa: UP045 (Slicer does not know "| None")
        opacity: Annotated[float, WithinRange(0, 1)] = 0.5
        threads: Annotated[int, Minimum(1)] = 2
        automatic: bool = True
        device: Annotated[str, Choice(["auto", "cpu"])] = "auto"
        note: str
        folder: pathlib.Path = pathlib.Path("/a")
        overlay: Overlay = Overlay.ERROR
        models: list[str]
        step: Annotated[float, Default(1.5)]
        limit: Union[int, str, None]  # noqa: UP007

    return parameterNodeWrapper(Parameters)


def test_defaults(kind, node):
    parameters = kind(node)
    assert parameters.volume is None
    assert parameters.points is None
    assert (parameters.opacity, parameters.threads, parameters.automatic) == (0.5, 2, True)
    assert (parameters.device, parameters.note, parameters.folder) == ("auto", "", pathlib.Path("/a"))
    assert parameters.overlay is Overlay.ERROR
    assert list(parameters.models) == []
    assert parameters.step == 1.5
    assert parameters.limit == 0


def test_round_trip_through_the_node(kind, node, scene):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters = kind(node)
    parameters.volume = volume
    parameters.opacity = 1
    parameters.automatic = False
    parameters.folder = pathlib.Path("/b")
    parameters.overlay = Overlay.NONE
    parameters.models = ["a", "b"]
    parameters.models.append("c")
    parameters.limit = "none"
    again = kind(node)
    assert again.volume is volume
    assert (again.opacity, again.automatic, again.folder) == (1.0, False, pathlib.Path("/b"))
    assert again.overlay is Overlay.NONE
    assert again.models == ["a", "b", "c"]
    assert again.limit == "none"
    assert node.GetParameter("overlay") == "NONE"
    assert node.GetParameter("automatic") == "False"
    assert node.GetNodeReferenceID("volume") == volume.GetID()


def test_invalid_values_are_refused_and_nothing_is_written(kind, node, scene):
    parameters = kind(node)
    for name, value, error in (
        ("opacity", 1.5, ValueError),
        ("opacity", None, ValueError),
        ("threads", 0, ValueError),
        ("threads", 1.5, TypeError),
        ("device", "tpu", ValueError),
        ("automatic", "yes", TypeError),
        ("folder", "/b", TypeError),
        ("volume", scene.AddNewNodeByClass("vtkMRMLModelNode"), TypeError),
    ):
        before = getattr(parameters, name)
        with pytest.raises(error):
            setattr(parameters, name, value)
        assert getattr(parameters, name) == before


def test_types_that_slicer_cannot_store_are_refused(scene):
    from slicer import vtkMRMLScalarVolumeNode
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    class Bad:
        volume: vtkMRMLScalarVolumeNode | None

    with pytest.raises(TypeError, match="Union"):
        parameterNodeWrapper(Bad)

    class Reserved:
        default: int

    with pytest.raises(ValueError, match="reserved"):
        parameterNodeWrapper(Reserved)


def test_one_modified_event_per_write(kind, node):
    parameters = kind(node)
    seen = []
    tag = parameters.AddObserver("ModifiedEvent", lambda *_: seen.append(parameters.opacity))
    parameters.opacity = 0.25
    assert seen == [0.25]
    parameters.models = ["a", "b", "c"]
    assert len(seen) == 2
    before = parameters.StartModify()
    parameters.opacity = 0.75
    parameters.automatic = False
    parameters.EndModify(before)
    assert len(seen) == 3
    parameters.RemoveObserver(tag)


@pytest.fixture
def panel(scene):
    import ctk
    import qt
    import slicer

    widgets = {
        "volume": slicer.qMRMLNodeComboBox(),
        "opacity": ctk.ctkSliderWidget(),
        "threads": qt.QSpinBox(),
        "automatic": qt.QCheckBox(),
        "device": qt.QComboBox(),
        "note": qt.QLineEdit(),
        "folder": ctk.ctkDirectoryButton(),
        "overlay": qt.QComboBox(),
    }
    widget = qt.QWidget()
    layout = qt.QVBoxLayout(widget)
    for name, child in widgets.items():
        child.name = name
        child.setProperty("SlicerParameterName", name)
        layout.addWidget(child)
    widgets["opacity"].decimals = 2
    widgets["volume"].setMRMLScene(scene)
    yield widget
    widgets["volume"].setMRMLScene(None)


def test_gui_follows_the_node_and_the_node_the_gui(kind, node, panel, scene):
    import slicer

    ui = slicer.util.childWidgetVariables(panel)
    parameters = kind(node)
    tag = parameters.connectGui(ui)
    assert (ui.opacity.value, ui.opacity.maximum) == (0.5, 1)
    assert (ui.threads.minimum, ui.threads.value) == (1, 2)
    assert ui.volume.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert [ui.overlay.itemText(index) for index in range(ui.overlay.count)] == ["None", "Error"]

    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters.volume = volume
    parameters.opacity = 0.25
    parameters.automatic = False
    parameters.device = "cpu"
    parameters.overlay = Overlay.NONE
    parameters.note = "text"
    assert ui.volume.currentNode() is volume
    assert (ui.opacity.value, ui.automatic.checked) == (0.25, False)
    assert (ui.device.currentText, ui.overlay.currentIndex, ui.note.text) == ("cpu", 0, "text")

    ui.volume.setCurrentNode(None)
    ui.opacity.value = 0.75
    ui.threads.value = 4
    ui.automatic.checked = True
    ui.overlay.currentIndex = 1
    ui.note.text = "other"
    ui.folder.directory = "/c"
    assert parameters.volume is None
    assert (parameters.opacity, parameters.threads, parameters.automatic) == (0.75, 4, True)
    assert (parameters.overlay, parameters.note) == (Overlay.ERROR, "other")
    assert parameters.folder == pathlib.Path("/c")

    parameters.disconnectGui(tag)
    ui.opacity.value = 0.1
    assert parameters.opacity == 0.75
    parameters.opacity = 0.9
    assert ui.opacity.value == 0.1


def test_disconnecting_leaves_no_observer(kind, node, panel):
    import slicer
    from slicerhost.hygiene import observers

    parameters = kind(node)
    before = observers(node)
    parameters.disconnectGui(parameters.connectGui(slicer.util.childWidgetVariables(panel)))
    assert observers(node) == before


def test_only_slicers_widget_classes_can_be_connected(scene, node):
    import ctk
    import qt
    from slicer.parameterNodeWrapper import createGuiConnector

    for widget, datatype in (
        (ctk.ctkCheckBox(), bool),
        (ctk.ctkDoubleSpinBox(), float),
        (qt.QLabel(), str),
        (ctk.ctkSliderWidget(), float),
        (qt.QComboBox(), str),
    ):
        with pytest.raises(RuntimeError):
            createGuiConnector(widget, datatype)
