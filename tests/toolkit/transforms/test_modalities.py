"""Modality dropout: some modalities go, never all."""

import numpy as np
import pytest

from toolkit.transforms.modalities import drop_modalities

SLICES = np.ones((4, 8, 8, 3), np.float32)


def kept(seed, probability):
    return tuple(drop_modalities(np.random.default_rng(seed), probability, SLICES).any(axis=(0, 1, 2)).tolist())


def test_each_modality_goes_as_often_as_told_and_one_always_stays():
    draws = np.array([kept(seed, 0.3) for seed in range(2000)])
    assert draws.any(axis=1).all()
    # All three would go in 0.027 of the draws; one of them is brought back.
    assert draws.mean(axis=0) == pytest.approx(0.7 + 0.027 / 3, abs=0.03)


def test_a_modality_goes_from_all_slices_of_a_window_and_the_others_are_untouched():
    dropped = next(
        d for seed in range(99) if not (d := drop_modalities(np.random.default_rng(seed), 0.5, SLICES)).all()
    )
    assert dropped.dtype == np.float32
    for channel in range(3):
        assert (dropped[..., channel] == dropped[0, 0, 0, channel]).all()


def test_nothing_goes_without_a_chance_or_of_a_lone_modality():
    assert kept(0, 0.0) == (True, True, True)
    lone = SLICES[..., :1]
    assert (drop_modalities(np.random.default_rng(0), 0.9, lone) == lone).all()
