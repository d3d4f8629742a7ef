"""A point in no nodule is red and keeps its number; the range over clicks beside the point is that of scoring there."""

import json

import numpy as np
import pytest
from MAEMCLib import scoring
from MAEMCLib.cases.case import Case
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.inputs.jitter import JITTER_MM, SHIFTS
from MAEMCLib.models.bundle import ModelBundle
from MAEMCLib.models.predictor import Predictor
from MAEMCLib.results import COLUMNS
from MAEMCLib.worker.protocol import decode_case, decode_prediction, encode_case

SIZE = 110


@pytest.fixture(scope="module")
def predictor(random_bundle):
    return Predictor(ModelBundle.open(random_bundle), "cpu")


@pytest.fixture(scope="module")
def chest():
    """Lung with a nodule of 12 mm at (0, 0, 0), a wall from 35 mm on the left with a rib, air outside, 1 mm voxels."""
    affine = np.eye(4)
    affine[:3, 3] = -(SIZE - 1) / 2
    k, j, i = np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij")
    x, y, z = i - (SIZE - 1) / 2, j - (SIZE - 1) / 2, k - (SIZE - 1) / 2
    array = -860.0 + np.random.default_rng(0).normal(0.0, 25.0, (SIZE,) * 3)
    array[np.sqrt(x**2 + y**2 + z**2) < 6] = 40.0
    array[x > 35] = 45.0
    array[np.hypot(x - 42, z) < 4] = 600.0
    array[x < -45] = -1000.0
    return CTVolume(array.astype(np.float32), affine, "chest")


def scored(predictor, volume, point):
    """(row, prepared case) of a point."""
    with scoring.CaseScorer(predictor.card, lambda: predictor) as scorer:
        (found,) = scorer.score([Case("c", "", volume, point_lps=point, nodule_id="N1")])
    assert found.error is None, found.message
    return found


def codes(found):
    return {warning.code for warning in found.result.warnings}


def test_a_nodule_is_there_and_its_middle_is_offered(predictor, chest):
    found = scored(predictor, chest, (2.0, -1.5, 1.0)).result
    assert found.nodule_present > 0.5 and "no-nodule" not in {warning.code for warning in found.warnings}
    middle = np.array([found.snap_l_mm, found.snap_p_mm, found.snap_s_mm])
    assert np.linalg.norm(middle) < 1.5
    row = found.to_row()
    assert tuple(row) == COLUMNS and row["nodule_present"] and row["snap_l_mm"] and row["jitter_low"]
    assert json.loads(json.dumps(found.to_json()))["jitter_high"] == found.jitter_high


@pytest.mark.parametrize(
    "place", [(-20.0, 20.0, 10.0), (42.0, 0.0, 0.0), (50.0, 30.0, -30.0), (-52.0, 0.0, 0.0)], ids=str
)
def test_lung_bone_wall_and_air_are_red_with_a_reason_and_keep_their_number(predictor, chest, place):
    found = scored(predictor, chest, place)
    assert found.result.gate == "red" and found.result.nodule_present < 0.5
    assert codes(found) & {"no-nodule", "no-lung", "unbounded"}
    assert 0 <= found.result.probability <= 1 and found.result.status == "scored"
    assert not codes(found) & {"calcium", "subsolid", "wall", "several"}  # of what is no nodule nothing more is said


def test_an_organ_is_ruled_out_by_its_surroundings(predictor):
    array = np.full((SIZE,) * 3, 50.0, np.float32)
    array[:8] = -860.0
    affine = np.eye(4)
    affine[:3, 3] = -(SIZE - 1) / 2
    found = scored(predictor, CTVolume(array, affine, "liver"), (0.0, 0.0, 0.0))
    assert found.result.gate == "red" and found.result.nodule_present == 0.0
    assert codes(found) >= {"no-lung", "unbounded"} and "no-nodule" not in codes(found)


def test_the_range_is_that_of_the_clicks_beside_the_point(predictor, chest):
    point = np.array([1.0, 0.5, -0.5])
    found = scored(predictor, chest, tuple(point)).result
    places = [point, *(point + JITTER_MM * np.array(shift) for shift in SHIFTS)]
    every = [scored(predictor, chest, tuple(place)).result.probability for place in places]
    assert found.jitter_low == pytest.approx(min(every), abs=2e-3)
    assert found.jitter_high == pytest.approx(max(every), abs=2e-3)
    assert found.jitter_low <= found.probability == every[0] <= found.jitter_high


def test_a_large_model_is_not_asked_seven_times(predictor, chest, monkeypatch):
    monkeypatch.setattr("MAEMCLib.models.card.QUICK_BYTES", 1000)
    found = scored(predictor, chest, (0.0, 0.0, 0.0)).result
    assert found.jitter_low is None and found.jitter_high is None and found.nodule_present > 0.5


def test_a_worker_says_the_same(predictor, chest):
    case = Case("c", "", chest, point_lps=(1.0, 1.0, 0.0), nodule_id="N1")
    prepared = scoring.prepare(case, predictor.card)
    sent = json.loads(json.dumps(encode_case(prepared, predictor.card)))
    (here,) = predictor.predict([prepared])
    (there,) = predictor.predict([decode_case(sent, predictor.card)])
    there = decode_prediction(json.loads(json.dumps(vars(there))))
    for name in ("probability", "nodule_present", "jitter_low", "jitter_high"):
        assert getattr(there, name) == getattr(here, name), name


@pytest.mark.parametrize(
    ("slices", "spacing"), [(1, 1.25), (3, 5.0), (12, 5.0)], ids=["one slice", "three of 5 mm", "5 mm"]
)
def test_few_and_thick_slices_fail_nothing(predictor, slices, spacing):
    affine = np.diag([0.7, 0.7, spacing, 1.0])
    affine[:3, 3] = [-32.0, -32.0, -spacing * (slices - 1) / 2]
    k, j, i = np.meshgrid(np.arange(slices), np.arange(92), np.arange(92), indexing="ij")
    where = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    array = np.where(np.linalg.norm(where, axis=-1) < 5, 30.0, -850.0).astype(np.float32)
    found = scored(predictor, CTVolume(array, affine, "slab"), (0.0, 0.0, 0.0)).result
    assert found.nodule_present is not None and found.jitter_low <= found.probability <= found.jitter_high


def test_metal_and_a_border_fail_nothing(predictor, chest):
    array = chest.array.copy()
    array[:, 50:60, 70:74] = 3000.0
    array[40:70, :, ::7] -= 400.0  # streaks
    for point in ((0.0, 0.0, 0.0), (54.0, 54.0, 54.0), (-54.4, 0.0, 0.0)):
        assert scored(predictor, CTVolume(array, chest.affine, "metal"), point).result.status == "scored"
