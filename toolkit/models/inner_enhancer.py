"""An enhancer of which only the inner slices of a window are wanted, as the halo rule has it inside a sequence."""

from __future__ import annotations

from typing import Any

import keras

from toolkit.layers.slices import MergeSlices, SplitSlices

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
    window, enhanced = enhancer.inputs[0], enhancer.outputs[0]
    wanted = (halo, window.shape[1] - halo)
    names = {layer.name for layer in enhancer.layers}
    if f"{DETAIL}_blend" in names:
        evened, _ = enhancer.get_layer("enhanced").input
        inner = keras.layers.Add(dtype="float32", name="enhanced")([_cut(evened, wanted), _detail(enhancer, wanted)])
    else:  # all that it has is a gain, which each slice needs of all others
        inner = _cut(enhanced, wanted)
    return keras.Model(window, inner, name="inner_enhancer")


def _cut(windows: Any, wanted: tuple[int, int]) -> Any:
    first, behind = wanted
    return windows[:, first:behind]


def _detail(enhancer: keras.Model, wanted: tuple[int, int]) -> Any:
    """What `toolkit.models.enhancer` adds to each pixel, of the slices that are wanted."""
    n_slices = enhancer.inputs[0].shape[1]

    def flat_cut(slices: Any) -> Any:
        return MergeSlices()(_cut(SplitSlices(n_slices)(slices), wanted))

    layer = enhancer.get_layer
    seen, read = layer(f"{DETAIL}_with_seen").input
    _, bands = layer(f"{DETAIL}_blend").input
    made_by = read._keras_history.operation
    if isinstance(made_by, MergeSlices):  # the last recurrent layer is what comes just before
        lstm = layer(made_by.name.removesuffix("_merge"))
        read = MergeSlices()(lstm(lstm.input, wanted=wanted))
    else:
        read = flat_cut(read)
    x = layer(f"{DETAIL}_out")(keras.layers.Concatenate()([flat_cut(seen), read]))
    x = layer(f"{DETAIL}_blend")([x, bands], wanted=wanted)
    if any(one.name == f"{DETAIL}_pixels" for one in enhancer.layers):  # of half resolution
        x = layer(f"{DETAIL}_pixels")(x)
    first, behind = wanted
    return SplitSlices(behind - first)(x)
