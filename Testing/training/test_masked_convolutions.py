"""Masked networks against sparse ones that know nothing but visible places, computed place by place in float64."""

import math

import numpy as np
import pytest
import torch
from MAEMCTrainingLib.pretraining.parts.masked_convolutions import (
    blank,
    level_mask,
    masked,
    stage_features,
    stage_shapes,
)
from timm.layers import LayerNorm
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

# A map of a sparse network: {(image, row, column): vector of channels}, with nothing where something is hidden.
Places = dict[tuple[int, int, int], np.ndarray]


def resnet(block: type[nn.Module] = BasicBlock, stem: str = "standard") -> ResNet:
    body = ResNet(block, (2, 1, 1, 2), in_chans=1, num_classes=0, channels=(6, 8, 10, 12))
    if stem == "small":
        body.conv1 = nn.Conv2d(1, 64, 3, stride=1, padding=1, bias=False)
    return body


def convnext(conv_mlp: bool = True) -> ConvNeXt:
    settings = {"use_grn": True, "ls_init_value": None, "conv_mlp": conv_mlp}
    return ConvNeXt(1, 0, depths=(2, 1, 1, 2), dims=(6, 8, 10, 12), **settings)


NETWORKS = {
    "basic blocks": resnet,
    "bottlenecks": lambda: resnet(Bottleneck),
    "small stem": lambda: resnet(stem="small"),
    "ConvNeXt, channels first": convnext,
    "ConvNeXt, channels last": lambda: convnext(False),
}


def unsettled(name: str, training: bool = True) -> nn.Module:
    """A network in float64 whose norms, biases and running figures are not those that hide mistakes: 0 and 1."""
    torch.manual_seed(0)
    body = NETWORKS[name]().double().train(training)
    with torch.no_grad():
        for tensor in [*body.parameters(), *body.buffers()]:
            if tensor.ndim == 1:
                tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return body


def checkered(hidden_cells: list[list[int]], grid: int) -> torch.Tensor:
    visible = torch.ones(len(hidden_cells), grid * grid, dtype=torch.bool)
    for image, cells in enumerate(hidden_cells):
        visible[image, cells] = False
    return visible.reshape(-1, 1, grid, grid)


# 4 x 4 cells on 64 pixels: places of the coarsest map (2 x 2) cover four cells. In the first image a whole quarter is
# hidden, so that one of them is hidden too; in the second every one of them has a visible cell below.
MIXED = checkered([[0, 1, 4, 5, 7, 8, 10, 11, 15], [0, 2, 3, 5, 6, 8, 9, 13, 14]], 4)
# 2 x 2 cells: every map is as fine as the mask or finer.
COARSE = checkered([[0, 3], [1]], 2)


def places_of(visible: torch.Tensor, side: int) -> list[tuple[int, int, int]]:
    """The visible places of a map: those with a visible cell anywhere below or above them."""
    grid = visible.shape[-1]
    found = []
    for image in range(len(visible)):
        for row in range(side):
            for column in range(side):
                # In units of 1 / (side * grid) of the image's side, a place and a cell are intervals of whole numbers.
                for cell_row in range(grid):
                    for cell_column in range(grid):
                        rows = row * grid < (cell_row + 1) * side and cell_row * side < (row + 1) * grid
                        columns = column * grid < (cell_column + 1) * side and cell_column * side < (column + 1) * grid
                        place = (image, row, column)
                        if rows and columns and visible[image, 0, cell_row, cell_column] and place not in found[-1:]:
                            found.append(place)
    return found


def sparse_input(images: torch.Tensor, visible: torch.Tensor) -> Places:
    return {(b, y, x): images[b, :, y, x].numpy() for b, y, x in places_of(visible, images.shape[-1])}


def neighbors(layer: nn.Module, places: Places, place: tuple[int, int, int]):
    """What of a layer's window is there: (row in the window, column in it, vector)."""
    image, row, column = place
    size, stride, padding = (getattr(layer, name) for name in ("kernel_size", "stride", "padding"))
    size, stride, padding = (value[0] if isinstance(value, tuple) else value for value in (size, stride, padding))
    for i in range(size):
        for j in range(size):
            source = (image, row * stride - padding + i, column * stride - padding + j)
            if source in places:
                yield i, j, places[source]


