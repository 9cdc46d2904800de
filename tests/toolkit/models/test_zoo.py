"""Every name of the zoo is a recipe, all networks are in it, and each line of the list is true."""

import pytest

from toolkit.config import Recipe, check_recipe
from toolkit.models.networks import NETWORKS
from toolkit.models.zoo import ZOO, describe_model


@pytest.mark.parametrize("name", ZOO)
def test_it_is_a_recipe(name):
    model = check_recipe(ZOO[name], name).model
    assert name.startswith(model.network)
    assert model.regions == Recipe().model.regions


def test_every_network_has_a_name():
    assert {check_recipe(changes, name).model.network for name, changes in ZOO.items()} == set(NETWORKS)


def test_a_network_without_an_encoder_starts_at_random():
    unet = describe_model("unet")
    assert (unet.encoder, unet.start, unet.licence) == (None, "random", None)
    # Two 3 x 3 convolutions a level alone, on the way down, at 128 pixels: 24 filters, then twice as many.
    filters, sides = (1, 24, 48, 96, 192, 384), (128, 64, 32, 16, 8)
    down = sum(s * s * 9 * (a * b + b * b) for s, a, b in zip(sides, filters, filters[1:], strict=False))
    # On the way up as much as going down but for the bottom, more for what is joined; so two to three times.
    assert 2 < unet.gflops / (2 * down / 1e9) < 3


@pytest.mark.parametrize(
    ("encoder", "start"), [(None, "ImageNet, by package"), ("efficientnetv2-b0", "ImageNet, by Keras")]
)
def test_a_network_behind_an_encoder_says_which_and_whose_weights(encoder, start):
    entry = describe_model("deeplabv3plus", encoder)
    assert (entry.encoder, entry.start) == (encoder or "efficientnet-lite0", start)
    assert entry.licence == "Apache-2.0"
