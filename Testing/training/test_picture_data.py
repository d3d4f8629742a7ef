"""2-D pictures as training data: the cache, cases of several slices, metadata, views, and what goes wrong."""

import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from MAEMCLib.cases.case import Case
from MAEMCLib.cases.manifest import read_manifest, write_manifest
from MAEMCLib.cases.values import ClinicalValues
from MAEMCLib.errors import InputError, UsageError
from MAEMCLib.images.ct import CTVolume, windowed
from MAEMCLib.images.files import write_volume
from MAEMCLib.images.gray import read_gray, square
from MAEMCLib.images.reading_process import ReadingProcess
from MAEMCLib.inputs.nodule import Preprocessing, normalize
from MAEMCLib.inputs.picture import INPUT
from MAEMCLib.inputs.view import PicturePreprocessing, shown, views
from MAEMCTrainingLib.data.cohort import attributes_of, join, measure_preprocessing
from MAEMCTrainingLib.data.kinds.kind import VIEWS
from MAEMCTrainingLib.data.kinds.picture_views import PicturePresentation, _Light
from MAEMCTrainingLib.data.kinds.stored_pictures import gray_of
from MAEMCTrainingLib.data.sources import Source
from MAEMCTrainingLib.data.store import open_store
from MAEMCTrainingLib.engine.configuration import PictureAugmentation
from MAEMCTrainingLib.reduction.slices import Volume, read_slices
from PIL import Image

from Testing.training.stores import build_rows


def save(path, values):
    Image.fromarray(np.asarray(values, np.uint8)).save(path)
    return path


def row(number, image, **values):
    return Case(f"case-{number}", f"patient-{values.pop('patient', number)}", image, **{"kind": "image", **values})


@pytest.fixture
def noise():
    """(9, 40, 40) blotches of 8 pixels: neighboring pixels are alike, as in pictures."""
    return np.random.default_rng(0).integers(0, 256, size=(9, 5, 5)).repeat(8, axis=1).repeat(8, axis=2)


