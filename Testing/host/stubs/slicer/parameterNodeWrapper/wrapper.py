"""The class decorator ``parameterNodeWrapper``."""

import typing
import weakref

from .connectors import GuiConnector, createGuiConnector
from .serializers import createSerializer
from .types import Default, findFirstAnnotation, splitAnnotations

SlicerParameterNamePropertyName = "SlicerParameterName"


class ParameterInfo:
    """One member of the class: its name, serializer, default and type as written."""

    def __init__(self, name, serializer, default, datatype):
        self.basename, self.serializer, self.default, self.unalteredType = name, serializer, default, datatype


def _check(self, name):
    if name not in self.allParameters:
        raise ValueError(f"Cannot find a param with the given name: {name}; there are {list(self.allParameters)}")


def _read(self, name):
    info, node = self.allParameters[name], self.parameterNode
    if not info.serializer.isIn(node, name):
        info.serializer.write(node, name, info.default.value)
    return info.serializer.read(node, name)


def _write(self, name, value):
    import slicer

    with slicer.util.NodeModify(self.parameterNode):
        self.allParameters[name].serializer.write(self.parameterNode, name, value)


def _init(self, parameterNode, prefix=None):
    if parameterNode is None:
        raise ValueError("a parameter node wrapper needs a parameter node")
    if prefix:
        raise ValueError("the stand-in does not know prefixes")
    self.parameterNode = parameterNode
    self._parameterGUIs = {}
    self._nextParameterGUIsTag = 0
    self._updatingGUIFromParameterNode = False
    for name, info in self.allParameters.items():
        if not info.serializer.isIn(parameterNode, name):
            info.serializer.write(parameterNode, name, info.default.value)


def _getValue(self, name):
    _check(self, name)
    return _read(self, name)


def _setValue(self, name, value):
    _check(self, name)
    _write(self, name, value)


def _update_gui(self):
    import slicer

    if self._updatingGUIFromParameterNode:
        return
    self._updatingGUIFromParameterNode = True
    try:
        with slicer.util.NodeModify(self):
            for connectors, _ in self._parameterGUIs.values():
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
    finally:
        self._updatingGUIFromParameterNode = False


def _to_parameter(self, name, connector):
    def callback():
        import slicer

        if not self._updatingGUIFromParameterNode:
            with slicer.util.NodeModify(self):
                self.setValue(name, connector.read())

    return callback


def _connectParametersToGui(self, mapping):
    import vtk

    for name in mapping:
        _check(self, name)
    connectors = {
        name: target if isinstance(target, GuiConnector) else createGuiConnector(target, self.dataType(name))
        for name, target in mapping.items()
    }
    for name, connector in connectors.items():
        connector.write(self.getValue(name))
        connector.onChanged(_to_parameter(self, name, connector))
    wrapper = weakref.ref(self)

    def modified(caller, event):
        alive = wrapper()
        if alive is not None:
            _update_gui(alive)

    observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, modified)
    tag = self._nextParameterGUIsTag
    self._nextParameterGUIsTag += 1
    self._parameterGUIs[tag] = (connectors, observer)
    return tag


def _connectGui(self, gui):
    import qt

    children = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else vars(gui).values()
    named = {child.property(SlicerParameterNamePropertyName): child for child in children}
    return self.connectParametersToGui({name: child for name, child in named.items() if name})


def _disconnectGui(self, tag):
    if tag not in self._parameterGUIs:
        return
    connectors, observer = self._parameterGUIs.pop(tag)
    for connector in connectors.values():
        connector.onChanged(None)
    self.RemoveObserver(observer)


def _dataType(self, name):
    _check(self, name)
    return self.allParameters[name].unalteredType


def _default(self, name):
    _check(self, name)
    return self.allParameters[name].default


METHODS = {
    "default": _default,
    "dataType": _dataType,
    "getValue": _getValue,
    "setValue": _setValue,
    "connectGui": _connectGui,
    "connectParametersToGui": _connectParametersToGui,
    "disconnectGui": _disconnectGui,
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, before: self.parameterNode.EndModify(before),
    "AddObserver": lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    ),
    "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
    "Modified": lambda self: self.parameterNode.Modified(),
}


def _member(name):
    return property(lambda self: _read(self, name), lambda self, value: _write(self, name, value))


def _process(cls):
    parameters = {}
    for name, datatype in typing.get_type_hints(cls, include_extras=True).items():
        serializer = createSerializer(datatype)
        annotated = findFirstAnnotation(splitAnnotations(datatype)[1], Default)
        if hasattr(cls, name):
            default = Default(getattr(cls, name))
        else:
            default = annotated or Default(generator=serializer.default)
        parameters[name] = ParameterInfo(name, serializer, default, datatype)
    for name in parameters:
        if name in METHODS or name in ("allParameters", "parameterNode"):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(cls, name, _member(name))
    for name, method in METHODS.items():
        if hasattr(cls, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(cls, name, method)
    cls.allParameters = parameters
    cls._is_parameter_node_wrapper = True
    cls.__init__ = _init
    return cls


def parameterNodeWrapper(cls=None):
    """Class decorator: members become typed properties over a parameter node, which can be tied to a GUI."""
    return _process if cls is None else _process(cls)


def isParameterNodeWrapper(candidate) -> bool:
    return getattr(candidate, "_is_parameter_node_wrapper", False)


def findChildWidgetForParameter(widget, parameter):
    import qt

    for child in widget.findChildren(qt.QWidget):
        if child.property(SlicerParameterNamePropertyName) == parameter:
            return child
    return None
