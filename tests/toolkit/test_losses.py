"""Losses against values worked by hand and against Keras' own cross entropy."""

from math import log

import keras
import numpy as np
import pytest

from toolkit.losses import DiceFocalLoss, dice_loss, focal_loss


def slices(*pictures):
    """One window whose slices are 2 x 2 pictures of one class."""
    return np.array(pictures, np.float32).reshape(1, len(pictures), 2, 2, 1)


TRUTH = slices([1, 1, 0, 0])
ANSWER = slices([0.8, 0.4, 0.2, 0.0])
# Dice: 2 (0.8 + 0.4) + 1 over (1 + 1) + (0.8 + 0.4 + 0.2) + 1
DICE_BY_HAND = 1 - 3.4 / 4.4
# Focal, gamma 2 and alpha 0.75: two tumour pixels, then two of background; log(1) = 0 for the last
FOCAL_BY_HAND = -(0.75 * 0.2**2 * log(0.8) + 0.75 * 0.6**2 * log(0.4) + 0.25 * 0.2**2 * log(0.8)) / 4


def value(tensor):
    return keras.ops.convert_to_numpy(tensor)


def gradient(function, point):
    """Gradient by central differences, of which no backend knows anything."""
    result = np.zeros_like(point)
    for index in np.ndindex(point.shape):
        step = np.zeros_like(point)
        step[index] = 1e-2
        result[index] = (value(function(point + step)).sum() - value(function(point - step)).sum()) / 2e-2
    return result


# --- by hand ------------------------------------------------------------------------


def test_dice_loss_worked_by_hand():
    assert value(dice_loss(TRUTH, ANSWER)) == pytest.approx(np.array([[DICE_BY_HAND]]), rel=1e-6)


def test_focal_loss_worked_by_hand():
    assert value(focal_loss(TRUTH, ANSWER)) == pytest.approx(np.array([[FOCAL_BY_HAND]]), rel=1e-5)


def test_their_weighted_sum_worked_by_hand():
    loss = DiceFocalLoss(dice=2.0, focal=5.0)
    assert float(loss(TRUTH, ANSWER)) == pytest.approx(2 * DICE_BY_HAND + 5 * FOCAL_BY_HAND, rel=1e-5)


def test_a_part_of_weight_zero_is_left_out():
    assert float(DiceFocalLoss(focal=0.0)(TRUTH, ANSWER)) == pytest.approx(DICE_BY_HAND, rel=1e-5)
    assert float(DiceFocalLoss(dice=0.0)(TRUTH, ANSWER)) == pytest.approx(FOCAL_BY_HAND, rel=1e-5)


def test_focal_loss_without_focus_and_balance_is_half_the_cross_entropy_of_keras():
    rng = np.random.default_rng(1)
    truth = (rng.random((2, 3, 8, 8, 1)) < 0.3).astype(np.float32)
    answer = rng.uniform(0.01, 0.99, truth.shape).astype(np.float32)
    entropy = value(keras.losses.binary_crossentropy(truth, answer)).mean(axis=(2, 3))
    assert value(focal_loss(truth, answer, gamma=0.0, alpha=0.5)) == pytest.approx(entropy / 2, rel=1e-4)


def test_focus_makes_an_easy_pixel_count_less():
    easy, hard = slices([0.9] * 4), slices([0.6] * 4)
    truth = slices([1] * 4)
    ratios = [float(value(focal_loss(truth, easy, g) / focal_loss(truth, hard, g))[0, 0]) for g in (0.0, 2.0)]
    assert ratios[1] == pytest.approx(ratios[0] * (0.1 / 0.4) ** 2, rel=1e-4)


