"""A walk worked by hand, against least squares, and what looks at later slices and what does not."""

import keras
import numpy as np
import pytest
from scipy.special import logit

from toolkit.layers.slice_walk import KEEP, TRUST, SliceWalk

RNG = np.random.default_rng(1)
ALL = 50.0  # a gate that is open


def walk(gates, known, n_slices, both=True):
    layer = SliceWalk(n_slices, both)
    return keras.ops.convert_to_numpy(layer([gates.astype(np.float32), known.astype(np.float32)]))


def gates_of(n, trust, added, keep):
    columns = [logit(trust) - TRUST if trust < 1 else ALL, added, *[logit(keep) - KEEP if keep < 1 else ALL] * 2]
    return np.tile(columns, (n, 1))


def test_steps_add_up_window_by_window():
    steps = np.array([[0, 9], [1, 9], [2, 9], [0, 9], [4, 9], [8, 9]])  # two windows of three; what else is known
    walked = walk(gates_of(6, trust=1, added=0, keep=1), steps, 3)
    before, behind = walked.T
    assert before.tolist() == [0, 1, 3, 0, 4, 12]
    assert behind.tolist() == [3, 2, 0, 12, 8, 0]


def test_what_is_trusted_added_and_kept():
    walked = walk(gates_of(3, trust=0.25, added=1.0, keep=0.5), np.array([[0], [4], [8]]), 3)
    # Steps become 1, 2, 3.
    np.testing.assert_allclose(walked, [[1, 2 + 0.5 * 3], [0.5 + 2, 3], [0.5 * 2.5 + 3, 0]], rtol=1e-5)


def test_of_steps_with_errors_it_gives_what_least_squares_does():
    """Drift x_n of spread 1 and steps with an error of variance 1 / l: x minimises |x|^2 + l |Dx - s|^2."""
    n, weight = 200, 12.0
    steps = RNG.normal(0, 1, n)
    difference = np.diff(np.eye(n), axis=0)
    exact = np.linalg.solve(np.eye(n) + weight * difference.T @ difference, weight * difference.T @ steps[1:])
    # The decaying solution of r + 1 / r = 2 + 1 / l, and the size of its Green's function.
    half = 1 + 1 / (2 * weight)
    keep = half - np.sqrt(half**2 - 1)
    before, behind = walk(gates_of(n, trust=1, added=0, keep=keep), steps[:, None], n).T
    ours = (1 - keep) / (1 / keep - keep) * (before - behind)
    np.testing.assert_allclose(ours[50:-50], exact[50:-50], atol=1e-4)


@pytest.mark.parametrize(("both", "moved"), [(False, [False, True, True]), (True, [True, True, True])])
def test_only_both_ways_know_of_slices_behind(both, moved):
    gates = np.zeros((6, 3 + both))
    steps = RNG.normal(0, 1, (6, 1))
    other = steps.copy()
    other[1] += 1
    changed = np.abs(walk(gates, other, 3, both) - walk(gates, steps, 3, both)).max(axis=1) > 0
    assert changed[:3].tolist() == moved
    assert not changed[3:].any()


def test_shapes_are_known_before_there_are_numbers():
    known = keras.Input((30,))
    assert SliceWalk(4, both=True)([keras.Input((12,)), known]).shape == (None, 6)
    assert SliceWalk(4, both=False)([keras.Input((9,)), known]).shape == (None, 3)
