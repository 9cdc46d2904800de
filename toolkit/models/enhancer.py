"""Enhancers: slice sequence in, slice sequence out, so that the result can be looked at."""

from __future__ import annotations

import keras

from toolkit.config import EnhancerRecipe


def enhance(slices, recipe: EnhancerRecipe):
    """Put the enhancer of a recipe behind a tensor of slices.

    `convlstm` reads the sequence in both directions with convolutional LSTM cells (the
    gates are equations 1-3 of the paper; Shi et al. 2015 for the convolutional form)
    and adds a correction to its input. The correction starts at zero, so an untrained
    enhancer passes its input on unchanged.

    Args:
        slices: `(batch, slices, height, width, modalities)`, normalised.
        recipe: kind and size.

    Returns:
        Enhanced slices of the same shape, from a layer named `enhanced`.
    """
    if recipe.kind == "none":
        return keras.layers.Identity(name="enhanced")(slices)
    _, n_slices, height, width, modalities = slices.shape
    cell = keras.layers.ConvLSTM2D(recipe.filters, 3, padding="same", return_sequences=True, name="convlstm")
    states = keras.layers.Bidirectional(cell, merge_mode="concat", name="enhancer")(slices)
    # A convolution on each slice: faster through a 4-D tensor than as Conv3D or TimeDistributed.
    flat = keras.ops.reshape(states, (-1, height, width, states.shape[-1]))
    flat = keras.layers.Conv2D(modalities, 3, padding="same", kernel_initializer="zeros", name="enhancer_correction")(
        flat
    )
    correction = keras.ops.reshape(flat, (-1, n_slices, height, width, modalities))
    return keras.layers.Add(name="enhanced")([slices, correction])
