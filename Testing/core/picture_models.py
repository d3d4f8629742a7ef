"""Small models of pictures, and how a picture is scored."""

import torch
from MAEMCLib.cases.case import Case
from MAEMCLib.models.bundle import Member
from MAEMCLib.networks.configuration import encoder_configuration
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCLib.scoring import CaseScorer

VIT = {"image_size": 64, "patch_size": 8, "width": 32, "depth": 2, "heads": 4, "position": "2d"}
RESNET = {"backbone": "resnet18", "image_size": 64}
POINT = ["--point", "35,35,35"]


def card_of(random_card, encoder, **changes):
    return {
        **random_card,
        "id": "pictures",
        "input": "picture",
        "architecture": {"encoder": encoder},
        "preprocessing": {"image_size": encoder["image_size"], "view_share": 1.0, "mean": 0.3, "std": 0.25},
        **changes,
    }


def members_of(encoder, count=1):
    networks = [LinearHead(encoder_configuration(encoder), 2, seed=seed) for seed in range(count)]
    with torch.no_grad():
        for network in networks:
            network.head.weight.mul_(30)
    return [Member("classifier", f"classifier-{n}", network.state_dict()) for n, network in enumerate(networks)]


def picture_case(path):
    return Case("", "", path, "image", nodule_id="P1")


def scored_picture(path, predictor):
    with CaseScorer(predictor.card, lambda: predictor) as scorer:
        (found,) = scorer.score([picture_case(path)])
    return found.result, found.prepared
