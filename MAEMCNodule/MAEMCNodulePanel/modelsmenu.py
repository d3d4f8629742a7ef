"""The models of this machine: import, remove, what one is for and under which license, the folder that they are in."""

from pathlib import Path

import qt
import slicer
from MAEMCLib.errors import MAEMCError, ModelError
from MAEMCLib.files.atomic import home, make_folder
from MAEMCLib.models.bundle import SUFFIX, read_card
from MAEMCLib.models.store import list_models, remove_model
from slicer.i18n import tr as _

from .status import Status


class ModelsMenu:
    """The menu of the button beside the model.

    A model is verified where the network is, in the worker's process. changed: called when the list of models is
    another one, with the name of the model to choose, or None.
    """

    def __init__(self, button, logic, changed) -> None:
        self._button, self._logic, self._changed = button, logic, changed
        self.menu = qt.QMenu(button)
        self.menu.toolTipsVisible = True
        self.menu.connect("aboutToShow()", self.fill)
        button.setMenu(self.menu)

    def fill(self) -> None:
        """Make the entries of the chosen model."""
        self.menu.clear()
        chosen = self._chosen()
        missing = "" if chosen else _("No model is chosen that can be used.")
        self._add(_("Import a model ..."), "", self.onImport)
        shipped = _("It came with MAEMC and stays.") if chosen and chosen.shipped else ""
        name = chosen.name if chosen else _("this model")
        self._add(_("Remove {model} ...").format(model=name), missing or shipped, self.onRemove)
        self._add(_("Intended use and license ..."), missing, self.onAbout)
        self._add(_("Open the folder of models"), "", self.onOpenFolder)

    def onImport(self) -> None:
        title, kind = _("Import a model"), _("MAEMC models (*{suffix})").format(suffix=SUFFIX)
        path = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, "", kind)
        if path:
            self.importFile(path)

    def importFile(self, path: str) -> None:
        """Have a bundle verified and copied to the models of this machine."""
        try:
            confirmed = self._confirmed(read_card(Path(path)))
        except ModelError as error:
            self._logic.statusLine.fail(error)
            return
        if confirmed is not None:
            self._logic.statusLine.set(Status("busy", _("Verifying {file} ...").format(file=Path(path).name)))
            self._logic.queue.ask("import", self._onImported, file=path, **confirmed)

    def onRemove(self) -> None:
        chosen = self._chosen()
        question = _("Remove {model} from this machine? Its results stay.").format(model=chosen.name)
        if not slicer.util.confirmYesNoDisplay(question):
            return
        try:
            remove_model(chosen.name)
        except MAEMCError as error:
            self._logic.statusLine.fail(error)
        else:
            self._changed(None)
            self._logic.statusLine.set(Status("idle", _("{model} was removed.").format(model=chosen.name)))

    def onAbout(self) -> None:
        from MAEMCLib.report.card import card_text  # with what fills templates: not when a panel opens

        card = self._chosen().card
        license = card.values.get("licence") or _("Its card names no license.")
        text = f"{card.title} ({card.id} {card.version})\n\n{card.intended_use}\n\n{license}"
        slicer.util.infoDisplay(text, windowTitle=_("Model"), detailedText=card_text(card))

    def onOpenFolder(self) -> None:
        folder = home() / "models"
        try:
            make_folder(folder, "folder of models")
        except MAEMCError as error:
            self._logic.statusLine.fail(error)
        else:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))

    def _confirmed(self, card) -> dict | None:
        """Fields of the request for a bundle with this card; None where the user does not trust it."""
        known = [model for model in list_models() if model.card is not None and model.card.id == card.id]
        if not known or any(model.card.sha256 == card.sha256 for model in known):
            return {}
        question = _(
            "A model called {id} is here already, and anybody can give a file that name. The SHA-256 of this one is "
            "{sha256}. Import it, if that is what its source states?"
        )
        agreed = slicer.util.confirmYesNoDisplay(question.format(id=card.id, sha256=card.sha256))
        return {"sha256": card.sha256} if agreed else None

    def _onImported(self, message: dict) -> None:
        if message["kind"] == "error":
            self._logic.statusLine.set(Status("error", message["message"], message["code"]))
            return
        self._changed(message["name"])  # first: what is said of an input goes when another model is chosen
        self._logic.statusLine.set(Status("idle", f"{message['name']}: {message['note']}"))

    def _chosen(self):
        try:
            chosen = self._logic.chosenModel()
        except ModelError:
            return None
        return next((model for model in list_models() if model.path == chosen.path), chosen)

    def _add(self, text: str, reason: str, function) -> None:
        action = self.menu.addAction(text)
        action.enabled = not reason
        action.toolTip = reason or text
        action.connect("triggered()", function)
