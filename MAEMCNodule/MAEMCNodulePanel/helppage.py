"""Where the panel is described."""

HELP_PAGE = "https://github.com/MAEMC/SlicerMAEMC#in-slicer-the-module-maemc-nodule"