def convolution(layer: nn.Conv2d | nn.Linear, places: Places, outputs: list) -> Places:
    weight = layer.weight.detach().numpy()
    bias = 0.0 if layer.bias is None else layer.bias.detach().numpy()
    if isinstance(layer, nn.Linear):
        return {place: weight @ places[place] + bias for place in outputs}
    result = {}
    for place in outputs:
        result[place] = np.zeros(len(weight)) + bias
        for i, j, vector in neighbors(layer, places, place):
            tap = weight[:, :, i, j]
            result[place] = result[place] + (tap[:, 0] * vector if layer.groups > 1 else tap @ vector)
    return result


def batch_norm(layer: nn.BatchNorm2d, places: Places, updated: dict) -> Places:
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    mean, variance = layer.running_mean.numpy(), layer.running_var.numpy()
    if layer.training:
        count = len(places)
        total = sum(places.values())
        mean = total / count
        squares = sum((vector - total / count) ** 2 for vector in places.values())
        variance = squares / count
        updated[layer] = (
            0.9 * layer.running_mean.numpy() + 0.1 * mean,
            0.9 * layer.running_var.numpy() + 0.1 * squares / (count - 1),
        )
    return {p: (v - mean) / np.sqrt(variance + layer.eps) * weight + bias for p, v in places.items()}


def layer_norm(layer: nn.LayerNorm, places: Places) -> Places:
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return {p: (v - v.mean()) / np.sqrt(v.var() + layer.eps) * weight + bias for p, v in places.items()}


def relu(places: Places) -> Places:
    return {place: np.maximum(vector, 0) for place, vector in places.items()}


def plus(first: Places, second: Places) -> Places:
    return {place: first[place] + second[place] for place in first}


