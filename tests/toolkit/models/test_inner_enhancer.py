"""What an enhancer says of the inner slices of a window, without the work that only the outer ones need."""

import keras
import numpy as np
import pytest

from toolkit.config import EnhancerRecipe
from toolkit.models.enhancer import build_enhancer
from toolkit.models.inner_enhancer import inner_enhancer

RNG = np.random.default_rng(3)
RECIPES = [
    {},
    {"resolution": "full"},
    {"bidirectional": False},
    {"layers": 2},
    {"convolution_filters": 3, "residual_blocks": 1},
    {"parts": "detail"},
    {"parts": "gain"},
]


def as_if_trained(recipe, shape):
    model = build_enhancer(EnhancerRecipe(filters=2, **recipe), shape)
    for layer in model.layers:
        if layer.name in ("enhancer_gain_out", "enhancer_gain_level", "enhancer_detail_out"):
            layer.set_weights([RNG.normal(0, 0.3, weight.shape) for weight in layer.get_weights()])
    return model


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize(("shape", "halo"), [((4, 32, 32, 1), 1), ((5, 16, 32, 2), 2)])
def test_inner_slices_are_those_of_the_whole(recipe, shape, halo):
    whole = as_if_trained(recipe, shape)
    windows = RNG.random((2, *shape)).astype(np.float32)
    inner = slice(halo, shape[0] - halo)
    expected = keras.ops.convert_to_numpy(whole({"slices": windows})["enhanced"])[:, inner]
    assert np.abs(expected - windows[:, inner]).max() > 0.01
    np.testing.assert_allclose(inner_enhancer(whole, halo)(windows), expected, atol=1e-5)


def test_weights_are_shared():
    whole = as_if_trained({}, (4, 32, 32, 1))
    inner, windows = inner_enhancer(whole, 1), RNG.random((1, 4, 32, 32, 1)).astype(np.float32)
    before = keras.ops.convert_to_numpy(inner(windows))
    last = whole.get_layer("enhancer_detail_out")
    last.set_weights([0 * weight for weight in last.get_weights()])
    assert np.abs(inner(windows) - before).max() > 0.01
