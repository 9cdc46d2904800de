"""A model for float16 says what it said, and its first layers still do when every weight is rounded."""

import keras
import numpy as np
import pytest

from tests.small_models import N_SLICES, SIZE, scan, small_info
from toolkit.data.intensity import intensity_range, normalise
from toolkit.export.halves import EXACT, in_halves
from toolkit.models.segmenter import build_segmenter


@pytest.fixture(scope="module")
def model():
    recipe = {"network": "proposed", "encoder_weights": "none", "decoder_filters": [4, 4, 4, 4, 4]}
    built = build_segmenter(small_info(model=recipe).recipe, 1)
    rng = np.random.default_rng(1)
    layer = built.get_layer("modalities_to_rgb")
    layer.set_weights([weight + rng.normal(0, 0.1, weight.shape) for weight in layer.get_weights()])
    return built


@pytest.fixture(scope="module")
def slices():
    images = scan(N_SLICES, SIZE, SIZE)
    return normalise(images, intensity_range(images))[None]


def test_the_twin_says_the_same(model, slices):
    ours, theirs = (keras.ops.convert_to_numpy(m({"slices": slices})["probability"]) for m in (in_halves(model), model))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_every_weight_of_the_first_layers_is_a_number_of_float16_and_both_are_the_weight(model):
    parts = {layer.name: layer.get_weights() for layer in all_layers(in_halves(model))}
    for name in EXACT:
        original = next(layer for layer in all_layers(model) if layer.name == name).get_weights()
        for weight, coarse, fine in zip(original, parts[f"{name}_coarse"], parts[f"{name}_fine"], strict=True):
            np.testing.assert_array_equal(coarse, coarse.astype(np.float16))
            rounded = coarse + fine.astype(np.float16).astype(np.float32)
            # What is left has 11 bits of its own: together some 22, where float16 alone has 11.
            np.testing.assert_allclose(rounded, weight, rtol=2**-20, atol=1e-7)


def all_layers(model):
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
