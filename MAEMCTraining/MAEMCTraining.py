"""MAEMC Training: what Slicer loads. Panel and logic live in MAEMCTrainingPanel, the training in MAEMCTrainingLib."""

from MAEMCTrainingPanel.logic import MAEMCTrainingLogic
from MAEMCTrainingPanel.selftest import MAEMCTrainingTest
from MAEMCTrainingPanel.widget import MAEMCTrainingWidget
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

__all__ = ["MAEMCTraining", "MAEMCTrainingLogic", "MAEMCTrainingTest", "MAEMCTrainingWidget"]


class MAEMCTraining(ScriptedLoadableModule):
    """Metadata of the module."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("MAEMC Training")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        parent.dependencies = ["MAEMCNodule"]  # MAEMCLib lies with it, and finished models go there
        parent.contributors = ["MAEMC contributors"]
        parent.helpText = _(
            "Pre-train MAEMC-NET, or another published method that fits your data, on your own chest CTs or 2-D "
            "pictures, fine-tune and evaluate it in folds by patient, and take the model to MAEMC Nodule. A job goes "
            "on when Slicer is closed. Research only, not for clinical use."
        )
        parent.acknowledgementText = _(
            "The methods follow the papers that the panel names beside each. How well a model separates its classes "
            "is measured on patients that it has not seen; each model's card says how."
        )
