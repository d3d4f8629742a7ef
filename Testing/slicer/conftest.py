"""Tests of the Slicer modules, on real MRML and real Qt with the stand-in application of ``Testing/host``."""

import importlib.util
import sys
import tempfile
from pathlib import Path

HOST = Path(__file__).resolve().parent.parent / "host"
if str(HOST) not in sys.path:
    sys.path.insert(0, str(HOST))

missing = [name for name in ("PySide6", "slicer_core") if importlib.util.find_spec(name) is None]
if missing:
    print(f"Testing/slicer is skipped: not installed: {', '.join(missing)}")
    collect_ignore_glob = ["test_*.py", "*/test_*.py"]
else:
    # Some tests import timm in this process, and with it triton, which crashes if VTK's OpenGL was loaded before it.
    import timm  # noqa: F401

    # At import, not in a fixture: Slicer's namespace must be that of the stand-ins before any test module imports it.
    from slicerhost import start

    _settings = tempfile.TemporaryDirectory(prefix="slicer-settings-")
    start(_settings.name)

    from slicerhost.pytest_fixtures import (  # noqa: F401 (pytest finds fixtures by name)
        load_module,
        plot_view,
        scene,
        slice_view,
        slicer_app,
    )
