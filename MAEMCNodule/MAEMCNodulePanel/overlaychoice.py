"""What lies over the CT around a nodule; what was chosen last on this machine, with which a new scene begins."""

import contextlib
import enum

import slicer
from slicer.i18n import tr as _

_KIND, _LAST_KIND, _OPACITY = "MAEMC/Overlay", "MAEMC/OverlayWhenShown", "MAEMC/OverlayOpacity"


class OverlayKind(enum.Enum):
    """What lies over the CT around the selected nodule."""

    NONE = "none"
    RECONSTRUCTION = "reconstruction"
    ERROR = "error"
    ATTENTION = "attention"
    ORIGINAL = "original"

    def label(self) -> str:
        return {
            OverlayKind.NONE: _("None"),
            OverlayKind.RECONSTRUCTION: _("Reconstruction"),
            OverlayKind.ERROR: _("Absolute error"),
            OverlayKind.ATTENTION: _("Attention"),
            OverlayKind.ORIGINAL: _("Original"),
        }[self]


def remember(parameters) -> None:
    """Keep what is chosen in the panel's parameters."""
    settings = slicer.app.userSettings()
    _keep(settings, _KIND, parameters.overlay.value)
    if parameters.overlay is not OverlayKind.NONE:
        _keep(settings, _LAST_KIND, parameters.overlay.value)
    _keep(settings, _OPACITY, f"{parameters.overlayOpacity:.2f}")


def beginWith(parameters) -> None:
    """Choose in new parameters what was chosen last, where anything was."""
    settings = slicer.app.userSettings()
    parameters.overlay = _kind(settings.value(_KIND, ""), parameters.overlay)
    with contextlib.suppress(ValueError):  # nothing was chosen yet, or somebody has edited the settings
        parameters.overlayOpacity = min(max(float(settings.value(_OPACITY, "")), 0.0), 1.0)


def toggle(parameters) -> None:
    """Take the overlay away, or lay over what lay over the CT last."""
    if parameters.overlay is OverlayKind.NONE:
        last = slicer.app.userSettings().value(_LAST_KIND, "")
        parameters.overlay = _kind(last, OverlayKind.RECONSTRUCTION)
    else:
        parameters.overlay = OverlayKind.NONE


def _kind(text, otherwise: OverlayKind) -> OverlayKind:
    return next((kind for kind in OverlayKind if kind.value == text), otherwise)


def _keep(settings, key: str, text: str) -> None:
    if settings.value(key, "") != text:
        settings.setValue(key, text)
