"""Shrinking and blending: worked by hand, and what a slice knows of others."""

import keras
import numpy as np
import pytest

from toolkit.layers.slice_blend import SliceBlend

RNG = np.random.default_rng(1)
SLICES = RNG.normal(0, 1, (6, 2, 2, 3)).astype(np.float32)  # two windows of three
WIDE = 20.0  # its tanh is 1


def blend(gates, neighbours=2, slices=SLICES, added=0.0):
    spread = np.repeat(np.asarray([added, *gates], np.float32), 3) * np.ones((6, 2, 2, 1), np.float32)
    return keras.ops.convert_to_numpy(SliceBlend(3, neighbours)([spread, slices]))


def test_zeros_add_nothing():
    np.testing.assert_array_equal(blend([0, 0, 0]), 0)


def test_a_term_is_added_as_it_is():
    np.testing.assert_allclose(blend([0.5, 0.3, 0.1], added=3.0), 3 + blend([0.5, 0.3, 0.1]), atol=1e-6)


@pytest.mark.parametrize("neighbours", [0, 1, 2])
@pytest.mark.parametrize("wanted", [(0, 3), (1, 2), (1, 3)])
def test_of_slices_that_are_wanted_it_says_the_same(neighbours, wanted):
    terms = RNG.normal(0, 1, (2, 3, 2, 2, 3 * (2 + neighbours))).astype(np.float32)
    layer, (first, behind) = SliceBlend(3, neighbours), wanted
    whole = layer([terms.reshape(6, 2, 2, -1), SLICES])
    some = layer([terms[:, first:behind].reshape(-1, 2, 2, terms.shape[-1]), SLICES], wanted=wanted)
    expected = np.reshape(whole, (2, 3, 2, 2, 3))[:, first:behind].reshape(-1, 2, 2, 3)
    np.testing.assert_allclose(some, expected, atol=1e-6)


def test_a_slice_is_shrunk_by_its_own_gate():
    np.testing.assert_allclose(SLICES + blend([np.arctanh(-0.5), 0, 0]), 0.5 * SLICES, atol=1e-6)


@pytest.mark.parametrize(("gates", "sources"), [([0, WIDE, 0], [0, 0, 1, 3, 3, 4]), ([0, 0, WIDE], [1, 2, 2, 4, 5, 5])])
def test_a_wide_gate_puts_a_neighbour_of_the_same_window_in_its_place(gates, sources):
    np.testing.assert_allclose(SLICES + blend(gates), SLICES[sources], atol=1e-5)


def test_with_all_gates_at_a_third_the_inner_slice_is_the_mean_of_three():
    third = np.arctanh(1 / 3)
    np.testing.assert_allclose((SLICES + blend([0, third, third]))[1], SLICES[:3].mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_only_as_many_neighbours_as_asked_for_have_a_say(neighbours):
    other = SLICES.copy()
    other[1] += 1
    gates = [0.5, 0.3, 0.1][: 1 + neighbours]
    moved = np.abs(blend(gates, neighbours, other) - blend(gates, neighbours)).max(axis=(1, 2, 3)) > 1e-6
    assert moved.tolist() == [neighbours > 1, True, neighbours > 0, False, False, False]


def test_shapes_are_known_before_there_are_numbers():
    assert SliceBlend(4, 2)([keras.Input((8, 8, 12)), keras.Input((8, 8, 3))]).shape == (None, 8, 8, 3)
