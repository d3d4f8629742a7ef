"""MAEMC Nodule: what Slicer loads. The panel and its logic live in MAEMCNodulePanel, everything numeric in MAEMCLib."""

from pathlib import Path

import slicer
from MAEMCNodulePanel.logic import MAEMCNoduleLogic
from MAEMCNodulePanel.selftest import MAEMCNoduleTest
from MAEMCNodulePanel.widget import MAEMCNoduleWidget
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

__all__ = ["MAEMCNodule", "MAEMCNoduleLogic", "MAEMCNoduleTest", "MAEMCNoduleWidget"]


class MAEMCNodule(ScriptedLoadableModule):
    """Metadata of the module."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("MAEMC Nodule")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        parent.dependencies = []
        parent.contributors = ["MAEMC contributors"]
        parent.helpText = _(
            "Place a point in a lung nodule on CT and read how malignant-like a masked-autoencoder model finds it, "
            "with what the model rebuilt of the region over the CT at its place. Research only, not for clinical use."
        )
        parent.acknowledgementText = _(
            "The model follows Zhao et al. 2025 (MAEMC-NET). It separates classes like those it was trained on; each "
            "model's card says which, and how well."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData() -> None:
    """Offer the sample chest CT, made by us and shipped with the extension, in the Sample Data module."""
    resources = Path(__file__).resolve().parent / "Resources"
    image = resources / "SampleData" / "MAEMCChestPhantom.nrrd"
    if not image.is_file():
        return
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="MAEMC",
        sampleName="MAEMCChestPhantom",
        thumbnailFileName=str(resources / "Icons" / "MAEMCNodule.png"),
        uris=image.as_uri(),
        fileNames=image.name,
        nodeNames="MAEMCChestPhantom",
    )
