"""The stand-ins of ctk and qMRML widgets behave as Slicer's, as far as modules rely on it."""

import pytest


@pytest.fixture
def selector(scene):
    import slicer

    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.setMRMLScene(scene)
    yield combo
    combo.setMRMLScene(None)


def add(name, kind="vtkMRMLScalarVolumeNode"):
    import slicer

    return slicer.mrmlScene.AddNewNodeByClass(kind, name)


def test_selector_is_disabled_without_scene(scene):
    import slicer

    combo = slicer.qMRMLNodeComboBox()
    assert not combo.enabled
    combo.setMRMLScene(scene)
    assert combo.enabled
    combo.setMRMLScene(None)
    assert not combo.enabled


def test_selector_does_not_select_by_itself(selector):
    got = []
    selector.currentNodeChanged.connect(got.append)
    add("A")
    assert selector.nodeCount() == 1
    assert selector.currentNode() is None
    assert got == []


def test_selector_signals(selector):
    got = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: got.append(node and node.GetName()))
    selector.connect("currentNodeChanged(bool)", got.append)
    selector.connect("currentNodeIDChanged(QString)", got.append)
    node = add("A")
    selector.setCurrentNode(node)
    selector.setCurrentNode(node)
    assert got == ["A", True, node.GetID()]
    assert selector.currentNodeID == node.GetID()
    selector.setCurrentNode(None)
    assert got[3:] == [None, False, ""]


def test_selector_lists_subclasses_unless_told(selector):
    add("A")
    add("B", "vtkMRMLLabelMapVolumeNode")
    assert selector.nodeCount() == 2
    selector.showChildNodeTypes = False
    assert selector.nodeCount() == 1


def test_selector_hides_what_is_hidden_from_editors(selector):
    node = add("A")
    node.SetHideFromEditors(True)
    assert selector.nodeCount() == 0
    selector.showHidden = True
    assert selector.nodeCount() == 1


def test_selector_leaves_out_nodes_by_id(selector):
    nodes = [add(name) for name in "ABC"]
    selector.noneEnabled = True
    proxy = selector.sortFilterProxyModel()
    assert proxy.hiddenNodeIDs == ()
    selector.setCurrentNode(nodes[0])
    proxy.hiddenNodeIDs = [nodes[0].GetID(), "of no node"]
    assert proxy.hiddenNodeIDs == (nodes[0].GetID(), "of no node")
    assert [selector.nodeFromIndex(index) for index in range(selector.nodeCount())] == nodes[1:]
    assert selector.currentNode() is not nodes[0]
    selector.setCurrentNodeID(nodes[0].GetID())
    assert selector.currentNode() is None
    selector.sortFilterProxyModel().hiddenNodeIDs = []
    assert selector.nodeCount() == 3
    with pytest.raises(AttributeError):
        proxy.hiddenNodeIds = []


def test_selector_takes_attributes_into_account(selector):
    selector.addAttribute("vtkMRMLScalarVolumeNode", "MAEMC", "1")
    node = add("A")
    assert selector.nodeCount() == 0
    node.SetAttribute("MAEMC", "1")
    selector.setMRMLScene(None)
    import slicer

    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.nodeCount() == 1


def test_selector_moves_to_a_neighbor_when_its_node_is_removed(selector, scene):
    nodes = [add(name) for name in "ABC"]
    selector.setCurrentNode(nodes[1])
    scene.RemoveNode(nodes[1])
    assert selector.currentNode() in (nodes[0], nodes[2])


def test_selector_follows_renames_and_scene_close(selector, scene):
    node = add("A")
    selector.setCurrentNode(node)
    node.SetName("B")
    assert "B" in [selector.findChild("QComboBox").itemText(index) for index in range(3)]
    scene.Clear(0)
    assert selector.currentNode() is None
    assert selector.nodeCount() == 0


