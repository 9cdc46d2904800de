"""A walk worked by hand; what looks at later slices and what does not."""

import keras
import numpy as np
import pytest

from toolkit.layers.slice_walk import SliceWalk

STEPS = np.array([[1, 10], [2, 20], [4, 30], [0, 0], [3, 1], [5, 1]], np.float32)  # two windows of three slices


def walk(centred, steps=STEPS):
    return keras.ops.convert_to_numpy(SliceWalk(3, centred)(steps))


def test_steps_add_up_window_by_window():
    levels = walk(centred=False)
    assert levels.shape == (6, 1, 1, 2)
    assert levels.reshape(6, 2).tolist() == [[1, 10], [3, 30], [7, 60], [0, 0], [3, 1], [8, 2]]


def test_centred_levels_have_mean_zero():
    levels, plain = (walk(centred).reshape(2, 3, 2) for centred in (True, False))
    np.testing.assert_allclose(levels.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.diff(levels, axis=1), np.diff(plain, axis=1), rtol=1e-6)


@pytest.mark.parametrize(("centred", "moved"), [(False, [False, True, True]), (True, [True, True, True])])
def test_only_centred_levels_know_of_slices_behind(centred, moved):
    other = STEPS.copy()
    other[1] += 1
    changed = np.abs(walk(centred, other) - walk(centred)).max(axis=(1, 2, 3)) > 0
    assert changed[:3].tolist() == moved
    assert not changed[3:].any()
