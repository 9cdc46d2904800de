"""What a model says of its own certainty: calibrated, as entropy, and as a score of what to look at first."""

import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from scipy.stats import entropy

from toolkit.config import ModelRecipe
from toolkit.inference.uncertainty import IN_QUESTION_FROM, calibrated, predictive_entropy, review_score

OVERLAPPING = ModelRecipe(regions={"whole": (1, 2), "core": (2,)})
EXCLUSIVE = ModelRecipe(regions={"core": (1,), "oedema": (2,), "enhancing": (3,)}, exclusive=True)
RNG = np.random.default_rng(0)


def shares(*shape, outcomes=4):
    return softmax(RNG.normal(0, 3, (*shape, outcomes)), axis=-1).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.3, 0.9, 1.7, 6.0])
def test_the_logit_of_each_overlapping_region_is_divided_by_the_temperature(temperature):
    p = RNG.uniform(0.001, 0.999, (2, 5, 5, 2)).astype(np.float32)
    told = calibrated(p, temperature, OVERLAPPING)
    np.testing.assert_allclose(told, expit(logit(p.astype(float)) / temperature), atol=1e-6)
    assert told.dtype == np.float32


@pytest.mark.parametrize("temperature", [0.3, 0.9, 1.7, 6.0])
def test_exclusive_regions_share_with_the_background_before_and_after(temperature):
    q = shares(2, 5, 5)
    told = calibrated(q[..., :3], temperature, EXCLUSIVE)
    theirs = softmax(np.log(q.astype(float)) / temperature, axis=-1)
    np.testing.assert_allclose(told, theirs[..., :3], atol=2e-6)
    assert told.shape == (2, 5, 5, 3)


def test_of_one_exclusive_region_and_its_background_the_two_rules_are_one():
    p = RNG.uniform(0, 1, (1, 4, 4, 1)).astype(np.float32)
    alone = ModelRecipe(regions={"tumour": (1,)}, exclusive=True)
    np.testing.assert_allclose(calibrated(p, 2.5, alone), calibrated(p, 2.5, ModelRecipe()), atol=1e-6)


def test_an_offset_is_added_to_the_logit_that_was_divided():
    p = np.random.default_rng(2).uniform(0.01, 0.99, (2, 4, 4, 2))
    told = calibrated(p, 1.7, OVERLAPPING, [-0.8])
    np.testing.assert_allclose(told, expit(logit(p) / 1.7 - 0.8), atol=1e-6)


def test_of_exclusive_regions_each_has_its_offset_and_the_background_none():
    q = softmax(np.random.default_rng(3).normal(0, 2, (1, 4, 4, 4)), axis=-1)
    told = calibrated(q[..., :3], 0.6, EXCLUSIVE, [0.5, -1.0, 0.0])
    theirs = softmax(np.log(q) / 0.6 + np.array([0.5, -1.0, 0.0, 0.0]), axis=-1)
    np.testing.assert_allclose(told, theirs[..., :3], atol=1e-6)


def test_a_temperature_of_1_changes_nothing():
    p = RNG.uniform(0, 1, (1, 4, 4, 2)).astype(np.float32)
    assert calibrated(p, 1.0, OVERLAPPING) is p


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0, 20.0])
def test_0_and_1_stay_what_they_are(temperature):
    certain = np.array([[0, 1]], np.float32)
    np.testing.assert_array_equal(calibrated(certain, temperature, OVERLAPPING), certain)
    of_three = np.array([[0, 1, 0], [0, 0, 0]], np.float32)
    np.testing.assert_array_equal(calibrated(of_three, temperature, EXCLUSIVE), of_three)


@pytest.mark.filterwarnings("error")
def test_shares_that_add_up_to_a_little_more_than_1_do_no_harm():
    told = calibrated(np.array([[0.6, 0.4 + 1e-6, 1e-38]], np.float32), 3.0, EXCLUSIVE)
    assert np.isfinite(told).all()
    assert told.sum() <= 1 + 1e-6


def test_a_pixel_of_which_nothing_is_known_has_one_bit():
    assert predictive_entropy(np.full((1, 1, 1, 2), 0.5, np.float32), OVERLAPPING) == 1
    assert predictive_entropy(np.full((1, 1, 1, 3), 0.25, np.float32), EXCLUSIVE) == 1


