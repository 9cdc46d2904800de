"""Measures of restoration, against scikit-image and by hand."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from toolkit.evaluation.restoration import (
    NOISE_LEVELS,
    CleanCase,
    Trial,
    drift_removed,
    head,
    judge_restoration,
    pixels_drift_removed,
    psnr,
    remaining_drift,
    restore_by_windows,
    ssim,
    steps_removed,
    summarise,
    trials,
)

RNG = np.random.default_rng(0)
N, SIZE = 7, 32


@pytest.fixture(scope="module")
def clean():
    """A disc with a dark hole in air."""
    row, column = np.mgrid[:SIZE, :SIZE] - SIZE / 2 + 0.5
    radius = np.hypot(row, column)
    disc = np.where(radius < 12, 0.6, 0.0) * (radius > 3)
    texture = RNG.uniform(0.8, 1.2, (N, SIZE, SIZE, 2))
    return (disc[None, :, :, None] * texture).astype(np.float32)


def test_the_head_has_no_holes_and_no_air(clean):
    inside = head(clean)
    assert inside[:, SIZE // 2, SIZE // 2].all()
    assert not inside[:, 0].any()
    assert inside[0].sum() == pytest.approx(np.pi * 12**2, rel=0.05)


def test_air_that_is_grey_in_one_of_three_sequences_is_no_head(clean):
    air = np.where(head(clean)[..., None], clean[..., :1], 0.35)
    np.testing.assert_array_equal(head(np.concatenate([air, clean], axis=-1)), head(clean))


def test_psnr_and_ssim_over_a_whole_picture_are_scikit_images(clean):
    restored = clean + RNG.normal(0, 0.05, clean.shape)
    everywhere = np.ones(clean.shape[:3], bool)
    for index in range(N):
        assert psnr(clean, restored, everywhere)[index] == pytest.approx(
            peak_signal_noise_ratio(clean[index].astype(float), restored[index], data_range=1.0)
        )
    _, full = structural_similarity(
        clean[0].astype(float),
        restored[0],
        data_range=1.0,
        channel_axis=-1,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )
    assert ssim(clean, restored, everywhere)[0] == pytest.approx(full.mean(), abs=1e-9)


def test_what_is_outside_the_head_does_not_count(clean):
    inside = head(clean)
    restored = clean + 0.1 * ~inside[..., None]
    assert (psnr(clean, restored, inside) == 100).all()
    assert np.isnan(psnr(clean, restored, np.zeros_like(inside))).all()


def test_remaining_drift_is_the_logarithm_of_each_factor_about_their_mean(clean):
    factors = np.linspace(0.8, 1.2, N)
    expected = np.log(factors) - np.log(factors).mean()
    drifted = clean * factors[:, None, None, None]
    np.testing.assert_allclose(remaining_drift(clean, drifted, head(clean)), expected, atol=1e-6)
    np.testing.assert_allclose(remaining_drift(clean, 3 * drifted, head(clean)), expected, atol=1e-6)


def test_half_of_a_drift_is_removed_where_half_of_its_logarithm_is_left(clean):
    factors = np.exp(np.linspace(-0.2, 0.2, N))
    trial = Trial("drift", clean * factors[:, None, None, None], np.ones(N, bool), factors)
    halfway = clean * np.sqrt(factors)[:, None, None, None]
    assert drift_removed(trial, clean, halfway, head(clean)) == pytest.approx(0.5, abs=1e-6)
    assert drift_removed(trial, clean, trial.images, head(clean)) == pytest.approx(0)
    assert drift_removed(trial, clean, clean, head(clean)) == pytest.approx(1)


def test_a_slice_counts_by_its_pixels_inside_where_that_is_asked(clean):
    inside = head(clean)
    inside[0] = np.cumsum(inside[0]).reshape(inside[0].shape) <= 4  # a vertex: the first 4 pixels of a head
    inside[0] &= head(clean)[0]
    weights = inside.sum(axis=(1, 2)) / inside.sum()
    factors = np.exp(np.linspace(-0.2, 0.2, N))
    trial = Trial("drift", clean * factors[:, None, None, None], np.ones(N, bool), factors)
    left = np.zeros(N)
    left[0], left[-1] = 0.2, 0.05
    restored = clean * np.exp(left)[:, None, None, None]

    def deviation(logarithms):
        return np.sqrt(np.average((logarithms - np.average(logarithms, weights=weights)) ** 2, weights=weights))

    by_hand = 1 - deviation(left) / deviation(np.log(factors))
    assert pixels_drift_removed(trial, clean, restored, inside) == pytest.approx(by_hand, abs=1e-6)
    assert by_hand > drift_removed(trial, clean, restored, inside) + 0.2


def test_a_slow_wave_left_over_is_drift_but_hardly_steps(clean):
    factors = np.exp(0.2 * (-1.0) ** np.arange(N))
    trial = Trial("drift", clean * factors[:, None, None, None], np.ones(N, bool), factors)
    slope = np.exp(np.linspace(-0.1, 0.1, N))
    restored = clean * slope[:, None, None, None]
    steps = 0.2 / (N - 1)  # of the slope; those of the drift are 0.4
    assert steps_removed(trial, clean, restored, head(clean)) == pytest.approx(1 - steps / 0.4, abs=1e-6)
    assert drift_removed(trial, clean, restored, head(clean)) < 0.75


def test_each_trial_does_what_its_name_says(clean):
    by_name = {trial.damage: trial for trial in trials(clean, seed=1)}
    errors = [float(np.nanmean(psnr(clean, by_name[f"noise {s:.2f}"].images, head(clean)))) for s in NOISE_LEVELS]
    np.testing.assert_allclose(errors, [-20 * np.log10(s) for s in NOISE_LEVELS], atol=1.0)
    missing = by_name["every third slice missing"]
    assert missing.judged.tolist() == [False, True, False, False, True, False, False]
    np.testing.assert_array_equal(missing.images[~missing.judged], clean[~missing.judged])
    np.testing.assert_allclose(missing.images[1], (clean[0] + clean[2]) / 2, atol=1e-6)
    assert all(np.array_equal(a.images, b.images) for a, b in zip(trials(clean, 1), trials(clean, 1), strict=True))


def test_rows_and_means_tell_a_good_method_from_none(clean):
    cases = [CleanCase("A", "A1", clean), CleanCase("B", "B1", clean[:5])]
    rows = judge_restoration(cases, {"perfect": lambda trial: clean[: len(trial.images)]}, seed=1)
    table = summarise(rows, seed=1)
    for damage, methods in table.items():
        assert methods["perfect"]["psnr"]["mean"] == 100, damage
        assert methods["damaged"]["psnr"]["mean"] < 40
    assert table["drift 0.2"]["perfect"]["drift_removed"]["mean"] == pytest.approx(1)
    assert table["drift 0.2"]["perfect"]["steps_removed"]["mean"] == pytest.approx(1)
    assert table["drift 0.2"]["damaged"]["drift_removed"]["mean"] == pytest.approx(0)
    assert len([r for r in rows if r["method"] == "damaged" and r["damage"] == "noise 0.05"]) == N + 5


@pytest.mark.parametrize("order", [1, -1])
def test_every_case_of_a_patient_counts_and_a_lone_slice_has_no_drift(clean, order):
    cases = [CleanCase("A", "restored", clean), CleanCase("A", "left", clean[:5]), CleanCase("B", "lone", clean[:1])]
    rows = judge_restoration(
        cases[::order], {"one of two": lambda t: clean if len(t.images) == N else t.images}, seed=1
    )
    removed = summarise(rows, seed=1)["drift 0.2"]["one of two"]["drift_removed"]
    assert removed["mean"] == pytest.approx(0.5)


@pytest.mark.parametrize("shuffled", [False, True])
def test_window_by_window_each_slice_is_restored_once_from_the_window_it_counts_in(clean, shuffled):
    seen = []

    def restore(slices):
        assert slices.shape == (1, 4, SIZE, SIZE, 2)
        seen.append(slices)
        return slices + 1

    np.testing.assert_array_equal(restore_by_windows(restore, clean, 4, 1, shuffled), clean + 1)
    assert len(seen) == 3
