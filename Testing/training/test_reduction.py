"""Similarities against slow, obvious computations, and the two selections against brute force."""

import json
import math
import socket

import numpy as np
import pytest
import torch
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.errors import InputError, ModelError, UsageError
from MAEMCLib.files.atomic import file_sha256
from MAEMCLib.images.ct import CTVolume, axial_slices
from MAEMCTrainingLib.__main__ import main
from MAEMCTrainingLib.reduction.deepnet import DEVIATION, MEAN, load_deepnet
from MAEMCTrainingLib.reduction.hash import DifferenceHash, difference_hash, thumbnail
from MAEMCTrainingLib.reduction.mutual_information import MutualInformation
from MAEMCTrainingLib.reduction.ssim import C1, C2, StructuralSimilarity
from PIL import Image

from Testing.training.drawn_slices import drifting, noise, pattern

# --- difference hash


@pytest.mark.parametrize(
    "arguments, said_by_imagehash",
    [
        ((512, 512, 3, 5), "6a0823622194541a"),
        ((128, 128, 1, 7), "a5656a2c218d86b4"),
        ((100, 333, 11, 2), "9364489b324c89b2"),
        ((8, 9, 3, 5), "fffffefefdfbfbf7"),
        ((5, 4, 40, 9), "7878f8f8fcfcfcfc"),
    ],
)
def test_hash_has_the_bits_of_imagehash(arguments, said_by_imagehash):
    """ImageHash 4.3.2's dhash of the same pictures, with Pillow 13.0.0."""
    assert f"{int(difference_hash(pattern(*arguments))):016x}" == said_by_imagehash


@pytest.mark.parametrize("size", [(512, 512), (128, 128), (97, 341), (768, 512), (8, 9), (5, 300), (9, 30), (1, 1)])
def test_thumbnail_is_pillows(size):
    """Up to twice as tall as wide: beyond that versions of Pillow differ."""
    extremes = np.where(noise(*size) < 128, 0, 255).astype(np.uint8)  # over- and undershoot of the window
    for pixels in (noise(*size, 1), noise(*size, 2), extremes, pattern(*size, 3, 1), np.full(size, 255, np.uint8)):
        expected = np.asarray(Image.fromarray(pixels).resize((9, 8), Image.Resampling.LANCZOS))
        assert np.array_equal(thumbnail(pixels), expected)


def test_hash_bit_by_bit_and_hamming_distance():
    slices = [noise(60, 70, seed) for seed in range(5)] + [np.full((60, 70), 90, np.uint8)]
    described = DifferenceHash().describe(slices)
    expected = []
    for pixels in slices:
        small = Image.fromarray(pixels).resize((9, 8), Image.Resampling.LANCZOS)
        bits = ["1" if small.getpixel((x + 1, y)) > small.getpixel((x, y)) else "0" for y in range(8) for x in range(8)]
        expected.append(int("".join(bits), 2))
    assert described.dtype == np.uint64 and described.tolist() == expected and expected[-1] == 0
    for one in range(6):
        values = DifferenceHash().compare(described, one, np.arange(6))
        assert values.tolist() == [bin(expected[one] ^ other).count("1") for other in expected]


# --- structural similarity


def slow_ssim(a, b):
    """Window by window, weight by weight."""
    offsets = range(-5, 6)
    weights = {(i, j): math.exp(-(i * i + j * j) / (2 * 1.5**2)) for i in offsets for j in offsets}
    total = sum(weights.values())
    found = []
    for row in range(5, a.shape[0] - 5):
        for column in range(5, a.shape[1] - 5):
            pairs = [
                (w / total, float(a[row + i, column + j]), float(b[row + i, column + j]))
                for (i, j), w in weights.items()
            ]
            mean_a, mean_b = sum(w * x for w, x, _ in pairs), sum(w * y for w, _, y in pairs)
            variance_a = sum(w * (x - mean_a) ** 2 for w, x, _ in pairs)
            variance_b = sum(w * (y - mean_b) ** 2 for w, _, y in pairs)
            covariance = sum(w * (x - mean_a) * (y - mean_b) for w, x, y in pairs)
            above = (2 * mean_a * mean_b + C1) * (2 * covariance + C2)
            found.append(above / ((mean_a**2 + mean_b**2 + C1) * (variance_a + variance_b + C2)))
    return sum(found) / len(found)


