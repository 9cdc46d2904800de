"""Enhancers: slice sequence in, slice sequence of the same shape out, so that the result can be looked at.

An enhancer has two parts, each of which starts at doing nothing:

    evened   = slices * gain             gain: smooth in plane (bias field), one level a slice (drift)
    enhanced = evened + detail           detail: noise, blur, ghosts, what a missing slice lacks

Both read the sequence with the same kind of layer (`EnhancerRecipe.kind`): the gain on a grid of 16 x 16
pixels a cell, where a whole head is a few cells, the detail at full or half resolution, with the level of
noise in sight and, where neighbours are known, which slices are interpolated. Either can be had alone
(`EnhancerRecipe.parts`).
"""

from __future__ import annotations

import math
from typing import Any

import keras

from toolkit.config import EnhancerRecipe
from toolkit.layers.cell_moments import CellMoments
from toolkit.layers.interpolated import Interpolated
from toolkit.layers.slice_blend import SliceBlend
from toolkit.layers.slice_convlstm import KERNEL, SliceConvLSTM
from toolkit.layers.slice_steps import SliceSteps
from toolkit.layers.slice_walk import SliceWalk
from toolkit.layers.slices import MergeSlices, SplitSlices
from toolkit.layers.wavelets import FromWavelets, NoiseLevel, ToWavelets

# Of what is measured of slices and of what is added to them, also in a run of half precision, whose rounding would
# pass for noise.
EXACT = "float32"
CELL = 16
GAIN_FILTERS = 16
MOST_GAIN = 2.0
BLOCK_SCALE = 0.1


def build_enhancer(recipe: EnhancerRecipe, shape: tuple[int, int, int, int]) -> keras.Model:
    """The enhancer as a model of its own, for pre-training and for `bts-enhance`.

    No weight depends on slices, height or width: those of one size fit another.

    Args:
        recipe: kind and size.
        shape: `(slices, height, width, modalities)`; height and width multiples of 16.

    Returns:
        Model from `{"slices": (batch, *shape)}`, normalised, to `{"enhanced": (batch, *shape)}` in float32.
    """
    slices = keras.Input(shape, name="slices")
    enhanced = enhance(slices, recipe)
    return keras.Model({"slices": slices}, {"enhanced": enhanced}, name="enhancer")


def resized_enhancer(trained: keras.Model, recipe: EnhancerRecipe, shape: tuple[int, int, int, int]) -> keras.Model:
    """The enhancer of a trained model, for slices of another size.

    Args:
        trained: an enhancer, or a segmenter that has one.
        recipe: its kind and size.
        shape: see `build_enhancer`.
    """
    model = build_enhancer(recipe, shape)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    return model


def enhance(slices, recipe: EnhancerRecipe):
    """Put the enhancer of a recipe behind a tensor of slices.

    Args:
        slices: `(batch, slices, height, width, modalities)`, normalised; height and width static
            multiples of 16.
        recipe: kind and size.

    Returns:
        Enhanced slices of the same shape, from a layer named `enhanced`. An untrained enhancer
        passes its input on unchanged.
    """
    if recipe.kind == "none":
        return keras.layers.Identity(name="enhanced")(slices)
    if recipe.parts == "gain":
        return keras.layers.Multiply(dtype=EXACT, name="enhanced")([slices, _gain(slices, recipe)])
    if recipe.parts == "both":
        evened = keras.layers.Multiply(dtype=EXACT, name="enhancer_evened")([slices, _gain(slices, recipe)])
    else:
        evened = slices
    return keras.layers.Add(dtype=EXACT, name="enhanced")([evened, _detail(evened, slices, recipe)])


