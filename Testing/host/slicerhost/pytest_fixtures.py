"""Fixtures: the application, a fresh scene, loading a module, views; each test is checked when it ends."""

import gc
from importlib import import_module

import pytest
from PySide6 import QtCore

from . import application, hygiene, module_factory, opengl, slot_errors


@pytest.fixture(scope="session")
def slicer_app():
    """``slicer.app``: the stand-in application, one for the whole session (``conftest.py`` has started it)."""
    return application.started()


@pytest.fixture
def scene(slicer_app):
    """``slicer.mrmlScene``, empty; afterwards cleared, and checked for exceptions in slots, VTK errors, observers."""
    import slicer

    slot_errors.take()
    slicer_app._standin_scene.renew()
    watch = hygiene.Watch(slicer.mrmlScene)
    gc.freeze()  # what is there before the test is none of its garbage: torch's modules take a tenth of a second
    yield slicer.mrmlScene
    slicer_app.processEvents()
    gc.collect()
    problems = watch.finish()
    slicer_app._standin_scene.renew()
    slicer_app.processEvents()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    problems += [f"VTK reported an error: {text}" for text in hygiene.take_vtk_errors()]
    errors = slot_errors.take()
    if errors:
        raise AssertionError(
            f"{len(errors)} exceptions in slots or callbacks, printed above; first: {errors[0]!r}"
        ) from errors[0]
    if problems:
        raise AssertionError("; ".join(problems))


@pytest.fixture
def load_module(scene):
    """``load_module(path, name=None)`` loads a scripted module; it is left and unloaded when the test ends."""
    loaded = []

    def load(path, name=None):
        module = module_factory.load_module(path, name)
        loaded.append(module.name)
        return module

    yield load
    for name in reversed(loaded):
        module_factory.unload(name)


@pytest.fixture
def slice_view(scene):
    """``slice_view(name="Red", size=(400, 400))`` makes a real offscreen slice view; needs OpenGL."""
    yield from _views("slice_view", "SliceView", "Red", (400, 400))


@pytest.fixture
def plot_view(scene):
    """``plot_view(name="PlotView1", size=(500, 300))`` makes a real offscreen plot view; needs OpenGL."""
    yield from _views("plot_view", "PlotView", "PlotView1", (500, 300))


def _views(module, kind, default_name, default_size):
    """A maker of views, then their end; skips where they cannot be drawn."""
    reason = opengl.missing()
    if reason:
        pytest.skip(reason)
    view_class = getattr(import_module(f".{module}", __package__), kind)
    views = []

    def make(name=default_name, size=default_size):
        views.append(view_class(name, size))
        return views[-1]

    yield make
    for view in views:
        view.close()
