"""A scripted module is loaded, shown, reloaded and unloaded as Slicer does it."""

import sys
import textwrap

import pytest

MODULE = """
import qt
import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

EVENTS = slicer.tinyEvents


class Tiny(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Tiny module")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        parent.dependencies = ["Markups"]
        slicer.app.connect("startupCompleted()", lambda: EVENTS.append("startup"))


@parameterNodeWrapper
class Parameters:
    volume: vtkMRMLScalarVolumeNode
    note: str = "empty"


class TinyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        EVENTS.append("setup")
        panel = slicer.util.loadUI(self.resourcePath("UI/Tiny.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = TinyLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneClosed)
        self.connectParameters()

    def connectParameters(self):
        self.parameters = Parameters(self.logic.getParameterNode())
        self.tag = self.parameters.connectGui(self.ui)

    def enter(self):
        EVENTS.append("enter")

    def exit(self):
        EVENTS.append("exit")

    def onSceneClosed(self, caller, event):
        EVENTS.append("closed")
        self.parameters.disconnectGui(self.tag)
        self.connectParameters()

    def cleanup(self):
        EVENTS.append("cleanup")
        {cleanup}


class TinyLogic(ScriptedLoadableModuleLogic):
    def double(self, value):
        return 2 * value


class TinyTest(ScriptedLoadableModuleTest):
    def runTest(self):
        EVENTS.append("test")
        self.assertEqual(TinyLogic().double(2), 4)
"""

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Tiny</class>
 <widget class="qMRMLWidget" name="Tiny"><layout class="QVBoxLayout" name="verticalLayout">
  <item><widget class="qMRMLNodeComboBox" name="volumeSelector">
   <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
   <property name="SlicerParameterName" stdset="0"><string>volume</string></property></widget></item>
  <item><widget class="ctkCollapsibleButton" name="more"><property name="text"><string>More</string></property>
   <layout class="QFormLayout" name="formLayout"><item row="0" column="0"><widget class="QLineEdit" name="note">
    <property name="SlicerParameterName" stdset="0"><string>note</string></property></widget></item></layout>
  </widget></item>
 </layout></widget>
 <connections><connection><sender>Tiny</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
  <receiver>volumeSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections>
</ui>"""


@pytest.fixture
def write_module(scene, tmp_path, monkeypatch):
    """Write the module's files; ``cleanup`` is the body of its cleanup function."""
    import slicer

    monkeypatch.setattr(slicer, "tinyEvents", [], raising=False)

    def write(cleanup="self.removeObservers(); self.parameters.disconnectGui(self.tag)", name="Tiny"):
        folder = tmp_path / name
        (folder / "Resources" / "UI").mkdir(parents=True, exist_ok=True)
        (folder / "Resources" / "UI" / "Tiny.ui").write_text(UI)
        (folder / "Tiny.py").write_text(textwrap.dedent(MODULE).replace("{cleanup}", cleanup))
        return folder / "Tiny.py"

    return write


def test_description(write_module, load_module):
    import slicer

    module = load_module(write_module())
    assert module.title == "Tiny module"
    assert module.categories == ("Quantification",)
    assert slicer.modules.tiny is module
    assert "Tiny" in slicer.util.moduleNames()
    assert slicer.util.modulePath("Tiny") == module.path
    assert slicer.tinyEvents == []


def test_widget_is_made_when_first_asked_for(write_module, load_module):
    import slicer

    load_module(write_module())
    widget = slicer.util.getModuleWidget("Tiny")
    assert slicer.tinyEvents == ["setup"]
    assert slicer.util.getModuleWidget("Tiny") is widget
    assert slicer.modules.TinyWidget is widget
    assert slicer.util.getModuleLogic("Tiny").double(3) == 6


def test_enter_and_exit(write_module, load_module):
    import slicer
    from slicerhost import module_factory

    load_module(write_module())
    module_factory.select("Tiny")
    module_factory.select("Tiny")
    module_factory.select(None)
    assert slicer.tinyEvents == ["setup", "enter", "exit"]