def _gain(slices, recipe: EnhancerRecipe):
    """Factor of intensity, 1/2 to 2, `(batch, slices, height, width, modalities)`, from moments of cells.

    Where neighbours are known, also from the steps between them. Two readings: the first compares cells with
    those of other slices, the second whole slices, since drift changes a slice alike everywhere.
    """
    n_slices, modalities = slices.shape[1], slices.shape[4]
    name = "enhancer_gain"
    x = MergeSlices(dtype=EXACT, name=f"{name}_merge")(slices)
    x = CellMoments(CELL, dtype=EXACT, name=f"{name}_moments")(x)
    if recipe.kind == "convlstm":
        steps = SliceSteps(CELL, recipe.bidirectional, dtype=EXACT, name=f"{name}_steps")(slices)
        x = keras.layers.Concatenate(name=f"{name}_seen")([x, steps])
    x = _convolution(GAIN_FILTERS, "leaky_relu", f"{name}_in")(x)
    for reading in (1, 2):
        x = _read(x, n_slices, recipe.kind, GAIN_FILTERS, recipe.bidirectional, f"{name}_read{reading}")
        whole = keras.layers.AveragePooling2D(x.shape[1:3], name=f"{name}_mean{reading}")(x)
        whole = keras.layers.UpSampling2D(x.shape[1:3], name=f"{name}_spread{reading}")(whole)
        x = keras.layers.Concatenate(name=f"{name}_with_mean{reading}")([x, whole])
    gain = _convolution(modalities, None, f"{name}_out", kernel_initializer="zeros")(x)
    if recipe.kind == "convlstm":
        level = _level(x, steps, n_slices, modalities, recipe.bidirectional)
        # Spread first: Keras 3.15 takes (n, 1, 1, 1) for a bias of n channels where n is the map's height, too.
        level = keras.layers.UpSampling2D(gain.shape[1:3], name=f"{name}_level_spread")(level)
        gain = keras.layers.Add(name=f"{name}_levelled")([gain, level])
    x = keras.layers.Activation("tanh", name=f"{name}_bounded")(gain)
    x = keras.layers.UpSampling2D(CELL, interpolation="bilinear", name=f"{name}_full_size")(x)
    x = SplitSlices(n_slices, name=f"{name}_split")(x)
    x = keras.layers.Rescaling(math.log(MOST_GAIN), dtype=EXACT, name=f"{name}_logarithm")(x)
    return keras.layers.Activation("exponential", dtype=EXACT, name=f"{name}_factor")(x)


def _level(x, steps, n_slices: int, modalities: int, bidirectional: bool):
    """What is added to a slice's logarithm of gain everywhere alike, `(batch * slices, 1, 1, modalities)`."""
    name = "enhancer_gain"
    known = keras.layers.GlobalAveragePooling2D(dtype=EXACT, name=f"{name}_known")(steps)
    read = keras.layers.GlobalAveragePooling2D(name=f"{name}_whole")(x)
    read = keras.layers.Concatenate(name=f"{name}_whole_seen")([read, known])
    read = keras.layers.Dense(2 * GAIN_FILTERS, activation="leaky_relu", name=f"{name}_weigh")(read)
    gates = keras.layers.Dense((3 + bidirectional) * modalities, dtype=EXACT, name=f"{name}_gates")(read)
    walked = SliceWalk(n_slices, bidirectional, dtype=EXACT, name=f"{name}_walk")([gates, known])
    level = keras.layers.Dense(modalities, use_bias=False, kernel_initializer="zeros", name=f"{name}_level")(walked)
    return keras.layers.Reshape((1, 1, modalities), name=f"{name}_level_place")(level)


def _detail(slices, as_given, recipe: EnhancerRecipe):
    """What is added to each pixel, `(batch, slices, height, width, modalities)`.

    Args:
        slices: evened.
        as_given: not evened, of which those that are interpolated still lie on a straight line.
        recipe: kind and size.
    """
    n_slices = slices.shape[1]
    name, half = "enhancer_detail", recipe.resolution == "half"
    flat = MergeSlices(dtype=EXACT, name=f"{name}_merge")(slices)
    wavelets = ToWavelets(dtype=EXACT, name=f"{name}_wavelets")(flat)
    noise = NoiseLevel(dtype=EXACT, name=f"{name}_noise")(wavelets)
    if not half:
        noise = keras.layers.UpSampling2D(2, name=f"{name}_noise_full_size")(noise)
    bands = wavelets if half else flat
    measured = [bands, noise]
    if recipe.kind == "convlstm" and recipe.bidirectional:
        marks = Interpolated(dtype=EXACT, name=f"{name}_interpolated")(as_given)
        measured.append(keras.layers.UpSampling2D(bands.shape[1:3], name=f"{name}_interpolated_spread")(marks))
    x = seen = keras.layers.Concatenate(name=f"{name}_seen")(measured)
    if recipe.convolution_filters:
        x = before = _convolutions(x, recipe, f"{name}_before")
    neighbours = 1 + recipe.bidirectional if recipe.kind == "convlstm" else 0
    spare = _weights_of_neighbours(recipe, bands.shape[-1], seen.shape[-1])
    for layer in range(1, recipe.layers + 1):
        arguments = (recipe.kind, recipe.filters, recipe.bidirectional, f"{name}_read{layer}")
        x = _read(x, n_slices, *arguments, spare=spare if layer == 1 else 0)
    if recipe.convolution_filters:
        x = keras.layers.Concatenate(name=f"{name}_with_before")([before, x])
        x = _convolutions(x, recipe, f"{name}_behind")
    x = keras.layers.Concatenate(name=f"{name}_with_seen")([seen, x])
    terms = _convolution((2 + neighbours) * bands.shape[-1], None, f"{name}_out", kernel_initializer="zeros")(x)
    x = SliceBlend(n_slices, neighbours, dtype=EXACT, name=f"{name}_blend")([terms, bands])
    if half:
        x = FromWavelets(dtype=EXACT, name=f"{name}_pixels")(x)
    return SplitSlices(n_slices, dtype=EXACT, name=f"{name}_split")(x)


