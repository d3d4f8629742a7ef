"""What can be chosen, with a sentence on each: presets and protocols. The methods are in ``methods``."""

from slicer.i18n import tr as _


def presets(finetuning: bool, published: bool = True) -> dict:
    """{name: (title, sentence)} of every preset, the one for most machines first.

    published: whether it is about MAEMC-NET on nodules in CT, whose paper has two readings; for what comes from other
    papers they are one.
    """
    texts = {
        "tiny": (
            _("Tiny"),
            _("A small network: minutes to an hour on a processor.")
            if published
            else _("A small network or small pictures, few epochs: minutes to an hour on a processor."),
        ),
        "default": (_("Default"), _defaultText(finetuning, published)),
        "paper": (_("As published"), _paperText(finetuning, published)),
        "paper-schedule": (
            _("As published, 200 epochs"),
            _("As published; fine-tuning has one reading of the paper only.")
            if finetuning
            else _("The other reading of the paper: 200 epochs, so that both drops of the rate happen."),
        ),
    }
    return {name: text for name, text in texts.items() if published or name != "paper-schedule"}


def _defaultText(finetuning: bool, published: bool) -> str:
    if not published:
        return _("Full size and our schedule: for a GPU; on a processor it takes days.")
    if finetuning:
        return _("The published network (ViT-L) with our schedule: for a GPU; on a processor it takes days.")
    return _("The published network (ViT-L), our schedule: for a GPU; on a processor three days per 100 cases.")


def _paperText(finetuning: bool, published: bool) -> str:
    if not published and finetuning:
        return _("Full size and the schedule of MAEMC-NET, 100 epochs: for a GPU.")
    if not published:
        return _("The values that the paper prints, its number of epochs too: for a GPU, and for days.")
    if finetuning:
        return _("The published network on axial montages without augmentation, 100 epochs: for a GPU.")
    return _("The published network, learning rate and 40 fixed views of each case, 100 epochs: for a GPU.")


def protocols() -> dict:
    """{value: sentence} of the ways to evaluate, in the order of their selector."""
    return {
        "honest": _("A pre-training that saw patients who are tested is repeated in each fold without them."),
        "paper": _(
            "One pre-training for all folds, though it saw patients who are tested: the report is marked as leaky."
        ),
    }
