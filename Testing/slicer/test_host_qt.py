"""PythonQt's rules hold on the stand-in ``qt``: each of these tests fails on plain PySide6."""

import pytest


@pytest.fixture
def qt(scene):
    import qt

    return qt


@pytest.fixture
def expected_errors():
    """The test itself looks at the exceptions collected from slots."""
    from slicerhost import slot_errors

    return slot_errors.take


def test_properties_are_attributes(qt):
    label = qt.QLabel("a")
    assert label.text == "a"
    label.text = "b"
    assert label.text == "b"
    label.enabled = False
    assert not label.isEnabled()
    label.toolTip = "tip"
    assert label.property("toolTip") == "tip"
    box = qt.QComboBox()
    box.addItems(["x", "y"])
    box.currentIndex = 1
    assert (box.currentText, box.count) == ("y", 2)


def test_calling_a_property_is_an_error(qt):
    with pytest.raises(TypeError, match="not callable"):
        qt.QLabel("a").text()
    with pytest.raises(TypeError, match="not callable"):
        qt.QSpinBox().value()
    with pytest.raises(TypeError, match="not callable"):
        qt.QPushButton("a").sizeHint()


def test_setters_and_is_methods_work(qt):
    box = qt.QCheckBox("a")
    box.setText("b")
    box.setChecked(True)
    assert box.isChecked()
    assert box.checked is True


def test_property_of_a_wrong_type_is_refused(qt):
    with pytest.raises(AttributeError, match="does not accept"):
        qt.QSpinBox().minimum = "many"
    with pytest.raises(AttributeError, match="does not accept"):
        qt.QLabel().text = None
    with pytest.raises(AttributeError, match="not writable"):
        qt.QWidget().width = 3


def test_new_attributes_on_cpp_objects_are_refused(qt):
    with pytest.raises(AttributeError, match="refuses new attributes"):
        qt.QPushButton("a").clicked_count = 0
    with pytest.raises(AttributeError, match="refuses new attributes"):
        qt.QListWidgetItem("a").extra = 0
    with pytest.raises(AttributeError, match="can not be overwritten"):
        qt.QWidget().resizeEvent = print
    import ctk

    with pytest.raises(AttributeError, match="refuses new attributes"):
        ctk.ctkCollapsibleButton().extra = 0


def test_new_attributes_on_python_subclasses_are_allowed(qt):
    class Panel(qt.QWidget):
        pass

    panel = Panel()
    panel.extra = 3
    assert panel.extra == 3


def test_dynamic_properties_are_attributes(qt):
    widget = qt.QWidget()
    widget.setProperty("SlicerParameterName", "volume")
    assert widget.SlicerParameterName == "volume"
    assert widget.property("nothing") is None


def test_object_names(qt):
    widget = qt.QWidget()
    widget.name = "panel"
    assert (widget.objectName, widget.name) == ("panel", "panel")


def test_connect_by_signature_passes_what_the_slot_takes(qt):
    button = qt.QPushButton("a")
    button.checkable = True
    got = []

    class Receiver:
        def nothing(self):
            got.append("nothing")

        def checked(self, checked):
            got.append(checked)

        def optional(self, checked="default"):
            got.append(("optional", checked))

        def everything(self, *values):
            got.append(values)

    receiver = Receiver()
    assert button.connect("clicked()", receiver.nothing) is True
    button.connect("clicked(bool)", receiver.checked)
    button.connect("clicked()", receiver.optional)
    button.clicked.connect(receiver.nothing)
    button.clicked.connect(receiver.optional)
    button.connect("clicked(bool)", receiver.everything)
    button.click()
    assert got == ["nothing", True, ("optional", "default"), "nothing", ("optional", True), (True,)]


def test_wrong_signature_raises(qt):
    from slicerhost.qt_signals import SignalError

    button = qt.QPushButton("a")
    for signature in ("clicked", "click()", "clicked(int)", "clicked(bool,bool)"):
        with pytest.raises(SignalError):
            button.connect(signature, print)
    with pytest.raises(AttributeError):
        button.nonsense.connect(print)


def test_disconnect(qt):
    from slicerhost.qt_signals import SignalError

    button = qt.QPushButton("a")
    got = []

    class Receiver:
        def slot(self):
            got.append(1)

    receiver = Receiver()
    button.clicked.connect(receiver.slot)
    button.clicked.disconnect(receiver.slot)
    button.connect("clicked()", receiver.slot)
    button.disconnect("clicked()", receiver.slot)
    button.click()
    assert got == []
    with pytest.raises(SignalError, match="not connected"):
        button.clicked.disconnect(receiver.slot)


def test_exception_in_a_slot_is_collected(qt, expected_errors):
    button = qt.QPushButton("a")
    button.clicked.connect(lambda: 1 / 0)
    button.click()
    assert [type(error) for error in expected_errors()] == [ZeroDivisionError]


def test_exception_in_a_timer_is_collected(qt, expected_errors):
    import slicer

    qt.QTimer.singleShot(0, lambda: 1 / 0)
    slicer.app.processEvents()
    assert [type(error) for error in expected_errors()] == [ZeroDivisionError]


def test_exception_in_an_overridden_method_is_not_lost(qt, expected_errors):
    import slicer

    class Panel(qt.QWidget):
        def resizeEvent(self, event):
            raise ValueError("resized")

    panel = Panel()
    raised = []
    try:
        panel.show()
        slicer.app.processEvents()
    except ValueError as error:
        raised.append(error)
    panel.close()
    assert raised or expected_errors()


