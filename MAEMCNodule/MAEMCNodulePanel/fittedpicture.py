"""A picture in the panel that is as wide as its label, in the pixels of the screen and the colors of the theme."""

import qt


class FittedPicture:
    """Draws a label's picture, and draws it again when its width, the screen or the theme is another one.

    label: takes any width (``Ignored``); its height follows the picture.
    """

    def __init__(self, label) -> None:
        self._label = label
        self._draw = None
        self._key = ""
        self._drawn: tuple = ()  # what it was drawn for
        label.setMinimumWidth(1)
        self._filter = _Changes(self._fit)
        label.installEventFilter(self._filter)

    def show(self, key: str, draw) -> None:
        """Show a picture. key: names what it shows; the same key is not drawn again. draw: called with width (logical
        pixels), pixels of the screen to one of these, and color of texts; returns a QPixmap. None shows nothing."""
        self._label.visible = draw is not None
        if draw is None:
            self._draw, self._key, self._drawn = None, "", ()
        elif key != self._key:
            self._draw, self._key, self._drawn = draw, key, ()
        self._fit()

    def _fit(self) -> None:
        label = self._label
        if self._draw is None or not label.visible:
            return
        color = label.palette.color(qt.QPalette.WindowText)
        place = (label.width, label.devicePixelRatioF(), color.name())
        if place == self._drawn or label.width < 2:
            return
        self._drawn = place
        pixmap = self._draw(place[0], place[1], color)
        label.setPixmap(pixmap)
        label.setFixedHeight(round(pixmap.height() / pixmap.devicePixelRatio()))


class _Changes(qt.QObject):
    """Calls a function when a widget is shown, is resized, or gets other colors."""

    def __init__(self, changed) -> None:
        qt.QObject.__init__(self)
        self._changed = changed
        self._kinds = (qt.QEvent.Resize, qt.QEvent.Show, qt.QEvent.PaletteChange)

    def eventFilter(self, watched, event) -> bool:
        if event.type() in self._kinds:
            self._changed()
        return False
