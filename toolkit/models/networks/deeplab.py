"""DeepLabv3+ behind a pre-trained EfficientNet."""

from __future__ import annotations

import keras

from toolkit.config import ModelRecipe
from toolkit.models.networks.parts import NORM_MOMENTUM, encode, region_logits

# Of a map with 32 places a side (512 pixels at stride 16), Chen et al. 2018; smaller maps get smaller rates.
RATES, RATES_SIDE = (6, 12, 18), 32
LOW_LEVEL_FILTERS = 48


def deeplabv3plus(images, recipe: ModelRecipe):
    """DeepLabv3+ (Chen et al. 2018, figure 2).

    Adapted: the encoder's last stage is not dilated, its map at stride 32 is brought to stride 16 and joined to
    the one there; atrous rates shrink with the map; `decoder_filters[0]` channels instead of 256.

    Args:
        images: `(batch, height, width, modalities)`, normalised; height and width static multiples of 32.
        recipe: encoder, `decoder_filters[0]`, dropout, regions.

    Returns:
        Logits `(batch, height, width, regions)`.
    """
    _, low_level, _, at_16, at_32 = encode(images, recipe)
    filters = recipe.decoder_filters[0]
    up = keras.layers.UpSampling2D(2, interpolation="bilinear", name="aspp_deepest_up")(at_32)
    x = keras.layers.Concatenate(name="aspp_in")([at_16, up])
    x = _pyramid(x, filters)
    if recipe.dropout:
        x = keras.layers.SpatialDropout2D(recipe.dropout, name="aspp_dropout")(x)
    x = keras.layers.UpSampling2D(4, interpolation="bilinear", name="decoder_up")(x)
    low_level = _point(low_level, LOW_LEVEL_FILTERS, "decoder_low_level")
    x = keras.layers.Concatenate(name="decoder_concat")([x, low_level])
    for step in (1, 2):
        x = _atrous(x, filters, 1, f"decoder_{step}")
    return keras.layers.UpSampling2D(4, interpolation="bilinear", name="full_size")(region_logits(x, recipe))


def _pyramid(x, filters: int):
    """Atrous spatial pyramid pooling: places near, farther, far, and the whole picture."""
    height, width = x.shape[1:3]
    branches = [_point(x, filters, "aspp_point")]
    for number, rate in enumerate(RATES):
        scaled = max(1, round(rate * max(height, width) / RATES_SIDE))
        branches.append(_atrous(x, filters, scaled, f"aspp_atrous{number}"))
    whole = keras.layers.AveragePooling2D((height, width), name="aspp_whole_mean")(x)
    whole = _point(whole, filters, "aspp_whole")
    branches.append(keras.layers.UpSampling2D((height, width), name="aspp_whole_spread")(whole))
    return _point(keras.layers.Concatenate(name="aspp_concat")(branches), filters, "aspp_out")


def _point(x, filters: int, name: str):
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_conv")(x)
    return _norm_relu(x, name)


def _atrous(x, filters: int, rate: int, name: str):
    """Depthwise separable 3 x 3 convolution with holes."""
    x = keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=rate, use_bias=False, name=f"{name}_depth")(x)
    return _point(_norm_relu(x, f"{name}_depth"), filters, name)


def _norm_relu(x, name: str):
    x = keras.layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
