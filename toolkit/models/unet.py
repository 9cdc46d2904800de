"""The attention U-Net behind the enhancer: pre-trained encoder, gated skips, transposed convolutions."""

from __future__ import annotations

import keras
import numpy as np

from toolkit.config import ModelRecipe
from toolkit.layers.attention_gate import AttentionGate
from toolkit.models.encoders import ENCODERS

# Expected share of tumour pixels; as the start of the output's bias it keeps the first
# steps from being spent on unlearning 0.5 everywhere (Lin et al. 2017, section 3.3).
TUMOUR_PRIOR = 0.02
# 0.9 instead of Keras' 0.99: short runs have too few steps for the slower average.
NORM_MOMENTUM = 0.9


def attention_unet(images, recipe: ModelRecipe):
    """Put the attention U-Net of a recipe behind a tensor of single slices.

    Args:
        images: `(batch, height, width, modalities)`, normalised; height and width
            static multiples of 32.
        recipe: encoder, decoder, gates, regions.

    Returns:
        Logits `(batch, height, width, regions)`.
    """
    _, height, width, _modalities = images.shape
    rgb = keras.layers.Rescaling(255.0, name="to_255")(images)
    rgb = keras.layers.Conv2D(3, 1, name="modalities_to_rgb")(rgb)
    encoder = ENCODERS[recipe.encoder](height, width, recipe.encoder_weights)
    *skips, x = encoder(rgb)
    for level, filters in enumerate(recipe.decoder_filters[:4]):
        x = _decoder_level(x, skips[3 - level], filters, recipe, f"decoder{4 - level}")
    x = _decoder_level(x, images, recipe.decoder_filters[4], recipe, "decoder0", gate=False)
    prior = keras.initializers.Constant(float(np.log(TUMOUR_PRIOR / (1 - TUMOUR_PRIOR))))
    return keras.layers.Conv2D(len(recipe.regions), 1, bias_initializer=prior, name="logits")(x)


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


def _decoder_level(x, skip, filters: int, recipe: ModelRecipe, name: str, gate: bool = True):
    x = keras.layers.Conv2DTranspose(filters, 2, strides=2, name=f"{name}_up")(x)
    if gate and recipe.attention:
        skip, _ = AttentionGate(max(skip.shape[-1] // 2, 8), name=f"{name}_gate")([skip, x])
    x = keras.layers.Concatenate(name=f"{name}_concat")([x, skip])
    for step in (1, 2):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv{step}")(x)
        x = keras.layers.BatchNormalization(momentum=NORM_MOMENTUM, name=f"{name}_norm{step}")(x)
        x = keras.layers.ReLU(name=f"{name}_relu{step}")(x)
    return keras.layers.SpatialDropout2D(recipe.dropout, name=f"{name}_dropout")(x) if recipe.dropout else x
