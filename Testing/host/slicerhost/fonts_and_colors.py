"""Fonts and colors for the offscreen platform, so that a picture of a panel looks as in Slicer."""

from pathlib import Path


def apply(application) -> None:
    """Fusion style with a light palette; DejaVu Sans from matplotlib where the system has no fonts at all."""
    from PySide6 import QtGui

    if not QtGui.QFontDatabase.families():
        import matplotlib

        for font in sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("DejaVuSans*.ttf")):
            QtGui.QFontDatabase.addApplicationFont(str(font))
    families = QtGui.QFontDatabase.families()
    if "DejaVu Sans" in families:
        application.setFont(QtGui.QFont("DejaVu Sans", 9))
    application.setStyle("Fusion")
    palette = QtGui.QPalette()
    roles, groups = QtGui.QPalette.ColorRole, QtGui.QPalette.ColorGroup
    colors = {
        roles.Window: "#efefef",
        roles.WindowText: "#000000",
        roles.Base: "#ffffff",
        roles.AlternateBase: "#f7f7f7",
        roles.Text: "#000000",
        roles.Button: "#efefef",
        roles.ButtonText: "#000000",
        roles.Highlight: "#308cc6",
        roles.HighlightedText: "#ffffff",
        roles.ToolTipBase: "#ffffdc",
        roles.ToolTipText: "#000000",
        roles.PlaceholderText: "#7f7f7f",
        roles.Link: "#0057ae",
    }
    for role, color in colors.items():
        palette.setColor(role, QtGui.QColor(color))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        palette.setColor(groups.Disabled, role, QtGui.QColor("#a0a0a0"))
    application.setPalette(palette)
