"""The paper's baselines: U-Net, attention U-Net and residual attention U-Net, without a pre-trained encoder.

One network with two switches, after Table 1 of the paper: four levels down and four up, `filters`
(24) in the first and twice as many in each further one, kernels of 3, max pooling of 3 with stride 2,
leaky ReLU on the way down and ReLU on the way up, batch normalisation (section 3.2). Table 1 does not
say where its dropout of 0.5 lies: here at the end of the way down, on the fourth level and the one
below it, as in Ronneberger et al. 2015.
"""

from __future__ import annotations

import keras

from toolkit.config import ModelRecipe
from toolkit.layers.attention_gate import AttentionGate
from toolkit.models.networks.parts import look_around, normalised_convolution, region_logits

LEVELS = 4


def unet(images, recipe: ModelRecipe):
    """U-Net (Ronneberger et al. 2015).

    Args:
        images: `(batch, height, width, modalities)`, normalised; height and width static multiples of 16.
        recipe: filters, dropout, self-attention, regions.

    Returns:
        Logits `(batch, height, width, regions)`.
    """
    return _plain_unet(images, recipe, gated=False, residual=False)


def attention_unet(images, recipe: ModelRecipe):
    """U-Net with an attention gate on every skip (Oktay et al. 2018); as `unet`."""
    return _plain_unet(images, recipe, gated=True, residual=False)


def res_attention_unet(images, recipe: ModelRecipe):
    """Attention U-Net of residual blocks (He et al. 2016; Ni et al. 2019); as `unet`."""
    return _plain_unet(images, recipe, gated=True, residual=True)


def _plain_unet(images, recipe: ModelRecipe, gated: bool, residual: bool):
    x, skips = images, []
    for level in range(LEVELS):
        x = _block(x, recipe.filters * 2**level, "leaky_relu", residual, f"down{level}")
        if level == LEVELS - 1:
            x = _drop(x, recipe, f"down{level}")
        skips.append(x)
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name=f"down{level}_pool")(x)
    x = _block(x, recipe.filters * 2**LEVELS, "leaky_relu", residual, "bottom")
    x = look_around(_drop(x, recipe, "bottom"), recipe)
    for level in reversed(range(LEVELS)):
        filters, skip = recipe.filters * 2**level, skips[level]
        x = keras.layers.Conv2DTranspose(filters, 2, strides=2, name=f"up{level}")(x)
        if gated:
            skip, _ = AttentionGate(max(filters // 2, 8), name=f"up{level}_gate")([skip, x])
        x = keras.layers.Concatenate(name=f"up{level}_concat")([x, skip])
        x = _block(x, filters, "relu", residual, f"up{level}")
    return region_logits(x, recipe)


def _block(x, filters: int, activation: str, residual: bool, name: str):
    """Two convolutions; with what came in added to them before the last activation, where residual."""
    y = normalised_convolution(x, filters, f"{name}_1", activation)
    if not residual:
        return normalised_convolution(y, filters, f"{name}_2", activation)
    y = normalised_convolution(y, filters, f"{name}_2", None)
    shortcut = keras.layers.Conv2D(filters, 1, name=f"{name}_shortcut")(x)
    total = keras.layers.Add(name=f"{name}_add")([y, shortcut])
    return keras.layers.Activation(activation, name=f"{name}_out")(total)


def _drop(x, recipe: ModelRecipe, name: str):
    return keras.layers.Dropout(recipe.dropout, name=f"{name}_dropout")(x) if recipe.dropout else x
