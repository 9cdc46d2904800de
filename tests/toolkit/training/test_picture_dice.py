"""The Dice watched during training, by hand and against the metrics of the evaluation."""

import keras
import numpy as np
import pytest

from toolkit.metrics import count, metrics_from_counts
from toolkit.training.picture_dice import PictureDice, picture_dice


def slices(*pictures):
    return np.array(pictures, np.float32).reshape(1, len(pictures), 2, 2, 1)


def value(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_worked_by_hand_slice_by_slice():
    truth = slices([1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0])
    answer = slices([0.9, 0.4, 0.5, 0.1], [0, 0.6, 0, 0], [0.1, 0.2, 0.3, 0.4], [0.9, 0, 0, 0])
    # 2 of 2 + 2; nothing shared; both empty; marked where nothing is
    np.testing.assert_allclose(value(picture_dice(truth, answer)), [[0.5, 0, 1, 0]])


def test_it_agrees_with_the_metrics_of_the_evaluation():
    rng = np.random.default_rng(2)
    truth = rng.random((2, 3, 16, 16, 1)) < 0.3
    answer = rng.random(truth.shape).astype(np.float32)
    expected = [
        metrics_from_counts(count(truth[k, n, ..., 0], answer[k, n, ..., 0] >= 0.5))["dice"]
        for k, n in np.ndindex(2, 3)
    ]
    np.testing.assert_allclose(value(picture_dice(truth, answer)).ravel(), expected, rtol=1e-5)


def test_classes_are_averaged():
    truth = np.concatenate([slices([1, 1, 0, 0]), slices([0, 0, 1, 0])], axis=-1)
    answer = np.concatenate([slices([1, 1, 0, 0]), slices([0, 0, 1, 1])], axis=-1)
    assert value(picture_dice(truth, answer))[0, 0] == pytest.approx((1 + 2 / 3) / 2)


def test_a_large_half_precision_slice_is_counted_right():
    ones = np.ones((1, 1, 512, 512, 1), np.float16)
    assert value(picture_dice(ones, ones))[0, 0] == 1


def test_only_slices_that_count_enter_the_mean():
    metric = PictureDice()
    truth, answer = slices([1, 1, 0, 0], [1, 0, 0, 0]), slices([1, 0, 1, 0], [0, 0, 0, 0])
    metric.update_state(truth, answer, sample_weight=np.array([[1.0, 0.0]]))
    assert float(metric.result()) == pytest.approx(0.5)
    metric.update_state(truth, truth, sample_weight=np.array([[1.0, 1.0]]))
    assert float(metric.result()) == pytest.approx((0.5 + 1 + 1) / 3)


def test_the_metric_comes_back_from_a_file_as_it_was():
    assert keras.saving.get_registered_name(PictureDice) == "bts>PictureDice"
    stored = keras.saving.serialize_keras_object(PictureDice(name="watched"))
    back = keras.saving.deserialize_keras_object(stored)
    assert isinstance(back, PictureDice)
    assert back.name == "watched"
    back.update_state(slices([1, 1, 0, 0]), slices([1, 0, 1, 0]))
    assert float(back.result()) == pytest.approx(0.5)
