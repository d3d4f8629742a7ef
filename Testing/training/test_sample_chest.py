"""The sample chest: its points lie in its nodules, and Slicer's file of them is read back."""

import numpy as np
from MAEMCLib.cases.points import read_points
from MAEMCLib.images.ct import check_ct
from MAEMCLib.images.files import read_volume
from MAEMCTrainingLib.phantom.sample_chest import write_sample_chest


def test_points_of_the_sample_lie_in_its_nodules(tmp_path):
    image, points = write_sample_chest(tmp_path / "mein Ordner")
    volume = read_volume(image)
    check_ct(volume)
    nodules = read_points(points)
    assert [nodule.nodule_id for nodule in nodules] == ["N1", "N2", "N3"]
    for nodule in nodules:
        i, j, k = np.rint(volume.to_index(nodule.lps)).astype(int)
        assert volume.array[k - 1 : k + 2, j - 2 : j + 3, i - 2 : i + 3].mean() > -100
    assert image.stat().st_size < 20e6
