"""The sample chest: a whole one, whose points lie in its nodules, and Slicer's file of them is read back."""

import numpy as np
import pytest
from MAEMCLib.cases.points import read_points
from MAEMCLib.images.ct import check_ct
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.inputs.region import cut_roi
from MAEMCTrainingLib.phantom import sample_chest as samples
from MAEMCTrainingLib.phantom.sample_chest import make_sample_chest, write_sample_chest


@pytest.fixture(scope="module")
def sample_chest():
    return make_sample_chest()


def test_it_is_a_whole_chest(sample_chest, tmp_path):
    volume, points = sample_chest
    check_ct(volume)
    sides = volume.size * volume.spacing
    assert (sides > (300.0, 230.0, 240.0)).all()
    write_volume(volume, tmp_path / "chest.nrrd")
    assert (tmp_path / "chest.nrrd").stat().st_size < 15.5e6
    assert [name for name, _, _ in points] == ["N1", "N2", "N3"]
    assert {label for _, _, label in points} == {0, 1}
    array = volume.array
    edges = np.concatenate([array[:, 0].ravel(), array[:, :, 0].ravel(), array[:, :, -1].ravel()])
    assert np.median(edges) == pytest.approx(-1000.0, abs=5.0)  # air around the patient
    lung = ((array > -950) & (array < -700)).sum() * np.prod(volume.spacing) / 1e6
    assert 2.5 < lung < 7.0  # liters
    assert (array > 300).mean() > 0.01  # bone


def test_it_has_its_nodules_at_its_points(sample_chest):
    volume, points = sample_chest
    for _, point, _ in points:
        k, j, i = np.rint(volume.to_index(np.array(point)))[::-1].astype(int)
        assert volume.array[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].mean() > -60.0
        roi = cut_roi(volume, point)
        assert roi.padded_fraction == 0.0
        assert (roi.axial < -600).mean() > 0.25  # surrounded by lung


def test_what_is_written_is_read_back(sample_chest, tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "make_sample_chest", lambda: sample_chest)
    image, points = write_sample_chest(tmp_path / "mein Ordner")
    volume = read_volume(image)
    check_ct(volume)
    nodules = read_points(points)
    assert [nodule.nodule_id for nodule in nodules] == ["N1", "N2", "N3"]
    for nodule in nodules:
        i, j, k = np.rint(volume.to_index(nodule.lps)).astype(int)
        assert volume.array[k - 1 : k + 2, j - 2 : j + 3, i - 2 : i + 3].mean() > -100
    assert image.stat().st_size < 20e6
