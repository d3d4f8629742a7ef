"""Supervised pre-training: the class-weighted cross-entropy by hand, and what it refuses."""

import math
from dataclasses import replace

import pytest
import torch
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.networks.configuration import BackboneConfiguration, EncoderConfiguration
from MAEMCTrainingLib.pretraining.method import ViewBatch
from MAEMCTrainingLib.pretraining.methods.supervised import Configuration, Supervised

VIT = EncoderConfiguration(image_size=32, patch_size=8, width=16, depth=1, heads=2, position="2d")
RESNET = BackboneConfiguration("resnet18", image_size=32)
SETTINGS = Configuration(("finding",), ("cyst", "mass", "none"), (10, 30, 60))


def make(settings=SETTINGS, encoder=VIT, seed=0) -> Supervised:
    return Supervised(settings, encoder, None, seed)


def make_batch(seed, size=6, classes=3) -> ViewBatch:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (size,), generator=generator)
    return ViewBatch(
        images=(torch.randn(size, 1, 32, 32, generator=generator),),
        patient=torch.arange(size),
        noise=torch.zeros(size, 1, 0),
        attributes=torch.nn.functional.one_hot(labels, classes).bool(),
    )


@pytest.mark.parametrize("weighted", [True, False])
def test_the_loss_by_hand(weighted):
    method, batch = make(replace(SETTINGS, class_weights=weighted)), make_batch(1)
    with torch.no_grad():
        method.head.weight.mul_(50)  # so that the classes' probabilities differ
        parts, kept = method(batch)
        loss, plain, right = 0.0, 0.0, 0
        for image, marks in zip(batch.images[0], batch.attributes.tolist(), strict=True):
            token = method.encoder(image[None])[0, 0]
            logits = [float(row @ token + bias) for row, bias in zip(method.head.weight, method.head.bias, strict=True)]
            label = marks.index(True)
            surprise = -math.log(math.exp(logits[label]) / sum(math.exp(value) for value in logits))
            plain += surprise / 6
            loss += surprise * (100 / (3 * SETTINGS.class_counts[label]) if weighted else 1) / 6
            right += logits.index(max(logits)) == label
    assert parts["loss"].item() == pytest.approx(loss, rel=1e-5)
    assert parts["loss_cross_entropy"].item() == pytest.approx(plain, rel=1e-5)
    assert parts["accuracy"].item() == pytest.approx(right / 6)
    assert kept is None


def test_each_class_counts_the_same_over_the_whole_data_set():
    weights = make().weights
    assert (weights * torch.tensor([10.0, 30, 60])).tolist() == pytest.approx([100 / 3] * 3)
    assert make(replace(SETTINGS, class_counts=())).weights.tolist() == [1, 1, 1]


def test_what_cannot_be_trained_is_refused():
    for classes, found in (((), "nothing"), (("cyst",), "only 'cyst'")):
        with pytest.raises(InputError, match=f"'finding' holds {found}"):
            make(Configuration(("finding",), classes))
    for columns in ((), ("modality", "anatomy")):
        with pytest.raises(UsageError, match="columns"):
            Configuration(columns)
    batch = make_batch(0)
    for marks in (torch.zeros(6, 3), torch.ones(6, 3), torch.ones(6, 1)):
        with pytest.raises(InputError, match="'finding'"):
            make()(replace(batch, attributes=marks.bool()))
