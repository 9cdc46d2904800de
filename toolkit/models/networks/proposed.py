"""The proposed network: attention U-Net with a pre-trained encoder, gated skips, transposed convolutions."""

from __future__ import annotations

import keras

from toolkit.config import ModelRecipe
from toolkit.layers.attention_gate import AttentionGate
from toolkit.models.networks.parts import NORM_MOMENTUM, encode, region_logits


def proposed(images, recipe: ModelRecipe):
    """Put the attention U-Net of a recipe behind a tensor of single slices.

    Args:
        images: `(batch, height, width, modalities)`, normalised; height and width
            static multiples of 32.
        recipe: encoder, decoder, gates, regions.

    Returns:
        Logits `(batch, height, width, regions)`.
    """
    *skips, x = encode(images, recipe)
    for level, filters in enumerate(recipe.decoder_filters[:4]):
        x = _decoder_level(x, skips[3 - level], filters, recipe, f"decoder{4 - level}")
    x = _decoder_level(x, images, recipe.decoder_filters[4], recipe, "decoder0", gate=False)
    return region_logits(x, recipe)


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
