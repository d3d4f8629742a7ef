"""``slicer.app`` and the way to start it."""

import os
import sys
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
STUBS = HERE.parent / "stubs"
MODULES = HERE.parent / "modules"  # modules of Slicer itself which scripts import

_application = None


def start(settings_folder, testing: bool = True):
    """Start the stand-in for Slicer in this process, once; returns ``slicer.app``.

    After it ``import slicer, qt, ctk, vtk`` works as in Slicer. ``settings_folder``: where settings, the cache and
    temporary files go. ``testing``: what ``slicer.app.testingEnabled()`` answers.
    """
    global _application
    if _application is not None:
        return _application
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    settings_folder = Path(settings_folder).resolve()
    settings_folder.mkdir(parents=True, exist_ok=True)
    from . import ctk_widgets, qt_module

    qt_module.build()
    ctk_widgets.build()
    slicer = _import_slicer()
    from . import fonts_and_colors, hygiene, slicer_app, widget_classes

    hygiene.listen_to_vtk()
    hygiene.follow_observation_mixin()
    widget_classes.publish(slicer)
    slicer.modules = types.SimpleNamespace()
    slicer.moduleNames = types.SimpleNamespace()
    slicer.modules.sampleDataSources, slicer.modules.sampleDataCategories = {}, {}
    slicer.selfTests = {}
    sys.path.append(str(MODULES))
    _application = slicer_app.create(settings_folder, testing)
    fonts_and_colors.apply(_application)
    return _application


def started():
    """``slicer.app``; raises RuntimeError before ``start``."""
    if _application is None:
        raise RuntimeError("the stand-in application was not started")
    return _application


def _import_slicer():
    """Import slicer with the stand-ins of its Python files, and only with them.

    The wheel's package also takes in every folder named ``slicer`` found on ``sys.path``: one of tests must not.
    """
    if "slicer" in sys.modules:
        raise RuntimeError("slicer was imported before the stand-in application was started")
    before = list(sys.path)
    sys.path[:] = [str(STUBS)] + [entry for entry in before if not (Path(entry or ".") / "slicer/conftest.py").exists()]
    try:
        import slicer
    finally:
        sys.path[:] = before
    # The wheel copies every public name of these into slicer itself; in Slicer they are in their modules only.
    names = ("util", "ScriptedLoadableModule", "i18n", "packaging", "parameterNodeWrapper", "testing")
    modules = {name: sys.modules[f"slicer.{name}"] for name in names}
    import slicer_core

    for module in modules.values():
        for name in dir(module):
            if name in vars(slicer) and not hasattr(slicer_core, name) and not name.startswith("__"):
                delattr(slicer, name)
    for name, module in modules.items():
        setattr(slicer, name, module)
    return slicer
