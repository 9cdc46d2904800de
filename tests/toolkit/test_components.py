"""What touches is one lesion, be it with a corner."""

import numpy as np
import pytest
from scipy import ndimage

from toolkit.components import bounding_box, components


def test_pixels_that_touch_with_a_corner_are_one_component():
    plane = np.array([[1, 0, 0, 1], [0, 1, 0, 1]], bool)
    labels, sizes = components(plane)
    assert labels.shape == (1, 2, 4)
    assert sizes.tolist() == [4, 2, 2]


@pytest.mark.parametrize("seed", range(5))
def test_components_are_those_of_scipy(seed):
    mask = np.random.default_rng(seed).random((4, 12, 10)) < 0.15
    expected, n = ndimage.label(mask, np.ones((3, 3, 3)))
    labels, sizes = components(mask)
    assert sorted(sizes[1:]) == sorted(np.bincount(expected.ravel())[1:])
    # The same parts, whatever their numbers.
    assert len(np.unique(np.stack([labels, expected])[:, mask], axis=1).T) == n == len(sizes) - 1


def test_an_empty_mask_has_none():
    assert components(np.zeros((2, 3, 3), bool))[1].tolist() == [18]


def test_the_box_holds_all_of_a_mask_and_no_more():
    mask = np.zeros((4, 9, 9), bool)
    mask[1, 2, 7] = mask[3, 5, 4] = True
    assert bounding_box(mask) == (slice(1, 4), slice(2, 6), slice(4, 8))
    assert mask[bounding_box(np.zeros_like(mask))].size == 0
