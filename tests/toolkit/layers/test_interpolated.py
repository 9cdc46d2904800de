"""Slices that were filled by interpolation are told from those that were taken."""

import keras
import numpy as np
import pytest

from toolkit.data.missing_slices import fill_missing
from toolkit.layers.interpolated import Interpolated

RNG = np.random.default_rng(1)


def marks(slices):
    """`(batch, slices)`."""
    return keras.ops.convert_to_numpy(Interpolated()(slices)).reshape(slices.shape[:2])


@pytest.mark.parametrize("missing", [[1], [1, 2], [2, 3, 4], [1, 4], []])
def test_what_fill_missing_filled_is_marked_and_nothing_else(missing):
    slices = RNG.random((6, 16, 16, 2)).astype(np.float32)
    chosen = np.isin(np.arange(6), missing)
    np.testing.assert_array_equal(marks(fill_missing(slices, chosen)[None])[0], chosen)


def test_noise_of_a_hundredth_on_all_slices_makes_an_interpolated_one_an_ordinary_one():
    slices = fill_missing(RNG.random((3, 32, 32, 1)).astype(np.float32), np.array([False, True, False]))
    assert marks(slices[None])[0, 1] == 1
    noisy = slices + RNG.normal(0, 0.01, slices.shape).astype(np.float32)
    assert not marks(noisy[None]).any()


def test_copies_of_one_slice_are_not_interpolated():
    assert not marks(np.repeat(RNG.random((2, 1, 16, 16, 1)).astype(np.float32), 4, axis=1)).any()


@pytest.mark.parametrize("n_slices", [1, 2])
def test_in_a_window_of_one_or_two_none_lies_between_others(n_slices):
    slices = RNG.random((3, n_slices, 16, 16, 1)).astype(np.float32)
    assert marks(slices).tolist() == [[0] * n_slices] * 3


def test_each_window_is_judged_by_itself():
    slices = RNG.random((2, 3, 16, 16, 1)).astype(np.float32)
    slices[1, 1] = (slices[1, 0] + slices[1, 2]) / 2
    assert marks(slices).tolist() == [[0, 0, 0], [0, 1, 0]]


def test_shape_before_it_is_known_how_many_windows_there_are():
    slices = keras.Input((4, 32, 32, 3))
    assert Interpolated()(slices).shape == (None, 1, 1, 1)


def test_nothing_learns_through_it():
    tf = pytest.importorskip("tensorflow")
    slices = tf.constant(RNG.random((1, 3, 16, 16, 1)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(slices)
        read = tf.reduce_sum(Interpolated()(slices))
    assert tape.gradient(read, slices) is None
