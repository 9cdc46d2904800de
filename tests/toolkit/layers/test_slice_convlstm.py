"""The recurrent layer: the paper's gates, Keras' own ConvLSTM, and what a sequence is for."""

import keras
import numpy as np
import pytest
from scipy.signal import correlate2d

from toolkit.layers.slice_convlstm import SliceConvLSTM

RNG = np.random.default_rng(4)
SEQUENCE = RNG.random((2, 5, 4, 6, 3)).astype(np.float32)
FILTERS = 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolve(image, kernel):
    """3 x 3 with zeros around, `(H, W, in)` to `(H, W, out)`."""
    return np.stack(
        [
            sum(correlate2d(image[..., k], kernel[..., k, out], mode="same") for k in range(image.shape[-1]))
            for out in range(kernel.shape[-1])
        ],
        axis=-1,
    )


def by_the_equations(sequence, kernel, recurrent, bias):
    """Equations 1-3 of the paper with convolutions for products, and C = f C' + i tanh(...)."""
    h = c = np.zeros((*sequence.shape[1:3], recurrent.shape[2]))
    states = []
    for x in sequence:
        i, f, candidate, o = np.split(convolve(x, kernel) + convolve(h, recurrent) + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack(states)


@pytest.fixture
def layer():
    """Weights are wide, so that a gate that is linear in pieces (hard sigmoid) would be found out."""
    layer = SliceConvLSTM(FILTERS)
    layer.build(SEQUENCE.shape)
    layer.set_weights([RNG.normal(size=weight.shape).astype(np.float32) for weight in layer.get_weights()])
    return layer


@pytest.mark.parametrize("direction", [0, 1])
def test_each_direction_is_the_lstm_of_the_paper(layer, direction):
    weights = [weight.astype(np.float64) for weight in layer.get_weights()[3 * direction : 3 * direction + 3]]
    order = slice(None, None, -1 if direction else 1)
    expected = by_the_equations(SEQUENCE[0][order].astype(np.float64), *weights)[order]
    states = keras.ops.convert_to_numpy(layer(SEQUENCE))[0, ..., FILTERS * direction : FILTERS * (direction + 1)]
    np.testing.assert_allclose(states, expected, atol=1e-5)


def test_the_same_weights_give_what_keras_own_layer_gives(layer):
    own = keras.layers.ConvLSTM2D(FILTERS, 3, padding="same", return_sequences=True)
    theirs = keras.layers.Bidirectional(own)
    theirs.build(SEQUENCE.shape)
    theirs.set_weights(layer.get_weights())
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer(SEQUENCE)), keras.ops.convert_to_numpy(theirs(SEQUENCE)), atol=1e-5
    )


def test_one_direction_knows_only_what_came_before():
    layer = SliceConvLSTM(FILTERS, bidirectional=False)
    before = keras.ops.convert_to_numpy(layer(SEQUENCE))
    changed = SEQUENCE.copy()
    changed[:, 2] = 1 - changed[:, 2]
    moved = np.abs(keras.ops.convert_to_numpy(layer(changed)) - before).max(axis=(0, 2, 3, 4))
    assert before.shape == (*SEQUENCE.shape[:4], FILTERS)
    assert (moved[:2] == 0).all()
    assert (moved[2:] > 1e-6).all()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("wanted", [(0, 5), (1, 4), (2, 5), (3, 4)])
def test_of_slices_that_are_wanted_it_says_the_same(bidirectional, wanted):
    layer, (first, behind) = SliceConvLSTM(FILTERS, bidirectional), wanted
    whole = keras.ops.convert_to_numpy(layer(SEQUENCE))
    np.testing.assert_allclose(layer(SEQUENCE, wanted=wanted), whole[:, first:behind], atol=1e-6)
    assert layer(keras.Input(SEQUENCE.shape[1:]), wanted=wanted).shape[1:] == whole[0, first:behind].shape


def test_steps_that_lead_away_from_what_is_wanted_are_not_taken(layer, monkeypatch):
    steps = []
    run = SliceConvLSTM._run
    monkeypatch.setattr(SliceConvLSTM, "_run", lambda self, gates, of: steps.append(len(gates)) or run(self, gates, of))
    layer(SEQUENCE, wanted=(1, 3))
    assert steps == [3, 4]


def test_the_forget_gate_is_open_at_the_start():
    layer = SliceConvLSTM(FILTERS)
    layer.build(SEQUENCE.shape)
    np.testing.assert_array_equal(layer.get_weights()[2], [0, 0, 1, 1, 0, 0, 0, 0])


def test_it_is_saved_and_loaded(layer, tmp_path):
    inputs = keras.Input(SEQUENCE.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model.predict_on_batch(SEQUENCE), again.predict_on_batch(SEQUENCE))