@pytest.mark.filterwarnings("error")
def test_a_pixel_of_which_all_is_known_has_none():
    certain = np.array([0, 1, 0], np.float32).reshape(1, 1, 1, 3)
    for model in (EXCLUSIVE, ModelRecipe(regions={"a": (1,), "b": (2,), "c": (3,)})):
        assert predictive_entropy(certain, model) == 0
    assert predictive_entropy(np.zeros((1, 1, 1, 3), np.float32), EXCLUSIVE) == 0


def test_of_overlapping_regions_the_least_certain_counts():
    p = RNG.uniform(0, 1, (2, 3, 4, 2)).astype(np.float32)
    theirs = entropy([p, 1 - p], base=2, axis=0).max(axis=-1)
    ours = predictive_entropy(p, OVERLAPPING)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert (ours.shape, ours.dtype) == ((2, 3, 4), np.float32)


def test_of_exclusive_regions_it_is_that_of_all_outcomes_together():
    q = shares(2, 3, 4)
    np.testing.assert_allclose(predictive_entropy(q[..., :3], EXCLUSIVE), entropy(q, base=4, axis=-1), atol=1e-5)


def test_the_score_is_what_truths_drawn_from_the_probability_give():
    """A disc with a soft rim of 6 pixels, whose Dice with 2000 truths drawn pixel by pixel is compared."""
    row, column = np.indices((64, 64)) - 32
    p = expit((18 - np.hypot(row, column)) / 3)
    p[p < 0.1] = 0
    mask = p >= 0.5
    truths = RNG.uniform(size=(2000, 64, 64)) < p
    dice = 2 * (truths & mask).sum(axis=(1, 2)) / (truths.sum(axis=(1, 2)) + mask.sum())
    assert 1 - review_score(mask, p, p >= IN_QUESTION_FROM) == pytest.approx(dice.mean(), abs=5e-4)


def test_the_score_by_hand():
    """Marked are 0.9 and 0.7, not marked 0.4: 1 - 2 * 1.6 / (2 + 2)."""
    p = np.array([[0.9, 0.7, 0.4, 0.0]])
    assert review_score(np.array([[1, 2, 0, 0]]), p, p >= IN_QUESTION_FROM) == pytest.approx(0.2)


def test_a_little_on_every_pixel_does_not_add_up_to_a_tumour():
    """0.09 on 60 000 pixels, beside a mark of 100 that is certain; also where a temperature has raised it to 0.24."""
    raw = np.full((250, 250), 0.09)
    mask = np.zeros(raw.shape, bool)
    mask[:10, :10] = True
    raw[mask] = 1
    assert review_score(mask, raw, raw >= IN_QUESTION_FROM) == 0
    assert review_score(mask, calibrated(raw[..., None], 2.0, ModelRecipe())[..., 0], raw >= IN_QUESTION_FROM) == 0


def test_a_hole_that_was_filled_counts_as_marked():
    """Marked are 0.9 and, filled, 0.05: 1 - 2 * 0.95 / (2 + 0.95)."""
    p = np.array([[0.9, 0.05]])
    assert review_score(np.array([[1, 1]]), p, p >= IN_QUESTION_FROM) == pytest.approx(1 - 1.9 / 2.95)


def test_a_mask_of_which_the_model_is_certain_needs_no_look():
    mask = np.zeros((2, 8, 8), np.uint8)
    mask[0, 2:4, 2:4] = 1
    sure, nothing = mask.astype(np.float32), np.zeros((2, 8, 8), np.float32)
    assert review_score(mask, sure, sure >= IN_QUESTION_FROM) == 0
    assert review_score(mask, nothing, nothing >= IN_QUESTION_FROM) == 1


def test_an_empty_mask_is_scored_by_how_near_it_came_to_a_mark():
    nothing, p = np.zeros((8, 8), np.uint8), np.full((8, 8), 0.01, np.float32)
    p[3, 3] = 0.4
    assert review_score(nothing, p, p >= IN_QUESTION_FROM) == pytest.approx(0.8)
    p[3, 3] = 0.7  # Taken out by post-processing, or below a higher threshold.
    assert review_score(nothing, p, p >= IN_QUESTION_FROM) == 1


def test_sums_do_not_run_over_in_the_type_of_the_probability():
    """The sum of 512 x 512 halves is beyond float16."""
    p = np.full((512, 512), 0.5, np.float16)
    assert review_score(np.ones_like(p, bool), p, p >= IN_QUESTION_FROM) == pytest.approx(1 / 3)