def _weights_of_neighbours(recipe: EnhancerRecipe, bands: int, seen: int) -> int:
    """Weights of the detail's convolutions that a `convlstm` has for its neighbours; other kinds have them elsewhere.

    Neighbours are blended in, and interpolated slices marked, only where neighbours are known.

    Args:
        recipe: kind and size.
        bands: channels of what is blended.
        seen: channels of what is read, without the mark.
    """
    area, directions = KERNEL**2, 1 + recipe.bidirectional
    read = recipe.convolution_filters or directions * recipe.filters
    blending = directions * bands * (area * (read + seen) + 1)
    reads_the_mark = recipe.convolution_filters or directions * 4 * recipe.filters
    marking = recipe.bidirectional * area * (reads_the_mark + (2 + directions) * bands)
    return blending + marking


def _convolutions(x, recipe: EnhancerRecipe, name: str):
    """A convolution, then residual blocks (He et al. 2016; without norms, as Lim et al. 2017 restore images)."""
    filters = recipe.convolution_filters
    x = _convolution(filters, "leaky_relu", name)(x)
    for block in range(1, recipe.residual_blocks + 1):
        y = _convolution(filters, "leaky_relu", f"{name}_block{block}_a")(x)
        # Small at first, so that many blocks one behind the other start near doing nothing.
        small = keras.initializers.VarianceScaling(BLOCK_SCALE)
        y = _convolution(filters, None, f"{name}_block{block}_b", kernel_initializer=small)(y)
        x = keras.layers.Add(name=f"{name}_block{block}")([x, y])
    return x


def _read(x, n_slices: int, kind: str, filters: int, bidirectional: bool, name: str, spare: int = 0):
    """Read `(batch * slices, height, width, channels)` with the recipe's kind of layer.

    Args:
        x: what is read.
        n_slices: of a window.
        kind: of the recipe.
        filters: of each direction.
        bidirectional: both ways.
        name: of the layer, or what the names of several begin with.
        spare: weights that a `cnn` has besides, as a `convlstm` has them elsewhere.
    """
    directions = 1 + bidirectional
    if kind == "convlstm":
        x = SplitSlices(n_slices, name=f"{name}_split")(x)
        x = SliceConvLSTM(filters, bidirectional, name=name)(x)
        return MergeSlices(name=f"{name}_merge")(x)
    if kind == "lstm":
        return _rows_and_columns(x, filters, bidirectional, name)
    hidden = equal_size(x.shape[-1], filters, directions, spare)
    x = _convolution(hidden, "leaky_relu", f"{name}_a")(x)
    return _convolution(directions * filters, "tanh", f"{name}_b")(x)


def _rows_and_columns(x, filters: int, bidirectional: bool, name: str):
    """An LSTM along each row and one along each column of a lone slice (Visin et al. 2015, ReNet)."""
    read = []
    for axis, lines in (("rows", x.shape[1]), ("columns", x.shape[2])):
        turned = x if axis == "rows" else keras.layers.Permute((2, 1, 3), name=f"{name}_turn")(x)
        y = MergeSlices(name=f"{name}_{axis}_apart")(turned)
        # Half the filters each way, so that both together say as much as the other kinds.
        lstm = keras.layers.LSTM(max(1, filters // 2), return_sequences=True, name=f"{name}_{axis}_lstm")
        y = (keras.layers.Bidirectional(lstm, name=f"{name}_{axis}") if bidirectional else lstm)(y)
        y = SplitSlices(lines, name=f"{name}_{axis}_together")(y)
        read.append(y if axis == "rows" else keras.layers.Permute((2, 1, 3), name=f"{name}_turn_back")(y))
    return keras.layers.Concatenate(name=f"{name}_both")(read)


def equal_size(channels: int, filters: int, directions: int, spare: int) -> int:
    """Hidden channels with which two 3 x 3 convolutions have as many weights as a ConvLSTM, and the spare ones."""
    area = KERNEL**2
    lstm = directions * 4 * filters * (area * (channels + filters) + 1) + spare
    out = directions * filters
    return max(1, round((lstm - out) / (area * channels + 1 + area * out)))


def _convolution(filters: int, activation: str | None, name: str, **kwargs: Any) -> keras.layers.Layer:
    return keras.layers.Conv2D(filters, KERNEL, padding="same", activation=activation, name=name, **kwargs)
