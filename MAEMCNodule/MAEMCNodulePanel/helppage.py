"""Where the panel is described."""

INTRODUCTION_PAGE = "https://github.com/MAEMC/SlicerMAEMC/blob/main/docs/introduction.md"
HELP_PAGE = "https://github.com/MAEMC/SlicerMAEMC#in-slicer-the-module-maemc-nodule"
