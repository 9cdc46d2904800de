"""Moments of cells: worked by hand, and a factor on the picture is a sum."""

import keras
import numpy as np

from toolkit.layers.cell_moments import FLOOR, CellMoments


def moments(images):
    return keras.ops.convert_to_numpy(CellMoments(4)(images))


def test_a_cell_half_dark_half_bright():
    images = np.zeros((1, 4, 8, 1), np.float32)
    images[:, :, 2:4] = 1.0  # the first cell is half 0, half 1: mean 0.5, spread 0.5
    expected = np.log([0.5 + FLOOR, np.hypot(0.5, FLOOR)])
    np.testing.assert_allclose(moments(images)[0, 0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(moments(images)[0, 0, 1], np.log([FLOOR, FLOOR]), rtol=1e-5)


def test_a_factor_is_a_sum_in_the_head_alike():
    images = np.random.default_rng(0).uniform(0.5, 1.0, (1, 8, 8, 2)).astype(np.float32)
    difference = moments(1.2 * images) - moments(images)
    assert difference.shape == (1, 2, 2, 4)
    np.testing.assert_allclose(difference[..., :2], np.log(1.2), atol=0.02)
