"""Tests of the Slicer modules, on real MRML and real Qt with the stand-in application of ``Testing/host``."""

import importlib.util
import sys
from pathlib import Path

import pytest

HOST = Path(__file__).resolve().parent.parent / "host"
if str(HOST) not in sys.path:
    sys.path.insert(0, str(HOST))

missing = [name for name in ("PySide6", "slicer_core") if importlib.util.find_spec(name) is None]
if missing:
    collect_ignore_glob = ["test_*.py"]
else:
    from slicerhost.pytest_fixtures import (  # noqa: F401 (pytest finds fixtures by name)
        load_module,
        scene,
        slice_view,
        slicer_app,
    )


def pytest_sessionstart(session):
    # Slicer's namespace must be that of the stand-ins before any test module imports it.
    if not missing:
        from slicerhost import start

        start(session.config._tmp_path_factory.mktemp("slicer-settings"))
    else:
        print(f"Testing/slicer is skipped: not installed: {', '.join(missing)}")
