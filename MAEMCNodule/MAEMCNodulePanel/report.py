"""The text behind "Copy report": what a maintainer needs to help, and nothing of the patient."""

import platform

import MAEMCLib
import slicer

from . import pipwords
from .installing import MACHINE_CODES


def reportText(logic) -> str:
    """Versions, device, last error and the worker's last words; no names, no folders, no positions."""
    system = f"Slicer {slicer.app.applicationVersion}, Python {platform.python_version()}, {platform.platform()}"
    lines = [
        f"MAEMC {MAEMCLib.__version__}, {system}",
        f"device asked for: {logic.queue.deviceRequest}",
    ]
    lines += [f"{key}: {value}" for key, value in logic.device.items()]
    lines.append(f"worker: {'running' if logic.worker.pid else 'not running'}, {logic.worker.sent} requests sent")
    status = logic.status
    text = status.text if status.code in (*MACHINE_CODES, "internal") else ""  # others name volumes and points
    lines.append(f"status: {status.kind} {status.code} {text}".rstrip())
    if pipwords.lastLines:
        lines += ["the installation that failed last:", *pipwords.lastLines]
    return "\n".join(pipwords.withoutFolders(line) for line in [*lines, *list(logic.worker.log)[-50:]])
