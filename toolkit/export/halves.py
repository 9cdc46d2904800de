"""A twin of a model for weights in float16: its first convolutions lose nothing."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

# Of a grey slice the colours are next to equal, and what a pre-trained stem makes of their differences is enlarged by
# its batch norm: weights that are rounded apart there are seen everywhere.
EXACT = ("modalities_to_rgb", "stem_conv")


def in_halves(model: keras.Model) -> keras.Model:
    """The same network, in which each of `EXACT` is the sum of two layers whose weights are numbers of float16.

    A weight is its nearest float16 number and what is left, which float16 holds to another 11 bits.

    Args:
        model: in float32; layers are shared with it.
    """
    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=_call, recursive=True)


def _call(layer: keras.Layer, *arguments: Any, **options: Any) -> Any:
    if layer.name not in EXACT:
        return layer(*arguments, **options)
    coarse = [weight.astype(np.float16).astype(np.float32) for weight in layer.get_weights()]
    fine = [weight - near for weight, near in zip(layer.get_weights(), coarse, strict=True)]
    sums = []
    for name, weights in (("coarse", coarse), ("fine", fine)):
        part = keras.layers.Conv2D.from_config({**layer.get_config(), "name": f"{layer.name}_{name}"})
        sums.append(part(*arguments))
        part.set_weights(weights)
    return keras.layers.Add(name=f"{layer.name}_both")(sums)
