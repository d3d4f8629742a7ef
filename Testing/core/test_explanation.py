"""What every model has, whatever it scores: a reconstruction where it holds an autoencoder, a gate where it knows its
training's features."""

import numpy as np
import pytest
import torch
from MAEMCLib.__main__ import main
from MAEMCLib.applicability import FeatureDistance, percentile
from MAEMCLib.cases.values import ClinicalField, ClinicalValues
from MAEMCLib.explain.explanation import explain
from MAEMCLib.inputs.input import Prepared
from MAEMCLib.inputs.nodule import INPUT
from MAEMCLib.models.autoencoder import Autoencoder
from MAEMCLib.models.bundle import Member, save_bundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration, GraphConfiguration
from MAEMCLib.networks.heads.graph import GraphHead
from MAEMCLib.networks.heads.linear import LinearHead
from PIL import Image

SMALL = {"image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "position": "2d"}
DECODER = {"width": 16, "depth": 1, "heads": 2}
MONTAGES = {"patch_size": 50, "width": 16, "depth": 1, "heads": 2}
REFERENCE = [float(n) / 10 for n in range(101)]


def test_a_picture_is_rebuilt_where_the_bundle_holds_an_autoencoder(tmp_path, random_card, capsys):
    encoder, decoder = EncoderConfiguration(**SMALL), DecoderConfiguration(**DECODER)
    card = {
        **random_card,
        "input": "picture",
        "architecture": {"encoder": SMALL, "decoder": DECODER},
        "preprocessing": {"image_size": 32, "mean": 0.4, "std": 0.2},
    }
    members = [
        Member("classifier", "classifier-0", LinearHead(encoder, 2).state_dict()),
        Member("decoder", "decoder", Autoencoder(encoder, decoder).state_dict()),
    ]
    model = save_bundle(tmp_path / "m.maemc", card, members).path
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40)).astype(np.uint8)).save(tmp_path / "p.png")
    words = [str(tmp_path / "p.png"), "--model", str(model), "--device", "cpu", "--output", str(tmp_path / "e")]
    assert main(["explain", *words]) == 0, capsys.readouterr().err
    rebuilt, error = (np.load(tmp_path / "e" / f"{name}.npy") for name in ("reconstruction", "error"))
    seen = np.clip(np.asarray(Image.open(tmp_path / "p.png").resize((32, 32), Image.Resampling.BILINEAR)) / 255, 0, 1)
    assert rebuilt.shape == error.shape == (32, 32) and 0 <= rebuilt.min() <= rebuilt.max() <= 1
    np.testing.assert_allclose(error, np.abs(rebuilt - seen), atol=0.01)
    assert (tmp_path / "e" / "reconstruction.png").is_file() and (tmp_path / "e" / "maps.json").is_file()


@pytest.fixture(scope="module")
def fused(tmp_path_factory, random_card):
    """A model of two series and an age that knows its training's features: predictor, statistics by branch."""
    asked = [ClinicalField("age", "number", optional=True), ClinicalField("late", "series", optional=True)]
    branches = ("axial", "late:coronal")
    card = {
        **random_card,
        "fusion": "graph",
        "architecture": {"encoder": MONTAGES, "graph": {"branches": list(branches), "width": 8, "rounds": 1}},
        "clinical": [one.to_json() for one in asked],
        "training_distances": REFERENCE,
    }
    draws, statistics = np.random.default_rng(3), {"count": torch.tensor(20.0)}
    for branch in branches:
        values = torch.from_numpy(draws.normal(size=(20, 16)))
        statistics |= {f"{branch}_mean": values.mean(0).float(), f"{branch}_covariance": torch.cov(values.T).float()}
    network = GraphHead(EncoderConfiguration(**MONTAGES), 2, 1, GraphConfiguration(branches, (0,), 8, 1))
    members = [Member("classifier", "c", network.state_dict()), Member("statistics", "s", statistics)]
    return Predictor(save_bundle(tmp_path_factory.mktemp("fused") / "m.maemc", card, members), "cpu"), statistics


def case_of(**regions):
    return Prepared(INPUT.synthetic(0), ClinicalValues({"age": 60.0, "late": "late" if regions else None}, (), regions))


def test_a_fusion_measures_the_features_of_what_was_seen(fused):
    predictor, statistics = fused
    both, one = predictor.predict([case_of(late=INPUT.synthetic(1)), case_of()])
    distances = []
    for branch, region, plane in (
        ("axial", INPUT.synthetic(0), "axial"),
        ("late:coronal", INPUT.synthetic(1), "coronal"),
    ):
        image = torch.from_numpy(predictor.image(Prepared(region), plane))[None, None]
        with torch.no_grad():
            token = predictor.members[0].encoder.features(image).double().numpy()
        parts = (statistics[f"{branch}_mean"].numpy(), statistics[f"{branch}_covariance"].numpy(), 20)
        distances.append(FeatureDistance.of(*parts)(token)[0])
    assert both.ood_percentile == pytest.approx(percentile(np.mean(distances), REFERENCE), abs=1e-3)
    assert one.ood_percentile == pytest.approx(percentile(distances[0], REFERENCE), abs=1e-3)
    assert both.ood_percentile != one.ood_percentile


def test_a_fusion_is_explained_by_the_images_that_were_seen(fused):
    predictor, _ = fused
    both, one = (explain(predictor, case, measured=True) for case in (case_of(late=INPUT.synthetic(1)), case_of()))
    assert set(both.attention) == {"axial", "late:coronal"} and set(one.attention) == {"axial"}
    for found in both.sanity["axial"]:
        assert 0 <= found.deletion <= 1 and 0 <= found.insertion <= 1


def test_a_linear_head_tells_several_classes_apart(tmp_path, random_card):
    card = {
        **random_card,
        "architecture": {"encoder": MONTAGES},
        "classes": ["cyst", "myeloma", "metastasis"],
        "positive_class": "",
    }
    network = LinearHead(EncoderConfiguration(**MONTAGES), 3, seed=2)
    with torch.no_grad():
        network.head.weight.mul_(30)
    members = [Member("classifier", "c", network.state_dict())]
    predictor = Predictor(save_bundle(tmp_path / "m.maemc", card, members), "cpu")
    (found,) = predictor.predict([Prepared(INPUT.synthetic(0))])
    images = torch.from_numpy(
        np.stack([predictor.image(Prepared(INPUT.synthetic(0)), p) for p in ("axial", "coronal")])
    )
    with torch.no_grad():
        expected = network.logits(images[:, None]).mean(dim=0).softmax(dim=0)
    assert list(found.class_probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert found.probability == pytest.approx(float(expected.max()), abs=1e-5)
    assert set(explain(predictor, Prepared(INPUT.synthetic(0))).attention) == {"axial", "coronal"}
