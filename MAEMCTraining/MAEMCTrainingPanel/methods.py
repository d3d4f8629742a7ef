"""The pre-training methods as the panel offers them: grouped by what somebody has, with paper, encoders, previews."""

import html
import re

from MAEMCLib.networks.configuration import BACKBONES
from MAEMCLib.networks.configuration import PRESETS as TRANSFORMERS
from MAEMCTrainingLib.pretraining.registry import LABELS, METADATA, METHODS, MethodFacts, methods_for
from slicer.i18n import tr as _

from .dataset import NODULE, PICTURE, DataSummary

IMAGENET_BACKBONES = tuple(BACKBONES)
"""The encoders of which there are ImageNet weights: MAEMC's own transformers have none."""
ANY_BACKBONE = (*TRANSFORMERS, *BACKBONES)
"""Every encoder: what a classifier can be trained with from random weights."""
_ADDRESSES = re.compile(r"arXiv:(?P<arxiv>\d{4}\.\d{4,5})|\b(?P<doi>10\.\d{4,9}/[^\s;,]+[^\s;,.])")


def groups(data: DataSummary | None) -> dict:
    """{heading: [name ...]} of the methods that fit the data, in the table's order; all where no data are known."""
    if data is None or data.problem:
        kind, fitting = None, list(METHODS)
    else:
        kind, fitting = data.input, methods_for(data.input, data.evaluable, data.metadataDiffer)
    groups: dict = {}
    for name in fitting:
        groups.setdefault(_heading(METHODS[name], kind), []).append(name)
    return groups


def _heading(facts: MethodFacts, kind: str | None) -> str:
    """What somebody has who can use a method. kind: of the data; None where there are none."""
    if METADATA in facts.needs:
        return _("Metadata only (modality, anatomy)")
    if LABELS in facts.needs:
        texts = {NODULE: _("Labeled nodules"), PICTURE: _("Labeled 2-D pictures")}
        return texts.get(kind, _("Labeled nodules or pictures"))
    texts = {NODULE: _("CT, no labels needed"), PICTURE: _("2-D pictures, no labels needed")}
    only = facts.inputs[0] if len(facts.inputs) == 1 else None
    return texts.get(kind or only, _("CT or 2-D pictures, no labels needed"))


def description(name: str) -> str:
    """One sentence on a method and its paper, as HTML; links open in the web browser."""
    entry = METHODS[name]
    return f"{html.escape(entry.sentence, quote=False)} <i>{withLinks(entry.source)}.</i>"


def withLinks(text: str) -> str:
    """Plain text as HTML, with its addresses of papers as links."""
    return _ADDRESSES.sub(_link, html.escape(text, quote=False))


def _link(match: re.Match) -> str:
    address = f"arxiv.org/abs/{match['arxiv']}" if match["arxiv"] else f"doi.org/{match['doi']}"
    return f'<a href="https://{address}">{match[0]}</a>'


def reductionText(name: str, data: DataSummary | None) -> str:
    """What stands against a method on slices of which similar ones were left out; empty where nothing does."""
    if data is None or data.reduction is None or not METHODS[name].reconstructs:
        return ""
    kept, slices = data.reduction
    text = _(
        "Only {kept} of {slices} slices were kept here. That helps contrastive methods and harms those that "
        "reconstruct masked parts, as this one: give it all slices."
    )
    return text.format(kept=kept, slices=slices)


def backbones(name: str) -> tuple:
    """The encoders that a method can train besides its own choice."""
    return METHODS[name].backbones or ANY_BACKBONE


def imagenetPage(backbone: str) -> str:
    """The address where the file of a backbone's ImageNet weights is."""
    return f"https://huggingface.co/{BACKBONES[backbone].imagenet}"


def imagenetText(backbone: str) -> str:
    """Which file holds a backbone's ImageNet weights, as HTML; the link opens in the web browser."""
    text = _(
        'Bring model.safetensors of <a href="{page}">{name}</a> ({backbone} trained on ImageNet; other '
        "encoders under More). Nothing is fetched."
    )
    return text.format(page=imagenetPage(backbone), name=BACKBONES[backbone].imagenet, backbone=backbone)
