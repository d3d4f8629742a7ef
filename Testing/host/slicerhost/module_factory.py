"""Loading a scripted module as Slicer does: description, then (when first asked for) widget, setup, enter, exit."""

import importlib.util
import sys
from pathlib import Path

from PySide6 import QtCore

from . import qt_signals
from .ui_loader import register


@register
class qSlicerScriptedLoadableModule(QtCore.QObject):
    """The C++ half of a module: what the script sets on ``parent``, and access to its widget."""

    # What qSlicerScriptedLoadableModule declares; a script may set nothing else on ``parent``.
    FIELDS = (
        "title", "categories", "dependencies", "contributors", "helpText", "acknowledgementText", "icon", "hidden",
        "widgetRepresentationCreationEnabled", "associatedNodeTypes", "index", "extensionName", "path",
    )  # fmt: skip

    def __init__(self, name, path):
        super().__init__()
        self.setObjectName(name)
        self._standin_fields = {
            "title": name, "categories": (), "dependencies": (), "contributors": (), "helpText": "",
            "acknowledgementText": "", "icon": None, "hidden": False, "widgetRepresentationCreationEnabled": True,
            "associatedNodeTypes": (), "index": -1, "extensionName": "", "path": str(path),
        }  # fmt: skip
        self._standin_widget = None
        self._standin_instance = None
        self._standin_entered = False

    def widgetRepresentation(self):
        if self._standin_widget is None:
            self._standin_widget = _create_widget(self)
        return self._standin_widget

    def createNewWidgetRepresentation(self):
        return _create_widget(self)

    def logic(self):
        """The C++ logic of a scripted module, which has nothing to do with the script's Logic class."""
        import slicer

        return slicer.vtkSlicerScriptedLoadableModuleLogic()


def _field(name):
    def write(self, value):
        self._standin_fields[name] = tuple(value) if isinstance(value, list) else value

    return property(lambda self: self._standin_fields[name], write)


for _name in qSlicerScriptedLoadableModule.FIELDS:
    setattr(qSlicerScriptedLoadableModule, _name, _field(_name))


def _create_widget(module):
    import slicer

    parent = slicer.qSlicerScriptedLoadableModuleWidget()
    parent.setObjectName(f"{module.name}ModuleWidget")
    _fill_widget(module, parent)
    parent._standin_reload = lambda: _fill_widget(module, parent)
    return parent


def _fill_widget(module, parent):
    import slicer

    kind = getattr(sys.modules[module.name], f"{module.name}Widget")
    parent.setMRMLScene(slicer.mrmlScene)
    instance = kind(parent)
    parent._standin_self = instance
    setattr(slicer.modules, f"{module.name}Widget", instance)
    instance.setup()
    return instance


@register
class qSlicerModuleFactoryManager(QtCore.QObject):
    """Which modules are loaded."""

    def __init__(self):
        super().__init__()
        self._standin_modules = {}

    def loadedModuleNames(self):
        return tuple(self._standin_modules)

    def isLoaded(self, name):
        return name in self._standin_modules


@register
class qSlicerModuleManager(QtCore.QObject):
    """Loads, finds and unloads modules."""

    standin_signals = ("moduleLoaded(QString)", "moduleAboutToBeUnloaded(QString)", "moduleUnloaded(QString)")

    def __init__(self):
        super().__init__()
        self._standin_factory = qSlicerModuleFactoryManager()

    def factoryManager(self):
        return self._standin_factory

    def module(self, name):
        return self._standin_factory._standin_modules.get(name)

    def modulesNames(self):
        return self._standin_factory.loadedModuleNames()


class CppModule:
    """A module of Slicer's core: a name and its real C++ logic."""

    def __init__(self, name, logic):
        self.name, self.title, self._logic, self.path = name, name, logic, ""

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        return None


def load_module(path, name: str | None = None):
    """Load the scripted module in file ``path`` and return its ``slicer.modules`` object.

    The file's folder goes on ``sys.path`` as Slicer puts it there; exceptions are raised, not printed.
    """
    import slicer

    path = Path(path).resolve()
    name = name or path.stem
    if path.is_dir():
        path = path / f"{name}.py"
    manager = slicer.app.moduleManager()
    if manager.module(name) is not None:
        raise RuntimeError(f"module {name} is already loaded")
    folder = str(path.parent)
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    specification = importlib.util.spec_from_file_location(name, path)
    python = importlib.util.module_from_spec(specification)
    sys.modules[name] = python
    module = qSlicerScriptedLoadableModule(name, path)
    module._standin_folder = folder if added else None
    try:
        specification.loader.exec_module(python)
        instance = getattr(python, name)(module)
    except BaseException:
        _forget(module)
        raise
    missing = [other for other in module.dependencies if manager.module(other) is None]
    if missing:
        _forget(module)
        raise RuntimeError(f"module {name} depends on modules that are not loaded: {', '.join(missing)}")
    module._standin_instance = instance
    manager._standin_factory._standin_modules[name] = module
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.modules, f"{name}Instance", instance)
    setattr(slicer.moduleNames, name, name)
    if hasattr(instance, "setup"):
        instance.setup()
    qt_signals.emit(manager, "moduleLoaded(QString)", name)
    return module


def _forget(module) -> None:
    sys.modules.pop(module.name, None)
    if module._standin_folder in sys.path:
        sys.path.remove(module._standin_folder)


def forget_packages(folder) -> list[str]:
    """Drop every imported Python module that lies in ``folder``, so that another copy of it can be loaded."""
    folder = Path(folder).resolve()
    gone = [
        name
        for name, python in list(sys.modules.items())
        if getattr(python, "__file__", None) and Path(python.__file__).resolve().is_relative_to(folder)
    ]
    for name in gone:
        del sys.modules[name]
    return gone


def select(name: str | None) -> None:
    """Switch the panel to a module (None: to no module): ``exit()`` of the old one, ``enter()`` of the new."""
    import slicer

    manager = slicer.app.moduleManager()
    for other in manager._standin_factory._standin_modules.values():
        if getattr(other, "_standin_entered", False) and other.name != name:
            other._standin_entered = False
            _call(other.widgetRepresentation().self(), "exit")
    if name is not None:
        module = manager.module(name)
        widget = module.widgetRepresentation().self()
        if not module._standin_entered:
            module._standin_entered = True
            _call(widget, "enter")


def _call(instance, method):
    function = getattr(instance, method, None)
    if function is not None:
        function()


def unload(name: str) -> None:
    """Unload as Slicer does at its end: ``exit``, ``moduleAboutToBeUnloaded`` (which calls ``cleanup``), deletion."""
    import slicer

    manager = slicer.app.moduleManager()
    module = manager.module(name)
    if module is None:
        return
    if module._standin_entered:
        module._standin_entered = False
        _call(module.widgetRepresentation().self(), "exit")
    qt_signals.emit(manager, "moduleAboutToBeUnloaded(QString)", name)
    del manager._standin_factory._standin_modules[name]
    for attribute in (name.lower(), f"{name}Instance", f"{name}Widget"):
        if hasattr(slicer.modules, attribute):
            delattr(slicer.modules, attribute)
    delattr(slicer.moduleNames, name)
    slicer.selfTests.pop(name, None)
    if module._standin_widget is not None:
        module._standin_widget.delete()
    _forget(module)
    qt_signals.emit(manager, "moduleUnloaded(QString)", name)


__all__ = ["CppModule", "forget_packages", "load_module", "select", "unload"]
