"""``maemc measure`` as it is typed, and the same measures of ``score``, ``batch`` and the worker."""

import csv
import json

import numpy as np
import pytest
from MAEMCLib.__main__ import main
from MAEMCLib.cases.case import Case
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.results import MEASURES
from MAEMCLib.scoring import prepare
from MAEMCLib.worker.client import WorkerClient
from MAEMCLib.worker.protocol import decode_outline, encode_case

from .test_outline import chest
from .test_worker import wait

CENTER = (4.0, -3.0, 2.0)
POINT = "4,-3,2"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A CT with a nodule, a segment of it, an empty one, one of another place, and no CT."""
    folder = tmp_path_factory.mktemp("sizes")
    volume, mask = chest((7, 6, 6), spacing=(0.8, 0.8, 1.2), side=72.0, center=CENTER)
    write_volume(volume, folder / "ct.nrrd")
    write_volume(CTVolume(mask.astype(np.uint8), volume.affine), folder / "segment.nrrd")
    write_volume(CTVolume(np.zeros_like(mask, np.uint8), volume.affine), folder / "empty.nrrd")
    elsewhere = np.roll(mask, 25, axis=2)
    write_volume(CTVolume(elsewhere.astype(np.uint8), volume.affine), folder / "elsewhere.nrrd")
    islands = mask | np.roll(mask, 25, axis=2)
    write_volume(CTVolume(islands.astype(np.uint8), volume.affine), folder / "islands.nrrd")
    return folder


@pytest.fixture
def maemc(capfd):
    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def test_json_has_the_promised_keys(maemc, files, tmp_path):
    code, out, err = maemc("measure", files / "ct.nrrd", "--point", POINT, "--json", "--output", tmp_path)
    document = json.loads(out)
    (nodule,) = document["nodules"]
    assert code == 0 and err == "" and "not for clinical use" in document["disclaimer"]
    assert set(nodule) == {"nodule_id", "point_lps", *MEASURES}
    assert nodule["mean_diameter_mm"] == pytest.approx(13, abs=1.5) and nodule["composition"] == "solid"
    ct, mask = read_volume(files / "ct.nrrd"), read_volume(tmp_path / "N1_mask.nrrd")
    assert mask.array.shape == ct.array.shape and np.allclose(mask.affine, ct.affine)
    assert mask.array.sum() * np.prod(ct.spacing) == pytest.approx(nodule["volume_mm3"])


def test_the_table_says_what_it_is_not_for(maemc, files):
    code, out, _ = maemc("measure", files / "ct.nrrd", "--point", "-4,3,2", "--ras")
    assert code == 0 and "mm" in out and "not for clinical use" in out


def test_a_segment_is_measured_as_it_is(maemc, files):
    given = ("measure", files / "ct.nrrd", "--point", POINT, "--json", "--segment")
    (drawn,) = json.loads(maemc(*given, files / "segment.nrrd")[1])["nodules"]
    segment = read_volume(files / "segment.nrrd")
    assert drawn["volume_mm3"] == pytest.approx(segment.array.sum() * np.prod(segment.spacing))
    (part,) = json.loads(maemc(*given, files / "islands.nrrd")[1])["nodules"]
    assert part["mask_status"] == "islands" and part["volume_mm3"] == pytest.approx(drawn["volume_mm3"])


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        ("ct.nrrd", ("--point", "400,0,0"), "outside the volume"),
        ("ct.nrrd", ("--point", "-25,25,20"), "no nodule within 5 mm"),
        ("segment.nrrd", ("--point", POINT), "not look like a chest CT"),
        ("ct.nrrd", ("--point", POINT, "--segment", "empty.nrrd"), "segment is empty"),
        ("ct.nrrd", ("--point", POINT, "--segment", "elsewhere.nrrd"), "nothing within 5 mm"),
        ("ct.nrrd", ("--point", POINT, "--segment", "missing.nrrd"), "missing.nrrd"),
    ],
)
def test_what_cannot_be_measured_is_refused(maemc, files, monkeypatch, image, options, words):
    monkeypatch.chdir(files)
    code, out, err = maemc("measure", image, *options, "--json")
    assert (code, out) == (3, "") and words in err and "Traceback" not in err


def test_scores_have_the_same_measures(maemc, files, random_bundle, tmp_path):
    (alone,) = json.loads(maemc("measure", files / "ct.nrrd", "--point", POINT, "--json")[1])["nodules"]
    model = ("--model", random_bundle, "--device", "cpu")
    (beside,) = json.loads(maemc("score", files / "ct.nrrd", "--point", POINT, "--json", *model)[1])["nodules"]
    assert {name: beside[name] for name in MEASURES} == {name: alone[name] for name in MEASURES}
    assert "size-unknown" not in beside["gate_reasons"]
    manifest, results = tmp_path / "manifest.csv", tmp_path / "results.csv"
    manifest.write_text(f"case_id,patient_id,image,l_mm,p_mm,s_mm\nC1,P1,{files / 'ct.nrrd'},{POINT}\n")
    assert maemc("batch", manifest, "--output", results, *model)[0] == 0
    (row,) = csv.DictReader(results.open(encoding="utf-8"))
    for name in MEASURES:
        value = "" if alone[name] is None else alone[name]
        assert row[name] == (f"{value:.6f}" if isinstance(value, float) else value)


def test_the_worker_outlines_the_same_mask(files, random_bundle):
    card = ModelBundle.open(random_bundle).card
    volume = read_volume(files / "ct.nrrd")
    found = []
    client = WorkerClient()
    try:
        for point in (CENTER, (-25.0, 25.0, 20.0)):
            prepared = prepare(Case("", "", volume, point_lps=point, nodule_id="N1"), card)
            number = client.send("predict", model=str(random_bundle), nodules=[encode_case(prepared, card)])
            found.append(decode_outline(wait(client, number)[-1], 0, prepared))
        damaged = encode_case(prepared, card)
        for field in ({"planes": 5}, {"planes": damaged["axial"], "first_mm": 0, "step_mm": 1}, 7):
            number = client.send("predict", model=str(random_bundle), nodules=[damaged | {"field": field}])
            assert wait(client, number)[-1]["kind"] == "error"
        number = client.send("predict", model=str(random_bundle), nodules=[damaged | {"field": None}])
        assert wait(client, number)[-1]["outlines"] == [None]
    finally:
        client.stop()
    assert found[1] is None
    assert found[0].measures.mean_diameter_mm == pytest.approx(13, abs=1.5)
