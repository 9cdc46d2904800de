"""Steps between slices: worked by hand, and drift is told from anatomy."""

import keras
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from toolkit.layers.cell_moments import FLOOR
from toolkit.layers.slice_steps import GROUPS, SCALES, SliceSteps

CELL = 8
RNG = np.random.default_rng(1)


def steps(slices, both=True):
    """`(batch, slices, rows, columns, sides, groups, modalities)`."""
    batch, n_slices, _, _, modalities = slices.shape
    read = keras.ops.convert_to_numpy(SliceSteps(CELL, both)(slices))
    return read.reshape(batch, n_slices, *read.shape[1:3], 1 + both, GROUPS, modalities)


def test_a_slice_that_is_brighter_everywhere_steps_up_from_the_one_before_and_the_one_behind_down_to_it():
    slices = np.full((1, 3, 8, 8, 1), 0.45, np.float32)
    slices[:, 2] = 0.95
    read = steps(slices)[0, :, 0, 0, :, 0, 0]
    step = np.log((0.95 + FLOOR) / (0.45 + FLOOR))
    # Of each slice the step from the slice before, then the one to the slice behind.
    np.testing.assert_allclose(read, [[0, 0], [0, step], [step, 0]], atol=1e-4)


def test_each_modality_has_its_own_step_in_all_cells_alike():
    slices = np.full((2, 2, 16, 8, 3), 0.5, np.float32)
    slices[1, 1, ..., 1] = 0.6
    read = steps(slices, both=False)[:, :, :, :, 0, 0]
    found = np.argwhere(np.abs(read) > 1e-3)
    assert found.tolist() == [[1, 1, 0, 0, 1], [1, 1, 1, 0, 1]]


def changed_anatomy():
    """Uneven tissue, drift by a tenth, and a third of the head another tissue."""
    slices = RNG.uniform(0.4, 0.6, (1, 2, 48, 48, 1)).astype(np.float32)
    slices[:, 1] = slices[:, 0] * 1.1
    slices[:, 1, :16] = 0.25
    return slices


def test_anatomy_that_changes_has_no_say():
    slices = changed_anatomy()
    drift = np.log((0.55 + FLOOR) / (0.5 + FLOOR))
    blocks = slices[0, ..., 0].reshape(2, 12, 4, 12, 4).mean(axis=(2, 4))
    plain = np.diff(np.log(blocks + FLOOR), axis=0).mean()
    assert plain < -0.1
    assert steps(slices, both=False)[0, 1, 0, 0, 0, 0, 0] == pytest.approx(drift, abs=5e-3)


def test_the_step_is_where_the_robust_cost_is_least():
    """Geman and McClure's cost d^2 / (s^2 + d^2), whose weights are the layer's, minimised by SciPy."""
    slices = changed_anatomy()
    blocks = slices[0, ..., 0].reshape(2, 12, 4, 12, 4).mean(axis=(2, 4))
    differences = np.diff(np.log(blocks + FLOOR), axis=0).ravel()

    def cost(step):
        squares = (differences - step) ** 2
        return (squares / (SCALES[-1] ** 2 + squares)).sum()

    least = minimize_scalar(cost, bounds=(0.0, 0.2), method="bounded").x
    assert steps(slices, both=False)[0, 1, 0, 0, 0, 0, 0] == pytest.approx(least, abs=2e-3)


def test_it_says_how_much_agrees_and_how_much_is_tissue():
    slices = changed_anatomy()
    slices[..., 24:, :] = 0.0  # half is air
    read = steps(slices, both=False)[0, 1, ..., 0, :, 0]
    _, agreement, tissue, difference, agreeing = np.moveaxis(read, -1, 0)
    assert tissue == pytest.approx(np.full((6, 6), 0.5), abs=0.05)
    assert agreement == pytest.approx(np.full((6, 6), 2 / 3), abs=0.08)
    # The upper two rows of cells are the changed tissue, the right half is air.
    assert agreeing[2:, :3].min() > 0.8
    assert max(agreeing[:2].max(), agreeing[:, 3:].max()) < 0.1
    assert difference[:2, :3].max() < -0.8
    assert np.abs(difference[2:]).max() < 0.2


@pytest.mark.parametrize("both", [True, False])
def test_a_lone_slice_has_no_steps(both):
    read = steps(RNG.random((2, 1, 16, 8, 3)).astype(np.float32), both)
    assert read.shape == (2, 1, 2, 1, 1 + both, GROUPS, 3)
    assert not read.any()


def test_shapes_are_known_before_there_are_numbers():
    slices = keras.Input((4, 16, 32, 3))
    assert SliceSteps(CELL, both=True)(slices).shape == (None, 2, 4, 30)
    assert SliceSteps(CELL, both=False)(slices).shape == (None, 2, 4, 15)
