"""Steps between slices: worked by hand, and drift is told from anatomy."""

import keras
import numpy as np
import pytest

from toolkit.layers.cell_moments import FLOOR
from toolkit.layers.slice_steps import SCALES, SliceSteps

CELL = 8


def steps(slices, both=True):
    return keras.ops.convert_to_numpy(SliceSteps(CELL, both)(slices))


def test_a_step_worked_by_hand():
    slices = np.full((1, 3, 8, 8, 1), 0.45, np.float32)
    slices[:, 2] = 0.95
    step = np.log((0.95 + FLOOR) / (0.45 + FLOOR))
    small, large = (np.tanh(step / scale) for scale in SCALES)
    # Of each scale the step from the slice before, then the one to the slice behind.
    expected = [[0, 0, 0, 0], [0, small, 0, large], [small, 0, large, 0]]
    np.testing.assert_allclose(steps(slices).reshape(3, 4), expected, atol=1e-6)


def test_each_cell_and_modality_has_its_own():
    slices = np.full((2, 2, 16, 8, 3), 0.5, np.float32)
    slices[1, 1, 8:, :, 1] = 0.6
    read = steps(slices, both=False).reshape(2, 2, 2, 1, len(SCALES), 3)
    assert np.argwhere(np.abs(read).sum(axis=4) > 1e-6).tolist() == [[1, 1, 1, 0, 1]]


def test_anatomy_that_changes_in_a_few_places_counts_little():
    slices = np.full((1, 2, 8, 8, 1), 0.5, np.float32)
    slices[:, 1, :4, :4] = 0.0  # a quarter of the cell is another tissue
    slices[:, 1, 4:, :] *= 1.1
    slices[:, 1, :4, 4:] *= 1.1
    bent = steps(slices, both=False)[1].ravel()
    drift = np.log((0.55 + FLOOR) / (0.5 + FLOOR))
    plain = 0.75 * drift + 0.25 * np.log(FLOOR / (0.5 + FLOOR))
    # As steps of brightness the plain mean says much darker; ours, on the small scale, says brighter.
    assert plain < -0.5
    assert bent[0] == pytest.approx(0.75 * np.tanh(drift / SCALES[0]) - 0.25, abs=1e-5)
    assert bent[0] > 0


def test_shapes_are_known_before_there_are_numbers():
    slices = keras.Input((4, 16, 32, 3))
    assert SliceSteps(CELL, both=True)(slices).shape == (None, 2, 4, 12)
    assert SliceSteps(CELL, both=False)(slices).shape == (None, 2, 4, 6)