def test_ssim_is_the_slow_windowed_mean():
    slices = [*drifting(3, 19), noise(19, 19), np.zeros((19, 19), np.uint8), np.full((19, 19), 255, np.uint8)]
    similarity = StructuralSimilarity()
    described = similarity.describe(slices)
    for one in range(len(slices)):
        values = similarity.compare(described, one, np.arange(len(slices)))
        assert np.isfinite(values).all() and values[one] == pytest.approx(1.0, abs=1e-7)
        if one in (0, 4):
            expected = [slow_ssim(slices[one], other) for other in slices]
            assert values == pytest.approx(expected, abs=2e-6)
    assert pytest.approx((6.5025 / (255**2 + 6.5025)), abs=1e-9) == similarity.compare(described, 4, np.array([5]))[0]


def test_equal_slices_have_a_similarity_of_one_and_not_more():
    flat = [np.full((20, 20), value, np.uint8) for value in range(0, 256, 5)]
    values = [
        StructuralSimilarity().compare(StructuralSimilarity().describe([x, x]), 0, np.array([1]))[0] for x in flat
    ]
    assert max(values) <= 1.0 and min(values) > 0.9999


def test_ssim_refuses_slices_below_its_window():
    with pytest.raises(InputError, match="10 x 40 pixels"):
        StructuralSimilarity().describe([noise(40, 10)])


# --- mutual information