def test_startup_signal(write_module, load_module):
    import slicer

    load_module(write_module())
    slicer.app.emit("startupCompleted()")
    assert slicer.tinyEvents == ["startup"]
    slicer.app.disconnect("startupCompleted()")


def test_reload_makes_a_new_widget_from_the_new_source(write_module, load_module):
    import slicer

    path = write_module()
    load_module(path)
    widget = slicer.util.getModuleWidget("Tiny")
    widget.parameters.note = "kept"
    path.write_text(path.read_text().replace("2 * value", "20 * value"))
    slicer.util.reloadScriptedModule("Tiny")
    again = slicer.util.getModuleWidget("Tiny")
    assert again is not widget
    assert again.logic.double(1) == 20
    assert again.ui.note.text == "kept"
    assert slicer.tinyEvents == ["setup", "cleanup", "setup"]
    again.ui.note.text = "changed"
    assert again.parameters.note == "changed"
    again.parent.show()
    slicer.app.processEvents()
    assert again.parent.grab().width() > 0
    again.parent.hide()


def test_unload(write_module, load_module):
    import slicer
    from slicerhost import module_factory

    before = list(sys.path)
    load_module(write_module())
    slicer.util.getModuleWidget("Tiny")
    module_factory.unload("Tiny")
    assert slicer.tinyEvents == ["setup", "cleanup"]
    assert not hasattr(slicer.modules, "tiny")
    assert "Tiny" not in sys.modules
    assert sys.path == before


def test_closing_the_scene_while_shown(write_module, load_module, scene):
    import slicer

    load_module(write_module())
    widget = slicer.util.getModuleWidget("Tiny")
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    widget.ui.volumeSelector.setCurrentNode(volume)
    assert widget.parameters.volume is volume
    scene.Clear(0)
    assert slicer.tinyEvents[-1] == "closed"
    assert widget.ui.volumeSelector.currentNode() is None
    assert widget.parameters.volume is None


def test_forgotten_observer_is_noticed(write_module, slicer_app, scene):
    import slicer
    from slicerhost import hygiene, module_factory

    watch = hygiene.Watch(scene)
    module_factory.load_module(write_module(cleanup="self.parameters.disconnectGui(self.tag)"))
    widget = slicer.util.getModuleWidget("Tiny")
    module_factory.unload("Tiny")
    problems = watch.finish()
    assert len(problems) == 2
    assert "EndCloseEvent" in problems[0]
    assert "TinyWidget still observes vtkMRMLScene" in problems[1]
    widget.removeObservers()
    assert watch.finish() == []


def test_module_class_of_another_name_is_refused(write_module, load_module):
    path = write_module()
    path = path.rename(path.with_name("Other.py"))
    with pytest.raises(AttributeError, match="Other"):
        load_module(path)


def test_missing_dependency_is_refused(write_module, load_module):
    path = write_module()
    path.write_text(path.read_text().replace('"Markups"', '"PyTorch"'))
    with pytest.raises(RuntimeError, match="PyTorch"):
        load_module(path)


def test_modules_own_test_runs(write_module, load_module):
    import slicer

    load_module(write_module())
    slicer.selfTests["Tiny"]()
    assert slicer.tinyEvents == ["test"]


def test_the_description_takes_only_what_slicer_knows(write_module, load_module):
    module = load_module(write_module())
    with pytest.raises(AttributeError, match="refuses new attributes"):
        module.subtitle = "x"


def test_another_copy_of_the_same_module(write_module, load_module, tmp_path):
    import slicer
    from slicerhost import module_factory

    for name, factor in (("first", 2), ("second", 5)):
        path = write_module(name=name)
        (path.parent / "TinyParts").mkdir()
        (path.parent / "TinyParts" / "__init__.py").write_text(f"FACTOR = {factor}\n")
        path.write_text(path.read_text().replace("2 * value", "__import__('TinyParts').FACTOR * value"))
        module_factory.load_module(path)
        assert slicer.util.getModuleLogic("Tiny").double(1) == factor
        module_factory.unload("Tiny")
        assert module_factory.forget_packages(path.parent) == ["TinyParts"]