def test_pictures_come_out_of_the_cache_as_they_went_in(noise, tmp_path):
    rows = [row(n, save(tmp_path / f"{n}.png", noise[n]), label=n % 2) for n in range(3)]
    calls = []
    cache = build_rows(rows, tmp_path / "cache", tmp_path / "home", lambda *done: calls.append(done))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    np.testing.assert_array_equal([gray_of(join([cache]), n, 0) * 255 for n in range(3)], noise[:3])
    text = (tmp_path / "cache" / "index.json").read_text()
    assert "patient-" not in text and "case-" not in text  # pseudonyms only
    files = [tmp_path / "cache" / case.file for case in cache.cases]
    before = [file.stat().st_mtime_ns for file in files]
    again = build_rows(rows, tmp_path / "cache", tmp_path / "home")
    assert again.cases == cache.cases and [file.stat().st_mtime_ns for file in files] == before
    stat = rows[1].image.stat()
    save(rows[1].image, noise[7])
    os.utime(rows[1].image, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # contents are compared, and not times
    changed = build_rows(rows, tmp_path / "cache", tmp_path / "home")
    np.testing.assert_array_equal(gray_of(join([changed]), 1, 0) * 255, noise[7])
    assert [file.stat().st_mtime_ns == time for file, time in zip(files, before, strict=True)] == [True, False, True]
    assert changed.cases[1].sha256 != cache.cases[1].sha256 and changed.cases[0].sha256 == cache.cases[0].sha256
    relabeled = [replace(r, label=1) for r in rows]
    assert [c.label for c in build_rows(relabeled, tmp_path / "cache", tmp_path / "home").cases] == [1, 1, 1]
    files[2].write_bytes(b"cut short")
    with pytest.raises(InputError, match="damaged"):
        Source(tmp_path / "cache").open(tmp_path, tmp_path / "home")


def test_mixed_sizes_and_unreadable_files(noise, tmp_path):
    wide = save(tmp_path / "wide.png", noise[0][:20])
    small = save(tmp_path / "small.png", noise[1][:10, :10])
    (tmp_path / "text.png").write_text("no picture")
    rows = [row(0, wide), row(1, small), row(2, tmp_path / "text.png")]
    cache = build_rows(rows, tmp_path / "cache", tmp_path / "home")
    first, second = (gray_of(join([cache]), case, 0) for case in (0, 1))
    assert (first.shape, second.shape) == ((40, 40), (10, 10))
    np.testing.assert_array_equal(first[10:30] * 255, noise[0][:20])  # in the middle of a black square
    assert not first[:10].any()
    assert [(item["case_id"], item["row"]) for item in cache.left_out] == [("case-2", 4)]
    assert "reason" in cache.left_out[0] and str(tmp_path) not in (tmp_path / "cache" / "index.json").read_text()
    with pytest.raises(InputError, match="None of the 1 cases"):
        build_rows(rows[2:], tmp_path / "other", tmp_path / "home")


def test_series_of_ct_without_points_are_no_pictures(noise, tmp_path):
    (tmp_path / "series").mkdir()
    save(tmp_path / "series" / "0.png", noise[0])
    with pytest.raises(InputError, match=r"CT series without a point\. Add l_mm"):
        build_rows([row(0, tmp_path / "series")], tmp_path / "cache", tmp_path / "home")


def slices(noise, folder, order, **values):
    return [
        row(
            n,
            save(folder / f"s{n}.png", noise[n]),
            kind="slice",
            patient=0,
            values={"volume_id": "v", "slice_index": str(index)},
            **values,
        )
        for n, index in enumerate(order)
    ]


def test_slices_of_a_volume_are_one_case_in_the_order_of_their_numbers(noise, tmp_path):
    cache = build_rows(slices(noise, tmp_path, (10, 9, 100), label=1), tmp_path / "c", tmp_path / "home")
    (case,) = cache.cases
    assert case.row == 2 and case.values["case_id"] == "case-0"
    cohort = join([cache])
    assert len(cohort) == 1 and cohort.facts()["pictures"] == 3
    for place, number in enumerate((1, 0, 2)):  # 9, 10, 100
        np.testing.assert_array_equal(gray_of(cohort, 0, place) * 255, noise[number])
    torn = slices(noise, tmp_path, (1, 2))
    with pytest.raises(InputError, match="different labels"):
        build_rows([torn[0], replace(torn[1], label=1)], tmp_path / "d", tmp_path / "home")
    with pytest.raises(InputError, match="not a whole number"):
        build_rows(
            [replace(torn[0], values={"volume_id": "v", "slice_index": "a"}), torn[1]],
            tmp_path / "e",
            tmp_path / "home",
        )


def test_slices_of_a_ct_volume_are_shown_in_the_lung_window(tmp_path):
    voxels = np.random.default_rng(0).integers(-1300, 300, size=(72, 76, 80)).astype(np.int16)
    volume = CTVolume(voxels, np.eye(4), "random")
    write_volume(volume, tmp_path / "v.nrrd")
    rows = [
        row(n, tmp_path / "v.nrrd", kind="slice", patient=0, values={"volume_id": "v", "slice_index": str(k)})
        for n, k in enumerate((36, 5))
    ]
    cache = build_rows(rows, tmp_path / "c", tmp_path / "home")
    shown = normalize(volume.array[36], Preprocessing())
    ours = gray_of(join([cache]), 0, 1)[2:78]  # 76 rows in a square of 80
    assert np.abs(ours - shown).max() <= 0.5 / 255 + 1e-6
    beyond = [replace(rows[0], values={"volume_id": "v", "slice_index": "72"})]
    with pytest.raises(InputError, match="72 slices"):
        build_rows(beyond, tmp_path / "d", tmp_path / "home")


def test_nodules_and_pictures_do_not_mix(noise, balls, ball_cache, tmp_path):
    flat = write_manifest(tmp_path / "flat.csv", [row(0, save(tmp_path / "0.png", noise[0]))])
    kinds = [Source(path).kind.name for path in (flat, balls, ball_cache.folder)]
    assert kinds == ["picture", "nodule", "nodule"]
    cache = Source(flat).open(tmp_path / "caches", tmp_path / "home")
    assert Source(cache.folder).kind.name == "picture"
    with pytest.raises(InputError, match="together"):
        join([cache, ball_cache])
    both = [*read_manifest(flat).rows, *read_manifest(balls).rows]
    mixed = write_manifest(tmp_path / "mixed.csv", [replace(r, case_id=str(n)) for n, r in enumerate(both)])
    with pytest.raises(InputError, match="a manifest for each"):
        _ = Source(mixed).kind


def attributed(noise, folder, cells):
    rows = [
        row(n, save(folder / f"{n}.png", noise[n]), values={"modality": m, "anatomy": a})
        for n, (m, a) in enumerate(cells)
    ]
    path = write_manifest(folder / "m.csv", rows)
    return path, join([Source(path).open(folder / "caches", folder / "home")])


def test_metadata_become_attributes_and_cases_without_are_left_out(noise, tmp_path):
    cells = [("CT", "CHEST"), ("", ""), ("US", "BREAST; SKIN"), ("CT", "")]
    _, cohort = attributed(noise, tmp_path, cells)
    attributes, known = attributes_of(cohort, ("modality", "anatomy"))
    assert known.tolist() == [0, 2, 3]
    assert attributes.names == ("modality=CT", "modality=US", "anatomy=BREAST", "anatomy=CHEST", "anatomy=SKIN")
    assert attributes.values.astype(int).tolist() == [[1, 0, 0, 1, 0], [0, 1, 1, 0, 1], [1, 0, 0, 0, 0]]
    other = attributes_of(cohort.subset([0, 2]), ("modality", "anatomy"))[0]
    assert other.fingerprint(cohort) != attributes.fingerprint(cohort)


def test_columns_that_are_missing_or_say_nothing(noise, tmp_path):
    path, cohort = attributed(noise, tmp_path, [("CT", "CHEST"), ("CT", "")])
    for data in (Source(path).check_columns, cohort.columns):
        with pytest.raises(InputError, match="no column vendor"):
            data(["modality", "vendor"])
    with pytest.raises(InputError, match="modality=CT"):
        attributes_of(cohort, ("modality",))
    assert cohort.columns(["label", "case_id"]) == [{"label": "", "case_id": f"case-{n}"} for n in range(2)]


def test_a_cache_keeps_columns_that_name_nobody(noise, tmp_path):
    """Small numbers and DICOM's codes as they are; of other columns which cases share a value; no descriptions."""
    columns = {
        "modality": ["CT", "US"] * 15,
        "anatomy": ["CHEST", "BREAST; SKIN", "dr Smith"] * 10,
        "site": ["north", "south", ""] * 10,
        "age": [f"{20 + n}.5" for n in range(30)],
        "number": [str(4000 + n) for n in range(30)],
        "note": [f"seen by Smith {n}" for n in range(30)],
    }
    image = save(tmp_path / "0.png", noise[0])
    rows = [row(n, image, values={name: texts[n] for name, texts in columns.items()}) for n in range(30)]
    built = build_rows(rows, tmp_path / "cache", tmp_path / "home")
    text = (tmp_path / "cache" / "index.json").read_text()
    assert not [word for word in ("Smith", "north", "4001", "case-", "patient-") if word in text]
    full, kept = (join([store]) for store in (built, open_store(built.folder)))
    assert full.columns(list(columns)) == [{name: texts[n] for name, texts in columns.items()} for n in range(30)]
    for name in ("modality", "age"):
        assert kept.columns([name]) == full.columns([name])
    assert [texts["anatomy"] for texts in kept.columns(["anatomy"])[:2]] == ["CHEST", "BREAST;SKIN"]
    sites = [texts["site"] for texts in kept.columns(["site"])]
    assert sites[0] == sites[3] != sites[1] and sites[2] == ""
    with pytest.raises(InputError, match=r"has no column note, .* keeps no column that may name somebody"):
        kept.columns(["note"])
    with pytest.raises(InputError, match="no column number"):
        Source(built.folder).check_columns(["number"])
    attributes, known = attributes_of(kept, ("modality", "site"))
    other, same = attributes_of(full, ("modality", "site"))
    assert known.tolist() == same.tolist() and sorted(map(tuple, attributes.values.T)) == sorted(
        map(tuple, other.values.T)
    )


@pytest.fixture
def presentation(noise, tmp_path):
    rows = [row(n, save(tmp_path / f"{n}.png", noise[n])) for n in range(4)]
    cohort = join([build_rows(rows, tmp_path / "c", tmp_path / "home")])
    augmentation = PictureAugmentation(view_share=0.8, turn=True)
    return PicturePresentation(cohort, augmentation, measure_preprocessing(cohort, augmentation, 32), 32), rows


def test_plain_pictures_are_what_scoring_sees(presentation):
    shown, rows = presentation
    for case in range(4):
        np.testing.assert_allclose(shown.plain(case)[0], views(read_gray(rows[case].image), shown.preprocessing)[0])
    values = np.stack([shown.plain(case) for case in range(4)])
    assert abs(values.mean()) < 1e-4 and abs(values.std() - 1) < 1e-4
    turned = PicturePresentation(shown.cohort, shown.augmentation, replace(shown.preprocessing, angles=3), 32).plain(2)
    assert turned.shape == (3, 32, 32)
    np.testing.assert_array_equal(turned[0], shown.plain(2)[0])


@pytest.mark.parametrize("side, share, angles", [(32, 1.0, 1), (64, 0.5, 3), (224, 1.0, 1), (96, 0.5, 2)])
def test_pictures_of_any_size_are_shown_in_training_as_in_scoring(tmp_path, side, share, angles):
    """To the bit: 8 and 16 bits, color, small among large ones, larger than what a cache keeps."""
    draws, rows = np.random.default_rng(7), []
    sizes = [(40, 40), (512, 512), (600, 800), (128, 128), (1500, 1100)]
    for number, size in enumerate(sizes):
        Image.fromarray(draws.integers(0, 256, size).astype(np.uint8)).save(tmp_path / f"{number}.png")
    Image.fromarray(draws.integers(0, 60000, (300, 200)).astype(np.uint16)).save(tmp_path / "5.png")
    Image.fromarray(draws.integers(0, 256, (90, 70, 3)).astype(np.uint8)).save(tmp_path / "6.png")
    rows = [row(number, tmp_path / f"{number}.png") for number in range(7)]
    cohort = join([build_rows(rows, tmp_path / "c", tmp_path / "home")])
    recipe = PictureAugmentation(view_share=share)
    preprocessing = replace(measure_preprocessing(cohort, recipe, side), angles=angles)
    presentation = PicturePresentation(cohort, recipe, preprocessing, preprocessing.image_size)
    for case, one in enumerate(rows):
        np.testing.assert_array_equal(presentation.plain(case), views(read_gray(one.image), preprocessing))
    # What is prepared of a picture hangs on no other picture, and a model of before is shown what it was shown.
    alone = join([build_rows(rows[3:4], tmp_path / "alone", tmp_path / "home")])
    np.testing.assert_array_equal(gray_of(alone, 0, 0), gray_of(cohort, 3, 0))
    before = replace(preprocessing, stored_side=0)
    for one in rows:
        np.testing.assert_array_equal(views(read_gray(one.image), before), shown(square(read_gray(one.image)), before))


def stored(axes, flips, volume, path):
    """The same CT with its array's axes in another order and direction."""
    array = np.flip(volume.array.transpose([2 - axis for axis in axes[::-1]]), [2 - axis for axis in flips])
    turned = np.eye(4)
    turned[:3, :3] = volume.affine[:3, :3][:, axes]
    size = np.array(volume.array.shape[::-1])[list(axes)]
    turned[:3, 3] = volume.affine[:3, 3]
    for axis in flips:
        turned[:3, 3] += turned[:3, axis] * (size[axis] - 1)
        turned[:3, axis] *= -1
    write_volume(CTVolume(np.ascontiguousarray(array), turned, "x"), path)
    return path


def test_a_slice_is_the_same_however_its_volume_is_stored(tmp_path):
    """LPS, RAS and sagittal, for leaving out slices, training and scoring alike; slices are counted towards S."""
    draws = np.random.default_rng(0)
    affine = np.diag([0.8, 0.9, 2.0, 1.0])
    volume = CTVolume(draws.integers(-1300, 300, size=(20, 30, 40)).astype(np.int16), affine, "random")
    ways = {"lps": ((0, 1, 2), ()), "ras": ((0, 1, 2), (0, 1)), "sagittal": ((1, 2, 0), ()), "down": ((0, 1, 2), (2,))}
    expected = windowed(volume.array[6])
    card = SimpleNamespace(id="m", training_distances=[], preprocessing=PicturePreprocessing(32))
    for name, (axes, flips) in ways.items():
        path = stored(axes, flips, volume, tmp_path / f"{name}.nrrd")
        one = row(0, path, kind="slice", values={"volume_id": name, "slice_index": "6"})
        cohort = join([build_rows([one], tmp_path / name, tmp_path / "home")])
        np.testing.assert_array_equal(gray_of(cohort, 0, 0) * 255, square(expected.astype(np.float32)))
        scored = INPUT.prepare(one, card, ClinicalValues())
        np.testing.assert_array_equal(scored.region.gray * 255, expected)
        with ReadingProcess() as reader:
            _, (kept, *_), _ = read_slices(Volume(name, (one,)), reader)
        np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize("kind, count", [("one", 1), ("shifted", 2), ("pair", 2), ("multi-crop", 8)])
def test_views_are_drawn_by_seed_epoch_and_sample(presentation, kind, count):
    shown, _ = presentation
    assert kind in VIEWS
    first, padded = shown.views(kind, 2, seed=1, epoch=3, sample=2, number=0)
    again, _ = shown.views(kind, 2, seed=1, epoch=3, sample=2, number=0)
    other, _ = shown.views(kind, 2, seed=1, epoch=4, sample=2, number=0)
    assert len(first) == count and padded == 0.0
    for one, two, three in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, two)
        assert one.dtype == np.float32 and not np.array_equal(one, three)
    assert [len(image) for image in first] == [32] * min(count, 2) + [32] * max(0, count - 2)