def slow_mutual_information(a, b):
    levels_a, levels_b = [int(x) // 4 for x in a.ravel()], [int(x) // 4 for x in b.ravel()]

    def entropy(values):
        shares = [values.count(value) / len(values) for value in set(values)]
        return -sum(share * math.log(share) for share in shares)

    joint = entropy(list(zip(levels_a, levels_b, strict=True)))
    return (entropy(levels_a) + entropy(levels_b)) / joint if joint else 2.0


def test_mutual_information_is_studholmes():
    smooth = drifting(2, 16)
    slices = [*smooth, 255 - smooth[0], noise(16, 16), np.full((16, 16), 7, np.uint8), np.full((16, 16), 200, np.uint8)]
    similarity = MutualInformation()
    described = similarity.describe(slices)
    for one, first in enumerate(slices):
        values = similarity.compare(described, one, np.arange(len(slices)))
        assert values == pytest.approx([slow_mutual_information(first, other) for other in slices], abs=1e-12)
    assert similarity.compare(described, 0, np.array([2, 4]))[0] == pytest.approx(2.0)  # the negative holds the same
    assert similarity.compare(described, 0, np.array([4]))[0] == 1.0
    assert similarity.compare(described, 4, np.array([5]))[0] == 2.0


# --- deep features


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A ResNet-50 with seeded random weights, classifier included, in a file as timm's are."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(3)
    network = timm.create_model("resnet50", pretrained=False).eval()
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file({k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}, path)
    return network, path


def test_deepnet_is_the_cosine_of_the_pooled_features(resnet):
    network, path = resnet
    slices = [*drifting(2, 40), np.zeros((40, 40), np.uint8)]
    similarity = load_deepnet(path)
    described = similarity.describe(slices)
    vectors = []
    for pixels in slices:
        gray = torch.nn.functional.interpolate(
            torch.tensor(pixels / 255.0, dtype=torch.float32)[None, None], (224, 224), mode="bicubic", antialias=True
        ).clamp(0, 1)
        image = torch.cat([(gray - m) / d for m, d in zip(MEAN, DEVIATION, strict=True)], dim=1)
        with torch.inference_mode():
            vectors.append(network.forward_features(image)[0].mean(dim=(1, 2)).tolist())
    for one, a in enumerate(vectors):
        dots = [sum(x * y for x, y in zip(a, b, strict=True)) for b in vectors]
        lengths = [math.sqrt(sum(y * y for y in b)) for b in vectors]
        expected = [dot / (lengths[one] * length) for dot, length in zip(dots, lengths, strict=True)]
        assert similarity.compare(described, one, np.arange(3)) == pytest.approx(expected, abs=1e-5)


def test_reduce_by_deepnet(resnet, tmp_path, monkeypatch):
    """The whole command with a file of weights; a connection to anywhere would fail."""

    def refuse(*arguments):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    rows = []
    for place, pixels in enumerate([*drifting(2, 40), noise(40, 40)]):
        Image.fromarray(pixels).save(tmp_path / f"{place}.png")
        extra = {"volume_id": "v", "slice_index": str(place)}
        rows.append(Case(f"c{place}", "p", tmp_path / f"{place}.png", "slice", values=extra))
    manifest, output = write_manifest(tmp_path / "m.csv", rows), tmp_path / "reduced.csv"
    words = ["--method", "deepnet", "--keep", "0.6", "--weights", str(resnet[1]), "--device", "cpu", "--quiet"]
    assert main(["reduce", str(manifest), "--output", str(output), *words]) == 0
    assert [row.case_id for row in read_manifest(output).rows] == ["c0", "c2"]
    settings = json.loads((tmp_path / "reduced-summary.json").read_text())["settings"]
    assert settings["weights_sha256"] == file_sha256(resnet[1]) and settings["keep"] == 0.6


def test_deepnet_says_which_file_to_bring(resnet, tmp_path):
    from safetensors.torch import save_file

    where = "https://huggingface.co/timm/resnet50.a1_in1k"
    with pytest.raises(UsageError, match=where):
        load_deepnet(None)
    with pytest.raises(ModelError, match=f"There is no file.*{where}"):
        load_deepnet(tmp_path / "absent.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match=f"damaged.*{where}"):
        load_deepnet(tmp_path / "bad.safetensors")
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=f"does not hold the weights of timm's resnet50.*{where}"):
        load_deepnet(tmp_path / "other.safetensors")


# --- selections


# --- slices of a CT


def test_axial_slices_whichever_way_the_volume_is_stored():
    hu = np.random.default_rng(0).integers(-1500, 600, (4, 5, 6)).astype(np.int16)  # towards S, P, L
    expected = np.empty(hu.shape, np.uint8)
    for place, value in np.ndenumerate(hu):
        expected[place] = round(255 * min(max((int(value) + 1200) / 1400, 0.0), 1.0))
    affine = np.diag([0.7, 0.8, 2.5, 1.0])
    tilt = np.eye(4)
    tilt[:3, :3] = [[0.96, 0.28, 0], [-0.28, 0.96, 0], [0, 0, 1]]
    for order in [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)]:
        for flips in [(), (0,), (1, 2), (0, 1, 2)]:
            array = np.flip(hu.transpose(order), flips)
            columns = [2 - axis for axis in order][::-1]  # which of L, P, S the indices i, j, k run along
            turned = np.eye(4)
            turned[:3, :3] = affine[:3, :3][:, columns] * [-1 if 2 - k in flips else 1 for k in range(3)]
            assert np.array_equal(axial_slices(CTVolume(array, turned)), expected)
            assert np.array_equal(axial_slices(CTVolume(array.astype(np.float32), tilt @ turned)), expected)


def test_missing_values_of_a_ct_are_the_windows_lower_end():
    hu = np.array([[[np.nan, -np.inf], [np.inf, -500.0]]], np.float32)
    assert axial_slices(CTVolume(hu, np.eye(4))).tolist() == [[[0, 0], [255, 128]]]
