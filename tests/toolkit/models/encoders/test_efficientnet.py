"""EfficientNets of Keras as encoders, with and without a network."""

import keras
import numpy as np
import pytest

from toolkit.errors import ModelError
from toolkit.models.encoders import ENCODERS
from toolkit.models.encoders.efficientnet import efficientnet


@pytest.fixture(scope="module")
def encoder():
    return efficientnet("EfficientNetB0", 64, 64, "none")


def test_there_are_five_feature_maps_each_half_the_size_of_the_one_before(encoder):
    shapes = [output.shape[1:] for output in encoder.outputs]
    assert shapes == [(32, 32, 16), (16, 16, 24), (8, 8, 40), (4, 4, 112), (2, 2, 320)]


def test_it_takes_numbers_up_to_255(encoder):
    """It holds its own rescaling: the first layer that sees the picture divides it."""
    first = next(layer for layer in encoder.layers if isinstance(layer, keras.layers.Rescaling))
    assert first.scale == pytest.approx(1 / 255)
    image = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    assert all(np.isfinite(keras.ops.convert_to_numpy(features)).all() for features in encoder(image))


@pytest.mark.parametrize("name", ["efficientnet-b1", "efficientnetv2-b0", "efficientnetv2-s"])
def test_others_give_maps_at_the_same_strides_from_numbers_up_to_255(name):
    """V2-S brings 0-255 to -1-1, the others divide by 255 and know ImageNet's mean."""
    encoder = ENCODERS[name](64, 32, "none")
    assert [output.shape[1:3] for output in encoder.outputs] == [(32, 16), (16, 8), (8, 4), (4, 2), (2, 1)]
    first = next(layer for layer in encoder.layers if isinstance(layer, keras.layers.Rescaling))
    assert first.scale == pytest.approx(1 / 128 if name == "efficientnetv2-s" else 1 / 255)
    # Of blocks, not of their expansion layers, which are several times as wide.
    assert all(output.shape[-1] <= 320 for output in encoder.outputs)


def test_a_recipe_may_name_any_of_them():
    from typing import get_args

    from toolkit.config import Encoder

    assert set(get_args(Encoder)) == set(ENCODERS)


def test_weights_none_asks_for_no_download(monkeypatch):
    asked = []

    def record(**arguments):
        asked.append(arguments["weights"])
        raise OSError

    monkeypatch.setattr(keras.applications, "EfficientNetB0", record)
    # Only what asked for a download may say that a download failed.
    for weights, error in (("none", OSError), ("imagenet", ModelError)):
        with pytest.raises(error):
            efficientnet("EfficientNetB0", 32, 32, weights)
    assert asked == [None, "imagenet"]


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    def no_network(**_):
        raise Exception("URL fetch failure on https://storage.googleapis.com/...: None -- [Errno -3]")

    monkeypatch.setattr(keras.applications, "EfficientNetB0", no_network)
    with pytest.raises(ModelError) as caught:
        efficientnet("EfficientNetB0", 32, 32, "imagenet")
    message = str(caught.value)
    assert "\n" not in message
    for fix in ("efficientnetb0_notop.h5", "efficientnet-lite0", "model.encoder_weights=none"):
        assert fix in message
