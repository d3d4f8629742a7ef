"""The widget classes that Slicer publishes in the module ``slicer``."""

from . import mrml_widgets, node_combo_box  # noqa: F401 (they register their classes)
from .ui_loader import custom_widgets


def publish(slicer) -> None:
    """Make every stand-in of a qMRML or qSlicer class an attribute of ``slicer``."""
    from . import markups_widgets, module_factory, slicer_utilities, table_view  # noqa: F401

    for name, kind in custom_widgets.items():
        if not name.startswith("ctk"):
            setattr(slicer, name, kind)
    # Not widgets: a .ui file cannot have them.
    for name in ("qSlicerScriptedLoadableModule", "qSlicerModuleManager", "qSlicerModuleFactoryManager"):
        custom_widgets.pop(name, None)
    slicer.qMRMLUtils = slicer_utilities.qMRMLUtils
