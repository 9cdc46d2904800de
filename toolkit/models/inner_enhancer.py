"""An enhancer of which only the inner slices of a window are wanted, as the halo rule has it inside a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from toolkit.layers.slices import MergeSlices, SplitSlices
from toolkit.models.enhancer import EXACT

DETAIL = "enhancer_detail"


def inner_enhancer(enhancer: keras.Model, halo: int) -> keras.Model:
    """The same enhancer, sharing its weights, without the work that only the outer slices of a window need.

    What it says of the inner slices stays the same. They depend on all slices of the window by way of the gain and of
    recurrent steps; of the latter, those that lead outwards are left out, and what follows is done for inner slices
    alone.

    Args:
        enhancer: from `(batch, S, H, W, modalities)` to enhanced slices of the same shape, see
            `toolkit.models.segmenter.split_segmenter`.
        halo: slices at either end of a window that are not wanted.

    Returns:
        Model from the same windows to `(batch, S - 2 * halo, H, W, modalities)`.
    """
    window = enhancer.inputs[0]
    n_slices = window.shape[1]
    first, behind = wanted = (halo, n_slices - halo)
    layers = {layer.name: layer for layer in enhancer.layers}
    if f"{DETAIL}_blend" in layers:
        evened, _ = layers["enhanced"].input
        detail = _detail(layers, n_slices, wanted)
        inner = keras.layers.Add(dtype=EXACT, name="enhanced")([evened[:, first:behind], detail])
    else:  # all that it has is a gain, which each slice needs of all others
        inner = enhancer.outputs[0][:, first:behind]
    return keras.Model(window, inner, name="inner_enhancer")


def _detail(layers: Mapping[str, keras.Layer], n_slices: int, wanted: tuple[int, int]) -> Any:
    """What `toolkit.models.enhancer` adds to each pixel, of the slices that are wanted."""
    first, behind = wanted

    def cut(slices: Any) -> Any:
        return MergeSlices()(SplitSlices(n_slices)(slices)[:, first:behind])

    seen, read = layers[f"{DETAIL}_with_seen"].input
    _, bands = layers[f"{DETAIL}_blend"].input
    made_by = read._keras_history.operation
    if isinstance(made_by, MergeSlices):  # the last recurrent layer is what comes just before
        lstm = layers[made_by.name.removesuffix("_merge")]
        read = MergeSlices()(lstm(lstm.input, wanted=wanted))
    else:
        read = cut(read)
    x = layers[f"{DETAIL}_out"](keras.layers.Concatenate()([cut(seen), read]))
    x = layers[f"{DETAIL}_blend"]([x, bands], wanted=wanted)
    if f"{DETAIL}_pixels" in layers:  # of half resolution
        x = layers[f"{DETAIL}_pixels"](x)
    return SplitSlices(behind - first)(x)
