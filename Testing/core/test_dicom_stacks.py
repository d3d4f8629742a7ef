"""Several stacks under one SeriesInstanceUID: told apart, listed, chosen; never one volume of two."""

import shutil

import numpy as np
import pytest
from dicom_files import rotation, write_series
from MAEMCLib.errors import InputError
from MAEMCLib.images.dicom.series import read_folder
from MAEMCLib.images.files import read_volume

ONE = {"study": "1.2.3.1", "frame": "1.2.3.2"}
UID = "1.2.3.9"


def with_tags(**tags):
    return lambda item, k: [setattr(item, name, value) for name, value in tags.items()]


SECOND = {  # what makes the second stack another one
    "patient": ({"patient": "1"}, "patient B"),
    "study": ({"study": "1.2.3.7"}, "study B"),
    "frame of reference": ({"frame": "1.2.3.8"}, "frame of reference B"),
    "patient end to end": ({"patient": "1", "start": (-40, 21.5, -288.75)}, "patient B"),
    "acquisition": ({"change": with_tags(AcquisitionNumber=2)}, "acquisition 2"),
    "acquisition, half overlapping": (
        {"change": with_tags(AcquisitionNumber=2), "start": (-40, 21.5, -295)},
        "acquisition 2",
    ),
    "acquisition, between": ({"change": with_tags(AcquisitionNumber=2), "start": (-40, 21.5, -299.375)}, "acquisition"),
    "phase": ({"change": with_tags(TemporalPositionIdentifier=4)}, "phase 4"),
    "kernel": ({"change": with_tags(ConvolutionKernel="Br40 SMITH")}, "kernel B"),
    "thickness": ({"change": with_tags(SliceThickness=3), "step": (0, 0, 3.0)}, "slice thickness 3"),
    "image type": ({"change": with_tags(ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "MONO70"])}, "image type B"),
    "pixel spacing": ({"spacing": (0.9, 0.9)}, "pixels of 0.9 mm"),
    "direction": ({"axes": rotation()}, "oblique"),
}


@pytest.mark.parametrize("what", SECOND)
def test_two_stacks_are_listed_and_chosen(tmp_path, what):
    second, words = SECOND[what]
    _, first_hu, first_affine = write_series(tmp_path, UID, **ONE)
    _, second_hu, second_affine = write_series(tmp_path, UID, seed=1, **{**ONE, **second})
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path)
    text = str(caught.value)
    assert f"{UID}#1" in text and f"{UID}#2" in text and words in text and "SMITH" not in text
    with pytest.raises(InputError, match="several stacks"):
        read_volume(tmp_path, UID)
    found = [read_volume(tmp_path, f"{UID}#{number}") for number in (1, 2)]
    if not np.array_equal(found[0].array, first_hu):  # which is first is stable, whichever it is
        found.reverse()
    np.testing.assert_array_equal(found[0].array, first_hu)
    np.testing.assert_array_equal(found[1].array, second_hu)
    np.testing.assert_allclose(found[0].affine, first_affine, atol=1e-4)
    np.testing.assert_allclose(found[1].affine, second_affine, atol=1e-4)
    one = next(path for path in tmp_path.iterdir() if "_1_" in path.name)
    np.testing.assert_array_equal(read_volume(one).array, second_hu)
    with pytest.raises(InputError, match="no series"):
        read_volume(tmp_path, f"{UID}#3")


def test_numbers_do_not_depend_on_the_names_of_files(tmp_path):
    write_series(tmp_path / "a", UID, **ONE, change=with_tags(AcquisitionNumber=2))
    write_series(tmp_path / "a", UID, **ONE, seed=1)
    (tmp_path / "b").mkdir()
    for number, path in enumerate(sorted((tmp_path / "a").iterdir(), reverse=True)):
        shutil.copy(path, tmp_path / "b" / f"{number:03d}")
    for number in (1, 2):
        first, second = (read_volume(tmp_path / name, f"{UID}#{number}").array for name in "ab")
        np.testing.assert_array_equal(first, second)
    assert "acquisition 1" in str(read_folder(tmp_path / "a").stacks[0])


def test_the_only_usable_stack_needs_no_number(tmp_path):
    _, hu, _ = write_series(tmp_path, UID, **ONE)
    write_series(
        tmp_path, UID, seed=1, **ONE, change=with_tags(ImageType=["DERIVED", "SECONDARY", "MIP"], AcquisitionNumber=2)
    )
    for name in (None, UID, f"{UID}#1"):
        np.testing.assert_array_equal(read_volume(tmp_path, name).array, hu)
    with pytest.raises(InputError, match="projections"):
        read_volume(tmp_path, f"{UID}#2")


def test_a_scan_in_steps_is_one_volume(tmp_path):
    """Every rotation of an axial scan has an AcquisitionNumber of its own; they lie one after the other."""
    _, hu, _ = write_series(tmp_path, change=lambda item, k: setattr(item, "AcquisitionNumber", k // 2))
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


def test_two_slice_spacings_are_said_and_can_be_chosen(tmp_path):
    steps = [1.0] * 12 + [2.5] * 12
    places = [(-40, 21.5, z) for z in np.concatenate([[0], np.cumsum(steps)])]
    uid, hu, _ = write_series(tmp_path, slices=25, positions=places, step=(0, 0, 1))
    with pytest.raises(InputError, match=r"(?s)13 slices; step 1 mm.*12 slices; step 2.5 mm") as caught:
        read_volume(tmp_path)
    assert "missing" not in str(caught.value)
    np.testing.assert_array_equal(read_volume(tmp_path, f"{uid}#2").array, hu[13:])


@pytest.mark.parametrize(
    ("heights", "words"),
    [
        (np.cumsum([1.0] * 20 + [1.09] * 20), "step 1.09 mm"),
        (np.arange(40) * 1.0 + 0.001 * np.arange(40) ** 2, "unevenly spaced"),
        (np.cumsum(np.tile([1.0, 1.3], 20)), "unevenly spaced"),
    ],
    ids=["two steps", "growing", "alternating"],
)
def test_drifting_slices_are_refused(tmp_path, heights, words):
    places = [(-40, 21.5, z) for z in heights]
    write_series(tmp_path, slices=40, positions=places, step=(0, 0, 1))
    with pytest.raises(InputError, match=words):
        read_volume(tmp_path)


def test_slices_that_bend_sideways_are_refused(tmp_path):
    places = [(-40 + 0.002 * k**2, 21.5, 1.0 * k) for k in range(40)]
    write_series(tmp_path, slices=40, positions=places, step=(0, 0, 1))
    with pytest.raises(InputError, match="off its place"):
        read_volume(tmp_path)


def test_rounding_of_positions_is_no_drift(tmp_path):
    places = [(-40, 21.5, round(0.625 * k, 1)) for k in range(60)]
    _, hu, _ = write_series(tmp_path, slices=60, positions=places, step=(0, 0, 0.625))
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, hu)
    assert not any(remark.amber for remark in volume.remarks)
