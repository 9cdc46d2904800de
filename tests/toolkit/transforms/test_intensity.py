"""Intensity changes as scanners differ; each alone does what its name says."""

import numpy as np
import pytest

from toolkit.config import AugmentationRecipe
from toolkit.transforms.intensity import change_intensity

NONE = {"gamma": 0, "brightness": 0, "noise": 0, "bias_field": 0}


@pytest.fixture
def slices():
    """Two slices of grey values 0 … 1 in two modalities."""
    return np.linspace(0, 1, 2 * 32 * 32 * 2).reshape(2, 32, 32, 2).astype(np.float32)


def changed(slices, seed=0, **ranges):
    return change_intensity(np.random.default_rng(seed), AugmentationRecipe(**{**NONE, **ranges}), slices)


def test_ranges_of_zero_change_nothing(slices):
    for seed in range(3):
        assert changed(slices, seed) == pytest.approx(slices, abs=1e-6)


@pytest.mark.parametrize("name", NONE)
def test_each_change_alone_changes_the_image_and_the_same_seed_does_it_again(slices, name):
    before = slices.copy()
    result = changed(slices, 3, **{name: 0.3})
    assert np.abs(result - slices).max() > 0.01
    assert (changed(slices, 3, **{name: 0.3}) == result).all()
    assert not np.array_equal(changed(slices, 2, **{name: 0.3}), result)
    assert (slices == before).all(), "the input itself must stay as it is"


def test_brightness_is_one_factor_for_the_window_within_its_range(slices):
    for seed in range(20):
        factor = changed(slices, seed, brightness=0.2)[slices > 0.01] / slices[slices > 0.01]
        assert np.ptp(factor) < 1e-4
        assert 0.8 <= factor.mean() <= 1.2


def test_gamma_is_one_exponent_for_the_window_within_its_range(slices):
    inside = (slices > 0.05) & (slices < 0.95)
    for seed in range(20):
        exponent = np.log(changed(slices, seed, gamma=0.4)[inside]) / np.log(slices[inside])
        assert np.ptp(exponent) < 1e-3
        assert 0.6 <= exponent.mean() <= 1.4


def test_a_bias_field_is_smooth_and_the_same_on_all_slices_and_modalities():
    even = np.full((3, 64, 64, 2), 0.5, np.float32)
    for seed in range(10):
        field = changed(even, seed, bias_field=0.4) / even
        assert (field == field[:1, ..., :1]).all()
        assert np.abs(field - 1).max() <= 0.4 + 1e-6
        assert np.abs(np.diff(field[0, ..., 0], axis=0)).max() < 0.05


def test_noise_is_independent_in_every_pixel_and_slice():
    even = np.full((2, 64, 64, 1), 0.7, np.float32)
    noise = changed(even, 3, noise=0.1) - even
    assert 0.001 < noise.std() <= 0.1
    assert abs(noise.mean()) < 0.005
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.1


def test_everything_stays_within_the_range_the_model_knows(slices):
    """The strongest ranges, and values up to the clip of the normalisation."""
    for seed in range(30):
        result = changed(1.5 * slices, seed, gamma=0.9, brightness=0.9, noise=1.0, bias_field=1.0)
        assert result.dtype == np.float32
        assert result.shape == slices.shape
        assert result.min() >= 0
        assert result.max() <= 1.5
