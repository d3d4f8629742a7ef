"""What training will compute on, asked of a process of its own, since Slicer's own never imports torch."""

import threading
from pathlib import Path

from MAEMCLib.errors import MAEMCError
from MAEMCLib.worker.client import WorkerClient
from MAEMCNodulePanel.installing import inPanelWords, missingRequirements
from MAEMCNodulePanel.status import SILENT_SECONDS, Status
from slicer.i18n import tr as _

REQUIREMENTS = Path(__file__).resolve().parent.parent / "Resources" / "training-requirements.txt"
"""What training needs besides PyTorch."""


class DeviceProbe:
    """Asks once and ends the process. device: name, title, torch ...; problem: why training cannot run here."""

    def __init__(self) -> None:
        self.device: dict = {}
        self.problem: Status | None = None
        self._client: WorkerClient | None = None

    @property
    def asking(self) -> bool:
        return self._client is not None

    def ask(self, python: str) -> None:
        """Start to find out."""
        self.stop()
        self.device, self.problem = {}, None
        self._client = WorkerClient(python)
        self._client.send("device", device="auto")

    def poll(self) -> bool:
        """Take the answer in; True where it has just come."""
        for message in self._client.poll() if self._client is not None else ():
            if message["kind"] == "result":
                self.device = message["device"]
                self.problem = _missingPackages()
            elif message["kind"] == "error":
                text = inPanelWords(message["code"], message["message"])
                self.problem = Status("error", text, message["code"])
            else:
                continue
            self.stop()
            return True
        return False

    def stop(self) -> None:
        """End the process, if it still runs."""
        client, self._client = self._client, None
        if client is not None:  # a process with torch takes a tenth of a second to die
            threading.Thread(target=client.stop, daemon=True).start()

    def text(self) -> str:
        """One line for the panel."""
        if self.asking:
            silent = self._client.silent_seconds
            if silent < SILENT_SECONDS:
                return _("Looking for a GPU ...")
            text = _("Looking for a GPU: PyTorch has not answered for {seconds} s. Loading it may take minutes.")
            return text.format(seconds=f"{silent:.0f}")
        if not self.device:
            return ""
        name = _("CPU") if self.device["name"] == "cpu" else self.device.get("title") or self.device["name"]
        return _("Trains on: {device}").format(device=name)


def _missingPackages():
    """Status where packages besides PyTorch are still to be installed, else None."""
    try:
        missing = missingRequirements(str(REQUIREMENTS))
    except MAEMCError as error:  # a Slicer without slicer.packaging
        return Status("error", str(error), error.code)
    if not missing:
        return None
    text = _("Training needs packages that are not installed: {packages}.")
    return Status("error", text.format(packages=", ".join(missing)), "install")
