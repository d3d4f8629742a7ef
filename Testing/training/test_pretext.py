"""The evaluation of a pre-training against loops over pixels, and what it refuses."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from MAEMCLib.errors import InputError
from MAEMCLib.inputs.nodule import Preprocessing, from_montage
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.report.formats import render
from MAEMCTrainingLib.data.kinds.montage_views import View, montage_pair
from MAEMCTrainingLib.pretext.contrast import own_key_first, queries_and_keys, queue_losses
from MAEMCTrainingLib.pretext.filling import FILLINGS, GRAY_MEAN, INTERPOLATION, VISIBLE_MEAN
from MAEMCTrainingLib.pretext.measuring import MASKS, evaluate_pretext, masked_pixel_errors
from MAEMCTrainingLib.pretext.report import EVERYWHERE, NETWORK, TRAINING_MEAN, UNTRAINED, pretext_report, targets
from MAEMCTrainingLib.pretraining.methods.maemc import MAEMC, Configuration
from MAEMCTrainingLib.pretraining.presets import PretrainingConfiguration
from MAEMCTrainingLib.pretraining.run import PretrainedJob

ENCODERS = {
    50: EncoderConfiguration(width=16, depth=1, heads=2),
    25: EncoderConfiguration(patch_size=25, width=16, depth=1, heads=2, position="3d"),
}
DECODER = DecoderConfiguration(width=16, depth=1, heads=2)
SETTINGS = Configuration(queue_size=12, projection_width=8)


def network(patch_size: int = 50, seed: int = 0, keys: int = 0) -> MAEMC:
    """A network with keys of patients that are nobody's in its queue."""
    module = MAEMC(SETTINGS, ENCODERS[patch_size], DECODER, seed)
    draws = torch.Generator().manual_seed(seed)
    stored = torch.nn.functional.normalize(torch.randn(keys, 8, generator=draws), dim=1)
    module.queue.enqueue(stored, torch.full((keys,), 99))
    return module.eval()


def slow_fill(kind: str, stack: np.ndarray, visible: np.ndarray, place: tuple[int, int, int]) -> float:
    """One hidden pixel, looking at one visible pixel after the other."""
    everything = [float(stack[p]) for p in np.ndindex(*stack.shape) if visible[p]]
    k, row, column = place
    shown = [n for n in range(len(stack)) if visible[n, row, column]]
    if kind == GRAY_MEAN or not shown:
        return sum(everything) / len(everything)
    if kind == VISIBLE_MEAN:
        return sum(float(stack[n, row, column]) for n in shown) / len(shown)
    before, after = [n for n in shown if n < k], [n for n in shown if n > k]
    if not before or not after:
        return float(stack[after[0] if after else before[-1], row, column])
    low, high = before[-1], after[0]
    share = (k - low) / (high - low)
    return (1 - share) * float(stack[low, row, column]) + share * float(stack[high, row, column])


@pytest.mark.parametrize("kind", list(FILLINGS))
@pytest.mark.parametrize("hide", ["slices", "pixels"])
def test_fillings_equal_a_loop_over_pixels(kind, hide):
    draws = np.random.default_rng(0)
    stacks = draws.normal(1, 2, (3, 25, 4, 4)).astype(np.float32)
    visible = draws.random((3, 25, 4, 4) if hide == "pixels" else (3, 25, 1, 1)) < 0.4
    visible = np.broadcast_to(visible, stacks.shape).copy()
    if hide == "pixels":
        visible[0, :, 1, 2] = False  # a place that no slice shows
        visible[1, :, 0, 0] = np.arange(25) == 7  # and one that a single slice shows
    filled = FILLINGS[kind](stacks, visible)
    for case in range(3):
        for place in np.ndindex(25, 4, 4):
            if not visible[case][place]:
                expected = slow_fill(kind, stacks[case], visible[case], place)
                assert filled[case][place] == pytest.approx(expected, abs=1e-5), (case, place)


