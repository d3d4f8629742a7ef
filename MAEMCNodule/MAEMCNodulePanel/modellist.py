"""The list of models to choose from."""

import qt
from slicer.i18n import tr as _

from .showing import scoresPictures


def fill(selector, logic) -> None:
    """List the models of this machine, each with what it is meant for as its hint."""
    selector.clear()
    models = logic.models()
    for model in models:
        if model.card is None:
            text = _("{name} - cannot be used").format(name=model.path.name)
            selector.addItem(text, str(model.path))
        else:
            inputs = _("2-D pictures") if scoresPictures(model.card) else _("nodules in CT")
            text = _("{id} {version} - {inputs}, research only")
            text = text.format(id=model.card.id, version=model.card.version, inputs=inputs)
            selector.addItem(text, f"{model.card.id}@{model.card.version}")
        hint = model.card.intended_use if model.card else model.problem
        selector.setItemData(selector.count - 1, hint, qt.Qt.ToolTipRole)
    selector.enabled = bool(models)
    if not models:
        selector.addItem(_("No model is installed"), "")


def select(selector, logic, model: str) -> None:
    """Show a model, by id, as the chosen one; without one, the one that scores by default."""
    card = None if model else logic.chosenCard()
    model = f"{card.id}@{card.version}" if card else model
    if model and selector.findData(model) < 0:  # it has come since, as MAEMC Training's do
        fill(selector, logic)
    if model and selector.findData(model) < 0:  # of a scene from another machine
        selector.addItem(_("{model} - not on this machine").format(model=model), model)
    selector.currentIndex = max(selector.findData(model), 0)
