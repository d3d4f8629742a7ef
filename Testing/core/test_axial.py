"""Axial slices of a volume however it is stored: their numbers and their place in the patient."""

import itertools

import numpy as np
import pytest
from MAEMCLib.errors import InputError
from MAEMCLib.images.ct import CTVolume, slice_through

STORED = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1.0, -1.0), repeat=3)
]


def volume(order, signs):
    """5 x 6 x 7 voxels of 1, 2 and 3 mm whose array runs along the axes of the patient in any order and direction."""
    array = np.random.default_rng(0).permutation(210).reshape(5, 6, 7).astype(np.int16)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(order)] * signs * (1.0, 2.0, 3.0)
    affine[:3, 3] = (11.0, -7.0, 3.0)
    return CTVolume(array, affine)


@pytest.mark.parametrize(("order", "signs"), STORED)
def test_a_pixel_lies_where_its_voxel_does(order, signs):
    made = volume(order, signs)
    view, affine = made.oriented.array, made.oriented.affine
    back = np.linalg.inv(made.affine)
    for index in np.ndindex(view.shape):
        place = affine @ [index[2], index[1], index[0], 1.0]
        i, j, k = np.rint((back @ place)[:3]).astype(int)
        assert view[index] == made.array[k, j, i]
    assert np.argmax(np.abs(affine[2, :3])) == 2 and affine[2, 2] > 0, "slices rise towards S"


def test_the_slice_through_a_point():
    made = volume((0, 1, 2), (1.0, 1.0, -1.0))
    heights = (made.oriented.affine @ np.array([[0, 0, k, 1] for k in range(5)]).T)[2]
    assert [slice_through(made, (0, 0, height + 1.4)) for height in heights] == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="no slice there"):
        slice_through(made, (0, 0, heights[-1] + 1.6))


@pytest.mark.parametrize(("order", "signs"), STORED)
def test_slices_without_an_image_keep_their_place(order, signs):
    """Where they run along another axis, each axial slice lacks a part."""
    made = volume(order, signs)
    gappy = CTVolume(made.array, made.affine, absent=(1,)).oriented
    lost = np.isin(gappy.array, made.array[1]).any(axis=(1, 2))
    assert sorted(gappy.absent) == np.flatnonzero(lost).tolist()
