"""What the networks share: colours for the encoder, normalised convolutions, the output, self-attention."""

from __future__ import annotations

import keras
import numpy as np

from toolkit.config import ModelRecipe
from toolkit.layers.place_attention import PlaceAttention
from toolkit.models.encoders import ENCODERS

# Expected share of tumour pixels; as the start of the output's bias it keeps the first
# steps from being spent on unlearning 0.5 everywhere (Lin et al. 2017, section 3.3).
TUMOUR_PRIOR = 0.02
# 0.9 instead of Keras' 0.99: short runs have too few steps for the slower average.
NORM_MOMENTUM = 0.9


def encode(images, recipe: ModelRecipe):
    """Feature maps of the recipe's encoder.

    Args:
        images: `(batch, height, width, modalities)`, normalised; height and width static multiples of 32.
        recipe: encoder and its weights, self-attention.

    Returns:
        Five maps at strides 2, 4, 8, 16 and 32.
    """
    _, height, width, _modalities = images.shape
    rgb = keras.layers.Rescaling(255.0, name="to_255")(images)
    rgb = keras.layers.Conv2D(3, 1, name="modalities_to_rgb")(rgb)
    *shallow, deepest = ENCODERS[recipe.encoder](height, width, recipe.encoder_weights)(rgb)
    return [*shallow, look_around(deepest, recipe)]


def look_around(deepest, recipe: ModelRecipe):
    """Self-attention between the places of the deepest map, where the recipe asks for it."""
    return PlaceAttention(name="self_attention")(deepest) if recipe.self_attention else deepest


def set_rgb_kernel(model: keras.Model) -> None:
    """Start `modalities_to_rgb` as a plain copy: one modality grey, three as they are.

    With other numbers of modalities each colour gets the mean, so that the encoder
    first sees a picture of the brightness it was pre-trained on.
    """
    layer = model.get_layer("modalities_to_rgb")
    kernel, bias = layer.get_weights()
    modalities = kernel.shape[2]
    mix = np.eye(3) if modalities == 3 else np.full((modalities, 3), 1 / modalities)
    layer.set_weights([mix.reshape(kernel.shape), np.zeros_like(bias)])


def normalised_convolution(x, filters: int, name: str, activation: str | None = "relu"):
    """3 x 3 convolution `NAME_conv`, batch normalisation `NAME_norm`, activation `NAME_relu`."""
    x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}_norm")(x)
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def region_logits(x, recipe: ModelRecipe):
    """A logit for each region, which starts at the expected share of tumour."""
    prior = keras.initializers.Constant(float(np.log(TUMOUR_PRIOR / (1 - TUMOUR_PRIOR))))
    return keras.layers.Conv2D(len(recipe.regions), 1, bias_initializer=prior, name="logits")(x)
