"""What a model costs: arithmetic, counted from the shapes of its layers."""

from __future__ import annotations

import math
from typing import Any

import keras

from toolkit.layers.place_attention import PlaceAttention
from toolkit.layers.slices import MergeSlices, SplitSlices


def count_flops(model: keras.Model) -> int:
    """Floating-point operations of one sample: a window of a segmenter, a picture of an encoder.

    Two for each multiply-add of convolutions, recurrent and dense layers, and of attention between places.
    Norms, activations, biases, resizing and element-wise products are left out, as by Tan and Le 2019 (whose
    figures are multiply-adds, half of these). The first step of a recurrent layer counts as the others do,
    though nothing comes before it.

    Args:
        model: functional, static but for the batch; models inside it count, too.
    """
    return round(2 * _multiply_adds(model, 1))


def _multiply_adds(model: keras.Model, items: float) -> float:
    """Multiply-adds of a model of which one sample of the outermost model is `items` samples."""
    total = 0.0
    items_of: dict[str, float] = {}
    for layer in model.layers:
        sources = [] if isinstance(layer, keras.layers.InputLayer) else layer._inbound_nodes[0].parent_nodes
        n = items_of[sources[0].operation.name] if sources else items
        total += _multiply_adds(layer, n) if isinstance(layer, keras.Model) else n * _of_layer(layer)
        if isinstance(layer, MergeSlices):
            n *= layer.input.shape[1]
        elif isinstance(layer, SplitSlices):
            n /= layer.n_slices
        items_of[layer.name] = n
    return total


def _of_layer(layer: keras.Layer) -> int:
    """Multiply-adds of a layer for one item: each kernel is used once at every place of the map it makes."""
    kernels = sum(math.prod(weight.shape) for weight in layer.weights if _is_kernel(weight))
    if not kernels:
        return 0
    # A transposed convolution uses it at every place of the map it reads.
    tensors: Any = layer.input if isinstance(layer, keras.layers.Conv2DTranspose) else layer.output
    _, *places, channels = (tensors[0] if isinstance(tensors, list | tuple) else tensors).shape
    n_places = math.prod(places)
    # How alike each two places are, and the sum of what each sees.
    between_places = 2 * n_places**2 * channels if isinstance(layer, PlaceAttention) else 0
    return n_places * kernels + between_places


def _is_kernel(weight: keras.Variable) -> bool:
    # Biases of attention heads have two axes, too.
    return len(weight.shape) > 1 and weight.name != "bias"