def test_shifted_views_are_the_same_picture_a_little_apart(presentation):
    shown, _ = presentation
    near, far = [], []
    for sample in range(20):
        one, two = shown.views("shifted", 1, 0, 0, sample, 0)[0]
        near.append(np.corrcoef(one.ravel(), two.ravel())[0, 1])
        three = shown.views("one", 2, 0, 0, sample, 0)[0][0]
        far.append(np.corrcoef(one.ravel(), three.ravel())[0, 1])
    assert np.mean(near) > np.mean(np.abs(far)) + 0.3


def test_augmentation_that_changes_nothing_gives_the_plain_picture(presentation):
    shown, _ = presentation
    still = replace(shown.augmentation, shift_share=0.0, zoom=0.0, gain=0.0, flip=False, turn=False)
    calm = PicturePresentation(shown.cohort, still, shown.preprocessing, shown.side)
    np.testing.assert_allclose(calm.views("one", 3, 0, 5, 9, 0)[0][0], shown.plain(3)[0], atol=1e-6)
    np.testing.assert_allclose(calm.training_image(3, 0, 0, 5, 3)[0], shown.plain(3)[0], atol=1e-6)


def _keys(t):
    """The cubic convolution kernel with a = -1 (Keys, IEEE Transactions on Acoustics 1981;29:1153-1160, section II)."""
    t = abs(t)
    return t**3 - 2 * t**2 + 1 if t < 1 else -(t**3) + 5 * t**2 - 8 * t + 4 if t < 2 else 0.0


