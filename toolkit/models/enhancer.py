"""Enhancers: slice sequence in, slice sequence out, so that the result can be looked at."""

from __future__ import annotations

import keras

from toolkit.config import EnhancerRecipe
from toolkit.layers.slices import MergeSlices, SplitSlices


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
    n_slices, modalities = slices.shape[1], slices.shape[4]
    cell = keras.layers.ConvLSTM2D(recipe.filters, 3, padding="same", return_sequences=True, name="convlstm")
    states = keras.layers.Bidirectional(cell, merge_mode="concat", name="enhancer")(slices)
    # A convolution on each slice: faster through a 4-D tensor than as Conv3D or TimeDistributed.
    flat = MergeSlices(name="enhancer_merge")(states)
    flat = keras.layers.Conv2D(modalities, 3, padding="same", kernel_initializer="zeros", name="enhancer_correction")(
        flat
    )
    correction = SplitSlices(n_slices, name="enhancer_split")(flat)
    return keras.layers.Add(name="enhanced")([slices, correction])
