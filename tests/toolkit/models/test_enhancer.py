"""The enhancer: nothing before training, its neighbours' knowledge after, by the paper's gates."""

import keras
import numpy as np
import pytest
from scipy.signal import correlate2d

from toolkit.config import EnhancerRecipe
from toolkit.models.enhancer import enhance

N_SLICES, SIZE = 4, 4
RNG = np.random.default_rng(4)
SLICES = RNG.random((2, N_SLICES, SIZE, SIZE, 2)).astype(np.float32)


def build(recipe, modalities=2):
    slices = keras.Input((N_SLICES, SIZE, SIZE, modalities))
    return keras.Model(slices, enhance(slices, recipe))


def run(model, slices=SLICES):
    return keras.ops.convert_to_numpy(model(slices))


@pytest.fixture(scope="module")
def untrained():
    return build(EnhancerRecipe(filters=2))


@pytest.fixture(scope="module")
def trained():
    """As if trained: the correction is no longer zero."""
    model = build(EnhancerRecipe(filters=2))
    layer = model.get_layer("enhancer_correction")
    layer.set_weights([RNG.normal(size=weight.shape).astype(np.float32) for weight in layer.get_weights()])
    return model


def test_an_untrained_enhancer_passes_its_input_on_unchanged(untrained):
    np.testing.assert_array_equal(run(untrained), SLICES)


def test_kind_none_passes_its_input_on_unchanged():
    model = build(EnhancerRecipe(kind="none"))
    np.testing.assert_array_equal(run(model), SLICES)
    assert not model.weights


@pytest.mark.parametrize("changed", range(N_SLICES))
def test_every_slice_knows_of_every_other_on_either_side(trained, changed):
    slices = SLICES.copy()
    slices[:, changed] = 1 - slices[:, changed]
    moved = np.abs(run(trained, slices) - run(trained)).max(axis=(2, 3, 4))
    assert (moved > 1e-5).all()


def test_the_correction_is_added_to_the_slices(trained):
    shapes_kept = run(trained)
    assert shapes_kept.shape == SLICES.shape
    assert np.abs(shapes_kept - SLICES).max() > 0.01


def test_the_result_can_be_looked_at_under_its_name(trained):
    assert trained.get_layer("enhanced").output.shape == (None, *SLICES.shape[1:])


# --- the gates -------------------------------------------------------------------


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


def convlstm_by_the_equations(sequence, kernel, recurrent, bias):
    """Equations 1-3 of the paper with convolutions for products, and C = f C' + i tanh(...)."""
    filters = recurrent.shape[2]
    h = c = np.zeros((*sequence.shape[1:3], filters))
    states = []
    for x in sequence:
        parts = np.split(convolve(x, kernel) + convolve(h, recurrent) + bias, 4, axis=-1)
        i, f, candidate, o = sigmoid(parts[0]), sigmoid(parts[1]), np.tanh(parts[2]), sigmoid(parts[3])
        c = f * c + i * candidate
        h = o * np.tanh(c)
        states.append(h)
    return np.stack(states)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_each_direction_is_the_lstm_of_the_paper(direction):
    """Weights are wide, so that a gate that is linear in pieces (hard sigmoid) would be found out."""
    enhancer = build(EnhancerRecipe(filters=2)).get_layer("enhancer")
    layer = getattr(enhancer, f"{direction}_layer")
    layer.set_weights([RNG.normal(size=weight.shape).astype(np.float32) for weight in layer.get_weights()])
    kernel, recurrent, bias = (weight.astype(np.float64) for weight in layer.get_weights())

    both = keras.ops.convert_to_numpy(enhancer(SLICES))[0]
    states = both[..., :2] if direction == "forward" else both[..., 2:]

    order = slice(None, None, 1 if direction == "forward" else -1)
    expected = convlstm_by_the_equations(SLICES[0][order], kernel, recurrent, bias)[order]
    np.testing.assert_allclose(states, expected, atol=1e-5)
