"""What can be chosen, with a sentence on each: methods, presets, devices, protocols."""

from MAEMCTrainingLib.configuration import PRESETS
from MAEMCTrainingLib.pretraining import METHODS
from slicer.i18n import tr as _


def methods() -> dict:
    """{name: (title, sentence)} of every pre-training method; one without a text here is offered by its name."""
    texts = {
        "maemc": (
            "MAEMC-NET",
            _(
                "Rebuilds hidden patches of both planes and brings the planes of one nodule together "
                "(Zhao et al., Frontiers in Medicine 2025)."
            ),
        ),
    }
    return {name: texts.get(name, (name, "")) for name in METHODS}


def presets(finetuning: bool) -> dict:
    """{name: (title, sentence)} of every preset, the one for most machines first."""
    texts = {
        "tiny": (
            _("Tiny"),
            _("A small network: minutes to an hour on a processor."),
        ),
        "default": (
            _("Default"),
            _("The published network (ViT-L) with our schedule: for a GPU; on a processor it takes days.")
            if finetuning
            else _("The published network (ViT-L), our schedule: for a GPU; on a processor three days per 100 cases."),
        ),
        "paper": (
            _("As published"),
            _("The published network on axial montages without augmentation, 100 epochs: for a GPU.")
            if finetuning
            else _("The published network, learning rate and 40 fixed views of each case, 100 epochs: for a GPU."),
        ),
        "paper-schedule": (
            _("As published, 200 epochs"),
            _("As published; fine-tuning has one reading of the paper only.")
            if finetuning
            else _("The other reading of the paper: 200 epochs, so that both drops of the rate happen."),
        ),
    }
    names = sorted(PRESETS, key=lambda name: name != "tiny")
    return {name: texts.get(name, (name, "")) for name in names}


def devices() -> dict:
    """{value: title}."""
    return {"auto": _("Automatic"), "cpu": _("CPU"), "cuda": _("NVIDIA GPU (CUDA)")}


def protocols() -> dict:
    """{value: (title, sentence)} of the ways to evaluate."""
    return {
        "honest": (
            _("Honest"),
            _("A pre-training that saw patients who are tested is repeated in each fold without them."),
        ),
        "paper": (
            _("As published"),
            _("One pre-training for all folds, though it saw patients who are tested: the report is marked as leaky."),
        ),
    }