@pytest.mark.parametrize("loss", [dice_loss, focal_loss])
def test_class_weights_are_a_weighted_mean_of_the_classes(loss):
    truth, answer = (np.concatenate([picture, 1 - picture], axis=-1) for picture in (TRUTH, ANSWER**2))
    first, second = (float(value(loss(truth[..., k : k + 1], answer[..., k : k + 1]))[0, 0]) for k in (0, 1))
    assert first != pytest.approx(second, rel=0.01)
    assert float(value(loss(truth, answer))[0, 0]) == pytest.approx((first + second) / 2, rel=1e-5)
    weighted = loss(truth, answer, class_weights=(3.0, 1.0))
    assert float(value(weighted)[0, 0]) == pytest.approx((3 * first + second) / 4, rel=1e-5)


# --- slices without tumour, and slices that do not count --------------------------


def test_an_empty_slice_costs_nothing_when_nothing_is_marked():
    empty = slices([0] * 4)
    assert value(dice_loss(empty, empty))[0, 0] == 0.0
    assert value(focal_loss(empty, empty))[0, 0] < 1e-6


@pytest.mark.parametrize("loss", [dice_loss, focal_loss])
def test_an_empty_slice_still_tells_the_model_to_mark_less(loss):
    slope = gradient(lambda answer: loss(slices([0] * 4), answer), slices([0.3] * 4).astype(np.float64))
    assert (slope > 0.01).all()


def test_a_certain_and_wrong_answer_is_dear_but_finite():
    wrong = float(value(focal_loss(slices([1] * 4), slices([0] * 4)))[0, 0])
    assert 5 < wrong < 20


def test_a_slice_of_weight_zero_changes_nothing():
    """The halo of a window, and repeats that fill a short one, are no part of the loss."""
    rng = np.random.default_rng(2)
    truth, answer = slices([1, 1, 0, 0], [1, 0, 0, 0]), slices([0.8, 0.4, 0.2, 0.0], [0.3, 0.3, 0.3, 0.3])
    weights = np.array([[1.0, 0.0]], np.float32)
    loss = DiceFocalLoss()
    weighted = float(loss(truth, answer, sample_weight=weights))
    assert weighted == pytest.approx(DICE_BY_HAND + FOCAL_BY_HAND, rel=1e-5)
    answer[:, 1] = rng.random((2, 2, 1))
    assert float(loss(truth, answer, sample_weight=weights)) == weighted


def test_a_batch_in_which_no_slice_counts_has_a_loss_of_zero():
    assert float(DiceFocalLoss()(TRUTH, ANSWER, sample_weight=np.zeros((1, 1), np.float32))) == 0.0


def test_there_is_one_value_for_each_slice_of_each_window():
    shape = (2, 3, 4, 4, 2)
    for loss in (dice_loss, focal_loss, DiceFocalLoss().call):
        assert value(loss(np.zeros(shape), np.full(shape, 0.5))).shape == (2, 3)


# --- numbers and files ----------------------------------------------------------------


def test_sums_of_a_large_half_precision_slice_stay_finite():
    """512 x 512 ones are 262 144, four times what float16 can hold."""
    ones = np.ones((1, 1, 512, 512, 1), np.float16)
    assert value(dice_loss(ones, ones))[0, 0] == pytest.approx(0, abs=1e-6)
    # 1 - (2 * 131072 + 1) / (262144 + 131072 + 1), the answer being one half everywhere
    half = value(dice_loss(ones, ones * np.float16(0.5)))[0, 0]
    assert half == pytest.approx(1 - 262145 / 393217, rel=1e-5)
    assert np.isfinite(value(DiceFocalLoss()(ones, ones)))


def test_the_loss_comes_back_from_a_file_as_it_was():
    loss = DiceFocalLoss(dice=0.5, focal=5.0, gamma=1.5, alpha=0.6, class_weights=(3.0, 1.0))
    assert keras.saving.get_registered_name(DiceFocalLoss) == "bts>DiceFocalLoss"
    stored = keras.saving.serialize_keras_object(loss)
    back = keras.saving.deserialize_keras_object(stored)
    assert isinstance(back, DiceFocalLoss)
    assert back.get_config() == loss.get_config()
    truth, answer = (np.concatenate([picture, 1 - picture], axis=-1) for picture in (TRUTH, ANSWER))
    assert float(back(truth, answer)) == float(loss(truth, answer))
