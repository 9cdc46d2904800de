"""Haar wavelets: a block worked by hand, nothing lost, and noise found at its level."""

import keras
import numpy as np
import pytest

from toolkit.layers.wavelets import DETAIL, FromWavelets, NoiseLevel, ToWavelets

RNG = np.random.default_rng(1)
IMAGES = RNG.random((2, 6, 8, 3)).astype(np.float32)


def run(layer, inputs):
    return keras.ops.convert_to_numpy(layer(inputs))


def test_a_block_worked_by_hand():
    block = np.array([[0.1, 0.2], [0.4, 0.9]], np.float32).reshape(1, 2, 2, 1)
    mean, across, down, diagonal = 0.4, -0.15, -0.25, 0.1
    expected = [2 * mean - 1, DETAIL * across, DETAIL * down, DETAIL * diagonal]
    np.testing.assert_allclose(run(ToWavelets(), block).ravel(), expected, atol=1e-6)


def test_what_is_added_to_the_wavelets_is_added_to_the_pixels():
    other = RNG.random(IMAGES.shape).astype(np.float32)
    difference = run(ToWavelets(), other) - run(ToWavelets(), IMAGES)
    assert difference.shape == (2, 3, 4, 12)
    np.testing.assert_allclose(IMAGES + run(FromWavelets(), difference), other, atol=1e-6)


def test_modalities_stay_apart():
    lone = np.zeros_like(IMAGES)
    lone[..., 1] = IMAGES[..., 1]
    changed = run(ToWavelets(), lone) - run(ToWavelets(), np.zeros_like(IMAGES))
    assert np.flatnonzero(np.abs(changed).max(axis=(0, 1, 2))).tolist() == [1, 4, 7, 10]


@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_white_noise_is_found_at_its_level(sigma):
    smooth = np.linspace(0, 1, 128, dtype=np.float32)[None, :, None, None] * np.ones((1, 128, 128, 1), np.float32)
    noisy = smooth + RNG.normal(0, sigma, smooth.shape).astype(np.float32)
    level = run(NoiseLevel(), run(ToWavelets(), noisy))
    assert level.shape == (1, 64, 64, 1)
    assert np.ptp(level) == 0
    # The diagonal detail is a quarter of four pixels' sum: half the noise of one, enlarged.
    assert level[0, 0, 0, 0] == pytest.approx(sigma / 2 * DETAIL, rel=0.05)


def test_shapes_are_known_before_there_are_numbers():
    wavelets = ToWavelets()(keras.Input((6, 8, 3)))
    assert wavelets.shape == (None, 3, 4, 12)
    assert NoiseLevel()(wavelets).shape == (None, 3, 4, 3)
    assert FromWavelets()(wavelets).shape == (None, 6, 8, 3)
