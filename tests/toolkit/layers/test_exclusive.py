"""Softmax over regions and background."""

import keras
import numpy as np

from toolkit.layers.exclusive import ExclusiveProbability


def test_it_is_scipys_softmax_with_a_background_of_zero():
    from scipy.special import softmax

    logits = np.random.default_rng(0).normal(0, 3, (2, 4, 5, 5, 3)).astype(np.float32)
    expected = softmax(np.concatenate([np.zeros((2, 4, 5, 5, 1)), logits], axis=-1), axis=-1)[..., 1:]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ExclusiveProbability()(logits)), expected, atol=1e-6)


def test_of_one_region_it_is_the_sigmoid():
    logits = np.linspace(-8, 8, 17, dtype=np.float32)[:, None]
    sigmoid = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ExclusiveProbability()(logits)), sigmoid, atol=1e-6)


def test_it_is_saved_and_loaded_without_being_named(tmp_path):
    inputs = keras.Input((4, 4, 2))
    keras.Model(inputs, ExclusiveProbability()(inputs)).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded(np.zeros((1, 4, 4, 2), np.float32))[0, 0, 0].numpy().tolist() == [np.float32(1 / 3)] * 2
