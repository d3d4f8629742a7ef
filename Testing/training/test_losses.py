"""The losses against loops in float64 and against lightly."""

import math

import numpy as np
import pytest
import torch
from lightly.loss import NTXentLoss
from MAEMCTrainingLib.pretraining.parts.losses import info_nce, masked_mse, nt_xent


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    return torch.nn.functional.normalize(vectors, dim=-1)


def brute_force_info_nce(query, positive, negatives, allowed, temperature):
    losses = []
    for b in range(len(query)):
        q = query[b].double().numpy()
        numerator = math.exp(float(q @ positive[b].double().numpy()) / temperature)
        denominator = numerator
        for k in range(len(negatives)):
            if allowed[b, k]:
                denominator += math.exp(float(q @ negatives[k].double().numpy()) / temperature)
        losses.append(-math.log(numerator / denominator))
    return sum(losses) / len(losses)


def test_masked_mse_equals_a_loop_over_missing_pixels():
    rng = np.random.default_rng(0)
    prediction, target = rng.normal(size=(2, 3, 7, 5)).astype(np.float32)
    hidden = np.stack([np.sort(rng.permutation(7)[:4]) for _ in range(3)])
    total, pixels = 0.0, 0
    for b in range(3):
        for n in hidden[b]:
            for p in range(5):
                total += (float(prediction[b, n, p]) - float(target[b, n, p])) ** 2
                pixels += 1
    loss = masked_mse(torch.from_numpy(prediction), torch.from_numpy(target), torch.from_numpy(hidden))
    assert loss.item() == pytest.approx(total / pixels, rel=1e-6)


