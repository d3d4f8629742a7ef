"""The fusion network: message passing against loops over nodes, masked nodes, standardization, gradients."""

import math

import numpy as np
import pytest
import torch
from MAEMCLib.errors import ModelError
from MAEMCLib.networks.configuration import BackboneConfiguration, EncoderConfiguration, GraphConfiguration
from MAEMCLib.networks.heads.graph import GraphHead, Messages, Round

ENCODER = EncoderConfiguration(image_size=20, patch_size=10, width=12, depth=1, heads=2)
GRAPH = GraphConfiguration(("axial", "coronal", "image_2"), (0, 3, 0), width=8)


def network(graph=GRAPH, classes=3, seed=5, encoder=ENCODER):
    made = GraphHead(encoder, classes, seed, graph).eval()
    draws = torch.Generator().manual_seed(9)
    with torch.no_grad():  # norms and biases too, so that none of them can be forgotten unnoticed
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draws))
    if graph.attributes:
        made.set_standardization(torch.tensor([50.0, 0.0, 2.0]), torch.tensor([10.0, 1.0, 0.5]))
    return made


def inputs(cases=5, seed=1):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randn(cases, 3, 1, 20, 20, generator=draws)
    values = torch.rand(cases, 3, generator=draws) * torch.tensor([90.0, 0.0, 4.0])
    values[:, 1] = torch.arange(cases) % 3
    seen = torch.ones(cases, 3, dtype=torch.bool)
    given = torch.ones(cases, 3, dtype=torch.bool)
    return images, seen, values, given


def norm(layer, vector):
    mean = sum(vector) / len(vector)
    variance = sum((v - mean) ** 2 for v in vector) / len(vector)
    scaled = [(v - mean) / math.sqrt(variance + 1e-6) for v in vector]
    return [s * w + b for s, w, b in zip(scaled, layer.weight.tolist(), layer.bias.tolist(), strict=True)]


def linear(layer, vector):
    bias = [0.0] * len(layer.weight) if layer.bias is None else layer.bias.tolist()
    rows = layer.weight.tolist()
    return [sum(w * v for w, v in zip(row, vector, strict=True)) + b for row, b in zip(rows, bias, strict=True)]


def message(direction, receiver, senders):
    """The message to one node: the senders are the observed neighbors only."""
    if not senders:
        return [0.0] * len(receiver)
    query = linear(direction.query, receiver)
    scores = []
    for sender in senders:
        key = linear(direction.key, sender)
        scores.append(sum(q * k for q, k in zip(query, key, strict=True)) / math.sqrt(len(receiver)))
    highest = max(scores)
    weights = [math.exp(score - highest) for score in scores]
    total = [0.0] * len(receiver)
    for weight, sender in zip(weights, senders, strict=True):
        for place, value in enumerate(linear(direction.value, sender)):
            total[place] += weight / sum(weights) * value
    return total


def slow(model, images, seen, values, given):
    """The whole network for one case, node by node; only what was observed is ever looked at."""
    branches, attributes = {}, {}
    for k in range(3):
        if seen[k]:
            features = model.encoder.features(images[k][None])[0].tolist()
            branches[k] = linear(model.projections[k], norm(model.branch_norms[k], features))
    for a, choices in enumerate(GRAPH.attributes):
        if given[a] and choices:
            attributes[a] = linear(model.attributes[a], [float(c == int(values[a])) for c in range(choices)])
        elif given[a]:
            standard = (float(values[a]) - float(model.center[a])) / float(model.scale[a])
            attributes[a] = linear(model.attributes[a], [standard])
    for step in model.rounds:
        to_branches = {k: message(step.to_branches, h, list(attributes.values())) for k, h in branches.items()}
        to_attributes = {a: message(step.to_attributes, c, list(branches.values())) for a, c in attributes.items()}
        added = {k: [x + m for x, m in zip(branches[k], to_branches[k], strict=True)] for k in branches}
        given_to = {a: [x + m for x, m in zip(attributes[a], to_attributes[a], strict=True)] for a in attributes}
        branches = {k: norm(step.branch_norm, v) for k, v in added.items()}
        attributes = {a: norm(step.attribute_norm, v) for a, v in given_to.items()}
    logits = {k: linear(model.heads[k], h) for k, h in branches.items()}
    if attributes:
        mean = [sum(column) / len(attributes) for column in zip(*attributes.values(), strict=True)]
        logits[3] = linear(model.heads[3], mean)
    fused = [sum(column) / len(logits) for column in zip(*logits.values(), strict=True)]
    return logits, fused


