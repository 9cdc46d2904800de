"""EfficientNet-B0 of Keras as an encoder, with and without a network."""

import keras
import numpy as np
import pytest

from toolkit.errors import ModelError
from toolkit.models.encoders import ENCODERS
from toolkit.models.encoders.efficientnet import efficientnet_b0


@pytest.fixture(scope="module")
def encoder():
    return efficientnet_b0(64, 64, "none")


def test_there_are_five_feature_maps_each_half_the_size_of_the_one_before(encoder):
    shapes = [output.shape[1:] for output in encoder.outputs]
    assert shapes == [(32, 32, 16), (16, 16, 24), (8, 8, 40), (4, 4, 112), (2, 2, 320)]


def test_it_takes_numbers_up_to_255(encoder):
    """It holds its own rescaling: the first layer that sees the picture divides it."""
    first = next(layer for layer in encoder.layers if isinstance(layer, keras.layers.Rescaling))
    assert first.scale == pytest.approx(1 / 255)
    image = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    assert all(np.isfinite(keras.ops.convert_to_numpy(features)).all() for features in encoder(image))


def test_recipes_call_it_by_its_name():
    assert ENCODERS["efficientnet-b0"] is efficientnet_b0


def test_weights_none_asks_for_no_download(monkeypatch):
    asked = []

    def record(**arguments):
        asked.append(arguments["weights"])
        raise OSError

    monkeypatch.setattr(keras.applications, "EfficientNetB0", record)
    # Only what asked for a download may say that a download failed.
    for weights, error in (("none", OSError), ("imagenet", ModelError)):
        with pytest.raises(error):
            efficientnet_b0(32, 32, weights)
    assert asked == [None, "imagenet"]


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    def no_network(**_):
        raise Exception("URL fetch failure on https://storage.googleapis.com/...: None -- [Errno -3]")

    monkeypatch.setattr(keras.applications, "EfficientNetB0", no_network)
    with pytest.raises(ModelError) as caught:
        efficientnet_b0(32, 32, "imagenet")
    message = str(caught.value)
    assert "\n" not in message
    for fix in ("efficientnetb0_notop.h5", "efficientnet-lite0", "model.encoder_weights=none"):
        assert fix in message
