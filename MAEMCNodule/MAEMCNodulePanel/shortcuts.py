"""Keys of the panel. They work while the module is open, in the panel and in the views beside it: a reader who has just
clicked on a nodule is in a view."""

import qt
import slicer

KEYS = {
    "place": "P",
    "next": "N",
    "previous": "Shift+N",
    "toggleOverlay": "T",
    "accept": "Ctrl+Return",
    "undo": "Ctrl+Z",
}
"""What each does, by the names that the panel gives to it. T is also Slicer's own key for what lies over a volume."""


class Shortcuts:
    """actions: {name of KEYS: function without arguments}."""

    def __init__(self, panel, actions: dict) -> None:
        self._panel, self._actions = panel, actions
        self._made: list = []

    def enable(self) -> None:
        """Listen to the keys."""
        layoutManager = slicer.app.layoutManager()
        views = layoutManager.viewport() if layoutManager is not None else None
        for place in filter(None, (self._panel, views)):
            for name, function in self._actions.items():
                shortcut = qt.QShortcut(place)
                shortcut.setKey(qt.QKeySequence(KEYS[name]))
                shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
                shortcut.connect("activated()", function)
                self._made.append(shortcut)

    def disable(self) -> None:
        """Leave the keys to others."""
        for shortcut in self._made:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._made.clear()


def keyText(name: str) -> str:
    """How a hint names the key: " (T)"."""
    return f" ({KEYS[name]})"
