"""The text behind "Copy report": what a maintainer needs to help, and nothing of the patient."""

import platform

import MAEMCLib
import slicer


def reportText(logic) -> str:
    """Versions, device, last error and the worker's last words; no names, no paths of images, no positions."""
    system = f"Slicer {slicer.app.applicationVersion}, Python {platform.python_version()}, {platform.platform()}"
    lines = [
        f"MAEMC {MAEMCLib.__version__}, {system}",
        f"device asked for: {logic.deviceRequest}",
    ]
    lines += [f"{key}: {value}" for key, value in logic.device.items()]
    lines.append(f"worker: {'running' if logic.worker.pid else 'not running'}, {logic.worker.sent} requests sent")
    lines.append(f"status: {logic.status.kind} {logic.status.code} {logic.status.text}".rstrip())
    return "\n".join([*lines, *logic.worker.lastWords[-50:]])