def test_visible_patches_get_no_gradient():
    prediction = torch.randn(2, 6, 4, requires_grad=True)
    hidden = torch.tensor([[0, 2], [4, 5]])
    masked_mse(prediction, torch.zeros(2, 6, 4), hidden).backward()
    touched = prediction.grad.abs().sum(-1) > 0
    assert touched.nonzero().tolist() == [[0, 0], [0, 2], [1, 4], [1, 5]]


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_info_nce_equals_brute_force(temperature, share):
    query, positive, negatives = unit(6, 16, seed=1), unit(6, 16, seed=2), unit(40, 16, seed=3)
    allowed = torch.rand(6, 40, generator=torch.Generator().manual_seed(4)) < share
    loss, used = info_nce(query, positive, negatives, allowed, temperature)
    expected = brute_force_info_nce(query, positive, negatives, allowed, temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert used.item() == pytest.approx(allowed.sum().item() / 6)


def test_info_nce_equals_lightly_with_a_full_bank():
    query, positive, negatives = unit(6, 16, seed=1), unit(6, 16, seed=2), unit(40, 16, seed=3)
    oracle = NTXentLoss(temperature=0.07, memory_bank_size=(40, 16))
    oracle.memory_bank.bank.copy_(negatives)
    loss, _ = info_nce(query, positive, negatives, torch.ones(6, 40, dtype=torch.bool), 0.07)
    assert loss.item() == pytest.approx(oracle(query, positive).item(), rel=1e-5)


def test_without_negatives_the_loss_and_its_gradient_are_zero():
    query = unit(4, 8).requires_grad_()
    nothing = torch.zeros(4, 10, dtype=torch.bool)
    loss, used = info_nce(query, unit(4, 8, seed=1), torch.zeros(10, 8), nothing, 0.07)
    loss.backward()
    assert loss.item() == 0
    assert used.item() == 0
    assert torch.equal(query.grad, torch.zeros(4, 8))


def test_excluded_negatives_get_no_gradient_and_no_nan():
    negatives = unit(10, 8, seed=5).requires_grad_()
    query = unit(4, 8).requires_grad_()
    allowed = torch.ones(4, 10, dtype=torch.bool)
    allowed[:, 3] = False
    allowed[2] = False  # one query without any negative
    loss, _ = info_nce(query, unit(4, 8, seed=1), negatives, allowed, 0.07)
    loss.backward()
    assert torch.isfinite(query.grad).all()
    assert torch.equal(query.grad[2], torch.zeros(8))
    assert torch.equal(negatives.grad[3], torch.zeros(8))
    assert (negatives.grad.abs().sum(1) > 0).sum() == 9


def test_info_nce_gradient_equals_finite_differences():
    query = unit(3, 6).double().requires_grad_()
    positive, negatives = unit(3, 6, seed=1), unit(5, 6, seed=2)
    allowed = torch.tensor([[1, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    loss, _ = info_nce(query, positive, negatives, allowed, 0.5)
    loss.backward()
    step = 1e-5
    for b in range(3):
        for d in range(6):
            shift = torch.zeros(3, 6, dtype=torch.float64)
            shift[b, d] = step
            up = brute_force_info_nce(query.detach() + shift, positive, negatives, allowed, 0.5)
            down = brute_force_info_nce(query.detach() - shift, positive, negatives, allowed, 0.5)
            assert query.grad[b, d].item() == pytest.approx((up - down) / (2 * step), abs=1e-4)


def test_info_nce_stays_in_float32_under_autocast():
    query, positive, negatives = unit(6, 16, seed=1), unit(6, 16, seed=2), unit(40, 16, seed=3)
    allowed = torch.ones(6, 40, dtype=torch.bool)
    plain, _ = info_nce(query, positive, negatives, allowed, 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = info_nce(query, positive, negatives, allowed, 0.07)
    assert torch.equal(plain, inside)


def brute_force_nt_xent(pairs, patient, temperature, same_patient):
    """The loss of each view (N, 2) and its number of negatives."""
    losses, counts = torch.zeros(len(pairs), 2, dtype=torch.float64), torch.zeros(len(pairs), 2)
    for n in range(len(pairs)):
        for view in range(2):
            anchor = pairs[n, view].double().numpy()
            numerator = math.exp(float(anchor @ pairs[n, 1 - view].double().numpy()) / temperature)
            denominator = numerator
            for other in range(len(pairs)):
                if other == n or (same_patient == "exclude" and patient[other] == patient[n]):
                    continue
                for other_view in range(2):
                    denominator += math.exp(float(anchor @ pairs[other, other_view].double().numpy()) / temperature)
                    counts[n, view] += 1
            losses[n, view] = -math.log(numerator / denominator)
    return losses, counts


@pytest.mark.parametrize("same_patient", ["exclude", "keep"])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_equals_brute_force(temperature, same_patient):
    pairs, patient = unit(7, 2, 16), torch.tensor([0, 1, 0, 2, 3, 0, 2])
    losses, counts = brute_force_nt_xent(pairs, patient, temperature, same_patient)
    for mine in (slice(None), slice(0, 4), slice(4, 7), slice(3, 4)):
        loss, negatives = nt_xent(pairs, patient, temperature, same_patient, mine)
        assert loss.item() == pytest.approx(losses[mine].mean().item(), rel=1e-5)
        assert negatives.item() == pytest.approx(counts[mine].mean().item())


def test_nt_xent_equals_lightly():
    pairs, patient = unit(7, 2, 16), torch.arange(7)
    expected = NTXentLoss(temperature=0.1)(pairs[:, 0], pairs[:, 1]).item()
    for same_patient in ("exclude", "keep"):
        assert nt_xent(pairs, patient, 0.1, same_patient)[0].item() == pytest.approx(expected, rel=1e-5)


def test_nt_xent_of_one_patient_alone_is_zero():
    pairs = unit(4, 2, 8).requires_grad_()
    loss, negatives = nt_xent(pairs, torch.zeros(4, dtype=torch.long), 0.1, "exclude")
    loss.backward()
    assert loss.item() == 0 and negatives.item() == 0
    assert torch.equal(pairs.grad, torch.zeros(4, 2, 8))


def test_nt_xent_of_parts_has_the_gradient_of_the_whole():
    """What several processes rely on: each its own samples as anchors, all samples in the denominator."""
    patient = torch.tensor([0, 1, 0, 2, 3, 0, 2])
    gradients = []
    for parts in ([slice(0, 7)], [slice(0, 4), slice(4, 7)]):
        pairs = unit(7, 2, 16).requires_grad_()
        for part in parts:
            loss, _ = nt_xent(pairs, patient, 0.1, "exclude", part)
            (loss * (part.stop - part.start) / 7).backward()
        gradients.append(pairs.grad)
    torch.testing.assert_close(*gradients)


def test_nt_xent_stays_in_float32_under_autocast():
    pairs, patient = unit(7, 2, 16), torch.arange(7)
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = nt_xent(pairs, patient, 0.1, "exclude")
    assert torch.equal(nt_xent(pairs, patient, 0.1, "exclude")[0], inside)
