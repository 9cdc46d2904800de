"""Missing slices: found where there is a picture on either side, filled as SciPy interpolates."""

import numpy as np
import pytest
from scipy.interpolate import interp1d

from toolkit.data.missing_slices import fill_missing, find_missing

IMAGES = np.random.default_rng(2).random((7, 4, 5, 2)).astype(np.float32)


def test_empty_slices_inside_are_missing_and_those_at_the_ends_are_air():
    images = IMAGES.copy()
    images[[0, 3, 4, 6]] = 0
    np.testing.assert_array_equal(find_missing(images), [False, False, False, True, True, False, False])


def test_a_slice_of_one_value_other_than_zero_is_missing_too():
    images = IMAGES.copy()
    images[2] = 7
    assert find_missing(images).tolist() == [False, False, True, False, False, False, False]


@pytest.mark.parametrize("images", [IMAGES, np.zeros_like(IMAGES)])
def test_nothing_is_missing_where_all_is_there_or_all_is_air(images):
    assert not find_missing(images).any()


def test_filled_slices_are_those_of_linear_interpolation():
    missing = np.array([False, True, False, True, True, True, False])
    there = np.flatnonzero(~missing)
    expected = interp1d(there, IMAGES[there], axis=0)(np.arange(7))
    np.testing.assert_allclose(fill_missing(IMAGES, missing), expected, atol=1e-6)


def test_at_the_ends_the_nearest_slice_is_copied_and_nothing_else_changes():
    filled = fill_missing(IMAGES, np.array([True, True, False, False, False, False, True]))
    np.testing.assert_array_equal(filled[[0, 1, 6]], IMAGES[[2, 2, 5]])
    np.testing.assert_array_equal(filled[2:6], IMAGES[2:6])


def test_with_nothing_there_it_says_so():
    with pytest.raises(ValueError, match="every slice is missing"):
        fill_missing(IMAGES, np.ones(7, bool))
