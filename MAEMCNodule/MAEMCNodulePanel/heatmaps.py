"""The part of the panel where the model looks, and what each of its maps is worth; measured when somebody opens it."""

import dataclasses

from MAEMCLib.errors import MAEMCError
from MAEMCLib.worker.maps import decode_maps
from MAEMCLib.worker.protocol import encode_case
from slicer.i18n import tr as _

from . import heatdrawing
from .fittedpicture import FittedPicture
from .widgets import showText


class HeatMaps:
    """Shows the maps of one nodule.

    ui: the panel's widgets. queue: what asks the worker (``ScoringQueue``).
    """

    def __init__(self, ui, queue) -> None:
        self._ui, self._queue = ui, queue
        self._maps = FittedPicture(ui.mapsLabel)
        self._seen = FittedPicture(ui.seenLabel)
        self._asked: tuple = (None, "")  # an explanation, and why its maps could not be measured

    def show(self, key: tuple, explained) -> None:
        """Show the maps of a nodule; they are measured when the section is open, which takes seconds.

        key: of the nodule in ``Explanations``. explained: what explains its result, None where nothing is to be seen.
        """
        if explained is None or self._ui.explanationButton.collapsed:
            self._clear("")
        elif explained.maps is None:
            if self._asked[0] is not explained:
                self._ask(key, explained)
            self._clear(self._asked[1] or _("Measuring what each map is worth ..."))
        else:
            maps, name = explained.maps, str(id(explained))
            showText(self._ui.mapsHintLabel, "")
            self._maps.show(name, lambda *place: heatdrawing.heatMaps(maps, *place))
            self._seen.show(name, lambda *place: heatdrawing.seenSlices(maps, *place))

    def _clear(self, text: str) -> None:
        showText(self._ui.mapsHintLabel, text)
        for picture in (self._maps, self._seen):
            picture.show("", None)

    def _ask(self, key: tuple, explained) -> None:
        self._asked = (explained, "")

        def answered(message: dict) -> None:
            explanations = self._queue.explanations
            if message["kind"] == "error":
                self._asked = (explained, message["message"])
            elif explanations.of(key) is explained:  # and not of another result meanwhile
                known = {"maps": decode_maps(message), "sentences": tuple(message.get("sentences", ()))}
                explanations.keep(key, dataclasses.replace(explained, **known))

        try:
            case = encode_case(explained.prepared, explained.model.card)
        except MAEMCError as error:
            self._asked = (explained, str(error))
            return
        fields = {"model": str(explained.model.path), "device": self._queue.deviceRequest}
        self._queue.ask("explain", answered, nodules=[case], measured=True, **fields)
