"""The list of models to choose from."""

import qt
from MAEMCLib.errors import MAEMCError
from slicer.i18n import tr as _

from .controls import scoresPictures


def inputsText(card) -> str:
    """What a model scores."""
    return _("2-D pictures") if scoresPictures(card) else _("nodules in CT")


class ModelList:
    """Fills the panel's selector with the models of this machine, each with what it is meant for as its hint."""

    def __init__(self, selector, logic) -> None:
        self._selector, self._logic = selector, logic

    def card(self):
        """The card of the chosen model, or None where it cannot be used."""
        try:
            return self._logic.chosenModel().card
        except MAEMCError:
            return None

    def fill(self) -> None:
        """List the models anew."""
        selector = self._selector
        selector.clear()
        models = self._logic.models()
        for model in models:
            if model.card is None:
                text, data, hint = _("{name} - cannot be used"), str(model.path), model.problem
                selector.addItem(text.format(name=model.path.name), data)
            else:
                text = _("{id} {version} - {inputs}, research only")
                text = text.format(id=model.card.id, version=model.card.version, inputs=inputsText(model.card))
                data, hint = f"{model.card.id}@{model.card.version}", model.card.intended_use
                selector.addItem(text, data)
            selector.setItemData(selector.count - 1, hint, qt.Qt.ToolTipRole)
        selector.enabled = bool(models)
        if not models:
            selector.addItem(_("No model is installed"), "")

    def select(self, wanted: str) -> None:
        """Show a model, by id, as the chosen one; without one, the one that scores by default."""
        selector = self._selector
        if not wanted:
            card = self.card()
            wanted = f"{card.id}@{card.version}" if card else ""
        if wanted and selector.findData(wanted) < 0:  # it has come since, as MAEMC Training's do
            self.fill()
        if wanted and selector.findData(wanted) < 0:  # of a scene from another machine
            selector.addItem(_("{model} - not on this machine").format(model=wanted), wanted)
        selector.currentIndex = max(selector.findData(wanted), 0)
