"""The importer of LIDC slabs, and what training sees of a slab: what lies beyond its slices is not air."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images.ct import CTVolume
from MAEMCLib.images.files import read_volume, write_volume
from MAEMCLib.inputs.nodule import Preprocessing
from MAEMCLib.inputs.region import PLANES, cut_roi
from MAEMCTrainingLib.data.cohort import join, measure_preprocessing
from MAEMCTrainingLib.data.importers.formats.lidc_slabs import import_lidc_slabs
from MAEMCTrainingLib.data.kinds.montage_views import PADDING, LightView, View, crop, draw_light_view, light_crop
from MAEMCTrainingLib.data.store import open_store
from MAEMCTrainingLib.engine.configuration import Augmentation, override
from MAEMCTrainingLib.engine.task import Sample
from MAEMCTrainingLib.pretext.measuring import _pairs
from MAEMCTrainingLib.pretraining.presets import pretraining_preset
from MAEMCTrainingLib.pretraining.run import PretrainingTask

from Testing.training.stores import build_rows, nodule_row


def test_lidc_slabs_become_rows(lidc_slabs, tmp_path):
    found = import_lidc_slabs(lidc_slabs, tmp_path)
    assert not found.skipped and len(found.rows) == 2020
    labels = [row.label for row in found.rows]
    assert (labels.count(0), labels.count(1), labels.count(None)) == (649, 408, 963)
    assert len({row.patient_id for row in found.rows}) == 671
    first = found.rows[0]
    assert first.point_lps == (0.0, 0.0, 0.0) and first.diameter_mm == 31.8
    assert first.values["texture"] == "5 5 5 4" and first.values["readers"] == "4"
    several = import_lidc_slabs(lidc_slabs, tmp_path, min_readers=3)
    assert [row.label for row in several.rows].count(0) == 237
    assert len(several.rows) + len(several.skipped) == 2020
    assert "of at least 3 readers" in str(several.skipped[0])


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no folder of LIDC slabs: it has no labels\.csv"):
        import_lidc_slabs(tmp_path, tmp_path)


def slab(path, slices: int = 3, step: float = 2.5):
    """A slab about the origin: a ball in lung."""
    shape = (slices, 80, 80)
    affine = np.diag([0.8, 0.8, step, 1.0])
    affine[:3, 3] = -0.5 * (np.array(shape[::-1]) - 1) * (0.8, 0.8, step)
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    where = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    hu = np.where(np.linalg.norm(where, axis=-1) < 6.0, 40.0, -850.0)
    write_volume(CTVolume(hu.astype(np.int16), affine), path)
    return nodule_row(path.stem, path.stem, path, (0.0, 0.0, 0.0))


@pytest.fixture
def cohort(tmp_path):
    rows = [slab(tmp_path / "three.nrrd"), slab(tmp_path / "one.nrrd", 1, 5.0), slab(tmp_path / "whole.nrrd", 60, 1.0)]
    return join([build_rows(rows, tmp_path / "cache", tmp_path / "home")])


def observed_of(image: np.ndarray) -> list[int]:
    """The slices of a montage (250, 250) that are shown."""
    tiles = image.reshape(5, 50, 5, 50).swapaxes(1, 2).reshape(25, 50, 50)
    shown = np.isfinite(tiles).all(axis=(1, 2))
    assert (shown | np.isnan(tiles).all(axis=(1, 2))).all(), "a slice that is shown in part"
    return np.flatnonzero(shown).tolist()


def by_size(cohort) -> dict[str, int]:
    """Which case is which, by the slices that were observed; caches name nobody."""
    spans = [case.facts.observed[0] for case in cohort.cases]
    lengths = [end - first for first, end in spans]
    return {"one": lengths.index(1), "three": lengths.index(5), "whole": lengths.index(35)}


def test_training_shows_what_scoring_shows_of_a_slab(cohort, tmp_path):
    settings = Preprocessing(mean=0.4, std=0.3, skip_unobserved=True)
    presentation = cohort.present(Augmentation(mode="none"), settings, 250)
    place = by_size(cohort)
    assert observed_of(presentation.plain(place["one"])[0]) == [12]
    assert observed_of(presentation.plain(place["three"])[0]) == [10, 11, 12, 13, 14]
    assert observed_of(presentation.plain(place["three"])[1]) == []
    assert observed_of(presentation.plain(place["whole"])[1]) == list(range(25))
    region = cohort.kind.scored(cohort, place["three"])[0]
    scored = cut_roi(read_volume(tmp_path / "three.nrrd"), (0.0, 0.0, 0.0))
    for plane in PLANES:
        assert np.array_equal(region.observed[plane], scored.observed[plane])
    air = cohort.present(Augmentation(mode="none"), Preprocessing(mean=0.4, std=0.3), 250)
    assert np.isfinite(air.plain(place["one"])).all()


def test_a_pair_of_a_slab_is_two_axial_views(cohort):
    settings = Preprocessing(mean=0.4, std=0.3, skip_unobserved=True)
    presentation = cohort.present(Augmentation(mode="light"), settings, 250)
    (one, other), _ = presentation.views("pair", by_size(cohort)["three"], 1, 0, 0, 0)
    assert observed_of(one) and observed_of(other) and not np.array_equal(one, other, equal_nan=True)
    again = presentation.views("pair", by_size(cohort)["three"], 1, 0, 0, 0)[0]
    assert np.array_equal(one, again[0], equal_nan=True) and np.array_equal(other, again[1], equal_nan=True)


def test_a_slab_of_one_slice_is_shown_however_a_view_moves(cohort):
    settings = Preprocessing(mean=0.4, std=0.3, skip_unobserved=True)
    presentation = cohort.present(Augmentation(mode="light", shift_slices=3), settings, 250)
    for epoch in range(20):
        image, _ = presentation.training_image(by_size(cohort)["one"], 0, 1, epoch, 0)
        assert observed_of(image) == [12]


def test_dropped_slices_hide_how_many_there_are(cohort):
    settings = Preprocessing(mean=0.4, std=0.3, skip_unobserved=True)
    augmentation = Augmentation(mode="light", drop_slices=0.5, drop_reach=1, shift_slices=0)
    presentation = cohort.present(augmentation, settings, 250)
    seen = [observed_of(presentation.training_image(by_size(cohort)["whole"], 0, 1, e, 0)[0]) for e in range(200)]
    counts = {length: [len(one) for one in seen].count(length) for length in (1, 3, 25)}
    assert sum(counts.values()) == 200
    assert 75 <= counts[25] <= 125 and counts[1] > 25 and counts[3] > 25


def still(**changes) -> LightView:
    values = {"matrix": np.eye(2), "shift": np.zeros(2), "slices": 0, "gain": 1.0, "offset": 0.0}
    return LightView(**values | {"dropped": np.zeros(25, bool)} | changes)


def test_a_view_that_changes_nothing_is_the_region():
    stack = np.random.default_rng(0).integers(-1000, 300, (2, 35, 60, 60)).astype(np.int16)
    hu, outside = light_crop(stack[0], still(), Preprocessing())
    assert outside == 0.0 and np.allclose(hu, crop(stack, 0, View())[0], atol=1e-3)
    moved, _ = light_crop(stack[0], still(shift=np.array([2.0, -3.0]), slices=1), Preprocessing())
    assert np.allclose(moved, stack[0, 6:31, 7:57, 2:52], atol=1e-3)
    turned, _ = light_crop(stack[0], still(matrix=np.array([[0.0, -1.0], [1.0, 0.0]])), Preprocessing())
    assert np.allclose(turned, np.rot90(hu, 1, axes=(1, 2)), atol=1e-3) or np.allclose(
        turned, np.rot90(hu, -1, axes=(1, 2)), atol=1e-3
    )


def test_gain_and_offset_are_shares_of_the_window():
    stack = np.full((35, 60, 60), -500, np.int16)
    stack[:, :, :5] = PADDING
    hu, outside = light_crop(stack, still(gain=1.1, offset=0.05), Preprocessing())
    assert hu[12, 25, 25] == pytest.approx(-1200 + 1.1 * 700 + 0.05 * 1400)
    assert outside == pytest.approx(5 / 60)


def test_views_are_drawn_alike_by_the_same_key_alone():
    augmentation = Augmentation(mode="light")
    one, again = (draw_light_view(augmentation, 3, 1, 2) for _ in range(2))
    assert np.array_equal(one.matrix, again.matrix) and one.gain == again.gain
    for key in ((4, 1, 2), (3, 2, 2), (3, 1, 3), (3, 1, 2, 1)):
        assert draw_light_view(augmentation, *key).gain != one.gain
    zooms = [np.linalg.norm(draw_light_view(augmentation, 0, 0, n).matrix[:, 0]) for n in range(200)]
    assert 0.85 <= min(zooms) < 0.88 and 1.12 < max(zooms) <= 1.15


@pytest.mark.parametrize("method", ["maemc", "mae"])
def test_slabs_are_pretrained_on(cohort, method):
    """Whatever each slab holds, losses are finite, move, and are those of what was observed."""
    run = override(
        pretraining_preset("tiny", method, backbone="slices"), ["augmentation.mode=light", "views_per_case=1"]
    )
    settings = measure_preprocessing(cohort, run.augmentation, 250, skip_unobserved=True)
    task = PretrainingTask(cohort, run, settings)
    batch, _ = task.batch([Sample(0, number) for number in range(3)])
    losses, _ = task.module(batch)
    losses["loss"].backward()
    assert all(torch.isfinite(value) for value in losses.values()) and losses["loss_mse"] > 0
    gradients = [p.grad for p in task.module.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


def test_methods_that_cannot_leave_slices_out_refuse(cohort):
    with pytest.raises(UsageError, match="cannot leave out slices"):
        pretraining_preset("tiny", "cmae", backbone="slices")


def test_a_head_of_one_number_of_patches_refuses(cohort):
    run = override(pretraining_preset("tiny", "maemc", backbone="slices"), ["flattening=flatten"])
    with pytest.raises(UsageError, match="flattening=mean"):
        PretrainingTask(cohort, run, measure_preprocessing(cohort, run.augmentation, 250, skip_unobserved=True))


def test_a_reconstruction_of_slabs_is_not_measured(cohort):
    with pytest.raises(InputError, match="2 of 3 regions lack slices"):
        _pairs(cohort, Preprocessing(mean=0.4, std=0.3, skip_unobserved=True))
    assert _pairs(cohort, Preprocessing(mean=0.4, std=0.3)).shape == (3, 2, 250, 250)


def test_a_cache_keeps_every_readers_rating_and_no_longer_number(tmp_path):
    texts = [f"{first} {second} {third}" for first in "12345" for second in "123" for third in "12"]
    rows = [replace(slab(tmp_path / f"{n}.nrrd"), values={"texture": text}) for n, text in enumerate(texts)]
    build_rows(rows, tmp_path / "cache", tmp_path / "home")
    assert [case.values["texture"] for case in open_store(tmp_path / "cache").cases] == texts  # 30 different ones
    rows[0] = replace(rows[0], values={"texture": "1 2 3 4 5 6 7 8"})  # may be somebody's number
    build_rows(rows, tmp_path / "cache", tmp_path / "home")
    assert not any("texture" in case.values for case in open_store(tmp_path / "cache").cases)