def test_selector_creates_nodes_of_its_types_only(selector):
    got = []
    selector.nodeAddedByUser.connect(got.append)
    selector.baseName = "CT"
    assert selector.addNode("vtkMRMLModelNode") is None
    node = selector.addNode()
    assert node.GetName().startswith("CT")
    assert selector.currentNode() is node
    assert got == [node]


def test_selector_takes_only_nodes(selector):
    with pytest.raises(TypeError):
        selector.setCurrentNode("vtkMRMLScalarVolumeNode1")


def test_slider_clamps_and_rounds(scene):
    import ctk

    slider = ctk.ctkSliderWidget()
    assert (slider.minimum, slider.maximum) == (0, 99)
    got = []
    slider.valueChanged.connect(got.append)
    slider.decimals = 2
    slider.maximum = 1
    slider.value = 0.12345
    slider.value = 0.12345
    slider.value = 7
    assert got == [0.12, 1.0]
    slider.maximum = 0.5
    assert slider.value == 0.5


def test_range_widget(scene):
    import ctk

    widget = ctk.ctkRangeWidget()
    got = []
    widget.connect("valuesChanged(double,double)", lambda low, high: got.append((low, high)))
    widget.setRange(0, 10)
    widget.setValues(3, 7)
    assert (widget.minimumValue, widget.maximumValue) == (3, 7)
    assert got[-1] == (3, 7)


def test_collapsible_button(scene):
    import ctk
    import qt

    section = ctk.ctkCollapsibleButton()
    layout = qt.QFormLayout(section)
    edit = qt.QLineEdit()
    hidden = qt.QLineEdit()
    hidden.visible = False
    layout.addRow("a", edit)
    layout.addRow("b", hidden)
    section.text = "Advanced"
    got = []
    section.connect("contentsCollapsed(bool)", got.append)
    section.collapsed = True
    assert edit.isHidden()
    section.click()
    assert not section.collapsed
    assert not edit.isHidden()
    assert hidden.isHidden()
    assert got == [True, False]


def test_directory_button_makes_absolute(scene, tmp_path):
    import ctk

    button = ctk.ctkDirectoryButton()
    got = []
    button.directoryChanged.connect(got.append)
    button.directory = str(tmp_path / "a" / ".." / "b")
    assert button.directory == str(tmp_path / "b")
    assert got == [str(tmp_path / "b")]


def test_path_line_edit(scene):
    import ctk

    edit = ctk.ctkPathLineEdit()
    got = []
    edit.connect("currentPathChanged(QString)", got.append)
    edit.currentPath = "/a/b"
    assert edit.currentPath == "/a/b"
    assert got == ["/a/b"]
    edit.filters = ctk.ctkPathLineEdit.Dirs
    assert edit.filters == 1


def test_place_widget_uses_selection_and_interaction_node(scene):
    import slicer

    points = add("P", "vtkMRMLMarkupsFiducialNode")
    widget = slicer.qSlicerMarkupsPlaceWidget()
    widget.setMRMLScene(scene)
    widget.setCurrentNode(points)
    got = []
    widget.connect("activeMarkupsPlaceModeChanged(bool)", got.append)
    widget.setPlaceModeEnabled(True)
    logic = slicer.app.applicationLogic()
    assert logic.GetInteractionNode().GetCurrentInteractionMode() == slicer.vtkMRMLInteractionNode.Place
    assert logic.GetSelectionNode().GetActivePlaceNodeID() == points.GetID()
    logic.GetInteractionNode().SetCurrentInteractionMode(slicer.vtkMRMLInteractionNode.ViewTransform)
    assert got == [True, False]
    widget.setMRMLScene(None)


def test_simple_markups_widget_lists_points(scene):
    import slicer

    points = add("P", "vtkMRMLMarkupsFiducialNode")
    widget = slicer.qSlicerSimpleMarkupsWidget()
    widget.setMRMLScene(scene)
    widget.setCurrentNode(points)
    points.AddControlPoint(1, 2, 3)
    assert widget.tableWidget().rowCount == 1
    assert widget.tableWidget().item(0, 3).text() == "3.000"
    widget.setMRMLScene(None)
    widget.setCurrentNode(None)