@pytest.mark.parametrize("patch_size", [50, 25])
def test_errors_are_of_the_pixels_hidden_from_the_network(patch_size):
    """One small montage pair: every row by hand, on hidden pixels found by sorting the noise."""
    draws = np.random.default_rng(patch_size)
    pairs = np.cumsum(draws.normal(0, 0.2, (2, 2, 250, 250)), axis=-1).astype(np.float32)
    tokens = ENCODERS[patch_size].tokens
    noise = draws.random((2, 3, 2, tokens), dtype=np.float32)
    mean = draws.normal(size=(2, 250, 250))
    module = network(patch_size)
    found = masked_pixel_errors({NETWORK: module, "twin": module}, pairs, noise, mean)
    grid = 250 // patch_size
    for plane, name in enumerate(("axial", "coronal")):
        sums = {}
        for mask in range(3):
            target = pairs[1, plane]
            hidden = np.zeros((250, 250), bool)
            order = sorted(range(tokens), key=lambda token: noise[1, mask, plane, token])
            for token in order[tokens - math.floor(tokens * 0.5 + 0.5) :]:
                row, column = (patch_size * n for n in divmod(token, grid))
                hidden[row : row + patch_size, column : column + patch_size] = True
            draw = torch.from_numpy(noise[1:2, mask, plane])
            prediction = module.reconstruct(torch.from_numpy(target)[None, None], draw, name)[0][0].numpy()
            tiles = prediction.reshape(grid, grid, patch_size, patch_size)
            rebuilt = np.concatenate([np.concatenate(list(line), axis=1) for line in tiles], axis=0)
            rows = {NETWORK: rebuilt, "twin": rebuilt, TRAINING_MEAN: mean[plane]}
            for row, values in rows.items():
                sums.setdefault(row, []).append(((values - target)[hidden].astype(np.float64) ** 2).mean())
            sums.setdefault(EVERYWHERE, []).append(((rebuilt - target).astype(np.float64) ** 2).mean())
            # The fillings have their own test; here: on which pixels they are judged.
            stack, shown = from_montage(target)[None], from_montage(~hidden)[None]
            for row, fill in FILLINGS.items():
                difference = (fill(stack, shown) - stack)[~shown]
                sums.setdefault(row, []).append((difference.astype(np.float64) ** 2).mean())
        assert set(found[name]) == set(sums)
        for row, values in sums.items():
            assert found[name][row][1] == pytest.approx(np.mean(values), rel=1e-5), row


def test_interpolation_is_exact_where_slices_change_evenly():
    stacks = np.arange(25.0)[None, :, None, None] * np.ones((1, 25, 3, 3))
    visible = np.zeros(stacks.shape, bool)
    visible[:, [0, 4, 5, 17, 24]] = True
    np.testing.assert_allclose(FILLINGS[INTERPOLATION](stacks, visible), stacks, atol=1e-12)


def test_contrast_equals_the_sums():
    module = network(keys=7)
    draws = np.random.default_rng(0)
    pairs = draws.normal(size=(5, 2, 250, 250)).astype(np.float32)
    noise = draws.random((5, 2, 25), dtype=np.float32)
    queries, keys = queries_and_keys(module, pairs, noise, torch.device("cpu"))
    stored, temperature = module.queue.keys[:7].double(), SETTINGS.temperature
    losses, first = queue_losses(module, queries, keys), own_key_first(queries, keys)
    for case in range(5):
        query = queries[case].double()
        positive = math.exp(float(query @ keys[case].double()) / temperature)
        others = sum(math.exp(float(query @ key) / temperature) for key in stored)
        assert losses[case] == pytest.approx(-math.log(positive / (positive + others)), abs=1e-5)
        similar = [float(query @ key.double()) for key in keys]
        assert first[case] == all(similar[case] > value for n, value in enumerate(similar) if n != case)
        # The axial plane is the query through the encoder, the coronal one the key; each with its own mask.
        keep = torch.from_numpy(noise[case, 1]).argsort()[:12].sort().values[None]
        image = torch.from_numpy(pairs[case, 1])[None, None]
        alone = module.momentum_flattening(module.momentum_encoder(image, keep))[0]
        torch.testing.assert_close(keys[case], alone, atol=1e-5, rtol=1e-4)
    whole = queries_and_keys(module, pairs, None, torch.device("cpu"))[0]
    assert not torch.allclose(whole, queries, atol=1e-4)


def test_a_tie_is_not_found_first():
    same = torch.ones(3, 4) / 2
    assert not own_key_first(same, same).any()
    assert own_key_first(torch.eye(3), torch.eye(3)).all()


@pytest.fixture
def pretrained(ball_cohort, tmp_path):
    """A network that "saw" the first ten of the 16 patients."""
    run = PretrainingConfiguration("maemc", SETTINGS, ENCODERS[50], DECODER)
    return PretrainedJob(
        folder=tmp_path / "job",
        run=run,
        kind=ball_cohort.kind,
        preprocessing=Preprocessing(mean=0.3, std=0.2),
        cohort=ball_cohort.subset(range(10)).facts(),
        module=network(seed=3, keys=5),
    )


