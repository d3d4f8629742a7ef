"""A model that is shown a fixed few slices, from the command line: a whole CT, a slab, and one that lacks slices."""

import json

import numpy as np
import pytest
from MAEMCLib.__main__ import main
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.models.autoencoder import Autoencoder
from MAEMCLib.models.bundle import Member, save_bundle
from MAEMCLib.networks.configuration import DecoderConfiguration, EncoderConfiguration
from MAEMCLib.networks.heads.linear import LinearHead

SHOWN = {"patch_size": 50, "width": 32, "depth": 2, "heads": 4, "embedding": "convolutional", "offsets": [-1, 0, 1]}
DECODER = {"width": 16, "depth": 1, "heads": 4}


def made(folder, random_card, fusion: str):
    encoder = EncoderConfiguration(**SHOWN)
    members = [Member("classifier", f"c{n}", LinearHead(encoder, 2, seed=n).state_dict()) for n in range(2)]
    members.append(Member("decoder", "decoder", Autoencoder(encoder, DecoderConfiguration(**DECODER)).state_dict()))
    card = random_card | {
        "fusion": fusion,
        "architecture": {"encoder": SHOWN, "decoder": DECODER},
        "preprocessing": {"mean": 0.4, "std": 0.3, "skip_unobserved": True},
    }
    return save_bundle(folder / f"{fusion}.maemc", card, members).path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, random_card):
    return made(tmp_path_factory.mktemp("slices"), random_card, "axial")


def written(folder, name: str, slices: slice):
    """A ball in lung, and of it only some of the slices, 1 mm apart; slice 32 is at S = 0."""
    k, j, i = np.meshgrid(*map(np.arange, (65, 70, 70)), indexing="ij")
    rng = np.random.default_rng(2)
    hu = np.where((i - 35) ** 2 + (j - 35) ** 2 + (k - 32) ** 2 < 60, 30, -850) + rng.integers(-40, 40, k.shape)
    affine = np.eye(4)
    affine[:3, 3] = (-35.0, -35.0, -32.0 + slices.start)
    write_volume(CTVolume(hu[slices].astype(np.int16), affine), folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("slices", "warned"),
    [
        (slice(0, 65), False),
        pytest.param(slice(30, 35), False, marks=pytest.mark.soak),
        pytest.param(slice(32, 34), True, marks=pytest.mark.soak),
        (slice(32, 33), True),
    ],
)
def test_every_map_is_written_whatever_the_file_holds(tmp_path, bundle, capsys, slices, warned):
    ct = written(tmp_path, "ct.nrrd", slices)
    options = ["--point", "0,0,0", "--model", str(bundle), "--device", "cpu", "--output", str(tmp_path / "out")]
    assert main(["score", str(ct), *options, "--json"]) == 0
    (nodule,) = json.loads(capsys.readouterr().out)["nodules"]
    assert nodule["status"] == "scored" and 0 < nodule["probability"] < 1
    assert any(warning["code"] == "slices-missing" for warning in nodule["warnings"]) is warned
    assert main(["explain", str(ct), *options]) == 0
    for file in (tmp_path / "out").rglob("*.nrrd"):
        assert np.isfinite(read_volume(file).array).all(), file.name
    attention = read_volume(tmp_path / "out" / "attention_axial.nrrd").array
    others = [n for n in range(25) if n not in (11, 12, 13)]
    assert not attention[others].any() and (attention.max() == pytest.approx(1) or warned)  # Grad-CAM, of what is shown
    assert main(["explain", str(ct), *options, "--quiet"]) == 0 and not capsys.readouterr().err.count("Traceback")


def test_a_slab_lacks_the_coronal_plane_of_a_model_that_is_shown_it(tmp_path, random_card, capsys):
    both, ct = made(tmp_path, random_card, "mean"), written(tmp_path, "ct.nrrd", slice(30, 35))
    assert main(["score", str(ct), "--point", "0,0,0", "--model", str(both), "--device", "cpu", "--json"]) == 0
    (nodule,) = json.loads(capsys.readouterr().out)["nodules"]
    (text,) = (warning["message"] for warning in nodule["warnings"] if warning["code"] == "slices-missing")
    assert text.startswith("3 of the 6 slices") and nodule["gate"] != "green"


def test_a_cut_of_a_ct_that_holds_the_slices_gives_the_same_number(tmp_path, bundle, capsys):
    found = []
    for name, slices in (("whole.nrrd", slice(0, 65)), ("cut.nrrd", slice(31, 34))):
        ct = written(tmp_path, name, slices)
        assert main(["score", str(ct), "--point", "0,0,0", "--model", str(bundle), "--device", "cpu", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["nodules"][0]["probability"])
    whole, cut = found
    assert whole != pytest.approx(0.5, abs=1e-6) and cut == pytest.approx(whole, abs=1e-4)