@pytest.mark.parametrize(
    ("unseen", "missing"),
    [([], []), ([2], []), ([0, 1], [1]), ([], [0, 1]), ([1], [0, 1, 2]), ([0, 1, 2], [2])],
)
@torch.no_grad()
def test_the_network_is_what_loops_over_its_nodes_give(unseen, missing):
    model = network()
    images, seen, values, given = inputs()
    seen[:, unseen], given[:, missing] = False, False
    found = model(images, seen, values, given)
    for case in range(len(images)):
        logits, fused = slow(model, images[case], seen[case], values[case], given[case])
        assert found.observed[case].tolist() == [branch in logits for branch in range(4)]
        for branch, expected in logits.items():
            np.testing.assert_allclose(found.branches[case, branch], expected, atol=2e-5)
        np.testing.assert_allclose(found.fused[case], fused, atol=2e-5)


@torch.no_grad()
def test_messages_are_attention_weighted_means():
    direction = Messages(6)
    draws = torch.Generator().manual_seed(0)
    for parameter in direction.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=draws))
    receivers, senders = torch.randn(1, 2, 6, generator=draws), torch.randn(1, 4, 6, generator=draws)
    edges = torch.tensor([[[True, False, True, True], [False] * 4]])
    weights = direction.weights(receivers, senders, edges)[0]
    assert weights[0].sum() == pytest.approx(1) and weights[0, 1] == 0 and (weights[1] == 0).all()
    found = direction(receivers, senders, edges)[0]
    expected = message(direction, receivers[0, 0].tolist(), [senders[0, s].tolist() for s in (0, 2, 3)])
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert (found[1] == 0).all()


@torch.no_grad()
def test_both_directions_read_the_nodes_before_the_round():
    step = Round(4)
    draws = torch.Generator().manual_seed(2)
    for parameter in step.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=draws))
    one, other = torch.randn(1, 1, 4, generator=draws), torch.randn(1, 1, 4, generator=draws)
    branches, attributes = step(one, other, torch.ones(1, 1, 1, dtype=torch.bool))
    # With one neighbor each the attention is 1.
    np.testing.assert_allclose(branches, step.branch_norm(one + step.to_branches.value(other)), atol=1e-6)
    np.testing.assert_allclose(attributes, step.attribute_norm(other + step.to_attributes.value(one)), atol=1e-6)


@pytest.mark.parametrize("encoder", [ENCODER, BackboneConfiguration("resnet18", 32)], ids=["vit", "resnet18"])
def test_what_is_masked_influences_nothing(encoder):
    """Whatever stands in the place of what is missing: outputs, gradients and batch statistics are the same."""
    side = encoder.image_size
    seen = torch.tensor([[True, True, False], [True, False, True], [False, True, True], [True, True, True]])
    given = torch.tensor([[True, False, True], [False, True, True], [True, True, False], [False, False, False]])
    draws = torch.Generator().manual_seed(3)
    images, values = torch.randn(4, 3, 1, side, side, generator=draws), torch.rand(4, 3, generator=draws)
    values[:, 1] = torch.tensor([0.0, 2.0, 1.0, 0.0])
    outcomes = []
    for filler in (0.0, 1e4, float("nan")):
        model = network(encoder=encoder).train()
        filled = torch.where(seen[..., None, None, None], images, torch.tensor(filler))
        found = model(filled, seen, torch.where(given, values, torch.tensor(filler)), given)
        (found.fused.square().sum() + found.branches.sum()).backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(torch.isfinite(g).all() for g in gradients)
        outcomes.append([found.fused.detach(), found.branches.detach(), *gradients, *model.buffers()])
    for other in outcomes[1:]:
        assert all(torch.equal(a, b) for a, b in zip(outcomes[0], other, strict=True))