def sparse_resnet(body: ResNet, images: torch.Tensor, visible: torch.Tensor) -> tuple[list[Places], dict]:
    """The maps of the four stages, and the running figures that each batch normalization should have afterwards."""
    updated: dict = {}
    side = images.shape[-1] // body.conv1.stride[0]
    places = convolution(body.conv1, sparse_input(images, visible), places_of(visible, side))
    places = relu(batch_norm(body.bn1, places, updated))
    side //= 2
    pooled = {}
    for place in places_of(visible, side):
        pooled[place] = np.max([vector for _, _, vector in neighbors(body.maxpool, places, place)], axis=0)
    places, stages = pooled, []
    for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
        for block in stage:
            strides = [block.conv1.stride[0], block.conv2.stride[0]]
            outputs, shortcut = places_of(visible, side // math.prod(strides)), places
            if block.downsample is not None:
                convolved = convolution(block.downsample[0], places, outputs)
                shortcut = batch_norm(block.downsample[1], convolved, updated)
            for number in (1, 2, 3):
                if hasattr(block, f"conv{number}"):
                    if number > 1:
                        places = relu(places)
                    convolution_layer = getattr(block, f"conv{number}")
                    side //= convolution_layer.stride[0]
                    places = convolution(convolution_layer, places, places_of(visible, side))
                    places = batch_norm(getattr(block, f"bn{number}"), places, updated)
            places = relu(plus(places, shortcut))
        stages.append(places)
    return stages, updated


def response_norm(layer: nn.Module, places: Places) -> Places:
    """Global response normalization over the visible places of each image (Woo et al. 2023, equations 1 to 3)."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    result = {}
    for image in {place[0] for place in places}:
        own = {place: vector for place, vector in places.items() if place[0] == image}
        norms = np.sqrt(sum(vector**2 for vector in own.values()))
        factor = norms / (norms.mean() + layer.eps)
        result |= {place: vector + weight * (vector * factor) + bias for place, vector in own.items()}
    return result


def sparse_convnext(body: ConvNeXt, images: torch.Tensor, visible: torch.Tensor) -> tuple[list[Places], dict]:
    side = images.shape[-1] // 4
    places = convolution(body.stem[0], sparse_input(images, visible), places_of(visible, side))
    places, stages = layer_norm(body.stem[1], places), []
    for number, stage in enumerate(body.stages):
        if number:
            side //= 2
            places = convolution(stage.downsample[1], layer_norm(stage.downsample[0], places), places_of(visible, side))
        outputs = list(places)
        for block in stage.blocks:
            inner = layer_norm(block.norm, convolution(block.conv_dw, places, outputs))
            inner = convolution(block.mlp.fc1, inner, outputs)
            inner = {p: np.array([0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in v]) for p, v in inner.items()}
            inner = convolution(block.mlp.fc2, response_norm(block.mlp.grn, inner), outputs)
            places = plus(inner, places)
        stages.append(places)
    return stages, {}


@pytest.mark.parametrize("visible", [MIXED, COARSE], ids=["cells finer than the last map", "cells of the last map"])
@pytest.mark.parametrize("name", NETWORKS)
def test_masked_networks_equal_sparse_ones_computed_place_by_place(name, visible):
    body = unsettled(name)
    images = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    sparse = sparse_resnet if isinstance(body, ResNet) else sparse_convnext
    with torch.no_grad():
        expected, updated = sparse(body, images, visible)
        with masked(visible, body):
            stages = stage_features(body, blank(images, visible))
    for places, stage in zip(expected, stages, strict=True):
        image = torch.zeros_like(stage)
        for (b, y, x), vector in places.items():
            image[b, :, y, x] = torch.from_numpy(vector)
        assert (image.abs().sum(1, keepdim=True) > 0).sum() <= len(places)
        torch.testing.assert_close(stage, image, rtol=1e-8, atol=1e-9)
    for layer, (mean, variance) in updated.items():
        np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(layer.running_var.numpy(), variance, rtol=1e-8)
    if isinstance(body, ResNet):
        assert len(updated) == sum(isinstance(layer, nn.BatchNorm2d) for layer in body.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_hidden_pixels_change_no_visible_feature(name):
    body = unsettled(name)
    images = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    others = torch.where(level_mask(MIXED, 64), images, 1e6 * torch.randn_like(images))
    others[0, 0, 0, 0] = float("nan")  # hidden
    results = []
    for pictures in (images, others):
        with torch.no_grad(), masked(MIXED, body):
            results.append(stage_features(body, blank(pictures, MIXED)))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)
        assert first.abs().sum() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_what_stands_at_hidden_places_between_the_layers_has_no_influence(name):
    body = unsettled(name)
    images = torch.randn(2, 1, 64, 64, dtype=torch.float64)

    def disturb(layer, _, output):
        channels_last = type(layer) in (nn.Linear, LayerNorm)
        side = output.shape[2]
        if side > 1:  # not the pooled features
            noise = torch.where(level_mask(MIXED, side), 0.0, 1e3).to(output.dtype)
            output = output + (noise.movedim(1, -1) if channels_last else noise)
        return output

    results = []
    for disturbed in (False, True):
        leaking = (nn.Conv2d, nn.Linear, nn.LayerNorm, nn.MaxPool2d) if disturbed else ()
        hooks = [layer.register_forward_hook(disturb) for layer in body.modules() if isinstance(layer, leaking)]
        with torch.no_grad(), masked(MIXED, body):
            results.append(stage_features(body, blank(images, MIXED)))
        for hook in hooks:
            hook.remove()
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_with_nothing_hidden_the_network_is_timms(name, training):
    images = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    everything = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    plain, other = unsettled(name, training), unsettled(name, training)
    with torch.no_grad():
        expected = plain.forward_features(images)
        with masked(everything, other):
            stages = stage_features(other, blank(images, everything))
    torch.testing.assert_close(stages[-1], expected, rtol=1e-9, atol=1e-10)
    for (key, tensor), twin in zip(plain.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(tensor, twin, rtol=1e-9, atol=1e-12, msg=key)


def test_outside_the_context_the_network_is_itself_again():
    body = unsettled("basic blocks", training=False)
    images = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        before = body(images)
        with pytest.raises(RuntimeError), masked(MIXED, body):
            raise RuntimeError
        assert torch.equal(body(images), before)


def test_gradients_flow_from_visible_features_to_visible_pixels_only():
    body = unsettled("bottlenecks")
    images = torch.randn(2, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    with masked(MIXED, body):
        stages = stage_features(body, blank(images, MIXED))
    sum((stage * torch.randn_like(stage)).sum() for stage in stages).backward()
    touched = images.grad.abs() > 0
    assert not (touched & ~level_mask(MIXED, 64)).any()
    assert touched[level_mask(MIXED, 64)].float().mean() > 0.9


def test_level_masks_by_loops():
    for side in (1, 2, 4, 8, 32):
        expected = torch.zeros(2, 1, side, side, dtype=torch.bool)
        for image, row, column in places_of(MIXED, side):
            expected[image, 0, row, column] = True
        assert torch.equal(level_mask(MIXED, side), expected)


def test_stage_shapes_come_from_the_network():
    assert stage_shapes(resnet()) == [(6, 4), (8, 8), (10, 16), (12, 32)]
    assert stage_shapes(resnet(stem="small")) == [(6, 2), (8, 4), (10, 8), (12, 16)]
    body = convnext().train()
    assert stage_shapes(body) == [(6, 4), (8, 8), (10, 16), (12, 32)]
    assert body.training