def test_enums_are_ints_and_lists_of_texts_tuples(qt):
    label = qt.QLabel("a")
    label.alignment = qt.Qt.AlignRight | qt.Qt.AlignTop
    assert label.alignment == 0x22
    assert type(label.alignment) is int
    assert qt.Qt.Checked == 2
    assert qt.QMessageBox.Yes == 0x4000
    dialog = qt.QFileDialog()
    dialog.setNameFilters(["a (*.a)", "b (*.b)"])
    import slicer

    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    assert combo.nodeTypes == ("vtkMRMLScalarVolumeNode",)


def test_timer(qt):
    import slicer

    got = []
    timer = qt.QTimer()
    timer.singleShot = True
    timer.interval = 0
    timer.timeout.connect(lambda: got.append(1))
    timer.start()
    assert timer.active
    slicer.app.processEvents()
    assert got == [1]
    assert not timer.active


def test_single_shots_and_actions(qt):
    import time

    import slicer

    got = []
    qt.QTimer.singleShot(20, lambda: got.append("later"))
    qt.QTimer.singleShot(0, lambda: got.append("now"))
    end = time.monotonic() + 5
    while len(got) < 2 and time.monotonic() < end:
        slicer.app.processEvents()
    assert got == ["now", "later"]
    menu = qt.QMenu()
    with pytest.raises(TypeError, match="takes no function"):
        menu.addAction("Export", lambda: got.append("export"))
    action = menu.addAction("Export")
    action.triggered.connect(lambda: got.append("export"))
    action.trigger()
    assert got[-1] == "export"


def test_find_children_by_class_name(qt):
    panel = qt.QWidget()
    layout = qt.QVBoxLayout(panel)
    label = qt.QLabel("a")
    label.name = "first"
    layout.addWidget(label)
    layout.addWidget(qt.QPushButton("b"))
    assert [child.className() for child in panel.findChildren("QLabel")] == ["QLabel"]
    assert len(panel.findChildren(qt.QWidget)) == 2
    assert panel.findChild("QLabel", "first").text == "a"
    assert panel.inherits("QWidget")
    assert layout in panel.children()
    assert panel.layout() is layout
    assert label.parent() is panel


def test_modal_dialogs_raise_unless_answered(qt, expected_errors):
    from slicerhost import qt_modal

    with pytest.raises(qt_modal.ModalDialogError):
        qt.QMessageBox.question(None, "Delete?", "Delete the model?")
    with pytest.raises(qt_modal.ModalDialogError):
        qt.QDialog().exec_()
    with pytest.raises(qt_modal.ModalDialogError):
        qt.QFileDialog.getOpenFileName(None, "Open")
    assert len(expected_errors()) == 3
    with qt_modal.answers(question=qt.QMessageBox.Yes, getOpenFileName="a.nrrd") as asked:
        assert qt.QMessageBox.question(None, "Delete?", "Delete the model?") == qt.QMessageBox.Yes
        assert qt.QFileDialog.getOpenFileName(None, "Open") == "a.nrrd"
    assert [name for name, _ in asked] == ["question", "getOpenFileName"]


def test_settings_stay_in_a_temporary_place(qt):
    import slicer

    settings = qt.QSettings()
    assert settings.fileName().startswith(slicer.app.slicerUserSettingsFilePath.rsplit("/", 1)[0])
    assert "/tmp" in settings.fileName() or "slicer-settings" in settings.fileName()
    settings.setValue("MAEMC/device", "cpu")
    assert slicer.app.userSettings().value("MAEMC/device") == "cpu"
    assert slicer.util.settingsValue("MAEMC/absent", "auto") == "auto"
    assert "MAEMC/device" in settings.allKeys()
    with pytest.raises(TypeError):
        settings.value("MAEMC/device", None, str)
    settings.remove("MAEMC/device")


def test_names_that_pythonqt_lacks_are_absent(qt):
    for name in ("Signal", "Slot", "Property", "QtCore"):
        assert not hasattr(qt, name)
    with pytest.raises(AttributeError, match="before Qt 6"):
        qt.QCheckBox("a").checkStateChanged.connect(print)


def test_slicer_namespace_is_that_of_slicer(scene):
    import slicer

    assert not hasattr(slicer, "getNode")
    assert slicer.util.getNode
    assert slicer.parameterNodeWrapper.__name__ == "slicer.parameterNodeWrapper"
    assert slicer.app.layoutManager() is None
    assert slicer.app.testingEnabled() is True


def test_text_is_drawn_in_grabs(qt):
    label = qt.QLabel("Malignancy 0.83")
    label.resize(200, 40)
    image = label.grab().toImage()
    dark = sum(image.pixelColor(x, 20).lightness() < 100 for x in range(200))
    assert dark > 5


def test_overridden_size_hint_in_nested_layouts(qt):
    import slicer

    class Framed(qt.QWidget):
        def sizeHint(self):
            return self.layout().totalSizeHint()

        def minimumSizeHint(self):
            return self.layout().totalMinimumSize()

    panel = qt.QWidget()
    outer = qt.QVBoxLayout(panel)
    for _ in range(2):
        framed = Framed()
        qt.QFormLayout(framed).addRow(qt.QLabel("x"), qt.QTableView())
        outer.addWidget(framed)
    panel.show()
    slicer.app.processEvents()
    for width in (300, 320, 340):
        panel.resize(width, 300)
        assert panel.grab().width() == width
    assert isinstance(qt.QPushButton("a").sizeHint, qt.QSize)
    panel.hide()