def test_only_unseen_patients_are_evaluated(pretrained, ball_cohort, tmp_path):
    report = evaluate_pretext(pretrained, ball_cohort, tmp_path / "out", torch.device("cpu"), training=ball_cohort)
    assert json.loads((tmp_path / "out" / "pretext.json").read_text()) == report
    assert (tmp_path / "out" / "pretext.png").read_bytes().startswith(b"\x89PNG")
    assert (report["cases"], report["patients"], report["left_out_as_seen"]) == (6, 6, 10)
    assert report["training_cases"] == [10, 10]
    only = evaluate_pretext(pretrained, ball_cohort.subset(range(10, 16)), tmp_path / "b", torch.device("cpu"))
    for plane in ("axial", "coronal"):
        rows = report["hidden_pixel_mse"][plane]
        assert set(rows) == {NETWORK, UNTRAINED, EVERYWHERE, TRAINING_MEAN, *FILLINGS}
        assert rows[INTERPOLATION]["low"] <= rows[INTERPOLATION]["value"] <= rows[INTERPOLATION]["high"]
        ratio = report["network_over"][plane][VISIBLE_MEAN]["value"]
        assert ratio == pytest.approx(rows[NETWORK]["value"] / rows[VISIBLE_MEAN]["value"])
        # The same cases alone give the same figures, without the rows that need the training's cases.
        assert only["hidden_pixel_mse"][plane] == {n: v for n, v in rows.items() if n != TRAINING_MEAN}
    assert TRAINING_MEAN in only["unavailable"]
    contrast = report["contrast"]
    assert contrast[NETWORK]["negatives"] == contrast[UNTRAINED]["negatives"] == 5
    assert contrast[NETWORK]["chance_info_nce"] == pytest.approx(math.log(6))
    masked = contrast[NETWORK]["masked"]
    assert masked["times_chance"]["value"] == pytest.approx(6 * masked["own_key_first"]["value"])
    assert only["contrast"][NETWORK] == contrast[NETWORK]
    assert only["contrast"][UNTRAINED]["negatives"] == 0 and "info_nce" not in only["contrast"][UNTRAINED]["masked"]
    for result in (report, only):
        table = render(pretext_report(result), "txt")
        assert INTERPOLATION in table and "not for clinical use" in table
    assert "5 of 12 keys" in table and "not 10 times chance" in table
    text = json.dumps(report)
    assert not any(case.case_id in text or case.patient in text for case in ball_cohort.cases)


def test_the_training_mean_is_that_of_the_cases_that_were_seen(pretrained, ball_cohort, tmp_path):
    pairs = [montage_pair(ball_cohort.array(i), View(), pretrained.preprocessing)[0] for i in range(16)]
    mean = sum(pair.astype(np.float64) for pair in pairs[:10]) / 10
    report = evaluate_pretext(pretrained, ball_cohort, tmp_path, torch.device("cpu"), training=ball_cohort)
    noise = np.random.default_rng(0).random((6, MASKS, 2, 25), dtype=np.float32)
    other = masked_pixel_errors({NETWORK: pretrained.module}, np.stack(pairs[10:]), noise, mean)
    value = report["hidden_pixel_mse"]["axial"][TRAINING_MEAN]["value"]
    assert value == pytest.approx(other["axial"][TRAINING_MEAN].mean(), rel=0.15)  # other masks


def test_figures_that_cannot_be_honest_are_refused(pretrained, ball_cohort, tmp_path):
    cpu = torch.device("cpu")
    with pytest.raises(InputError, match="seen every patient"):
        evaluate_pretext(pretrained, ball_cohort.subset(range(10)), tmp_path, cpu)
    stranger = replace(pretrained, cohort=pretrained.cohort | {"pseudonym_key": "another"})
    with pytest.raises(InputError, match="nobody can tell whether it has seen"):
        evaluate_pretext(stranger, ball_cohort, tmp_path, cpu)
    coarse = replace(pretrained, preprocessing=Preprocessing(slice_step_mm=2.0))
    with pytest.raises(InputError, match="2 mm apart"):
        evaluate_pretext(coarse, ball_cohort, tmp_path, cpu)
    with pytest.raises(InputError, match="reconstructs nothing"):
        evaluate_pretext(replace(pretrained, module=SimpleNamespace(reconstruct=None)), ball_cohort, tmp_path, cpu)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        evaluate_pretext(pretrained, ball_cohort, tmp_path / "file" / "out", cpu)
    alone = evaluate_pretext(pretrained, ball_cohort.subset([12]), tmp_path, cpu)
    assert "own_key_first" not in alone["contrast"][NETWORK]["masked"]
    assert render(pretext_report(alone), "txt")


def test_targets():
    def metric(value):
        return {"value": value, "low": value, "high": value, "n": 30}

    figures = {"info_nce_over_chance": metric(0.81), "times_chance": metric(10.0)}
    report = {
        "network_over": {"axial": {VISIBLE_MEAN: metric(0.7)}},
        "contrast": {NETWORK: {"masked": figures}},
    }
    assert [target["met"] for target in targets(report)] == [True, False, True]
    report["network_over"]["axial"][VISIBLE_MEAN] = metric(None)
    assert not targets(report)[0]["met"]
    del report["contrast"]
    assert len(targets(report)) == 1
