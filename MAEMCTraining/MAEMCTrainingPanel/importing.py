"""From data sets as they come, and scenes of Slicer, to a manifest, in a process that no window waits for."""

from pathlib import Path

import slicer
import vtk
from MAEMCLib.errors import InputError
from slicer.i18n import tr as _

from .commands import ChildCommands
from .folders import manifestFolder


def importers() -> dict:
    """{title: (kind of maemc-train import, what is asked for: "scene", "file" or "folder")}, in the menu's order.

    Those that make data to train on: CT series without points are not.
    """
    return {
        _("This scene"): ("scene", "scene"),
        _("Scene file ..."): ("scene", "file"),
        _("Folder of scenes ..."): ("scene", "folder"),
        _("LIDC-IDRI folder ..."): ("lidc", "folder"),
        _("LUNA25 table ..."): ("luna25", "file"),
        _("Folder of 2-D pictures ..."): ("images", "folder"),
    }


def savedScene() -> Path:
    """The file of the present scene. Raises InputError where it has not been saved, or was changed since."""
    path = slicer.mrmlScene.GetURL()
    if not path or not Path(path).is_file():
        raise InputError(_("Save the scene first, with its CTs and point lists (File, Save)."), "scene-not-saved")
    changed = vtk.vtkCollection()
    slicer.mrmlScene.GetStorableNodesModifiedSinceRead(changed)
    if changed.GetNumberOfItems():
        text = _("Save the scene again: {node} has changed since.")
        raise InputError(text.format(node=changed.GetItemAsObject(0).GetName()), "scene-not-saved")
    return Path(path)


def importData(commands: ChildCommands, kind: str, source: Path, home: Path) -> tuple:
    """Make a manifest under ``MAEMC_HOME/manifests``: (its path, a line for each item that was skipped and why).

    Raises MAEMCError with the last words of the process that failed.
    """
    manifest = manifestFolder(home, source.stem) / "manifest.csv"
    arguments = ["import", kind, str(source), "--output", str(manifest)]
    _output, complaints = commands.run("MAEMCTrainingLib", *arguments)
    return manifest, [line.removeprefix("skipped ") for line in complaints if line.startswith("skipped ")]
