"""What can be chosen, with a sentence on each: presets and protocols. The methods are in ``methods``."""

from slicer.i18n import tr as _


def presets(finetuning: bool, published: bool = True) -> dict:
    """{name: (title, sentence)} of every preset, the one for most machines first.

    published: whether it is about MAEMC-NET on nodules in CT, whose paper has two readings; for what comes from other
    papers, and for fine-tuning, they are one.
    """
    tiny = _("A small network: minutes to an hour on a processor.")
    if published and finetuning:
        default = _("The published network (ViT-L) with our schedule: for a GPU; on a processor it takes days.")
        paper = _("The published network on axial montages without augmentation, 100 epochs: for a GPU.")
        schedule = ""
    elif published:
        default = _("The published network (ViT-L), our schedule: for a GPU; on a processor three days per 100 cases.")
        paper = _("The published network, learning rate and 40 fixed views of each case, 100 epochs: for a GPU.")
        schedule = _("The other reading of the paper: 200 epochs, so that both drops of the rate happen.")
    else:
        tiny = _("A small network or small pictures, few epochs: minutes to an hour on a processor.")
        default = _("Full size and our schedule: for a GPU; on a processor it takes days.")
        ours = _("Full size and the schedule of MAEMC-NET, 100 epochs: for a GPU.")
        printed = _("The values that the paper prints, its number of epochs too: for a GPU, and for days.")
        paper, schedule = ours if finetuning else printed, ""
    texts = {"tiny": (_("Tiny"), tiny), "default": (_("Default"), default), "paper": (_("As published"), paper)}
    return texts | ({"paper-schedule": (_("As published, 200 epochs"), schedule)} if schedule else {})


def protocols() -> dict:
    """{value: sentence} of the ways to evaluate, in the order of their selector."""
    return {
        "honest": _("A pre-training that saw patients who are tested is repeated in each fold without them."),
        "paper": _(
            "One pre-training for all folds, though it saw patients who are tested: the report is marked as leaky."
        ),
    }