def test_table_view_follows_its_node(scene):
    import slicer

    table = add("T", "vtkMRMLTableNode")
    for name in ("nodule", "probability"):
        table.AddColumn().SetName(name)
    table.AddEmptyRow()
    view = slicer.qMRMLTableView()
    view.setMRMLScene(scene)
    view.setMRMLTableNode(table)
    got = []
    view.connect("selectionChanged()", lambda: got.append(1))
    table.SetCellText(0, 0, "N1")
    assert view.model().rowCount() == 1
    assert view.model().data(view.model().index(0, 0)) == "N1"
    assert view.model().headerData(1, 1) == "probability"
    view.selectRow(0)
    assert got
    table.AddEmptyRow()
    assert view.model().rowCount() == 2
    assert [index.row() for index in view.selectionModel().selectedRows()] == [0]
    view.setMRMLTableNode(None)


UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Panel</class>
 <widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout" name="verticalLayout">
  <item><widget class="{kind}" name="volume">
   <property name="{property}"><bool>true</bool></property>
   <property name="SlicerParameterName" stdset="0"><string>volume</string></property>
  </widget></item>
  <item><widget class="ctkPathLineEdit" name="model">
   <property name="filters"><set>ctkPathLineEdit::Files|ctkPathLineEdit::Readable</set></property>
  </widget></item>
 </layout></widget>
 <connections><connection><sender>Panel</sender><signal>{signal}</signal>
  <receiver>volume</receiver><slot>{slot}</slot></connection></connections>
</ui>"""


def load(folder, **changes):
    import slicer

    parts = {
        "kind": "qMRMLNodeComboBox",
        "property": "noneEnabled",
        "signal": "mrmlSceneChanged(vtkMRMLScene*)",
        "slot": "setMRMLScene(vtkMRMLScene*)",
    }
    (folder / "Panel.ui").write_text(UI.format(**(parts | changes)))
    return slicer.util.loadUI(str(folder / "Panel.ui"))


def test_ui_file_gives_the_stand_ins_and_connects_the_scene(scene, tmp_path):
    import ctk
    import slicer

    panel = load(tmp_path)
    ui = slicer.util.childWidgetVariables(panel)
    assert type(ui.volume) is slicer.qMRMLNodeComboBox
    assert ui.volume.noneEnabled
    assert ui.volume.property("SlicerParameterName") == "volume"
    assert type(ui.model) is ctk.ctkPathLineEdit
    assert ui.model.filters == 0x12
    panel.setMRMLScene(scene)
    assert ui.volume.mrmlScene() is scene
    assert not hasattr(panel, "volume")
    panel.setMRMLScene(None)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "qMRMLUnknownWidget"},
        {"property": "noneEnable"},
        {"slot": "setScene(vtkMRMLScene*)"},
        {"signal": "sceneChanged()"},
    ],
)
def test_wrong_ui_files_are_refused(scene, tmp_path, changes):
    from slicerhost.qt_signals import SignalError
    from slicerhost.ui_loader import UIError

    with pytest.raises((UIError, SignalError)):
        load(tmp_path, **changes)


def test_images_between_vtk_and_qt(scene):
    import numpy as np
    import qt
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    colors = np.zeros((4, 6, 3), np.uint8)
    colors[0, 0] = (255, 0, 0)
    image = vtk.vtkImageData()
    image.SetDimensions(6, 4, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(colors.reshape(-1, 3), deep=True))
    converted = qt.QImage()
    assert slicer.qMRMLUtils().vtkImageDataToQImage(image, converted)
    assert (converted.width(), converted.height()) == (6, 4)
    assert converted.pixelColor(0, 3).red() == 255
    assert converted.pixelColor(0, 0).red() == 0
