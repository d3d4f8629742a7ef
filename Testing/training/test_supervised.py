"""Supervised pre-training: the class-weighted cross-entropy by hand, any encoder, its resume, its refusals."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.networks.configuration import BackboneConfiguration, DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.encoders import build_encoder
from MAEMCLib.networks.heads.linear import LinearHead
from MAEMCTrainingLib.pretraining.configuration import PretrainingConfiguration
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


@pytest.mark.parametrize("encoder", [VIT, RESNET])
def test_resume_continues_bit_identically(encoder):
    def train(method, optimizer, seeds):
        losses = []
        for seed in seeds:
            optimizer.zero_grad()
            method.before_step()
            parts, kept = method(make_batch(seed))
            parts["loss"].backward()
            optimizer.step()
            method.after_step([kept])
            losses.append(parts["loss"].item())
        return losses

    def optimizer_of(method):
        return torch.optim.AdamW([parameter for _, parameter in method.trainable()], lr=1e-3)

    straight = make(encoder=encoder)
    expected = train(straight, optimizer_of(straight), range(4))
    first = make(encoder=encoder)
    optimizer = optimizer_of(first)
    train(first, optimizer, range(2))
    weights, moments = copy.deepcopy(first.state_dict()), copy.deepcopy(optimizer.state_dict())
    second = make(encoder=encoder, seed=9)
    second.load_state_dict(weights)
    resumed = optimizer_of(second)
    resumed.load_state_dict(moments)
    assert train(second, resumed, range(2, 4)) == expected[2:]
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in straight.state_dict().items())
    build_encoder(encoder, 3).load_state_dict(second.encoder_state())
    if encoder == VIT:
        LinearHead(VIT).encoder.load_state_dict(second.encoder_state())


@pytest.mark.parametrize("encoder", [VIT, RESNET])
def test_training_lowers_the_loss(encoder):
    method = make(encoder=encoder)
    optimizer = torch.optim.AdamW([parameter for _, parameter in method.trainable()], lr=3e-3)
    batch = make_batch(0, size=12)
    ramps = torch.randn(3, 32 * 32, generator=torch.Generator().manual_seed(9))
    shown = (batch.attributes.float() @ ramps).view(-1, 1, 32, 32)
    log = []
    for step in range(20):
        optimizer.zero_grad()
        parts, _ = method(replace(batch, images=(shown + 0.3 * make_batch(step, size=12).images[0],)))
        parts["loss"].backward()
        optimizer.step()
        log.append(parts)
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]
    assert log[-1]["accuracy"] == 1


def test_what_cannot_be_trained_is_refused():
    for classes, found in (((), "nothing"), (("cyst",), "only 'cyst'")):
        with pytest.raises(InputError, match=f"'finding' holds {found}"):
            make(Configuration(("finding",), classes))
    for columns in ((), ("modality", "anatomy")):
        with pytest.raises(UsageError, match="columns"):
            Configuration(columns)
    for counts in ((1, 2), (1, 2, 0)):
        with pytest.raises(UsageError, match="class_counts"):
            replace(SETTINGS, class_counts=counts)
    batch = make_batch(0)
    for marks in (torch.zeros(6, 3), torch.ones(6, 3), torch.ones(6, 1)):
        with pytest.raises(InputError, match="'finding'"):
            make()(replace(batch, attributes=marks.bool()))
    with pytest.raises(UsageError, match="batch normalization"):
        make(encoder=RESNET)(make_batch(0, size=1))


@pytest.mark.parametrize("name", ["default", "tiny", "paper", "paper-schedule"])
def test_presets(name):
    run = Supervised.preset(name, PretrainingConfiguration("supervised", SETTINGS, RESNET, DecoderConfiguration()))
    assert (run.encoder, run.settings) == (RESNET, SETTINGS)
    if name == "paper":
        assert (run.epochs, run.batch, run.optimization.optimizer) == (1000, 256, "sgd")
