"""MAEMC Nodule: what Slicer loads. The panel and its logic live in MAEMCNodulePanel, everything numeric in MAEMCLib."""

from pathlib import Path

import slicer
from MAEMCNodulePanel.helppage import HELP_PAGE, INTRODUCTION_PAGE
from MAEMCNodulePanel.logic import MAEMCNoduleLogic
from MAEMCNodulePanel.selftest import MAEMCNoduleTest
from MAEMCNodulePanel.widget import MAEMCNoduleWidget
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

__all__ = ["MAEMCNodule", "MAEMCNoduleLogic", "MAEMCNoduleTest", "MAEMCNoduleWidget"]

SAMPLE_NAME = "MAEMCPhantomNodule"
SAMPLE_CHECKSUM = "SHA256:bd0ceaf69c70eb3103f09858fd6ec7c2f53c51dd9048ffc335453045d93ce0c1"


class MAEMCNodule(ScriptedLoadableModule):
    """Metadata of the module."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("MAEMC Nodule")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        parent.dependencies = []
        parent.contributors = ["MAEMC contributors"]
        about = _(
            "Place a point in a lung nodule on CT and read its malignancy probability, as readers rate it or by "
            "diagnosis, whichever the model has learned from. The masked autoencoder's reconstruction of the region "
            "lies over the CT at its place. Research only, not for clinical use."
        )
        pages = {INTRODUCTION_PAGE: _("A five-minute introduction"), HELP_PAGE: _("How to use it")}
        parent.helpText = " ".join([about, *(f'<a href="{page}">{title}</a>.' for page, title in pages.items())])
        parent.acknowledgementText = _(
            "The model follows Zhao et al. 2025 (MAEMC-NET). It separates classes like those it was trained on; each "
            "model's card says which, and how well."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer a synthetic CT, shipped with the extension, in the Sample Data module: 84 mm of lung around one nodule.

    Made by ``maemc-train phantom --cases 1 --seed 3 --output DIR``; its nodule lies at R 103.2, A -31.8, S -74.5 mm.
    """
    import SampleData

    resources = Path(__file__).resolve().parent / "Resources"
    SampleData.SampleDataLogic.registerCustomSampleDataCategory("MAEMC", title=_("Lung nodules (MAEMC)"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="MAEMC",
        sampleName=SAMPLE_NAME,
        thumbnailFileName=str(resources / "Icons" / "MAEMCNodule.png"),
        uris=(resources / "SampleData" / f"{SAMPLE_NAME}.nrrd").as_uri(),
        fileNames=f"{SAMPLE_NAME}.nrrd",
        nodeNames=SAMPLE_NAME,
        checksums=SAMPLE_CHECKSUM,
    )
