"""Damage: each kind does what its name says, by an independent account of it."""

import cv2
import numpy as np
import pytest
from scipy import stats

from toolkit.config import DegradationRecipe
from toolkit.transforms.degradation import degrade, doubled, drift_factors, ghosted, halved, rician

NOTHING = {"noise": 0, "bias_field": 0, "drift": 0, "ghosting": 0, "blur": False, "dropped": False, "probability": 1}
CLEAN = np.random.default_rng(0).uniform(0.2, 0.8, (5, 16, 16, 2)).astype(np.float32)


def rng(seed=1):
    return np.random.default_rng(seed)


def damaged(**kinds):
    return degrade(rng(), DegradationRecipe(**{**NOTHING, **kinds}), CLEAN).slices


def test_what_is_evened_has_suffered_all_but_bias_field_and_drift():
    uneven = {"bias_field": 0.3, "drift": 0.3}
    damage = degrade(rng(), DegradationRecipe(**{**NOTHING, **uneven}), CLEAN)
    np.testing.assert_allclose(damage.evened, CLEAN, rtol=1e-5)
    assert np.abs(damage.slices - CLEAN).max() > 0.05
    damage = degrade(rng(), DegradationRecipe(**{**NOTHING, **uneven, "ghosting": 0.2}), CLEAN)
    assert np.abs(damage.evened - CLEAN).max() > 0.01


def test_slices_that_are_filled_are_as_uneven_as_what_fills_them():
    kinds = {"drift": 0.3, "dropped": True}
    damage = degrade(rng(2), DegradationRecipe(**{**NOTHING, **kinds}), np.ones_like(CLEAN))
    np.testing.assert_allclose(damage.evened, 1, rtol=1e-5)
    assert np.ptp(damage.unevenness) > 0.05


def test_with_everything_off_nothing_changes():
    np.testing.assert_array_equal(damaged(), CLEAN)
    np.testing.assert_array_equal(degrade(rng(), DegradationRecipe(probability=0, noise=0), CLEAN).slices, CLEAN)


@pytest.mark.parametrize("signal", [0.0, 0.1, 0.5])
def test_noise_has_the_rice_distribution(signal):
    sample = rician(rng(), np.full((1, 100, 100, 1), signal, np.float32), 0.1).ravel()
    assert stats.kstest(sample, stats.rice(signal / 0.1, scale=0.1).cdf).pvalue > 0.01


def test_one_window_in_four_has_no_noise_and_the_others_any_level_up_to_the_largest():
    recipe = DegradationRecipe(**{**NOTHING, "noise": 0.2, "probability": 0})
    small = np.full((3, 16, 16, 1), 0.7, np.float32)
    levels = np.array([(degrade(rng(seed), recipe, small).slices - small).std() for seed in range(400)])
    assert stats.binomtest(int((levels == 0).sum()), 400, 0.25).pvalue > 0.01
    assert stats.kstest(levels[levels > 0], stats.uniform(0, 0.2).cdf).pvalue > 0.01


def test_drift_is_one_factor_a_slice_within_its_range():
    ratio = damaged(drift=0.3) / CLEAN
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1, :1], ratio.shape), rtol=1e-5)
    assert np.ptp(ratio[:, 0, 0, 0]) > 0.02
    assert np.abs(ratio - 1).max() <= 0.3


def test_drift_comes_both_slice_by_slice_and_smooth():
    roughness = [np.abs(np.diff(f, 2)).mean() / np.ptp(f) for f in (drift_factors(rng(s), 0.3, 12) for s in range(40))]
    assert min(roughness) < 0.15
    assert max(roughness) > 0.4


def test_a_bias_field_is_smooth_and_the_same_in_every_slice():
    ratio = damaged(bias_field=0.3) / CLEAN
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1, ..., :1], ratio.shape), rtol=1e-5)
    assert np.abs(np.diff(ratio[0, :, :, 0], axis=0)).max() < 0.1
    assert np.ptp(ratio) > 0.02


def test_ghosts_of_a_point_lie_a_part_of_the_field_of_view_away():
    point = np.zeros((1, 12, 12, 1), np.float32)
    point[0, 6, 6] = 1
    image = ghosted(point, 0.2, 3, axis=1)[0, ..., 0]
    assert {(int(r), int(c)): round(float(image[r, c]), 6) for r, c in np.argwhere(image)} == {
        (2, 6): 0.1,
        (6, 6): 0.8,
        (10, 6): 0.1,
    }


def test_half_the_resolution_is_opencvs_area_mean_and_its_corners_stay():
    small = halved(CLEAN)
    np.testing.assert_allclose(small[0], cv2.resize(CLEAN[0], (8, 8), interpolation=cv2.INTER_AREA), atol=1e-6)
    ramp = np.broadcast_to(np.arange(16, dtype=np.float32)[None, :, None, None], (1, 16, 16, 1))
    # OpenCV's cubic bends a ramp by 3/32 of a pixel; corners moved by half a pixel would show as 0.5.
    np.testing.assert_allclose(doubled(halved(ramp))[0, 4:-4, 0, 0], np.arange(4, 12), atol=0.1)


def test_what_is_dropped_lies_between_neighbours_and_the_ends_stay():
    changed = [i for i in range(5) if not np.array_equal(damaged(dropped=True)[i], CLEAN[i])]
    draws = [degrade(rng(s), DegradationRecipe(**{**NOTHING, "dropped": True}), CLEAN).slices for s in range(20)]
    assert all(np.array_equal(d[[0, 4]], CLEAN[[0, 4]]) for d in draws)
    assert any(not np.array_equal(d, CLEAN) for d in draws)
    assert set(changed) <= {1, 2, 3}


def test_all_kinds_together_stay_in_range_and_follow_the_seed():
    recipe = DegradationRecipe(probability=1)
    one, same, other = (degrade(rng(seed), recipe, CLEAN).slices for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.dtype == np.float32
    assert one.min() >= 0
    assert one.max() <= 1.5
