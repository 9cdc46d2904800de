"""A seed means one start, on every backend."""

import keras
import numpy as np
import pytest

from toolkit.models.initial_weights import draw_initial_weights


def small_model():
    """An `encoder` and a head, in which one kernel starts at zero on purpose."""
    image = keras.Input((4, 4, 3))
    features = keras.layers.Conv2D(8, 3, name="pretrained")(image)
    encoder = keras.Model(image, keras.layers.BatchNormalization(name="norm")(features), name="encoder")
    x = keras.layers.Conv2D(4, 2, bias_initializer=keras.initializers.Constant(-3.0), name="head")(encoder(image))
    x = keras.layers.Conv2D(2, 1, kernel_initializer="zeros", name="zero")(x)
    return keras.Model(image, x)


def drawn(seed, keep_encoder=False):
    model = small_model()
    draw_initial_weights(model, seed, keep_encoder)
    return model


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = (drawn(seed).get_weights() for seed in (7, 7, 8))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(np.abs(one - two).max() > 0.01 for one, two in zip(first, other, strict=True))


def test_constant_starts_stay():
    model = drawn(7)
    assert (model.get_layer("head").get_weights()[1] == -3).all()
    assert not model.get_layer("zero").get_weights()[0].any()
    gamma, beta, mean, variance = model.get_layer("encoder").get_layer("norm").get_weights()
    assert [set(values.tolist()) for values in (gamma, beta, mean, variance)] == [{1.0}, {0.0}, {0.0}, {1.0}]


@pytest.mark.parametrize("keep", [True, False])
def test_pre_trained_weights_are_touched_only_when_they_are_not_kept(keep):
    model = small_model()
    before = model.get_layer("encoder").get_weights()
    head = model.get_layer("head").get_weights()[0]
    draw_initial_weights(model, 7, keep_encoder=keep)
    same = [np.array_equal(a, b) for a, b in zip(before, model.get_layer("encoder").get_weights(), strict=True)]
    assert all(same) == keep
    assert not np.array_equal(head, model.get_layer("head").get_weights()[0])


def test_kernels_are_glorot_uniform():
    """Glorot and Bengio 2010, eq. 16: +- sqrt(6 / (fan in + fan out))."""
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, keras.layers.Conv2D(800, 3, name="wide")(image))
    draw_initial_weights(model, 7, keep_encoder=False)
    kernel = model.get_layer("wide").get_weights()[0]
    limit = np.sqrt(6 / (3 * 3 * 3 + 3 * 3 * 800))
    assert np.abs(kernel).max() == pytest.approx(limit, rel=0.01)
    assert np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