@pytest.mark.parametrize("finer", [1, 2])
def test_a_tilt_turns_the_picture_about_the_view_s_middle(finer):
    """Against the places that each pixel looks at, interpolated one by one: counterclockwise, as right angles are.

    Where the picture shrinks to half, a pixel is the mean of four places.
    """
    gray = np.random.default_rng(3).random((64, 64)).astype(np.float32)
    middle, angle, width = (30.0, 35.0), 0.7, 16 * finer
    light = _Light(middle, width, 16, turns=0, flip=False, gain=1.0, tilt=np.degrees(angle))
    fine = np.empty((width, width))
    for i in range(width):
        for j in range(width):
            down, right = i + 0.5 - width / 2, j + 0.5 - width / 2  # from the middle
            row = middle[0] + down * np.cos(angle) + right * np.sin(angle) - 0.5
            column = middle[1] + right * np.cos(angle) - down * np.sin(angle) - 0.5
            top, left = int(row) - 1, int(column) - 1
            down, right = (
                [_keys(place - first - n) for n in range(4)] for place, first in ((row, top), (column, left))
            )
            fine[i, j] = np.clip(down @ gray[top : top + 4, left : left + 4] @ right, gray.min(), gray.max())
    expected = fine.reshape(16, finer, 16, finer).mean(axis=(1, 3))
    np.testing.assert_allclose(light.of(gray), expected, atol=1e-4)
    if finer == 1:
        quarter = replace(light, tilt=90.0)
        np.testing.assert_allclose(quarter.of(gray), replace(light, tilt=0.0, turns=1).of(gray), atol=1e-4)


def test_every_sample_is_tilted_its_own_way(presentation):
    shown, _ = presentation
    still = replace(shown.augmentation, shift_share=0.0, zoom=0.0, gain=0.0, flip=False, turn=False, tilt=30.0)
    tilted = PicturePresentation(shown.cohort, still, shown.preprocessing, shown.side)
    one, two = (tilted.training_image(3, 0, 0, epoch, 3)[0] for epoch in (1, 2))
    assert not np.array_equal(one, two) and not np.array_equal(one, shown.plain(3)[0])
    first, second = tilted.views("shifted", 1, 0, 0, 0, 0)[0]
    np.testing.assert_array_equal(first, second)  # shifts alone differ


def test_wrong_settings_of_the_augmentation():
    for wrong in ({"view_share": 0.0}, {"tilt": 200.0}, {"crop_area": (0.5, 0.2)}, {"zoom": 1.0}, {"small_crops": -1}):
        with pytest.raises(UsageError):
            PictureAugmentation(**wrong)
    with pytest.raises(Exception, match="contradict"):
        PicturePreprocessing(std=0.0)