@torch.no_grad()
def test_a_case_does_not_hang_on_the_others_in_its_batch():
    model = network()
    images, seen, values, given = inputs()
    seen[0, 1], given[2, 0] = False, False
    together = model(images, seen, values, given).fused
    for case in range(5):
        part = slice(case, case + 1)
        np.testing.assert_allclose(
            model(images[part], seen[part], values[part], given[part]).fused[0], together[case], atol=1e-5
        )


@torch.no_grad()
def test_images_alone_and_values_alone():
    alone = network(GraphConfiguration(("axial", "coronal", "image_2")))
    images, seen, _, _ = inputs()
    nothing = torch.zeros(5, 0)
    found = alone(images, seen, nothing, nothing.bool())
    assert found.branches.shape == (5, 3, 3) and len(alone.rounds) == 0
    np.testing.assert_allclose(found.fused, found.branches.mean(dim=1), atol=1e-6)
    model = network()
    images, seen, values, given = inputs()
    found = model(images, torch.zeros_like(seen), values, given)
    np.testing.assert_allclose(found.fused, found.branches[:, 3], atol=1e-6)


@torch.no_grad()
def test_the_values_reach_the_image_branches_and_the_images_the_values():
    model = network()
    images, seen, values, given = inputs()
    before = model(images, seen, values, given).branches
    changed = values.clone()
    changed[:, 0] += 20
    assert (model(images, seen, changed, given).branches - before)[:, :3].abs().amax(dim=(1, 2)).min() > 1e-3
    assert (model(images + 1, seen, values, given).branches - before)[:, 3].abs().amax(dim=1).min() > 1e-4


@torch.no_grad()
def test_numbers_are_standardized_by_what_is_stored():
    model = network()
    images, seen, values, given = inputs()
    before = model(images, seen, values, given).fused
    model.set_standardization(torch.tensor([500.0, 0.0, 20.0]), torch.tensor([100.0, 1.0, 5.0]))
    np.testing.assert_allclose(
        model(images, seen, values * torch.tensor([10.0, 1.0, 10.0]), given).fused, before, atol=1e-5
    )
    assert {"center", "scale"} <= set(model.state_dict())


def test_the_same_seed_gives_the_same_values_whatever_torch_draws():
    torch.manual_seed(1)
    one = GraphHead(ENCODER, 3, 4, GRAPH).state_dict()
    torch.manual_seed(2)
    other = GraphHead(ENCODER, 3, 4, GRAPH).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    third = GraphHead(ENCODER, 3, 5, GRAPH).state_dict()
    assert not torch.equal(one["projections.0.weight"], third["projections.0.weight"])


@torch.no_grad()
def test_a_choice_that_was_never_trained_says_nothing():
    made = GraphHead(ENCODER, 3, 4, GRAPH)
    images, seen, values, given = inputs()
    values[:, 1] = 0.0
    other = values.clone()
    other[:, 1] = 2.0
    assert torch.equal(made(images, seen, values, given).fused, made(images, seen, other, given).fused)


@pytest.mark.parametrize(
    "values",
    [
        {"branches": ()},
        {"branches": ("axial", "axial")},
        {"branches": ("clinical",)},
        {"branches": ("axial",), "attributes": (-1,)},
        {"branches": ("axial",), "width": 0},
        {"branches": ("axial",), "rounds": True},
    ],
)
def test_a_graph_that_makes_no_sense_is_refused(values):
    with pytest.raises(ModelError, match="contradict"):
        GraphConfiguration(**values)
